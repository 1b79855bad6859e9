"""Options of the native solvers, as SciPy names them, checked before anything runs."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

__all__ = ["LBFGSB_DEFAULTS", "NO_LIMIT", "OWN_OPTIONS", "SLSQP_DEFAULTS", "lbfgsb_options", "slsqp_options"]

NO_LIMIT = 2**62
"""A limit on evaluations or iterations that no solve reaches."""

LBFGSB_DEFAULTS: Mapping[str, Any] = {
    "maxcor": 10,
    "ftol": 2.2204460492503131e-09,
    "gtol": 1e-5,
    "maxfun": 15000,
    "maxiter": 15000,
    "maxls": 20,
    "maxtime": math.inf,
    "storage": "float64",
}
"""SciPy's defaults of L-BFGS-B, and those of our own options."""

OWN_OPTIONS = ("maxtime", "storage")
"""The options that SciPy does not have."""

_STORAGES = ("float64", "float32")

SLSQP_DEFAULTS: Mapping[str, Any] = {"ftol": 1e-6, "maxiter": 100, "maxtime": math.inf}
"""SciPy's defaults of SLSQP, and our time limit in seconds."""

_MEANINGLESS = {
    "eps": "it is a step of finite differences, and the gradient comes from TensorFlow",
    "finite_diff_rel_step": "it is a step of finite differences, and the gradient comes from TensorFlow",
    "workers": "it parallelises finite differences, and the gradient comes from TensorFlow",
    "disp": "nothing is printed; use callback to see the progress",
    "iprint": "nothing is printed; use callback to see the progress",
    "jac": "the gradient comes from TensorFlow",
    "hess": "no Hessian is used",
}


def lbfgsb_options(options: Mapping[str, Any] | None = None, tol: float | None = None) -> dict[str, Any]:
    """The options of L-BFGS-B with SciPy's defaults; ``tol`` sets ``ftol`` and ``gtol`` unless they are given.

    Raises
    ------
    ValueError
        For an unknown option, or a value that no solve could use.

    Examples
    --------
    >>> lbfgsb_options({"maxcor": 5}, tol=1e-8)["ftol"]
    1e-08
    """
    return _checked("L-BFGS-B", LBFGSB_DEFAULTS, options, tol, ("ftol", "gtol"))


def slsqp_options(options: Mapping[str, Any] | None = None, tol: float | None = None) -> dict[str, Any]:
    """The options of SLSQP with SciPy's defaults; ``tol`` sets ``ftol`` unless it is given.

    Raises
    ------
    ValueError
        For an unknown option, or a value that no solve could use.

    Examples
    --------
    >>> slsqp_options({"maxiter": 5}, tol=1e-8)
    {'ftol': 1e-08, 'maxiter': 5, 'maxtime': inf}
    """
    return _checked("SLSQP", SLSQP_DEFAULTS, options, tol, ("ftol",))


def _checked(
    method: str,
    defaults: Mapping[str, Any],
    options: Mapping[str, Any] | None,
    tol: float | None,
    set_by_tol: tuple[str, ...],
) -> dict[str, Any]:
    checked = dict(defaults)
    if tol is not None:
        checked.update(dict.fromkeys(set_by_tol, _tolerance("tol", tol)))
    if options is None:
        return checked
    if not isinstance(options, Mapping):
        raise ValueError(f"options is {options!r}: give a dict such as {{'maxiter': 100}}.")
    for name, value in options.items():
        if name in _MEANINGLESS:
            raise ValueError(f"the option {name!r} has no meaning here: {_MEANINGLESS[name]}. Remove it.")
        if name not in defaults:
            raise ValueError(f"{method} has no option {name!r}: it knows {', '.join(defaults)}.")
        if name in ("ftol", "gtol"):
            checked[name] = _tolerance(name, value)
        elif name == "maxtime":
            checked[name] = _seconds(value)
        elif name in ("maxcor", "maxls"):
            checked[name] = _count(name, value)
        elif name == "storage":
            checked[name] = _storage(value)
        else:
            checked[name] = _limit(name, value)
    return checked


def _tolerance(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or math.isnan(value):
        raise ValueError(f"{name} is {value!r}: give a real number, 0 or greater.")
    if value < 0 and name != "gtol":
        raise ValueError(f"{name} is {value!r}: give a number that is 0 or greater.")
    return float(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) > 0:
        raise ValueError(f"maxtime is {value!r}: give the seconds that the solve may take, a number greater than 0.")
    return float(value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}: give an integer, 1 or greater.")
    return min(int(value), NO_LIMIT)


def _storage(value: Any) -> str:
    if not isinstance(value, str) or value not in _STORAGES:
        raise ValueError(f"storage is {value!r}: give 'float64', or 'float32' to keep the correction pairs in half.")
    return value


def _limit(name: str, value: Any) -> int:
    """A limit on a count, as an integer; like SciPy, it may be given as any real number, also infinity."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or math.isnan(value) or value < 0:
        raise ValueError(f"{name} is {value!r}: give a number that is 0 or greater.")
    if float(value) >= NO_LIMIT:
        return NO_LIMIT
    # Iterations stop at nit >= maxiter, evaluations at nfev > maxfun.
    return math.ceil(float(value)) if name == "maxiter" else math.floor(float(value))
