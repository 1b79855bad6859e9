"""Splits flat float64 vectors in a graph into the components of x, and joins components; also for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.layout import Layout

__all__ = ["FLAT", "join", "join_columns", "join_rows", "split", "split_rows"]

FLAT = tf.float64
"""The dtype of the flat vectors that a solver and the functions exchange."""


def split(flat: tf.Tensor, layout: Layout) -> list[tf.Tensor]:
    """Split a flat vector into components, in their shapes and dtypes."""
    segments = layout.segments
    parts = [flat] if len(segments) == 1 else tf.split(flat, [s.size for s in segments])
    return [tf.cast(tf.reshape(part, s.shape), s.dtype) for part, s in zip(parts, segments, strict=True)]


def join(components: Sequence[Any]) -> tf.Tensor:
    """Join components to a flat vector."""
    flat = [tf.reshape(tf.cast(component, FLAT), [-1]) for component in components]
    return flat[0] if len(flat) == 1 else tf.concat(flat, 0)


def split_rows(flat: tf.Tensor, layout: Layout) -> list[tf.Tensor]:
    """Split each row of a matrix ``[k, n]``: components ``[k, *shape]``, in their dtypes."""
    parts = tf.split(flat, [s.size for s in layout.segments], axis=1)
    return [
        tf.cast(tf.reshape(part, [_length(flat), *s.shape]), s.dtype)
        for part, s in zip(parts, layout.segments, strict=True)
    ]


def join_rows(components: Sequence[tf.Tensor]) -> tf.Tensor:
    """Join components ``[k, *shape]`` to a matrix ``[k, n]``; k need not be static."""
    flat = [tf.reshape(tf.cast(c, FLAT), [_length(c), c.shape[1:].num_elements()]) for c in components]
    return flat[0] if len(flat) == 1 else tf.concat(flat, 1)


def _length(tensor: tf.Tensor) -> Any:
    return tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]


def join_columns(jacobians: Sequence[tf.Tensor]) -> tf.Tensor:
    """Join the Jacobians ``[k, *shape]`` by components to one ``[k, n]`` by a flat vector."""
    flat = [tf.cast(tf.reshape(j, [j.shape[0], j.shape[1:].num_elements()]), FLAT) for j in jacobians]
    return flat[0] if len(flat) == 1 else tf.concat(flat, 1)
