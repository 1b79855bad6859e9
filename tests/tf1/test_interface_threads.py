"""Several solves of one interface at once: in threads, and in a callback of a solve."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

v1 = tf.compat.v1

THREADS = 4
ROUNDS = 3


class Quartic:
    """A graph with a loss that is least at the value of a variable that is not optimised."""

    def __init__(self, gathered: bool = False) -> None:
        with tf.Graph().as_default() as self.graph:
            self.x = v1.Variable(np.array([9.0, -9.0]), name="x", use_resource=True)
            table = v1.Variable(np.zeros(2), trainable=False, name="target", use_resource=True)
            target = tf.gather(table, [0, 1]) if gathered else table
            self.loss = tf.reduce_sum(tf.square(self.x - target) + (self.x - target) ** 4)
            self.optimizer = tfm.ScipyOptimizerInterface(self.loss)
            self.value = v1.placeholder(tf.float64, [2])
            self.assign = v1.assign(table, self.value)
            self.initializer = v1.global_variables_initializer()

    def session(self, target: float) -> Any:
        session = v1.Session(graph=self.graph)
        session.run(self.initializer)
        session.run(self.assign, {self.value: [target, -target]})
        return session


def solve_in_threads(problem: Quartic, **arguments: Any) -> None:
    barrier = threading.Barrier(THREADS)

    def solve(i: int) -> None:
        with problem.session(float(i)) as session:
            for _ in range(ROUNDS):
                session.run(problem.initializer)
                session.run(problem.assign, {problem.value: [i, -i]})
                barrier.wait(60)
                result = problem.optimizer.minimize(session, **arguments)
                np.testing.assert_allclose(result.x, [i, -i], atol=1e-3)
                assert result.fun < 1e-5
                np.testing.assert_array_equal(session.run(problem.x), result.x)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(solve, range(THREADS)))


@pytest.mark.parametrize("gathered", [False, True])
def test_sessions_that_differ_in_a_variable_that_is_not_optimised(gathered: bool) -> None:
    solve_in_threads(Quartic(gathered))


def test_sessions_that_differ_in_a_variable_that_is_not_optimised_with_a_loss_callback() -> None:
    problem = Quartic()
    solve_in_threads(problem, fetches=[problem.loss], loss_callback=lambda loss: None)


@pytest.mark.slow
@pytest.mark.parametrize("callback", ["step_callback", "loss_callback"])
@pytest.mark.parametrize("in_thread", [False, True])
def test_callback_minimises_by_the_same_interface(callback: str, in_thread: bool) -> None:
    problem = Quartic()
    found: list[float] = []

    def inner() -> None:
        with problem.session(4.0) as session:
            found.append(problem.optimizer.minimize(session).x[0])

    def call(*_: Any) -> None:
        if in_thread:
            thread = threading.Thread(target=inner)
            thread.start()
            thread.join(60)
            assert not thread.is_alive()
        else:
            inner()

    with problem.session(2.0) as session:
        result = problem.optimizer.minimize(session, **{callback: call})
    np.testing.assert_allclose(result.x, [2.0, -2.0], atol=1e-3)
    np.testing.assert_allclose(found, 4.0, atol=1e-3)


def test_callbacks_of_two_interfaces_minimise_by_each_other() -> None:
    problems = Quartic(), Quartic()
    barrier = threading.Barrier(2)

    def solve(i: int) -> float:
        waited: list[int] = []

        def call(_: Any) -> None:
            if not waited:
                waited.append(barrier.wait(60))
                with problems[1 - i].session(5.0) as other:
                    problems[1 - i].optimizer.minimize(other)

        with problems[i].session(i + 1.0) as session:
            return float(problems[i].optimizer.minimize(session, step_callback=call).x[0])

    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_allclose(list(pool.map(solve, range(2))), [1.0, 2.0], atol=1e-3)


def test_solves_in_turn_share_a_trace() -> None:
    problem = Quartic()
    with problem.session(1.0) as session:
        first = problem.optimizer.minimize(session)
    with problem.session(2.0) as session:
        second = problem.optimizer.minimize(session)
    assert first.timing["trace"] > 0.0
    assert second.timing["trace"] == 0.0
    np.testing.assert_allclose(second.x, [2.0, -2.0], atol=1e-3)


def test_solves_with_callbacks_in_threads() -> None:
    v = tf.Variable(np.full(20, 3.0))
    optimizer = tfm.ScipyOptimizerInterface(lambda: tfm.testing.rosenbrock(20).fun(v))
    agrees: list[bool] = []

    def loss_of(loss: Any, value: Any) -> None:
        x = np.asarray(value)
        expected = np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
        agrees.append(bool(abs(loss - expected) <= 1e-9 * max(1.0, expected)))

    fetches = [lambda: tfm.testing.rosenbrock(20).fun(v), v]

    def solve(i: int) -> Any:
        return optimizer.minimize(fetches=fetches, loss_callback=loss_of)

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(solve, range(2 * THREADS)))
    assert all(agrees)
    assert all(result.success for result in results)
    assert len({id(result) for result in results}) == len(results)
