"""A loss over arrays under XLA: the solver calls the machine code of a batch, batch after batch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interrupts import ctrl_c

import tfminimize as tfm
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.program import Program
from tfminimize._trace.dataset_loss import split_data, with_sums

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(5)
ROWS = 203
X = RANDOM.normal(size=(ROWS, 4))
Y = np.tanh(X @ RANDOM.normal(size=4)) + 0.1 * RANDOM.normal(size=ROWS)
LABELS = RANDOM.integers(0, 3, ROWS).astype("int32")
START = np.array([0.1, -0.2, 0.3, 0.0])
SIZES = [1, 3, 16, 100, 101, 102, 202]
BATCHED = "called batch by batch"


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = tfm.get_num_threads()
    yield
    tfm.set_num_threads(before)


def error(w: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_mean((tf.tanh(tf.linalg.matvec(x, w)) - y) ** 2)


def ridge(w: Any) -> tf.Tensor:
    return 0.01 * tf.reduce_sum(w**2)


def evaluate(loss: Any, x0: Any, args: Any = ()) -> tuple[float, Any, Any, str]:
    """The value, the gradient, the sums and the reason at x0."""
    fun, args = split_data(loss, args)
    parameters = Parameters(x0)
    program = Program(fun, parameters, True)
    workspace = program.lease(program.arguments(args)).workspace
    workspace.start(parameters.start(x0))
    value = workspace.evaluate()
    return value, parameters.layout.flatten(workspace.gradient), workspace.sums, workspace.present_backend().reason


def at_once(loss: Any, x0: Any) -> tuple[float, Any]:
    """The value and gradient of a function without data, in eager TensorFlow."""
    x = tf.constant(x0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    return float(value), tape.gradient(value, x).numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("penalty", [None, ridge], ids=["", "penalty"])
def test_value_and_gradient_are_those_of_all_data_at_once(size: int, reduction: str, penalty: Any) -> None:
    def fun(w: Any, x: Any, y: Any) -> tf.Tensor:
        rows = tf.cast(tf.shape(x)[0], tf.float64)
        return error(w, x, y) * (1.0 if reduction == "mean" else rows)

    value, gradient, _, reason = evaluate(tfm.DatasetLoss(fun, (X, Y), size, reduction, penalty), START)
    assert BATCHED in reason
    expected, slope = at_once(lambda w: fun(w, X, Y) + (0.0 if penalty is None else penalty(w)), START)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [3, 20, 150])
def test_bits_do_not_depend_on_the_number_of_threads(size: int) -> None:
    found = []
    for threads in (1, 2, 3, 8):
        tfm.set_num_threads(threads)
        tfm.clear_cache()
        result = tfm.minimize(tfm.DatasetLoss(error, (X, Y), size, penalty=ridge), START, jit_compile=True)
        count = min(threads, -(-ROWS // size))
        assert f"{BATCHED} in {count} thread{'s' if count > 1 else ''}" in result.backend_reason
        assert result.backend == "xla"
        found.append(result)
    for other in found[1:]:
        np.testing.assert_array_equal(other.x, found[0].x)
        np.testing.assert_array_equal(other.jac, found[0].jac)
        assert (other.fun, other.nfev, other.nit) == (found[0].fun, found[0].nfev, found[0].nit)


def test_number_of_threads_may_change_between_solves() -> None:
    solver = tfm.Minimizer(tfm.DatasetLoss(error, (X, Y), 10), START, args=(), jit_compile=True)
    tfm.set_num_threads(1)
    first = solver.minimize()
    other = (X[::-1], Y[::-1])
    expected = tfm.minimize(tfm.DatasetLoss(error, other, 10), START, jit_compile=True)
    tfm.set_num_threads(4)
    second = solver.minimize(data=other)
    assert (first.fun, second.fun) == (first.fun, expected.fun)
    np.testing.assert_array_equal(second.x, expected.x)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
def test_every_method_takes_it(method: str) -> None:
    bounds = [(-0.5, 0.5)] * 4 if method not in ("BFGS", "CG") else None
    loss = tfm.DatasetLoss(error, (X, Y), 16, penalty=ridge)
    result = tfm.minimize(loss, START, method=method, bounds=bounds, jit_compile=True)
    expected = tfm.minimize(loss, START, method=method, bounds=bounds)
    assert BATCHED in result.backend_reason
    assert result.success
    np.testing.assert_allclose(result.x, expected.x, atol=1e-5)
    np.testing.assert_allclose(result.fun, expected.fun, rtol=1e-9)


def test_linear_constraints_need_no_function() -> None:
    from scipy.optimize import LinearConstraint

    loss = tfm.DatasetLoss(error, (X, Y), 16)
    limits = LinearConstraint(np.ones((1, 4)), 0.1, 0.1)
    result = tfm.minimize(loss, START, method="SLSQP", constraints=limits, jit_compile=True)
    assert BATCHED in result.backend_reason
    np.testing.assert_allclose(result.x.sum(), 0.1)
    np.testing.assert_allclose(result.x, tfm.minimize(loss, START, method="SLSQP", constraints=limits).x, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variables_of_a_model(dtype: str) -> None:
    w = tf.Variable(0.1 * RANDOM.normal(size=(4, 3)), dtype=dtype)
    b = tf.Variable(np.zeros(3), dtype=dtype)
    scale = tf.Variable(2.0, dtype=dtype)  # captured, not optimised

    def fun(data: Any) -> tf.Tensor:
        logits = scale * (data["x"] @ w + b)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(data["label"], logits))

    data = {"x": X.astype(dtype), "label": LABELS}
    loss = tfm.DatasetLoss(fun, data, 33, penalty=lambda: 0.01 * tf.reduce_sum(w**2))
    start = [w.numpy(), b.numpy()]
    solver = tfm.Minimizer(loss, [w, b], jit_compile=True)
    for value in (2.0, 3.0):
        scale.assign(value)
        w.assign(start[0])
        b.assign(start[1])
        result = solver.minimize(options={"maxiter": 5})
        assert BATCHED in result.backend_reason
        found = w.numpy()
        w.assign(start[0])
        b.assign(start[1])
        expected = tfm.minimize(loss, [w, b], jit_compile=False, options={"maxiter": 5})
        np.testing.assert_allclose(result.fun, expected.fun, rtol=1e-4 if dtype == "float32" else 1e-9)
        np.testing.assert_allclose(found, w, rtol=1e-2 if dtype == "float32" else 1e-6, atol=1e-3)


def test_args_besides_the_data_and_no_retracing() -> None:
    traces = []

    def fun(w: Any, scale: Any, x: Any, y: Any) -> tf.Tensor:
        traces.append(x.shape)
        return error(w * scale, x, y)

    solver = tfm.Minimizer(tfm.DatasetLoss(fun, (X, Y), 50), START, args=(1.0,), jit_compile=True)
    first = solver.minimize()
    count = len(traces)
    assert {tuple(shape) for shape in traces} == {(50, 4), (3, 4)}
    second = solver.minimize(args=(2.0,))
    np.testing.assert_allclose(second.x * 2.0, first.x, atol=1e-3)
    third = solver.minimize(args=(2.0,), data=(X, -Y))
    np.testing.assert_allclose(third.x * 2.0, -first.x, atol=1e-3)
    assert len(traces) == count


@pytest.mark.parametrize("size", [7, 16])
def test_sums(size: int) -> None:
    def fun(w: Any, x: Any, y: Any) -> Any:
        return error(w, x, y), [tf.reduce_sum(tf.cast(y > 0, tf.int64)), tf.reduce_sum(x * w, 0)]

    loss = with_sums(tfm.DatasetLoss(fun, (X, Y), size, penalty=ridge))
    seen: list[Any] = []
    result = tfm.minimize(
        loss, START, jit_compile=True, callback=lambda intermediate_result: seen.append(intermediate_result)
    )
    for one in [*seen, result]:
        np.testing.assert_allclose(one.sums, [(Y > 0).sum(), *(X * one.x).sum(0)], rtol=1e-11)
    assert BATCHED in result.backend_reason


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_solve_goes_on_with_the_same_bits_in_other_threads(method: str) -> None:
    solver = tfm.Minimizer(tfm.DatasetLoss(error, (X, Y), 10), START, method=method, jit_compile=True)
    tfm.set_num_threads(2)
    whole = solver.minimize()
    begun = solver.minimize(options={"maxiter": 3})
    tfm.set_num_threads(1)
    ended = solver.minimize(state=begun.state)
    np.testing.assert_array_equal(ended.x, whole.x)
    assert (ended.nit, ended.nfev, ended.fun) == (whole.nit, whole.nfev, whole.fun)


def test_component_of_the_penalty_alone() -> None:
    loss = tfm.DatasetLoss(
        lambda p, x, y: error(p["w"], x, y), (X, Y), 16, penalty=lambda p: tf.reduce_sum((p["b"] - 3.0) ** 2)
    )
    result = tfm.minimize(loss, {"w": START, "b": np.zeros(2)}, jit_compile=True)
    assert BATCHED in result.backend_reason
    np.testing.assert_allclose(result.x["b"], 3.0, atol=1e-6)


def test_component_without_use_is_named() -> None:
    loss = tfm.DatasetLoss(
        lambda p, x, y: error(p["w"], x, y), (X, Y), 16, penalty=lambda p: tf.reduce_sum(p["w"] ** 2)
    )
    with pytest.warns(UserWarning, match=re.escape("The loss does not depend on x0['b']")):
        result = tfm.minimize(loss, {"w": START, "b": np.ones(2)}, jit_compile=True)
    np.testing.assert_array_equal(result.x["b"], 1.0)
    with pytest.raises(ValueError, match="the loss does not depend on"):
        tfm.minimize(tfm.DatasetLoss(lambda w, x: tf.reduce_mean(x), X, 16), START, jit_compile=True)


def test_loop_of_tensorflow_says_why_it_runs() -> None:
    loop = "TensorFlow's loop adds up the batches"
    loss = tfm.DatasetLoss(error, (X, Y), 16)
    graph = tfm.minimize(loss, START)
    assert graph.backend == "tfe"
    assert graph.backend_reason.endswith(loop)
    constraint = {"type": "ineq", "fun": lambda w: 1.0 - tf.reduce_sum(w**2)}
    constrained = tfm.minimize(loss, START, method="SLSQP", constraints=constraint, jit_compile=True)
    assert constrained.backend == "xla"
    assert constrained.backend_reason.endswith(f"{loop}, as there are constraint functions")
    one = tfm.minimize(tfm.DatasetLoss(error, (X, Y)), START, jit_compile=True)
    assert loop not in one.backend_reason
    assert BATCHED not in one.backend_reason


def test_function_that_xla_cannot_compile_runs_in_tensorflows_loop() -> None:
    def fun(w: Any, x: Any, y: Any) -> tf.Tensor:
        return error(w, x, tf.ensure_shape(tf.numpy_function(lambda v: v, [y], tf.float64), y.shape))

    result = tfm.minimize(tfm.DatasetLoss(fun, (X, Y), 16), START, jit_compile=True)
    assert result.backend == "tfe"
    assert "XLA cannot compile" in result.backend_reason
    assert "TensorFlow's loop adds up the batches" in result.backend_reason
    np.testing.assert_allclose(result.x, tfm.minimize(error, START, args=(X, Y)).x, atol=1e-5)


def test_many_problems_at_once() -> None:
    loss = tfm.DatasetLoss(lambda w, scale, x, y: error(w * scale, x, y), (X, Y), 16)
    solver = tfm.Minimizer(loss, START, args=(1.0,), jit_compile=True)
    batch = solver.minimize_batch(batched_args=np.array([1.0, 2.0]))
    assert "TensorFlow's loop adds up the batches" in batch.backend_reason
    single = solver.minimize()
    assert BATCHED in single.backend_reason
    np.testing.assert_allclose(batch.x[0], single.x, atol=1e-6)
    np.testing.assert_allclose(batch.x[1] * 2.0, single.x, atol=1e-3)


def test_second_derivatives_come_from_the_whole_loss() -> None:
    loss = tfm.DatasetLoss(error, (X, Y), 16, penalty=ridge)
    result = tfm.minimize(loss, START, method="Newton-CG", jit_compile=True)
    assert result.success
    np.testing.assert_allclose(result.x, tfm.minimize(loss, START).x, atol=1e-4)


def slow(w: Any, x: Any, y: Any) -> tf.Tensor:
    """The error, after many products of matrices."""
    a = tf.eye(60, dtype=tf.float64) * tf.reduce_mean(y)
    for _ in range(30):
        a = tf.matmul(a, a + tf.reduce_sum(w))
        a = a / (1.0 + tf.reduce_max(tf.abs(a)))
    return error(w, x, y) + 1e-9 * tf.reduce_mean(a)


def slow_elsewhere(w: Any, x: Any, y: Any) -> tf.Tensor:
    """The error, which takes a moment at the start, and many minutes elsewhere."""
    rounds = tf.where(tf.reduce_all(w == START), 0, 100_000)
    wait = tf.while_loop(lambda i, _: i < rounds, lambda i, s: (i + 1, tf.sin(s)), (0, y[0]))[1]
    return error(w, x, y) + 1e-9 * tf.stop_gradient(wait)


def assert_limit_ends_the_first_iteration(solver: tfm.Minimizer) -> None:
    one = solver.minimize(options={"maxiter": 0})
    result = solver.minimize(options={"maxtime": 2.0})
    assert (result.success, result.nit, result.nfev) == (False, 0, 1)
    assert "ime limit" in result.message
    np.testing.assert_array_equal(result.x, START)
    np.testing.assert_array_equal(result.jac, one.jac)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("threads", [1, 2])
def test_time_limit_acts_between_two_batches(method: str, threads: int) -> None:
    tfm.set_num_threads(threads)
    data = (np.tile(X, (1000, 1)), np.tile(Y, 1000))
    solver = tfm.Minimizer(tfm.DatasetLoss(slow_elsewhere, data, 1), START, method=method, jit_compile=True)
    assert BATCHED in solver.minimize(options={"maxiter": 0}).backend_reason
    assert_limit_ends_the_first_iteration(solver)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("kind", ["arrays", "tf.data", "generator", "compiled batches"])
def test_time_limit_acts_between_two_batches_of_tensorflow(method: str, kind: str) -> None:
    data, size = (np.tile(X, (10, 1)), np.tile(Y, 10)), 1
    if kind != "arrays":
        rows = tf.data.Dataset.from_tensor_slices(data).batch(1)
        specs = rows.element_spec
        data = (
            tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=specs) if kind == "generator" else rows
        )
        size = None
    loss = tfm.DatasetLoss(slow_elsewhere, data, size)
    solver = tfm.Minimizer(loss, START, method=method, jit_compile=kind == "compiled batches")
    assert_limit_ends_the_first_iteration(solver)
    assert solver.minimize(options={"maxiter": 0}).nfev == 1  # TensorFlow's function can be called again


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_acts_between_two_batches(threads: int) -> None:
    tfm.set_num_threads(threads)
    data = (np.tile(X, (1000, 1)), np.tile(Y, 1000))
    w = tf.Variable(START)
    solver = tfm.Minimizer(tfm.DatasetLoss(lambda x, y: slow(w, x, y), data, 1), w, jit_compile=True)
    with ctrl_c(0.5):
        solver.minimize()
    np.testing.assert_array_equal(w, START)
