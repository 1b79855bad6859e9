"""Losses as objectives: values, shared memory, captured tensors, errors."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from native_functions import WAYS, Layout, objective, rosenbrock, solve, trace, vector_layout, vectors

from tfminimize import _native


@pytest.mark.parametrize("dispatch", WAYS)
@pytest.mark.parametrize("n", [2, 9, 1000])
def test_value_and_gradient_are_those_of_a_call_from_python(dispatch: str, n: int) -> None:
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


def make_failing(check: str) -> Any:
    def loss(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.debugging.check_numerics(tf.math.log(x), check))

    return trace(loss, vector_layout(3))


@pytest.mark.parametrize("dispatch", WAYS)
def test_error_has_the_type_and_message_of_a_call_from_python(dispatch: str) -> None:
    concrete = make_failing("logarithm of my x")
    function = objective(concrete, vector_layout(3), dispatch=dispatch)
    x, g = vectors(3, -1.0)
    with pytest.raises(tf.errors.InvalidArgumentError) as expected:
        concrete(tf.constant(x))
    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        function.evaluate(x, g)
    assert "logarithm of my x" in found.value.message
    if dispatch != "partitioned_call":  # its error does not say where it failed
        assert found.value.message == expected.value.message.split(" [Op:")[0]
    x[:] = 1.0
    assert function.evaluate(x, g) == 0.0


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
