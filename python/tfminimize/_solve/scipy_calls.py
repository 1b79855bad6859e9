"""The functions that SciPy's methods call: compiled functions, with timers, and the user's callback."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.callback import takes_result
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve.program import Lease, Program
from tfminimize._solve.progress import Sight
from tfminimize._solve.watch import Watch
from tfminimize._solve.workspace import Workspace
from tfminimize._tf.binding import _native
from tfminimize._trace.hessian_products import with_directions

__all__ = ["Evaluation", "Hessian", "Products", "Timed", "adapted_callback", "watched"]

Float64 = NDArray[np.float64]

_CALLED_WITH_X_ONLY = ("tnc", "cobyla", "cobyqa")


class Timed:
    """A compiled function that SciPy calls, with a timer."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.trace_seconds = lease.trace_seconds
        self.seconds = self.first_seconds = 0.0
        self.count = 0

    @property
    def compile_seconds(self) -> float:
        """The time of compiling, in advance and in the first evaluation."""
        return self.first_seconds + self.lease.compile_seconds

    def evaluate(self, x: Float64) -> float:
        """Evaluate at x; the first output is returned, the others are in the workspace."""
        begin = time.perf_counter()
        workspace = self.lease.workspace
        for segment in workspace.layout.segments:
            workspace.x[segment.packed] = x[segment.flat]
        value: float = np.float64(self._call(workspace))  # TensorFlow returns a NumPy number too
        self.count += 1
        elapsed = time.perf_counter() - begin
        if self.lease.is_first and not self.first_seconds:
            self.first_seconds = elapsed
        else:
            self.seconds += elapsed
        return value

    def jacobian(self) -> Float64:
        """The Jacobian of the values after `evaluate`, a copy of shape (k, n)."""
        workspace = self.lease.workspace
        assert workspace.jacobian is not None
        rows: Float64 = workspace.layout.flatten(workspace.jacobian[:, : workspace.layout.packed_size])
        return rows

    def release(self) -> None:
        """Give the workspace back."""
        self.lease.release()

    def _call(self, workspace: Workspace) -> float:
        return workspace.evaluate()


class Evaluation(Timed):
    """The loss and the values of the constraint functions, with their derivatives: evaluated together, once at each x.

    Parameters
    ----------
    lease : Lease
    has_gradient : bool
        Whether the method takes derivatives.
    """

    def __init__(self, lease: Lease, has_gradient: bool) -> None:
        super().__init__(lease)
        self._has_gradient = has_gradient
        self._x: Float64 | None = None
        self._loss = np.nan
        self.on_evaluation: Callable[[], None] | None = None

    def loss_and_gradient(self, x: Float64, *args: Any) -> tuple[float, Float64]:
        self._go_to(x)
        workspace = self.lease.workspace
        return self._loss, workspace.layout.flatten(workspace.gradient)

    def values(self, x: Float64) -> Float64:
        """The values of all constraint functions, shape (k,)."""
        self._go_to(x)
        values = self.lease.workspace.constraints
        assert values is not None
        found: Float64 = values.copy()
        return found

    def jacobian_at(self, x: Float64) -> Float64:
        """The Jacobian of all constraint functions, shape (k, n)."""
        self._go_to(x)
        return self.jacobian()

    def forget(self) -> None:
        """Evaluate again at the next x, because the workspace was used for something else."""
        self._x = None

    def _go_to(self, x: Float64) -> None:
        if self._x is None or not np.array_equal(self._x, x):
            self._x = None
            self._loss = self.evaluate(x)
            self._x = np.array(x)
            if self.on_evaluation is not None:
                self.on_evaluation()

    def sight(self, nit: int, bounds: scipy.optimize.Bounds | None) -> Sight:
        """What can be seen at the last x, after so many iterations."""
        if not self._has_gradient or self._x is None:
            return Sight(nit, self.count, self._loss, np.nan)
        step = -self.lease.workspace.layout.flatten(self.lease.workspace.gradient)
        if bounds is not None:
            step = np.clip(self._x + step, bounds.lb, bounds.ub) - self._x
        return Sight(nit, self.count, self._loss, float(np.abs(step).max()))

    def _call(self, workspace: Workspace) -> float:
        if self._has_gradient:
            return workspace.evaluate()
        return workspace.objective.values(workspace.x, workspace.constraints)


class Products(Timed):
    """The Hessian times vectors, so many at once.

    Raises
    ------
    LookupError
        If TensorFlow has no second derivatives.
    """

    def __init__(self, program: Program, args: Any, count: int = 1) -> None:
        self._layout = program.parameters.layout
        arguments = _with_directions(program, args, count)
        self._tensors = arguments.tensors[: -len(self._layout.segments)]
        super().__init__(program.lease(arguments, products=count))

    def products(self, x: Float64, directions: Float64) -> Float64:
        """The product with each row."""
        tensors = [tf.constant(part) for part in self._layout.split_rows(directions)]
        self.lease.workspace.set_arguments([*self._tensors, *tensors])
        self.evaluate(x)
        return self.jacobian()

    def product(self, x: Float64, p: Float64, *args: Any) -> Float64:
        found: Float64 = self.products(x, p[np.newaxis])[0]
        return found

    def replace_first(self, argument: tf.Tensor) -> None:
        """Pass another tensor as the first argument."""
        self._tensors[0] = argument


class Hessian(Products):
    """The whole Hessian, in blocks of rows; see `hessian_products.rows_at_once`.

    Raises
    ------
    LookupError
        If TensorFlow has no second derivatives.
    MemoryError
        If it does not fit into memory.
    """

    def __init__(self, program: Program, args: Any) -> None:
        _check_memory(program.parameters.layout.size)
        self.rows_at_once = program.rows_at_once(_with_directions(program, args, 1))
        super().__init__(program, args, self.rows_at_once)

    def at(self, x: Float64, *args: Any) -> Float64:
        """The Hessian at x, symmetric, shape (n, n)."""
        size, step = self._layout.size, self.rows_at_once
        found = np.empty((size, size))
        for begin in range(0, size, step):
            # All blocks have the same shape, so the last one may end with rows of zeros.
            block = self.products(x, np.eye(step, size, begin))
            found[begin : begin + step] = block[: size - begin]
        for begin in range(0, size, step):  # block by block, since a second matrix would double the memory
            end = begin + step
            mean = (found[begin:end, begin:] + found[begin:, begin:end].T) / 2
            found[begin:end, begin:], found[begin:, begin:end] = mean, mean.T
        return found


def _with_directions(program: Program, args: Any, count: int) -> Arguments:
    zeros = np.zeros((count, program.parameters.layout.size))
    return Arguments(with_directions(args, program.parameters, zeros), program.parameters.float_dtype)


_SMALL = 1 << 24
"""For so many bytes, a look at the free memory would take longer than the rest."""


def _check_memory(size: int) -> None:
    """Raise MemoryError unless a Hessian fits into memory."""
    need = 8.0 * size * size
    if need > _SMALL and (free := _native.available_memory()) < need:
        raise MemoryError(
            f"a Hessian of {size} parameters takes {need / 1e9:.3g} GB, and this machine has {free / 1e9:.3g} GB free: "
            "use products with vectors instead, as method='trust-krylov' and 'Newton-CG' do."
        )


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


_INTERVAL = 0.05
"""Seconds between two looks at a solve."""


def watched(
    callback: Callable[..., Any] | None, evaluation: Evaluation, watch: Watch, bounds: scipy.optimize.Bounds | None
) -> Callable[..., Any]:
    """Let ``watch`` see the evaluations; return a callback that counts iterations and calls the user's."""
    nit, due = 0, 0.0

    def look() -> None:
        nonlocal due
        if watch.progress is not None and (now := time.perf_counter()) >= due:
            due = now + _INTERVAL
            watch.progress.see(evaluation.sight(nit, bounds))

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal nit
        nit += 1
        if watch.sees_iterations:
            watch.see_iteration(evaluation.sight(nit, bounds))
        return None if callback is None else callback(*args, **kwargs)

    evaluation.on_evaluation = look
    return count if callback is None else functools.wraps(callback)(count)  # SciPy reads the signature
