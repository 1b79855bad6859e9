"""Layers whose loss is no function, and those that need all rows."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import ROWS, assert_same, rows, weights_of

import tfminimize as tfm

pytestmark = pytest.mark.slow

layers = keras.layers


def model_with(*middle: Any, seed: int = 1) -> Any:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4, activation="tanh"), *middle, layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    return model


def nested(layer: Any) -> Any:
    return keras.Sequential([layers.Input((4,)), keras.Sequential([layers.Input((4,)), layer]), layers.Dense(3)])


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Dropout(0.3, name="culprit"),
        lambda: layers.AlphaDropout(0.3, name="culprit"),
        lambda: layers.GaussianDropout(0.3, name="culprit"),
        lambda: layers.GaussianNoise(0.3, name="culprit"),
        lambda: nested(layers.Dropout(0.3, seed=4, name="culprit")),
    ],
    ids=["dropout", "alpha", "gaussian", "noise", "nested"],
)
def test_layer_that_draws_random_numbers_is_refused(layer: Any) -> None:
    model = model_with(layer())
    before = weights_of(model)
    with pytest.raises(ValueError, match=r"layer 'culprit' \(\w+\) draws random numbers in training.*set its rate"):
        tfm.keras.fit(model, *rows(), verbose=0)
    assert_same(weights_of(model), before)


def test_augmentation_and_dropout_inside_of_layers_are_refused() -> None:
    images = np.random.default_rng(0).random((6, 4, 4, 1)).astype(np.float32)
    flips = keras.Sequential(
        [layers.Input((4, 4, 1)), layers.RandomFlip(name="culprit"), layers.Flatten(), layers.Dense(1)]
    )
    recurrent = keras.Sequential([layers.Input((4, 4)), layers.LSTM(2, dropout=0.5, name="culprit"), layers.Dense(1)])
    for model, x in ((flips, images), (recurrent, images[..., 0])):
        model.compile(loss="mse")
        with pytest.raises(ValueError, match=r"layer '\w+' \(\w+\) draws random numbers"):
            tfm.keras.fit(model, x, images.sum(axis=(1, 2)), verbose=0)


def test_random_numbers_outside_of_layers_are_refused() -> None:
    class Noisy(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + keras.random.normal((4,))

    with pytest.raises(ValueError, match="draws random numbers"):
        tfm.keras.fit(model_with(Noisy()), *rows(), verbose=0)


def test_layers_that_draw_nothing_are_fitted() -> None:
    frozen = layers.BatchNormalization(trainable=False)
    model = model_with(layers.Dropout(0.0), layers.LayerNormalization(), frozen)
    history = tfm.keras.fit(model, *rows(), epochs=4, batch_size=20, verbose=0)
    assert history.result.nit == 4


def test_layer_that_changes_its_state_is_refused() -> None:
    class Counts(layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), trainable=False, initializer="zeros", name="count")

        def call(self, x: Any) -> Any:
            self.count.assign_add(1.0)
            return x * (1.0 + self.count)

    model = model_with(Counts(name="culprit"))
    with pytest.raises(
        ValueError, match=r"layer 'culprit' \(Counts\) changes its state in training \(.*culprit/count\)"
    ):
        tfm.keras.fit(model, *rows(), verbose=0)
    assert float(model.get_layer("culprit").count.numpy()) == 0.0


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_recurrent_layer_that_keeps_its_state_is_refused(kind: Any) -> None:
    model = keras.Sequential(
        [keras.Input((5, 2), batch_size=10), kind(3, stateful=True, name="culprit"), layers.Dense(1)]
    )
    model.compile(loss="mse")
    x = np.random.default_rng(0).normal(size=(30, 5, 2)).astype(np.float32)
    with pytest.raises(ValueError, match=r"layer 'culprit' .*changes its state in training .*or set stateful=False"):
        tfm.keras.fit(model, x, x[:, 0, :1], batch_size=10, verbose=0)


def test_batch_normalization_in_several_batches_is_refused() -> None:
    model = model_with(layers.BatchNormalization(name="culprit"))
    x, y = rows()
    before = weights_of(model)
    for data, given in (((x, y), {"batch_size": 20}), ((tf.data.Dataset.from_tensor_slices((x, y)).batch(20),), {})):
        with pytest.raises(ValueError, match=r"layer 'culprit' \(BatchNormalization\) normalises each batch"):
            tfm.keras.fit(model, *data, verbose=0, **given)
    assert_same(weights_of(model), before)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("optimizer", [tfm.LBFGSB(), tfm.SLSQP(), tfm.BFGS()], ids=["lbfgsb", "slsqp", "bfgs"])
def test_statistics_of_batch_normalization_are_those_at_the_solution(optimizer: Any, jit_compile: bool) -> None:
    model = model_with(layers.BatchNormalization(), nested(layers.BatchNormalization()))
    x, y = rows()
    hidden = keras.Model(model.inputs[0], model.layers[0].output)
    seen = []

    class Compares(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append((logs["loss"], model.evaluate(x, y, batch_size=ROWS, verbose=0)[0]))

    tfm.keras.fit(
        model, x, y, epochs=6, verbose=0, optimizer=optimizer, jit_compile=jit_compile, callbacks=[Compares()]
    )
    normalization = model.layers[1]
    values = hidden(x).numpy()
    np.testing.assert_allclose(normalization.moving_mean.numpy(), values.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(normalization.moving_variance.numpy(), values.var(axis=0), rtol=1e-3, atol=1e-6)
    assert normalization.momentum == 0.99
    np.testing.assert_allclose(*zip(*seen, strict=True), rtol=1e-3)


def test_statistics_of_batch_normalization_are_those_of_a_state() -> None:
    x, y = rows()
    model, other = model_with(layers.BatchNormalization()), model_with(layers.BatchNormalization(), seed=2)
    state = tfm.keras.fit(model, x, y, epochs=5, verbose=0).result.state
    assert tfm.keras.fit(other, x, y, epochs=5, verbose=0, state=state).history == {}
    assert_same(weights_of(other), weights_of(model))


def test_statistics_of_batch_normalization_come_back_after_an_exception() -> None:
    def fail(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise KeyError("broken")

    model = model_with(layers.BatchNormalization())
    before = weights_of(model)
    with pytest.raises(KeyError, match="broken"):
        tfm.keras.fit(model, *rows(), verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=fail)])
    assert_same(weights_of(model), before)


def test_losses_that_layers_add_to_sums_need_one_batch() -> None:
    model = model_with(layers.ActivityRegularization(l2=0.1))
    model.compile(loss=keras.losses.MeanSquaredError(reduction="sum"))
    with pytest.raises(ValueError, match="layers add losses of their own"):
        tfm.keras.fit(model, *rows(), batch_size=20, verbose=0)
    assert tfm.keras.fit(model, *rows(), epochs=3, verbose=0).result.nit == 3
