"""Both ways of calling a function give the same numbers and side effects on every kind of graph."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from native_functions import objective, trace, vector_layout, vectors

import tfminimize as tfm
from tfminimize._tf import private
from tfminimize._tf.dispatch import call_plan

F64 = tf.float64
N = 8
data = tf.constant(np.random.default_rng(1).normal(size=(20, N)))
weights = tf.Variable(np.ones(N))
counter = tf.Variable(0, dtype=tf.int64)
history = tf.Variable(np.zeros((4, N)))
calls: list[int] = []


@tf.function
def nested(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.sin(x) ** 3)


@tf.function(jit_compile=True)
def nested_xla(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cos(x) * x)


@tf.function
def nested_count(x: tf.Tensor) -> tf.Tensor:
    counter.assign_add(1)
    return tf.reduce_sum(x * x)


@tf.custom_gradient
def clipped(x: tf.Tensor) -> Any:
    return tf.identity(x), lambda upstream: tf.clip_by_value(upstream, -1.0, 1.0)


def while_loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda i, s: i < 5,
        lambda i, s: (i + 1, s + tf.reduce_sum(tf.sin(x * tf.cast(i, F64)))),
        [0, tf.constant(0.0, F64)],
    )[1]


def autograph_loop(x: tf.Tensor) -> tf.Tensor:
    total = tf.constant(0.0, F64)
    for row in data:
        if tf.reduce_sum(row * x) > 0:
            total += tf.reduce_sum(row * x)
    return total + tf.reduce_sum(x**2)


def checked_loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda i, s: i < 3,
        lambda i, s: (i + 1, s + tf.reduce_sum(tf.debugging.check_numerics(nested(x) * x, "loop"))),
        [0, tf.constant(0.0, F64)],
    )[1]


def tensor_array(x: tf.Tensor) -> tf.Tensor:
    array = tf.TensorArray(F64, size=4)
    for i in tf.range(4):
        array = array.write(i, tf.reduce_sum(x) * tf.cast(i, F64))
    return tf.reduce_sum(array.stack() ** 2)


def gaussian_process(x: tf.Tensor) -> tf.Tensor:
    distances = tf.square(data[:, :1] - tf.transpose(data[:, :1]))
    root = tf.linalg.cholesky(tf.exp(-distances / tf.exp(x[0])) + tf.eye(20, dtype=F64) * tf.exp(x[1]))
    residual = tf.linalg.triangular_solve(root, data[:, 1:2])
    return tf.reduce_sum(tf.math.log(tf.linalg.diag_part(root))) + 0.5 * tf.reduce_sum(residual**2)


def convolution(x: tf.Tensor) -> tf.Tensor:
    image = tf.reshape(tf.tile(x, [8]), [1, 8, 8, 1])
    kernel = tf.reshape(tf.tile(x, [2])[:9], [3, 3, 1, 1])
    return tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME")) ** 2)


def asserted(x: tf.Tensor) -> tf.Tensor:
    tf.debugging.assert_less(tf.reduce_sum(tf.abs(x)), tf.constant(1e6, F64))
    return tf.reduce_sum(x**2)


PURE = {
    "while": while_loop,
    "autograph": autograph_loop,
    "checks in a loop": checked_loop,
    "cond": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.reduce_sum(x**2), lambda: tf.reduce_sum(abs(x) ** 3)),
    "switch_case": lambda x: tf.switch_case(
        tf.cast(tf.reduce_sum(x) > 0, tf.int32), [lambda: tf.reduce_sum(x), lambda: tf.reduce_sum(x**2)]
    ),
    "map_fn": lambda x: tf.reduce_sum(tf.map_fn(lambda row: tf.reduce_sum(tf.tanh(row * x)), data)),
    "scan": lambda x: tf.reduce_sum(
        tf.scan(lambda a, row: a * 0.5 + tf.reduce_sum(row * x), data, initializer=tf.constant(0.0, F64))
    ),
    "TensorArray": tensor_array,
    "nested": lambda x: nested(x) + nested(x * 2),
    "nested XLA": lambda x: nested_xla(x) + tf.reduce_sum(x**2),
    "custom gradient": lambda x: tf.reduce_sum(clipped(x) ** 2),
    "recompute": lambda x: tf.reduce_sum(tf.recompute_grad(lambda v: tf.tanh(v) * v)(x)),
    "variable": lambda x: tf.reduce_sum((x - weights) ** 2),
    "gather": lambda x: tf.reduce_sum(tf.gather(x, [0, 1, 1, 3]) ** 2),
    "gather from a variable": lambda x: tf.reduce_sum(tf.gather(weights, [0, 1]) * x[:2] ** 2),
    "stateless random": lambda x: tf.reduce_sum(x * tf.random.stateless_normal([N], [1, 2], dtype=F64)),
    "float32 inside": lambda x: tf.cast(tf.reduce_sum(tf.cast(x, tf.float32) ** 2), F64),
    "einsum": lambda x: tf.einsum("i,ji,j->", x, data, tf.linalg.matvec(data, x)),
    "logistic": lambda x: tf.reduce_sum(tf.nn.softplus(tf.linalg.matvec(data, x))) + tf.reduce_sum(x**2),
    "Gaussian process": gaussian_process,
    "convolution": convolution,
    "assert": asserted,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PURE)
def test_both_ways_give_the_numbers_of_a_call_from_python(name: str) -> None:
    concrete = trace(PURE[name], vector_layout(N))
    call = call_plan(concrete, False)
    assert call.dispatch == "fastest", call.reason
    assert call.repeatable
    x, g = vectors(N)
    x[:] = np.random.default_rng(0).normal(size=N)
    expected_f, expected_g = concrete(tf.constant(x))
    for way in ("function", "partitioned_call"):
        function = objective(concrete, vector_layout(N), call=call, dispatch=way)
        for _ in range(3):
            g[:] = 0.0
            assert function.evaluate(x, g) == expected_f.numpy()
            np.testing.assert_array_equal(g, expected_g)


def count_in_loop(x: tf.Tensor) -> tf.Tensor:
    for _ in tf.range(3):
        counter.assign_add(1)
    return tf.reduce_sum(x**2)


def count_in_python(x: tf.Tensor) -> tf.Tensor:
    def count(v: Any) -> float:
        counter.assign_add(1)
        return float(np.sum(v))

    return tf.reduce_sum(x**2) + tf.stop_gradient(tf.py_function(count, [x], F64))


def count_unread(x: tf.Tensor) -> tf.Tensor:
    counter.assign_add(1)
    return tf.reduce_sum(x**2)


EFFECTS = {
    "assign": (count_unread, 1),
    "assign in a nested function": (nested_count, 1),
    "assign in a loop": (count_in_loop, 3),
    "assign in Python": (count_in_python, 1),
    "assign in a branch": (
        lambda x: tf.cond(tf.reduce_sum(x) > 1e9, lambda: tf.reduce_sum(x), lambda: nested_count(x)),
        1,
    ),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_side_effects_happen_once_an_evaluation(name: str) -> None:
    fun, effects = EFFECTS[name]
    concrete = trace(fun, vector_layout(N))
    before = counter.numpy()
    call = call_plan(concrete, False)
    assert counter.numpy() == before, "the function ran while it was prepared"
    assert call.dispatch == "fastest", call.reason
    assert not call.repeatable
    x, g = vectors(N, 1.0)
    for way in ("function", "partitioned_call", "fastest"):
        function = objective(concrete, vector_layout(N), call=call, dispatch=way)
        for _ in range(10):
            before = counter.numpy()
            function.evaluate(x, g)
            assert counter.numpy() == before + effects


def test_failed_evaluation_with_side_effects_is_not_repeated() -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:
        counter.assign_add(1)
        with tf.control_dependencies([counter.read_value()]):
            return tf.reduce_sum(tf.debugging.check_numerics(tf.math.log(x), "failed"))

    function = objective(trace(loss, vector_layout(N)), vector_layout(N))
    x, g = vectors(N, -1.0)
    for _ in range(4):
        before = counter.numpy()
        with pytest.raises(tf.errors.InvalidArgumentError, match="failed"):
            function.evaluate(x, g)
        assert counter.numpy() == before + 1


def test_printing(capfd: pytest.CaptureFixture[str]) -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:
        tf.print("value", tf.reduce_sum(x))
        return tf.reduce_sum(x**2)

    function = objective(trace(loss, vector_layout(N)), vector_layout(N))
    x, g = vectors(N)
    for i in range(12):
        x[:] = i
        function.evaluate(x, g)
    printed = [line for line in capfd.readouterr().err.splitlines() if line.startswith("value")]
    assert printed == [f"value {i * N}" for i in range(12)]


def test_random_numbers_are_those_of_calls_from_python() -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**2) + tf.random.normal([], dtype=F64, seed=3)

    tf.random.set_seed(1)
    ours, theirs = (trace(loss, vector_layout(N)) for _ in range(2))
    call = call_plan(ours, False)
    assert call.dispatch == "function"
    assert "random" in call.reason
    function = objective(ours, vector_layout(N), call=call)
    x, g = vectors(N)
    found = [function.evaluate(x, g) for _ in range(20)]
    assert found == [theirs(tf.constant(x))[0].numpy() for _ in range(20)]
    assert len(set(found)) == 20


def test_random_generator_goes_on() -> None:
    generator = tf.random.Generator.from_seed(3)
    function = objective(
        trace(lambda x: tf.reduce_sum(x) + generator.normal([], dtype=F64), vector_layout(N)), vector_layout(N)
    )
    x, g = vectors(N)
    found = [function.evaluate(x, g) for _ in range(20)]
    same = tf.random.Generator.from_seed(3)
    assert found == [same.normal([], dtype=F64).numpy() for _ in range(20)]


@pytest.mark.parametrize("way", ["function", "partitioned_call", "fastest"])
def test_tensors_that_a_function_keeps_do_not_change_with_x(way: str) -> None:
    kept, listed, arrays = tf.Variable(np.zeros(N)), [], []

    def keep(v: Any) -> Any:
        listed.append(v)
        return v[0]

    def keep_array(v: Any) -> Any:
        arrays.append(v)
        return v[0]

    def loss(x: tf.Tensor) -> tf.Tensor:
        kept.assign(x)
        tf.py_function(keep, [x], F64)
        tf.numpy_function(keep_array, [x], F64)
        return tf.reduce_sum(x**2)

    function = objective(trace(loss, vector_layout(N)), vector_layout(N), dispatch=way)
    x, g = vectors(N)
    for i in range(10):
        x[:] = i
        function.evaluate(x, g)
        x[:] = -1.0
        np.testing.assert_array_equal(kept, float(i))
    np.testing.assert_array_equal([v[3] for v in listed], np.arange(10.0))
    np.testing.assert_array_equal([v[3] for v in arrays], np.arange(10.0))


def test_reason_is_given() -> None:
    concrete = trace(lambda x: tf.reduce_sum(x**2), vector_layout(N), jit_compile=True)
    call = call_plan(concrete, True)
    assert (call.dispatch, call.optimized) == ("function", b"")
    assert "XLA" in call.reason


def test_function_that_was_called_before_is_called_as_python_calls_it() -> None:
    concrete = trace(lambda x: tf.reduce_sum(x**2), vector_layout(N))
    concrete(tf.zeros(N, F64))
    call = call_plan(concrete, False)
    assert call.dispatch == "function"
    assert "instead of one" in call.reason
    assert objective(concrete, vector_layout(N), call=call).evaluate(*vectors(N, 2.0)) == 32.0


def noinline(fun: Any) -> Any:
    return tf.function(fun, experimental_attributes={"_noinline": True})


@noinline
def apart(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - weights) ** 2)


@noinline
def apart_twice(x: tf.Tensor) -> tf.Tensor:
    return apart(x) + tf.reduce_sum(weights**4 * x)


def apart_in_a_loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, s + apart(x)), [0, tf.constant(0.0, F64)])[1]


APART = {
    "variable": apart,
    "nested": apart_twice,
    "loop": apart_in_a_loop,
    "map_fn": lambda x: tf.reduce_sum(tf.map_fn(lambda row: apart(row * x), data)),
    "branch": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: apart(x), lambda: apart_twice(x)),
    "gather": noinline(lambda x: tf.reduce_sum(tf.gather(weights, [0, 0, 1]) * x[:3] ** 2)),
}


@pytest.mark.parametrize("name", APART)
def test_functions_that_are_not_inlined(name: str) -> None:
    concrete = trace(APART[name], vector_layout(N))
    call = call_plan(concrete, False)
    x, g = vectors(N, 0.5)
    expected_f, expected_g = concrete(tf.constant(x))
    function = objective(concrete, vector_layout(N), call=call)
    for _ in range(4):
        assert function.evaluate(x, g) == expected_f.numpy()
        np.testing.assert_array_equal(g, expected_g)


@pytest.mark.slow
@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_solve_of_variables_that_functions_that_are_not_inlined_read(name: str, jit_compile: bool) -> None:
    x, start = tf.constant(np.linspace(0.5, 1.0, N)), weights.numpy()

    def loss() -> tf.Tensor:
        return APART[name](x) + tf.reduce_sum((weights - 1.5) ** 2)

    try:
        result = tfm.minimize(loss, weights, jit_compile=jit_compile)
        assert result.success
        np.testing.assert_allclose(loss(), result.fun, rtol=1e-12)
    finally:
        weights.assign(start)


def test_asynchronous_execution() -> None:
    tf.config.experimental.set_synchronous_execution(False)
    try:
        call = call_plan(concrete := trace(nested, vector_layout(N)), False)
        assert (call.dispatch, "asynchronously" in call.reason) == ("function", True)
        function = objective(concrete, vector_layout(N), call=call)
        x, g = vectors(N, 0.5)
        for value in (0.5, 0.25):
            x[:] = value
            assert function.evaluate(x, g) == nested(tf.constant(x)).numpy()
    finally:
        tf.config.experimental.set_synchronous_execution(True)


def test_functions_are_removed_with_their_objects() -> None:
    concrete = trace(lambda x: tf.reduce_sum(x**2), vector_layout(N))
    call = call_plan(concrete, False)
    has_function = private.eager_context.context().has_function
    assert has_function(call.optimized)
    name = call.optimized
    del call
    assert not has_function(name)


@pytest.mark.resident_memory
def test_memory_of_deleted_functions_is_freed() -> None:
    live = objective(trace(PURE["logistic"], vector_layout(N)), vector_layout(N))
    x, g = vectors(N, 0.5)
    expected = live.evaluate(x, g)

    def resident_kilobytes() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    def trace_and_evaluate(count: int) -> None:
        for i in range(count):
            concrete = trace(lambda x, i=i: nested(x) + i * tf.reduce_sum(x**2), vector_layout(N))
            call = call_plan(concrete, False)
            objective(concrete, vector_layout(N), call=call, dispatch="partitioned_call").evaluate(x, g)

    trace_and_evaluate(40)
    before = resident_kilobytes()
    trace_and_evaluate(40)
    assert (resident_kilobytes() - before) / 40 < 100  # TensorFlow keeps 200 kB for each
    for _ in range(20):
        assert live.evaluate(x, g) == expected


@pytest.mark.resident_memory
def test_constants_of_deleted_functions_are_freed() -> None:
    matrix = np.random.default_rng(0).normal(size=(100_000, N))
    x, g = vectors(N, 0.5)
    # One is in use and cannot be repeated: only functions with the same numbers of inputs and outputs wait for it.
    counting = objective(trace(count_unread, vector_layout(N)), vector_layout(N), dispatch="partitioned_call")
    counting.evaluate(x, g)

    def trace_and_evaluate() -> int:
        concrete = trace(lambda x: tf.reduce_sum(tf.linalg.matvec(matrix, x) ** 2), vector_layout(N))
        call = call_plan(concrete, False)
        objective(concrete, vector_layout(N), call=call, dispatch="partitioned_call").evaluate(x, g)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # otherwise free blocks between used ones count as resident
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    resident = [trace_and_evaluate() for _ in range(20)]
    assert resident[-1] - resident[4] < 10 * matrix.nbytes
    before = counter.numpy()
    assert counting.evaluate(x, g) == N * 0.25
    assert counter.numpy() == before + 1


def written(fun: Any) -> dict[str, bool]:
    """Return the variables that a function may write, judged before it runs."""
    graph = trace(fun, vector_layout(N)).graph
    variables = {"weights": weights, "counter": counter, "history": history}
    return {name: not private.is_marked_read_only(graph, v.handle) for name, v in variables.items()}


@tf.function
def nested_assign(x: tf.Tensor) -> tf.Tensor:
    weights.assign(x)
    return tf.reduce_sum(x)


def assign_in_loop(x: tf.Tensor) -> tf.Tensor:
    for _ in tf.range(2):
        weights.assign_sub(x)
    return tf.reduce_sum(x * weights)


def scatter(x: tf.Tensor) -> tf.Tensor:
    history.scatter_update(tf.IndexedSlices(x[None], tf.constant([1])))
    return tf.reduce_sum(x * weights)


@pytest.mark.parametrize(
    ("fun", "names"),
    [
        (lambda x: tf.reduce_sum(x * weights), set()),
        (lambda x: tf.reduce_sum(tf.gather(history, [0]) * x), set()),
        (nested_assign, {"weights"}),
        (assign_in_loop, {"weights"}),
        (scatter, {"history"}),
        (nested_count, {"counter"}),
        (
            lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: nested_assign(x), lambda: tf.reduce_sum(x * weights)),
            {"weights"},
        ),
        (lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: nested(x * weights), lambda: nested(x)), set()),
    ],
    ids=["read", "gather", "nested assign", "assign in a loop", "scatter", "count", "branch", "read in a branch"],
)
def test_written_variables_are_found(fun: Any, names: set[str]) -> None:
    assert {name for name, is_written in written(fun).items() if is_written} == names
