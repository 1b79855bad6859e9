"""Machine code for functions in which a variable is a size, as the number of data is one in models of GPflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

INTEGERS = pytest.mark.parametrize("dtype", [tf.int32, tf.int64])


def loss_of(count: tf.Variable) -> Any:
    """Its minimum is at 1 / (the value of the variable)."""

    def loss(x: Any) -> Any:
        ones = tf.ones(tf.reshape(count, [1]), x.dtype)
        return tf.reduce_sum((x * tf.reduce_sum(ones) - 1) ** 2)

    return loss


@INTEGERS
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_variable_may_be_a_size(dtype: Any, method: str) -> None:
    result = tfm.minimize(loss_of(tf.Variable(4, dtype=dtype)), np.zeros(3), method=method, jit_compile=True)
    assert (result.backend, result.backend_reason) == ("xla", "XLA compiled the function to machine code")
    np.testing.assert_allclose(result.x, 0.25, rtol=1e-6)


@INTEGERS
def test_new_value_is_compiled_and_an_unchanged_one_is_not(dtype: Any) -> None:
    count = tf.Variable(4, dtype=dtype)
    traces = []

    def loss(x: Any) -> Any:
        traces.append(1)
        return loss_of(count)(x)

    solver = tfm.Minimizer(loss, np.zeros(2), jit_compile=True)
    np.testing.assert_allclose(solver.minimize().x, 0.25, rtol=1e-6)
    before = len(traces)
    solver.minimize(np.ones(2))
    assert len(traces) == before
    count.assign(8)
    result = solver.minimize()
    assert result.backend == "xla"
    np.testing.assert_allclose(result.x, 0.125, rtol=1e-6)
    assert len(traces) > before


def test_new_value_in_batches() -> None:
    count = tf.Variable(2)
    solver = tfm.Minimizer(loss_of(count), np.zeros(1), jit_compile=True)
    for value in (2, 5):
        count.assign(value)
        batch = solver.minimize_batch(np.zeros((3, 1)))
        assert batch.backend == "xla"
        np.testing.assert_allclose(batch.x, 1 / value, rtol=1e-6)


def test_new_value_in_vectorized_batches() -> None:
    count = tf.Variable(2)

    def loss(x: Any) -> Any:
        return tf.reduce_sum((x * tf.reduce_sum(tf.ones(tf.reshape(count, [1]), x.dtype)) - 1) ** 2, -1)

    solver = tfm.Minimizer(loss, np.zeros(1), jit_compile=True)
    for value in (2, 5):
        count.assign(value)
        batch = solver.minimize_batch(np.zeros((3, 1)), vectorized=True)
        assert batch.backend == "xla"
        np.testing.assert_allclose(batch.x, 1 / value, rtol=1e-6)


def test_new_value_while_auto_has_machine_code() -> None:
    count = tf.Variable(3)
    solver = tfm.Minimizer(loss_of(count), np.zeros(50), jit_compile="auto")
    for _ in range(200):
        if "machine code" in solver.minimize().backend_reason:
            break
    for value in (6, 2):
        count.assign(value)
        np.testing.assert_allclose(solver.minimize().x, 1 / value, rtol=1e-6)


def test_several_sizes_and_other_integers() -> None:
    shape, step = tf.Variable([2, 3]), tf.Variable(7, dtype=tf.int64)

    def loss(x: Any) -> Any:
        return tf.reduce_sum((tf.reshape(x, shape) - tf.cast(step, x.dtype)) ** 2)

    result = tfm.minimize(loss, np.zeros(6), jit_compile=True)
    assert result.backend == "xla"
    np.testing.assert_allclose(result.x, 7)


def test_variable_that_is_not_a_size_keeps_its_program() -> None:
    """Its value is an input of machine code."""
    step = tf.Variable(1)
    traces = []

    def loss(x: Any) -> Any:
        traces.append(1)
        return tf.reduce_sum((x - tf.cast(step, x.dtype)) ** 2)

    solver = tfm.Minimizer(loss, np.zeros(2), jit_compile=True)
    solver.minimize()
    before = len(traces)
    step.assign(5)
    np.testing.assert_allclose(solver.minimize().x, 5)
    assert len(traces) == before


def test_size_that_depends_on_x_is_still_refused() -> None:
    count = tf.Variable(1)

    def loss(x: Any) -> Any:
        return tf.reduce_sum((x - 1) ** 2) + tf.reduce_sum(tf.zeros(tf.cast(x[:1], tf.int32) * 0 + count, x.dtype))

    result = tfm.minimize(loss, np.zeros(2), jit_compile=True)
    assert result.backend == "tfe"
    assert "must be a compile-time constant" in result.backend_reason
