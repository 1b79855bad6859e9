"""SLSQP as a method for `scipy.optimize.minimize`, for functions of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.callback import UserCallback
from tfminimize._problem.options import SLSQP_DEFAULTS, slsqp_options
from tfminimize._problem.result import OptimizeResult
from tfminimize._scipy.functions import known_as, one_pair_each, sorted_options, with_least
from tfminimize._scipy.native import (
    ArrayFunctions,
    HostSolve,
    Shown,
    all_fixed,
    over_free_elements,
    read_functions,
    warn_of_hessian,
)
from tfminimize._tf.binding import _native

__all__ = ["fmin_slsqp", "slsqp"]

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
        Further arguments of ``fun`` and ``jac``.
    jac : callable, optional
        ``jac(x, *args) -> array of shape (n,)``. None: forward differences with the absolute step ``eps``;
        ``"2-point"``, ``"3-point"`` or ``"cs"``: with a relative step, for the constraints too; True: ``fun`` returns
        loss and gradient.
    hess, hessp : optional
        Not used; a warning says so.
    bounds : Bounds or sequence of (low, high), optional
        No evaluation leaves them, not even for finite differences.
    constraints : dict, NonlinearConstraint, LinearConstraint, or a sequence of them, optional
        A dict has ``type``, ``"eq"`` for fun(x) = 0 or ``"ineq"`` for fun(x) >= 0; ``fun``, which returns a number or
        an array; and optionally ``jac``, which returns an array of shape (m, n), and ``args``. Without ``jac`` the
        Jacobian comes from finite differences.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)``; `StopIteration` ends the solve.
    **options
        SciPy's of SLSQP: ``ftol, maxiter, eps, finite_diff_rel_step, workers, disp, iprint``, and ``tol``; and
        ``maxtime``, a limit in seconds. An unknown one is a warning, as in SciPy.

    Returns
    -------
    tfminimize.OptimizeResult
        With ``multipliers`` of the constraints, the equalities first; ``constr_violation``, the greatest violation of
        a constraint or bound; ``backend="host"`` and ``timing``.

    Examples
    --------
    >>> from scipy.optimize import minimize
    >>> disc = {"type": "ineq", "fun": lambda x: 1 - x @ x, "jac": lambda x: -2 * x}
    >>> result = minimize(
    ...     lambda x: x.sum(), [1.0, 0.0], jac=np.ones_like, constraints=disc, method=slsqp
    ... )
    >>> result.x.round(4), result.multipliers.round(4), result.constr_violation.round(6)
    (array([-0.7071, -0.7071]), array([0.7071]), np.float64(0.0))
    """
    warn_of_hessian("slsqp", hess, hessp)
    native, loose = sorted_options(options, SLSQP_DEFAULTS, _LOOSE)
    settings = slsqp_options(with_least(native, maxiter=0), options.get("tol"))
    functions = read_functions(fun, x0, args, jac, bounds, constraints)
    user_callback = None if callback is None else UserCallback(callback)
    if functions.is_fixed:
        rows = functions.rows(loose)
        fixed = all_fixed(functions, rows, settings["ftol"], 10)
        return OptimizeResult(fixed, multipliers=np.zeros(rows.size))

    def solve(functions: ArrayFunctions, shown: Shown) -> OptimizeResult:
        _native.Slsqp.check_memory(functions.x.size, 0)
        verbosity = loose["iprint"] if loose["disp"] else 0
        return _solve(HostSolve(functions, loose, user_callback, shown), settings, verbosity)

    return over_free_elements(functions, solve)


def fmin_slsqp(
    func: Callable[..., Any],
    x0: Any,
    eqcons: Iterable[Callable[..., Any]] = (),
    f_eqcons: Callable[..., Any] | None = None,
    ieqcons: Iterable[Callable[..., Any]] = (),
    f_ieqcons: Callable[..., Any] | None = None,
    bounds: Any = (),
    fprime: Callable[..., Any] | None = None,
    fprime_eqcons: Callable[..., Any] | None = None,
    fprime_ieqcons: Callable[..., Any] | None = None,
    args: Any = (),
    iter: int = 100,
    acc: float = 1e-6,
    iprint: int = 1,
    disp: int | None = None,
    full_output: bool = False,
    epsilon: float = _LOOSE["eps"],
    callback: Callable[..., Any] | None = None,
) -> Float64 | tuple[Float64, float, int, int, str]:
    """Minimise a function on NumPy arrays under constraints, with the signature of `scipy.optimize.fmin_slsqp`.

    Parameters
    ----------
    func : callable
        ``func(x, *args) -> float``, with x of shape (n,).
    x0 : array_like, shape (n,)
        The start; projected into the bounds.
    eqcons, ieqcons : sequence of callables, optional
        Each is a constraint, ``c(x, *args) == 0`` or ``c(x, *args) >= 0``, with a Jacobian from finite differences.
    f_eqcons, f_ieqcons : callable, optional
        Further constraints of both kinds, as one function that returns an array.
    bounds : Bounds or sequence of (low, high), optional
        A sequence has one pair for each element of x.
    fprime : callable, optional
        The gradient, ``fprime(x, *args)``. None: forward differences with the step ``epsilon``.
    fprime_eqcons, fprime_ieqcons : callable, optional
        The Jacobians of ``f_eqcons`` and ``f_ieqcons``, of shape (m, n). None: finite differences.
    args : tuple, optional
        Further arguments of all these functions.
    iter : int, default 100
        ``maxiter``.
    acc : float, default 1e-6
        ``ftol``.
    iprint : int, default 1
        0 or less: print nothing; 1: a summary; 2 or more: a line for each iteration too.
    disp : int, optional
        Replaces ``iprint``.
    full_output : bool, default False
        Return more than x.
    epsilon : float, default 1.49e-8
        The absolute step of finite differences.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)``; `StopIteration` ends the solve.

    Returns
    -------
    out : ndarray, shape (n,)
        The minimiser.
    fx : float
        The loss there; this and the following only with ``full_output``.
    its : int
        The number of iterations.
    imode : int
        The status.
    smode : str
        What the status means.

    Examples
    --------
    >>> x = fmin_slsqp(
    ...     lambda x: x @ x, [1.0, 3.0], f_eqcons=lambda x: x[0] + x[1] - 2, disp=0
    ... )
    >>> x.round(4)
    array([1., 1.])
    """
    verbosity = iprint if disp is None else disp
    constraints = [
        *({"type": "eq", "fun": c, "args": args} for c in eqcons),
        *({"type": "ineq", "fun": c, "args": args} for c in ieqcons),
    ]
    if f_eqcons is not None:
        constraints.append({"type": "eq", "fun": f_eqcons, "jac": fprime_eqcons, "args": args})
    if f_ieqcons is not None:
        constraints.append({"type": "ineq", "fun": f_ieqcons, "jac": fprime_ieqcons, "args": args})
    result = slsqp(
        func,
        x0,
        args,
        jac=fprime,
        bounds=one_pair_each(bounds, x0),
        constraints=constraints,
        callback=callback,
        maxiter=iter,
        ftol=acc,
        eps=epsilon,
        disp=verbosity != 0,
        iprint=verbosity,
    )
    x: Float64 = result.x
    return (x, result.fun, result.nit, result.status, result.message) if full_output else x


def _solve(run: HostSolve, settings: Mapping[str, Any], verbosity: int) -> OptimizeResult:
    function, rows = run.function, run.rows
    jacobian = _native.aligned_matrix(rows.size, run.x.size)
    values = _native.aligned_zeros(rows.size)
    solver = _native.Slsqp(run.x, run.gradient, values, jacobian, rows.num_equalities, **run.bounds, **settings)
    objective = _native.HostObjective(
        lambda x: (function.fun(x), rows.values(x)), lambda x: (function.grad(x), rows.jacobian(x))
    )
    if verbosity >= 2:
        print(f"{'NIT':>5} {'FC':>5} {'OBJFUN':>16} {'GNORM':>16}")

    def on_iteration() -> bool:
        if verbosity >= 2:
            norm = np.linalg.norm(run.gradient)
            print(f"{solver.nit:5d} {function.nfev:5d} {solver.fun:16.6E} {norm:16.6E}")
        return run.call_back(solver)

    result = run.run(solver, objective, on_iteration if run.user_callback is not None or verbosity >= 2 else None)
    result.update(multipliers=solver.multipliers(), constr_violation=np.float64(solver.constr_violation))
    if verbosity >= 1:
        _print_summary(result)
    return result


def _print_summary(result: OptimizeResult) -> None:
    """Print SciPy's summary."""
    print(f"{result.message}    (Exit mode {result.status})")
    print("            Current function value:", result.fun)
    print("            Iterations:", result.nit)
    print("            Function evaluations:", result.nfev)
    print("            Gradient evaluations:", result.njev)
