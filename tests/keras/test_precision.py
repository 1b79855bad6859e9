"""Fits in float32 end where its digits end."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras_models import classifier, exact, labels, regression, rows

import tfminimize as tfm

REACHED = "the precision of float32 is reached"


def fitted(model: Any, x: Any, y: Any, loss: Any = "mse", **options: Any) -> Any:
    model.compile(loss=loss)
    options = {"epochs": 20_000, "optimizer": exact(), **options}
    return tfm.keras.fit(model, x, y, verbose=0, **options).result


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch_size", [None, 16])
def test_fit_that_goes_on_as_long_as_it_can_ends_with_success(scale: float, seed: int, batch_size: Any) -> None:
    x, _ = rows(seed)
    random = np.random.default_rng(seed)
    y = scale * (x @ random.normal(size=(3, 1)) + 0.1 * random.normal(size=(len(x), 1))).astype(np.float32)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    result = fitted(model, x, y, batch_size=batch_size)
    assert result.success
    assert result.status == 0
    assert REACHED in result.message
    design = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    solution, *_ = np.linalg.lstsq(design, y.astype(np.float64), rcond=None)
    lowest = float(np.mean((design @ solution - y) ** 2))
    assert float(result.fun) == pytest.approx(lowest, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_penalised_classifier_ends_with_success(seed: int) -> None:
    x, y = labels(seed)
    model = classifier(seed=seed)
    for layer in model.layers:
        layer.kernel.regularizer = keras.regularizers.L2(1e-2)
    result = fitted(model, x, y, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert result.success
    assert REACHED in result.message
    assert np.abs(result.jac).max() < 1e-3


def test_default_tolerances_end_with_success() -> None:
    model = regression(kernel_regularizer=keras.regularizers.L2(1e-3))
    result = fitted(model, *rows(), optimizer=tfm.LBFGSB())
    assert result.success


def test_wrong_gradient_is_no_success() -> None:
    import tensorflow as tf

    @tf.custom_gradient
    def turned(x: Any) -> Any:
        return tf.identity(x), lambda upstream: -upstream

    class Turned(keras.losses.Loss):
        def call(self, y: Any, y_pred: Any) -> Any:
            return turned((y - y_pred) ** 2)

    with pytest.warns(RuntimeWarning, match="ended without success.*ABNORMAL"):
        result = fitted(regression(), *rows(), Turned())
    assert not result.success


def test_float64_is_left_to_the_solver() -> None:
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        x, y = rows()
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
        result = fitted(model, x, y, optimizer=tfm.LBFGSB())
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert result.success
    assert REACHED not in result.message
