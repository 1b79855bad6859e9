"""SciPy's forms of constraints: which there are, what messages call them, and what is wrong with one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._problem.messages import shown

__all__ = [
    "SINGLE",
    "NamedConstraint",
    "check_form",
    "has_constraints",
    "listed_constraints",
    "named_constraints",
    "with_same_sizes",
]

SINGLE = "the constraint"
"""The name in messages of a constraint that is not in a list."""

Float64 = NDArray[np.float64]
_FORMS = "a dict {'type', 'fun'}, a scipy.optimize.NonlinearConstraint or a LinearConstraint"
_CLASSES = (Mapping, scipy.optimize.NonlinearConstraint, scipy.optimize.LinearConstraint)


def has_constraints(constraints: Any) -> bool:
    """Whether there are any constraints; None and an empty list, tuple or array hold no constraint."""
    if isinstance(constraints, np.ndarray):
        return constraints.size > 0
    return constraints is not None and not (isinstance(constraints, (list, tuple)) and not constraints)


def listed_constraints(constraints: Any) -> list[Any]:
    """The constraints as a list, also if there is only one or None."""
    if isinstance(constraints, _CLASSES):
        return [constraints]
    return list(constraints) if has_constraints(constraints) else []


def named_constraints(constraints: Any) -> list[tuple[str, Any]]:
    """Every constraint with its name in messages."""
    if constraints is None:
        return []
    if isinstance(constraints, (*_CLASSES, scipy.optimize.Bounds, str)):
        return [(SINGLE, constraints)]
    if not isinstance(constraints, Iterable):
        raise ValueError(f"constraints is {shown(constraints)}: give {_FORMS}, or a list of them.")
    return [(getattr(c, "name", f"constraints[{i}]"), c) for i, c in enumerate(constraints)]


def check_form(name: str, constraint: Any) -> None:
    """Raise ValueError for what is not a constraint."""
    if not isinstance(constraint, _CLASSES):
        remedy = "give bounds as bounds=" if isinstance(constraint, scipy.optimize.Bounds) else f"give {_FORMS}"
        raise ValueError(f"{name} is {shown(constraint)}: {remedy}.")
    if not isinstance(constraint, Mapping):
        return
    for key in ("type", "fun"):
        if key not in constraint:
            raise ValueError(f"{name} has no {key!r}: give a dict like {{'type': 'ineq', 'fun': c}} for c(x) >= 0.")
    kind = constraint["type"]
    if not isinstance(kind, str) or kind.lower() not in ("eq", "ineq"):
        raise ValueError(f"{name} has the type {kind!r}: give 'eq' for c(x) = 0, or 'ineq' for c(x) >= 0.")


class NamedConstraint(dict[str, Any]):
    """A constraint as a dict, with the name that messages use."""

    def __init__(self, name: str, kind: str, fun: Callable[..., Any]) -> None:
        super().__init__(type=kind, fun=fun)
        self.name = name


class _SameSize:
    """A constraint function that must return as many values as in its first call."""

    def __init__(self, name: str, fun: Callable[..., Any]) -> None:
        self._name = name
        self._fun = fun
        self._size: int | None = None

    def __call__(self, x: Float64, *args: Any) -> Any:
        values = self._fun(x, *args)
        size = np.size(values)
        if self._size is None:
            self._size = size
        if size != self._size:
            raise ValueError(
                f"{self._name} returned {size} values, but {self._size} at the start: "
                "it must always return the same number."
            )
        return values


def with_same_sizes(constraints: Any) -> list[Any]:
    """SciPy's constraints; one that changes its number of values raises ValueError with its place in the list."""
    checked = listed_constraints(constraints)
    for i, constraint in enumerate(checked):
        if isinstance(constraint, scipy.optimize.NonlinearConstraint):
            checked[i] = constraint = copy.copy(constraint)
            constraint.fun = _SameSize(f"constraint {i}", constraint.fun)
        elif isinstance(constraint, Mapping) and callable(constraint.get("fun")):
            checked[i] = {**constraint, "fun": _SameSize(f"constraint {i}", constraint["fun"])}
    return checked
