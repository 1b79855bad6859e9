"""Constraints as rows of the solver: their forms, their order, and their Jacobians."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import BOWL_X0, bowl, slsqp
from scipy.optimize import LinearConstraint, NonlinearConstraint
from scipy.optimize._minimize import standardize_constraints

import tfminimize as tfm
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.jacobian import jacobian

pytestmark = pytest.mark.usefixtures("empty_cache")


# The order of the rows


def values_of_scipy(constraints: list[Any], x: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the number of equalities and the values of all rows in the order of SciPy's SLSQP."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = standardize_constraints(constraints, x, "slsqp")
    by_kind = {
        kind: [np.atleast_1d(c["fun"](x, *c.get("args", ()))).ravel() for c in old if c["type"] == kind]
        for kind in ("eq", "ineq")
    }
    return sum(map(len, by_kind["eq"])), np.concatenate([np.zeros(0), *by_kind["eq"], *by_kind["ineq"]])


limits = st.sampled_from([-np.inf, -1.0, 0.0, 1.5, np.inf])


@st.composite
def constraint_of_three(draw: st.DrawFn) -> Any:
    form = draw(st.sampled_from(["eq", "ineq", "nonlinear", "linear"]))
    size = draw(st.integers(1, 3))
    matrix = np.array(
        draw(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=size, max_size=size))
    )
    if form in ("eq", "ineq"):
        return {"type": form, "fun": lambda x, power: (matrix @ x) ** power, "args": (2,)}
    pairs = [
        draw(st.tuples(limits, limits).filter(lambda p: p[0] <= p[1] and abs(sum(p)) < np.inf)) for _ in range(size)
    ]
    low, high = np.array(pairs, dtype=float).T
    if form == "linear":
        return LinearConstraint(matrix, low, high)
    return NonlinearConstraint(lambda x: np.sin(matrix @ x), low, high)


@settings(max_examples=150, deadline=None)
@given(st.lists(constraint_of_three(), max_size=5))
def test_rows_are_those_of_scipy_in_its_order(constraints: list[Any]) -> None:
    unlimited = [c for c in constraints if not isinstance(c, dict) and np.all(np.isinf(c.lb) & np.isinf(c.ub))]
    ours = Constraints(constraints, Parameters(BOWL_X0))
    values = [np.atleast_1d(f.fun(BOWL_X0, *f.arguments.rebuilder()(f.arguments.tensors))) for f in ours.functions]
    rows = ours.rows([v.shape for v in values])
    raw = np.concatenate([np.zeros(0), *values, ours.matrix @ BOWL_X0])
    # SciPy fails on a constraint without any limit, so it gets none.
    expected = values_of_scipy([c for c in constraints if not any(c is u for u in unlimited)], BOWL_X0)
    assert rows.num_equalities == expected[0]
    np.testing.assert_allclose(rows.sign * raw[rows.source] + rows.offset, expected[1], atol=1e-15)


def test_multipliers_have_the_order_of_scipy() -> None:
    def constraints(s: Any) -> list[Any]:
        return [
            NonlinearConstraint(lambda x: x**2, [0.25, 0.0, -np.inf], [0.25, 0.5, 0.3]),
            {"type": "ineq", "fun": lambda x: 0.6 - s(x)},
            LinearConstraint([[1, 1, 0], [0, 1, 1]], [-np.inf, 0], [np.inf, 0]),
            {"type": "ineq", "fun": lambda x: x[0]},
        ]

    ours = slsqp(constraints(tf.reduce_sum))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about mixing equalities and inequalities, and a row without a limit
        theirs = scipy.optimize.minimize(
            lambda x: ((x - 1.0) ** 2).sum(),
            BOWL_X0,
            jac=lambda x: 2 * (x - 1.0),
            method="SLSQP",
            constraints=constraints(np.sum),
            tol=1e-12,
        )
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-6)
    np.testing.assert_allclose(ours.multipliers, theirs.multipliers, atol=0.1)  # -1, -2, 2 and zeros


# The forms


def in_every_form() -> list[tuple[str, Any]]:
    """Ways to write x0 + x1 + x2 = 1 and x0 - x1 >= 0.5."""
    equal = {"type": "eq", "fun": lambda x: tf.reduce_sum(x) - 1.0}
    greater = {"type": "ineq", "fun": lambda x: x[0] - x[1] - 0.5}
    both = [[1, 1, 1], [1, -1, 0]]
    return [
        ("dicts", [equal, greater]),
        ("tuple", (equal, greater)),
        ("capitals and no Jacobian", [equal | {"type": "EQ", "jac": None}, greater | {"type": "Ineq"}]),
        ("list of scalars", [equal, {"type": "ineq", "fun": lambda x: [x[0] - x[1] - 0.5, 1.0]}]),
        ("args", [{"type": "eq", "fun": lambda x, s: tf.reduce_sum(x) - s, "args": (1.0,)}, greater]),
        ("list as args", [{"type": "eq", "fun": lambda x, s: tf.reduce_sum(x) - s, "args": [1.0]}, greater]),
        ("tf.function", [{"type": "eq", "fun": tf.function(lambda x: tf.reduce_sum(x) - 1.0)}, greater]),
        ("XLA", [{"type": "eq", "fun": tf.function(lambda x: tf.reduce_sum(x) - 1.0, jit_compile=True)}, greater]),
        ("linear", LinearConstraint(both, [1, 0.5], [1, np.inf])),
        ("sparse", [LinearConstraint(scipy.sparse.csr_array(np.array(both, float)), [1, 0.5], [1, np.inf])]),
        ("two linear", [LinearConstraint(both[0], 1, 1), LinearConstraint(both[1], 0.5)]),
        ("linear from above", [equal, LinearConstraint([[-1, 1, 0]], ub=-0.5)]),
        ("nonlinear", NonlinearConstraint(lambda x: tf.linalg.matvec(tf.constant(both, x.dtype), x), [1, 0.5], [1, 9])),
        ("nonlinear from above", [equal, NonlinearConstraint(lambda x: x[1] - x[0], -np.inf, -0.5)]),
        ("a row without limits", [equal, greater, NonlinearConstraint(lambda x: x, -np.inf, np.inf)]),
        ("no rows", [equal, greater, {"type": "eq", "fun": lambda x: x[:0]}]),
        ("of all dtypes", [equal, {"type": "ineq", "fun": lambda x: tf.cast(x[0] - x[1] - 0.5, tf.float32)}]),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in in_every_form()])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_every_form_gives_the_same_solution(form: Any, jit_compile: bool) -> None:
    # min |x - 1|² on the plane: the projection of (1, 1, 1) onto it, where x0 - x1 = 1/2 is active.
    result = slsqp(form, jit_compile=jit_compile)
    assert result.success
    np.testing.assert_allclose(result.x, [7 / 12, 1 / 12, 1 / 3], atol=1e-6)
    assert result.constr_violation < 1e-6


def test_constraints_from_an_iterator() -> None:
    constraints = ({"type": "eq", "fun": lambda x, i=i: x[i] - i} for i in range(2))
    np.testing.assert_allclose(slsqp(constraints).x, [0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("constraints", [(), [], None])
def test_no_constraints_are_none(constraints: Any) -> None:
    result = slsqp(constraints)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-6)
    assert result.multipliers.shape == (0,)
    assert result.constr_violation == 0.0


def test_method_none_with_constraints_is_slsqp() -> None:
    constraint = {"type": "ineq", "fun": lambda x: -x[0]}
    assert "multipliers" in tfm.minimize(bowl, BOWL_X0, method=None, constraints=constraint)
    assert "hess_inv" in tfm.minimize(bowl, BOWL_X0, method=None, constraints=[])


def test_two_sided_and_equality_limits_in_one_constraint() -> None:
    constraint = NonlinearConstraint(lambda x: x, [0.5, -2.0, 1.5], [0.5, 0.25, np.inf])
    result = slsqp(constraint)
    np.testing.assert_allclose(result.x, [0.5, 0.25, 1.5], atol=1e-6)
    assert len(result.multipliers) == 4


def test_limits_have_the_shape_of_the_values() -> None:
    result = slsqp(
        NonlinearConstraint(lambda x: x, [[2.0], [3.0]], np.full((2, 2), np.inf)), x0=np.zeros((2, 2)), fun=bowl
    )
    np.testing.assert_allclose(result.x, [[2, 2], [3, 3]], atol=1e-6)


def test_constraints_of_a_structure() -> None:
    result = slsqp(
        [
            {"type": "ineq", "fun": lambda x: x["a"] - x["b"][0] - 3.0},
            LinearConstraint([[0, 1, 1, 0], [1, 0, 0, 0]], [5, -np.inf], [5, 8]),
        ],
        fun=lambda x: (
            x["a"] ** 2 + tf.reduce_sum((x["b"] - 1.0) ** 2) + tf.cast(tf.reduce_sum(x["c"] ** 2), tf.float64)
        ),
        x0={"a": 1.0, "b": np.zeros(2), "c": np.zeros(1, np.float32)},
    )
    assert result.success
    # a - b0 = 3 and b0 + b1 = 5: f = (b0 + 3)² + (b0 - 1)² + (4 - b0)², least at b0 = 2/3.
    np.testing.assert_allclose(result.x["a"], 11 / 3, atol=1e-5)
    np.testing.assert_allclose(result.x["b"], [2 / 3, 13 / 3], atol=1e-5)
    np.testing.assert_allclose(result.x["c"], 0.0, atol=1e-5)


def test_argument_data_does_not_retrace_and_is_read() -> None:
    traces = 0

    def circle(x: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return radius**2 - tf.reduce_sum(x**2)

    for radius in (1.0, 0.5, np.array(0.25), 1.0):
        result = slsqp({"type": "ineq", "fun": circle, "args": (radius,)})
        np.testing.assert_allclose(np.linalg.norm(result.x), radius, rtol=1e-6)
    assert traces == 2  # once for values, once for values with derivatives


def test_limits_and_matrices_are_data() -> None:
    traces = 0

    def fun(x: tf.Tensor) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return bowl(x)

    def first(x: tf.Tensor) -> tf.Tensor:
        return x[0]

    for low in (2.0, 3.0):
        for matrix in ([[0, 1, 1]], [[0, 2, 1], [0, 1, 0]]):
            result = slsqp([NonlinearConstraint(first, low, np.inf), LinearConstraint(matrix, 7, 7)], fun)
            assert result.x[0] == pytest.approx(low)
            np.testing.assert_allclose(np.array(matrix) @ result.x, 7, atol=1e-6)
    assert traces == 2


def test_new_constraints_are_not_mistaken_for_earlier_ones() -> None:
    def first(x: tf.Tensor) -> tf.Tensor:
        return x[0] - 2.0

    def second(x: tf.Tensor) -> tf.Tensor:
        return x[1] - 2.0

    for fun, expected in ((first, [2, 1, 1]), (second, [1, 2, 1]), (first, [2, 1, 1])):
        np.testing.assert_allclose(slsqp({"type": "eq", "fun": fun}).x, expected, atol=1e-6)
    np.testing.assert_allclose(slsqp({"type": "ineq", "fun": lambda x: -first(x)}).x, 1.0, atol=1e-6)
    np.testing.assert_allclose(slsqp(()).x, 1.0, atol=1e-6)


def test_function_without_a_hash() -> None:
    class Plane:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(x) - 1.0

    np.testing.assert_allclose(slsqp({"type": "eq", "fun": Plane()}).x, 1 / 3, atol=1e-6)


# Variables


def test_constraints_read_variables() -> None:
    v = tf.Variable([3.0, 3.0], dtype=tf.float32)
    w = tf.Variable(2.0, dtype=tf.float64)
    limit = tf.Variable(1.0)
    result = slsqp(
        [
            {"type": "ineq", "fun": lambda: limit - v[0]},
            {"type": "eq", "fun": lambda scale: tf.cast(v[1], tf.float64) - scale * w, "args": (2.0,)},
            LinearConstraint([[0, 0, 1]], -np.inf, 3),
        ],
        fun=lambda: tf.reduce_sum((v - 4.0) ** 2) + tf.cast((w - 4.0) ** 2, tf.float32),
        x0=[v, w],
    )
    # v1 = 2w: (2w - 4)² + (w - 4)² is least at w = 12/5.
    np.testing.assert_allclose(v.numpy(), [1.0, 4.8], rtol=1e-4)
    np.testing.assert_allclose(w.numpy(), 2.4, rtol=1e-4)
    np.testing.assert_allclose(result.x, [1.0, 4.8, 2.4], rtol=1e-4)


def test_constraints_with_gathers_of_variables() -> None:
    v = tf.Variable(np.zeros((3, 2)))
    result = slsqp(
        {"type": "eq", "fun": lambda: tf.reduce_sum(tf.gather(v, [0, 2]), axis=1) - 1.0},
        fun=lambda: tf.reduce_sum(v**2),
        x0=v,
    )
    assert result.success
    np.testing.assert_allclose(v.numpy(), [[0.5, 0.5], [0, 0], [0.5, 0.5]], atol=1e-6)


def test_new_solve_sees_other_variables_of_a_constraint() -> None:
    v, limit = tf.Variable(0.0, dtype=tf.float64), tf.Variable(1.0, dtype=tf.float64)
    solver = tfm.Minimizer(
        lambda: (v - 5.0) ** 2, v, method="SLSQP", constraints={"type": "ineq", "fun": lambda: limit - v}
    )
    for value in (1.0, 2.0):
        limit.assign(value)
        solver.minimize()
        assert v.numpy() == pytest.approx(value)


def test_variable_that_only_a_constraint_depends_on() -> None:
    v, w = tf.Variable(0.0, dtype=tf.float64), tf.Variable(0.0, dtype=tf.float64)
    slsqp({"type": "eq", "fun": lambda: v + w - 1.0}, fun=lambda: (v - 3.0) ** 2, x0=[v, w])
    assert v.numpy() + w.numpy() == pytest.approx(1.0)


# Jacobians


@pytest.mark.filterwarnings("ignore:.*does not depend on x0:UserWarning")
def test_constraint_that_depends_on_nothing_is_allowed() -> None:
    held = {"type": "ineq", "fun": lambda x: tf.constant([1.0, 2.0])}
    np.testing.assert_allclose(slsqp(held).x, 1.0, atol=1e-6)
    assert slsqp([held, {"type": "ineq", "fun": lambda x: 1.0}]).success
    violated = slsqp({"type": "eq", "fun": lambda x: tf.constant(1.0)})
    assert not violated.success
    assert violated.constr_violation == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3, 5, 40])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_jacobian_in_every_mode(rows: int, jit_compile: bool) -> None:
    random = np.random.default_rng(rows)
    weights = tf.constant(random.normal(size=(rows, 6)))

    def fun(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.sin(tf.linalg.matvec(weights, tf.concat([tf.reshape(x, [-1]), tf.cast(y, tf.float64)], 0)))

    @tf.function(jit_compile=jit_compile)
    def traced(x: tf.Tensor, y: tf.Tensor, z: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, y, z])
            value = fun(x, y)
        by_x, by_y, by_z = jacobian(tape, value, [x, y, z])
        assert by_z is None
        assert by_y.dtype == tf.float32
        return [by_x, by_y]

    x, y = random.normal(size=(2, 2)), random.normal(size=2).astype(np.float32)
    by_x, by_y = traced(tf.constant(x), tf.constant(y), tf.zeros([3]))
    assert by_x.shape == (rows, 2, 2)
    flat = np.concatenate([x.ravel(), y])
    expected = np.cos(weights.numpy() @ flat)[:, None] * weights.numpy()
    np.testing.assert_allclose(by_x.numpy().reshape(rows, 4), expected[:, :4], rtol=1e-12)
    np.testing.assert_allclose(by_y.numpy(), expected[:, 4:], rtol=1e-6)


def loop(x: tf.Tensor, count: int) -> tf.Tensor:
    values = tf.TensorArray(x.dtype, count)
    state = x
    for i in tf.range(count):
        state = state + 0.1 * tf.sin(state[::-1])
        values = values.write(i, tf.reduce_sum(state**2))
    return tf.ensure_shape(values.stack(), [count])


def branch(x: tf.Tensor, count: int) -> tf.Tensor:
    result = tf.tile(x[:1] ** 2, [count])
    if x[0] > 100.0:
        result = result + 1.0
    return result


def in_python(x: tf.Tensor, count: int) -> tf.Tensor:
    parts = [tf.py_function(lambda x: x[0] ** 2, [x], x.dtype) for _ in range(count)]
    return tf.stack([tf.ensure_shape(part, []) for part in parts])


def by_hand(x: tf.Tensor, count: int) -> tf.Tensor:
    @tf.custom_gradient
    def square(x: tf.Tensor) -> Any:
        return x**2, lambda dy: 2.0 * x * dy

    return tf.tile(square(x)[:1], [count])


def without_second_derivative(x: tf.Tensor, count: int) -> tf.Tensor:
    @tf.custom_gradient
    def square(x: tf.Tensor) -> Any:
        return x**2, lambda dy: 2.0 * x * tf.numpy_function(lambda dy: dy, [dy], dy.dtype)

    return tf.tile(square(x)[:1], [count])


def test_many_rows_of_a_branch_have_a_jacobian_without_errors_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(x[0] > 2.0, lambda: tf.tile(2.0 * x, [20]), lambda: tf.tile(x**2, [20])) - 0.25

    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    result = tfm.minimize(bowl, np.array([0.8, 0.9, 1.5]), method="SLSQP", constraints={"type": "ineq", "fun": rows})
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
    assert not [record for record in caplog.records if record.name != "tfminimize"]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 6, 30])
@pytest.mark.parametrize("fun", [loop, branch, by_hand, without_second_derivative])
def test_jacobian_of_unusual_functions(fun: Any, count: int) -> None:
    x = np.array([0.3, 0.4])
    problem = tfm.Minimizer(
        lambda x: tf.reduce_sum(x), x, method="SLSQP", constraints={"type": "ineq", "fun": fun, "args": (count,)}
    )
    lease = problem._program.lease(problem.arguments, problem._problem.packed_constraints)
    workspace = lease.workspace

    def values(x: np.ndarray) -> np.ndarray:
        workspace.x[:] = x
        workspace.objective.values(workspace.x, workspace.constraints)
        return workspace.constraints.copy()

    difference = [(values(x + e) - values(x - e)) / 2e-6 for e in 1e-6 * np.eye(2)]
    workspace.x[:] = x
    workspace.objective.evaluate(workspace.x, workspace.gradient, workspace.constraints, workspace.jacobian)
    assert workspace.jacobian.shape == (count, 8)
    np.testing.assert_allclose(workspace.jacobian[:, :2], np.transpose(difference), atol=1e-8)
    lease.release()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_value_of_a_python_function(dtype: str) -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.py_function(lambda x: x[0] ** 2 - 4.0, [x], x.dtype), [])

    result = slsqp([{"type": "eq", "fun": fun}, {"type": "eq", "fun": fun}], x0=BOWL_X0.astype(dtype))
    np.testing.assert_allclose(result.x, [2, 1, 1], atol=1e-4)


@pytest.mark.parametrize("empty", [None, (), [], np.array([])], ids=repr)
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_no_constraints_can_be_given_in_any_empty_form(method: str, empty: Any) -> None:
    methods = {"L-BFGS-B": tfm.scipy.lbfgsb, "SLSQP": tfm.scipy.slsqp, "BFGS": tfm.scipy.bfgs}
    result = tfm.minimize(lambda x: tf.reduce_sum((x - 1.0) ** 2), np.zeros(2), method=method, constraints=empty)
    by_name = methods[method](lambda x: np.sum((x - 1.0) ** 2), np.zeros(2), constraints=empty)
    assert result.success
    assert by_name.success
    np.testing.assert_allclose([result.x, by_name.x], np.ones((2, 2)), atol=1e-5)
