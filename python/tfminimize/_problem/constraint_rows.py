"""The rows of a solver with constraints: which values they hold, with which sign and offset.

A solver only has rows c_i = 0 and c_i >= 0. They and the multipliers are in SciPy's order: first the equalities, in the
order of the list; then the inequalities, each constraint's lower limits before its upper ones. The inequalities of a
constraint that also has equalities come last.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Limits", "Rows", "count_values", "plain_rows", "rows_of"]

Float64 = NDArray[np.float64]
_Part = tuple[NDArray[np.int64], Float64, Float64]
_NO_ROWS: _Part = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


class Limits(NamedTuple):
    """A constraint with limits, flat, on its values: those of a function, or the rows of a matrix."""

    given: Any
    """As the user gave it."""
    low: Float64
    high: Float64
    matrix: Float64 | None
    """None for a function."""


@dataclass(frozen=True)
class Rows:
    """The rows of the solver: ``c[i] = sign[i] * v[source[i]] + offset[i]``.

    v holds the values of all functions, one after the other, and then, from ``num_values`` on, A x of all linear
    constraints.
    """

    num_equalities: int
    num_values: int
    source: NDArray[np.int64]
    sign: Float64
    offset: Float64

    @functools.cached_property
    def is_linear(self) -> NDArray[np.bool_]:
        """Which rows belong to linear constraints, shape (m,)."""
        return self.source >= self.num_values

    @functools.cached_property
    def key(self) -> Hashable:
        """Rows with the same key differ at most in A and the limits of linear constraints."""
        nonlinear = np.where(self.is_linear, -1.0, [self.source, self.sign, self.offset])
        return self.num_equalities, nonlinear.tobytes()

    def __len__(self) -> int:
        return len(self.source)


@functools.lru_cache(maxsize=8)
def plain_rows(num_values: int) -> Rows:
    """Rows that are the values of the functions as they are."""
    return Rows(0, num_values, np.arange(num_values), np.ones(num_values), np.zeros(num_values))


def count_values(limits: Sequence[Limits]) -> int:
    """How many values all functions return together."""
    return sum(low.size for _, low, _, matrix in limits if matrix is None)


def rows_of(limits: Sequence[Limits]) -> Rows:
    """The rows of a solver that only has c_i = 0 and c_i >= 0."""
    num_values = count_values(limits)
    next_value, next_linear = 0, num_values
    equalities: list[_Part] = []
    inequalities: list[_Part] = []
    appended: list[_Part] = []
    for _, low, high, matrix in limits:
        if matrix is None:
            first, next_value = next_value, next_value + low.size
        else:
            first, next_linear = next_linear, next_linear + low.size
        equal, unequal = _split(first, low, high)
        equalities.append(equal)
        mixed = len(equal[0]) > 0
        (appended if mixed else inequalities).append(unequal)
    parts = [*equalities, *inequalities, *appended]
    source, sign, offset = (np.concatenate(columns) for columns in zip(_NO_ROWS, *parts, strict=True))
    return Rows(sum(len(part[0]) for part in equalities), num_values, source, sign, offset)


def _split(first: int, low: Float64, high: Float64) -> tuple[_Part, _Part]:
    """The equalities and inequalities of one constraint, whose values are numbered from ``first`` on."""
    equal = np.flatnonzero(low == high)
    below = np.flatnonzero((low != high) & (low > -np.inf))
    above = np.flatnonzero((low != high) & (high < np.inf))
    equalities = (first + equal, np.ones(len(equal)), -low[equal])
    sign = np.repeat([1.0, -1.0], [len(below), len(above)])
    return equalities, (first + np.concatenate([below, above]), sign, np.concatenate([-low[below], high[above]]))
