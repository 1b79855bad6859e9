"""TensorFlow functions in the form that the extension takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfminimize import _native
from tfminimize._tf import private
from tfminimize._tf.binding import require
from tfminimize._tf.dispatch import CallPlan, call_plan

require()

# (offset, shape, dtype) of one component of x.
Layout = Sequence[tuple[int, tuple[int, ...], str]]

WAYS = ["function", "partitioned_call", "fastest"]
"""The ways to call a function."""


def value_and_gradients(fun: Callable[..., tf.Tensor]) -> Callable[..., list[tf.Tensor]]:
    """Return a function that returns the loss and its gradients by all arguments."""

    def call(*x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = fun(*x)
        return [loss, *(tf.convert_to_tensor(g) for g in tape.gradient(loss, x))]

    return call


def trace(fun: Callable[..., tf.Tensor], layout: Layout, jit_compile: bool = False) -> Any:
    """Trace loss and gradients as a function of the components."""
    specs = [tf.TensorSpec(shape, dtype) for _, shape, dtype in layout]
    function = tf.function(value_and_gradients(private.autograph(fun)), jit_compile=jit_compile or None)
    return function.get_concrete_function(*specs)


def objective(
    concrete: Any,
    layout: Layout,
    *,
    inputs: Sequence[Any] | None = None,
    staging: Sequence[Any] | None = None,
    dispatch: str | None = None,
    jit_compile: bool = False,
    call: CallPlan | None = None,
) -> _native.FunctionObjective:
    """Return an objective that calls a concrete function; its first arguments are the components."""
    call = call or call_plan(concrete, jit_compile)
    staging = staging or [None] * len(layout)
    inputs = [*range(len(layout)), *call.captured_inputs] if inputs is None else inputs
    return _native.FunctionObjective(
        private.context_capsule(),
        [function_call(call, inputs, dispatch)],
        [_native.Component(*segment, s) for segment, s in zip(layout, staging, strict=True)],
        loss_dtype=call.loss_dtype,
    )


def function_call(call: CallPlan, inputs: Sequence[Any], dispatch: str | None = None) -> _native.FunctionCall:
    """Return a function for the extension, called in the best or another way."""
    return _native.FunctionCall(
        call.name,
        inputs,
        dispatch=dispatch or call.dispatch,
        config_proto=call.config_proto,
        executor_type=call.executor_type,
        device=call.device,
        optimized=call.optimized,
        repeatable=call.repeatable,
        keeps_inputs=call.keeps_inputs,
        # TensorFlow's context holds the function as long as its Python object lives, which this object holds.
        make_error=lambda code, message: call.make_error(code, message),
    )


def vectors(n: int, start: Any = 0.0) -> tuple[Any, Any]:
    """Return vectors for x and its gradient."""
    x, g = _native.aligned_zeros(n), _native.aligned_zeros(n)
    x[:] = start
    return x, g


def vector_layout(n: int) -> Layout:
    return [(0, (n,), "float64")]


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_objective(n: int, **options: Any) -> _native.FunctionObjective:
    concrete = trace(rosenbrock, vector_layout(n), options.get("jit_compile", False))
    return objective(concrete, vector_layout(n), **options)


def solve(function: _native.Objective, n: int, start: Any, **options: Any) -> Any:
    """Return the native solver's solution."""
    x, g = vectors(n, start)
    _native.drive(_native.Lbfgsb(x, g, **options), function)
    return np.array(x)


def rosenbrock_and_gradient(x: Any) -> tuple[float, Any]:
    a, b = x
    return 100 * (b - a * a) ** 2 + (1 - a) ** 2, [400 * a * (a * a - b) - 2 * (1 - a), 200 * (b - a * a)]


def host_rosenbrock() -> _native.HostObjective:
    """Rosenbrock's function of two variables as one Python function."""
    return _native.HostObjective(rosenbrock_and_gradient)


def separate_rosenbrock() -> _native.HostObjective:
    """Rosenbrock's function of two variables as two functions."""
    return _native.HostObjective(
        lambda x: (rosenbrock_and_gradient(x)[0], ()), lambda x: (rosenbrock_and_gradient(x)[1], ())
    )
