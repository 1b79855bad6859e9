"""The functions that SciPy's methods call: compiled functions, with timers, and the user's callback."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.callback import takes_result
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve.program import Lease, Program
from tfminimize._trace.hessian_products import with_direction

__all__ = ["Evaluation", "Products", "adapted_callback"]

Float64 = NDArray[np.float64]

_CALLED_WITH_X_ONLY = ("tnc", "cobyla", "cobyqa")


class _Timed:
    """A compiled function that SciPy calls, with a timer."""

    def __init__(self, lease: Lease | None) -> None:
        self.lease = lease
        self.trace_seconds = 0.0 if lease is None else lease.trace_seconds
        self.seconds = self.first_seconds = 0.0
        self.count = 0

    @property
    def compile_seconds(self) -> float:
        """The time of compiling, in advance and in the first evaluation."""
        return self.first_seconds + (0.0 if self.lease is None else self.lease.compile_seconds)

    def evaluate(self, x: Float64) -> tuple[float, Float64]:
        """The function's first output, and the others as one flat vector."""
        assert self.lease is not None
        begin = time.perf_counter()
        workspace = self.lease.workspace
        for segment in workspace.layout.segments:
            workspace.x[segment.packed] = x[segment.flat]
        value = np.float64(
            workspace.objective.evaluate(workspace.x, workspace.gradient)
        )  # TensorFlow returns a NumPy number too
        self.count += 1
        elapsed = time.perf_counter() - begin
        if self.lease.is_first and not self.first_seconds:
            self.first_seconds = elapsed
        else:
            self.seconds += elapsed
        return value, workspace.layout.flatten(workspace.gradient)


class Evaluation(_Timed):
    """The loss and its gradient."""

    def loss_and_gradient(self, x: Float64, *args: Any) -> tuple[float, Float64]:
        return self.evaluate(x)


class Products(_Timed):
    """The Hessian times a vector; there is no lease if TensorFlow has no second derivatives."""

    def __init__(self, program: Program, args: Any) -> None:
        self._layout = program.parameters.layout
        zeros = np.zeros(self._layout.size)
        arguments = Arguments(with_direction(args, program.parameters, zeros), program.parameters.float_dtype)
        self._tensors = arguments.tensors[: -len(self._layout.segments)]
        try:
            super().__init__(program.lease(arguments, products=True))
        except LookupError:
            super().__init__(None)

    def product(self, x: Float64, p: Float64, *args: Any) -> Float64:
        assert self.lease is not None
        direction = [tf.constant(part) for part in self._layout.split(p)]
        self.lease.workspace.set_arguments([*self._tensors, *direction])
        return self.evaluate(x)[1]

    def release(self) -> None:
        if self.lease is not None:
            self.lease.release()


def adapted_callback(callback: Callable[..., Any], method: Any, parameters: Parameters) -> Callable[..., Any]:
    """The user's callback, which gets x in the same form as in the result."""

    def report(x: NDArray[np.float64]) -> Any:
        return parameters.report(parameters.layout.pack(x))

    wants_result = takes_result(callback)
    with_x_only = f"method {method!r} calls callback(xk), not callback(intermediate_result): rename it to xk."
    if method in _CALLED_WITH_X_ONLY:
        if wants_result:
            raise ValueError(with_x_only)
        return lambda xk: callback(report(xk))

    def adapted(intermediate_result: Any) -> Any:
        if isinstance(intermediate_result, np.ndarray):  # SLSQP before SciPy 1.17
            if wants_result:
                raise ValueError(with_x_only)
            return callback(report(intermediate_result))
        x = report(intermediate_result.x)
        return callback(intermediate_result=OptimizeResult(intermediate_result, x=x)) if wants_result else callback(x)

    return adapted
