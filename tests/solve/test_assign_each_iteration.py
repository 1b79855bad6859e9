"""Callbacks that look at the variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm

START = np.array([-1.2, 1.0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG", "trust-constr"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "machine code"])
def test_variables_hold_the_iterate_in_the_callback(method: str, dtype: str, jit: bool) -> None:
    variable = tf.Variable(START.astype(dtype))
    seen: list[Any] = []

    def look(intermediate_result: Any) -> None:
        seen.append((intermediate_result.x, variable.numpy()))

    tfm.minimize(
        lambda: rosenbrock(variable),
        variable,
        method=method,
        jit_compile=jit,
        callback=look,
        options={"maxiter": 5},
        assign_each_iteration=True,
    )
    assert len(seen) >= 3
    for x, value in seen:
        np.testing.assert_array_equal(x.astype(dtype), value)


def test_without_it_the_variables_keep_their_start_until_the_end() -> None:
    variable = tf.Variable(START)
    seen: list[Any] = []
    tfm.minimize(lambda: rosenbrock(variable), variable, callback=lambda xk: seen.append(variable.numpy()))
    np.testing.assert_array_equal(seen, [START] * len(seen))


def test_validation_loss_moves() -> None:
    weights = [tf.Variable(np.zeros((3, 1), "f")), tf.Variable(0.0)]
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("f")
    y = x @ np.array([[1.0], [2.0], [3.0]], "f")

    def error(rows: slice) -> Any:
        return tf.reduce_mean((x[rows] @ weights[0] + weights[1] - y[rows]) ** 2)

    validation: list[float] = []
    solver = tfm.Minimizer(lambda: error(slice(0, 40)), weights)
    result = solver.minimize(
        callback=lambda xk: validation.append(float(error(slice(40, None)))), assign_each_iteration=True
    )
    assert len(validation) == result.nit
    assert validation[-1] < 1e-3 < validation[0]


@pytest.mark.parametrize("method", ["L-BFGS-B", "CG"])
def test_solve_that_fails_gives_the_variables_their_start_back(method: str) -> None:
    variables = [tf.Variable(-1.2), tf.Variable([1.0, 2.0], dtype=tf.float64)]
    start = [v.numpy() for v in variables]

    def fail(xk: Any) -> None:
        assert variables[0].numpy() != start[0]
        raise RuntimeError("enough")

    def loss() -> tf.Tensor:
        return (tf.cast(variables[0], tf.float64) - 3.0) ** 2 + rosenbrock(variables[1])

    with pytest.raises(RuntimeError, match="enough"):
        tfm.minimize(loss, variables, method=method, callback=fail, assign_each_iteration=True)
    for variable, value in zip(variables, start, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_stop_iteration_keeps_the_iterate() -> None:
    variable = tf.Variable(START)

    def stop(xk: Any) -> None:
        raise StopIteration

    result = tfm.minimize(lambda: rosenbrock(variable), variable, callback=stop, assign_each_iteration=True)
    assert result.status == 99
    np.testing.assert_array_equal(variable, result.x)


def test_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="assign_each_iteration=True is for variables"):
        tfm.minimize(rosenbrock, START, assign_each_iteration=True)


def test_graph_is_refused() -> None:
    variable = tf.Variable(START)
    with pytest.raises(ValueError, match="inside a graph"):
        tf.function(lambda: tfm.minimize(lambda: rosenbrock(variable), variable, assign_each_iteration=True))()
