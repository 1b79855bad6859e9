"""By how much a point violates the bounds and constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._problem.constraint_forms import listed_constraints

__all__ = ["add_violation", "violation"]

Float64 = NDArray[np.float64]


def violation(x: Float64, bounds: scipy.optimize.Bounds | None, constraints: Any) -> float:
    """The greatest violation of a bound or a constraint. The functions take a flat vector, as SciPy's do.

    Examples
    --------
    >>> violation(np.array([3.0]), None, {"type": "ineq", "fun": lambda x: 1 - x})
    2.0
    >>> violation(np.array([3.0]), scipy.optimize.Bounds(3.5, 4.0), ())
    0.5
    """
    excess = [np.zeros(1), *_beyond(x, bounds)]
    for constraint in listed_constraints(constraints):
        excess += _excess(constraint, x.copy())
    return float(np.concatenate([np.ravel(part) for part in excess]).max()) + 0.0  # not -0.0


def add_violation(
    result: scipy.optimize.OptimizeResult, bounds: scipy.optimize.Bounds | None, constraints: Any
) -> None:
    """Add ``constr_violation`` unless the method has done so; if the method reports ``maxcv``, it is that."""
    if "constr_violation" not in result:
        reported = result.get("maxcv")
        found = violation(np.ravel(result.x), bounds, constraints) if reported is None else reported
        result.constr_violation = np.float64(found)


def _excess(constraint: Any, x: Float64) -> list[Any]:
    """By how much each value violates a constraint; zero or less if it does not."""
    if isinstance(constraint, Mapping):
        values = np.asarray(constraint["fun"](x, *constraint.get("args", ())), np.float64)
        return [np.abs(values) if constraint["type"].lower() == "eq" else -values]
    if isinstance(constraint, scipy.optimize.LinearConstraint):
        return _beyond(constraint.A @ x, constraint)
    return _beyond(np.asarray(constraint.fun(x), np.float64), constraint)


def _beyond(values: Any, limits: Any) -> list[Any]:
    if limits is None:
        return []
    with np.errstate(invalid="ignore"):  # infinity - infinity
        return [limits.lb - values, values - limits.ub]
