"""L-BFGS-B as a method for `scipy.optimize.minimize`, for functions of NumPy arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.callback import UserCallback
from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._problem.layout import Layout
from tfminimize._problem.options import LBFGSB_DEFAULTS, NO_LIMIT, lbfgsb_options
from tfminimize._problem.result import STOPPED, InverseHessian, OptimizeResult
from tfminimize._scipy.functions import known_as, one_pair_each, sorted_options, split, with_least
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
from tfminimize._tf.warning import warn

__all__ = ["fmin_l_bfgs_b", "lbfgsb"]

Float64 = NDArray[np.float64]

_TOO_MANY_EVALUATIONS = "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"
_HALTED = "STOP: CALLBACK REQUESTED HALT"
_DIFFERENCES: Mapping[str, Any] = {"eps": 1e-8, "finite_diff_rel_step": None, "workers": None}


@known_as("l-bfgs-b")
def lbfgsb(
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
    """Minimise a function on NumPy arrays: a method for `scipy.optimize.minimize`.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, with x of shape (n,).
    x0 : array_like, shape (n,)
        The start; projected into the bounds.
    args : tuple, optional
    jac : callable, optional
        ``jac(x, *args) -> array of shape (n,)``. None: forward differences with the absolute step ``eps``;
        ``"2-point"``, ``"3-point"`` or ``"cs"``: with a relative step; True: ``fun`` returns loss and gradient.
    hess, hessp : optional
        Not used; a warning says so.
    bounds : Bounds or sequence of (low, high), optional
    constraints : optional
        Must be empty.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)``; `StopIteration` ends the solve.
    **options
        SciPy's of L-BFGS-B: ``maxcor, ftol, gtol, maxfun, maxiter, maxls, eps, finite_diff_rel_step, workers``, and
        ``tol``; and ``maxtime`` and ``storage`` of `tfminimize.minimize`. An unknown one is a warning, as in SciPy.

    Returns
    -------
    tfminimize.OptimizeResult
        With ``constr_violation``, the greatest violation of a bound; ``backend="host"`` and ``timing``.

    Examples
    --------
    >>> import scipy.optimize
    >>> result = scipy.optimize.minimize(
    ...     scipy.optimize.rosen, [1.3, 0.7], jac=scipy.optimize.rosen_der, method=lbfgsb
    ... )
    >>> result.x.round(4)
    array([1., 1.])
    """
    if has_constraints(constraints):
        raise ValueError("lbfgsb cannot handle constraints: use tfminimize.scipy.slsqp, or remove them.")
    warn_of_hessian("lbfgsb", hess, hessp)
    settings, differences = _settings(options)
    functions = read_functions(fun, x0, args, jac, bounds)
    user_callback = None if callback is None else UserCallback(callback)
    if not functions.has_derivatives and functions.is_fixed:
        return all_fixed(functions, functions.rows(differences), 0.0, 2)

    def solve(functions: ArrayFunctions, shown: Shown) -> OptimizeResult:
        _native.Lbfgsb.check_memory(functions.x.size, settings["maxcor"], settings["storage"])
        return _solve(HostSolve(functions, differences, user_callback, shown), settings)

    return over_free_elements(functions, solve)


def fmin_l_bfgs_b(
    func: Callable[..., Any],
    x0: Any,
    fprime: Callable[..., Any] | None = None,
    args: Any = (),
    approx_grad: bool = False,
    bounds: Any = None,
    m: int = 10,
    factr: float = 1e7,
    pgtol: float = 1e-5,
    epsilon: float = 1e-8,
    iprint: Any = None,
    maxfun: int = 15000,
    maxiter: int = 15000,
    disp: Any = None,
    callback: Callable[..., Any] | None = None,
    maxls: int = 20,
) -> tuple[Float64, float, dict[str, Any]]:
    """Minimise a function on NumPy arrays, with the signature of `scipy.optimize.fmin_l_bfgs_b`.

    Parameters
    ----------
    func : callable
        ``func(x, *args) -> float``; or ``-> (float, gradient)`` if ``fprime`` is None and ``approx_grad`` is false.
    x0 : array_like, shape (n,)
    fprime : callable, optional
        The gradient, ``fprime(x, *args)``.
    args : tuple, optional
    approx_grad : bool, default False
        Take forward differences with the step ``epsilon``.
    bounds : sequence of (low, high), optional
        One pair for each element of x.
    m : int, default 10
        The number of correction pairs.
    factr : float, default 1e7
        ``ftol`` in units of the machine precision.
    pgtol : float, default 1e-5
        ``gtol``.
    epsilon : float, default 1e-8
    iprint, disp : optional
        Deprecated, without effect, as in SciPy.
    maxfun, maxiter : int, default 15000
    callback : callable, optional
    maxls : int, default 20

    Returns
    -------
    x : ndarray, shape (n,)
    f : float
    d : dict
        ``grad``, ``task`` (the message), ``funcalls``, ``nit`` and ``warnflag`` (0 converged, 1 a limit, 2 any other).

    Examples
    --------
    >>> x, f, d = fmin_l_bfgs_b(lambda x: (x @ x, 2 * x), [1.0, 2.0])
    >>> bool(abs(x).max() < 1e-8), bool(f < 1e-16), d["warnflag"]
    (True, True, 0)
    """
    if fprime is None and not approx_grad:
        func, fprime = split(func)
    result = lbfgsb(
        func,
        x0,
        args,
        jac=None if approx_grad else fprime,
        bounds=one_pair_each(bounds, x0),
        callback=callback,
        maxcor=m,
        ftol=factr * np.finfo(float).eps,
        gtol=pgtol,
        eps=epsilon,
        maxfun=maxfun,
        maxiter=maxiter,
        maxls=maxls,
        **{name: value for name, value in (("iprint", iprint), ("disp", disp)) if value is not None},
    )
    halted = result.status == STOPPED
    information = {
        "grad": result.jac,
        "task": _HALTED if halted else result.message,
        "funcalls": result.nfev,
        "nit": result.nit,
        "warnflag": 2 if halted else result.status,
    }
    return result.x, result.fun, information


@functools.lru_cache(maxsize=64)
def _layout(size: int) -> Layout:
    return Layout([("x", (size,), "float64")])


def _settings(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the solver and of finite differences, with SciPy's warnings."""
    deprecated = [name for name in ("disp", "iprint") if name in options]
    if deprecated:
        message = "The options disp and iprint of L-BFGS-B are deprecated, as in SciPy, and have no effect."
        warn(message, DeprecationWarning)
    options = {name: value for name, value in options.items() if name not in deprecated}
    native, differences = sorted_options(options, LBFGSB_DEFAULTS, _DIFFERENCES)
    # SciPy counts an iteration before it looks at the limit.
    return lbfgsb_options(with_least(native, maxiter=1, maxfun=0), options.get("tol")), differences


def _solve(run: HostSolve, settings: Mapping[str, Any]) -> OptimizeResult:
    function = run.function
    # SciPy's limit includes the evaluations for finite differences, which only its function counts.
    solver = _native.Lbfgsb(run.x, run.gradient, **run.bounds, **{**settings, "maxfun": NO_LIMIT})
    maxiter, maxfun = settings["maxiter"], settings["maxfun"]

    def on_iteration() -> bool:
        return run.call_back(solver) or bool(solver.nit < maxiter and function.nfev > maxfun)

    result = run.run(solver, _native.HostObjective(function.fun_and_grad), on_iteration)
    status = solver.status_code
    if status == STOPPED and not run.is_stopped:
        result.update(status=1, message=_TOO_MANY_EVALUATIONS)
    elif status == 2 and function.nfev > maxfun:
        result.update(status=1)
    layout = _layout(run.x.size)
    # L-BFGS-B never leaves the bounds.
    result.update(constr_violation=np.float64(0), hess_inv=InverseHessian(lambda question: question(solver), layout))
    return result
