from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

THREADS = 8


def in_threads(solve: Any, count: int = THREADS) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(solve, range(count)))


def assert_same(ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(ours.x, theirs.x)
    np.testing.assert_array_equal(ours.jac, theirs.jac)
    np.testing.assert_array_equal(ours.hess_inv @ np.ones(ours.x.size), theirs.hess_inv @ np.ones(ours.x.size))
    assert (ours.fun, ours.nit, ours.nfev, ours.message) == (theirs.fun, theirs.nit, theirs.nfev, theirs.message)


@pytest.mark.parametrize("problem", [{"bounds": (-2.0, 2.0)}, {"method": "BFGS"}], ids=["L-BFGS-B", "BFGS"])
def test_threads_give_the_results_of_solves_in_turn(problem: Any) -> None:
    rosenbrock = tfm.testing.rosenbrock(20)
    solver = tfm.Minimizer(rosenbrock.fun, rosenbrock.x0, **problem)
    starts = np.random.default_rng(0).normal(size=(4 * THREADS, 20))
    in_turn = [solver.minimize(x0) for x0 in starts]
    at_once = in_threads(lambda i: solver.minimize(starts[i]), len(starts))
    for ours, theirs in zip(at_once, in_turn, strict=True):
        assert_same(ours, theirs)


def test_threads_with_different_args() -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 4), np.zeros(3), args=np.zeros(3))
    targets = np.random.default_rng(0).normal(size=(THREADS, 3))
    in_turn = [solver.minimize(args=a) for a in targets]
    for ours, theirs in zip(in_threads(lambda i: solver.minimize(args=targets[i])), in_turn, strict=True):
        assert_same(ours, theirs)


def test_threads_on_the_same_variables() -> None:
    start = np.resize([-1.2, 1.0], 10)
    v, target = tf.Variable(start), tf.Variable(1.0, dtype=tf.float64)
    solver = tfm.Minimizer(lambda: tfm.testing.rosenbrock(10).fun(v * target), v)
    expected = solver.minimize()
    v.assign(start)
    # The first solve to end assigns the variables, so later ones may start at the solution.
    results = in_threads(lambda i: solver.minimize())
    assert any(result.nfev == expected.nfev for result in results)
    assert all(result.success for result in results)


def test_threads_with_callbacks() -> None:
    problem = tfm.testing.rosenbrock(5)
    solver = tfm.Minimizer(problem.fun, problem.x0)

    def solve(i: int) -> Any:
        seen: list[Any] = []
        result = solver.minimize(problem.x0 + i, callback=seen.append)
        assert len(seen) == result.nit
        return result

    in_turn = [solve(i) for i in range(THREADS)]
    for ours, theirs in zip(in_threads(solve), in_turn, strict=True):
        assert_same(ours, theirs)


def test_minimize_traces_once_from_many_threads() -> None:
    tfm.clear_cache()
    traces = 0

    def fun(x: tf.Tensor) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return tf.reduce_sum((x - 1.0) ** 2)

    results = in_threads(lambda i: tfm.minimize(fun, np.full(3, float(i))))
    assert traces == 1
    assert all(np.allclose(result.x, 1.0, atol=1e-6) for result in results)


def test_fault_in_one_thread_leaves_the_others_alone() -> None:
    problem = tfm.testing.rosenbrock(5)
    solver = tfm.Minimizer(problem.fun, problem.x0)
    expected = solver.minimize()

    def solve(i: int) -> Any:
        def callback(xk: np.ndarray) -> None:
            if i % 2:
                raise ZeroDivisionError

        try:
            return solver.minimize(callback=callback)
        except ZeroDivisionError:
            return None

    for i, result in enumerate(in_threads(solve)):
        if i % 2:
            assert result is None
        else:
            assert_same(result, expected)
