"""The end of a fit at the precision of its numbers: what float32 can still tell apart."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.state import State

__all__ = ["REACHED", "Precision"]

REACHED = "CONVERGENCE: the precision of float32 is reached: no lower loss can be told apart from this one."

WINDOW = 3
"""One iteration may lower the loss by little because its step was poor; several do so only at the end."""

POINTS, ORDER = 9, 3
"""The noise is estimated from the loss at so many points, by differences of this order."""

SIGMAS = 3.0
"""Two losses are told apart if they differ by this many standard deviations of a difference."""

Float64 = NDArray[np.float64]
Evaluate = Callable[[Float64], tuple[float, Float64]]


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
        Whether the last three iterations have lowered the loss by its rounding unit at most.
    """

    def __init__(self, unit: float, state: State | None = None) -> None:
        self._unit = unit
        self._is_coarse = unit > np.finfo(np.float64).eps
        self._losses: collections.deque[float] = collections.deque(maxlen=WINDOW + 1)
        self.is_reached = False
        for fun in () if state is None else state.history.get("fun", ())[-WINDOW - 1 :]:
            self.has_settled(float(fun))

    @property
    def present(self) -> tuple[float, list[float]]:
        """The unit, and the last losses."""
        return self._unit, list(self._losses)

    def has_settled(self, fun: float) -> bool:
        """Take the loss of the next iterate; return whether the last few are lower by a rounding unit at most.

        SciPy's test compares the reduction with the loss or 1, whichever is greater, which suits losses of about 1.
        """
        self._losses.append(fun)
        self.is_reached = len(self._losses) > WINDOW and self._is_alike(self._losses[0], fun)
        return self.is_reached

    def explains_convergence(self) -> bool:
        """Whether the last iteration has lowered the loss by a rounding unit at most."""
        return len(self._losses) > 1 and self._is_alike(*list(self._losses)[-2:])

    def _is_alike(self, before: float, fun: float) -> bool:
        return self._is_coarse and before - fun <= self._unit * max(abs(before), abs(fun))

    def is_flat(self, fun: float, gradient: Float64, x: Float64, evaluate: Evaluate) -> bool:
        """Whether the gradient at x promises no lower loss that can be told apart from ``fun``.

        Along d = -g, a quadratic with the slope -gᵀg and the curvature c falls by (gᵀg)²/(2c) at most. The curvature is
        a difference of gradients, over a step that changes half of the digits of x. The loss has more noise than its
        rounding unit if large terms cancel in it, such as predictions and targets; so the noise is measured.
        """
        slope = float(gradient @ gradient)
        if not self._is_coarse or not math.isfinite(slope):
            return False
        if slope == 0:
            return True
        step = math.sqrt(self._unit) * max(1.0, float(np.abs(x).max())) / float(np.abs(gradient).max())
        curvature = float(gradient @ (gradient - evaluate(x - step * gradient)[1])) / step
        if not curvature > 0:
            return False
        noise = max(_noise(x, evaluate), self._unit * abs(fun))
        return slope**2 / (2 * curvature) <= SIGMAS * math.sqrt(2) * noise


def _noise(x: Float64, evaluate: Evaluate) -> float:
    """The standard deviation of the loss for rounding, from its values at points that lie a few units apart.

    The k-th differences of a smooth function vanish, and those of noise with the variance σ² have the mean square
    σ²·(2k)!/(k!)². J. J. Moré, S. M. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33 (2011), section 3.
    """
    apart = 4 * float(np.spacing(np.abs(x).max().astype(np.float32)))
    direction = np.where(np.arange(x.size) % 2, apart, -apart)
    losses = [evaluate(x + i * direction)[0] for i in range(-(POINTS // 2), POINTS // 2 + 1)]
    differences = np.diff(losses, ORDER)
    return math.sqrt(float(np.mean(differences**2)) / math.comb(2 * ORDER, ORDER))
