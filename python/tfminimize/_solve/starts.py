"""Several starts for each problem of a batch, of which the best solution is kept."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.layout import Layout

__all__ = ["best_of", "checked_number", "more_starts"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Sides = tuple[Float64, Float64]


def checked_number(n_starts: Any) -> int:
    """The number of starts; ValueError unless it is an integer of 1 or more."""
    if isinstance(n_starts, bool) or not isinstance(n_starts, numbers.Integral) or n_starts < 1:
        raise ValueError(f"n_starts is {n_starts!r}: give the number of starts of each problem, 1 or more.")
    return int(n_starts)


def more_starts(starts: Float64, n_starts: int, bounds: Sides | None, layout: Layout, seed: Any) -> Float64:
    """The flat starts ``[B, n]`` and, after each, ``n_starts - 1`` more, which are uniform within its bounds.

    Returns
    -------
    ndarray
        ``[B * n_starts, n]``.

    Raises
    ------
    ValueError
        If an element has no two finite bounds.
    """
    if bounds is None or not (np.isfinite(bounds[0]).all() and np.isfinite(bounds[1]).all()):
        i = 0 if bounds is None else int(np.argmax(~np.isfinite(bounds[0] + bounds[1]).all(axis=0)))
        raise ValueError(
            f"n_starts is {n_starts}, but {layout.name_of(i)} has no two finite bounds to draw starts from: give "
            "bounds, or x0s with two leading dimensions, the problem and the start."
        )
    low, high = (side[:, np.newaxis] for side in bounds)
    shape = len(starts), n_starts, layout.size
    random = np.random.default_rng(seed)
    drawn: Float64 = low + (high - low) * random.random(shape)
    drawn[:, 0] = starts
    return drawn.reshape(-1, layout.size)


def best_of(fun: Float64, success: NDArray[np.bool_], n_starts: int) -> NDArray[np.int64]:
    """The place of the best start of each problem: the lowest loss among those that converged, else among all.

    Examples
    --------
    >>> best_of(
    ...     np.array([3.0, 1.0, 2.0, np.nan, 5.0, 4.0]),
    ...     np.array([True, False, True, False, False, False]),
    ...     3,
    ... )
    array([2, 2])
    """
    losses = np.where(np.isnan(fun), np.inf, fun).reshape(-1, n_starts)
    converged = success.reshape(-1, n_starts)
    losses = np.where(converged | ~converged.any(axis=1, keepdims=True), losses, np.inf)
    best: NDArray[np.int64] = np.argmin(losses, axis=1)
    return best
