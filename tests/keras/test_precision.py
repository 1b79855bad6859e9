"""Fits in float32 end where its digits end."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import classifier, exact, labels, regression, rows

import tfminimize as tfm
from tfminimize._keras.precision import Precision

pytestmark = pytest.mark.slow

REACHED = "the precision of float32 is reached"


def fitted(model: Any, x: Any, y: Any, loss: Any = "mse", **options: Any) -> Any:
    model.compile(loss=loss)
    options = {"epochs": 20_000, "optimizer": exact(), **options}
    # Where only the last digits change, another way to evaluate within the solve would change them too.
    return tfm.keras.fit(model, x, y, verbose=0, jit_compile=False, **options).result


AS_LONG_AS_IT_CAN = pytest.mark.parametrize(
    "optimizer",
    [exact(), tfm.BFGS(gtol=0.0), tfm.BFGS(gtol=0.0, update="ssbroyden")],
    ids=["lbfgsb", "bfgs", "ssbroyden"],
)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("seed", "batch_size"), [(0, None), (1, 16)])
@AS_LONG_AS_IT_CAN
def test_fit_that_goes_on_as_long_as_it_can_ends_with_success(
    optimizer: Any, scale: float, seed: int, batch_size: Any
) -> None:
    x, _ = rows(seed)
    random = np.random.default_rng(seed)
    y = scale * (x @ random.normal(size=(3, 1)) + 0.1 * random.normal(size=(len(x), 1))).astype(np.float32)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    result = fitted(model, x, y, batch_size=batch_size, optimizer=optimizer)
    assert result.success
    assert result.status == 0
    assert REACHED in result.message
    design = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    solution, *_ = np.linalg.lstsq(design, y.astype(np.float64), rcond=None)
    lowest = float(np.mean((design @ solution - y) ** 2))
    assert float(result.fun) == pytest.approx(lowest, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
@AS_LONG_AS_IT_CAN
def test_fit_that_meets_its_targets_ends_with_success(optimizer: Any, seed: int) -> None:
    x, y = rows(seed, 40)
    result = fitted(regression(seed=seed, units=40), x, y, optimizer=optimizer)
    assert result.success
    assert float(result.fun) < 1e-6
    assert REACHED in result.message


@pytest.mark.parametrize("seed", range(3))
@AS_LONG_AS_IT_CAN
def test_penalised_classifier_ends_with_success(optimizer: Any, seed: int) -> None:
    x, y = labels(seed)
    model = classifier(seed=seed)
    for layer in model.layers:
        layer.kernel.regularizer = keras.regularizers.L2(1e-2)
    result = fitted(model, x, y, keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=optimizer)
    assert result.success
    assert REACHED in result.message
    assert np.abs(result.jac).max() < 1e-3


@pytest.mark.parametrize("optimizer", [tfm.LBFGSB(), tfm.BFGS()], ids=["lbfgsb", "bfgs"])
def test_default_tolerances_end_with_success(optimizer: Any) -> None:
    model = regression(kernel_regularizer=keras.regularizers.L2(1e-3))
    result = fitted(model, *rows(), optimizer=optimizer)
    assert result.success


@tf.custom_gradient
def turned(x: Any) -> Any:
    return tf.identity(x), lambda upstream: -upstream


class Turned(keras.losses.Loss):
    """A mean squared error with a wrong gradient."""

    def call(self, y: Any, y_pred: Any) -> Any:
        return turned((y - y_pred) ** 2)


@pytest.mark.parametrize("optimizer", [exact(), tfm.BFGS()], ids=["lbfgsb", "bfgs"])
def test_wrong_gradient_is_no_success(optimizer: Any) -> None:
    with pytest.warns(RuntimeWarning, match="ended without success.*value of the gradient.$"):
        result = fitted(regression(), *rows(), Turned(), optimizer=optimizer)
    assert not result.success


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_named_if_a_fit_fails(dtype: str) -> None:
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, dtype=f"mixed_{dtype}", name="half")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    with pytest.warns(RuntimeWarning, match=f"ended without success.*ABNORMAL.*Layer 'half' computes in {dtype}, so"):
        result = fitted(model, *rows(), Turned())
    assert not result.success


SINGLE = float(np.finfo(np.float32).eps)


def quadratic(curvature: float, noise: float, offset: float = 0.0) -> Any:
    """c·x²/2 in one variable, with noise in the loss, and its gradient."""
    random = np.random.default_rng(0)

    def evaluate(x: Any) -> Any:
        return offset + 0.5 * curvature * float(x @ x) + noise * random.normal(), curvature * x

    return evaluate


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("noise", [1e-12, 1e-6, 1.0])
def test_gain_is_compared_with_the_noise_of_the_loss(curvature: float, noise: float) -> None:
    evaluate = quadratic(curvature, noise)
    for gain, is_flat in ((0.5 * noise, True), (50.0 * noise, False)):
        x = np.full(3, np.sqrt(2.0 * gain / curvature / 3.0))
        fun, gradient = evaluate(x)
        assert Precision(SINGLE).is_flat(0.0, gradient, x, evaluate) == is_flat
        assert not Precision(1e-16).is_flat(fun, gradient, x, evaluate)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_gain_is_compared_with_the_rounding_unit_of_the_loss(size: float) -> None:
    evaluate = quadratic(1.0, 0.0, size)
    for gain, is_flat in ((SINGLE * size, True), (100 * SINGLE * size, False)):
        x = np.full(2, np.sqrt(gain))
        assert Precision(SINGLE).is_flat(size, evaluate(x)[1], x, evaluate) == is_flat


def test_concave_and_infinite_losses_are_not_flat() -> None:
    x = np.full(2, 1e-6)
    concave, broken = quadratic(-1.0, 1.0), quadratic(np.nan, 1.0)
    assert not Precision(SINGLE).is_flat(0.0, concave(x)[1], x, concave)
    assert not Precision(SINGLE).is_flat(0.0, broken(x)[1], x, broken)
    assert Precision(SINGLE).is_flat(0.0, np.zeros(2), x, concave)


@pytest.mark.parametrize("size", [1e-9, 1.0, -1e9])
def test_loss_has_settled_after_three_iterations_that_lower_it_by_nothing(size: float) -> None:
    precision = Precision(SINGLE)
    losses = [size + 0.5 * abs(size), *(size - i * 0.3 * SINGLE * abs(size) for i in range(4))]
    assert [precision.has_settled(loss) for loss in losses] == [False, False, False, False, True]
    precision = Precision(SINGLE)
    assert not any(precision.has_settled(size - i * 0.5 * SINGLE * abs(size)) for i in range(9))
    precision = Precision(float(np.finfo(np.float64).eps))
    assert not any(precision.has_settled(size) for _ in range(9))


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
