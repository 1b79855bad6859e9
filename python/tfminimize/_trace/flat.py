"""Flat float64 vectors in a graph, and the components of x that they hold one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.layout import Layout

__all__ = ["FLAT", "join", "join_columns", "split"]

FLAT = tf.float64
"""The dtype of everything between a solver and the functions of a flat vector."""


def split(flat: tf.Tensor, layout: Layout) -> list[tf.Tensor]:
    """The components, in their shapes and dtypes, from a flat vector."""
    segments = layout.segments
    parts = [flat] if len(segments) == 1 else tf.split(flat, [s.size for s in segments])
    return [tf.cast(tf.reshape(part, s.shape), s.dtype) for part, s in zip(parts, segments, strict=True)]


def join(components: Sequence[Any]) -> tf.Tensor:
    """A flat vector from components."""
    flat = [tf.reshape(tf.cast(component, FLAT), [-1]) for component in components]
    return flat[0] if len(flat) == 1 else tf.concat(flat, 0)


def join_columns(jacobians: Sequence[tf.Tensor]) -> tf.Tensor:
    """The Jacobian ``[k, n]`` by a flat vector from the Jacobians ``[k, *shape]`` by components."""
    flat = [tf.cast(tf.reshape(j, [j.shape[0], j.shape[1:].num_elements()]), FLAT) for j in jacobians]
    return flat[0] if len(flat) == 1 else tf.concat(flat, 1)
