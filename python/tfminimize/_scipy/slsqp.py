"""SLSQP as a method of SciPy's, for functions on NumPy arrays."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.callback import Observer
from tfminimize._problem.options import SLSQP_DEFAULTS, slsqp_options
from tfminimize._problem.result import STOPPED_BY_CALLBACK, OptimizeResult
from tfminimize._scipy.constraints import ConstraintRows, finite_differences, read_constraints
from tfminimize._scipy.functions import (
    FIXED,
    FIXED_AT_NO_NUMBER,
    FreeVariables,
    counted,
    known_as,
    read_bounds,
    sorted_options,
    split,
    with_least,
)
from tfminimize._tf.binding import _native

__all__ = ["slsqp"]

Float64 = NDArray[np.float64]

_LOOSE: Mapping[str, Any] = {
    "eps": float(np.sqrt(np.finfo(np.float64).eps)),
    "finite_diff_rel_step": None,
    "workers": None,
    "disp": False,
    "iprint": 1,
}


@known_as("slsqp")
def slsqp(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    callback: Callable[..., Any] | None = None,
    **options: Any,
) -> OptimizeResult:
    """Minimise a function on NumPy arrays under constraints: a method for `scipy.optimize.minimize`.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, with x of shape (n,).
    x0 : array_like, shape (n,)
        The start; projected into the bounds.
    args : tuple, optional
        Of ``fun`` and ``jac``.
    jac : callable, optional
        ``jac(x, *args) -> array of shape (n,)``. None: forward differences with the absolute step ``eps``;
        ``"2-point"``, ``"3-point"`` or ``"cs"``: with a relative step, for the constraints too; True: ``fun`` returns
        loss and gradient.
    hess, hessp : optional
        Not used; a warning says so.
    bounds : Bounds or sequence of (low, high), optional
        Never left, not even by the points at which derivatives are differenced.
    constraints : dict, NonlinearConstraint, LinearConstraint, or a sequence of them, optional
        A dict has ``type``, ``"eq"`` for fun(x) = 0 or ``"ineq"`` for fun(x) >= 0; ``fun``, which returns a number or
        an array; and if need be ``jac``, which returns an array of shape (m, n), and ``args``. Without ``jac`` the
        Jacobian is made by differences.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)``; `StopIteration` ends the solve.
    **options
        SciPy's of SLSQP: ``ftol, maxiter, eps, finite_diff_rel_step, workers, disp, iprint``, and ``tol``. An unknown
        one is a warning, as in SciPy.

    Returns
    -------
    tfminimize.OptimizeResult
        With ``multipliers`` of the constraints, the equalities first; ``constr_violation``, the greatest violation of
        a constraint or bound; ``backend="host"`` and ``timing``.

    Examples
    --------
    >>> from scipy.optimize import minimize
    >>> disc = {"type": "ineq", "fun": lambda x: 1 - x @ x, "jac": lambda x: -2 * x}
    >>> result = minimize(lambda x: x.sum(), [1.0, 0.0], jac=np.ones_like, constraints=disc, method=slsqp)
    >>> result.x.round(4), result.multipliers.round(4), result.constr_violation.round(6)
    (array([-0.7071, -0.7071]), array([0.7071]), np.float64(0.0))
    """
    if hess is not None or hessp is not None:
        warnings.warn("slsqp uses no Hessian: hess and hessp are ignored.", RuntimeWarning, stacklevel=2)
    native, loose = sorted_options(options, SLSQP_DEFAULTS, _LOOSE)
    settings = slsqp_options(with_least(native, maxiter=0), options.get("tol"))
    if jac is True:
        fun, jac = split(fun)
    elif not callable(jac) and not isinstance(jac, str):
        jac = None
    if not isinstance(args, tuple):
        args = (args,)
    x = np.array(x0, dtype=np.float64).ravel()
    read = read_constraints(constraints, x)
    observer = None if callback is None else Observer(callback)
    lower, upper = read_bounds(bounds, x)
    if lower is None or upper is None:
        return _solve(_Problem(fun, x, args, jac, None, read), settings, loose, observer)
    x = np.clip(x, lower, upper)
    problem = _Problem(fun, x, args, jac, (lower, upper), read)
    free = lower < upper
    if not free.any():
        return _fixed(problem, settings, loose)
    if free.all() or (callable(jac) and all(c.jac is not None for c in read)):
        return _solve(problem, settings, loose, observer)
    variables = FreeVariables(x, free)
    result = _solve(problem.on(variables), settings, loose, observer, variables.whole)
    result.x = variables.whole(result.x)
    result.jac = variables.whole(result.jac, np.nan)
    return result


@dataclass(frozen=True)
class _Problem:
    fun: Callable[..., Any]
    x: Float64  # within the bounds
    args: tuple[Any, ...]
    jac: Any
    bounds: tuple[Float64, Float64] | None
    constraints: Sequence[Any]

    def on(self, variables: FreeVariables) -> _Problem:
        """The same for the free variables only."""
        return _Problem(
            variables.function(self.fun),
            variables.part(self.x),
            self.args,
            variables.derivative(self.jac) if callable(self.jac) else self.jac,
            None if self.bounds is None else (variables.part(self.bounds[0]), variables.part(self.bounds[1])),
            [c.on(variables) for c in self.constraints],
        )

    def rows(self, loose: Mapping[str, Any]) -> ConstraintRows:
        limits = (-np.inf, np.inf) if self.bounds is None else self.bounds
        steps = finite_differences(self.jac, loose["eps"], loose["finite_diff_rel_step"], limits)
        return ConstraintRows(self.constraints, self.x, steps)


def _solve(
    problem: _Problem,
    settings: Mapping[str, Any],
    loose: Mapping[str, Any],
    observer: Observer | None,
    shown: Callable[[Float64], Float64] = np.copy,
) -> OptimizeResult:
    """Minimise. The observer gets ``shown(x)``."""
    begin = time.perf_counter()
    x, bounds = problem.x, problem.bounds
    n = x.size
    _native.Slsqp.check_memory(n, 0)
    rows = problem.rows(loose)
    limits = (-np.inf, np.inf) if bounds is None else bounds
    function = counted(problem.fun, x, problem.args, problem.jac, limits, loose)
    first = time.perf_counter() - begin
    memory, gradient = _native.aligned_zeros(n), _native.aligned_zeros(n)
    memory[:] = x
    stride = -(-n // 8) * 8
    jacobian = _native.aligned_zeros(rows.size * stride).reshape(rows.size, stride)
    lower, upper = (None, None) if bounds is None else bounds
    solver = _native.Slsqp(
        memory, gradient, _native.aligned_zeros(rows.size), jacobian, rows.num_equalities, lower, upper, **settings
    )
    objective = _native.ConstrainedHostFunction(
        lambda x: (function.fun(x), rows.values(x)), lambda x: (function.grad(x), rows.jacobian(x))
    )
    verbosity = loose["iprint"] if loose["disp"] else 0
    if verbosity >= 2:
        print(f"{'NIT':>5} {'FC':>5} {'OBJFUN':>16} {'GNORM':>16}")

    def halt() -> bool:
        if verbosity >= 2:
            norm = np.linalg.norm(gradient)
            print(f"{solver.nit:5d} {function.nfev:5d} {solver.fun:16.6E} {norm:16.6E}")
        return observer is not None and observer(shown(memory), solver.fun)

    watched = observer is not None or verbosity >= 2
    timing = _native.drive(solver, objective, halt if watched else None)
    stopped = observer is not None and observer.stopped
    result = OptimizeResult(
        x=memory.copy(),
        fun=np.float64(solver.fun),
        jac=gradient.copy(),
        nit=solver.nit,
        nfev=function.nfev,
        njev=function.ngev,
        status=solver.status_code,
        success=solver.status_code == 0,
        message=STOPPED_BY_CALLBACK if stopped else solver.message,
        multipliers=solver.multipliers(),
        constr_violation=np.float64(solver.constr_violation),
        backend="host",
        timing={"trace": 0.0, "compile": 0.0, "evaluate": first + timing.evaluate, "solver": timing.solver},
    )
    if verbosity >= 1:
        _print_summary(result)
    return result


def _fixed(problem: _Problem, settings: Mapping[str, Any], loose: Mapping[str, Any]) -> OptimizeResult:
    """What SciPy returns where the bounds leave no choice: the value there, and whether the constraints hold."""
    rows = problem.rows(loose)
    fun = np.float64(problem.fun(problem.x.copy(), *problem.args))
    violation = float(rows.excess(rows.values(problem.x)).max(initial=0.0)) + 0.0  # not -0.0
    holds = violation <= settings["ftol"]
    finite = bool(np.isfinite(fun))
    message = FIXED
    if not finite:
        message = FIXED_AT_NO_NUMBER.format(fun)
    elif rows.size and holds:
        message = f"{FIXED[:-1]} at values that satisfy the constraints."
    elif not holds:
        message = (
            f"{FIXED[:-1]}, but the independent variables do not satisfy the constraints "
            f"(Maximum violation: {violation})."
        )
    return OptimizeResult(
        x=problem.x,
        fun=fun,
        jac=np.full(problem.x.size, np.nan),
        nit=0,
        nfev=1,
        njev=0,
        status=10 if not finite else 0 if holds else 4,
        success=finite and holds,
        message=message,
        multipliers=np.zeros(rows.size),
        constr_violation=np.float64(violation),
        backend="host",
    )


def _print_summary(result: OptimizeResult) -> None:
    """SciPy's."""
    print(f"{result.message}    (Exit mode {result.status})")
    print("            Current function value:", result.fun)
    print("            Iterations:", result.nit)
    print("            Function evaluations:", result.nfev)
    print("            Gradient evaluations:", result.njev)
