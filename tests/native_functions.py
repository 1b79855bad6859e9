"""TensorFlow functions as the extension takes them, for the tests of the extension itself."""

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


def value_and_gradients(fun: Callable[..., tf.Tensor]) -> Callable[..., list[tf.Tensor]]:
    """The function that returns the loss and its gradients by all arguments."""

    def call(*x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = fun(*x)
        return [loss, *(tf.convert_to_tensor(g) for g in tape.gradient(loss, x))]

    return call


def trace(fun: Callable[..., tf.Tensor], layout: Layout, jit_compile: bool = False) -> Any:
    """The concrete function of loss and gradients, with the components as arguments."""
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
    """The objective that calls a concrete function whose first arguments are the components."""
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
    """A function as it is best called, or in another way."""
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
        # The function lives in TensorFlow's context as long as its Python object, and that as long as this.
        make_error=lambda code, message: call.make_error(code, message),
    )


def vectors(n: int, start: Any = 0.0) -> tuple[Any, Any]:
    """An x and a gradient."""
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
    """The solution by the native solver."""
    x, g = vectors(n, start)
    _native.drive(_native.Lbfgsb(x, g, **options), function)
    return np.array(x)


def rosenbrock_and_gradient(x: Any) -> tuple[float, Any]:
    a, b = x
    return 100 * (b - a * a) ** 2 + (1 - a) ** 2, [400 * a * (a * a - b) - 2 * (1 - a), 200 * (b - a * a)]


def host_rosenbrock() -> _native.HostObjective:
    """Of two variables, as one Python function."""
    return _native.HostObjective(rosenbrock_and_gradient)


def separate_rosenbrock() -> _native.HostObjective:
    """The same as two functions."""
    return _native.HostObjective(
        lambda x: (rosenbrock_and_gradient(x)[0], ()), lambda x: (rosenbrock_and_gradient(x)[1], ())
    )
