"""Minimisation as a graph operation: in a `tf.function`, a SavedModel, or a graph of TensorFlow 1."""

from __future__ import annotations

from tfminimize._graph.batch import MinimizeBatchResult, minimize_batch
from tfminimize._graph.operation import MinimizeResult, minimize

__all__ = ["MinimizeBatchResult", "MinimizeResult", "minimize", "minimize_batch"]
