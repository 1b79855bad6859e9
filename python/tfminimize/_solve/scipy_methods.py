"""Methods that are not native: they run in SciPy, on the compiled function with its gradient."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray

# SciPy's own reading of constraints, for the methods that take them.
from scipy.optimize._constraints import PreparedConstraint
from scipy.optimize._minimize import standardize_constraints

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.callback import takes_result
from tfminimize._problem.constraints import has_constraints, with_same_sizes
from tfminimize._problem.layout import Layout
from tfminimize._problem.methods import WITHOUT_GRADIENT
from tfminimize._problem.options import lbfgsb_options
from tfminimize._problem.parameters import Unknowns
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve import lbfgsb
from tfminimize._solve.program import Lease, Program
from tfminimize._solve.recompilation import warn_if_compiled_anew
from tfminimize._solve.workspace import Workspace
from tfminimize._trace.hessian_products import difference_product, with_direction

__all__ = ["minimize", "solve"]

Float64 = NDArray[np.float64]
LossAndGradient = Callable[[Float64], tuple[float, Float64]]

_CALLED_WITH_X_ONLY = ("tnc", "cobyla", "cobyqa")


def solve(
    program: Program,
    lease: Lease[Workspace],
    problem: Problem,
    args: Any,
    options: Mapping[str, Any],
    tol: float | None,
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Minimise in SciPy from the x in the workspace."""
    unknowns = program.unknowns
    layout = unknowns.layout
    evaluation = _Evaluation(lease)
    bounds = None
    if problem.packed_bounds[0] is not None:
        keep_feasible = np.ravel(problem.keep_feasible)  # a bool, or one for each element
        bounds = scipy.optimize.Bounds(*map(layout.flatten, problem.packed_bounds), keep_feasible)
    products = _Products(program, args) if problem.method == "newton-cg" else None

    def descend(x: Float64) -> float:
        lease.workspace.start(layout.views(layout.pack(x)))
        loss: float = lbfgsb.solve(lease, unknowns, problem.packed_bounds, lbfgsb_options(SHORT_DESCENT), None).fun
        return loss

    begin = time.perf_counter()
    try:
        result = minimize(
            evaluation.loss_and_gradient,
            layout.flatten(lease.workspace.x),
            problem.method,
            layout,
            precision=lease.workspace.precision,
            descend=descend,
            hessp=None if products is None or products.lease is None else products.product,
            bounds=bounds,
            constraints=with_same_sizes(problem.constraints),
            tol=tol,
            callback=None if callback is None else _adapted(callback, problem.method, unknowns),
            options=options,
        )
    finally:
        if products is not None:
            products.release()
    seconds = time.perf_counter() - begin
    if "constr_violation" not in result:
        result.constr_violation = _violation(np.ravel(result.x), result, bounds, problem.constraints)
    for name in ("x", "jac"):  # jac of trust-constr is a list of Jacobians
        value = result.get(name)
        if isinstance(value, np.ndarray) and value.shape == (layout.size,):
            result[name] = unknowns.report(layout.pack(value))
    if lease.is_first:
        warn_if_compiled_anew(lease.workspace, evaluation.seconds, evaluation.count - 1)
    backend = lease.workspace.backend
    result.backend, result.backend_reason = backend.name, backend.reason
    timers = [evaluation, *([] if products is None else [products])]
    result.timing = {
        "trace": sum((timer.trace_seconds for timer in timers), 0.0),
        "compile": sum((timer.compile_seconds for timer in timers), 0.0),
        "evaluate": sum(timer.seconds for timer in timers),
        "solver": seconds - sum(timer.seconds + timer.first_seconds for timer in timers),
    }
    return result


def minimize(
    loss_and_gradient: LossAndGradient,
    x0: Float64,
    method: Any,
    layout: Layout,
    *,
    precision: float,
    descend: Callable[[Float64], float],
    hessp: Callable[..., Any] | None = None,
    bounds: scipy.optimize.Bounds | None = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> OptimizeResult:
    """`scipy.optimize.minimize` for a loss that TensorFlow computes, perhaps in float32, and that may be infinite.

    SciPy's methods assume that a loss has the precision of float64. Where it has not, steps of differences that they
    make by themselves are those that fit, and a success is checked.

    Parameters
    ----------
    precision : float
        The rounding unit of the loss.
    descend : callable
        ``descend(x)`` is the loss that L-BFGS-B reaches from there.
    """
    if callable(method):
        found = scipy.optimize.minimize(
            loss_and_gradient,
            x0,
            method=method,
            jac=True,
            hessp=hessp,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            options=dict(options or {}),
            **kwargs,
        )
        return OptimizeResult(found)
    options = dict(options or {})
    given = options
    is_coarse = precision > np.finfo(np.float64).eps
    if is_coarse and method == "tnc":
        options = {"accuracy": precision**0.5, **options}
    if is_coarse and method == "newton-cg" and hessp is None and kwargs.get("hess") is None and "eps" not in options:
        hessp = difference_product(lambda x: loss_and_gradient(x)[1], precision)
    if method == "nelder-mead" and all(segment.dtype == "float32" for segment in layout.segments):
        # The simplex has the precision of the start. Points that differ by less than float32 can tell are the same one
        # to the loss, and would let the simplex shrink too early.
        x0 = x0.astype(np.float32)
    has_gradient = method not in WITHOUT_GRADIENT
    watched = _Watched(loss_and_gradient, has_gradient)
    try:
        found = scipy.optimize.minimize(
            watched.loss_and_gradient if has_gradient else watched.loss,
            x0,
            method=method,
            jac=True if has_gradient else None,
            hessp=hessp,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            options=options,
            **kwargs,
        )
    except _Ended as end:
        return end.result
    # Whether the method itself has said what a minimum is, among all points within the bounds.
    has_decided = tol is None and not any("tol" in name or "radius" in name for name in given)
    if found.success and is_coarse and has_decided and not has_constraints(constraints):
        _check_minimum(method, found, watched.first_loss, descend)
    return OptimizeResult(found)


class _Ended(Exception):
    """Leaves a method that cannot go on."""

    def __init__(self, result: OptimizeResult) -> None:
        self.result = result


class _Watched:
    """The loss as SciPy's methods call it, until it is a number that they cannot go on from.

    They take an infinite loss for a minimum, or fail in an assertion of their own.
    """

    first_loss = np.nan

    def __init__(self, loss_and_gradient: LossAndGradient, has_gradient: bool) -> None:
        self._loss_and_gradient = loss_and_gradient
        self._has_gradient = has_gradient
        self._count = 0

    def loss(self, x: Float64, *args: Any) -> float:
        return self.loss_and_gradient(x)[0]

    def loss_and_gradient(self, x: Float64, *args: Any) -> tuple[float, Float64]:
        loss, gradient = self._loss_and_gradient(x)
        self._count += 1
        if self._count == 1:
            self.first_loss = loss
            if not np.isfinite(loss) or (self._has_gradient and not np.isfinite(gradient).all()):
                what = "The function or its gradient" if self._has_gradient else "The function"
                raise self._end(x, loss, gradient, f"{what} is not finite at the start; choose another x0.")
        elif loss == -np.inf:
            message = "The function reached minus infinity; it has no minimum, or needs bounds."
            raise self._end(x, loss, gradient, message)
        return loss, gradient

    def _end(self, x: Float64, loss: float, gradient: Float64, message: str) -> _Ended:
        result = OptimizeResult(
            x=np.array(x, np.float64),
            fun=loss,
            nfev=self._count,
            status=2,
            success=False,
            message=message,
        )
        if self._has_gradient:
            result.update(jac=gradient, njev=self._count)
        if self._count == 1:
            result.nit = 0
        return _Ended(result)


_GAIN = 1e-4
"""What L-BFGS-B may gain from a minimum, of all that the solve has gained. Ordinary fits leave it a tenth of this."""

_CHANGE = 1e-3
"""A change of the loss that is too small to matter, relative."""

SHORT_DESCENT = {"maxiter": 100}
"""Options of L-BFGS-B, when it goes on from a minimum."""


def _check_minimum(method: str, result: Any, first_loss: float, descend: Callable[[Float64], float]) -> None:
    """Warn where a method takes a point for a minimum from which L-BFGS-B goes on at once."""
    lower = descend(np.ravel(result.x))
    if result.fun - lower > max(_GAIN * (first_loss - result.fun), _CHANGE * abs(result.fun)):
        warnings.warn(
            f"method {method!r} has stopped with success at a point that is no minimum: L-BFGS-B lowers the loss from "
            f"there, from {result.fun:.6g} to {lower:.6g}. The tests of this method are made for float64, and this "
            "loss has float32: use method='L-BFGS-B', which knows it, or float64.",
            RuntimeWarning,
            stacklevel=2,
        )


def _violation(x: NDArray[np.float64], result: OptimizeResult, bounds: Any, constraints: Any) -> Any:
    """The greatest violation of a bound or constraint, by the method's own account if it gives one."""
    if "maxcv" in result:
        return np.float64(result.maxcv)
    violations = [0.0]
    if bounds is not None:
        violations += [np.max(bounds.lb - x), np.max(x - bounds.ub)]
    if has_constraints(constraints):
        for constraint in standardize_constraints(constraints, x, "new"):
            violations.append(np.max(PreparedConstraint(constraint, x).violation(x), initial=0.0))
    return np.float64(max(violations))


class _Timed:
    """A compiled function as SciPy calls it, with the time it takes."""

    def __init__(self, lease: Lease[Workspace] | None) -> None:
        self.lease = lease
        self.trace_seconds = 0.0 if lease is None else lease.trace_seconds
        self.seconds = self.first_seconds = 0.0
        self.count = 0

    @property
    def compile_seconds(self) -> float:
        """What compiling took: to machine code, and in the first evaluation."""
        return self.first_seconds + (0.0 if self.lease is None else self.lease.compile_seconds)

    def evaluate(self, x: Float64) -> tuple[float, Float64]:
        """The first output of the function, and the others as a flat vector."""
        assert self.lease is not None
        begin = time.perf_counter()
        workspace = self.lease.workspace
        for segment in workspace.layout.segments:
            workspace.x[segment.packed] = x[segment.flat]
        value = np.float64(workspace.objective.evaluate(workspace.x, workspace.gradient))  # as TensorFlow's own is
        self.count += 1
        elapsed = time.perf_counter() - begin
        if self.lease.is_first and not self.first_seconds:
            self.first_seconds = elapsed
        else:
            self.seconds += elapsed
        return value, workspace.layout.flatten(workspace.gradient)


class _Evaluation(_Timed):
    """The loss and its gradient."""

    def loss_and_gradient(self, x: Float64, *args: Any) -> tuple[float, Float64]:
        return self.evaluate(x)


class _Products(_Timed):
    """The Hessian times a vector; without a lease where TensorFlow has no second derivatives."""

    def __init__(self, program: Program, args: Any) -> None:
        self._layout = program.unknowns.layout
        zeros = np.zeros(self._layout.size)
        arguments = Arguments(with_direction(args, program.unknowns, zeros), program.unknowns.float_dtype)
        self._tensors = arguments.tensors[: -len(self._layout.segments)]
        try:
            super().__init__(program.product_lease(arguments))
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


def _adapted(callback: Callable[..., Any], method: Any, unknowns: Unknowns) -> Callable[..., Any]:
    """The user's callback, given x as the result has it."""

    def report(x: NDArray[np.float64]) -> Any:
        return unknowns.report(unknowns.layout.pack(x))

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
