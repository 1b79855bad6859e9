"""L-BFGS-B tells rounding of the loss from wrong gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm

Loss = Callable[[tf.Tensor], tf.Tensor]
NAMED = "check the sign and the value of the gradient"


def misfit(dtype: str, scale: float, seed: int, size: int = 100) -> Loss:
    """A sum of squares, as a small difference of large terms."""
    rng = np.random.default_rng(seed)
    matrix = (scale * rng.normal(size=(2 * size, size))).astype(dtype)
    data = tf.constant(matrix @ rng.normal(size=size).astype(dtype))

    def loss(x: tf.Tensor) -> tf.Tensor:
        fit = tf.linalg.matvec(matrix, x)
        return tf.reduce_sum(fit**2) - 2.0 * tf.tensordot(fit, data, 1) + tf.reduce_sum(data**2)

    return loss


def scipy_result(loss: Loss, x0: Any) -> Any:
    @tf.function
    def value_and_gradient(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        return value, tape.gradient(value, x)

    def fun(x: Any) -> Any:
        value, gradient = value_and_gradient(tf.constant(x, x0.dtype))
        return float(value), gradient.numpy().astype(np.float64)

    return scipy.optimize.minimize(fun, x0.astype(np.float64), jac=True, method="L-BFGS-B")


def with_factor(loss: Loss, factor: float) -> Loss:
    """The loss with its gradient multiplied by a factor."""

    @tf.custom_gradient
    def wrong(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        gradient = tape.gradient(value, x)
        return value, lambda upstream: upstream * factor * gradient

    return lambda x: wrong(x)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_misfit_in_float32_takes_the_path_of_scipy(scale: float, seed: int) -> None:
    loss, x0 = misfit("float32", scale, seed), np.zeros(100, "float32")
    ours, theirs = tfm.minimize(loss, x0), scipy_result(loss, x0)
    assert (ours.status, ours.message) == (theirs.status, theirs.message)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_near_the_minimum_is_no_wrong_gradient(dtype: str, jit_compile: bool) -> None:
    for seed in range(3):
        loss = misfit(dtype, 1e3, seed, 20)
        solver = tfm.Minimizer(loss, np.zeros(20, dtype), jit_compile=jit_compile)
        warm = solver.minimize().x
        assert NAMED not in solver.minimize(warm).message
        assert NAMED not in solver.minimize(warm * np.asarray(1.001, dtype)).message
        assert not any(NAMED in message for message in solver.minimize_batch(np.stack([warm, 0 * warm])).message)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("factor", [-1.0, -0.01, -50.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_of_the_wrong_sign_is_named(dtype: str, scale: float, factor: float, jit_compile: bool) -> None:
    weights = np.arange(1, 9, dtype=dtype)
    wrong = with_factor(lambda x: tf.cast(scale, dtype) * tf.reduce_sum(weights * (x - 1) ** 2), factor)
    result = tfm.minimize(wrong, np.full(8, 3, dtype), options={"gtol": 0.0}, jit_compile=jit_compile)
    assert result.status == 2
    assert NAMED in result.message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_of_the_wrong_sign_is_no_success_in_an_operation(dtype: str) -> None:
    wrong = with_factor(lambda x: tf.reduce_sum((x - 1) ** 2), -1.0)
    result = tf.function(lambda: tfm.ops.minimize(wrong, np.full(8, 3, dtype)))()
    assert int(result.status) == 2


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [1, 2, 4, 10])
@pytest.mark.parametrize("bounds", [None, (-1, 2)])
def test_pole_is_no_success(power: int, dtype: str, bounds: Any) -> None:
    solver = tfm.Minimizer(lambda x: -tf.reduce_sum(tf.abs(x) ** -power), np.ones(3, dtype), bounds=bounds)
    batch = solver.minimize_batch(np.random.default_rng(power).uniform(0.1, 2, (100, 3)).astype(dtype))
    # Without bounds a step may jump over the pole to a region where f hardly falls.
    assert not (batch.success & (batch.fun < -1e8)).any()
    assert bounds is None or not batch.success.any()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [0.01, 0.05])
@pytest.mark.parametrize("other", [(None, None), (-10, 10)])
def test_pole_in_a_box_narrower_than_gtol_is_no_success(width: float, other: Any, dtype: str) -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:  # its gradient in x[0] vanishes at the pole in x[1]
        return 0.2 / width**2 * x[0] * x[1] ** 2 - tf.abs(x[1]) ** -10

    solver = tfm.Minimizer(loss, np.ones(2, dtype), bounds=[other, (-width, width)])
    starts = np.random.default_rng(1).uniform(0.75, 1, (60, 2)) * [1, width]
    batch = solver.minimize_batch(starts.astype(dtype), options={"gtol": 0.11})
    assert batch.nit.max() == 1
    assert set(batch.status) == {2}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minimum_in_a_box_narrower_than_gtol_is_a_success(dtype: str) -> None:
    result = tfm.minimize(
        lambda x: x[0] ** 2 + 1e4 * x[1], np.array([1, 0.05], dtype), bounds=[(-10, 10), (0, 0.05)], tol=0.1
    )
    assert result.success
    assert result.nit > 0


@pytest.mark.parametrize("scale", [1.0, 1e20, 1e30])
def test_minimum_of_a_large_function_is_a_success(scale: float) -> None:
    result = tfm.minimize(lambda x: scale * tf.reduce_sum((x - 1.0) ** 2), np.full(3, 100.0), options={"gtol": 0.0})
    assert result.success, result.message
