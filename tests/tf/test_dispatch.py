"""Calls of concrete functions from Python, in the calling thread."""

from __future__ import annotations

import gc
import threading

import tensorflow as tf

from tfminimize._tf.dispatch import InlineCall, _calls
from tfminimize._tf.private import eager_context, host_device


def test_inline_call_assigns_and_returns_the_structure_of_the_function() -> None:
    variable = tf.Variable([0.0, 0.0])

    @tf.function(autograph=False)
    def function(x: tf.Tensor) -> dict[str, tf.Tensor]:
        variable.assign(x)
        return {"sum": tf.reduce_sum(x), "first": variable[0]}

    call = InlineCall(function.get_concrete_function(tf.TensorSpec([2])))
    for x in ([1.0, 2.0], [3.0, 5.0]):
        found = call(tf.constant(x))
        assert (found["first"].numpy(), found["sum"].numpy()) == (x[0], sum(x))
        assert variable.numpy().tolist() == x


def test_inline_call_runs_in_the_calling_thread() -> None:
    threads = []

    @tf.function(autograph=False)
    def function(x: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda value: threads.append(threading.get_ident()) or value, [x], tf.float32)

    InlineCall(function.get_concrete_function(tf.TensorSpec([])))(tf.constant(1.0))
    assert threads == [threading.get_ident()]


def test_tensorflow_forgets_inline_calls_of_functions_that_are_gone() -> None:
    variables = [tf.Variable(0.0) for _ in range(31)]  # no other test has a call with so many inputs

    def make() -> InlineCall:
        @tf.function(autograph=False)
        def function(x: tf.Tensor) -> tf.Tensor:
            return x + tf.add_n([variable.read_value() for variable in variables])

        return InlineCall(function.get_concrete_function(tf.TensorSpec([])))

    assert make()(tf.constant(1.0)).numpy() == 1.0
    gc.collect()
    name = f"__wrapped__StatefulPartitionedCall_Tin_32_Tout_1_device_{host_device()}"
    assert eager_context.context().has_function(name)
    _calls._retired[32, 1] += _calls._MANY
    make()
    assert not eager_context.context().has_function(name)
