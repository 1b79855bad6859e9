"""The loop over SLSQP and constrained objectives: callbacks, interrupts, exceptions, and what comes after them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interrupts import interrupt_twice
from native_constrained import (
    circle_host_function,
    circle_objective,
    circle_solver,
    constrained_objective,
    memory,
    rosenbrock,
    solve_circle,
    trace_constrained,
)
from native_functions import rosenbrock_objective, vector_layout, vectors

from tfminimize import _native

OBJECTIVES = {"TensorFlow": circle_objective, "host": circle_host_function}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_solve_and_timing(kind: str) -> None:
    solver, function = circle_solver(), OBJECTIVES[kind]()
    begin = time.perf_counter()
    timing = _native.drive(solver, function)
    seconds = time.perf_counter() - begin
    np.testing.assert_allclose(solver.x, 1.0, atol=1e-5)
    assert (solver.request, solver.status_code) == (_native.Request.STOPPED, 0)
    assert timing.solver > 0
    assert timing.evaluate > 0
    assert timing.solver + timing.evaluate < seconds
    assert solver.nfev <= timing.evaluations <= solver.nfev + solver.njev + 1


def test_solver_and_objective_must_belong_together() -> None:
    for solver, function in (
        (circle_solver(), rosenbrock_objective(2)),
        (_native.Lbfgsb(*vectors(2)), circle_objective()),
    ):
        with pytest.raises(TypeError, match="takes a Lbfgsb and an Objective, or a Slsqp and a ConstrainedObjective"):
            _native.drive(solver, function)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_callback_sees_every_iteration(kind: str) -> None:
    solver, seen = circle_solver(), []
    _native.drive(solver, OBJECTIVES[kind](), lambda: seen.append((solver.nit, solver.fun, solver.x.copy())))
    iterations = [nit for nit, _, _ in seen]
    assert iterations == sorted(set(iterations))
    assert iterations[-1] == solver.nit
    for _, fun, x in seen:  # the accepted iterate, not a trial
        assert fun == pytest.approx(rosenbrock(x), rel=1e-12)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_callback_stops(kind: str) -> None:
    solver = circle_solver()
    _native.drive(solver, OBJECTIVES[kind](), lambda: solver.nit == 3)
    assert (solver.nit, solver.status, solver.status_code) == (3, _native.SlsqpStatus.CALLER_STOPPED, 99)
    assert solver.fun == pytest.approx(rosenbrock(solver.x), rel=1e-12)


def test_callback_reads_the_solver_but_does_not_change_it() -> None:
    solver, states = circle_solver(maxiter=3), []

    def observe() -> None:
        assert solver.multipliers().shape == solver.constraints.shape == (2,)
        assert solver.jacobian.shape == (2, 8)
        assert (solver.constr_violation >= 0, solver.njev <= solver.nfev) == (True, True)
        states.append(solver.save())
        for change in (lambda: solver.advance(0.0), solver.stop, lambda: solver.restore(states[-1])):
            with pytest.raises(RuntimeError, match="cannot be changed"):
                change()

    _native.drive(solver, circle_objective(), observe)
    assert len(states) == 3
    solver.restore(states[0])
    assert solver.nit == 1


def test_solver_cannot_be_read_while_it_is_driven_in_another_thread() -> None:
    solver = circle_solver()
    inner, arrays = circle_host_function(), memory(2, 2)
    inside, done = threading.Event(), threading.Event()

    def values(x: Any) -> Any:
        inside.set()
        done.wait(10)
        arrays.x[:] = x
        return inner.evaluate_values(arrays.x, arrays.constraints), arrays.constraints

    def derivatives(x: Any) -> Any:
        arrays.x[:] = x
        inner.evaluate_derivatives(arrays.x, arrays.gradient, arrays.jacobian)
        return arrays.gradient, arrays.jacobian[:, :2]

    function = _native.ConstrainedHostFunction(values, derivatives)
    thread = threading.Thread(target=_native.drive, args=(solver, function))
    thread.start()
    assert inside.wait(10)
    for use in (lambda: solver.njev, solver.multipliers, solver.save, lambda: solver.advance(0.0)):
        with pytest.raises(RuntimeError, match="is being driven"):
            use()
    done.set()
    thread.join()
    assert solver.status_code == 0


@pytest.mark.parametrize("iteration", [0, 2, 5])
def test_restored_solver_goes_on_to_the_same_bits(iteration: int) -> None:
    whole, states = circle_solver(), []
    _native.drive(whole, circle_objective(), lambda: states.append(whole.save()))
    rest = circle_solver(start=0.0)
    rest.restore(states[iteration])
    _native.drive(rest, circle_objective())
    for name in ("x", "gradient", "constraints", "jacobian"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(whole, name))
    np.testing.assert_array_equal(rest.multipliers(), whole.multipliers())
    assert (rest.nit, rest.nfev, rest.njev, rest.fun) == (whole.nit, whole.nfev, whole.njev, whole.fun)


class MyError(Exception):
    pass


@pytest.mark.parametrize("kind", [MyError, StopIteration, KeyboardInterrupt, SystemExit])
def test_exception_of_the_callback_comes_through_and_the_objective_works_again(kind: type[BaseException]) -> None:
    function, mine = circle_objective(), kind("mine")

    def observe() -> None:
        raise mine

    with pytest.raises(kind) as caught:
        _native.drive(circle_solver(), function, observe)
    assert caught.value is mine
    np.testing.assert_allclose(solve_circle(function), 1.0, atol=1e-5)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_solver_can_be_driven_on_after_an_exception(kind: str) -> None:
    solver, function, raised = circle_solver(), OBJECTIVES[kind](), []

    def observe() -> None:
        if len(raised) < 3:
            raised.append(True)
            raise MyError

    for _ in range(3):
        with pytest.raises(MyError):
            _native.drive(solver, function, observe)
    _native.drive(solver, function, observe)
    np.testing.assert_array_equal(solver.x, solve_circle(function))


@pytest.mark.parametrize("failing", ["values", "derivatives"])
def test_solver_can_be_driven_on_after_an_evaluation_that_failed(failing: str) -> None:
    inner, arrays, count = circle_host_function(), memory(2, 2), {"values": 0, "derivatives": 0}

    def note(which: str, x: Any) -> None:
        count[which] += 1
        if which == failing and count[which] == 3:
            raise MyError
        arrays.x[:] = x

    def values(x: Any) -> Any:
        note("values", x)
        return inner.evaluate_values(arrays.x, arrays.constraints), arrays.constraints

    def derivatives(x: Any) -> Any:
        note("derivatives", x)
        inner.evaluate_derivatives(arrays.x, arrays.gradient, arrays.jacobian)
        return arrays.gradient, arrays.jacobian[:, :2]

    solver, function = circle_solver(), _native.ConstrainedHostFunction(values, derivatives)
    with pytest.raises(MyError):
        _native.drive(solver, function)
    _native.drive(solver, function)
    np.testing.assert_array_equal(solver.x, solve_circle(inner))
    assert count[failing] == (solver.nfev if failing == "values" else solver.njev) + 1


def test_nested_solve_in_the_callback() -> None:
    inner, solutions = circle_objective(), []
    _native.drive(circle_solver(maxiter=2), circle_objective(), lambda: solutions.append(solve_circle(inner)))
    assert len(solutions) == 2
    np.testing.assert_allclose(solutions, 1.0, atol=1e-5)


def test_global_interpreter_lock_is_free_during_a_solve() -> None:
    layout = vector_layout(200)
    traced = trace_constrained(lambda x: tf.reduce_sum(tf.cosh(x - 3.0)), lambda x: 1.0 - x[:100] ** 2, layout)
    function, solver = constrained_objective(traced, layout), _native.Slsqp(*memory(200, 100), 0, ftol=0.0)
    thread = threading.Thread(target=_native.drive, args=(solver, function))
    thread.start()
    count = 0
    while thread.is_alive():
        count += 1
    thread.join()
    assert solver.nit > 1
    assert count > 1000


# What the solve that Ctrl-C ends minimises.
INTERRUPTED: dict[str, str] = {
    "many evaluations": "function = constrained_objective(quick, LAYOUT)",
    "a loop in values and derivatives": "function = constrained_objective(slow, LAYOUT)",
    "a loop in the values alone": "function = constrained_objective(quick._replace(values=slow.values), LAYOUT)",
    "Python functions": """
import scipy.optimize
function = _native.ConstrainedHostFunction(
    lambda x: (time.sleep(0.001), (scipy.optimize.rosen(x), [x @ x - 100.0, x.sum() - 1.0]))[1],
    lambda x: (scipy.optimize.rosen_der(x), np.stack([2.0 * x, np.ones(100)])))
""",
}


@pytest.mark.subprocess
@pytest.mark.parametrize("name", INTERRUPTED)
def test_keyboard_interrupt_ends_a_solve_that_takes_many_minutes(name: str) -> None:
    setup = f"""
from native_constrained import *
from native_functions import rosenbrock, vector_layout
from tfminimize import _native
LAYOUT = vector_layout(100)
def sphere_and_plane(x):
    return tf.stack([tf.reduce_sum(x ** 2) - 100.0, tf.reduce_sum(x) - 1.0])
def endless(x):
    loop = tf.while_loop(lambda i, s: i < 10 ** 9, lambda i, s: (i + 1, tf.sin(s)), [0, x])
    return 0 * tf.stop_gradient(loop[1])
quick = trace_constrained(rosenbrock, sphere_and_plane, LAYOUT)
slow = trace_constrained(rosenbrock, lambda x: sphere_and_plane(x) + endless(x[:2]), LAYOUT)
{INTERRUPTED[name]}
"""
    solve = """
        _native.drive(_native.Slsqp(*memory(100, 2, -1.2), 1, ftol=0.0, maxiter=10 ** 9), function)
    """
    interrupt_twice(setup, solve, "assert signal.set_wakeup_fd(-1) == -1")


def test_nan_at_the_start() -> None:
    for function in (circle_objective(), circle_host_function()):
        solver = circle_solver(start=np.nan)
        timing = _native.drive(solver, function)
        assert solver.status is _native.SlsqpStatus.NON_FINITE_START
        assert (solver.status_code, timing.evaluations) == (10, 1)


@pytest.mark.subprocess
def test_interpreter_ends_while_daemon_threads_solve() -> None:
    script = f"""
import sys, threading, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from native_constrained import *
from tfminimize import _native
def solve_forever(function):
    while True:
        _native.drive(circle_solver(), function, lambda: False)
        function.evaluate(*memory(2, 2))
for function in (circle_host_function(), circle_objective()):
    threading.Thread(target=solve_forever, args=(function,), daemon=True).start()
time.sleep(0.3)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
