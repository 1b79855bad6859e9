"""The names of the methods, and which of them take bounds, constraints and Hessians."""

from __future__ import annotations

from typing import Any

from tfminimize._problem.constraints import check_forms, has_constraints
from tfminimize._problem.parameters import Parameters

__all__ = ["WITHOUT_GRADIENT", "WITH_CONSTRAINTS", "check_bounds", "check_constraints", "method_name"]

WITHOUT_GRADIENT = ("nelder-mead", "powell", "cobyla", "cobyqa")
_WITH_GRADIENT = ("cg", "bfgs", "newton-cg", "l-bfgs-b", "tnc", "slsqp", "trust-constr")
_WITH_HESSIAN = ("dogleg", "trust-ncg", "trust-krylov", "trust-exact")
_WITH_BOUNDS = ("nelder-mead", "powell", "l-bfgs-b", "tnc", "cobyla", "cobyqa", "slsqp", "trust-constr")
WITH_CONSTRAINTS = ("cobyla", "cobyqa", "slsqp", "trust-constr")
_KNOWN = (*WITHOUT_GRADIENT, *_WITH_GRADIENT)


def method_name(method: Any, constraints: Any) -> Any:
    """The method's name in lower case, or the callable itself; for None SLSQP with constraints, else L-BFGS-B.

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
        raise ValueError(
            f"method {method!r} needs a Hessian, but tfminimize computes none: use 'L-BFGS-B' or 'Newton-CG'."
        )
    if name not in _KNOWN:
        raise ValueError(f"method {method!r} is not known: use one of {', '.join(_KNOWN)}.")
    return name


def check_constraints(method: Any, constraints: Any, parameters: Parameters) -> None:
    """Raise ValueError if this method cannot take these constraints with these parameters."""
    if not has_constraints(constraints) or callable(method) or method == "slsqp":
        return
    if method not in WITH_CONSTRAINTS:
        name = "L-BFGS-B" if method == "l-bfgs-b" else method
        raise ValueError(f"method {name!r} cannot handle constraints: use method='SLSQP', or remove them.")
    if not parameters.is_array or len(parameters.layout.segments[0].shape) > 1:
        raise ValueError(
            f"with method {method!r} the constraints are SciPy's functions of one vector, but x0 is not a vector: "
            "use method='SLSQP', or give x0 as a one-dimensional array."
        )
    check_forms(constraints)


def check_bounds(method: Any, low: Any) -> None:
    """Raise ValueError if there are bounds and the method ignores them."""
    if low is not None and not callable(method) and method not in _WITH_BOUNDS:
        raise ValueError(f"method {method!r} cannot handle bounds: use method='L-BFGS-B', or remove the bounds.")
