"""TensorFlow functions as objectives: memory, dtypes, captured tensors, errors, threads."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from native_functions import (
    Layout,
    objective,
    rosenbrock,
    rosenbrock_objective,
    solve,
    trace,
    value_and_gradients,
    vector_layout,
    vectors,
)

from tfminimize import _native
from tfminimize._tf.dispatch import dispatchable

WAYS = ["function", "partitioned_call", "fastest"]


@pytest.mark.parametrize("dispatch", WAYS)
@pytest.mark.parametrize("n", [2, 9, 1000])
def test_value_and_gradient_are_those_of_pythons_own_call(dispatch: str, n: int) -> None:
    concrete = trace(rosenbrock, vector_layout(n))
    function = objective(concrete, vector_layout(n), dispatch=dispatch)
    x, g = vectors(n)
    rng = np.random.default_rng(0)
    for _ in range(12):  # the two ways of "fastest" are both taken
        x[:] = rng.normal(size=n)
        f = function.evaluate(x, g)
        expected_f, expected_g = concrete(tf.constant(x))
        assert f == expected_f.numpy()
        np.testing.assert_array_equal(g, expected_g)


def test_xla_compiled_function() -> None:
    function = rosenbrock_objective(9, jit_compile=True)
    assert function.dispatch == "function"
    np.testing.assert_allclose(solve(function, 9, -1.2), 1.0, atol=1e-3)


def test_tensorflow_reads_the_memory_of_x() -> None:
    layout: Layout = [(0, (2, 3), "float64"), (8, (5,), "float64")]
    concrete = trace(lambda a, b: tf.reduce_sum(a**2) + tf.reduce_sum(b), layout)
    function = objective(concrete, layout)
    x, _ = vectors(13)
    assert function.input_address(x, 0) == x.ctypes.data
    assert function.input_address(x, 1) == x.ctypes.data + 8 * 8


def test_variable_shares_the_memory_of_x() -> None:
    v, (x, g) = tf.Variable(np.full(8, 7.0)), vectors(8, 2.0)
    scratch = tf.Variable(np.zeros(8))
    scratch.assign(tf.experimental.dlpack.from_dlpack(x.__dlpack__()))

    @tf.function
    def loss_and_gradient() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = rosenbrock(v)
        return [loss, tape.gradient(loss, v)]

    concrete = loss_and_gradient.get_concrete_function()
    assert [t is v.handle for t in concrete.captured_inputs] == [True]
    function = objective(concrete, vector_layout(8), inputs=[scratch.handle])
    for value in (2.0, 3.0, -1.0):
        x[:] = value
        expected = rosenbrock(tf.constant(x))
        assert function.evaluate(x, g) == expected.numpy()
    np.testing.assert_array_equal(v, 7.0)


@pytest.mark.parametrize("dispatch", WAYS)
def test_each_component_keeps_its_dtype(dispatch: str) -> None:
    layout: Layout = [(0, (3,), "float64"), (8, (2, 2), "float32"), (16, (), "float32"), (24, (5,), "float64")]

    def loss(a: tf.Tensor, b: tf.Tensor, c: tf.Tensor, d: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(a**2) + tf.cast(tf.reduce_sum(b**3) * c, tf.float64) + tf.reduce_sum(tf.sin(d))

    concrete = trace(loss, layout)
    function = objective(concrete, layout, dispatch=dispatch)
    x, g = vectors(29)
    x[:] = np.random.default_rng(1).normal(size=29)
    g[:] = -77.0
    arguments = [x[o : o + int(np.prod(s))].reshape(s).astype(t) for o, s, t in layout]
    expected = concrete(*map(tf.constant, arguments))
    assert function.evaluate(x, g) == expected[0].numpy()
    for (offset, shape, _), gradient in zip(layout, expected[1:], strict=True):
        np.testing.assert_array_equal(g[offset : offset + int(np.prod(shape))].reshape(shape), gradient)
    for gap in (slice(3, 8), slice(12, 16), slice(17, 24)):
        np.testing.assert_array_equal(g[gap], -77.0)


def test_float32_variable_is_staged_before_every_evaluation() -> None:
    staging = _native.aligned_zeros(3, "float32")
    scratch = tf.Variable(np.zeros(3, np.float32))
    scratch.assign(tf.experimental.dlpack.from_dlpack(staging.__dlpack__()))

    @tf.function
    def loss_and_gradient() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(scratch**2)
        return [loss, tape.gradient(loss, scratch)]

    concrete = loss_and_gradient.get_concrete_function()
    layout: Layout = [(0, (3,), "float32")]
    function = objective(concrete, layout, inputs=[scratch.handle], staging=[staging])
    x, g = vectors(3)
    for value in (1.0, 1.5, -2.25):
        x[:] = value
        assert function.evaluate(x, g) == 3 * value**2
        np.testing.assert_array_equal(g, 2 * value)


def test_loss_of_float32() -> None:
    layout: Layout = [(0, (4,), "float32")]
    function = objective(trace(lambda x: tf.reduce_sum(x**2), layout), layout)
    np.testing.assert_allclose(solve(function, 4, 3.0), 0.0, atol=1e-5)


def test_component_without_elements() -> None:
    layout: Layout = [(0, (0, 3), "float64"), (0, (2,), "float64")]
    function = objective(trace(lambda a, b: tf.reduce_sum(a) + tf.reduce_sum(b**2), layout), layout)
    x, g = vectors(2, 3.0)
    assert function.evaluate(x, g) == 18.0
    np.testing.assert_array_equal(g, 6.0)


def test_gradient_that_is_the_memory_of_x() -> None:
    @tf.function
    def loss_and_gradient(x: tf.Tensor) -> list[tf.Tensor]:
        return [0.5 * tf.reduce_sum(x * x), x]

    concrete = loss_and_gradient.get_concrete_function(tf.TensorSpec([6], tf.float64))
    x, g = vectors(6, 3.0)
    function = objective(concrete, vector_layout(6))
    for value in (3.0, 4.0):
        x[:] = value
        function.evaluate(x, g)
        np.testing.assert_array_equal(g, value)
    np.testing.assert_allclose(solve(objective(concrete, vector_layout(6)), 6, 5.0), 0.0, atol=1e-8)


def test_captured_tensors_and_tables() -> None:
    data = tf.constant(np.random.default_rng(0).normal(size=(20, 4)))
    offset = tf.Variable(np.ones(4))
    keys = tf.constant(["a", "b"])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.constant([1.0, 2.0], tf.float64)), 0)
    key = tf.constant("b")

    def loss(x: tf.Tensor) -> tf.Tensor:
        return table.lookup(key) * tf.reduce_sum(tf.linalg.matvec(data, x - offset) ** 2)

    concrete = trace(loss, vector_layout(4))
    function = objective(concrete, vector_layout(4))
    np.testing.assert_allclose(solve(function, 4, 0.0), 1.0, atol=1e-4)
    offset.assign(np.full(4, 2.0))
    np.testing.assert_allclose(solve(function, 4, 0.0), 2.0, atol=1e-4)


@pytest.mark.subprocess
def test_result_on_another_device_is_copied() -> None:
    # A second processor device stands for an accelerator; devices must be made before TensorFlow is used.
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from native_functions import *
from tfminimize._tf.dispatch import dispatchable
@tf.function
def loss_and_gradient(x):
    with tf.device("CPU:1"):
        return [tf.reduce_sum(x ** 2), 2 * x]
concrete = loss_and_gradient.get_concrete_function(tf.TensorSpec([4], tf.float64))
call = dispatchable(concrete, False)
assert "runs on" in call.reason and "CPU:1" in call.reason, call.reason
function = objective(concrete, vector_layout(4), call=call)
x, g = vectors(4, 3.0)
assert "CPU:1" in concrete(tf.constant(x))[1].backing_device
assert function.evaluate(x, g) == 36.0 and (g == 6.0).all(), g
assert abs(solve(function, 4, 3.0)).max() < 1e-6
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def make_failing(check: str) -> Any:
    def loss(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.debugging.check_numerics(tf.math.log(x), check))

    return trace(loss, vector_layout(3))


@pytest.mark.parametrize("dispatch", WAYS)
def test_error_has_the_type_and_the_message_of_pythons_own_call(dispatch: str) -> None:
    concrete = make_failing("logarithm of my x")
    function = objective(concrete, vector_layout(3), dispatch=dispatch)
    x, g = vectors(3, -1.0)
    with pytest.raises(tf.errors.InvalidArgumentError) as expected:
        concrete(tf.constant(x))
    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        function.evaluate(x, g)
    assert "logarithm of my x" in found.value.message
    if dispatch != "partitioned_call":  # which does not say where it failed
        assert found.value.message == expected.value.message.split(" [Op:")[0]
    x[:] = 1.0
    assert function.evaluate(x, g) == 0.0


def test_error_in_the_middle_of_a_solve() -> None:
    concrete = trace(lambda x: tf.reduce_sum(tf.debugging.check_numerics(tf.sqrt(x), "root") + x), vector_layout(3))
    function = objective(concrete, vector_layout(3))
    for _ in range(3):
        x, g = vectors(3, 1.0)
        with pytest.raises(tf.errors.InvalidArgumentError, match="root"):
            _native.drive(_native.Lbfgsb(x, g), function)


def test_exception_in_a_python_function_inside() -> None:
    def fail(x: Any) -> Any:
        raise ZeroDivisionError("mine")

    def loss(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**2) + tf.stop_gradient(tf.py_function(fail, [x], tf.float64))

    concrete = trace(loss, vector_layout(3))
    function = objective(concrete, vector_layout(3))
    with pytest.raises(tf.errors.OpError) as expected:
        concrete(tf.zeros(3, tf.float64))
    with pytest.raises(type(expected.value), match="ZeroDivisionError: mine"):
        function.evaluate(*vectors(3))


@pytest.mark.resident_memory
def test_memory_is_constant() -> None:
    function = rosenbrock_objective(1000)
    x, g = vectors(1000, 0.5)

    def resident_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    for _ in range(2000):
        function.evaluate(x, g)
    before = resident_pages()
    for _ in range(100_000):
        function.evaluate(x, g)
    # One leaked byte in each of the arrays of an evaluation would be 24 pages; a leaked tensor 200,000.
    assert resident_pages() - before < 1000


@pytest.mark.resident_memory
def test_errors_do_not_leak() -> None:
    function = objective(make_failing("x"), vector_layout(3))
    x, g = vectors(3, -1.0)

    def fail(count: int) -> None:
        for _ in range(count):
            with pytest.raises(tf.errors.InvalidArgumentError):
                function.evaluate(x, g)

    def resident_pages() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1])

    fail(200)
    before = resident_pages()
    fail(1000)
    assert resident_pages() - before < 1000


def test_tensor_that_tensorflow_keeps_outlives_x() -> None:
    kept = tf.Variable(np.zeros(1000))

    @tf.function
    def loss_and_gradient(x: tf.Tensor) -> list[tf.Tensor]:
        kept.assign(x)
        return [tf.reduce_sum(x), tf.ones_like(x)]

    concrete = loss_and_gradient.get_concrete_function(tf.TensorSpec([1000], tf.float64))
    x, g = vectors(1000, 4.0)
    objective(concrete, vector_layout(1000)).evaluate(x, g)
    del x, g
    gc.collect()
    np.testing.assert_array_equal(kept, 4.0)


def test_eight_threads_at_once() -> None:
    n = 20
    concrete = trace(rosenbrock, vector_layout(n))
    call = dispatchable(concrete, False)
    functions = [objective(concrete, vector_layout(n), call=call) for _ in range(8)]
    starts = [np.random.default_rng(i).normal(size=n) for i in range(8)]
    expected = [solve(functions[0], n, start) for start in starts]
    found: list[Any] = [None] * 8
    barrier = threading.Barrier(8)

    def work(i: int) -> None:
        barrier.wait()
        for _ in range(5):
            found[i] = solve(functions[i], n, starts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_user_at_the_same_time_is_refused() -> None:
    concrete = tf.function(value_and_gradients(rosenbrock)).get_concrete_function(tf.TensorSpec([4], tf.float64))
    function = objective(concrete, vector_layout(4))
    x, g = vectors(4, -1.2)
    errors = []

    def observe() -> None:
        with pytest.raises(RuntimeError, match="in use by another solve or thread") as error:
            function.evaluate(*vectors(4))
        errors.append(error)

    _native.drive(_native.Lbfgsb(x, g, maxiter=2), function, observe)
    assert len(errors) == 2
    assert function.evaluate(*vectors(4)) == 3.0
