"""Evaluation of a TensorFlow 1 graph through its session: what a graph that cannot be lifted is left with."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._tf1.functions import FlatFunctions
from tfminimize._tf1.lifting import ancestors
from tfminimize._trace.trace import rounding_unit

if TYPE_CHECKING:
    from tfminimize._tf1.graph import GraphProblem

__all__ = ["SessionFunctions", "VariableFeeds"]

Float64 = NDArray[np.float64]
_WITHOUT_VALUE = ("VarIsInitializedOp", "VariableShape")
"""Operations on a handle that do not read the value of the variable."""


class VariableFeeds:
    """Which tensors of a graph hold the value of a variable, so that feeding them is as good as assigning it."""

    def __init__(self, graph: Any, variable_ops: Sequence[Any]) -> None:
        self._graph = graph
        self._values: dict[str, Any] = {}
        for op in variable_ops:
            self.value(op)

    def reads(self, op: Any) -> list[Any]:
        """The tensors: a reference, or all that are read from a handle."""
        if op.type != "VarHandleOp":
            return [op.outputs[0]]
        return [reader.outputs[0] for reader in op.outputs[0].consumers() if _is_plain_read(reader)]

    def tests(self, op: Any) -> list[Any]:
        """The tensors that say whether a reference variable is initialised, which cannot be asked of a fed one."""
        return [o.outputs[0] for o in op.outputs[0].consumers() if o.type == "IsVariableInitialized"]

    def value(self, op: Any) -> Any:
        """One of them, added to the graph if there is none."""
        if op.name not in self._values:
            found = [tensor for tensor in self.reads(op) if not tensor.op.control_inputs]
            if not found:
                with self._graph.as_default(), tf.control_dependencies(None):
                    found = [tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype"))]
            self._values[op.name] = found[0]
        return self._values[op.name]

    def is_complete(self, op: Any, ops: Container[str]) -> bool:
        """Whether the operations of these names get the value from such tensors only, not by the handle."""
        if op.type != "VarHandleOp":
            return True
        readers = {reader.name: reader for reader in op.outputs[0].consumers()}
        return all(
            _is_plain_read(reader) or reader.type in _WITHOUT_VALUE for name, reader in readers.items() if name in ops
        )


def _is_plain_read(op: Any) -> bool:
    # A tensor inside of a loop or a branch of TensorFlow 1 cannot be fed.
    return op.type == "ReadVariableOp" and op._get_control_flow_context() is None


class SessionFunctions(FlatFunctions):
    """One solve that evaluates through the session, as the original did.

    Variables are fed. Where the graph reads one by its handle, inside of a loop or by a gather for example, it is
    assigned, and gets its value back when the solve ends with an error.
    """

    backend = "session"

    def __init__(
        self,
        problem: GraphProblem,
        session: Any,
        feeds: Mapping[Any, Any],
        fetches: Sequence[Any],
        run_kwargs: Mapping[str, Any],
        initial: Sequence[Any],
    ) -> None:
        precision = rounding_unit([problem.loss.dtype.base_dtype.name], problem.unknowns)
        super().__init__(*problem.counts, precision)
        self._problem = problem
        self._session = session
        variables = problem.feeds
        self._feeds = {test: True for op in problem.variable_ops for test in variables.tests(op)} | dict(feeds)
        self._fetches = list(fetches)
        self._run_kwargs = run_kwargs
        self._initial = initial
        ops = {op.name for op in ancestors([*problem.outputs(), *fetches], ())}
        self._reads = [variables.reads(op) for op in problem.variable_ops]
        self._assigned = [i for i, op in enumerate(problem.variable_ops) if not variables.is_complete(op, ops)]

    def restore(self) -> None:
        """Undo assignments, after an error."""
        self._assign(self._initial)

    def _loss_and_gradient(self, x: Float64) -> tuple[float, Float64, list[Any]]:
        problem = self._problem
        loss, gradients, fetched = self._run([problem.loss, _present(problem.loss_gradients), self._fetches], x)
        found = iter(gradients)
        parts = [None if g is None else next(found) for g in problem.loss_gradients]
        if np.size(loss) != 1:
            raise ValueError(
                f"the loss '{problem.loss.name}' has shape {np.shape(loss)}, not that of a scalar: reduce it, for "
                "example by tf.reduce_sum."
            )
        return float(np.ravel(loss)[0]), self._flat(parts), fetched

    def _all_values(self, x: Float64) -> list[Float64]:
        values = self._run([tensor for _, _, tensor in self._problem.constraints], x)
        return [np.asarray(value, np.float64).ravel() for value in values]

    def _all_jacobians(self, x: Float64) -> list[Float64]:
        problem = self._problem
        tensors = [tensor for _, _, tensor in problem.constraints]
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
                seeds[problem.constraint_gradients[i][1]] = unit.reshape(shapes[i])
            gradients = [problem.constraint_gradients[i][0] for i in which]
            try:
                values = self._run([_present(parts) for parts in gradients], x, seeds)
            except tf.errors.InvalidArgumentError:
                self._check_sizes([np.size(value) for value in self._run(tensors, x)])  # perhaps they have changed
                raise
            for i, parts, found in zip(which, gradients, values, strict=True):
                remaining = iter(found)
                rows[i].append(self._flat([None if g is None else next(remaining) for g in parts]))
        n = problem.unknowns.layout.size
        return [np.array(of_one).reshape(-1, n) for of_one in rows]

    def _run(self, wanted: Any, x: Float64, seeds: Mapping[Any, Any] | None = None) -> Any:
        parts = self._problem.unknowns.layout.split(x.copy())  # the graph may keep them
        self._assign(parts)
        feeds = {read: part for reads, part in zip(self._reads, parts, strict=True) for read in reads}
        return self._session.run(wanted, feeds | self._feeds | dict(seeds or {}), **self._run_kwargs)

    def _assign(self, parts: Sequence[Any]) -> None:
        if self._assigned:
            problem = self._problem
            values = {problem.new_values[i]: parts[i] for i in self._assigned}
            self._session.run([problem.assignments[i] for i in self._assigned], values, **self._run_kwargs)

    def _flat(self, parts: Sequence[Any]) -> Float64:
        segments = self._problem.unknowns.layout.segments
        return np.concatenate(
            [
                np.zeros(s.size) if part is None else np.asarray(part, np.float64).ravel()
                for part, s in zip(parts, segments, strict=True)
            ]
        )


def _present(tensors: Sequence[Any]) -> list[Any]:
    return [tensor for tensor in tensors if tensor is not None]
