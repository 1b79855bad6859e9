"""TensorFlow functions as objectives, with and without constraints: memory, dtypes, captured tensors, errors."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_parts
from native_constrained import (
    PLANE,
    START,
    Memory,
    circle_and_line,
    circle_objective,
    constrained_objective,
    memory,
    trace_constrained,
)
from native_constrained import rosenbrock as rosenbrock_of_two
from native_functions import (
    WAYS,
    Layout,
    function_call,
    objective,
    rosenbrock,
    rosenbrock_objective,
    solve,
    trace,
    vector_layout,
    vectors,
)

from tfminimize import _native
from tfminimize._tf import private, xla
from tfminimize._tf.dispatch import call_plan


class Kind(NamedTuple):
    """Rosenbrock's function of two variables, alone or on a circle: its minimum is at (1, 1)."""

    make: Callable[..., _native.FunctionObjective]
    num_constraints: int

    def solve(self, function: _native.Objective, start: Any = START, **options: Any) -> Any:
        arrays = memory(2, self.num_constraints, start)
        if self.num_constraints:
            _native.drive(_native.Slsqp(*arrays, 1, **options), function)
        else:
            _native.drive(_native.Lbfgsb(*arrays, **options), function)
        return np.array(arrays.x)

    def memory(self, start: Any = START) -> Memory:
        return memory(2, self.num_constraints, start)


KINDS = {
    "loss": Kind(lambda **options: rosenbrock_objective(2, **options), 0),
    "constraints": Kind(circle_objective, 2),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_kind
def test_objective_outlives_its_functions(kind: Kind) -> None:
    function = kind.make()
    gc.collect()
    for _ in range(3):
        np.testing.assert_allclose(kind.solve(function), 1.0, atol=1e-4)


@every_kind
def test_functions_compiled_by_xla(kind: Kind) -> None:
    if kind.num_constraints:
        traced = trace_constrained(rosenbrock_of_two, circle_and_line, PLANE, jit_compile=True)
        function = constrained_objective(traced, PLANE, dispatch="function")
    else:
        function = rosenbrock_objective(2, jit_compile=True)
    assert set(function.dispatch) == {"function"}
    np.testing.assert_allclose(kind.solve(function), 1.0, atol=1e-3)


@every_kind
def test_tensorflow_reads_the_memory_of_x(kind: Kind) -> None:
    function, x = kind.make(), kind.memory().x
    assert set(function.input_address(x, 0)) == {x.ctypes.data}


def test_tensorflow_reads_each_component_in_place() -> None:
    layout: Layout = [(0, (2, 3), "float64"), (8, (5,), "float64")]
    function = objective(trace(lambda a, b: tf.reduce_sum(a**2) + tf.reduce_sum(b), layout), layout)
    x, _ = vectors(13)
    assert function.input_address(x, 0) == (x.ctypes.data,)
    assert function.input_address(x, 1) == (x.ctypes.data + 8 * 8,)


@pytest.mark.parametrize("dispatch", WAYS)
@pytest.mark.parametrize("with_constraints", [False, True])
def test_each_component_keeps_its_dtype(with_constraints: bool, dispatch: str) -> None:
    layout: Layout = [(0, (3,), "float64"), (8, (2, 2), "float32"), (16, (), "float32"), (24, (5,), "float64")]

    def loss(a: Any, b: Any, c: Any, d: Any) -> Any:
        return tf.reduce_sum(a**2) + tf.cast(tf.reduce_sum(b**3) * c, tf.float64) + tf.reduce_sum(tf.sin(d))

    def constraints(a: Any, b: Any, c: Any, d: Any) -> Any:
        return tf.stack([tf.reduce_prod(a), tf.cast(tf.reduce_sum(b) * c, tf.float64), tf.reduce_sum(d**2)])

    if with_constraints:
        traced = trace_constrained(loss, constraints, layout)
        concrete, function = traced.derivatives, constrained_objective(traced, layout, dispatch=dispatch)
    else:
        concrete = trace(loss, layout)
        function = objective(concrete, layout, dispatch=dispatch)
    arrays = memory(29, 3 if with_constraints else 0)
    arrays.x[:] = np.random.default_rng(1).normal(size=29)
    arrays.gradient[:], arrays.jacobian[:] = -77.0, -77.0
    leaves = [arrays.x[o : o + int(np.prod(s))].reshape(s).astype(t) for o, s, t in layout]
    f, *results = [t.numpy() for t in concrete(*map(tf.constant, leaves))]
    assert function.evaluate(*arrays) == f
    if with_constraints:
        np.testing.assert_array_equal(arrays.constraints, results.pop(0))
    for i, (offset, shape, _) in enumerate(layout):
        part = slice(offset, offset + int(np.prod(shape)))
        np.testing.assert_array_equal(arrays.gradient[part].reshape(shape), results[i])
        if with_constraints:
            np.testing.assert_array_equal(arrays.jacobian[:, part].reshape(3, *shape), results[4 + i])
    for gap in (slice(3, 8), slice(12, 16), slice(17, 24)):
        np.testing.assert_array_equal(arrays.gradient[gap], -77.0)
        np.testing.assert_array_equal(arrays.jacobian[:, gap], -77.0)


def test_loss_and_constraints_of_float32() -> None:
    layout: Layout = [(0, (4,), "float32")]
    function = objective(trace(lambda x: tf.reduce_sum(x**2), layout), layout)
    np.testing.assert_allclose(solve(function, 4, 3.0), 0.0, atol=1e-5)
    traced = trace_constrained(lambda x: tf.reduce_sum(x**2), lambda x: tf.reshape(tf.reduce_sum(x) - 4.0, [1]), layout)
    arrays = memory(4, 1, 3.0)
    solver = _native.Slsqp(*arrays, 1)
    _native.drive(solver, constrained_objective(traced, layout))
    assert solver.status_code == 0
    np.testing.assert_allclose(arrays.x, 1.0, atol=1e-6)


def test_component_without_elements() -> None:
    layout: Layout = [(0, (0, 3), "float64"), (0, (2,), "float64")]
    function = objective(trace(lambda a, b: tf.reduce_sum(a) + tf.reduce_sum(b**2), layout), layout)
    x, g = vectors(2, 3.0)
    assert function.evaluate(x, g) == 18.0
    np.testing.assert_array_equal(g, 6.0)
    loss = lambda a, b: tf.reduce_sum(a) + rosenbrock_of_two(b)  # noqa: E731
    traced = trace_constrained(loss, lambda a, b: circle_and_line(b), layout)
    np.testing.assert_allclose(KINDS["constraints"].solve(constrained_objective(traced, layout)), 1.0, atol=1e-5)


@pytest.mark.parametrize("with_constraints", [False, True])
def test_error_in_the_middle_of_a_solve(with_constraints: bool) -> None:
    if with_constraints:
        logarithm = lambda x: tf.debugging.check_numerics(tf.math.log(x) + 10.0, "my check")  # noqa: E731
        function: Any = constrained_objective(trace_constrained(tf.reduce_sum, logarithm, PLANE), PLANE)
    else:
        root = lambda x: tf.reduce_sum(tf.debugging.check_numerics(tf.sqrt(x), "my check") + x)  # noqa: E731
        function = objective(trace(root, PLANE), PLANE)
    for _ in range(3):
        arrays = memory(2, 2 if with_constraints else 0, 0.5 if with_constraints else 1.0)
        solver: Any = _native.Slsqp(*arrays) if with_constraints else _native.Lbfgsb(*arrays)
        with pytest.raises(tf.errors.InvalidArgumentError, match="my check"):
            _native.drive(solver, function)
        assert solver.nfev > 0


@every_kind
def test_bare_loops_are_timed_one_for_each_function(kind: Kind) -> None:
    function, x = kind.make(), kind.memory().x
    times = function.repeat(x, 50)
    assert len(times) == len(function.dispatch) == (2 if kind.num_constraints else 1)
    for seconds in times:
        assert seconds > 0
    with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
        function.repeat(x, 0)


def compiled(n: int) -> _native.XlaCall:
    (program,) = xla.compile_functions([trace(lambda x: tf.reduce_sum(x**2), vector_layout(n))])
    return _native.XlaCall(program.program, [0])


@pytest.mark.linked
def test_bare_loop_of_machine_code_writes_to_no_earlier_array() -> None:
    n = 1000
    function = _native.FunctionObjective(
        private.context_capsule(), [compiled(n)], [_native.Component(0, (n,), "float64")]
    )
    x, g = vectors(n, 1.0)
    assert function.evaluate(x, g) == n
    x[:] = 3.0
    function.repeat(x, 3)
    np.testing.assert_array_equal(g, 2.0)
    function.evaluate(x, g)
    np.testing.assert_array_equal(g, 6.0)


@pytest.mark.linked
def test_calls_of_two_kinds_are_refused() -> None:
    concrete = trace(lambda x: tf.reduce_sum(x**2), vector_layout(3))
    calls = [compiled(3), function_call(call_plan(concrete, False), [0])]
    for both in (calls, calls[::-1]):
        with pytest.raises(ValueError, match="of two kinds"):
            _native.FunctionObjective(
                private.context_capsule(), both, [_native.Component(0, (3,), "float64")], num_values=1
            )


ELSEWHERE = {
    "loss": """
@tf.function
def loss_and_gradient(x):
    with tf.device("CPU:1"):
        return [tf.reduce_sum(x ** 2), 2 * x]
concrete = loss_and_gradient.get_concrete_function(tf.TensorSpec([4], tf.float64))
call = call_plan(concrete, False)
assert "runs on" in call.reason and "CPU:1" in call.reason, call.reason
function = objective(concrete, vector_layout(4), call=call)
x, g = vectors(4, 3.0)
assert "CPU:1" in concrete(tf.constant(x))[1].backing_device
assert function.evaluate(x, g) == 36.0 and (g == 6.0).all(), g
assert abs(solve(function, 4, 3.0)).max() < 1e-6
""",
    "constraints": """
traced = trace_constrained(rosenbrock, circle_and_line, PLANE)
def elsewhere(concrete):
    def call(x):
        with tf.device("CPU:1"):
            return [tf.identity(t) for t in concrete(x)]
    return tf.function(call).get_concrete_function(tf.TensorSpec([2], tf.float64))
function = constrained_objective(Traced(elsewhere(traced.values), elsewhere(traced.derivatives), 2), PLANE)
assert function.dispatch == ("function", "function")
assert abs(solve_circle(function) - 1).max() < 1e-5
""",
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    # A second CPU device stands for an accelerator; devices must be made before TensorFlow is used.
    setup = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from native_functions import *
from native_constrained import *
from tfminimize._tf.dispatch import call_plan
"""
    return run_parts(setup, ELSEWHERE)


@pytest.mark.parametrize("kind", ELSEWHERE)
@pytest.mark.subprocess
def test_result_on_another_device_is_copied(errors: dict[str, str], kind: str) -> None:
    assert errors[kind] == ""


@pytest.mark.resident_memory
@pytest.mark.parametrize("with_constraints", [False, True])
def test_memory_is_constant(with_constraints: bool) -> None:
    if with_constraints:
        layout = vector_layout(100)
        traced = trace_constrained(lambda x: tf.reduce_sum(x**2), lambda x: x[:20] ** 3, layout)
        function, arrays, many = constrained_objective(traced, layout), memory(100, 20, 0.5), 20_000
    else:
        function, arrays, many = rosenbrock_objective(1000), memory(1000, 0, 0.5), 100_000

    def evaluate(count: int) -> int:
        for _ in range(count):
            function.evaluate(*arrays)
            if with_constraints:
                function.values(arrays.x, arrays.constraints)
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = evaluate(2000)
    # One leaked byte in each of the arrays of an evaluation would be 24 pages; a leaked tensor 200,000, and a leaked
    # Jacobian 80,000.
    assert evaluate(many) - before < 1000


@pytest.mark.slow
@every_kind
def test_eight_threads_at_once(kind: Kind) -> None:
    functions = [kind.make(dispatch="function") for _ in range(8)]
    starts = [np.random.default_rng(i).uniform(0.2, 2.0, size=2) for i in range(8)]
    expected = [kind.solve(functions[0], start) for start in starts]
    found: list[Any] = [None] * 8
    barrier = threading.Barrier(8)

    def work(i: int) -> None:
        barrier.wait()
        for _ in range(20):
            found[i] = kind.solve(functions[i], starts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_eight_threads_with_the_fastest_way_of_one_function() -> None:
    n = 20
    concrete = trace(rosenbrock, vector_layout(n))
    call = call_plan(concrete, False)
    functions = [objective(concrete, vector_layout(n), call=call) for _ in range(8)]
    starts = [np.random.default_rng(i).normal(size=n) for i in range(8)]
    expected = [solve(functions[0], n, start) for start in starts]
    found: list[Any] = [None] * 8

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = solve(functions[i], n, starts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@every_kind
def test_second_user_at_the_same_time_is_refused(kind: Kind) -> None:
    function, errors = kind.make(), []

    def observe() -> None:
        arrays = kind.memory()
        for use in (
            lambda: function.evaluate(*arrays),
            lambda: function.values(arrays.x, arrays.constraints),
            lambda: kind.solve(function),
            lambda: function.set_input(0, tf.constant(0.0)),
            lambda: function.set_rows([]),
        ):
            with pytest.raises(RuntimeError, match="in use by another solve or thread") as error:
                use()
            errors.append(error)

    arrays = kind.memory()
    solver: Any = _native.Slsqp(*arrays, 1, maxiter=2) if kind.num_constraints else _native.Lbfgsb(*arrays, maxiter=2)
    _native.drive(solver, function, observe)
    assert len(errors) == 5 * solver.nit
    np.testing.assert_allclose(kind.solve(function), 1.0, atol=1e-4)
