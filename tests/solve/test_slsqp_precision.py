"""SLSQP on functions of less than double precision, and constraints that contradict each other by less than `ftol`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm

JIT_COMPILE = pytest.mark.parametrize("jit_compile", [False, True])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def equality(fun: Callable[[Any], Any]) -> dict[str, Any]:
    return {"type": "eq", "fun": fun}


def _reverse(y: Any) -> Any:
    """Returns x with a gradient of the wrong sign."""
    return tf.custom_gradient(lambda value: (value, lambda upstream: -upstream))(y)


def _portfolio(n: int, dtype: Any, seed: int) -> Callable[[Any], Any]:
    generator = np.random.default_rng(seed)
    factors = generator.standard_normal((3 * n, n)).astype(dtype)
    return lambda w: tf.reduce_mean(tf.linalg.matvec(factors, w) ** 2)


@pytest.mark.slow
@JIT_COMPILE
@DTYPES
@pytest.mark.parametrize("n", [3, 10, 30])
def test_weights_that_their_caps_just_allow(n: int, dtype: Any, jit_compile: bool) -> None:
    result = tfm.minimize(
        _portfolio(n, dtype, n),
        np.full(n, 0.5 / n, dtype),
        method="SLSQP",
        bounds=(0, 1 / n),
        constraints=equality(lambda w: tf.reduce_sum(w) - 1),
        jit_compile=jit_compile,
    )
    assert result.success, result.message
    assert result.constr_violation <= 1e-6


@pytest.mark.slow
@JIT_COMPILE
@DTYPES
@pytest.mark.parametrize("seed", range(3))
def test_redundant_equalities_are_left_out(seed: int, dtype: Any, jit_compile: bool) -> None:
    n = 6
    row = np.random.default_rng(seed).uniform(0.5, 1, n).astype(dtype)
    one = equality(lambda w: tf.tensordot(row, w, 1) - 1)
    more = [equality(lambda w, k=k: tf.tensordot(row * dtype(k), w, 1) - dtype(k)) for k in (1 / 3, 0.7)]

    def solve(constraints: Any) -> Any:
        return tfm.minimize(
            _portfolio(n, dtype, seed),
            np.full(n, 0.3, dtype),
            method="SLSQP",
            bounds=(0, 1),
            constraints=constraints,
            jit_compile=jit_compile,
        )

    result, expected = solve([one, *more]), solve([one])
    assert result.success, result.message
    assert result.constr_violation <= 1e-6
    np.testing.assert_allclose(result.fun, expected.fun, rtol=1e-4)


@pytest.mark.parametrize("ftol", [1e-4, 1e-5, 1e-6])
def test_contradiction_below_ftol_succeeds_in_a_host_function(ftol: float) -> None:
    constraint = {"type": "eq", "fun": lambda x: x[0] + x[1] - 2 - ftol / 10, "jac": lambda x: np.ones(2)}
    result = scipy.optimize.minimize(
        lambda x: float(((x - 0.2) ** 2).sum()),
        np.zeros(2),
        jac=lambda x: 2 * (x - 0.2),
        method=tfm.scipy.slsqp,
        bounds=[(0, 1)] * 2,
        constraints=constraint,
        options={"ftol": ftol},
    )
    assert result.success, result.message
    np.testing.assert_allclose(result.x, 1)


@pytest.mark.slow
@DTYPES
def test_contradiction_below_ftol_succeeds_in_a_graph(dtype: Any) -> None:
    @tf.function
    def solve(x0: Any) -> Any:
        return tfm.ops.minimize(
            lambda x: tf.reduce_sum((x - 0.2) ** 2),
            x0,
            method="SLSQP",
            bounds=(0, 0.1),
            constraints=equality(lambda x: tf.reduce_sum(x) - 1),
        )

    result = solve(tf.fill([10], dtype(0.05)))
    assert bool(result.success)
    np.testing.assert_allclose(result.x, 0.1, rtol=1e-5)


@pytest.mark.slow
@JIT_COMPILE
@DTYPES
@pytest.mark.parametrize("constrained", [False, True])
def test_gradient_of_the_wrong_sign_is_named(constrained: bool, dtype: Any, jit_compile: bool) -> None:
    x0 = np.array([-1.2, 1, 0.7], dtype)
    result = tfm.minimize(
        lambda x: _reverse(tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)),
        x0,
        method="SLSQP",
        constraints=equality(lambda x: tf.reduce_sum(x) - 0.5) if constrained else (),
        jit_compile=jit_compile,
    )
    assert result.status == 10
    assert "check the sign" in result.message
    np.testing.assert_array_equal(result.x, x0)


@pytest.mark.parametrize("seed", range(5))
def test_rounding_of_a_float32_loss_is_no_wrong_gradient(seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((40, 10)).astype(np.float32)
    target = matrix @ generator.standard_normal(10).astype(np.float32)

    def misfit(x: Any) -> Any:
        fit = tf.linalg.matvec(matrix, x)
        return tf.reduce_sum(fit**2) - 2 * tf.tensordot(fit, target, 1) + tf.reduce_sum(target**2)

    result = tfm.minimize(misfit, np.zeros(10, np.float32), method="SLSQP")
    assert "gradient" not in result.message


@pytest.mark.parametrize("kind", ["eq", "ineq"])
def test_constraint_that_depends_on_nothing_ends_a_solve_of_several_dtypes(kind: str) -> None:
    result = tfm.minimize(
        lambda x: tf.reduce_sum((tf.cast(x[0], tf.float64) - 1) ** 2) + tf.reduce_sum((x[1] - 2) ** 2),
        [np.zeros(2, np.float32), np.zeros(3)],
        method="SLSQP",
        constraints={"type": kind, "fun": lambda x: 0 * tf.reduce_sum(x[1]) - 1},
        options={"maxiter": 10**30},
    )
    assert result.status == (6 if kind == "eq" else 8)
    assert result.nit < 20


@JIT_COMPILE
@pytest.mark.parametrize("start", [5.0, 100.0, 1500.0])
def test_solve_turns_back_from_the_bound_of_a_square_root(start: float, jit_compile: bool) -> None:
    result = tfm.minimize(
        lambda x: tf.reduce_sum(x - 2 * tf.sqrt(x)),
        np.array([2.0, start]),
        method="SLSQP",
        bounds=(0, None),
        jit_compile=jit_compile,
    )
    assert result.success, result.message
    # Flat between 0 and 1: both may stop early.
    with np.errstate(all="ignore"):
        theirs = scipy.optimize.minimize(
            lambda x: (np.sum(x - 2 * np.sqrt(x)), 1 - 1 / np.sqrt(x)),
            np.array([2.0, start]),
            jac=True,
            method="SLSQP",
            bounds=[(0, None)] * 2,
        )
    assert result.fun < theirs.fun + 1e-6
