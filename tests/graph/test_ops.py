from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm
from tfminimize._graph.call import Solve
from tfminimize._graph.functions import TraceFunction
from tfminimize._graph.operation import traced_minimize

X0 = np.array([-1.2, 1.0])
Pair = namedtuple("Pair", "first second")  # noqa: PYI024  tf.nest knows these


def in_disc(x: Any) -> Any:
    return 1.5 - tf.reduce_sum(x**2)


IN_DISC = {"method": "SLSQP", "constraints": {"type": "ineq", "fun": in_disc}}


def in_graph(*args: Any, **keywords: Any) -> tfm.ops.MinimizeResult:
    return tf.function(lambda: tfm.ops.minimize(*args, **keywords))()


def assert_same(ours: tfm.ops.MinimizeResult, eager: scipy.optimize.OptimizeResult) -> None:
    np.testing.assert_array_equal(ours.x, eager.x)
    np.testing.assert_array_equal(ours.jac, eager.jac)
    found = [float(v) for v in (ours.fun, ours.nit, ours.nfev, ours.njev, ours.status, ours.constr_violation)]
    assert found == [eager.fun, eager.nit, eager.nfev, eager.njev, eager.status, eager.constr_violation]
    assert bool(ours.success) == eager.success


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("bounds", [None, [(-2, 0.5), (None, 2)]])
def test_lbfgsb_gives_the_bits_of_minimize(bounds: Any, jit_compile: bool) -> None:
    ours = in_graph(rosenbrock, X0, bounds=bounds, jit_compile=jit_compile)
    assert_same(ours, tfm.minimize(rosenbrock, X0, bounds=bounds, jit_compile=jit_compile))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hess_inv0": np.array([[2.0, 0.1], [0.1, 3.0]]), "maxiter": 7},
        {"update": "ssbroyden", "c1": 1e-3, "c2": 0.3, "initial_scale": True, "norm": 2, "gtol": 1e-9, "xrtol": 1e-7},
    ],
)
def test_bfgs_gives_the_bits_of_minimize(options: Any, jit_compile: bool) -> None:
    problem = {"method": "BFGS", "options": options, "jit_compile": jit_compile}
    assert_same(in_graph(rosenbrock, X0, **problem), tfm.minimize(rosenbrock, X0, **problem))


@tf.function
def from_matrix(matrix: Any) -> tfm.ops.MinimizeResult:
    return tfm.ops.minimize(rosenbrock, X0, method="BFGS", options={"hess_inv0": matrix})


def test_symbolic_inverse_hessian_at_the_start() -> None:
    first = tfm.minimize(rosenbrock, X0, method="BFGS", options={"maxiter": 10})
    again = {"method": "BFGS", "options": {"hess_inv0": first.hess_inv}}
    assert_same(from_matrix(tf.constant(np.asarray(first.hess_inv))), tfm.minimize(rosenbrock, X0, **again))
    variable = tf.Variable(np.asarray(first.hess_inv))
    of_variable = in_graph(rosenbrock, X0, method="BFGS", options={"hess_inv0": variable})
    assert_same(of_variable, tfm.minimize(rosenbrock, X0, **again))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 0.0], [0.0, -1.0]], "hess_inv0 is not positive definite: add a multiple of the identity"),
        ([[1.0, 0.5], [0.0, 1.0]], "hess_inv0 is not symmetric"),
        ([[1.0, 0.0], [0.0, np.nan]], "hess_inv0 holds a number that is not finite"),
    ],
)
def test_symbolic_inverse_hessian_is_checked_when_the_solve_begins(matrix: Any, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        from_matrix(tf.constant(matrix, tf.float64))


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_slsqp_gives_the_bits_of_minimize(jit_compile: bool) -> None:
    constraints = [{"type": "ineq", "fun": in_disc}, {"type": "eq", "fun": lambda x: x[0] - 2 * x[1]}]
    problem = {"method": "SLSQP", "constraints": constraints, "bounds": (-1, 1), "jit_compile": jit_compile}
    ours, eager = in_graph(rosenbrock, X0, **problem), tfm.minimize(rosenbrock, X0, **problem)
    assert_same(ours, eager)
    np.testing.assert_array_equal(ours.multipliers, eager.multipliers)


def test_rows_of_all_kinds_are_in_the_order_of_minimize() -> None:
    constraints = [
        scipy.optimize.NonlinearConstraint(lambda x: tf.stack([x[0] * x[1], x[0] - x[1]]), [-1, 0.2], [0.5, 0.2]),
        scipy.optimize.LinearConstraint([[1, 1, 0], [0, 1, 1]], [-np.inf, 0.5], [1, 0.5]),
    ]
    x0 = np.array([0.3, 0.1, 0.2])
    ours = in_graph(rosenbrock, x0, method="SLSQP", constraints=constraints)
    eager = tfm.minimize(rosenbrock, x0, method="SLSQP", constraints=constraints)
    assert ours.success
    np.testing.assert_allclose(ours.x, eager.x, rtol=1e-9)
    np.testing.assert_allclose(ours.multipliers, eager.multipliers, atol=1e-6)


def test_slsqp_without_constraints() -> None:
    assert_same(in_graph(rosenbrock, X0, method="SLSQP"), tfm.minimize(rosenbrock, X0, method="SLSQP"))


def test_linear_constraints_only() -> None:
    constraint = scipy.optimize.LinearConstraint([[1.0, 1.0]], -np.inf, 1)
    ours = in_graph(rosenbrock, X0, method="SLSQP", constraints=constraint)
    eager = tfm.minimize(rosenbrock, X0, method="SLSQP", constraints=constraint)
    np.testing.assert_allclose(ours.x, eager.x, rtol=1e-6)


def test_x_has_the_structure_and_dtypes_of_x0() -> None:
    x0 = {"a": np.ones((2, 2), np.float32), "b": Pair([1.0, 2.0], tf.constant(3.0, tf.float64))}

    def fun(x: Any) -> Any:
        pair = x["b"].second ** 2 + tf.reduce_sum((x["b"].first - 1) ** 2)
        return tf.reduce_sum(tf.cast(x["a"] - 2, tf.float64) ** 2) + pair

    result = in_graph(fun, x0, bounds={"a": (None, 1.5), "b": None})
    tf.nest.assert_same_structure(result.x, {"a": 0, "b": Pair(0, 0)})
    np.testing.assert_array_equal(result.x["a"], np.full((2, 2), 1.5, np.float32))
    assert result.x["a"].dtype == result.jac["a"].dtype == tf.float32
    assert result.x["b"].first.dtype == tf.float64
    np.testing.assert_allclose(result.x["b"].first, [1, 1], atol=1e-2)


def test_static_shapes_are_known_in_the_graph() -> None:
    @tf.function
    def solve(x0: tf.Tensor) -> tf.Tensor:
        result = tfm.ops.minimize(rosenbrock, x0, method="SLSQP", constraints={"type": "ineq", "fun": in_disc})
        assert result.x.shape == result.jac.shape == [2]
        assert result.multipliers.shape == [1]
        assert result.fun.shape == result.nit.shape == result.success.shape == []
        assert all(column.shape.as_list() == [None] for column in result.history.values())
        return result.x

    solve(tf.constant(X0))


def test_symbolic_args_and_start_and_bounds() -> None:
    def loss(x: Any, a: Any, scale: Any) -> Any:
        return scale * tf.reduce_sum((x - a) ** 2)

    @tf.function
    def solve(x0: Any, a: Any, low: Any) -> Any:
        return tfm.ops.minimize(loss, x0, args=(a, 2.0), bounds=(low, None)).x

    for a in ([1.0, -1.0], [0.25, 3.0]):
        x = solve(tf.zeros(2, tf.float64), tf.constant(a, tf.float64), tf.constant(0.5, tf.float64))
        np.testing.assert_allclose(x, np.maximum(a, 0.5), atol=1e-6)
    assert solve.experimental_get_tracing_count() == 1


def test_symbolic_bounds_leaf_by_leaf() -> None:
    @tf.function
    def solve(high: Any) -> Any:
        x0 = {"a": np.zeros(2), "b": np.float32(0.0)}
        bounds = {"a": (None, high[:2]), "b": (high[2], None)}
        return tfm.ops.minimize(
            lambda x: tf.reduce_sum((x["a"] - 1) ** 2) + tf.cast(x["b"] ** 2, "float64"), x0, bounds=bounds
        ).x

    x = solve(tf.constant([0.25, 7.0, 0.125], tf.float64))
    np.testing.assert_allclose(x["a"], [0.25, 1], atol=1e-6)
    assert x["b"] == np.float32(0.125)


def test_symbolic_bounds_element_by_element() -> None:
    @tf.function
    def solve(a: Any) -> Any:
        return tfm.ops.minimize(lambda x: tf.reduce_sum((x - 1) ** 2), np.zeros(2), bounds=[(a, 3), (None, a)]).x

    np.testing.assert_allclose(solve(tf.constant(2.0, tf.float64)), [2, 1], atol=1e-6)
    np.testing.assert_allclose(solve(tf.constant(0.5, tf.float64)), [1, 0.5], atol=1e-6)


def test_symbolic_args_of_a_constraint() -> None:
    @tf.function
    def solve(radius: Any) -> Any:
        inside = {"type": "ineq", "fun": lambda x, r: r**2 - tf.reduce_sum(x**2), "args": (radius,)}
        return tfm.ops.minimize(
            lambda x: tf.reduce_sum((x - 3) ** 2), np.zeros(2), method="SLSQP", constraints=inside
        ).x

    for radius in (1.0, 2.0):
        x = solve(tf.constant(radius, tf.float64))
        np.testing.assert_allclose(x, np.full(2, radius / np.sqrt(2)), rtol=1e-6)


def test_captured_tensors_and_variables_are_those_of_the_run() -> None:
    shift = tf.Variable(1.0, dtype=tf.float64)

    @tf.function
    def solve(a: Any) -> Any:
        b = 2 * a
        return tfm.ops.minimize(lambda x: tf.reduce_sum((x - b - shift) ** 2), np.zeros(2)).x

    np.testing.assert_allclose(solve(tf.constant(1.0, tf.float64)), [3, 3], atol=1e-6)
    shift.assign(5.0)
    np.testing.assert_allclose(solve(tf.constant(1.0, tf.float64)), [7, 7], atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_variables_are_assigned_in_order(jit_compile: bool) -> None:
    v, w = tf.Variable([3.0, 4.0]), tf.Variable([[1.0]], dtype=tf.float64)

    def loss() -> Any:
        return tf.reduce_sum((v - 1) ** 2) + tf.cast(tf.reduce_sum((w - 2) ** 2), tf.float32)

    @tf.function
    def solve() -> Any:
        v.assign([30.0, 40.0])
        before = v.read_value()
        result = tfm.ops.minimize(loss, [v, w], jit_compile=jit_compile)
        return before, result.x, v.read_value(), w.read_value()

    before, x, v_after, w_after = solve()
    np.testing.assert_array_equal(before, [30, 40])
    np.testing.assert_allclose(x, [1, 1, 2], atol=1e-3)
    np.testing.assert_array_equal(v_after, x[:2])
    np.testing.assert_array_equal(w_after, [[x[2]]])
    np.testing.assert_array_equal(v, v_after)


def test_variables_are_assigned_if_nobody_uses_the_result() -> None:
    v = tf.Variable([3.0, 4.0], dtype=tf.float64)
    tf.function(lambda: tfm.ops.minimize(lambda: tf.reduce_sum(v**2), v) and None)()
    np.testing.assert_allclose(v, [0, 0], atol=1e-6)


def test_gathers_of_variables() -> None:
    table = tf.Variable(np.arange(6.0).reshape(3, 2))
    in_graph(lambda: tf.reduce_sum((tf.gather(table, [0, 2]) - 1) ** 2), table)
    np.testing.assert_allclose(table, [[1, 1], [2, 3], [1, 1]], atol=1e-6)


def test_variables_are_as_they_were_after_an_error() -> None:
    v = tf.Variable([3.0, 4.0], dtype=tf.float64)

    def loss() -> Any:
        with tf.control_dependencies([tf.debugging.assert_greater(v[0], tf.constant(2.0, tf.float64))]):
            return tf.reduce_sum(v**2)

    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(loss, v)
    np.testing.assert_array_equal(v, [3, 4])


def test_loss_that_writes_other_variables_does_so_once_an_evaluation() -> None:
    calls, last = tf.Variable(0, dtype=tf.int64), tf.Variable(np.zeros(2))

    def loss(x: Any) -> Any:
        calls.assign_add(1)
        last.assign(x)
        return rosenbrock(x)

    result = in_graph(loss, X0)
    assert calls == result.nfev
    np.testing.assert_array_equal(last, result.x)
    kept = last.numpy()
    in_graph(loss, X0 + 1)
    np.testing.assert_array_equal(kept, result.x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kwargs", [{}, {"bounds": (-1.5, 0.8)}, {"method": "SLSQP"}, IN_DISC, {"method": "BFGS"}])
def test_history_is_that_of_minimize(kwargs: Any, dtype: Any) -> None:
    x0 = X0.astype(dtype)
    found = in_graph(rosenbrock, x0, **kwargs).history
    expected = tfm.minimize(rosenbrock, x0, history=True, **kwargs).history
    assert list(found) == list(expected)
    for name in found.keys() - {"seconds"}:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    seconds = found["seconds"].numpy()
    assert len(seconds) == len(found["fun"])
    assert seconds[0] > 0
    assert np.all(np.diff(seconds) >= 0)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_trace_is_evaluated_at_the_iterates(method: str) -> None:
    seen: list[Any] = []
    tfm.minimize(rosenbrock, X0, method=method, callback=lambda x: seen.append(x))

    def trace(x: Any, loss: Any, gradients: Any, state: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x[0])
            expected = rosenbrock(x[0])
        right = tf.reduce_all(tf.abs(tape.gradient(expected, x[0]) - gradients[0]) < 1e-9) & (loss == expected)
        return False, [state[0] + 1], [x[0], right, state[0]]

    function = TraceFunction(trace, [tf.constant(0)], at_start=True)
    result, (x, right, numbers) = traced_minimize(Solve(rosenbrock, X0, method=method, trace=function))
    np.testing.assert_array_equal(x, [X0, *seen])
    np.testing.assert_array_equal(numbers, np.arange(len(seen) + 1))
    assert right.numpy().all()
    assert result.success


def test_trace_can_end_the_solve() -> None:
    function = TraceFunction(lambda x, loss, gradients, state: (loss < 1.0, [], [loss]))
    result, (losses,) = traced_minimize(Solve(rosenbrock, X0, trace=function))
    assert result.status == 99
    assert (losses.numpy()[:-1] >= 1).all()
    assert losses.numpy()[-1] < 1


@pytest.mark.parametrize("problem", [{"bounds": (-1.0, 0.5)}, {"method": "BFGS", "options": {"hess_inv0": np.eye(2)}}])
def test_autograph_reads_the_package_without_a_warning(problem: Any, caplog: pytest.LogCaptureFixture) -> None:
    loss = tfm.DatasetLoss(lambda x, a: tf.reduce_sum((x - a) ** 2), np.ones((4, 2)), 2)
    tf.get_logger().addHandler(caplog.handler)
    try:
        in_graph(loss, X0, **problem)
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert "AutoGraph could not transform" not in caplog.text


def test_eager_mode() -> None:
    result = tfm.ops.minimize(rosenbrock, X0)
    assert_same(result, tfm.minimize(rosenbrock, X0))
    assert result.x.device.endswith("CPU:0")


def test_minimize_inside_a_function_is_the_operation() -> None:
    @tf.function
    def solve(x0: Any, a: Any) -> Any:
        return tfm.minimize(lambda x, a: rosenbrock(x) * a, x0, args=(a,), bounds=(None, 0.9), tol=1e-12)

    result = solve(tf.constant(X0), tf.constant(2.0, tf.float64))
    eager = tfm.minimize(
        lambda x, a: rosenbrock(x) * a, X0, args=(tf.constant(2.0, tf.float64),), bounds=(None, 0.9), tol=1e-12
    )
    assert isinstance(result, tfm.ops.MinimizeResult)
    assert_same(result, eager)


def test_control_flow_around_the_operation() -> None:
    starts = np.random.default_rng(0).normal(size=(6, 2))
    alone = [tfm.minimize(rosenbrock, x0).x for x0 in starts]

    @tf.function
    def mapped(starts: Any) -> Any:
        return tf.map_fn(lambda x0: tfm.ops.minimize(rosenbrock, x0).x, starts, parallel_iterations=3)

    @tf.function
    def chosen(x0: Any, solve: Any) -> Any:
        return tf.cond(solve, lambda: tfm.ops.minimize(rosenbrock, x0).x, lambda: x0)

    @tf.function
    def restarted(x: Any) -> Any:
        for _ in tf.range(3):
            x = tfm.ops.minimize(rosenbrock, x, options={"maxiter": 5}).x
        return x

    np.testing.assert_array_equal(mapped(tf.constant(starts)), alone)
    np.testing.assert_array_equal(chosen(tf.constant(starts[0]), tf.constant(True)), alone[0])
    np.testing.assert_array_equal(chosen(tf.constant(starts[0]), tf.constant(False)), starts[0])
    expected = X0
    for _ in range(3):
        expected = tfm.minimize(rosenbrock, expected, options={"maxiter": 5}).x
    np.testing.assert_array_equal(restarted(tf.constant(X0)), expected)


def test_control_flow_in_the_loss() -> None:
    def loss(x: Any) -> Any:
        total = tf.constant(0.0, tf.float64)
        for i in tf.range(tf.cast(4 + 0 * x[0], tf.int32)):
            total += tf.reduce_sum((x - tf.cast(i, tf.float64)) ** 2)
        return total + (0.1 * x[0] if x[0] > 0.5 else -0.1 * x[0])

    np.testing.assert_allclose(in_graph(loss, X0).x, [1.4875, 1.5], atol=1e-5)


def test_solve_inside_of_a_loss() -> None:
    def outer(a: Any) -> Any:
        inner = tfm.ops.minimize(lambda x: tf.reduce_sum((x - a) ** 2 + x**4), tf.zeros(2, tf.float64), tol=1e-12)
        return tf.reduce_sum((inner.x - 0.5) ** 2)

    # 2 (x - a) + 4 x³ = 0 at x = 0.5
    np.testing.assert_allclose(in_graph(outer, np.array([1.0, 2.0])).x, [0.75, 0.75], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("solve", [tfm.minimize, tfm.ops.minimize])
def test_solve_inside_of_a_loss_for_the_variable_that_the_inner_one_reads(solve: Any) -> None:
    v = tf.Variable([1.0, 2.0], dtype=tf.float64)

    def outer() -> Any:
        inner = tfm.ops.minimize(lambda x: tf.reduce_sum((x - v) ** 2 + x**4), tf.zeros(2, tf.float64), tol=1e-12)
        return tf.reduce_sum((inner.x - 0.5) ** 2)

    solve(outer, v)
    np.testing.assert_allclose(v, [0.75, 0.75], atol=1e-3)
