"""The names of the methods, and which of them take bounds, constraints and Hessians."""

from __future__ import annotations

from typing import Any

from tfminimize._problem.constraint_forms import has_constraints

__all__ = [
    "NAN_IS_INFINITE",
    "WITHOUT_GRADIENT",
    "WITH_CONSTRAINTS",
    "WITH_HESSIAN",
    "WITH_PRODUCTS",
    "check_bounds",
    "check_constraints",
    "method_name",
    "second_derivatives_error",
    "takes_bounds",
    "takes_constraints",
]

WITHOUT_GRADIENT = ("nelder-mead", "powell", "cobyla", "cobyqa")
_WITH_GRADIENT = ("cg", "bfgs", "l-bfgs-b", "tnc", "slsqp")
WITH_PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
"""They multiply the Hessian by vectors."""
WITH_HESSIAN = ("dogleg", "trust-exact")
"""They factorise the Hessian."""
NAN_IS_INFINITE = (
    *("trust-ncg", "trust-krylov", "trust-exact", "trust-constr", "dogleg"),
    *("newton-cg", "cg", "powell", "nelder-mead"),
)
"""They step back from an infinite loss, but after a NaN they repeat a step for ever, or go on to an x of NaN."""
_CAN_APPROXIMATE = ("newton-cg", "trust-constr")
"""These also work without second derivatives."""
_WITH_BOUNDS = ("nelder-mead", "powell", "l-bfgs-b", "tnc", "cobyla", "cobyqa", "slsqp", "trust-constr")
WITH_CONSTRAINTS = ("cobyla", "cobyqa", "slsqp", "trust-constr")
_KNOWN = (*WITHOUT_GRADIENT, *_WITH_GRADIENT, *WITH_PRODUCTS, *WITH_HESSIAN)


def method_name(method: Any, constraints: Any) -> Any:
    """The method's name in lower case, or the callable itself; for None SLSQP with constraints, else L-BFGS-B.

    Raises
    ------
    ValueError
        If the method is unknown.
    """
    if method is None:
        return "slsqp" if has_constraints(constraints) else "l-bfgs-b"
    if callable(method):
        return method
    if not isinstance(method, str):
        raise ValueError(f"method is {method!r}: give the name of a method, such as 'L-BFGS-B', or a callable.")
    name = method.lower()
    if name not in _KNOWN:
        raise ValueError(f"method {method!r} is not known: use one of {', '.join(_KNOWN)}.")
    return name


def second_derivatives_error(method: str, reason: Any) -> ValueError | None:
    """The error if TensorFlow has no second derivatives, for this reason; None if the method can do without them."""
    if method in _CAN_APPROXIMATE:
        return None
    return ValueError(
        f"method {method!r} needs second derivatives, but there are none ({reason}): use 'L-BFGS-B', or 'Newton-CG', "
        "which takes differences of the gradient."
    )


def takes_constraints(method: Any) -> bool:
    """Whether this method, a name in lower case or a callable, takes constraints other than bounds."""
    return callable(method) or method in WITH_CONSTRAINTS


def takes_bounds(method: Any) -> bool:
    """Whether this method, a name in lower case or a callable, takes bounds."""
    return callable(method) or method in _WITH_BOUNDS


def check_constraints(method: Any, constraints: Any) -> None:
    """Raise ValueError if this method cannot take constraints."""
    if has_constraints(constraints) and not takes_constraints(method):
        name = "L-BFGS-B" if method == "l-bfgs-b" else method
        raise ValueError(f"method {name!r} cannot handle constraints: use method='SLSQP', or remove them.")


def check_bounds(method: Any, low: Any) -> None:
    """Raise ValueError if there are bounds and the method ignores them."""
    if low is not None and not takes_bounds(method):
        raise ValueError(f"method {method!r} cannot handle bounds: use method='L-BFGS-B', or remove the bounds.")
