"""Solvers that are used again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock
from results import assert_same

import tfminimize as tfm
from tfminimize import _native
from tfminimize._solve import native

STARTS = [[-1.2, 1.0, 0.5], [2.0, -1.0, 0.3], [0.1, 0.1, 0.1]]
PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "L-BFGS-B": {},
    "bounds": {"bounds": [(-0.5, 0.5), (None, 0.2), (0.1, 2.0)]},
    "BFGS": {"method": "BFGS"},
    "SLSQP": {"method": "SLSQP"},
    "constraints": {
        "constraints": [
            {"type": "eq", "fun": lambda x: x[0] * x[1] - x[2]},
            {"type": "ineq", "fun": lambda x: 2.0 - tf.reduce_sum(x**2)},
        ],
        "method": "SLSQP",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_later_solves_have_the_bits_of_a_first_one(problem: Mapping[str, Any]) -> None:
    minimizer = tfm.Minimizer(rosenbrock, np.zeros(3), **problem)
    results = [minimizer.minimize(start, options={"maxiter": 7 + i}) for i, start in enumerate(STARTS)]
    for i, (result, start) in enumerate(zip(results, STARTS, strict=True)):
        first = tfm.Minimizer(rosenbrock, np.zeros(3), **problem).minimize(start, options={"maxiter": 7 + i})
        assert_same(result, first)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_solve_after_one_that_was_broken_off_is_as_a_first_one(problem: Mapping[str, Any]) -> None:
    minimizer = tfm.Minimizer(rosenbrock, np.zeros(3), **problem)
    first = minimizer.minimize(STARTS[0])
    calls = 0

    def breaks_off(_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        minimizer.minimize(STARTS[1], callback=breaks_off)
    assert_same(minimizer.minimize(STARTS[0]), first)


def test_solver_is_kept_while_it_fits_the_options() -> None:
    minimizer = tfm.Minimizer(rosenbrock, np.zeros(3))
    (pool,) = minimizer._program._pools.values()

    def solver(**options: Any) -> Any:
        minimizer.minimize(STARTS[0], options=options)
        return pool.free[0].kept_solver.solver

    kept = solver()
    assert solver(gtol=1e-9, maxiter=3) is kept
    other = solver(maxcor=3)
    assert other is not kept
    assert solver(maxcor=3) is other


def test_large_solver_goes_with_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    minimizer = tfm.Minimizer(rosenbrock, np.zeros(3))
    kept = minimizer.minimize(STARTS[0])
    (pool,) = minimizer._program._pools.values()
    pool.free[0].kept_solver = None
    monkeypatch.setattr(native, "MAX_DOUBLES_KEPT", 0)
    result = minimizer.minimize(STARTS[0])
    assert pool.free[0].kept_solver is None
    minimizer.minimize(STARTS[1])
    assert_same(result, kept)


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS"])
def test_hess_inv_of_an_earlier_result_stays(method: str) -> None:
    minimizer = tfm.Minimizer(rosenbrock, np.zeros(3), method=method)
    result = minimizer.minimize(STARTS[0])
    minimizer.minimize(STARTS[1])
    assert_same(result, tfm.minimize(rosenbrock, STARTS[0], method=method))


def test_array_and_list_of_args_may_change_in_place() -> None:
    target, scales = np.array([1.0, 2.0]), [3.0]
    args = (target, scales)
    minimizer = tfm.Minimizer(lambda x, a, s: tf.reduce_sum((x - a * s[0]) ** 2), np.zeros(2), args=args)
    np.testing.assert_allclose(minimizer.minimize().x, [3.0, 6.0])
    target[0] = 5.0
    np.testing.assert_allclose(minimizer.minimize().x, [15.0, 6.0])
    scales[0] = -1.0
    np.testing.assert_allclose(minimizer.minimize().x, [-5.0, -2.0])


@pytest.mark.parametrize("size", [1, 300])
def test_start_that_is_not_finite_is_found(size: int) -> None:
    minimizer = tfm.Minimizer(lambda x: tf.reduce_sum(x**2), np.zeros(size))
    start = np.zeros(size)
    start[-1] = np.inf
    with pytest.raises(ValueError, match=rf"x0\[{size - 1}\] is inf at the start"):
        minimizer.minimize(start)


def test_start_may_be_large() -> None:
    minimizer = tfm.Minimizer(lambda x: tf.reduce_sum(tf.abs(x)), np.zeros(2))
    assert minimizer.minimize([1e200, -1e200], options={"maxiter": 0}).fun == 2e200


def test_restart_refuses_another_number_of_pairs_and_changes_nothing() -> None:
    x, g = _native.aligned_zeros(2), _native.aligned_zeros(2)
    solver = _native.Lbfgsb(x, g)
    g[:] = 1.0
    solver.advance(1.0)
    moved = x.copy()
    with pytest.raises(ValueError, match="maxcor must stay what it was"):
        solver.restart(maxcor=3)
    assert (solver.nfev, solver.fun) == (1, 1.0)
    np.testing.assert_array_equal(x, moved)
    solver.restart()
    assert (solver.nfev, solver.request) == (0, _native.Request.EVALUATE)


def test_restart_refuses_bounds_that_have_crossed() -> None:
    x, g, low, high = (_native.aligned_zeros(2) for _ in range(4))
    solver = _native.Lbfgsb(x, g, lower=low, upper=high)
    low[1] = 2.0
    with pytest.raises(ValueError, match="each lower bound must be at most its upper bound"):
        solver.restart()
    high[1] = 3.0
    solver.restart()
    np.testing.assert_array_equal(x, [0.0, 2.0])


def test_driven_solver_cannot_be_restarted() -> None:
    x, g = _native.aligned_zeros(2), _native.aligned_zeros(2)
    x[:] = 1.0
    solver = _native.Lbfgsb(x, g)
    objective = _native.HostObjective(lambda x: (float(x @ x), 2 * x))
    with pytest.raises(RuntimeError, match="it cannot be changed"):
        _native.drive(solver, objective, solver.restart)
