"""Constraints of objectives that call TensorFlow functions: rows, the two functions, arguments, derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from native_constrained import (
    PLANE,
    START,
    Traced,
    circle_and_line,
    circle_objective,
    circle_solver,
    constrained_objective,
    memory,
    rosenbrock,
    solve_circle,
    trace_constrained,
)
from native_functions import WAYS, Layout, vector_layout

from tfminimize import _native
from tfminimize._tf import private
from tfminimize._tf.dispatch import call_plan


def both(traced: Traced, *arguments: Any) -> tuple[list[Any], list[Any]]:
    """Return the results of calling the two functions from Python."""
    return [[t.numpy() for t in f(*map(tf.constant, arguments))] for f in (traced.values, traced.derivatives)]


@pytest.mark.parametrize("dispatch", WAYS)
def test_results_are_those_of_calls_from_python(dispatch: str) -> None:
    layout = vector_layout(9)
    matrix = tf.constant(np.random.default_rng(1).normal(size=(4, 9)))
    traced = trace_constrained(
        lambda x: tf.reduce_sum(tf.cosh(x)), lambda x: tf.sin(tf.linalg.matvec(matrix, x)) * x[0], layout
    )
    function = constrained_objective(traced, layout, dispatch=dispatch)
    arrays, values_alone = memory(9, 4), memory(9, 4)
    rng = np.random.default_rng(0)
    for _ in range(12):  # the two ways of "fastest" are both taken
        arrays.x[:] = values_alone.x[:] = rng.normal(size=9)
        (f, c), (joint_f, joint_c, g, jacobian) = both(traced, arrays.x)
        assert function.values(values_alone.x, values_alone.constraints) == f
        np.testing.assert_array_equal(values_alone.constraints, c)
        np.testing.assert_array_equal(values_alone.gradient, 0.0)
        assert function.evaluate(*arrays) == joint_f
        np.testing.assert_array_equal(arrays.constraints, joint_c)
        np.testing.assert_array_equal(arrays.gradient, g)
        np.testing.assert_array_equal(arrays.jacobian[:, :9], jacobian)
        np.testing.assert_array_equal(arrays.jacobian[:, 9:], 0.0)
        function.derivatives(values_alone.x, values_alone.gradient, values_alone.jacobian)
        np.testing.assert_array_equal(values_alone.jacobian, arrays.jacobian)
        values_alone.gradient[:] = 0.0


def test_same_path_as_scipys() -> None:
    solver = circle_solver()
    _native.drive(solver, circle_objective())
    traced = trace_constrained(rosenbrock, circle_and_line, PLANE)
    expected = scipy.optimize.minimize(
        lambda x: tuple(np.asarray(t) for t in traced.derivatives(tf.constant(x))[::2]),
        START,
        jac=True,
        method="SLSQP",
        constraints=[
            {
                "type": kind,
                "fun": lambda x, i=i: traced.values(tf.constant(x))[1][i].numpy(),
                "jac": lambda x, i=i: traced.derivatives(tf.constant(x))[3][i].numpy(),
            }
            for i, kind in enumerate(("eq", "ineq"))
        ],
    )
    np.testing.assert_allclose(solver.x, expected.x, rtol=1e-9)
    assert (solver.nit, solver.nfev, solver.njev) == (expected.nit, expected.nfev, expected.njev)
    assert (solver.status_code, solver.message) == (expected.status, expected.message)


def test_rows_are_made_of_values_by_sign_and_offset() -> None:
    traced = trace_constrained(rosenbrock, lambda x: tf.stack([x[0] * x[1], x[0] ** 2, x[1] ** 3]), PLANE)
    rows = [
        _native.Row(2, 0),
        _native.Row(0, 1, -1.0, 4.0),
        _native.Row(4, 1, 1.0, -0.5),
        _native.Row(row=3, source=0, sign=-1, offset=0),
    ]
    assert [(r.row, r.source, r.sign, r.offset) for r in rows[1:3]] == [(0, 1, -1.0, 4.0), (4, 1, 1.0, -0.5)]
    arrays = memory(2, 6, [2.0, 3.0])
    arrays.constraints[:], arrays.jacobian[:] = -77.0, -77.0
    constrained_objective(traced, PLANE, rows=rows).evaluate(*arrays)
    np.testing.assert_array_equal(arrays.constraints, [0.0, -77.0, 6.0, -6.0, 3.5, -77.0])
    untouched = [-77.0, -77.0]
    np.testing.assert_array_equal(
        arrays.jacobian[:, :2], [[-4.0, 0.0], untouched, [3.0, 2.0], [-3.0, -2.0], [4.0, 0.0], untouched]
    )
    np.testing.assert_array_equal(arrays.jacobian[:, 2:], -77.0)


def test_rows_are_replaced_by_others_that_fit() -> None:
    function, arrays = circle_objective(), memory(2, 2, [2.0, 3.0])
    for wrong in ([_native.Row(0, 2)], [_native.Row(0, 0), _native.Row(0, 1)]):
        with pytest.raises(ValueError, match="Row 0"):
            function.set_rows(wrong)
    for number in (2**32, 2**61, 2**64 - 1):
        with pytest.raises(ValueError, match=f"has the number {number}; it must be less than"):
            function.set_rows([_native.Row(number, 0)])
    function.evaluate(*arrays)
    np.testing.assert_array_equal(arrays.constraints, [11.0, 4.0])
    function.set_rows([_native.Row(0, 1, -1.0, 0.5)])
    single = memory(2, 1, [2.0, 3.0])
    function.evaluate(*single)
    np.testing.assert_array_equal(single.constraints, [-3.5])
    np.testing.assert_array_equal(single.jacobian[:, :2], [[-1.0, -1.0]])
    function.set_rows([])
    assert function.values(arrays.x, np.zeros(0)) == 101.0


def test_linear_constraints_have_no_row() -> None:
    # The solver itself computes the linear constraint x + y >= 1.
    traced = trace_constrained(rosenbrock, lambda x: circle_and_line(x)[:1], PLANE)
    arrays = memory(2, 2, START)
    arrays.jacobian[1, :2] = 1.0
    solver = _native.Slsqp(*arrays, 1, offsets=np.array([np.nan, -1.0]))
    _native.drive(solver, constrained_objective(traced, PLANE))
    assert solver.status_code == 0
    np.testing.assert_allclose(arrays.x, 1.0, atol=1e-5)
    np.testing.assert_array_equal(arrays.jacobian[1, :2], 1.0)
    np.testing.assert_allclose(arrays.constraints[1], 1.0, atol=1e-5)
    np.testing.assert_array_equal(solver.x, solve_circle(circle_objective()))


@pytest.mark.parametrize("with_linear", [False, True])
def test_functions_without_constraints(with_linear: bool) -> None:
    traced = trace_constrained(lambda x: tf.reduce_sum((x - 3.0) ** 2), None, PLANE)
    function = constrained_objective(traced, PLANE)
    arrays = memory(2, int(with_linear))
    arrays.jacobian[:, :2] = 1.0
    offsets = np.full(int(with_linear), -2.0)
    solver = _native.Slsqp(*arrays, int(with_linear), offsets=offsets)
    _native.drive(solver, function)
    np.testing.assert_allclose(arrays.x, 1.0 if with_linear else 3.0, atol=1e-6)


def test_packed_solve_is_that_of_the_same_variables_in_one_vector() -> None:
    # The padding between the components has bounds around 0, and must not matter.
    layout: Layout = [(0, (1,), "float64"), (8, (), "float64")]
    traced = trace_constrained(
        lambda a, b: rosenbrock([a[0], b]), lambda a, b: circle_and_line(tf.stack([a[0], b])), layout
    )
    arrays = memory(9, 2)
    arrays.x[[0, 8]] = START
    lower, upper = np.full(9, -1.0), np.full(9, 1.0)
    lower[[0, 8]], upper[[0, 8]] = -np.inf, np.inf
    solver = _native.Slsqp(*arrays, 1, lower=lower, upper=upper, num_variables=2)
    _native.drive(solver, constrained_objective(traced, layout))
    plain = circle_solver()
    _native.drive(plain, circle_objective())
    np.testing.assert_allclose(arrays.x[[0, 8]], plain.x, rtol=1e-12)
    assert (solver.nit, solver.nfev, solver.njev) == (plain.nit, plain.nfev, plain.njev)
    np.testing.assert_array_equal(arrays.x[1:8], 0.0)


def test_variables_share_the_memory_of_x() -> None:
    v, arrays = tf.Variable(np.full(2, 7.0)), memory(2, 2, START)
    scratch = tf.Variable(np.zeros(2))
    scratch.assign(tf.experimental.dlpack.from_dlpack(arrays.x.__dlpack__()))

    def values() -> Any:
        return [rosenbrock(v), circle_and_line(v.read_value())]

    def derivatives() -> Any:
        with tf.GradientTape(persistent=True) as tape:
            f, c = values()
        return [f, c, tape.gradient(f, v), tape.jacobian(c, v)]

    concrete = [tf.function(fun).get_concrete_function() for fun in (values, derivatives)]
    calls = [call_plan(c, False) for c in concrete]
    parts = [
        _native.FunctionCall(
            call.name,
            [scratch.handle if t is v.handle else t for t in call.captured_inputs],
            dispatch=call.dispatch,
            config_proto=call.config_proto,
            optimized=call.optimized,
        )
        for call in calls
    ]
    components = [_native.Component(0, (2,), "float64")]
    rows = [_native.Row(0, 0), _native.Row(1, 1)]
    function = _native.FunctionObjective(private.context_capsule(), parts, components, rows, num_values=2)
    solver = _native.Slsqp(*arrays, 1)
    _native.drive(solver, function)
    np.testing.assert_array_equal(arrays.x, solve_circle(circle_objective()))
    np.testing.assert_array_equal(v, 7.0)


def test_float32_variables_are_staged_before_every_evaluation() -> None:
    staging, arrays = _native.aligned_zeros(2, "float32"), memory(2, 2, [0.5, 2.0])
    scratch = tf.Variable(np.zeros(2, np.float32))
    scratch.assign(tf.experimental.dlpack.from_dlpack(staging.__dlpack__()))
    traced = trace_constrained(
        rosenbrock, lambda x: tf.stack([x[0] ** 2 + x[1] ** 2 - 2, x[0] + x[1] - 1]), [(0, (2,), "float32")]
    )

    @tf.function
    def values() -> Any:
        return traced.values(scratch)

    @tf.function
    def derivatives() -> Any:
        return traced.derivatives(scratch)

    concrete = [f.get_concrete_function() for f in (values, derivatives)]
    calls = [_native.FunctionCall(c.name, c.captured_inputs) for c in concrete]
    component = _native.Component(0, (2,), "float32", staging)
    function = _native.FunctionObjective(
        private.context_capsule(),
        calls,
        [component],
        [_native.Row(0, 0), _native.Row(1, 1)],
        num_values=2,
        loss_dtype="float32",
        values_dtype="float32",
    )
    solver = _native.Slsqp(*arrays, 1, ftol=1e-5)
    _native.drive(solver, function)
    np.testing.assert_allclose(solver.x, 1.0, atol=1e-3)


def test_arguments_are_replaced_for_both_functions() -> None:
    radius = tf.constant(2.0, tf.float64)
    traced = trace_constrained(
        lambda x, r: rosenbrock(x), lambda x, r: circle_and_line(x) - tf.stack([r - 2.0, 0.0]), PLANE, [radius]
    )
    function = constrained_objective(traced, PLANE, arguments=[radius])
    np.testing.assert_allclose(solve_circle(function), 1.0, atol=1e-5)
    function.set_input(1, tf.constant(8.0, tf.float64))
    solution = solve_circle(function)
    np.testing.assert_allclose(solution @ solution, 8.0, atol=1e-6)
    arrays = memory(2, 2, START)
    assert function.values(arrays.x, arrays.constraints) == function.evaluate(*arrays)
    assert arrays.constraints[0] == 4.25 - 8.0
    with pytest.raises(ValueError, match="another dtype"):
        function.set_input(1, tf.constant(2.0))
    for position in (0, 2):
        with pytest.raises(ValueError, match="not a tensor that can be replaced"):
            function.set_input(position, radius)


def test_values_and_derivatives_are_evaluated_at_once_if_both_are_expected() -> None:
    counters = tf.Variable([0, 0], dtype=tf.int64)

    def counted(which: int, fun: Any) -> Any:
        def call(x: Any) -> Any:
            counters.scatter_nd_add([[which]], [1])
            return fun(x)

        return tf.function(call).get_concrete_function(tf.TensorSpec([2], tf.float64))

    traced = trace_constrained(rosenbrock, circle_and_line, PLANE)
    values, derivatives = counted(0, traced.values), counted(1, traced.derivatives)
    function = constrained_objective(Traced(values, derivatives, 2), PLANE)
    solver = circle_solver()
    timing = _native.drive(solver, function)
    values_alone, with_derivatives = counters.numpy().tolist()
    assert timing.evaluations == values_alone + with_derivatives < solver.nfev + solver.njev
    assert with_derivatives >= solver.njev
    assert values_alone < solver.nfev / 2


@pytest.mark.parametrize("ftol", [1e-1, 1e-2, 1e-4, 1e-6, 1e-9])
def test_derivatives_at_the_end_belong_to_x(ftol: float) -> None:
    solver, function = circle_solver(ftol=ftol), circle_objective()
    _native.drive(solver, function)
    arrays = memory(2, 2, solver.x)
    function.evaluate(*arrays)
    np.testing.assert_array_equal(solver.gradient, arrays.gradient)
    np.testing.assert_array_equal(solver.jacobian, arrays.jacobian)
    np.testing.assert_allclose(solver.fun, rosenbrock(solver.x), rtol=1e-12)


def failing(check_values: bool) -> _native.FunctionObjective:
    """Functions; one of them fails where a logarithm is undefined."""

    def constraints(x: Any) -> Any:
        return tf.debugging.check_numerics(tf.math.log(x), "logarithm of my constraint") if check_values else x

    @tf.custom_gradient
    def checked(x: Any) -> Any:
        return tf.identity(
            x
        ), lambda upstream: upstream + 0 * tf.debugging.check_numerics(tf.math.log(x), "my gradient")

    loss = rosenbrock if check_values else lambda x: rosenbrock(checked(x))
    return constrained_objective(trace_constrained(loss, constraints, PLANE), PLANE)


@pytest.mark.parametrize("check_values", [True, False], ids=["in values", "in derivatives"])
def test_error_has_the_type_and_message_of_a_call_from_python(check_values: bool) -> None:
    function, arrays = failing(check_values), memory(2, 2, -1.0)
    for _ in range(4):
        with pytest.raises(tf.errors.InvalidArgumentError) as found:
            function.evaluate(*arrays)
        message = "logarithm of my constraint" if check_values else "my gradient"
        assert message in found.value.message
        assert "defined at (most recent call last)" in found.value.message
        if not check_values:
            assert np.isfinite(function.values(arrays.x, arrays.constraints))
    arrays.x[:] = 1.0
    assert function.evaluate(*arrays) == 0.0


@pytest.mark.parametrize("part", ["constraint", "derivative"])
def test_nan_ends_the_solve_with_a_status(part: str) -> None:
    @tf.custom_gradient
    def spoiled(x: Any) -> Any:
        return tf.identity(x), lambda upstream: upstream * np.nan

    constraints = (lambda x: x * np.nan) if part == "constraint" else (lambda x: spoiled(x))
    solver = circle_solver()
    _native.drive(solver, constrained_objective(trace_constrained(rosenbrock, constraints, PLANE), PLANE))
    assert solver.status is _native.SlsqpStatus.NON_FINITE_START
    np.testing.assert_array_equal(solver.x, START)
