"""Evaluates a TensorFlow 1 graph through its session, if it cannot be lifted into a function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._tf1.functions import FlatFunctions
from tfminimize._tf1.lifting import ancestors
from tfminimize._tf1.tensors import GraphTensors

__all__ = ["SessionFunctions"]

Float64 = NDArray[np.float64]


class SessionFunctions(FlatFunctions):
    """One solve that evaluates through the session, as the original class did.

    It feeds the variables. If the graph reads one by its handle, for example in a loop or by a gather, it assigns to
    the variable instead, and restores the value if the solve ends with an error.
    """

    backend = "session"

    def __init__(
        self,
        graph: GraphTensors,
        session: Any,
        feeds: Mapping[Any, Any],
        fetches: Sequence[Any],
        run_kwargs: Mapping[str, Any],
        initial: Sequence[Any],
    ) -> None:
        dtype = graph.parameters.layout.least_precise([graph.loss.dtype.base_dtype.name])
        super().__init__(*graph.counts, float(np.finfo(dtype).eps))
        self._graph = graph
        self._session = session
        variables = graph.feeds
        self._feeds = {test: True for op in graph.variable_ops for test in variables.tests(op)} | dict(feeds)
        self._fetches = list(fetches)
        self._run_kwargs = run_kwargs
        self._initial = initial
        ops = {op.name for op in ancestors([*graph.outputs(), *fetches], ())}
        self._reads = [variables.reads(op) for op in graph.variable_ops]
        self._assigned = [i for i, op in enumerate(graph.variable_ops) if not variables.is_complete(op, ops)]

    def restore(self) -> None:
        """After an error, undo the assignments."""
        self._assign(self._initial)

    def _loss_and_gradient(self, x: Float64) -> tuple[float, Float64, list[Any]]:
        graph = self._graph
        loss, gradients, fetched = self._run([graph.loss, _present(graph.loss_gradients), self._fetches], x)
        found = iter(gradients)
        parts = [None if g is None else next(found) for g in graph.loss_gradients]
        if np.size(loss) != 1:
            raise ValueError(
                f"the loss '{graph.loss.name}' has shape {np.shape(loss)}, not that of a scalar: reduce it, for "
                "example by tf.reduce_sum."
            )
        return float(np.ravel(loss)[0]), self._flat(parts), fetched

    def _all_values(self, x: Float64) -> list[Float64]:
        values = self._run([tensor for _, _, tensor in self._graph.constraints], x)
        return [np.asarray(value, np.float64).ravel() for value in values]

    def _all_jacobians(self, x: Float64) -> list[Float64]:
        graph = self._graph
        tensors = [tensor for _, _, tensor in graph.constraints]
        shapes: list[Any] = [t.shape.as_list() if t.shape.is_fully_defined() else None for t in tensors]
        if any(shape is None for shape in shapes):
            shapes = [np.shape(value) for value in self._run(tensors, x)]
        sizes = [math.prod(shape) for shape in shapes]
        self._check_sizes(sizes)
        rows: list[list[Float64]] = [[] for _ in tensors]
        for row in range(max(sizes, default=0)):
            which = [i for i, size in enumerate(sizes) if row < size]
            seeds = {}
            for i in which:
                unit = np.zeros(sizes[i])
                unit[row] = 1.0
                seeds[graph.constraint_gradients[i][1]] = unit.reshape(shapes[i])
            gradients = [graph.constraint_gradients[i][0] for i in which]
            try:
                values = self._run([_present(parts) for parts in gradients], x, seeds)
            except tf.errors.InvalidArgumentError:
                self._check_sizes([np.size(value) for value in self._run(tensors, x)])  # perhaps they have changed
                raise
            for i, parts, found in zip(which, gradients, values, strict=True):
                remaining = iter(found)
                rows[i].append(self._flat([None if g is None else next(remaining) for g in parts]))
        n = graph.parameters.layout.size
        return [np.array(of_one).reshape(-1, n) for of_one in rows]

    def _run(self, wanted: Any, x: Float64, seeds: Mapping[Any, Any] | None = None) -> Any:
        parts = self._graph.parameters.layout.split(x.copy())  # the graph may keep them
        self._assign(parts)
        feeds = {read: part for reads, part in zip(self._reads, parts, strict=True) for read in reads}
        return self._session.run(wanted, feeds | self._feeds | dict(seeds or {}), **self._run_kwargs)

    def _assign(self, parts: Sequence[Any]) -> None:
        if self._assigned:
            graph = self._graph
            values = {graph.new_values[i]: parts[i] for i in self._assigned}
            self._session.run([graph.assignments[i] for i in self._assigned], values, **self._run_kwargs)

    def _flat(self, parts: Sequence[Any]) -> Float64:
        segments = self._graph.parameters.layout.segments
        return np.concatenate(
            [
                np.zeros(s.size) if part is None else np.asarray(part, np.float64).ravel()
                for part, s in zip(parts, segments, strict=True)
            ]
        )


def _present(tensors: Sequence[Any]) -> list[Any]:
    return [tensor for tensor in tensors if tensor is not None]
