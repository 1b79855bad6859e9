"""Methods that are not native: they run in SciPy, on the compiled function with its gradient."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

# SciPy's own reading of constraints, for the methods that take them.
from scipy.optimize._constraints import PreparedConstraint
from scipy.optimize._minimize import standardize_constraints

from tfminimize.callback import takes_result
from tfminimize.constraints import has_constraints
from tfminimize.packing import Layout
from tfminimize.program import Lease
from tfminimize.recompilation import warn_if_compiled_anew
from tfminimize.result import OptimizeResult
from tfminimize.scipy._constraints import with_same_sizes
from tfminimize.unknowns import Unknowns
from tfminimize.workspace import Workspace

if TYPE_CHECKING:
    from tfminimize.minimizer import Problem

__all__ = ["check_bounds", "check_constraints", "method_name", "solve"]

WITHOUT_GRADIENT = ("nelder-mead", "powell", "cobyla", "cobyqa")
_WITH_GRADIENT = ("cg", "bfgs", "newton-cg", "l-bfgs-b", "tnc", "slsqp", "trust-constr")
_WITH_HESSIAN = ("dogleg", "trust-ncg", "trust-krylov", "trust-exact")
_WITH_BOUNDS = ("nelder-mead", "powell", "l-bfgs-b", "tnc", "cobyla", "cobyqa", "slsqp", "trust-constr")
WITH_CONSTRAINTS = ("cobyla", "cobyqa", "slsqp", "trust-constr")
_CALLED_WITH_X_ONLY = ("tnc", "cobyla", "cobyqa")
_KNOWN = (*WITHOUT_GRADIENT, *_WITH_GRADIENT)


def method_name(method: Any, constraints: Any) -> Any:
    """The method's name in lower case, or the callable itself; None chooses as the constraints need.

    Raises
    ------
    ValueError
        If the method is unknown or needs a Hessian.
    """
    if method is None:
        return "slsqp" if has_constraints(constraints) else "l-bfgs-b"
    if callable(method):
        return method
    if not isinstance(method, str):
        raise ValueError(f"method is {method!r}: give the name of a method, such as 'L-BFGS-B', or a callable.")
    name = method.lower()
    if name in _WITH_HESSIAN:
        raise ValueError(f"method {method!r} needs a Hessian, which is not supplied: use 'L-BFGS-B' or 'Newton-CG'.")
    if name not in _KNOWN:
        raise ValueError(f"method {method!r} is not known: use one of {', '.join(_KNOWN)}.")
    return name


def check_constraints(method: Any, constraints: Any, unknowns: Unknowns) -> None:
    """Raise ValueError if this method cannot take these constraints, or cannot for these unknowns."""
    if not has_constraints(constraints) or callable(method) or method == "slsqp":
        return
    if method not in WITH_CONSTRAINTS:
        name = "L-BFGS-B" if method == "l-bfgs-b" else method
        raise ValueError(f"method {name!r} cannot handle constraints: use method='SLSQP', or remove them.")
    if not unknowns.is_array or len(unknowns.layout.segments[0].shape) > 1:
        raise ValueError(
            f"with method {method!r} the constraints are SciPy's functions of one vector, but x0 is no vector: "
            "use method='SLSQP', or give x0 as a one-dimensional array."
        )


def check_bounds(method: Any, low: Any) -> None:
    """Raise ValueError if there are bounds and the method ignores them."""
    if low is not None and not callable(method) and method not in _WITH_BOUNDS:
        raise ValueError(f"method {method!r} cannot handle bounds: use method='L-BFGS-B', or remove the bounds.")


def start(method: Any, x: NDArray[np.float64], layout: Layout) -> NDArray[Any]:
    """The start in the precision in which a method is to compute its points.

    The simplex of Nelder-Mead has the precision of the start. For a function of float32 it is float32 too: points that
    differ by less are the same one to the function, and would let the simplex shrink too early.
    """
    if method == "nelder-mead" and all(segment.dtype == "float32" for segment in layout.segments):
        return x.astype(np.float32)
    return x


def solve(
    lease: Lease[Workspace],
    unknowns: Unknowns,
    problem: Problem,
    options: Mapping[str, Any],
    tol: float | None,
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Minimise in SciPy from the x in the workspace."""
    layout = unknowns.layout
    evaluation = _Evaluation(lease)
    bounds = None
    if problem.packed_bounds[0] is not None:
        keep_feasible = np.ravel(problem.keep_feasible)  # a bool, or one for each element
        bounds = scipy.optimize.Bounds(*map(layout.flatten, problem.packed_bounds), keep_feasible)
    has_gradient = problem.method not in WITHOUT_GRADIENT
    begin = time.perf_counter()
    found = scipy.optimize.minimize(
        evaluation.loss_and_gradient if has_gradient else evaluation.loss,
        start(problem.method, layout.flatten(lease.workspace.x), layout),
        jac=True if has_gradient else None,
        method=problem.method,
        bounds=bounds,
        constraints=with_same_sizes(problem.constraints),
        tol=tol,
        callback=None if callback is None else _adapted(callback, problem.method, unknowns),
        options=dict(options),
    )
    seconds = time.perf_counter() - begin
    result = OptimizeResult(found)
    if "constr_violation" not in result:
        result.constr_violation = _violation(np.ravel(result.x), result, bounds, problem.constraints)
    for name in ("x", "jac"):
        if np.shape(result.get(name)) == (layout.size,):
            result[name] = unknowns.report(layout.pack(result[name]))
    if lease.is_first:
        warn_if_compiled_anew(lease.workspace, evaluation.seconds, result.nfev - 1)
    backend = lease.workspace.backend
    result.backend, result.backend_reason = backend.name, backend.reason
    result.timing = {
        "trace": lease.trace_seconds,
        "compile": lease.compile_seconds + evaluation.compile_seconds,
        "evaluate": evaluation.seconds,
        "solver": seconds - evaluation.seconds - evaluation.compile_seconds,
    }
    return result


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


class _Evaluation:
    """The compiled function as SciPy calls it, with the time it takes."""

    def __init__(self, lease: Lease[Workspace]) -> None:
        self._workspace = lease.workspace
        self._layout = lease.workspace.layout
        self._is_first = lease.is_first
        self.seconds = self.compile_seconds = 0.0

    def loss(self, x: NDArray[np.float64]) -> Any:
        begin = time.perf_counter()
        workspace = self._workspace
        for segment in self._layout.segments:
            workspace.x[segment.packed] = x[segment.flat]
        loss = workspace.objective.evaluate(workspace.x, workspace.gradient)
        elapsed = time.perf_counter() - begin
        if self._is_first:
            self._is_first = False
            self.compile_seconds = elapsed
        else:
            self.seconds += elapsed
        return np.float64(loss)

    def loss_and_gradient(self, x: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64]]:
        return self.loss(x), self._layout.flatten(self._workspace.gradient)


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
