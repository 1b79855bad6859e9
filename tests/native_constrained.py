"""Constrained problems in the form that the extension takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from native_functions import Layout, function_call

from tfminimize import _native
from tfminimize._tf import private
from tfminimize._tf.dispatch import call_plan


class Memory(NamedTuple):
    """The arrays of a solve, in the order that the solver and its objective take."""

    x: Any
    gradient: Any
    constraints: Any
    jacobian: Any


def memory(n: int, m: int, start: Any = 0.0) -> Memory:
    x, gradient, constraints = _native.aligned_zeros(n), _native.aligned_zeros(n), _native.aligned_zeros(m)
    x[:] = start
    return Memory(x, gradient, constraints, _native.aligned_matrix(m, n))


class Traced(NamedTuple):
    """Return the two concrete functions of a loss and of k values for constraints."""

    values: Any
    derivatives: Any
    num_values: int


def trace_constrained(
    loss: Callable[..., tf.Tensor],
    constraints: Callable[..., tf.Tensor] | None,
    layout: Layout,
    arguments: Sequence[tf.Tensor] = (),
    jit_compile: bool = False,
) -> Traced:
    specs = [tf.TensorSpec(shape, dtype) for _, shape, dtype in layout]
    specs += [tf.TensorSpec(t.shape, t.dtype) for t in arguments]

    def values(*inputs: tf.Tensor) -> list[tf.Tensor]:
        return [loss(*inputs)] if constraints is None else [loss(*inputs), constraints(*inputs)]

    def derivatives(*inputs: tf.Tensor) -> list[tf.Tensor]:
        x = inputs[: len(layout)]
        zero = tf.UnconnectedGradients.ZERO
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            results = values(*inputs)
        results += tape.gradient(results[0], x, unconnected_gradients=zero)
        if constraints is not None:
            results += tape.jacobian(results[1], x, unconnected_gradients=zero)
        return [tf.convert_to_tensor(t) for t in results]

    traced = [
        tf.function(f, jit_compile=jit_compile or None).get_concrete_function(*specs) for f in (values, derivatives)
    ]
    k = 0 if constraints is None else traced[0].outputs[1].shape[0]
    return Traced(*traced, k)


def constrained_objective(
    traced: Traced,
    layout: Layout,
    *,
    rows: Sequence[Any] | None = None,
    arguments: Sequence[Any] = (),
    dispatch: str | None = None,
    **options: Any,
) -> _native.FunctionObjective:
    """Return an objective that calls traced functions; without `rows`, every value is a constraint."""
    inputs = [*range(len(layout)), *arguments]
    calls = [call_plan(concrete, False) for concrete in (traced.values, traced.derivatives)]
    return _native.FunctionObjective(
        private.context_capsule(),
        [function_call(call, [*inputs, *call.captured_inputs], dispatch) for call in calls],
        [_native.Component(*segment) for segment in layout],
        [_native.Row(i, i) for i in range(traced.num_values)] if rows is None else rows,
        **{
            "num_values": traced.num_values,
            "loss_dtype": traced.values.outputs[0].dtype.name,
            "values_dtype": traced.values.outputs[-1].dtype.name,
            **options,
        },
    )


def rosenbrock(x: Any) -> Any:
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def circle_and_line(x: tf.Tensor) -> tf.Tensor:
    """Constraints: the circle of radius √2, beyond the line x + y = 1; Rosenbrock's function is least at (1, 1)."""
    return tf.stack([tf.reduce_sum(x**2) - 2.0, tf.reduce_sum(x) - 1.0])


PLANE: Layout = [(0, (2,), "float64")]
START = [0.5, 2.0]


def circle_objective(**options: Any) -> _native.FunctionObjective:
    return constrained_objective(trace_constrained(rosenbrock, circle_and_line, PLANE), PLANE, **options)


def circle_host_function() -> _native.HostObjective:
    def values(x: Any) -> tuple[float, Any]:
        return rosenbrock(x), [x @ x - 2.0, x.sum() - 1.0]

    def derivatives(x: Any) -> tuple[Any, Any]:
        residual = x[1] - x[0] ** 2
        return [-400.0 * x[0] * residual - 2.0 * (1.0 - x[0]), 200.0 * residual], [2.0 * x, np.ones(2)]

    return _native.HostObjective(values, derivatives)


def circle_solver(start: Any = START, **options: Any) -> _native.Slsqp:
    return _native.Slsqp(*memory(2, 2, start), 1, **options)


def solve_circle(function: _native.Objective, **options: Any) -> Any:
    solver = circle_solver(**options)
    _native.drive(solver, function)
    return np.array(solver.x)
