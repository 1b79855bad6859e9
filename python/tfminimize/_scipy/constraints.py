"""SciPy's constraints on NumPy arrays, as one vector of values and one Jacobian in the solver's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from tfminimize._problem.constraint_forms import with_same_sizes
from tfminimize._scipy import private
from tfminimize._scipy.differences import forward_differences
from tfminimize._scipy.functions import FreeVariables

__all__ = ["ArrayConstraint", "ConstraintRows", "finite_differences", "read_constraints"]

Float64 = NDArray[np.float64]
Differences = Callable[[Callable[..., Any], Float64, Sequence[Any]], Any]


@dataclass(frozen=True)
class ArrayConstraint:
    """One constraint function of NumPy arrays, with the arguments that SciPy passes to it."""

    name: str
    fun: Callable[..., Any]
    jac: Callable[..., Any] | None
    args: Sequence[Any]
    is_equality: bool

    def on(self, variables: FreeVariables) -> ArrayConstraint:
        """The constraint as a function of the free variables only."""
        jac = None if self.jac is None else variables.derivative(_dense(self.jac))
        return ArrayConstraint(self.name, variables.function(self.fun), jac, self.args, self.is_equality)


def read_constraints(constraints: Any, x0: Float64) -> list[ArrayConstraint]:
    """The constraints from any of SciPy's forms, checked; the equalities first, as in SciPy's multipliers.

    Raises
    ------
    ValueError, TypeError, KeyError
        As SciPy's SLSQP does, if something is not a constraint.

    Examples
    --------
    >>> [
    ...     c.name
    ...     for c in read_constraints(
    ...         [{"type": "ineq", "fun": sum}, {"type": "eq", "fun": max}], np.zeros(2)
    ...     )
    ... ]
    ['constraint 1', 'constraint 0']
    """
    given = private.minimize.standardize_constraints(with_same_sizes(constraints), x0, "slsqp")
    read = [_read(i, constraint) for i, constraint in enumerate(given)]
    return [c for c in read if c.is_equality] + [c for c in read if not c.is_equality]


def _read(i: int, constraint: Any) -> ArrayConstraint:
    name = f"constraint {i}"
    if not isinstance(constraint, Mapping):
        raise TypeError(
            f"{name} is {constraint!r}: give a dict with 'type' and 'fun', a NonlinearConstraint or a LinearConstraint."
        )
    for key in ("type", "fun"):
        if key not in constraint:
            error = KeyError if key == "type" else ValueError
            raise error(f"{name} has no {key!r}: give {{'type': 'eq' or 'ineq', 'fun': function}}.")
    kind = constraint["type"]
    if not isinstance(kind, str):
        raise TypeError(f"the type of {name} is {kind!r}: give 'eq' or 'ineq'.")
    if kind.lower() not in ("eq", "ineq"):
        raise ValueError(f"the type of {name} is {kind!r}: give 'eq' or 'ineq'.")
    fun, jac, args = constraint["fun"], constraint.get("jac"), constraint.get("args", ())
    if not callable(fun):
        raise TypeError(f"the function of {name} is {fun!r}: give a function of x.")
    if jac is not None and not callable(jac):
        raise TypeError(f"the Jacobian of {name} is {jac!r}: give a function of x, or None for finite differences.")
    return ArrayConstraint(name, fun, jac, args, kind.lower() == "eq")


class ConstraintRows:
    """All constraints as the solver sees them: one row for each element of each.

    Parameters
    ----------
    constraints : list
        From `read_constraints`.
    x : ndarray, shape (n,)
        The start; each constraint is called there once to learn how many values it has.
    differences : callable
        ``differences(fun, x, args) -> Jacobian``, for constraints without a Jacobian.

    Attributes
    ----------
    size : int
        Number of rows.
    num_equalities : int
        How many of the rows are equalities; they come first.
    """

    def __init__(self, constraints: Sequence[ArrayConstraint], x: Float64, differences: Differences) -> None:
        self._constraints = constraints
        self._differences = differences
        self._sizes = [_values(c, x).size for c in constraints]
        self.size = sum(self._sizes)
        self.num_equalities = sum(s for c, s in zip(constraints, self._sizes, strict=True) if c.is_equality)

    def values(self, x: Float64) -> Float64:
        """The values of all rows, shape (size,)."""
        parts = [_values(c, x) for c in self._constraints]
        return np.concatenate(parts) if parts else np.empty(0)

    def violation(self, x: Float64) -> float:
        """The greatest violation of a row."""
        values = self.values(x)
        excess = np.concatenate([np.abs(values[: self.num_equalities]), -values[self.num_equalities :]])
        return float(excess.max(initial=0.0)) + 0.0  # not -0.0

    def jacobian(self, x: Float64) -> Float64:
        """The Jacobian of all rows, shape (size, n)."""
        parts = [self._jacobian(c, size, x) for c, size in zip(self._constraints, self._sizes, strict=True)]
        if len(parts) == 1:
            return parts[0]  # without a copy
        return np.concatenate(parts) if parts else np.empty((0, x.size))

    def _jacobian(self, constraint: ArrayConstraint, size: int, x: Float64) -> Float64:
        if constraint.jac is None:
            raw = self._differences(constraint.fun, x.copy(), constraint.args)
        else:
            raw = _dense(constraint.jac)(x.copy(), *constraint.args)
        rows = _real(np.atleast_2d(raw), f"the Jacobian of {constraint.name}")
        if size == 0:
            return np.empty((0, x.size))
        if rows.shape != (size, x.size):
            raise ValueError(
                f"the Jacobian of {constraint.name} has shape {rows.shape}, but it must have {(size, x.size)}: one row "
                "for each value, one column for each element of x."
            )
        return rows


def finite_differences(jac: Any, options: Mapping[str, Any], bounds: tuple[Any, Any]) -> Differences:
    """The Jacobian by SciPy's differences: with its relative steps if ``jac`` names them, else the absolute ``eps``."""
    forward = forward_differences(jac if isinstance(jac, str) else None, options, bounds)

    def differentiate(fun: Callable[..., Any], x: Float64, args: Sequence[Any]) -> Any:
        if forward is None:
            step = {"method": jac, "rel_step": options["finite_diff_rel_step"]}
            return private.numdiff.approx_derivative(fun, x, args=args, bounds=bounds, **step)

        def values(x: Float64) -> Any:
            return np.atleast_1d(fun(x, *args)).ravel()

        return forward.derivative(values, x, values(x.copy()))

    return differentiate


def _values(constraint: ArrayConstraint, x: Float64) -> Float64:
    return _real(constraint.fun(x.copy(), *constraint.args), constraint.name).ravel()


def _real(values: Any, name: str) -> Float64:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} returned {array.dtype.name} values: it must return real numbers.")
    return array.astype(np.float64, copy=False)


def _dense(jac: Callable[..., Any]) -> Callable[..., Any]:
    def dense(x: Float64, *args: Any) -> Any:
        matrix = jac(x, *args)
        return matrix.toarray() if issparse(matrix) else matrix

    return dense
