"""Options of the native solvers, as SciPy names them, checked before anything runs."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BFGS_DEFAULTS",
    "LBFGSB_DEFAULTS",
    "NO_LIMIT",
    "OWN_OPTIONS",
    "SLSQP_DEFAULTS",
    "bfgs_options",
    "check_matrix_size",
    "lbfgsb_options",
    "scipy_options",
    "slsqp_options",
]

Float64 = NDArray[np.float64]

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

OWN_OPTIONS = ("maxtime", "storage", "update", "initial_scale")
"""The options that SciPy does not have."""

_STORAGES = ("float64", "float32")
_UPDATES = ("bfgs", "dfp", "ssbfgs", "ssbfgs-ol", "ssbroyden", "ssbroyden1")

SLSQP_DEFAULTS: Mapping[str, Any] = {"ftol": 1e-6, "maxiter": 100, "maxtime": math.inf}
"""SciPy's defaults of SLSQP, and our time limit in seconds."""

BFGS_DEFAULTS: Mapping[str, Any] = {
    "gtol": 1e-5,
    "norm": math.inf,
    "maxiter": None,
    "xrtol": 0.0,
    "c1": 1e-4,
    "c2": 0.9,
    "hess_inv0": None,
    "update": "bfgs",
    "initial_scale": False,
    "maxtime": math.inf,
}
"""SciPy's defaults of BFGS, and those of our own options. Without ``maxiter``, 200 iterations for each variable."""

_PARAMETERS = {
    "args": "args is a parameter of its own",
    "bounds": "bounds is a parameter of its own",
    "callback": "callback is a parameter of its own",
    "constraints": "constraints is a parameter of its own",
    "fun": "it is the function to minimise",
    "hess": "the second derivatives come from TensorFlow",
    "hessp": "the second derivatives come from TensorFlow",
    "jac": "the gradient comes from TensorFlow",
    "x0": "it is the start",
}
"""The names that SciPy's methods use for parameters, so no option can have them."""

_MEANINGLESS = {
    **_PARAMETERS,
    "eps": "it is a step of finite differences, and the gradient comes from TensorFlow",
    "finite_diff_rel_step": "it is a step of finite differences, and the gradient comes from TensorFlow",
    "workers": "it parallelises finite differences, and the gradient comes from TensorFlow",
    "return_all": "a callback sees all iterates",
    "disp": "nothing is printed; use callback to see the progress",
    "iprint": "nothing is printed; use callback to see the progress",
    "hess": "no Hessian is used",
    "hessp": "no Hessian is used",
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


def bfgs_options(options: Mapping[str, Any] | None = None, tol: float | None = None) -> dict[str, Any]:
    """The options of BFGS with SciPy's defaults; ``tol`` sets ``gtol`` unless it is given.

    Raises
    ------
    ValueError
        For an unknown option, or a value that no solve could use.

    Examples
    --------
    >>> bfgs_options({"update": "ssbroyden"}, tol=1e-8)["gtol"]
    1e-08
    """
    checked = _checked("BFGS", BFGS_DEFAULTS, options, tol, ("gtol",))
    c1, c2 = checked["c1"], checked["c2"]
    if not 0 < c1 < c2 < 1:
        raise ValueError(f"'c1' and 'c2' are {c1!r} and {c2!r}: give numbers with 0 < c1 < c2 < 1.")
    return checked


def scipy_options(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The options of a method that runs in SciPy, which checks the rest itself.

    Raises
    ------
    ValueError
        For a name that is no option.

    Examples
    --------
    >>> scipy_options({"maxiter": 5})
    {'maxiter': 5}
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(f"options is {options!r}: give a dict such as {{'maxiter': 100}}.")
    for name in options:
        if name in _PARAMETERS:
            raise _meaningless(name, _PARAMETERS)
    return options


def _meaningless(name: str, reasons: Mapping[str, str]) -> ValueError:
    return ValueError(f"the option {name!r} has no meaning here: {reasons[name]}. Remove it.")


def check_matrix_size(name: str, matrix: Float64 | None, size: int) -> None:
    """Raise ValueError if a square matrix, unless it is None, has not a row for each of ``size`` elements of x."""
    if matrix is not None and len(matrix) != size:
        raise ValueError(
            f"{name} has shape {matrix.shape}, but x0 has {size} elements: give a matrix of shape {(size, size)}."
        )


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
            raise _meaningless(name, _MEANINGLESS)
        if name not in defaults:
            raise ValueError(f"{method} has no option {name!r}: it knows {', '.join(defaults)}.")
        is_default = value is None and defaults[name] is None
        checked[name] = None if is_default else _CHECKS[name](name, value)
    return checked


def _tolerance(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or math.isnan(value):
        raise ValueError(f"{name} is {value!r}: give a real number, 0 or greater.")
    if value < 0 and name != "gtol":
        raise ValueError(f"{name} is {value!r}: give a number that is 0 or greater.")
    return float(value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) > 0:
        raise ValueError(f"{name} is {value!r}: give the seconds that the solve may take, a number greater than 0.")
    return float(value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}: give an integer, 1 or greater.")
    return min(int(value), NO_LIMIT)


def _storage(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in _STORAGES:
        raise ValueError(f"{name} is {value!r}: give 'float64', or 'float32' to keep the correction pairs in half.")
    return value


def _limit(name: str, value: Any) -> int:
    """A limit on a count, as an integer; like SciPy, it may be given as any real number, also infinity."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or math.isnan(value) or value < 0:
        raise ValueError(f"{name} is {value!r}: give a number that is 0 or greater.")
    if float(value) >= NO_LIMIT:
        return NO_LIMIT
    # Iterations stop at nit >= maxiter, evaluations at nfev > maxfun.
    return math.ceil(float(value)) if name == "maxiter" else math.floor(float(value))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or math.isnan(value):
        raise ValueError(f"{name} is {value!r}: give a number.")
    return float(value)


def _norm(name: str, value: Any) -> float:
    order = _number(name, value)
    if order == 0:
        raise ValueError(f"{name} is {value!r}: give the order of a norm, such as 2, or infinity for the maximum.")
    return order


def _update(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in _UPDATES:
        raise ValueError(f"{name} is {value!r}: give one of {', '.join(map(repr, _UPDATES))}.")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} is {value!r}: give True or False.")
    return bool(value)


def _inverse_hessian(name: str, value: Any) -> Float64:
    """A symmetric, positive definite matrix; its size is checked by who knows x.

    A vector holds the rows of its lower triangle, as ``H[np.tril_indices(n)]``.
    """
    try:
        if hasattr(value, "matmat"):  # a scipy.sparse.linalg.LinearOperator
            value = value @ np.eye(value.shape[1])
        given = np.asarray(value.todense() if hasattr(value, "todense") else value)
        if np.iscomplexobj(given):
            raise TypeError(f"its dtype is {given.dtype}")
        matrix = np.ascontiguousarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is a {type(value).__name__}, not a matrix of real numbers: {error}") from None
    size = (math.isqrt(8 * matrix.size + 1) - 1) // 2
    if matrix.ndim == 1 and size * (size + 1) // 2 == matrix.size:
        packed, matrix = matrix, np.empty((size, size))
        rows, columns = np.tril_indices(size)
        matrix[rows, columns] = matrix[columns, rows] = packed
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"{name} has shape {matrix.shape}: give a matrix with a row for each variable, or the n(n + 1)/2 elements "
            "of its lower triangle."
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds a number that is not finite: give an inverse Hessian, or leave it out.")
    if not np.allclose(matrix, matrix.T, atol=1e-8 * np.abs(matrix).max()):
        i, j = np.unravel_index(np.argmax(np.abs(matrix - matrix.T)), matrix.shape)
        raise ValueError(
            f"{name} is not symmetric: [{i}, {j}] is {matrix[i, j]:.6g} and [{j}, {i}] is {matrix[j, i]:.6g}. Give "
            "(H + H.T) / 2."
        )
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"'{name}' matrix isn't positive definite: its direction would not descend. Add a multiple of the "
            "identity, or leave it out."
        ) from None
    return matrix


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "c1": _number,
    "c2": _number,
    "ftol": _tolerance,
    "gtol": _tolerance,
    "hess_inv0": _inverse_hessian,
    "initial_scale": _flag,
    "maxcor": _count,
    "maxfun": _limit,
    "maxiter": _limit,
    "maxls": _count,
    "maxtime": _seconds,
    "norm": _norm,
    "storage": _storage,
    "update": _update,
    "xrtol": _tolerance,
}
