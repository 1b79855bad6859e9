"""Ctrl-C and other signals during a solve, and the state after it."""

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
from interpreter import run_parts
from interrupts import interrupted_twice
from native_functions import objective, trace, vector_layout, vectors

import tfminimize as tfm
from tfminimize import _native


def solver(n: int, start: Any, **options: Any) -> _native.Lbfgsb:
    x, g = vectors(n, start)
    return _native.Lbfgsb(x, g, **options)


# The losses of the solves that Ctrl-C ends.
WITHOUT_CONSTRAINTS: dict[str, str] = {
    "many evaluations": "function = rosenbrock_objective(20_000)",
    "a loop in one evaluation": """
layout = vector_layout(20_000)
function = objective(trace(lambda x: tf.reduce_sum(x ** 2) + 0 * tf.while_loop(
    lambda i, s: i < 10 ** 9, lambda i, s: (i + 1, tf.sin(s)), [0, x])[1][0], layout), layout)
""",
    "a Python function": """
function = _native.HostObjective(
    lambda x: (time.sleep(0.001), (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)))[1])
""",
}

WITH_CONSTRAINTS: dict[str, str] = {
    "many evaluations": "function = constrained_objective(quick, LAYOUT)",
    "a loop in values and derivatives": "function = constrained_objective(slow, LAYOUT)",
    "a loop in the values alone": "function = constrained_objective(quick._replace(values=slow.values), LAYOUT)",
    "Python functions": """
function = _native.HostObjective(
    lambda x: (time.sleep(0.001), (scipy.optimize.rosen(x), [x @ x - 100.0, x.sum() - 1.0]))[1],
    lambda x: (scipy.optimize.rosen_der(x), np.stack([2.0 * x, np.ones(100)])))
""",
}


SETUP = """
import signal, time
import numpy as np, scipy.optimize, tensorflow as tf
from native_constrained import constrained_objective, memory, trace_constrained
from native_functions import *
from tfminimize import _native
LAYOUT = vector_layout(100)
def sphere_and_plane(x):
    return tf.stack([tf.reduce_sum(x ** 2) - 100.0, tf.reduce_sum(x) - 1.0])
def endless(x):
    loop = tf.while_loop(lambda i, s: i < 10 ** 9, lambda i, s: (i + 1, tf.sin(s)), [0, x])
    return 0 * tf.stop_gradient(loop[1])
quick = trace_constrained(rosenbrock, sphere_and_plane, LAYOUT)
slow = trace_constrained(rosenbrock, lambda x: sphere_and_plane(x) + endless(x[:2]), LAYOUT)
"""

SOLVE = """
solver = _native.Lbfgsb(*vectors(20_000, -1.2), gtol=0.0, ftol=0.0, maxiter=10 ** 9, maxfun=10 ** 9)
_native.drive(solver, function)
"""
# One solve of many evaluations takes less than a second, so they follow each other.
SOLVE_WITH_CONSTRAINTS = """
while True:
    _native.drive(_native.Slsqp(*memory(100, 2, -1.2), 1, ftol=0.0, maxiter=10 ** 9), function)
"""

PARTS = {
    f"{name}{suffix}": make + "\n" + interrupted_twice(solve, "assert signal.set_wakeup_fd(-1) == -1")
    for makes, solve, suffix in (
        (WITHOUT_CONSTRAINTS, SOLVE, ""),
        (WITH_CONSTRAINTS, SOLVE_WITH_CONSTRAINTS, ", with constraints"),
    )
    for name, make in makes.items()
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return run_parts(SETUP, PARTS)


@pytest.mark.subprocess
@pytest.mark.parametrize("part", PARTS)
def test_keyboard_interrupt_ends_a_solve_that_takes_many_minutes(errors: dict[str, str], part: str) -> None:
    assert errors[part] == ""


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_keyboard_interrupt_that_a_callback_catches_cancels_no_evaluation(method: str) -> None:
    def loop(x: tf.Tensor) -> tf.Tensor:  # TensorFlow can cancel this
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
        function = _native.HostObjective(lambda x: (float(x @ x), np.cos(x)))
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


@pytest.mark.slow
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

        _native.drive(solver(4, 1.0, maxiter=1), _native.HostObjective(fun))
        assert os.read(read, 100).strip(bytes([signal.SIGUSR1])) == b""
        assert signal.set_wakeup_fd(previous_fd) == write
    finally:
        signal.signal(signal.SIGUSR1, previous)
        signal.set_wakeup_fd(previous_fd)
        os.close(read)
        os.close(write)


@pytest.mark.subprocess
def test_thread_that_cannot_be_started_leaves_signals_and_files_as_they_were() -> None:
    # Stacks too large to be kept for the next thread, and too little memory for another.
    script = f"""
import os, resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
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
