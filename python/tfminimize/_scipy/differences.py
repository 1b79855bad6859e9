"""SciPy's forward differences, with the same bits in a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfminimize._scipy import private

__all__ = ["ForwardDifferences", "forward_differences"]

Float64 = NDArray[np.float64]

_RELATIVE = float(np.sqrt(np.finfo(np.float64).eps))


class ForwardDifferences(NamedTuple):
    """Derivatives from one more value for each element of x.

    `approx_derivative` of SciPy takes longer than a small function: it converts x and each value through an array
    namespace. It is still called if the values are not float64, since it then computes with less precision.

    Attributes
    ----------
    eps : float, array_like or None
        The absolute step; None: SciPy's step relative to x.
    bounds : (lower, upper)
        No evaluation leaves them; numbers or arrays of shape (n,).
    """

    eps: Any
    bounds: tuple[Any, Any]

    def derivative(self, fun: Callable[[Float64], Any], x: Float64, values: Any) -> Any:
        """The derivative at x of ``fun``, which has returned ``values`` there: a float, or an array of shape (m,).

        Examples
        --------
        >>> ForwardDifferences(1e-8, (0.0, 1.0)).derivative(
        ...     lambda x: x[0] + 3 * x[1], np.ones(2), 4.0
        ... ).round(6)
        array([1., 3.])
        """
        if not isinstance(values, float) and getattr(values, "dtype", None) != np.float64:
            step = {"rel_step": None} if self.eps is None else {"abs_step": self.eps}
            numdiff = private.numdiff
            return numdiff.approx_derivative(fun, x, method="2-point", f0=values, bounds=self.bounds, **step)
        moved = x + self._steps(x)
        found = []
        for i in range(x.size):
            point = x.copy()
            point[i] = moved[i]
            found.append(fun(point))
        return (np.array(found, np.float64) - values).T / (moved - x)

    def _steps(self, x: Float64) -> Any:
        """The steps that SciPy takes, within the bounds."""
        lower, upper = self.bounds
        steps = self.eps
        if steps is None:
            steps = _relative_steps(x)
        elif (x + steps == x).any():  # the step is lost in rounding
            steps = np.where(x + steps == x, _relative_steps(x), steps)
        moved = x + steps
        fits = np.abs(steps) <= np.maximum(x - lower, upper - x)
        if ((lower <= moved) & (moved <= upper) & fits).all():
            return steps
        steps, lower, upper = (np.array(np.broadcast_to(one, x.shape)) for one in (steps, lower, upper))
        return private.numdiff._adjust_scheme_to_bounds(x, steps, 1, "1-sided", lower, upper)[0]


def _relative_steps(x: Float64) -> Float64:
    steps: Float64 = _RELATIVE * np.where(x >= 0, 1.0, -1.0) * np.maximum(1.0, np.abs(x))
    return steps


def forward_differences(jac: Any, options: Mapping[str, Any], bounds: tuple[Any, Any]) -> ForwardDifferences | None:
    """The differences that SciPy would take for this ``jac``, a string or None; None if they are of another kind.

    ``options`` are SciPy's ``eps`` and ``finite_diff_rel_step``.
    """
    if jac is None:
        return ForwardDifferences(options["eps"], bounds)
    if jac == "2-point" and options["finite_diff_rel_step"] is None:
        return ForwardDifferences(None, bounds)
    return None
