"""Exceptions, errors, NaN and Ctrl-C during a solve."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interrupts import ctrl_c
from problems import rosenbrock

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

X0 = np.array([-1.2, 1.0])


class OwnError(Exception):
    """An exception from user code."""


@pytest.fixture
def variable() -> tf.Variable:
    return tf.Variable(X0, name="x")


def test_exception_while_tracing_comes_through_unchanged(variable: tf.Variable) -> None:
    def fun() -> tf.Tensor:
        raise OwnError("mine", 42)

    with pytest.raises(OwnError) as caught:
        tfm.minimize(fun, variable)
    assert caught.value.args == ("mine", 42)
    np.testing.assert_array_equal(variable.numpy(), X0)


def failing_after(evaluations: int, variable: tf.Variable, failing: list[bool]) -> Any:
    """A loss that raises an exception in Python after some evaluations, while ``failing`` holds True."""
    counter = tf.Variable(0)

    def fun() -> tf.Tensor:
        count = counter.assign_add(1)

        def check(count: np.ndarray) -> np.ndarray:
            if failing[0] and count > evaluations:
                raise OwnError("from Python")
            return np.float64(0)

        nothing = tf.numpy_function(check, [count], tf.float64)
        return rosenbrock(variable) + tf.stop_gradient(tf.ensure_shape(nothing, []))

    return fun


def test_exception_in_the_loss_leaves_variables_untouched(variable: tf.Variable) -> None:
    failing = [True]
    solver = tfm.Minimizer(failing_after(5, variable, failing), variable)
    with pytest.raises(tf.errors.UnknownError, match="from Python"):
        solver.minimize()
    np.testing.assert_array_equal(variable.numpy(), X0)
    failing[0] = False
    assert solver.minimize().success


def test_error_of_tensorflow_keeps_its_class_and_message(variable: tf.Variable) -> None:
    one = tf.constant(0.9, tf.float64)

    def fun() -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_greater(variable[1], one, "x left the valley")]):
            return tf.identity(rosenbrock(variable))

    solver = tfm.Minimizer(fun, variable)
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="x left the valley"):
            solver.minimize()
    np.testing.assert_array_equal(variable.numpy(), X0)
    variable.assign([1.0, 1.0])
    assert solver.minimize().success


def test_exception_in_the_callback_leaves_variables_untouched(variable: tf.Variable) -> None:
    solver = tfm.Minimizer(lambda: rosenbrock(variable), variable)

    def callback(xk: np.ndarray) -> None:
        raise OwnError("mine")

    for _ in range(3):
        with pytest.raises(OwnError, match="mine"):
            solver.minimize(callback=callback)
    np.testing.assert_array_equal(variable.numpy(), X0)
    assert solver.minimize().success


def test_nan_at_the_start_is_no_success_and_leaves_variables(variable: tf.Variable) -> None:
    solver = tfm.Minimizer(lambda: rosenbrock(variable) + tf.math.log(variable[0]), variable)
    result = solver.minimize()
    assert not result.success
    assert result.nfev == 1
    np.testing.assert_array_equal(variable.numpy(), X0)
    variable.assign([0.9, 0.8])
    assert solver.minimize().nit > 0


def test_nan_in_the_middle_gives_the_best_finite_point() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        # Falls until it becomes NaN.
        return tf.reduce_sum((x - 5.0) ** 2) + 0.0 * tf.reduce_sum(tf.sqrt(3.0 - x))

    solver = tfm.Minimizer(fun, np.zeros(2))
    result = solver.minimize()
    assert np.isfinite(result.x).all()
    assert result.fun == float(fun(tf.constant(result.x))) < 50.0
    assert solver.minimize().nfev == result.nfev


def test_nan_in_the_middle_never_reaches_the_variables() -> None:
    v = tf.Variable([0.0, 0.0], dtype=tf.float64)
    tfm.minimize(lambda: tf.reduce_sum((v - 5.0) ** 2) + 0.0 * tf.reduce_sum(tf.sqrt(3.0 - v)), v)
    assert np.isfinite(v.numpy()).all()


def test_keyboard_interrupt_leaves_variables_untouched() -> None:
    start = np.resize(X0, 1000)
    v = tf.Variable(start)
    matrix = tf.constant(np.random.default_rng(0).normal(size=(200, 200)) / 20.0)

    def fun() -> tf.Tensor:
        product = matrix * v[0]
        for _ in range(5):
            product = tf.tanh(product @ matrix)
        return rosenbrock(v) + 1e-6 * tf.reduce_sum(product)

    solver = tfm.Minimizer(fun, v)
    solver.minimize(options={"maxiter": 1})
    v.assign(start)
    with ctrl_c():
        solver.minimize(options={"ftol": 0, "gtol": 0, "maxiter": 10**9, "maxfun": 10**9})
    np.testing.assert_array_equal(v.numpy(), start)
    assert solver.minimize(options={"maxiter": 2}).nit == 2


def test_keyboard_interrupt_in_the_first_evaluation() -> None:
    endless = tf.Variable(True)
    v = tf.Variable(X0)

    def fun() -> tf.Tensor:
        count = tf.while_loop(lambda i: tf.logical_and(endless, i < 10**9), lambda i: [i + 1], [tf.constant(0)])[0]
        return rosenbrock(v) + 0.0 * tf.cast(count, tf.float64)

    solver = tfm.Minimizer(fun, v)
    with ctrl_c():
        solver.minimize()
    np.testing.assert_array_equal(v.numpy(), X0)
    endless.assign(False)
    assert solver.minimize().success


def test_keyboard_interrupt_in_the_callback_comes_through(variable: tf.Variable) -> None:
    def callback(xk: np.ndarray) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tfm.minimize(lambda: rosenbrock(variable), variable, callback=callback)
    np.testing.assert_array_equal(variable.numpy(), X0)


def test_keyboard_interrupt_in_a_python_function_comes_through(variable: tf.Variable) -> None:
    # The function may run in the main thread, where Ctrl-C finds it.
    def nothing(x: np.ndarray) -> np.ndarray:
        if interrupted and x[0] > -1.1:
            raise KeyboardInterrupt
        return np.float64(0)

    def fun() -> tf.Tensor:
        return rosenbrock(variable) + tf.ensure_shape(tf.numpy_function(nothing, [variable], tf.float64), [])

    interrupted = True
    solver = tfm.Minimizer(fun, variable)
    with pytest.raises(KeyboardInterrupt):
        solver.minimize()
    np.testing.assert_array_equal(variable.numpy(), X0)
    interrupted = False
    assert solver.minimize().success


def test_exception_in_a_scipy_method_leaves_variables_untouched(variable: tf.Variable) -> None:
    def callback(xk: np.ndarray) -> None:
        raise OwnError("mine")

    with pytest.raises(OwnError):
        tfm.minimize(lambda: rosenbrock(variable), variable, method="BFGS", callback=callback)
    np.testing.assert_array_equal(variable.numpy(), X0)


def test_evaluation_does_not_write_to_x() -> None:
    # TensorFlow may reuse the memory of an input that nobody else holds, but the solver holds that of x.
    def fun(x: tf.Tensor) -> tf.Tensor:
        y = x + 1.0
        for _ in range(5):
            y = y * y + 1.0
        return tf.reduce_sum(tf.math.log(y))

    x0 = np.linspace(-0.5, 0.5, 64)
    solver = tfm.Minimizer(fun, x0)
    lease = solver._program.lease(solver.arguments)
    workspace = lease.workspace
    workspace.start([x0])
    first = workspace.objective.evaluate(workspace.x, workspace.gradient)
    np.testing.assert_array_equal(workspace.x, x0)
    assert workspace.objective.evaluate(workspace.x, workspace.gradient) == first
    lease.release()


def test_solution_is_scipys_within_bounds_after_many_faults(variable: tf.Variable) -> None:
    fun = tf.function(lambda: rosenbrock(variable))
    with pytest.raises(ValueError):
        tfm.minimize(fun, variable, bounds=[(2, 1)])
    result = tfm.minimize(fun, variable, bounds=[[(-2, 0.5), (-2, 2)]])
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen, X0, jac=scipy.optimize.rosen_der, method="L-BFGS-B", bounds=[(-2, 0.5), (-2, 2)]
    )
    assert (result.nit, result.nfev) == (theirs.nit, theirs.nfev)
    np.testing.assert_allclose(result.x, theirs.x, rtol=1e-7)


@pytest.mark.subprocess
def test_forked_process_leaves_waiting_for_interrupts_to_its_parent() -> None:
    script = """
import os, signal, time
import numpy as np, tensorflow as tf, tfminimize as tfm

def slow(x):
    time.sleep(0.05)
    return np.sum((x - 3) ** 4)

@tf.custom_gradient
def loss(x):
    value = tf.ensure_shape(tf.numpy_function(slow, [x], tf.float64), [])
    return value, lambda upstream: upstream * 4 * (x - 3) ** 3

def fork(xk):
    global child, woken
    child = os.fork()
    if child == 0:
        woken = signal.set_wakeup_fd(own)
        raise StopIteration

solver = tfm.Minimizer(lambda x: loss(x), np.zeros(3))
solver.minimize(options={"maxiter": 2})  # from now on it knows that evaluations are long
own = os.pipe2(os.O_NONBLOCK)[1]
signal.set_wakeup_fd(own)
solver.minimize(callback=fork, options={"maxiter": 1})
if child == 0:
    os._exit(0 if woken == own and signal.set_wakeup_fd(-1) == own else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert signal.set_wakeup_fd(-1) == own
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
