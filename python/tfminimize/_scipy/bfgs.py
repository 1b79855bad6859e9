"""BFGS as a method for `scipy.optimize.minimize`, for functions of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning

from tfminimize._problem.callback import UserCallback
from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._problem.options import BFGS_DEFAULTS, bfgs_options, check_matrix_size
from tfminimize._problem.result import OptimizeResult
from tfminimize._scipy.functions import known_as, read_bounds, sorted_options, with_least
from tfminimize._scipy.native import HostSolve, read_functions, warn_of_hessian
from tfminimize._tf.binding import _native
from tfminimize._tf.warning import warn

__all__ = ["bfgs", "fmin_bfgs"]

Float64 = NDArray[np.float64]

_EPSILON = float(np.sqrt(np.finfo(np.float64).eps))
_LOOSE: Mapping[str, Any] = {
    "eps": _EPSILON,
    "finite_diff_rel_step": None,
    "workers": None,
    "disp": False,
    "return_all": False,
}


@known_as("bfgs")
def bfgs(
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
    """Minimise a function on NumPy arrays by BFGS: a method for `scipy.optimize.minimize`.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, with x of shape (n,).
    x0 : array_like, shape (n,)
        The start.
    args : tuple, optional
        Further arguments of ``fun`` and ``jac``.
    jac : callable, optional
        ``jac(x, *args) -> array of shape (n,)``. None: forward differences with the absolute step ``eps``;
        ``"2-point"``, ``"3-point"`` or ``"cs"``: with a relative step; True: ``fun`` returns loss and gradient.
    hess, hessp : optional
        Not used; a warning says so.
    bounds, constraints : optional
        Must be empty.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)``; `StopIteration` ends the solve.
    **options
        SciPy's of BFGS: ``gtol, norm, maxiter, xrtol, c1, c2, hess_inv0, eps, finite_diff_rel_step, workers, disp,
        return_all``, and ``tol``; and ``update``, ``initial_scale`` and ``maxtime`` of `tfminimize.minimize`. An
        unknown one is a warning, as in SciPy.

    Returns
    -------
    tfminimize.OptimizeResult
        With ``hess_inv``, an array of shape (n, n); ``num_skipped_updates`` and ``num_resets``, how often an update was
        left out or the matrix was replaced to keep it positive definite; ``allvecs``, the start and the iterates, with
        ``return_all``; ``constr_violation``, 0; ``backend="host"`` and ``timing``.

    Examples
    --------
    >>> import scipy.optimize
    >>> result = scipy.optimize.minimize(
    ...     scipy.optimize.rosen, [1.3, 0.7], jac=scipy.optimize.rosen_der, method=bfgs
    ... )
    >>> result.x.round(4), result.hess_inv.shape
    (array([1., 1.]), (2, 2))
    """
    if has_constraints(constraints):
        raise ValueError("bfgs cannot handle constraints: use tfminimize.scipy.slsqp, or remove them.")
    warn_of_hessian("bfgs", hess, hessp)
    native, loose = sorted_options(options, BFGS_DEFAULTS, _LOOSE)
    settings = bfgs_options(with_least(native, maxiter=0), options.get("tol"))
    functions = read_functions(fun, x0, args, jac, None)
    if read_bounds(bounds, functions.x)[0] is not None:
        raise ValueError("bfgs cannot handle bounds: use tfminimize.scipy.lbfgsb, or remove them.")
    check_matrix_size("hess_inv0", settings["hess_inv0"], functions.x.size)
    _native.Bfgs.check_memory(functions.x.size)
    user_callback = None if callback is None else UserCallback(callback)
    return _solve(HostSolve(functions, loose, user_callback, np.copy), settings, loose["disp"], loose["return_all"])


def fmin_bfgs(
    f: Callable[..., Any],
    x0: Any,
    fprime: Callable[..., Any] | None = None,
    args: Any = (),
    gtol: float = 1e-5,
    norm: float = np.inf,
    epsilon: Any = _EPSILON,
    maxiter: int | None = None,
    full_output: bool = False,
    disp: bool = True,
    retall: bool = False,
    callback: Callable[..., Any] | None = None,
    xrtol: float = 0,
    c1: float = 1e-4,
    c2: float = 0.9,
    hess_inv0: Any = None,
) -> Any:
    """Minimise a function on NumPy arrays by BFGS, with the signature of `scipy.optimize.fmin_bfgs`.

    Parameters
    ----------
    f : callable
        ``f(x, *args) -> float``, with x of shape (n,).
    x0 : array_like, shape (n,)
    fprime : callable, optional
        The gradient, ``fprime(x, *args)``. None: forward differences with the step ``epsilon``.
    args : tuple, optional
    gtol : float, default 1e-5
        The norm of the gradient that ends the solve.
    norm : float, default inf
        The order of that norm.
    epsilon : float or array_like, default 1.49e-8
        The absolute step of finite differences.
    maxiter : int, optional
        None: 200 for each variable.
    full_output : bool, default False
        Return more than x.
    disp : bool, default True
        Print a summary.
    retall : bool, default False
        Return the start and all iterates too.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)``; `StopIteration` ends the solve.
    xrtol : float, default 0
        The relative length of a step that ends the solve.
    c1, c2 : float, default 1e-4 and 0.9
        The constants of the Wolfe conditions.
    hess_inv0 : array_like, shape (n, n), optional
        The inverse Hessian to begin with; None: the identity.

    Returns
    -------
    xopt : ndarray, shape (n,)
        The minimiser.
    fopt : float
        The loss there; this and the next five only with ``full_output``.
    gopt : ndarray, shape (n,)
        The gradient there.
    Bopt : ndarray, shape (n, n)
        The inverse Hessian.
    func_calls, grad_calls : int
    warnflag : int
        The status.
    allvecs : list of ndarray
        Only with ``retall``.

    Examples
    --------
    >>> fmin_bfgs(lambda x: x @ x, [1.0, 2.0], lambda x: 2 * x, disp=False).round(4)
    array([0., 0.])
    """
    result = bfgs(
        f,
        x0,
        args,
        jac=fprime,
        callback=callback,
        gtol=gtol,
        norm=norm,
        eps=epsilon,
        maxiter=maxiter,
        disp=disp,
        return_all=retall,
        xrtol=xrtol,
        c1=c1,
        c2=c2,
        hess_inv0=hess_inv0,
    )
    returned = [result.x]
    if full_output:
        returned += [result[name] for name in ("fun", "jac", "hess_inv", "nfev", "njev", "status")]
    if retall:
        returned.append(result.allvecs)
    return tuple(returned) if len(returned) > 1 else result.x


def _solve(run: HostSolve, settings: Mapping[str, Any], prints: bool, keeps_iterates: bool) -> OptimizeResult:
    solver = _native.Bfgs(run.x, run.gradient, **settings)
    iterates = [run.x.copy()]

    def on_iteration() -> bool:
        if keeps_iterates:
            iterates.append(run.x.copy())
        return run.call_back(solver)

    function = run.function
    objective = _native.HostObjective(lambda x: (function.fun(x), ()), lambda x: (function.grad(x), ()))
    result = run.run(solver, objective, on_iteration if keeps_iterates or run.user_callback is not None else None)
    result.update(
        constr_violation=np.float64(0),
        hess_inv=solver.inverse_hessian(),
        num_skipped_updates=solver.num_skipped_updates,
        num_resets=solver.num_resets,
    )
    if keeps_iterates:
        result.allvecs = iterates
    if prints:
        _print_summary(result)
    return result


def _print_summary(result: OptimizeResult) -> None:
    """Print SciPy's summary; a failure is a warning, as in SciPy."""
    if result.success:
        print(result.message)
    else:
        warn(result.message, OptimizeWarning)
    print(f"         Current function value: {result.fun:f}")
    print(f"         Iterations: {result.nit}")
    print(f"         Function evaluations: {result.nfev}")
    print(f"         Gradient evaluations: {result.njev}")
