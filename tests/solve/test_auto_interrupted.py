"""jit_compile="auto" and Ctrl-C or a fork while the other ways are made."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_parts
from problems import bowl, rosenbrock

import tfminimize as tfm
from tfminimize._solve import ways
from tfminimize._tf import private, xla

X0 = np.full(20_000, -1.2)
MINUTES = {"ftol": 0.0, "gtol": 0.0, "maxiter": 10**9, "maxfun": 10**9}


def settled(solver: tfm.Minimizer, variable: tf.Variable, x0: Any) -> Any:
    """Return the result of the way that has won."""
    (pool,) = solver._program._pools.values()
    while True:
        variable.assign(x0)
        result = solver.minimize()
        if pool.ways is None or pool.ways.is_settled():
            return result
        time.sleep(0.001)


class Held:
    """Takes the place of the compilation by XLA: presses Ctrl-C, and waits."""

    def __init__(self) -> None:
        self._compile = xla.compile_functions
        self._go_on = threading.Event()
        self.is_waiting = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._go_on.is_set():
            self.is_waiting = True
            os.kill(os.getpid(), signal.SIGINT)
            self._go_on.wait()
        return self._compile(*args, **kwargs)

    def go_on(self) -> None:
        self.is_waiting = False
        self._go_on.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    compilation = Held()
    monkeypatch.setattr(xla, "compile_functions", compilation)
    yield compilation
    compilation.go_on()


def test_ctrl_c_while_xla_compiles(held: Held) -> None:
    v = tf.Variable(X0)
    solver = tfm.Minimizer(lambda: rosenbrock(v), v, jit_compile="auto")
    with pytest.raises(KeyboardInterrupt):
        solver.minimize(options=MINUTES)
    assert held.is_waiting
    np.testing.assert_array_equal(v, X0)
    result = solver.minimize(options={"maxiter": 3})
    assert (result.nit, result.backend) == (3, "tfe")
    assert "XLA is still compiling the function" in result.backend_reason
    held.go_on()
    assert settled(solver, v, np.ones(20_000)).backend_reason.startswith(
        "jit_compile is 'auto', and this was the fastest"
    )


def test_ctrl_c_while_the_function_is_traced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_PATIENCE", 0.0)
    v = tf.Variable(np.full(3, 2.0))

    def powers() -> tf.Tensor:  # TensorFlow makes another graph of a loop for XLA
        if private.is_for_xla():
            signal.raise_signal(signal.SIGINT)
        y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * v), [0, tf.ones_like(v)], maximum_iterations=3)
        return bowl(v) + tf.reduce_sum(y[1] ** 2)

    solver = tfm.Minimizer(powers, v, jit_compile="auto")

    def solve_until_traced_again() -> None:
        while True:
            v.assign(np.full(3, 2.0))
            solver.minimize()

    with pytest.raises(KeyboardInterrupt):
        solve_until_traced_again()
    np.testing.assert_array_equal(v, np.full(3, 2.0))
    result = solver.minimize()
    assert (result.success, result.backend) == (True, "tfe")
    assert "its trace for XLA was interrupted" in result.backend_reason


SETUP = """
import multiprocessing, os, signal, threading, time
import numpy as np, tensorflow as tf, tfminimize as tfm
from problems import bowl, rosenbrock
from tfminimize._solve import ways
from tfminimize._tf import xla
ways._PATIENCE = 0.0
compile_functions, go_on, X0 = xla.compile_functions, threading.Event(), np.tile([-1.2, 1.0], 5)
def held(*args, **kwargs):
    go_on.wait()
    return compile_functions(*args, **kwargs)
def solver_and_ways(fun):
    global go_on
    go_on = threading.Event()
    xla.compile_functions = held
    solver = tfm.Minimizer(fun, X0, jit_compile="auto")
    while True:
        assert solver.minimize().success
        (pool,) = solver._program._pools.values()
        if pool.ways._job is not None:
            return solver, pool.ways
def solve_often(solver):
    signal.alarm(300)  # ends the process; it is far more than it takes
    return all(solver.minimize().success for _ in range(50))
def check_child(solve, *args):
    child = os.fork()
    if child == 0:
        is_right = False
        try:
            is_right = solve(*args)
        finally:
            os._exit(0 if is_right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
def check_parent(solver, found):
    go_on.set()
    while not found.is_settled():
        assert solver.minimize().success
        time.sleep(0.001)
    assert solver.minimize().success and len(found.ways) > 1
"""
PARTS = {
    "while XLA compiles": """
solver, found = solver_and_ways(rosenbrock)
check_child(solve_often, solver)
check_parent(solver, found)
""",
    "after the race": """
solver, found = solver_and_ways(rosenbrock)
check_parent(solver, found)
check_child(solve_often, solver)
assert solver.minimize().success
""",
    "multiprocessing": """
def run(solver):
    os._exit(0 if solve_often(solver) else 1)
solver, found = solver_and_ways(rosenbrock)
process = multiprocessing.get_context("fork").Process(target=run, args=(solver,))
process.start()
process.join()
assert process.exitcode == 0
check_parent(solver, found)
""",
    "other functions": """
solver, found = solver_and_ways(rosenbrock)
check_child(lambda: solve_often(tfm.Minimizer(lambda x: bowl(x), X0, jit_compile="auto")))
check_child(lambda: solve_often(tfm.Minimizer(rosenbrock, X0, jit_compile=False)))
check_parent(solver, found)
""",
    "graph": """
solver = tfm.Minimizer(rosenbrock, X0, jit_compile=False)
for _ in range(3):
    solver.minimize()
check_child(solve_often, solver)
assert solver.minimize().success
""",
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return run_parts(SETUP, PARTS)


@pytest.mark.subprocess
@pytest.mark.parametrize("part", PARTS)
def test_forked_process_solves(errors: dict[str, str], part: str) -> None:
    assert errors[part] == ""
