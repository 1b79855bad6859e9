"""Several starts for each problem of a batch, of which the best solution is kept, and bounds for each problem."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._problem.bounds import as_packed, rounded_inwards
from tfminimize._problem.layout import Layout
from tfminimize._problem.parameters import Parameters

__all__ = ["best_of", "bounds_of_all", "checked_number", "more_starts"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Sides = tuple[Float64, Float64]


def checked_number(n_starts: Any) -> int:
    """The number of starts; ValueError unless it is an integer of 1 or more."""
    if isinstance(n_starts, bool) or not isinstance(n_starts, numbers.Integral) or n_starts < 1:
        raise ValueError(f"n_starts is {n_starts!r}: give the number of starts of each problem, 1 or more.")
    return int(n_starts)


def bounds_of_all(bounds: Any, count: int, parameters: Parameters) -> Sides:
    """The bounds of ``count`` problems as two flat matrices ``[count, n]``.

    They are those of one problem, in every form of `Bounds`, or have a side with a row for each problem.

    Raises
    ------
    ValueError
        If a side does not broadcast to that shape, or a bound is NaN, crossed, or such that no value satisfies it.
    """
    layout = parameters.layout
    given = (bounds.lb, bounds.ub) if isinstance(bounds, scipy.optimize.Bounds) else bounds
    if not (isinstance(given, (tuple, list)) and len(given) == 2 and any(_has_rows(s, count, layout) for s in given)):
        low, high = as_packed(bounds, parameters).flat(layout)
        return np.tile(low, (count, 1)), np.tile(high, (count, 1))
    low, high = (
        _side(side, infinity, word, count, layout)
        for side, infinity, word in zip(given, (-np.inf, np.inf), ("lower", "upper"), strict=True)
    )
    wrong = ~(low <= high) | (low == np.inf) | (high == -np.inf)
    if wrong.any():
        problem, i = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        raise ValueError(
            f"the bounds of problem {problem} for {layout.name_of(int(i))} are ({low[problem, i]}, "
            f"{high[problem, i]}), which no value satisfies: give low <= high, and infinity where there is no bound."
        )
    for s in layout.segments:
        if s.dtype == "float32":
            low[:, s.flat], high[:, s.flat] = rounded_inwards(low[:, s.flat], high[:, s.flat])
    return low, high


def _has_rows(side: Any, count: int, layout: Layout) -> bool:
    """Whether a side has one row for each problem, rather than the shape of x0."""
    shape = getattr(side, "shape", ())
    return len(shape) > 1 and tuple(shape) not in [s.shape for s in layout.segments]


def _side(side: Any, infinity: float, word: str, count: int, layout: Layout) -> Float64:
    try:
        values = np.asarray(infinity if side is None else side, np.float64)
        if values.ndim > 1 and values.shape[0] == count and values.size == count * layout.size:
            values = values.reshape(count, layout.size)
        return np.array(np.broadcast_to(values, (count, layout.size)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the {word} bounds cannot be broadcast to {(count, layout.size)}, a row for each problem ({error})."
        ) from None


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
    >>> best_of(np.array([3.0, 1.0, 2.0, np.nan, 5.0, 4.0]), np.array([True, False, True, False, False, False]), 3)
    array([2, 2])
    """
    losses = np.where(np.isnan(fun), np.inf, fun).reshape(-1, n_starts)
    converged = success.reshape(-1, n_starts)
    losses = np.where(converged | ~converged.any(axis=1, keepdims=True), losses, np.inf)
    best: NDArray[np.int64] = np.argmin(losses, axis=1)
    return best
