"""The end of a fit at the precision of its numbers: what float32 can still tell apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.state import State

__all__ = ["REACHED", "Precision"]

REACHED = "CONVERGENCE: the precision of float32 is reached: no lower loss can be told apart from this one."

ROUNDINGS = 16
"""So many rounding units may the loss be off: the roundings of a sum add up. The solver counts as many."""

Float64 = NDArray[np.float64]


class Precision:
    """Decides whether a loss in float32 still shows a difference between two points.

    Parameters
    ----------
    unit : float
        The rounding unit of the loss; with that of float64, nothing is decided here.
    state : State or None
        Where the solve goes on.

    Attributes
    ----------
    is_reached : bool
        Whether the last iteration has lowered the loss by less than that.
    """

    def __init__(self, unit: float, state: State | None = None) -> None:
        self._unit = unit
        self._fun: float | None = None
        self._is_coarse = unit > np.finfo(np.float64).eps
        self.is_reached = False
        for fun in () if state is None else state.history.get("fun", ())[-2:]:
            self.has_settled(float(fun))

    def has_settled(self, fun: float) -> bool:
        """Take the loss of the next iterate; return whether it is no lower than the last one by a rounding unit.

        SciPy's test compares the reduction with the loss or 1, whichever is greater, which suits losses of about 1.
        """
        before, self._fun = self._fun, fun
        if self._is_coarse and before is not None:
            self.is_reached = before - fun <= self._unit * max(abs(before), abs(fun))
        return self.is_reached

    def is_flat(self, fun: float, gradient: Float64, gradient_at: Callable[[Float64], Float64], x: Float64) -> bool:
        """Whether the gradient promises no loss that can be told apart from that at x.

        Along d = -g, a quadratic with the slope -gᵀg and the curvature c falls by (gᵀg)²/(2c) at most. The curvature is
        a difference of gradients, over a step that changes half of the digits of x.
        """
        slope = float(gradient @ gradient)
        if not self._is_coarse or not np.isfinite(slope):
            return False
        if slope == 0:
            return True
        largest = float(np.abs(gradient).max())
        step = np.sqrt(self._unit) * max(1.0, float(np.abs(x).max())) / largest
        curvature = float(gradient @ (gradient - gradient_at(x - step * gradient))) / step
        return curvature > 0 and bool(slope**2 / (2 * curvature) <= ROUNDINGS * self._unit * abs(fun))
