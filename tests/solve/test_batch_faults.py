from __future__ import annotations

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interpreter import run_parts
from interrupts import interrupted_twice

import tfminimize as tfm


def fun(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - a) ** 2)


@pytest.fixture(scope="module")
def solver() -> tfm.Minimizer:
    return tfm.Minimizer(fun, np.zeros(2), args=np.zeros(2))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "x0s is a single start and there are no batched_args.*call minimize"),
        ({"x0s": [1.0, 2.0]}, "x0s is a single start and there are no batched_args"),
        (
            {"x0s": np.zeros((3, 2)), "batched_args": np.zeros((4, 2))},
            "x0s has 3 starts and batched_args have 4 slices",
        ),
        ({"batched_args": np.zeros((0, 2))}, "leading dimension of 0: give at least one"),
        ({"x0s": np.zeros((0, 2))}, "leading dimension of 0: give at least one"),
        ({"x0s": np.zeros((3, 4))}, r"x0s has shape \(3, 4\), but x0 has \(2,\) there: give every leaf a leading"),
        ({"x0s": 1.0}, r"x0s has shape \(\), but x0 has \(2,\)"),
        ({"x0s": {"a": np.zeros((3, 2))}}, "x0s must be one array, like x0"),
        ({"x0s": [[0.0, np.nan], [1.0, 1.0]]}, r"x0s\[0, 1\] is nan"),
        ({"x0s": np.zeros((3, 2), complex)}, "x0s has dtype complex128"),
        ({"batched_args": (3.0,)}, r"batched_args\[0\] holds 3.0, which has no slices: give an array"),
        (
            {"batched_args": tf.Variable(np.zeros((3, 2)), name="v")},
            r"batched_args\[0\] holds variable 'v:0': give its",
        ),
        ({"batched_args": np.array(3.0)}, r"batched_args\[0\] has no dimensions"),
        ({"batched_args": np.array(["a", "b"])}, r"batched_args\[0\] has dtype str.*: give numbers"),
        ({"batched_args": np.array([object()])}, r"batched_args\[0\] has dtype object: give numbers"),
        ({"batched_args": tf.constant(["a"])}, r"batched_args\[0\] has dtype object: give numbers"),
        (
            {"batched_args": (np.zeros((3, 2)), np.zeros(4))},
            r"batched_args\[0\] has 3 slices and batched_args\[1\] has 4",
        ),
        (
            {"batched_args": (np.zeros((3, 2)), np.zeros(3))},
            "there are 2 batched_args .* but it was made with 1",
        ),
        ({"batched_args": np.zeros((3, 2)), "num_threads": 0}, "num_threads is 0: give an integer, 1 or greater"),
        ({"batched_args": np.zeros((3, 2)), "num_threads": 1.5}, "num_threads is 1.5"),
        ({"batched_args": np.zeros((3, 2)), "num_threads": True}, "num_threads is True"),
        ({"batched_args": np.zeros((3, 2)), "options": {"ftoll": 1}}, "no option 'ftoll'"),
        ({"batched_args": np.zeros((3, 2)), "tol": -1.0}, "tol is -1.0"),
    ],
)
def test_unusable_batch_is_an_error(solver: tfm.Minimizer, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        solver.minimize_batch(**arguments)


def test_leaves_with_and_without_a_leading_dimension_are_an_error() -> None:
    solver = tfm.Minimizer(lambda x: tf.reduce_sum(x["a"] ** 2) + x["b"] ** 2, {"a": np.zeros(2), "b": 0.0})
    with pytest.raises(
        ValueError, match=r"x0s\['b'\] has shape \(\), but x0 has \(\) there: give every leaf a leading"
    ):
        solver.minimize_batch({"a": np.zeros((3, 2)), "b": 0.0})
    with pytest.raises(ValueError, match=r"x0s\['b'\] has shape \(4,\)"):
        solver.minimize_batch({"a": np.zeros((3, 2)), "b": np.zeros(4)})


def test_other_variables_as_starts_are_an_error() -> None:
    v = tf.Variable([0.0, 0.0])
    solver = tfm.Minimizer(lambda a: tf.reduce_sum((v - a) ** 2), v, args=(0.0,))
    with pytest.raises(ValueError, match="x0s must be the variables that the Minimizer was made for"):
        solver.minimize_batch(tf.Variable([1.0, 1.0]), batched_args=np.zeros(3, np.float32))


@pytest.mark.parametrize("method", ["CG", "nelder-mead", "trust-constr"])
def test_methods_of_scipy_are_an_error(method: str) -> None:
    solver = tfm.Minimizer(fun, np.zeros(2), args=np.zeros(2), method=method)
    with pytest.raises(ValueError, match=f"method is '{method.lower()}', which runs in SciPy, one problem at a time"):
        solver.minimize_batch(batched_args=np.zeros((3, 2)))


def test_own_method_is_an_error() -> None:
    solver = tfm.Minimizer(fun, np.zeros(2), args=np.zeros(2), method=tfm.scipy.lbfgsb)
    with pytest.raises(ValueError, match="which runs in SciPy"):
        solver.minimize_batch(batched_args=np.zeros((3, 2)))


def test_inside_a_graph_is_an_error(solver: tfm.Minimizer) -> None:
    @tf.function
    def traced() -> None:
        solver.minimize_batch(batched_args=np.zeros((3, 2)))

    with pytest.raises(RuntimeError, match="while a graph is being built"):
        traced()


def test_symbolic_tensor_is_an_error(solver: tfm.Minimizer) -> None:
    @tf.function
    def traced(a: tf.Tensor) -> None:
        solver.minimize_batch(batched_args=a)

    with pytest.raises(ValueError, match="symbolic tensor"):
        traced(tf.zeros((3, 2), tf.float64))


def test_solver_can_be_used_after_an_error(solver: tfm.Minimizer) -> None:
    with pytest.raises(ValueError, match="no option"):
        solver.minimize_batch(batched_args=np.zeros((3, 2)), options={"no": 1})
    np.testing.assert_allclose(solver.minimize_batch(batched_args=np.eye(2)).x, np.eye(2), atol=1e-6)


SLOW = """
import numpy as np, tensorflow as tf, tfminimize as tfm
def rosenbrock(x):
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
def slow(x):
    steps = tf.while_loop(lambda i, s: i < 10 ** 9, lambda i, s: (i + 1, tf.sin(s)), [0, x])[1]
    return tf.reduce_sum(x ** 2) + 0.0 * steps[0]
"""
INTERRUPTED = {
    "many problems": "solver, starts = tfm.Minimizer(rosenbrock, np.zeros(300)), np.full((10 ** 5, 300), -1.2)",
    "machine code": "solver, starts = (tfm.Minimizer(rosenbrock, np.zeros(300), jit_compile=True), "
    "np.full((10 ** 5, 300), -1.2))",
    "long evaluations": "solver, starts = tfm.Minimizer(slow, np.zeros(2)), np.ones((100, 2))",
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    solve = "solver.minimize_batch(starts, num_threads=2)"
    after = "assert is_slow or solver.minimize_batch(starts[:5]).success.all()"
    return run_parts(
        SLOW,
        {
            name: f"is_slow = {name == 'long evaluations'}\n{make}{interrupted_twice(solve, after, seconds=1.0)}"
            for name, make in INTERRUPTED.items()
        },
    )


@pytest.mark.subprocess
@pytest.mark.parametrize("name", INTERRUPTED)
def test_ctrl_c_ends_a_batch_that_takes_many_minutes(errors: dict[str, str], name: str) -> None:
    assert errors[name] == ""


def test_python_runs_while_a_batch_does(solver: tfm.Minimizer) -> None:
    ticks, done = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.001):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks
    solver.minimize_batch(batched_args=np.random.default_rng(0).normal(size=(3000, 2)))
    during = ticks - before
    done.set()
    thread.join()
    assert during > 3


def test_signal_handler_that_raises_ends_the_batch() -> None:
    class Alarm(Exception):
        pass

    def handle(*_: Any) -> None:
        raise Alarm

    problem = tfm.testing.rosenbrock(200)
    solver = tfm.Minimizer(problem.fun, problem.x0)
    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Alarm):
            solver.minimize_batch(np.tile(problem.x0, (10**5, 1)))
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_bounds_of_a_constraint_that_no_start_meets() -> None:
    impossible = [scipy.optimize.LinearConstraint([[1.0, 1.0]], limit, limit) for limit in (0.0, 1.0)]
    solver = tfm.Minimizer(fun, np.zeros(2), args=np.zeros(2), method="SLSQP", constraints=impossible)
    batch = solver.minimize_batch(batched_args=np.zeros((3, 2)))
    assert not batch.success.any()
    assert batch.errors == {}
    assert (batch.status > 0).all()
