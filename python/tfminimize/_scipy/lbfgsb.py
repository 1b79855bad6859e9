"""L-BFGS-B as a method of SciPy's, for functions on NumPy arrays."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.callback import Observer
from tfminimize._problem.layout import Layout
from tfminimize._problem.options import LBFGSB_DEFAULTS, NO_LIMIT, lbfgsb_options
from tfminimize._problem.result import STOPPED, STOPPED_BY_CALLBACK, InverseHessian, OptimizeResult
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
        ``tol``. An unknown one is a warning, as in SciPy.

    Returns
    -------
    tfminimize.OptimizeResult
        With ``constr_violation``, the greatest violation of a bound; ``backend="host"`` and ``timing``.

    Examples
    --------
    >>> import scipy.optimize
    >>> result = scipy.optimize.minimize(scipy.optimize.rosen, [1.3, 0.7], jac=scipy.optimize.rosen_der, method=lbfgsb)
    >>> result.x.round(4)
    array([1., 1.])
    """
    if constraints is not None and len(np.atleast_1d(constraints)):
        raise ValueError("lbfgsb cannot handle constraints: use tfminimize.scipy.slsqp, or remove them.")
    if hess is not None or hessp is not None:
        warnings.warn("lbfgsb uses no Hessian: hess and hessp are ignored.", RuntimeWarning, stacklevel=2)
    settings, differences = _settings(options)
    if jac is True:
        fun, jac = split(fun)
    if not isinstance(args, tuple):
        args = (args,)
    x = np.array(x0, dtype=np.float64).ravel()
    lower, upper = read_bounds(bounds, x)
    observer = None if callback is None else Observer(callback)
    if lower is None or upper is None:
        return _solve(fun, x, args, jac, None, settings, differences, observer)
    x = np.clip(x, lower, upper)
    free = lower < upper
    if callable(jac) or free.all():
        return _solve(fun, x, args, jac, (lower, upper), settings, differences, observer)
    return _solve_free(fun, x, args, jac, (lower, upper), free, settings, differences, observer)


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
        bounds=bounds,
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


def _settings(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The solver's options and those of finite differences; what SciPy only warns of is a warning here too."""
    deprecated = [name for name in ("disp", "iprint") if name in options]
    if deprecated:
        message = "The options disp and iprint of L-BFGS-B are deprecated, as in SciPy, and have no effect."
        warnings.warn(message, DeprecationWarning, stacklevel=3)
    options = {name: value for name, value in options.items() if name not in deprecated}
    native, differences = sorted_options(options, LBFGSB_DEFAULTS, _DIFFERENCES)
    # SciPy counts an iteration before it looks at the limit.
    return lbfgsb_options(with_least(native, maxiter=1, maxfun=0), options.get("tol")), differences


def _solve(
    fun: Callable[..., Any],
    x: Float64,
    args: tuple[Any, ...],
    jac: Any,
    bounds: tuple[Float64, Float64] | None,
    settings: Mapping[str, Any],
    differences: Mapping[str, Any],
    observer: Observer | None,
    shown: Callable[[Float64], Float64] = np.copy,
) -> OptimizeResult:
    """Minimise from ``x``, which is within the bounds. The observer gets ``shown(x)``."""
    _native.Lbfgsb.check_memory(x.size, settings["maxcor"])
    begin = time.perf_counter()
    function = counted(fun, x, args, jac, None if bounds is None else np.array(bounds), differences)
    first = time.perf_counter() - begin
    memory, gradient = _native.aligned_zeros(x.size), _native.aligned_zeros(x.size)
    memory[:] = x
    lower, upper = (None, None) if bounds is None else bounds
    # SciPy's limit counts the evaluations of finite differences, which only its function knows.
    solver = _native.Lbfgsb(memory, gradient, lower, upper, **{**settings, "maxfun": NO_LIMIT})
    maxiter, maxfun = settings["maxiter"], settings["maxfun"]

    def halt() -> bool:
        if observer is not None and observer(shown(memory), solver.fun):
            return True
        return bool(solver.nit < maxiter and function.nfev > maxfun)

    timing = _native.drive(solver, _native.HostFunction(function.fun_and_grad), halt)
    status, message = solver.status_code, solver.message
    if observer is not None and observer.stopped:
        message = STOPPED_BY_CALLBACK
    elif status == STOPPED:
        status, message = 1, _TOO_MANY_EVALUATIONS
    elif status == 2 and function.nfev > maxfun:
        status = 1
    return OptimizeResult(
        x=memory.copy(),
        fun=np.float64(solver.fun),
        jac=gradient.copy(),
        nit=solver.nit,
        nfev=function.nfev,
        njev=function.ngev,
        status=status,
        success=status == 0,
        message=message,
        constr_violation=np.float64(0),  # bounds hold all along the way
        hess_inv=InverseHessian(solver, Layout([("x", x.shape, "float64")])),
        backend="host",
        timing={"trace": 0.0, "compile": 0.0, "evaluate": first + timing.evaluate, "solver": timing.solver},
    )


def _solve_free(
    fun: Callable[..., Any],
    x: Float64,
    args: tuple[Any, ...],
    jac: Any,
    bounds: tuple[Float64, Float64],
    free: NDArray[np.bool_],
    settings: Mapping[str, Any],
    differences: Mapping[str, Any],
    observer: Observer | None,
) -> OptimizeResult:
    """Minimise over the elements that the bounds leave free."""
    variables = FreeVariables(x, free)
    if not free.any():
        value = np.float64(fun(x.copy(), *args))
        finite = bool(np.isfinite(value))
        return OptimizeResult(
            x=x,
            fun=value,
            jac=np.full(x.size, np.nan),
            nit=0,
            nfev=1,
            njev=0,
            status=0 if finite else 2,
            success=finite,
            message=FIXED if finite else FIXED_AT_NO_NUMBER.format(value),
            constr_violation=np.float64(0),
            backend="host",
        )
    result = _solve(
        variables.function(fun),
        x[free],
        args,
        jac,
        (bounds[0][free], bounds[1][free]),
        settings,
        differences,
        observer,
        variables.whole,
    )
    result.x = variables.whole(result.x)
    result.jac = variables.whole(result.jac, np.nan)
    result.hess_inv = None
    return result
