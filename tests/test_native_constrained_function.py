"""TensorFlow functions as constrained objectives: rows, memory, dtypes, both functions, errors, threads."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path
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
from native_functions import Layout, vector_layout

from tfminimize import _native
from tfminimize._tf import private
from tfminimize._tf.dispatch import dispatchable

WAYS = ["function", "partitioned_call", "fastest"]


def both(traced: Traced, *arguments: Any) -> tuple[list[Any], list[Any]]:
    """What Python's own calls of the two functions return."""
    return [[t.numpy() for t in f(*map(tf.constant, arguments))] for f in (traced.values, traced.derivatives)]


@pytest.mark.parametrize("dispatch", WAYS)
def test_results_are_those_of_pythons_own_calls(dispatch: str) -> None:
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
        assert function.evaluate_values(values_alone.x, values_alone.constraints) == f
        np.testing.assert_array_equal(values_alone.constraints, c)
        np.testing.assert_array_equal(values_alone.gradient, 0.0)
        assert function.evaluate(*arrays) == joint_f
        np.testing.assert_array_equal(arrays.constraints, joint_c)
        np.testing.assert_array_equal(arrays.gradient, g)
        np.testing.assert_array_equal(arrays.jacobian[:, :9], jacobian)
        np.testing.assert_array_equal(arrays.jacobian[:, 9:], 0.0)
        function.evaluate_derivatives(values_alone.x, values_alone.gradient, values_alone.jacobian)
        np.testing.assert_array_equal(values_alone.jacobian, arrays.jacobian)
        values_alone.gradient[:] = 0.0


def test_solve() -> None:
    function = circle_objective()
    for _ in range(3):
        np.testing.assert_allclose(solve_circle(function), 1.0, atol=1e-5)


def test_xla_compiled_functions() -> None:
    traced = trace_constrained(rosenbrock, circle_and_line, PLANE, jit_compile=True)
    function = constrained_objective(traced, PLANE, dispatch="function")
    assert function.dispatch == ("function", "function")
    np.testing.assert_allclose(solve_circle(function), 1.0, atol=1e-5)


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
    function.evaluate(*arrays)
    np.testing.assert_array_equal(arrays.constraints, [11.0, 4.0])
    function.set_rows([_native.Row(0, 1, -1.0, 0.5)])
    single = memory(2, 1, [2.0, 3.0])
    function.evaluate(*single)
    np.testing.assert_array_equal(single.constraints, [-3.5])
    np.testing.assert_array_equal(single.jacobian[:, :2], [[-1.0, -1.0]])
    function.set_rows([])
    assert function.evaluate_values(arrays.x, np.zeros(0)) == 101.0


def test_linear_constraints_are_in_no_row() -> None:
    # The line x + y >= 1 is the solver's own.
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


def test_each_component_keeps_its_dtype() -> None:
    layout: Layout = [(0, (3,), "float64"), (8, (2, 2), "float32"), (16, (), "float32"), (24, (5,), "float64")]

    def loss(a: Any, b: Any, c: Any, d: Any) -> Any:
        return tf.reduce_sum(a**2) + tf.cast(tf.reduce_sum(b**3) * c, tf.float64) + tf.reduce_sum(tf.sin(d))

    def constraints(a: Any, b: Any, c: Any, d: Any) -> Any:
        return tf.stack([tf.reduce_prod(a), tf.cast(tf.reduce_sum(b) * c, tf.float64), tf.reduce_sum(d**2)])

    traced = trace_constrained(loss, constraints, layout)
    function = constrained_objective(traced, layout)
    arrays = memory(29, 3)
    arrays.x[:] = np.random.default_rng(1).normal(size=29)
    arrays.gradient[:], arrays.jacobian[:] = -77.0, -77.0
    leaves = [arrays.x[o : o + int(np.prod(s))].reshape(s).astype(t) for o, s, t in layout]
    _, (f, c, *derivatives) = both(traced, *leaves)
    assert function.evaluate(*arrays) == f
    np.testing.assert_array_equal(arrays.constraints, c)
    for i, (offset, shape, _) in enumerate(layout):
        part = slice(offset, offset + int(np.prod(shape)))
        np.testing.assert_array_equal(arrays.gradient[part].reshape(shape), derivatives[i])
        np.testing.assert_array_equal(arrays.jacobian[:, part].reshape(3, *shape), derivatives[4 + i])
    for gap in (slice(3, 8), slice(12, 16), slice(17, 24)):
        np.testing.assert_array_equal(arrays.gradient[gap], -77.0)
        np.testing.assert_array_equal(arrays.jacobian[:, gap], -77.0)


def test_loss_and_constraints_of_float32() -> None:
    layout: Layout = [(0, (4,), "float32")]
    traced = trace_constrained(lambda x: tf.reduce_sum(x**2), lambda x: tf.reshape(tf.reduce_sum(x) - 4.0, [1]), layout)
    arrays = memory(4, 1, 3.0)
    solver = _native.Slsqp(*arrays, 1)
    _native.drive(solver, constrained_objective(traced, layout))
    assert solver.status_code == 0
    np.testing.assert_allclose(arrays.x, 1.0, atol=1e-6)


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
    solver = _native.Slsqp(*arrays, 1, lower, upper, num_variables=2)
    _native.drive(solver, constrained_objective(traced, layout))
    plain = circle_solver()
    _native.drive(plain, circle_objective())
    np.testing.assert_allclose(arrays.x[[0, 8]], plain.x, rtol=1e-12)
    assert (solver.nit, solver.nfev, solver.njev) == (plain.nit, plain.nfev, plain.njev)
    np.testing.assert_array_equal(arrays.x[1:8], 0.0)


def test_component_without_elements() -> None:
    layout: Layout = [(0, (0, 3), "float64"), (0, (2,), "float64")]
    traced = trace_constrained(lambda a, b: tf.reduce_sum(a) + rosenbrock(b), lambda a, b: circle_and_line(b), layout)
    np.testing.assert_allclose(solve_circle(constrained_objective(traced, layout)), 1.0, atol=1e-5)


def test_both_functions_read_the_memory_of_x() -> None:
    function = circle_objective()
    x = memory(2, 2).x
    assert function.input_address(x, 0) == (x.ctypes.data, x.ctypes.data)


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
    calls = [dispatchable(c, False) for c in concrete]
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
    function = _native.ConstrainedFunction(private.context_capsule(), *parts, components, rows, num_values=2)
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
    function = _native.ConstrainedFunction(
        private.context_capsule(),
        *calls,
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
    assert function.evaluate_values(arrays.x, arrays.constraints) == function.evaluate(*arrays)
    assert arrays.constraints[0] == 4.25 - 8.0
    with pytest.raises(ValueError, match="another dtype"):
        function.set_input(1, tf.constant(2.0))
    for position in (0, 2):
        with pytest.raises(ValueError, match="not a tensor that can be replaced"):
            function.set_input(position, radius)


def test_values_and_derivatives_come_at_once_where_both_are_expected() -> None:
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


def failing(check_values: bool) -> _native.ConstrainedFunction:
    """Functions of which one fails where a logarithm has no value."""

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
def test_error_has_the_type_and_the_message_of_pythons_own_call(check_values: bool) -> None:
    function, arrays = failing(check_values), memory(2, 2, -1.0)
    for _ in range(4):
        with pytest.raises(tf.errors.InvalidArgumentError) as found:
            function.evaluate(*arrays)
        message = "logarithm of my constraint" if check_values else "my gradient"
        assert message in found.value.message
        assert "defined at (most recent call last)" in found.value.message
        if not check_values:
            assert np.isfinite(function.evaluate_values(arrays.x, arrays.constraints))
    arrays.x[:] = 1.0
    assert function.evaluate(*arrays) == 0.0


def test_error_in_the_middle_of_a_solve() -> None:
    traced = trace_constrained(
        tf.reduce_sum, lambda x: tf.debugging.check_numerics(tf.math.log(x) + 10.0, "my logarithm"), PLANE
    )
    function = constrained_objective(traced, PLANE)
    for _ in range(3):
        solver = _native.Slsqp(*memory(2, 2, 0.5), 0)
        with pytest.raises(tf.errors.InvalidArgumentError, match="my logarithm"):
            _native.drive(solver, function)
        assert solver.nfev > 0


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


def test_bare_loops_are_timed_one_for_each_function() -> None:
    function, x = circle_objective(), memory(2, 2, START).x
    for seconds in function.repeat(x, 50):
        assert seconds > 0
    with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
        function.repeat(x, 0)


@pytest.mark.subprocess
def test_result_on_another_device_is_copied() -> None:
    # A second processor device stands for an accelerator; devices must be made before TensorFlow is used.
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from native_constrained import *
traced = trace_constrained(rosenbrock, circle_and_line, PLANE)
def elsewhere(concrete):
    def call(x):
        with tf.device("CPU:1"):
            return [tf.identity(t) for t in concrete(x)]
    return tf.function(call).get_concrete_function(tf.TensorSpec([2], tf.float64))
function = constrained_objective(Traced(elsewhere(traced.values), elsewhere(traced.derivatives), 2), PLANE)
assert function.dispatch == ("function", "function")
assert abs(solve_circle(function) - 1).max() < 1e-5
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@pytest.mark.resident_memory
def test_memory_is_constant() -> None:
    layout = vector_layout(100)
    traced = trace_constrained(lambda x: tf.reduce_sum(x**2), lambda x: x[:20] ** 3, layout)
    function, arrays = constrained_objective(traced, layout), memory(100, 20, 0.5)

    def evaluate(count: int) -> int:
        for _ in range(count):
            function.evaluate(*arrays)
            function.evaluate_values(arrays.x, arrays.constraints)
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = evaluate(2000)
    # One leaked Jacobian in each evaluation would be 80,000 pages.
    assert evaluate(20_000) - before < 1000


def test_objective_outlives_what_it_was_made_of() -> None:
    function = circle_objective()
    gc.collect()
    np.testing.assert_allclose(solve_circle(function), 1.0, atol=1e-5)


def test_eight_threads_at_once() -> None:
    traced = trace_constrained(rosenbrock, circle_and_line, PLANE)
    functions = [constrained_objective(traced, PLANE, dispatch="function") for _ in range(8)]
    starts = [np.random.default_rng(i).uniform(0.2, 2.0, size=2) for i in range(8)]
    expected = [solve_circle(functions[0], start=start) for start in starts]
    found: list[Any] = [None] * 8
    barrier = threading.Barrier(8)

    def work(i: int) -> None:
        barrier.wait()
        for _ in range(20):
            found[i] = solve_circle(functions[i], start=starts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_user_at_the_same_time_is_refused() -> None:
    function, errors = circle_objective(), []

    def observe() -> None:
        arrays = memory(2, 2, START)
        for use in (
            lambda: function.evaluate(*arrays),
            lambda: function.evaluate_values(arrays.x, arrays.constraints),
            lambda: solve_circle(function),
            lambda: function.set_input(0, tf.constant(0.0)),
            lambda: function.set_rows([]),
        ):
            with pytest.raises(RuntimeError, match="in use by another solve or thread") as error:
                use()
            errors.append(error)

    _native.drive(circle_solver(maxiter=2), function, observe)
    assert len(errors) >= 4
    np.testing.assert_allclose(solve_circle(function), 1.0, atol=1e-5)
