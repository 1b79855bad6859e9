"""Constrained TensorFlow functions that do not fit each other or the solver are refused with a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from native_constrained import (
    PLANE,
    START,
    circle_and_line,
    circle_objective,
    circle_solver,
    constrained_objective,
    memory,
    rosenbrock,
    trace_constrained,
)
from native_functions import function_call

from tfminimize import _native
from tfminimize._tf import private
from tfminimize._tf.dispatch import call_plan


@pytest.mark.parametrize(
    ("rows", "num_values", "message"),
    [
        ([(0, 2)], 2, "Row 0 is made of value 2, and there are only 2"),
        ([(0, 0), (1, 1), (0, 1)], 2, "Row 0 is given twice"),
        ([(0, 0, 2.0)], 2, "has the sign 2.0"),
        ([(0, 0, 1.0, np.nan)], 2, "the offset nan; they must be 1 or -1, and finite"),
        ([(0, 0)], 0, "Row 0 is made of value 0, and there are only 0"),
        ([], 2**63, "Jacobian by component 0 has more elements than memory can hold"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: Any, num_values: int, message: str) -> None:
    traced = trace_constrained(rosenbrock, circle_and_line, PLANE)
    with pytest.raises(ValueError, match=message):
        constrained_objective(traced, PLANE, rows=[_native.Row(*row) for row in rows], num_values=num_values)


@pytest.mark.parametrize(
    ("rows", "offsets", "message"),
    [
        ([(0, 0)], None, "Constraint 1 is in no row of the objective"),
        ([(0, 0), (1, 1), (2, 0)], None, "writes row 2, and the solver has 2 constraints"),
        ([(0, 0), (1, 1)], [np.nan, -1.0], "Constraint 1 is linear for the solver, and the objective writes it"),
        ([(1, 1)], [np.nan, np.nan], "Constraint 0 is in no row of the objective, and the solver has no offset"),
    ],
)
def test_rows_that_are_not_the_solvers_are_refused(rows: Any, offsets: Any, message: str) -> None:
    function = circle_objective(rows=[_native.Row(*row) for row in rows])
    solver = circle_solver(offsets=None if offsets is None else np.array(offsets))
    with pytest.raises(ValueError, match=message):
        _native.drive(solver, function)
    np.testing.assert_array_equal(solver.x, START)


def test_memory_that_does_not_fit_is_refused() -> None:
    function, (x, g, c, jacobian) = circle_objective(), memory(2, 2)
    small, wide = memory(1, 2), memory(2, 3)
    for arguments, message in (
        ((small.x, small.gradient, c, jacobian), "x has 1 elements, and the components end at 2"),
        ((x, small.gradient, c, jacobian), "x and g must have the same size"),
        ((x, g, c[:1], jacobian[:1]), "c has 1 elements, and the rows end at 2"),
        ((x, g, c, wide.jacobian), r"jacobian has the shape \(3, 8\); it must be \(2, 8\)"),
        ((x, g, c, jacobian[:, :2]), r"jacobian has the shape \(2, 2\); it must be \(2, 8\)"),
    ):
        with pytest.raises(ValueError, match=message):
            function.evaluate(*arguments)
    with pytest.raises(ValueError, match="Jacobian has 8 elements, and the rows end at 16"):
        function.derivatives(x, g, jacobian[:1])
    with pytest.raises(ValueError, match="c has 1 elements"):
        function.values(x, c[:1])


OUTPUTS = {
    "constraints missing": (lambda x: [rosenbrock(x)], None, "values", "Expecting 2 outputs|returns 1 tensors"),
    "constraints of another size": (lambda x: [rosenbrock(x), x[:1]], None, "values", "has 1 elements; it must have 2"),
    "constraints of another dtype": (
        lambda x: [rosenbrock(x), tf.cast(x, tf.float32)],
        None,
        "values",
        "The vector of constraints is float32, and float64 was expected",
    ),
    "Jacobian of another size": (
        None,
        lambda x: [rosenbrock(x), x, x, x],
        "derivatives",
        "The Jacobian by component 0 has 2 elements; it must have 4",
    ),
    "gradient of another size": (
        None,
        lambda x: [rosenbrock(x), x, x[:1], tf.eye(2, dtype=tf.float64)],
        "derivatives",
        "The gradient of component 0 has 1 elements; it must have 2",
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_do_not_fit_are_refused(name: str) -> None:
    values, derivatives, which, message = OUTPUTS[name]
    traced = trace_constrained(rosenbrock, lambda x: x, PLANE)
    spec = tf.TensorSpec([2], tf.float64)
    if values is not None:
        traced = traced._replace(values=tf.function(values).get_concrete_function(spec))
    if derivatives is not None:
        traced = traced._replace(derivatives=tf.function(derivatives).get_concrete_function(spec))
    function = constrained_objective(traced, PLANE, dispatch="function", values_dtype="float64")
    arrays = memory(2, 2)
    evaluate = {
        "values": lambda: function.values(arrays.x, arrays.constraints),
        "derivatives": lambda: function.derivatives(arrays.x, arrays.gradient, arrays.jacobian),
    }
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        evaluate[which]()


def test_inputs_and_options_that_cannot_be_used_are_refused() -> None:
    traced = trace_constrained(rosenbrock, circle_and_line, PLANE)
    context, component = private.context_capsule(), _native.Component(0, (2,), "float64")
    good = function_call(call_plan(traced.values, False), [0])
    for inputs, error, message in (
        ([None], TypeError, "derivatives: input 0 is a NoneType; it must be an EagerTensor"),
        ([1], ValueError, "component 1, and there are only 1"),
    ):
        bad = _native.FunctionCall(traced.derivatives.name, inputs)
        with pytest.raises(error, match=message):
            _native.FunctionObjective(context, [good, bad], [component], num_values=2)
    with pytest.raises(ValueError, match="dispatch is 'quickly'"):
        _native.FunctionCall(b"f", [], dispatch="quickly")
    with pytest.raises(ValueError, match="no optimized function is given"):
        _native.FunctionCall(b"f", [], dispatch="fastest")
    with pytest.raises(ValueError, match="values_dtype is 'float16'"):
        constrained_objective(traced, PLANE, values_dtype="float16")
    unknown = _native.FunctionCall(b"no_such_function", [0])
    with pytest.raises(tf.errors.NotFoundError, match="no_such_function"):
        _native.FunctionObjective(context, [good, unknown], [component], num_values=2)
