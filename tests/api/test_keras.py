from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    )
    return model


@pytest.fixture
def data() -> tuple[tf.Tensor, tf.Tensor]:
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3)).astype(np.float32)
    return tf.constant(x), tf.constant(np.sin(x.sum(axis=1, keepdims=True)))


def test_single_variable() -> None:
    v = keras.Variable([1.0, 2.0], name="v")
    result = tfm.minimize(lambda: keras.ops.sum((v - 3.0) ** 2), v)
    np.testing.assert_allclose(v.value.numpy(), 3.0, atol=1e-4)
    np.testing.assert_array_equal(result.x, v.value.numpy())


def test_variables_of_a_model_are_fitted(model: keras.Model, data: tuple[tf.Tensor, tf.Tensor]) -> None:
    x, y = data

    def loss() -> tf.Tensor:
        return tf.reduce_mean((model(x) - y) ** 2)

    before = float(loss())
    result = tfm.minimize(loss, model.trainable_variables, options={"maxiter": 50})
    assert result.fun < 0.1 * before
    assert float(loss()) == pytest.approx(result.fun, rel=1e-5)


def test_data_as_arguments_does_not_retrace(model: keras.Model, data: tuple[tf.Tensor, tf.Tensor]) -> None:
    traces = 0

    def loss(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return tf.reduce_mean((model(x) - y) ** 2)

    solver = tfm.Minimizer(loss, model.trainable_variables, args=data)
    solver.minimize(options={"maxiter": 3})
    solver.minimize(args=(data[0] * 2.0, data[1]), options={"maxiter": 3})
    assert traces == 1


def test_model_as_argument(model: keras.Model, data: tuple[tf.Tensor, tf.Tensor]) -> None:
    def loss(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean((model(x) - y) ** 2)

    result = tfm.minimize(loss, model.trainable_variables, args=(model, *data), options={"maxiter": 5})
    assert result.nit == 5


def test_variable_as_argument() -> None:
    target = keras.Variable([1.0, 2.0])
    solver = tfm.Minimizer(lambda x, t: tf.reduce_sum((x - t) ** 2), np.zeros(2, np.float32), args=(target,))
    np.testing.assert_allclose(solver.minimize().x, [1.0, 2.0], atol=1e-5)
    target.assign([3.0, 4.0])
    np.testing.assert_allclose(solver.minimize().x, [3.0, 4.0], atol=1e-5)


def test_bounds_for_one_variable_by_reference(model: keras.Model, data: tuple[tf.Tensor, tf.Tensor]) -> None:
    x, y = data
    kernel = model.layers[0].kernel
    bounds = {kernel.value.ref(): (-0.1, 0.1)}
    tfm.minimize(
        lambda: tf.reduce_mean((model(x) - y) ** 2), model.trainable_variables, bounds=bounds, options={"maxiter": 20}
    )
    assert np.abs(kernel.value.numpy()).max() <= 0.1
    assert np.abs(model.layers[1].kernel.value.numpy()).max() > 0.1


def test_statistics_of_batch_normalisation_are_written() -> None:
    layer = keras.layers.BatchNormalization()
    layer.build((None, 2))
    x = tf.constant([[1.0, 5.0], [3.0, 9.0]])
    tfm.minimize(lambda: tf.reduce_sum((layer(x, training=True) - 1.0) ** 2), layer.trainable_variables)
    assert float(layer.moving_mean.value[0]) > 0.0


def test_embedding_is_fitted() -> None:
    layer = keras.layers.Embedding(5, 2)
    layer.build()
    tfm.minimize(lambda: tf.reduce_sum((layer(tf.constant([1, 3])) - 2.0) ** 2), layer.trainable_variables)
    np.testing.assert_allclose(layer(tf.constant([1, 3])), 2.0, atol=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_jit_compile_with_a_model(model: keras.Model, data: tuple[tf.Tensor, tf.Tensor], jit_compile: bool) -> None:
    x, y = data
    result = tfm.minimize(
        lambda: tf.reduce_mean((model(x) - y) ** 2),
        model.trainable_variables,
        jit_compile=jit_compile,
        options={"maxiter": 10},
    )
    assert result.nit == 10
