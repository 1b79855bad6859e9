"""Machine code for functions in which a variable is a size, as the number of data is one in models of GPflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm
from tfminimize._tf import private

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


def test_functions_of_one_solve_have_the_same_value(monkeypatch: pytest.MonkeyPatch) -> None:
    count = tf.Variable(4)
    read = private.resource_value

    def read_before_another_thread_assigns(handle: Any) -> Any:
        value = read(handle)
        count.assign_add(1)
        return value

    monkeypatch.setattr(private, "resource_value", read_before_another_thread_assigns)
    constraint = {"type": "ineq", "fun": lambda x: x + 1.0}
    result = tfm.minimize(loss_of(count), np.zeros(2), method="SLSQP", constraints=constraint, jit_compile=True)
    assert result.backend == "xla"
    assert result.fun < 1e-20
    np.testing.assert_allclose(result.x, 1 / round(1 / result.x[0]), rtol=1e-9)  # for one of the values


def test_several_sizes_and_other_integers() -> None:
    shape, step = tf.Variable([2, 3]), tf.Variable(7, dtype=tf.int64)

    def loss(x: Any) -> Any:
        return tf.reduce_sum((tf.reshape(x, shape) - tf.cast(step, x.dtype)) ** 2)

    result = tfm.minimize(loss, np.zeros(6), jit_compile=True)
    assert result.backend == "xla"
    np.testing.assert_allclose(result.x, 7)


@pytest.mark.parametrize("names", ["step", "step count", "count step", "step count axis", "epoch count step axis"])
def test_variable_that_is_not_a_size_keeps_its_program(names: str) -> None:
    """Its value is an input of machine code, whichever sizes are read before and after it."""
    variables = {name: tf.Variable({"count": 3, "axis": 0}.get(name, 1)) for name in names.split()}
    traces = []

    def loss(x: Any) -> Any:
        traces.append(1)
        residual = x
        for name, variable in variables.items():
            if name == "count":
                residual -= tf.reduce_mean(tf.ones([variable], x.dtype))
            elif name == "axis":
                residual += 0 * tf.reduce_sum(x, variable)
            else:
                residual -= tf.cast(variable, x.dtype)
        return tf.reduce_sum(residual**2)

    def solution() -> int:
        return sum(int(v) for name, v in variables.items() if name in ("step", "epoch")) + ("count" in variables)

    solver = tfm.Minimizer(loss, np.zeros(2), jit_compile=True)
    assert solver.minimize().backend == "xla"
    before = len(traces)
    for name in set(variables) - {"count", "axis"}:
        variables[name].assign(5)
        result = solver.minimize()
        assert result.backend == "xla"
        np.testing.assert_allclose(result.x, solution())
    assert len(traces) == before
    if "count" in variables:
        variables["count"].assign(4)
        np.testing.assert_allclose(solver.minimize().x, solution())
        assert len(traces) > before


def test_size_that_depends_on_x_is_still_refused() -> None:
    count = tf.Variable(1)

    def loss(x: Any) -> Any:
        return tf.reduce_sum((x - 1) ** 2) + tf.reduce_sum(tf.zeros(tf.cast(x[:1], tf.int32) * 0 + count, x.dtype))

    result = tfm.minimize(loss, np.zeros(2), jit_compile=True)
    assert result.backend == "tfe"
    assert "must be a compile-time constant" in result.backend_reason
