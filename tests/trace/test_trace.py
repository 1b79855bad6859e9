"""Traces with and without constraints, and stand-ins for variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm
from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import ConstraintFunction, Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.objective_graph import ObjectiveGraph
from tfminimize._trace.stand_ins import StandIns
from tfminimize._trace.trace import Trace

NO_ARGUMENTS = Arguments((), "float64")


def bowl(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - 1.0) ** 2)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("constraints", "num_functions"), [(None, 1), ((), 2)])
def test_empty_constraints_add_a_function_of_the_loss_alone(
    constraints: Any, num_functions: int, jit_compile: bool
) -> None:
    parameters = Parameters(np.zeros(2))
    given = None if constraints is None else Constraints(constraints, parameters)
    trace = Trace(bowl, parameters, NO_ARGUMENTS, jit_compile, given)
    assert len(trace.functions) == num_functions
    assert (trace.num_values, trace.shapes) == (0, ())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_of_all_constraints_are_one_vector_with_its_jacobian_by_each_component(dtype: str) -> None:
    parameters = Parameters([np.zeros(2, dtype), np.zeros((1, 2), dtype)])
    functions = [
        ConstraintFunction("first", lambda x: x[0] * 2.0, NO_ARGUMENTS),
        ConstraintFunction("second", lambda x: tf.reduce_sum(x[1]) ** 2, NO_ARGUMENTS),
    ]
    graph = ObjectiveGraph(None, parameters, NO_ARGUMENTS, functions, jit=False)
    x = [tf.constant([1.0, 2.0], dtype), tf.constant([[3.0, 4.0]], dtype)]
    values, by_first, by_second = tf.function(graph.derivatives, autograph=False)(*x)
    np.testing.assert_array_equal(values, [2.0, 4.0, 49.0])
    np.testing.assert_array_equal(by_first, [[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(by_second, [[[0.0, 0.0]], [[0.0, 0.0]], [[14.0, 14.0]]])
    assert graph.shapes == ((2,), ())
    assert graph.values_dtype == graph.dtype == dtype


def test_dtype_is_the_least_precise_and_that_of_values_the_most_precise() -> None:
    functions = [
        ConstraintFunction("single", lambda x: tf.cast(x, tf.float32), NO_ARGUMENTS),
        ConstraintFunction("double", lambda x: x, NO_ARGUMENTS),
    ]
    graph = ObjectiveGraph(bowl, Parameters(np.zeros(2)), NO_ARGUMENTS, functions, jit=False)
    tf.function(graph.values, autograph=False)(tf.constant([1.0, 2.0], tf.float64))
    assert (graph.loss_dtype, graph.values_dtype, graph.dtype) == ("float64", "float64", "float32")


def test_function_reads_stand_ins_and_leaves_the_variables() -> None:
    parameters = Parameters([tf.Variable([1.0, 2.0]), tf.Variable(3.0, dtype=tf.float64)])
    first, second = parameters.variables
    concrete = tf.function(lambda scale: tf.cast(first, tf.float64) * second * scale).get_concrete_function(
        tf.TensorSpec([], tf.float64)
    )
    stand_ins = StandIns([v.handle for v in parameters.variables], parameters.layout.segments)
    values = [tf.constant([10.0, 20.0]), tf.constant(2.0, tf.float64)]
    scale = tf.constant(0.5, tf.float64)
    called = tf.function(lambda: stand_ins.call(concrete, values, [scale]), autograph=False)
    np.testing.assert_array_equal(called()[0], [10.0, 20.0])
    np.testing.assert_array_equal(first, [1.0, 2.0])
    assert second.numpy() == 3.0


def test_constraint_of_a_py_function_may_have_many_values_if_no_derivative_is_needed() -> None:
    x = tf.Variable(np.array([2.0, -1.0]))

    def at_least_half() -> tf.Tensor:
        return tf.ensure_shape(tf.py_function(lambda value: value - 0.5, [x], tf.float64), [2])

    optimizer = tfm.ScipyOptimizerInterface(
        lambda: tf.reduce_sum(x**2), [x], inequalities=[at_least_half], method="COBYLA"
    )
    optimizer.minimize()
    np.testing.assert_allclose(x, [0.5, 0.5], atol=1e-3)
