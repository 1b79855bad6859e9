from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_program
from problems import rosenbrock
from tensorflow.python.eager import cancellation

import tfminimize as tfm

X0 = np.array([-1.2, 1.0])
LONG_X0 = np.full(20000, -1.2)


def test_100_operations_at_once_give_the_results_of_100_in_turn() -> None:
    starts = np.random.default_rng(0).normal(size=(100, 10))
    solve = tf.function(lambda x0: tfm.ops.minimize(rosenbrock, x0).x)
    at_once = tf.function(lambda starts: tf.stack([solve(x0) for x0 in tf.unstack(starts)]))
    graph = at_once.get_concrete_function(tf.TensorSpec(starts.shape, tf.float64)).graph.as_graph_def()
    calls = [node for node in graph.node if node.op.endswith("PartitionedCall")]
    assert len(calls) == 100
    in_turn = np.stack([solve(x0) for x0 in tf.constant(starts)])
    np.testing.assert_array_equal(at_once(tf.constant(starts)), in_turn)
    np.testing.assert_array_equal(in_turn[0], tfm.minimize(rosenbrock, starts[0]).x)


def test_operations_that_read_the_same_variable_do_not_wait_for_each_other() -> None:
    v = tf.Variable(1.0, dtype=tf.float64)

    def two() -> Any:
        return [tfm.ops.minimize(lambda x: tf.reduce_sum((x - v) ** 2), X0, name=f"solve_{i}").x for i in range(2)]

    graph = tf.function(two, autograph=False).get_concrete_function().graph
    solves = [op for op in graph.get_operations() if op.type == "TfminimizeMinimize"]
    assert len(solves) == 2
    assert not any(op.control_inputs for op in solves)


def test_random_interleavings_of_threads() -> None:
    generator = np.random.default_rng(0)
    starts = generator.normal(size=(60, 6))
    shift = tf.Variable(0.5, dtype=tf.float64)
    disc = {"type": "ineq", "fun": lambda x: 4.0 - tf.reduce_sum(x**2)}

    def loss(x: Any) -> Any:
        return rosenbrock(x) + tf.reduce_sum((x - shift) ** 2)

    solvers = [
        tf.function(lambda x0: tfm.ops.minimize(loss, x0).x),
        tf.function(lambda x0: tfm.ops.minimize(loss, x0, bounds=(-0.5, 0.5), jit_compile=True).x),
        tf.function(lambda x0: tfm.ops.minimize(loss, x0, method="SLSQP", constraints=disc).x),
        tf.function(lambda x0: tf.map_fn(lambda y: tfm.ops.minimize(loss, y).x, tf.stack([x0, -x0]))[0]),
    ]
    jobs = [(int(k), tf.constant(x0)) for k, x0 in zip(generator.integers(len(solvers), size=60), starts, strict=True)]
    in_turn = [solvers[k](x0).numpy() for k, x0 in jobs]
    for _ in range(5):
        order = generator.permutation(len(jobs))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda i: solvers[jobs[i][0]](jobs[i][1]).numpy(), order))
        for i, x in zip(order, found, strict=True):
            np.testing.assert_array_equal(x, in_turn[i])


def test_threads_that_solve_for_variables_of_their_own() -> None:
    variables = [tf.Variable(X0 + i) for i in range(8)]
    expected = [tfm.minimize(rosenbrock, v.numpy()).x for v in variables]
    solvers = [tf.function(lambda v=v: tfm.ops.minimize(lambda: rosenbrock(v), v).x) for v in variables]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda solve: solve(), solvers))
    for v, x in zip(variables, expected, strict=True):
        np.testing.assert_array_equal(v, x)


def long_loop(x: Any) -> Any:
    """A loss that takes minutes to evaluate."""
    count = tf.while_loop(lambda i: i < 10**9, lambda i: i + 1, [tf.constant(0)])[0]
    return tf.reduce_sum(x**2) + 0 * tf.cast(count, tf.float64)


def noting(loss: Any, event: threading.Event) -> Any:
    """The same loss; it signals when its evaluation begins."""

    def noted(x: Any) -> Any:
        with tf.control_dependencies([tf.numpy_function(event.set, [], [])]):
            return loss(tf.identity(x))

    return noted


def cancel_in_the_midst(run: Any, started: threading.Event, cancel: Any) -> None:
    """Check that cancelling ends a solve that would take minutes."""
    with ThreadPoolExecutor(1) as pool:
        solve = pool.submit(run)
        assert started.wait(300)
        time.sleep(0.1)
        assert not solve.done()
        cancel()
        with pytest.raises(tf.errors.CancelledError):
            solve.result(300)


@pytest.mark.parametrize(
    ("loss", "method"), [(rosenbrock, "L-BFGS-B"), (long_loop, "L-BFGS-B"), (long_loop, "SLSQP"), (long_loop, "BFGS")]
)
def test_cancelled_function_ends_early(loss: Any, method: str) -> None:
    x0 = LONG_X0 if loss is rosenbrock else X0
    of_method = {"L-BFGS-B": {"ftol": 0, "gtol": 0, "maxfun": 10**9}, "SLSQP": {"ftol": 0}, "BFGS": {"gtol": 0}}
    options = {"maxiter": 10**6, **of_method[method]}
    started = threading.Event()
    noted = noting(loss, started)
    solve = tf.function(lambda: tfm.ops.minimize(noted, x0, method=method, options=options).x).get_concrete_function()
    for _ in range(2):
        started.clear()
        manager = cancellation.CancellationManager()
        cancel_in_the_midst(manager.get_cancelable_function(solve), started, manager.start_cancel)


def test_cancelled_function_ends_a_batch_early() -> None:
    started = threading.Event()
    noted = noting(long_loop, started)
    solve = tf.function(lambda: tfm.ops.minimize_batch(noted, np.tile(X0, (5, 1))).x).get_concrete_function()
    for _ in range(2):
        started.clear()
        manager = cancellation.CancellationManager()
        cancel_in_the_midst(manager.get_cancelable_function(solve), started, manager.start_cancel)


MINUTES = {"ftol": 0, "gtol": 0, "maxiter": 10**9, "maxfun": 10**9}
"""Options with which a solve from `LONG_X0` takes minutes."""


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("is_batch", [False, True])
def test_timeout_ends_evaluation_after_evaluation(is_batch: bool, jit_compile: bool) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        starts = np.tile(LONG_X0, (3, 1)) if is_batch else LONG_X0
        x0 = tf.compat.v1.placeholder(tf.float64, starts.shape)
        minimize = tfm.ops.minimize_batch if is_batch else tfm.ops.minimize
        x = minimize(rosenbrock, x0, jit_compile=jit_compile, options=MINUTES).x
        minimum = np.ones_like(starts)
        for _ in range(2):
            np.testing.assert_array_equal(session.run(x, {x0: minimum}), minimum)
            with pytest.raises(tf.errors.DeadlineExceededError):
                session.run(x, {x0: starts}, options=tf.compat.v1.RunOptions(timeout_in_ms=500))


class TestVersion1:
    def test_placeholders_variables_and_fetches(self) -> None:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            target = tf.compat.v1.placeholder(tf.float64, [2])
            data = tf.compat.v1.get_variable("data", initializer=np.array([1.0, 2.0]), use_resource=True)
            by_reference = tf.compat.v1.get_variable("old", initializer=np.array([3.0, 4.0]), use_resource=False)
            result = tfm.minimize(lambda x: tf.reduce_sum((x - target * data - by_reference) ** 2), np.zeros(2))
            session.run(tf.compat.v1.global_variables_initializer())
            for value in ([1.0, 1.0], [2.0, -1.0]):
                x, success = session.run([result.x, result.success], {target: value})
                np.testing.assert_allclose(x, np.multiply(value, [1, 2]) + np.array([3, 4]), atol=1e-6)
                assert success

    def test_variables_are_assigned_before_the_result_is_available(self) -> None:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            v = tf.compat.v1.get_variable("v", initializer=np.array([3.0, 4.0]), use_resource=True)
            result = tfm.ops.minimize(lambda: tf.reduce_sum((v - 1) ** 2), v)
            with tf.control_dependencies([result.nit]):
                after = v.read_value()
            session.run(tf.compat.v1.global_variables_initializer())
            x, after_value = session.run([result.x, after])
            np.testing.assert_array_equal(after_value, x)
            np.testing.assert_array_equal(session.run(v), x)

    def test_reference_variables_cannot_be_optimised(self) -> None:
        with tf.Graph().as_default():
            v = tf.compat.v1.get_variable("v", initializer=np.array([3.0, 4.0]), use_resource=False)
            with pytest.raises(ValueError, match="use_resource=True"):
                tfm.ops.minimize(lambda: tf.reduce_sum(v**2), v)

    @pytest.mark.parametrize("is_batch", [False, True])
    def test_timeout_of_a_step(self, is_batch: bool) -> None:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            minimize, start = (tfm.ops.minimize_batch, np.stack([X0, X0])) if is_batch else (tfm.ops.minimize, X0)
            result = minimize(long_loop, start)
            with pytest.raises(tf.errors.DeadlineExceededError):
                session.run(result.x, options=tf.compat.v1.RunOptions(timeout_in_ms=200))

    @pytest.mark.slow
    def test_libraries_of_a_session_may_go_before_the_kernel_that_they_share(self) -> None:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            x0 = tf.compat.v1.placeholder(tf.float64, [2])
            result = tfm.ops.minimize(rosenbrock, x0)
            expected = session.run(result.x, {x0: X0})
            for _ in range(5):
                solve = session.make_callable(result.x, [x0])
                np.testing.assert_array_equal(solve(X0), expected)
                del solve
                gc.collect()

    @pytest.mark.parametrize("is_batch", [False, True])
    def test_closing_the_session(self, is_batch: bool) -> None:
        started = threading.Event()
        with tf.Graph().as_default():
            noted = noting(long_loop, started)
            result = tfm.ops.minimize_batch(noted, np.stack([X0, X0])) if is_batch else tfm.ops.minimize(noted, X0)
            session = tf.compat.v1.Session()
            cancel_in_the_midst(lambda: session.run(result.x), started, session.close)


class Fit(tf.Module):
    """Solves with its own data, with its argument, and with the present value of a variable."""

    def __init__(self) -> None:
        self.shift = tf.Variable(0.25, dtype=tf.float64)
        self.table = tf.constant([1.0, 2.0, 3.0], tf.float64)

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float64), tf.TensorSpec([], tf.float64)])
    def __call__(self, x0: Any, high: Any) -> dict[str, Any]:
        def loss(x: Any) -> Any:
            return tf.reduce_sum((x - self.table - self.shift) ** 2)

        inside = {"type": "ineq", "fun": lambda x: 9.0 - tf.reduce_sum(x**2)}
        result = tfm.ops.minimize(loss, x0, bounds=(None, high))
        constrained = tfm.ops.minimize(loss, x0, method="SLSQP", constraints=inside)
        scaled = tfm.ops.minimize(loss, x0, method="BFGS", options={"hess_inv0": tf.linalg.diag(self.table)})
        return {"x": result.x, "nit": result.nit, "constrained": constrained.x, "scaled": scaled.x}


@pytest.mark.subprocess
def test_saved_model_runs_in_a_new_process(tmp_path: Path) -> None:
    fit = Fit()
    start, high = tf.zeros(3, tf.float64), tf.constant(2.0, tf.float64)
    expected = fit(start, high)
    tf.saved_model.save(fit, str(tmp_path / "fit"), signatures=fit.__call__)
    program = """
import sys, numpy as np, tensorflow as tf
import tfminimize
fit = tf.saved_model.load(sys.argv[1])
start, high = tf.zeros(3, tf.float64), tf.constant(2.0, tf.float64)
found = fit.signatures["serving_default"](x0=start, high=high)
direct = fit(start, high)
np.savez(sys.argv[2], **found)
assert all(np.array_equal(found[name], direct[name]) for name in found)
fit.shift.assign(-1.0)
np.testing.assert_allclose(fit(start, high)["x"], [0, 1, 2], atol=1e-6)
"""
    run_program(program, tmp_path / "fit", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as found:
        assert set(found) == set(expected)
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_allclose(expected["x"], [1.25, 2, 2], atol=1e-6)


@pytest.mark.subprocess
def test_saved_model_without_the_package_names_the_operation(tmp_path: Path) -> None:
    fit = Fit()
    tf.saved_model.save(fit, str(tmp_path / "fit"), signatures=fit.__call__)
    program = "import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "fit")], capture_output=True, text=True)
    assert done.returncode != 0
    assert "TfminimizeMinimize" in done.stderr
