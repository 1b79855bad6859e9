"""Gradients of a solution by the inputs of the loss, the constraints and the bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import implicit_problems
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from implicit_problems import central_difference, problems

import tfminimize as tfm
from tfminimize._graph import implicit

pytestmark = pytest.mark.slow

TIGHT = {"ftol": 0.0, "gtol": 1e-12}
TIGHT_SLSQP = {"ftol": 1e-16, "maxiter": 300}
TIGHT_OPTIONS = {"L-BFGS-B": TIGHT, "SLSQP": TIGHT_SLSQP, "BFGS": {"gtol": 1e-12}}
float64 = tf.float64


def double(value: Any) -> tf.Tensor:
    return tf.constant(value, float64)


def value_and_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a scalar of a solution, and its gradients by the arguments, from one graph."""

    @tf.function
    def in_graph(*args: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(args)
            value = function(*args)
        return value, tape.gradient(value, args)

    return in_graph


def gradient(function: Callable[..., Any], *args: tf.Tensor) -> list[np.ndarray]:
    """Return only the gradients."""
    return [None if part is None else part.numpy() for part in value_and_gradients(function)(*args)[1]]


def check_gradient(function: Callable[..., Any], *args: Any) -> np.ndarray:
    """Return the gradient by the last argument, after checking it by finite differences."""
    *others, last = map(double, args)
    solve = value_and_gradients(function)

    def along(h: float, i: int) -> float:
        step = h * tf.reshape(tf.one_hot(i, tf.size(last), dtype=float64), last.shape)
        return solve(*others, last + step)[0].numpy()

    found = np.ravel(solve(*others, last)[1][-1])
    expected = [central_difference(lambda h, i=i: along(h, i)) for i in range(tf.size(last))]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    return found


def smooth(x: Any, a: Any) -> Any:
    return tf.reduce_sum(tf.math.expm1(a * x)) + tf.reduce_sum((x - a) ** 2)


@pytest.mark.parametrize(
    "num_direct",
    [
        pytest.param(implicit.MAX_DIRECT, id="direct"),
        pytest.param(0, id="conjugate residuals", marks=pytest.mark.weekly),
    ],
)
@pytest.mark.parametrize("kind", implicit_problems.SOLVES)
@pytest.mark.parametrize("count", [5, pytest.param(20, marks=pytest.mark.weekly)])
def test_gradient_is_that_of_finite_differences_of_the_whole_solve(
    kind: str, num_direct: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implicit, "MAX_DIRECT", num_direct)
    solve = implicit_problems.SOLVES[kind].python_function

    @tf.function
    def gradients(a: Any, b: Any, matrix: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            value = tf.tensordot(solve(a, b, matrix).x, weights, 1)
        return tape.gradient(value, [a, b])

    for p, directions, derivatives in problems(kind, 6, count):
        by_a, by_b = gradients(*map(tf.constant, p[:2]), p.matrix, p.weights)
        found = [by_a.numpy() @ da + by_b.numpy() @ db for da, db in directions]
        np.testing.assert_allclose(found, derivatives, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["unconstrained", "bounded"])
def test_many_unknowns(kind: str) -> None:
    n = implicit.MAX_DIRECT + 20
    ((p, directions, derivatives),) = problems(kind, n, 1)
    solve = implicit_problems.SOLVES[kind]
    by_a, by_b = gradient(lambda a, b: tf.tensordot(solve(a, b, p.matrix).x, p.weights, 1), double(p.a), double(p.b))
    found = [by_a @ da + by_b @ db for da, db in directions]
    np.testing.assert_allclose(found, derivatives, rtol=1e-6, atol=1e-6)


def test_gradient_of_the_minimum_and_of_the_gradient_there() -> None:
    def solve(a: Any) -> tfm.ops.MinimizeResult:
        bounds = [(None, None), (-1, 0.1), (None, None)]
        return tfm.ops.minimize(smooth, tf.zeros(3, float64), args=(a,), bounds=bounds, options=TIGHT)

    assert solve(double([1.0, 2.0, 0.5])).x[1] == 0.1
    check_gradient(lambda a: solve(a).fun, [1.0, 2.0, 0.5])
    check_gradient(lambda a: tf.reduce_sum(solve(a).jac * [1.0, 2.0, 3.0]), [1.0, 2.0, 0.5])


def test_gradient_of_multipliers_and_of_a_constrained_minimum() -> None:
    def solve(a: Any) -> tfm.ops.MinimizeResult:
        constraints = [
            {"type": "eq", "fun": lambda x: tf.reduce_sum(x * a) - 1},
            {"type": "ineq", "fun": lambda x: tf.stack([0.02 - x[0] ** 2, x[1] + 10])},
        ]
        return tfm.ops.minimize(smooth, tf.zeros(3, float64), (a,), "SLSQP", None, constraints, options=TIGHT_SLSQP)

    a = [2.0, 1.0, -1.5]
    multipliers = solve(double(a)).multipliers.numpy()
    assert multipliers[1] > 0.01
    assert multipliers[2] == 0

    def value(a: Any) -> Any:
        result = solve(a)
        return result.fun + tf.reduce_sum(result.multipliers * [1.0, 2.0, 3.0])

    check_gradient(value, a)


def test_structures_captured_tensors_and_several_uses_of_one() -> None:
    def value(a: Any) -> Any:
        captured = tf.sin(a)

        def fun(x: dict[str, Any], scale: Any, same: Any) -> Any:
            return smooth(x["u"], captured) + tf.reduce_sum((x["v"] * scale - same) ** 2) + tf.reduce_sum(x["v"] ** 2)

        start = {"u": np.zeros(2), "v": np.zeros((1, 2))}
        x = tfm.ops.minimize(fun, start, args=(a, a), options=TIGHT).x
        return tf.reduce_sum(x["u"] * [1.0, 2.0]) + tf.reduce_sum(x["v"] * [3.0, 4.0])

    check_gradient(value, [0.5, 0.8])


def test_unused_inputs_have_no_gradient() -> None:
    def value(start: Any, a: Any, b: Any) -> Any:
        return tf.reduce_sum(tfm.ops.minimize(smooth, start, args=(a,), options=TIGHT).x)

    by_start, by_a, by_b = gradient(value, double([0.0, 0.0]), double([1.0, 2.0]), double(1.0))
    assert by_start is None
    assert by_a is not None
    assert by_b is None


def test_bfgs_and_the_matrix_that_it_starts_with() -> None:
    def value(matrix: Any, a: Any) -> Any:
        options = {"gtol": 1e-12, "update": "ssbroyden", "hess_inv0": matrix}
        result = tfm.ops.minimize(smooth, tf.zeros(3, float64), (a,), "BFGS", options=options)
        return tf.reduce_sum(result.x * [1.0, 2.0, 3.0]) + result.fun + result.jac[0]

    matrix = np.diag([1.0, 0.5, 0.2])
    check_gradient(value, matrix, [1.0, 2.0, 0.5])
    by_matrix, by_a = gradient(value, double(matrix), double([1.0, 2.0, 0.5]))
    assert by_matrix is None  # the solution does not depend on it
    assert by_a is not None


def test_integers_among_the_arguments_have_no_gradient() -> None:
    def value(a: Any) -> Any:
        index = tf.argmax(a)
        return tfm.ops.minimize(lambda x, i: (x - a[i]) ** 2, double(0.0), args=(index,), options=TIGHT).x

    (by_a,) = gradient(value, double([1.0, 3.0, 2.0]))
    np.testing.assert_allclose(by_a, [0, 1, 0], atol=1e-8)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_variables_that_are_read_and_variables_that_are_optimised(method: str, jit_compile: bool) -> None:
    w, u = tf.Variable(np.zeros(2)), tf.Variable(np.zeros((2, 1)))
    scale = tf.Variable([1.0, 2.0], dtype=float64)
    total = scipy.optimize.LinearConstraint(np.ones((1, 4)), -np.inf, 0.5)
    options = TIGHT_OPTIONS[method]

    @tf.function
    def value(a: Any) -> Any:
        for variable in (w, u):
            variable.assign(tf.zeros_like(variable))
        result = tfm.ops.minimize(
            lambda: smooth(w, scale) + smooth(u[:, 0], a * scale),
            [w, u],
            method=method,
            constraints=[total] if method == "SLSQP" else (),
            options=options,
            jit_compile=jit_compile,
        )
        return tf.tensordot(result.x, double([1, 2, 3, 4]), 1)

    a = double(0.7)
    with tf.GradientTape() as tape:
        tape.watch(a)
        found = value(a)
    by_a, by_scale, by_w = tape.gradient(found, [a, scale, w])

    def moved(h: float, i: int) -> float:
        scale.assign(double([1.0, 2.0]) + h * tf.one_hot(i, 2, dtype=float64))
        return float(value(a))

    expected = [central_difference(lambda h, i=i: moved(h, i)) for i in (0, 1)]
    np.testing.assert_allclose(by_scale, expected, atol=1e-6)
    scale.assign([1.0, 2.0])
    np.testing.assert_allclose(by_a, central_difference(lambda h: float(value(a + h))), atol=1e-6)
    assert by_w is None


def test_rows_of_a_table_that_are_looked_up() -> None:
    table = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=float64)

    @tf.function
    def value() -> Any:
        target = lambda x: tf.reduce_sum((2 * x - tf.nn.embedding_lookup(table, [2, 0])) ** 2)  # noqa: E731
        return tf.reduce_sum(tfm.ops.minimize(target, tf.zeros((2, 2), float64), options=TIGHT).x)

    with tf.GradientTape() as tape:
        found = value()
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(found, table)), [[0.5] * 2, [0] * 2, [0.5] * 2])


def test_single_precision() -> None:
    def value(a: Any) -> Any:
        return tf.reduce_sum(tfm.ops.minimize(smooth, tf.zeros(2, a.dtype), args=(a,)).x * tf.constant([1, 2], a.dtype))

    (in_single,) = gradient(value, tf.constant([1.0, 0.5]))
    (in_double,) = gradient(value, double([1.0, 0.5]))
    assert in_single.dtype == np.float32
    np.testing.assert_allclose(in_single, in_double, rtol=1e-3)


def test_unknowns_and_constraints_of_very_different_units() -> None:
    units = double([1e-6, 1.0, 1e5])

    def value(a: Any) -> Any:
        result = tfm.ops.minimize(
            lambda x: smooth(x / units, a),
            tf.zeros(3, float64),
            method="SLSQP",
            constraints={"type": "eq", "fun": lambda x: 1e4 * (tf.reduce_sum(x / units) - a[0])},
            options=TIGHT_SLSQP,
        )
        return tf.reduce_sum(result.x / units * [1.0, 2.0, 3.0])

    def of_the_same_units(a: Any) -> Any:
        result = tfm.ops.minimize(
            smooth,
            tf.zeros(3, float64),
            args=(a,),
            method="SLSQP",
            constraints={"type": "eq", "fun": lambda x: tf.reduce_sum(x) - a[0]},
            options=TIGHT_SLSQP,
        )
        return tf.reduce_sum(result.x * [1.0, 2.0, 3.0])

    a = double([1.0, 0.5, 0.7])
    np.testing.assert_allclose(gradient(value, a)[0], check_gradient(of_the_same_units, a), rtol=1e-3)


def test_bounds_move_a_solution_that_is_at_them() -> None:
    a, weights = double([1.0, 2.0, 0.5, 0.1]), double([1.0, 2.0, 3.0, 4.0])

    def coupled(x: Any) -> Any:
        return smooth(x, a) + 0.3 * tf.reduce_sum(x) ** 2

    def derivatives(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = coupled(x)
        return value, tape.gradient(value, x)

    def solve(low: Any, high: Any) -> Any:
        return tfm.minimize(coupled, np.zeros(4), bounds=scipy.optimize.Bounds(low, high), options=TIGHT).x

    low, high = np.array([-1.0, 0.5, -1.0, -1.0]), np.array([-0.4, 1.0, 1.0, np.inf])
    x = solve(low, high)
    assert x[0] == high[0]
    assert x[1] == low[1]
    solution = implicit.Solution(double(x), tf.zeros(0, float64), 0, double(low), double(high))
    _, by_low, by_high = implicit.pullback(derivatives, solution, [], implicit.Upstream(x=weights))
    unit = np.eye(4)
    expected = central_difference(lambda h: weights.numpy() @ solve(low + h * unit[1], high))
    np.testing.assert_allclose(by_low, expected * unit[1], atol=1e-6)
    expected = central_difference(lambda h: weights.numpy() @ solve(low, high + h * unit[0]))
    np.testing.assert_allclose(by_high, expected * unit[0], atol=1e-6)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP"])
def test_gradient_by_bounds_that_are_tensors(method: str) -> None:
    options = TIGHT_OPTIONS[method]
    a = double([1.0, 2.0, 0.5])

    def value(bounds: Any) -> Any:
        low, high = tf.unstack(bounds)
        fun = lambda x: smooth(x, a) + 0.3 * tf.reduce_sum(x) ** 2  # noqa: E731
        result = tfm.ops.minimize(fun, tf.zeros(3, float64), (), method, (low, high), options=options)
        return tf.reduce_sum(result.x * [1.0, 2.0, 3.0]) + result.fun

    bounds = [[-1.0, 0.5, -1.0], [-0.2, 1.0, 1.0]]
    assert np.count_nonzero(check_gradient(value, bounds)) == 2


def test_every_element_at_a_bound_does_not_move() -> None:
    def value(a: Any) -> Any:
        return tf.reduce_sum(tfm.ops.minimize(lambda x: tf.reduce_sum(x * a), np.ones(2), bounds=(-1, 2)).x)

    np.testing.assert_array_equal(gradient(value, double([1.0, -3.0]))[0], [0, 0])


@pytest.mark.parametrize("num_direct", [implicit.MAX_DIRECT, 0], ids=["direct", "conjugate residuals"])
class TestNoDerivative:
    """Solutions without a derivative have a finite gradient."""

    @pytest.fixture(autouse=True)
    def _num_direct(self, num_direct: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(implicit, "MAX_DIRECT", num_direct)

    def test_valley_of_equal_solutions_has_the_smallest_movement(self) -> None:
        def value(a: Any) -> Any:
            result = tfm.ops.minimize(lambda x: (tf.reduce_sum(x) - a) ** 2, np.zeros(3), options=TIGHT)
            return tf.reduce_sum(result.x * [1.0, 2.0, 6.0])

        np.testing.assert_allclose(gradient(value, double(1.5))[0], 3, rtol=1e-6)

    @pytest.mark.parametrize("max_iterations", [0, 3])
    def test_solve_that_has_not_converged(self, max_iterations: int) -> None:
        def value(a: Any) -> Any:
            x, y = double(-1.2), double(1.0)
            options = {"maxiter": max_iterations}
            fun = lambda x: a * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2  # noqa: E731
            result = tfm.ops.minimize(fun, tf.stack([x, y]), options=options)
            return tf.reduce_sum(result.x) + result.fun

        solve = value_and_gradients(value)
        for a in (-100.0, 100.0):
            assert np.isfinite(solve(double(a))[1]).all()

    def test_loss_that_is_not_finite(self) -> None:
        def value(a: Any) -> Any:
            return tf.reduce_sum(tfm.ops.minimize(lambda x: tf.reduce_sum(tf.math.log(x - a)), np.ones(2)).x)

        assert np.isfinite(gradient(value, double(2.0))).all()

    def test_derivatives_that_are_not_finite_at_the_solution(self) -> None:
        def value(a: Any) -> Any:
            result = tfm.ops.minimize(
                lambda x: tf.reduce_sum(tf.sqrt(x - a)),
                np.full(2, 3.0),
                method="SLSQP",
                bounds=(1, None),
                constraints={"type": "ineq", "fun": lambda x: tf.sqrt(x[0] - a)},
            )
            outputs = tf.concat([result.x, result.fun[None], result.jac, result.multipliers], 0)
            return tf.reduce_sum(tf.where(tf.math.is_finite(outputs), outputs, 0))

        assert np.isfinite(gradient(value, double(1.0))).all()

    def test_dependent_constraints(self) -> None:
        def value(a: Any) -> Any:
            one = {"type": "eq", "fun": lambda x: x[0] + x[1] - a}
            result = tfm.ops.minimize(
                lambda x: tf.reduce_sum(x**2 * [1.0, 3.0]),
                np.zeros(2),
                method="SLSQP",
                constraints=[one, one],
                bounds=(-10, 10),
                options=TIGHT_SLSQP,
            )
            return result.x[0]

        assert np.isfinite(gradient(value, double(2.0))).all()

    def test_vertex_with_more_active_constraints_than_unknowns(self) -> None:
        def value(a: Any) -> Any:
            result = tfm.ops.minimize(
                lambda x: tf.reduce_sum(x),
                np.ones(2),
                method="SLSQP",
                constraints={"type": "ineq", "fun": lambda x: tf.stack([x[0] - a, x[1] - a, x[0] + x[1] - 2 * a])},
                bounds=(0.5, None),
            )
            return result.x[0] + tf.reduce_sum(result.multipliers)

        assert np.isfinite(gradient(value, double(0.5))).all()

    def test_upstream_gradient_of_nan_stays_nan(self) -> None:
        def value(a: Any) -> Any:
            x = tfm.ops.minimize(smooth, np.zeros(2), args=(a,)).x
            return tf.reduce_sum(x) * tf.sqrt(double(-1.0))

        assert np.isnan(gradient(value, double([1.0, 2.0]))[0]).all()
