"""Solves in greenlets (gevent, trieste), whose functions and callbacks switch to each other in any order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from greenlet import getcurrent, greenlet
from interpreter import run_program

import tfminimize as tfm

STARTS = [np.array([-1.2, 1.0]), np.array([2.0, -1.0]), np.array([0.5, 3.0])]
# Repeatedly: which of the running greenlets is next.
ORDERS = {
    "in turn": (0, 1, 2),
    "last out first": (0, 1, 2, 2, 2, 2, 2, 1, 1, 1),
    "one ahead": (0, 0, 0, 1, 2, 1),
    "in no order": (2, 0, 1, 1, 0, 2, 0, 1, 0, 0, 2, 1, 2),
}


def pause() -> None:
    """Let the others run, if a greenlet of `interleaved` runs this."""
    parent = getcurrent().parent
    if parent is not None:
        parent.switch()


def interleaved(tasks: list[Callable[[], Any]], order: tuple[int, ...]) -> list[Any]:
    """Run each task in a greenlet and return their results."""
    results: list[Any] = [None] * len(tasks)

    def run(i: int) -> None:
        results[i] = tasks[i]()

    running = [greenlet(lambda i=i: run(i)) for i in range(len(tasks))]
    turns: Iterator[int] = itertools.cycle(order)
    while running:
        running[next(turns) % len(running)].switch()
        running = [g for g in running if not g.dead]
    return results


def fun(x: Any) -> tuple[float, Any]:
    pause()
    return float(scipy.optimize.rosen(x)), scipy.optimize.rosen_der(x)


def loss(x: tf.Tensor) -> tf.Tensor:
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def make_python_loss(between: Callable[[], None]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Rosenbrock's function in tf.py_function, which calls between()."""

    def python(x: tf.Tensor) -> Any:
        between()
        return np.float64(scipy.optimize.rosen(x.numpy())), scipy.optimize.rosen_der(x.numpy())

    @tf.custom_gradient
    def python_loss(x: tf.Tensor) -> Any:
        value, gradient = tf.py_function(python, [x], [tf.float64, tf.float64])
        value.set_shape([])
        gradient.set_shape([2])
        return value, lambda upstream: upstream * gradient

    return lambda x: python_loss(x)


python_loss = make_python_loss(lambda: None)


def observe(*_: Any) -> None:
    pause()


CIRCLE = {"type": "ineq", "fun": lambda x: 2.0 - x[0] ** 2 - x[1] ** 2}
COMPILED = {
    "L-BFGS-B": tfm.Minimizer(loss, STARTS[0]),
    "SLSQP": tfm.Minimizer(loss, STARTS[0], method="SLSQP", constraints=CIRCLE),
    "machine code": tfm.Minimizer(loss, STARTS[0], jit_compile=True),
    "Python": tfm.Minimizer(python_loss, STARTS[0]),
    "Python, SLSQP": tfm.Minimizer(python_loss, STARTS[0], method="SLSQP", constraints=CIRCLE),
}


def host(method: Any, **kwargs: Any) -> Callable[[Any], Any]:
    return lambda x0: scipy.optimize.minimize(fun, x0, jac=True, method=method, **kwargs)


SOLVES: dict[str, Callable[[Any], Any]] = {
    "a host function, L-BFGS-B": host(tfm.scipy.lbfgsb),
    "a host function, SLSQP": host(tfm.scipy.slsqp, constraints=CIRCLE),
    "a host function and a callback": host(tfm.scipy.lbfgsb, callback=observe),
    **{name: lambda x0, solver=solver: solver.minimize(x0, callback=observe) for name, solver in COMPILED.items()},
    "SciPy's method": lambda x0: tfm.minimize(loss, x0, method="BFGS", callback=observe),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("solve", SOLVES.values(), ids=SOLVES)
def test_solves_that_take_turns_give_what_they_give_alone(solve: Callable[[Any], Any], order: tuple[int, ...]) -> None:
    alone = [solve(x0) for x0 in STARTS]
    for a, b in zip(interleaved([lambda x0=x0: solve(x0) for x0 in STARTS], order), alone, strict=True):
        assert np.array_equal(a.x, b.x)
        assert (a.nit, a.nfev, a.status) == (b.nit, b.nfev, b.status)


def test_solves_of_all_kinds_take_turns() -> None:
    tasks = [lambda solve=solve: solve(STARTS[0]) for solve in SOLVES.values()]
    alone = [task() for task in tasks]
    for a, b in zip(interleaved(tasks, ORDERS["in no order"]), alone, strict=True):
        assert np.array_equal(a.x, b.x)


def test_solve_that_fails_leaves_the_others_alone() -> None:
    class Refused(Exception):
        pass

    def failing(x: Any) -> Any:
        pause()
        raise Refused

    def fail() -> str:
        for method in (tfm.scipy.lbfgsb, tfm.scipy.slsqp):
            with pytest.raises(Refused):
                scipy.optimize.minimize(failing, STARTS[0], jac=True, method=method)
        return "refused"

    for order in ORDERS.values():
        results = interleaved([lambda: SOLVES["Python"](STARTS[0]), fail, lambda: SOLVES["Python"](STARTS[1])], order)
        assert results[1] == "refused"
        assert results[0].success
        assert results[2].success


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_another_solve_runs_while_tensorflow_calls_python(method: str) -> None:
    # TensorFlow itself requires nested Python calls to end in reverse order.
    solver = tfm.Minimizer(make_python_loss(pause), STARTS[0], method=method)
    tasks = [lambda x0=x0: solver.minimize(x0) for x0 in STARTS[:2]]
    results = interleaved(tasks, (0, *[1] * 10_000))
    for a, task in zip(results, tasks, strict=True):
        assert np.array_equal(a.x, task().x)


def test_evaluations_take_turns() -> None:
    from tfminimize import _native

    def evaluate(x0: Any) -> float:
        x, g = _native.aligned_zeros(2), _native.aligned_zeros(2)
        x[:] = x0
        return sum(_native.HostObjective(fun).evaluate(x, g) for _ in range(5))

    tasks = [lambda x0=x0: evaluate(x0) for x0 in STARTS]
    assert interleaved(tasks, ORDERS["one ahead"]) == [task() for task in tasks]


def test_batches_take_turns() -> None:
    from tfminimize import _native

    def batch(count: int) -> Any:
        x = np.tile(STARTS[0], (count, 1))
        workspaces = []
        for _ in range(2):
            x0, g = _native.aligned_zeros(2), _native.aligned_zeros(2)
            workspaces.append(_native.Lbfgsb(x0, g))
        objectives = tuple(_native.HostObjective(slow) for _ in workspaces)
        _native.drive_batch(tuple(workspaces), objectives, x, [], lambda done: pause())
        return x

    def slow(x: Any) -> tuple[float, Any]:
        import time

        time.sleep(0.002)
        return float(x @ x), 2 * x

    for x in interleaved([lambda: batch(20), lambda: batch(30), lambda: batch(40)], ORDERS["in no order"]):
        assert np.abs(x).max() < 1e-6


@pytest.mark.subprocess
def test_watches_for_ctrl_c_end_in_any_order() -> None:
    script = f"""
import signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_greenlets import *
before = signal.set_wakeup_fd(-1)
for order in ORDERS.values():
    slow = [tfm.Minimizer(python_loss, x0) for x0 in STARTS]  # how long an evaluation takes is not known yet
    tasks = [lambda m=m, x0=x0: m.minimize(x0, callback=observe) for m, x0 in zip(slow, STARTS)]
    assert all(r.success for r in interleaved(tasks, order))
    assert signal.set_wakeup_fd(-1) == -1
"""
    run_program(script)
