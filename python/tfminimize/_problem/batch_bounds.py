"""The bounds of a batch of problems: those of one problem, which all share, or a row for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.bounds import as_numbers, as_packed, described, rounded_inwards, tensor_bounds
from tfminimize._problem.layout import Layout
from tfminimize._problem.parameters import Parameters

__all__ = ["bounds_of_all", "tensor_bounds_of_all"]

Float64 = NDArray[np.float64]
Sides = tuple[Float64, Float64]


def bounds_of_all(bounds: Any, count: int, parameters: Parameters) -> Sides:
    """The bounds of ``count`` problems as two flat matrices ``[count, n]``.

    They are those of one problem, in every form of `Bounds`, or have a side with a row for each problem.

    Raises
    ------
    ValueError
        If a side does not broadcast to that shape, or a bound is NaN, crossed, or such that no value satisfies it.
    """
    layout = parameters.layout
    given = _sides_with_rows(bounds, layout)
    if given is None:
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


def tensor_bounds_of_all(bounds: Any, parameters: Parameters) -> tuple[tf.Tensor, tf.Tensor]:
    """The bounds of a batch as two flat float64 tensors; see `tensor_bounds`.

    Their shape is ``[B, n]``, or ``[1, n]`` if the problems share them, or ``[0, 0]`` if no bound can be finite.
    """
    layout = parameters.layout
    given = _sides_with_rows(bounds, layout)
    if given is None:
        low, high = tensor_bounds(bounds, parameters)
        shape = [1, layout.size] if low.shape[0] else [0, 0]
        return tf.reshape(low, shape), tf.reshape(high, shape)
    low, high = (
        _rows(side, infinity, word, layout)
        for side, infinity, word in zip(given, (-np.inf, np.inf), ("lower", "upper"), strict=True)
    )
    shape = tf.broadcast_dynamic_shape(tf.shape(low), tf.shape(high))
    low, high = (tf.ensure_shape(tf.broadcast_to(side, shape), [None, layout.size]) for side in (low, high))
    rounded = [
        rounded_inwards(low[:, s.flat], high[:, s.flat]) if s.dtype == "float32" else (low[:, s.flat], high[:, s.flat])
        for s in layout.segments
    ]
    lows, highs = zip(*rounded, strict=True)
    return tf.concat(lows, 1), tf.concat(highs, 1)


def _sides_with_rows(bounds: Any, layout: Layout) -> tuple[Any, Any] | None:
    """The two sides of the bounds of a batch, as given, if one has a row for each problem; else None."""
    given = (bounds.lb, bounds.ub) if isinstance(bounds, scipy.optimize.Bounds) else bounds
    is_pair = isinstance(given, (tuple, list)) and len(given) == 2
    return (given[0], given[1]) if is_pair and any(_has_rows(side, layout) for side in given) else None


def _has_rows(side: Any, layout: Layout) -> bool:
    """Whether a side has one row for each problem, rather than the shape of x0."""
    shape = tuple(getattr(side, "shape", ()))
    return len(shape) > 1 and shape not in [s.shape for s in layout.segments]


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


def _rows(side: Any, infinity: float, word: str, layout: Layout) -> tf.Tensor:
    """One side of the bounds of a batch as a matrix with n columns, and with one row or one for each problem."""
    try:
        values = tf.convert_to_tensor(as_numbers(side, infinity))
        if values.shape.rank is None:
            raise ValueError("it has no known rank")
        if values.shape.rank > 1 and values.shape[1:].num_elements() == layout.size:
            return tf.reshape(values, [tf.shape(values)[0], layout.size])
        if values.shape.rank > 2:
            raise ValueError(f"it has shape {values.shape}")
        rows = tf.shape(values)[0] if values.shape.rank == 2 else 1
        return tf.broadcast_to(values, [rows, layout.size])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the {word} bounds, {described(side)}, cannot be broadcast to rows of {layout.size} elements, one row for "
            f"each problem ({error})."
        ) from None
