"""The methods without a native solver: they run in SciPy, on the compiled function and its gradient."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._problem.layout import Layout
from tfminimize._problem.methods import NAN_IS_INFINITE, WITHOUT_GRADIENT
from tfminimize._problem.native_methods import NATIVE_METHODS
from tfminimize._problem.options import scipy_options
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.violation import add_violation
from tfminimize._solve import native
from tfminimize._solve.program import Lease, Program
from tfminimize._solve.recompilation import warn_if_compiled_anew
from tfminimize._solve.scipy_calls import Evaluation, adapted_callback, watched
from tfminimize._solve.scipy_constraints import in_scipy
from tfminimize._solve.second_derivatives import SecondDerivatives
from tfminimize._solve.watch import Watch
from tfminimize._tf.warning import warn
from tfminimize._trace.hessian_products import difference_product

__all__ = ["minimize", "solve"]

Float64 = NDArray[np.float64]
LossAndGradient = Callable[[Float64], tuple[float, Float64]]


def solve(
    program: Program,
    lease: Lease,
    problem: Problem,
    args: Any,
    *,
    tol: float | None,
    callback: Callable[..., Any] | None,
    options: Mapping[str, Any],
    watch: Watch | None = None,
) -> OptimizeResult:
    """Minimise in SciPy from the x in the workspace; ``watch`` looks on."""
    parameters = program.parameters
    layout = parameters.layout
    evaluation = Evaluation(lease, problem.method not in WITHOUT_GRADIENT)
    bounds = None
    if problem.packed_bounds[0] is not None:
        keep_feasible = np.ravel(problem.keep_feasible)  # a bool, or one for each element
        bounds = scipy.optimize.Bounds(*map(layout.flatten, problem.packed_bounds), keep_feasible)

    if watch is not None and watch.looks:
        callback = watched(callback, evaluation, watch, bounds)

    def descend(x: Float64) -> float:
        lease.workspace.start(layout.views(layout.pack(x)))
        evaluation.forget()
        method = NATIVE_METHODS["l-bfgs-b"]
        options = method.options(SHORT_DESCENT, None)
        loss: float = native.solve(method, lease, parameters, problem.packed_bounds, options, None).fun
        return loss

    second = SecondDerivatives(program, problem, args, lease.shapes)
    constraints = []
    if problem.packed_constraints is not None:
        constraints = in_scipy(problem.packed_constraints, evaluation, problem.method, second.of_constraints)
    begin = time.perf_counter()
    try:
        result = minimize(
            evaluation.loss_and_gradient,
            layout.flatten(lease.workspace.x),
            problem.method,
            layout,
            precision=lease.workspace.precision,
            descend=descend,
            hessp=second.hessp,
            hess=second.hess,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            callback=None if callback is None else adapted_callback(callback, problem.method, parameters),
            options=options,
        )
        add_violation(result, bounds, constraints)
    finally:
        second.release()
    seconds = time.perf_counter() - begin
    for name in ("x", "jac"):  # jac of trust-constr is a list of Jacobians
        value = result.get(name)
        if isinstance(value, np.ndarray) and value.shape == (layout.size,):
            result[name] = parameters.report(layout.pack(value))
    if lease.is_first:
        warn_if_compiled_anew(lease.workspace, evaluation.seconds, evaluation.count - 1)
    backend = lease.workspace.present_backend()
    result.backend, result.backend_reason = backend.name, backend.reason + second.reason
    timers = [evaluation, *second.timers]
    result.timing = {
        "trace": sum((timer.trace_seconds + timer.lease.workspace.taken_trace_seconds() for timer in timers), 0.0),
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
    hess: Callable[..., Any] | None = None,
    bounds: scipy.optimize.Bounds | None = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> OptimizeResult:
    """`scipy.optimize.minimize` for a loss from TensorFlow, which may be float32 and may be infinite.

    SciPy's methods assume that a loss has the precision of float64. If it has less, they get larger steps for their
    finite differences, and a success is checked.

    Parameters
    ----------
    precision : float
        The rounding unit of the loss.
    descend : callable
        ``descend(x)`` is the loss that L-BFGS-B reaches from x.
    """
    if callable(method):
        found = scipy.optimize.minimize(
            loss_and_gradient,
            x0,
            method=method,
            jac=True,
            hessp=hessp,
            hess=hess,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            options=dict(options or {}),
            **kwargs,
        )
        return OptimizeResult(found)
    options = dict(scipy_options(options))
    given = options
    is_coarse = precision > np.finfo(np.float64).eps
    if is_coarse and method == "tnc":
        options = {"accuracy": precision**0.5, **options}
    if is_coarse and method == "newton-cg" and hessp is None and hess is None and "eps" not in options:
        hessp = difference_product(lambda x: loss_and_gradient(x)[1], precision)
    if method == "nelder-mead" and all(segment.dtype == "float32" for segment in layout.segments):
        # The simplex has the precision of the start. In float64 it could hold points that the loss cannot tell apart in
        # float32, and would shrink too early.
        x0 = x0.astype(np.float32)
    has_gradient = method not in WITHOUT_GRADIENT
    watched = _Watched(loss_and_gradient, has_gradient, method in NAN_IS_INFINITE)
    try:
        if has_gradient:
            watched.check_start(x0, constraints)
        found = scipy.optimize.minimize(
            watched.loss_and_gradient if has_gradient else watched.loss,
            x0,
            method=method,
            jac=True if has_gradient else None,
            hessp=hessp,
            hess=hess,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            options=options,
            **kwargs,
        )
    except _Ended as end:
        return end.result
    # Without tolerances from the user and without constraints, the method's own defaults decide what a minimum is.
    has_decided = tol is None and not any("tol" in name or "radius" in name for name in given)
    if found.success and is_coarse and has_decided and not has_constraints(constraints):
        _check_minimum(method, found, watched.first_loss, descend)
    return OptimizeResult(found)


class _Ended(Exception):
    """Ends a method that cannot go on, with its result."""

    def __init__(self, result: OptimizeResult) -> None:
        self.result = result


class _Watched:
    """The loss for SciPy's methods, which ends them when it becomes a number that they cannot handle.

    They would report an infinite loss as a minimum, or fail in an assertion of their own. A NaN is infinite for the
    methods `NAN_IS_INFINITE`.
    """

    first_loss = np.nan
    _best: tuple[Float64, float, Float64] | None = None

    def __init__(self, loss_and_gradient: LossAndGradient, has_gradient: bool, nan_is_infinite: bool) -> None:
        self._loss_and_gradient = loss_and_gradient
        self._nan_is_infinite = nan_is_infinite
        self._has_gradient = has_gradient
        self._count = 0

    def check_start(self, x: Float64, constraints: Any) -> None:
        """End the solve if a constraint is not finite at the start: SciPy's linear algebra would fail."""
        for i, constraint in enumerate(constraints):
            if isinstance(constraint, scipy.optimize.LinearConstraint):
                continue
            is_dict = isinstance(constraint, Mapping)
            fun, jac = (constraint["fun"], constraint["jac"]) if is_dict else (constraint.fun, constraint.jac)
            if not (np.isfinite(fun(x)).all() and np.isfinite(jac(x)).all()):
                loss, gradient = self.loss_and_gradient(x)
                message = f"Constraint {i} or its Jacobian is not finite at the start; choose another x0."
                raise self._end(x, loss, gradient, message)

    def loss(self, x: Float64, *args: Any) -> float:
        return self.loss_and_gradient(x)[0]

    def loss_and_gradient(self, x: Float64, *args: Any) -> tuple[float, Float64]:
        if self._best is not None and not np.isfinite(x).all():
            message = "The method went to an x that is not finite; this is the best x before."
            raise self._end(*self._best, message)
        loss, gradient = self._loss_and_gradient(x)
        self._count += 1
        if self._best is None or loss < self._best[1]:
            self._best = np.array(x, np.float64), loss, gradient
        if self._count == 1:
            self.first_loss = loss
            if not np.isfinite(loss) or (self._has_gradient and not np.isfinite(gradient).all()):
                what = "The function or its gradient" if self._has_gradient else "The function"
                raise self._end(x, loss, gradient, f"{what} is not finite at the start; choose another x0.")
        elif loss == -np.inf:
            message = "The function reached minus infinity; it has no minimum, or needs bounds."
            raise self._end(x, loss, gradient, message)
        elif self._nan_is_infinite and np.isnan(loss):
            loss = np.float64(np.inf)
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
"""L-BFGS-B may still gain this share of the whole decrease. Ordinary fits leave it a tenth of that."""

_CHANGE = 1e-3
"""A smaller relative change of the loss does not matter."""

SHORT_DESCENT = {"maxiter": 100}
"""The options of L-BFGS-B when it checks a minimum."""


def _check_minimum(method: str, result: Any, first_loss: float, descend: Callable[[Float64], float]) -> None:
    """Warn if L-BFGS-B can lower the loss much further from where a method reports success."""
    lower = descend(np.ravel(result.x))
    if result.fun - lower > max(_GAIN * (first_loss - result.fun), _CHANGE * abs(result.fun)):
        warn(
            f"method {method!r} has stopped with success at a point that is not a minimum: from there L-BFGS-B lowers "
            f"the loss from {result.fun:.6g} to {lower:.6g}. This method's tests are made for float64, but the loss is "
            "float32: use method='L-BFGS-B', which allows for that, or float64.",
            RuntimeWarning,
        )
