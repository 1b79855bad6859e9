"""Recorder: what a solver evaluated, in the form of the history of `tfminimize.minimize`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._compare.prepared import Prepared
from tfminimize._problem.constraint_forms import has_constraints

__all__ = ["History", "Recorder"]

Float64 = NDArray[np.float64]
History = Mapping[str, NDArray[Any]]

_UNKNOWN = ("gradient_norm", "step", "seconds")
"""The columns of a history that nobody measures here."""


class Recorder:
    """Remembers each loss that a solver evaluates, and where, if there are constraints.

    Parameters
    ----------
    prepared : Prepared
    losses : list of float, optional
        To read them from, if another function collects them.
    """

    def __init__(self, prepared: Prepared, losses: list[float] | None = None) -> None:
        self._prepared = prepared
        self._losses: list[float] = [] if losses is None else losses
        self._points: list[Float64] = []
        self._keeps_points = has_constraints(prepared.problem.constraints)

    def recorded(self, loss_and_gradient: Callable[[Float64], Any]) -> Callable[[Float64], Any]:
        """The function, which now also records."""

        def call(x: Float64) -> Any:
            loss, gradient = loss_and_gradient(x)
            self._losses.append(loss)
            if self._keeps_points:
                self._points.append(x.copy())
            return loss, gradient

        return call

    def history(self) -> History:
        """A row for each evaluation."""
        count = len(self._losses)
        violations = [self._prepared.violation(x) for x in self._points] or np.zeros(count)
        return {
            "fun": np.array(self._losses, np.float64),
            "nfev": np.arange(1, count + 1),
            "constr_violation": np.asarray(violations),
            **{column: np.full(count, np.nan) for column in _UNKNOWN},
        }
