"""Registers the gradients of our operations, which a SavedModel needs as soon as `tfminimize` is imported."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

__all__: list[str] = []


def _gradient(op: Any, *upstream: Any) -> Any:
    from tfminimize._graph.implicit import gradient_of_op  # imports SciPy's optimizers

    return gradient_of_op(op, *upstream)


for _operation in ("TfminimizeMinimize", "TfminimizeMinimizeBatch"):
    tf.RegisterGradient(_operation)(_gradient)
