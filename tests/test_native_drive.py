"""The loop over solver and objective: callbacks, interrupts, exceptions, and what comes after them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interrupts import interrupt_twice
from native_functions import objective, rosenbrock_objective, solve, trace, vector_layout, vectors

import tfminimize as tfm
from tfminimize import _native

START = [-1.2, 1.0]


def solver(n: int, start: Any, **options: Any) -> _native.Lbfgsb:
    x, g = vectors(n, start)
    return _native.Lbfgsb(x, g, **options)


def test_solve_and_timing() -> None:
    native = solver(2, START)
    begin = time.perf_counter()
    timing = _native.drive(native, rosenbrock_objective(2))
    seconds = time.perf_counter() - begin
    np.testing.assert_allclose(native.x, 1.0, atol=1e-4)
    assert (native.request, native.status_code) == (_native.Request.STOPPED, 0)
    assert timing.evaluations == native.nfev
    assert timing.solver > 0
    assert timing.evaluate > 0
    assert timing.solver + timing.evaluate < seconds


def test_callback_sees_every_iteration() -> None:
    native, seen = solver(2, START), []
    _native.drive(native, rosenbrock_objective(2), lambda: seen.append((native.nit, native.fun)))
    assert [nit for nit, _ in seen] == list(range(1, native.nit + 1))
    values = [fun for _, fun in seen]
    assert values == sorted(values, reverse=True)


def test_callback_stops() -> None:
    native = solver(2, START)
    _native.drive(native, rosenbrock_objective(2), lambda: native.nit == 3)
    assert (native.nit, native.status, native.status_code) == (3, _native.Status.CALLER_STOPPED, 99)


def test_callback_reads_the_solver_but_does_not_change_it() -> None:
    native = solver(2, START, maxiter=3)
    states = []

    def observe() -> None:
        s, y = native.corrections()
        assert s.shape == y.shape == (native.num_corrections, 2)
        states.append(native.save())
        for change in (lambda: native.advance(0.0), native.stop, lambda: native.restore(states[-1])):
            with pytest.raises(RuntimeError, match="cannot be changed"):
                change()

    _native.drive(native, rosenbrock_objective(2), observe)
    assert len(states) == 3
    native.restore(states[0])
    assert native.nit == 1


def test_solver_cannot_be_read_while_it_is_driven_in_another_thread() -> None:
    native = solver(1000, -1.2)
    inside, done = threading.Event(), threading.Event()

    def fun(x: Any) -> tuple[float, Any]:
        inside.set()
        done.wait(10)
        return float(x @ x), 2 * x

    thread = threading.Thread(target=_native.drive, args=(native, _native.HostFunction(fun)))
    thread.start()
    assert inside.wait(10)
    for use in (lambda: native.nit, native.save, lambda: native.advance(0.0)):
        with pytest.raises(RuntimeError, match="is being driven"):
            use()
    done.set()
    thread.join()
    assert native.status_code == 0


def test_restored_solver_goes_on_to_the_same_bits() -> None:
    whole, states = solver(6, -1.2), []
    _native.drive(whole, rosenbrock_objective(6), lambda: states.append(whole.save()))
    rest = solver(6, 0.0)
    rest.restore(states[4])
    _native.drive(rest, rosenbrock_objective(6))
    np.testing.assert_array_equal(rest.x, whole.x)
    assert (rest.nit, rest.fun) == (whole.nit, whole.fun)


class MyError(Exception):
    pass


@pytest.mark.parametrize("kind", [MyError, StopIteration, KeyboardInterrupt, SystemExit])
def test_exception_of_the_callback_comes_through_and_the_objective_works_again(kind: type[BaseException]) -> None:
    function, mine = rosenbrock_objective(2), kind("mine")

    def observe() -> None:
        raise mine

    with pytest.raises(kind) as caught:
        _native.drive(solver(2, START), function, observe)
    assert caught.value is mine
    np.testing.assert_allclose(solve(function, 2, START), 1.0, atol=1e-4)


def test_truth_of_the_callback_may_raise() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        _native.drive(solver(2, START), rosenbrock_objective(2), lambda: np.zeros(2))


def test_solver_can_be_driven_on_after_an_exception() -> None:
    native, raised = solver(2, START), []

    def observe() -> None:
        if not raised:
            raised.append(True)
            raise MyError

    with pytest.raises(MyError):
        _native.drive(native, rosenbrock_objective(2), observe)
    _native.drive(native, rosenbrock_objective(2), observe)
    np.testing.assert_array_equal(native.x, solve(rosenbrock_objective(2), 2, START))


def test_nested_solve_in_the_callback() -> None:
    inner = rosenbrock_objective(2)
    solutions = []
    _native.drive(
        solver(2, START, maxiter=2), rosenbrock_objective(2), lambda: solutions.append(solve(inner, 2, START)) and None
    )
    np.testing.assert_allclose(solutions, 1.0, atol=1e-4)


def test_global_interpreter_lock_is_free_during_a_solve() -> None:
    native = solver(1000, -1.2, gtol=0.0, ftol=0.0, maxiter=3000)
    thread = threading.Thread(target=_native.drive, args=(native, rosenbrock_objective(1000)))
    thread.start()
    count = 0
    while thread.is_alive():
        count += 1
    thread.join()
    assert count > 1000


# What the solve that Ctrl-C ends minimises.
INTERRUPTED: dict[str, str] = {
    "many evaluations": "function = rosenbrock_objective(20_000)",
    "a loop in one evaluation": """
layout = vector_layout(20_000)
function = objective(trace(lambda x: tf.reduce_sum(x ** 2) + 0 * tf.while_loop(
    lambda i, s: i < 10 ** 9, lambda i, s: (i + 1, tf.sin(s)), [0, x])[1][0], layout), layout)
""",
    "a Python function": """
import scipy.optimize
function = _native.HostFunction(
    lambda x: (time.sleep(0.001), (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)))[1])
""",
}


@pytest.mark.subprocess
@pytest.mark.parametrize("name", INTERRUPTED)
def test_keyboard_interrupt_ends_a_solve_that_takes_many_minutes(name: str) -> None:
    setup = f"from native_functions import *\nfrom tfminimize import _native\n{INTERRUPTED[name]}"
    solve = """
        solver = _native.Lbfgsb(*vectors(20_000, -1.2), gtol=0.0, ftol=0.0, maxiter=10 ** 9, maxfun=10 ** 9)
        _native.drive(solver, function)
    """
    interrupt_twice(setup, solve, "assert signal.set_wakeup_fd(-1) == -1")


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP"])
def test_keyboard_interrupt_that_a_callback_catches_cancels_no_evaluation(method: str) -> None:
    def loop(x: tf.Tensor) -> tf.Tensor:  # what TensorFlow can cancel
        turns = tf.while_loop(lambda i, s: i < 2000, lambda i, s: (i + 1, tf.sin(s)), [0, tf.stop_gradient(x)])
        return tf.reduce_sum((x - 1) ** 4) + 0 * turns[1][0]

    caught: list[Any] = []

    def callback(x: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            caught.append(x)

    result = tfm.minimize(loop, np.zeros(3), method=method, callback=callback)
    assert result.success
    assert len(caught) >= result.nit - 1 > 2


def test_other_signals_are_handled_during_a_solve() -> None:
    class Alarm(Exception):
        pass

    def handle(*_: Any) -> None:
        raise Alarm

    def solve_for_ever() -> None:
        function = _native.HostFunction(lambda x: (float(x @ x), np.cos(x)))
        while True:
            _native.drive(solver(1000, -1.2, gtol=0.0, ftol=0.0), function)

    previous = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            solve_for_ever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_own_handler_of_ctrl_c_does_not_cancel_an_evaluation() -> None:
    handled: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: handled.append(number))
    try:
        loop: Callable[[tf.Tensor], tf.Tensor] = lambda x: (  # noqa: E731
            tf.reduce_sum(x**2)
            + 0 * tf.while_loop(lambda i, s: i < 100_000, lambda i, s: (i + 1, tf.sin(s)), [0, x])[1][0]
        )
        function = objective(trace(loop, vector_layout(4)), vector_layout(4))
        threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGINT)).start()
        x, g = vectors(4, 1.0)
        while not handled:
            _native.drive(_native.Lbfgsb(x, g, maxiter=1), function)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert handled == [signal.SIGINT]


def test_event_loop_is_still_woken_by_signals() -> None:
    import os

    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    previous_fd = signal.set_wakeup_fd(write)
    previous = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:

        def fun(x: Any) -> tuple[float, Any]:
            signal.raise_signal(signal.SIGUSR1)
            return float(x @ x), 2 * x

        _native.drive(solver(4, 1.0, maxiter=1), _native.HostFunction(fun))
        assert os.read(read, 100).strip(bytes([signal.SIGUSR1])) == b""
        assert signal.set_wakeup_fd(previous_fd) == write
    finally:
        signal.signal(signal.SIGUSR1, previous)
        signal.set_wakeup_fd(previous_fd)
        os.close(read)
        os.close(write)


def test_nan_at_the_start() -> None:
    native = solver(2, np.nan)
    timing = _native.drive(native, rosenbrock_objective(2))
    assert (native.status, timing.evaluations) == (_native.Status.NON_FINITE_START, 1)


@pytest.mark.subprocess
def test_thread_that_cannot_be_started_leaves_signals_and_files_as_they_were() -> None:
    # Stacks so large that threads do not keep them for the next one, and no memory for another.
    script = f"""
import os, resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from native_functions import *
from tfminimize import _native
function = rosenbrock_objective(8)
x, g = vectors(8, -1.2)
solver = _native.Lbfgsb(x, g)
files = len(os.listdir("/proc/self/fd"))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 2 ** 22, before[1]))
try:
    _native.drive(solver, function)
except RuntimeError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, before)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
assert len(os.listdir("/proc/self/fd")) == files
_native.drive(solver, function)
assert solver.status_code == 0
"""
    command = ["sh", "-c", 'ulimit -s 100000 && exec "$0" -c "$1"', sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "temporarily unavailable" in done.stdout


@pytest.mark.subprocess
def test_interpreter_ends_while_daemon_threads_solve() -> None:
    script = f"""
import sys, threading, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from native_functions import *
from tfminimize import _native
def solve_forever(function):
    while True:
        x, g = vectors(8, -1.2)
        _native.drive(_native.Lbfgsb(x, g), function, lambda: False)
        function.evaluate(x, g)
for function in (_native.HostFunction(lambda x: (float(x @ x), 2 * x)), rosenbrock_objective(8)):
    threading.Thread(target=solve_forever, args=(function,), daemon=True).start()
time.sleep(0.3)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
