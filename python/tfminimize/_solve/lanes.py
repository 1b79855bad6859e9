"""Lanes: the memory of solves that go in step, and the vectorized functions that evaluate them in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.constraint_rows import Rows
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.inputs import Inputs
from tfminimize._solve.workspace import native_rows, write_linear_rows
from tfminimize._tf import private
from tfminimize._tf.binding import _native
from tfminimize._trace.vectorized import VectorTrace, sizes_of_calls

__all__ = ["Lane", "Lanes", "VectorPool"]

Float64 = NDArray[np.float64]


class Lane:
    """The memory of one of the solves; its attributes are those of a `Workspace`."""

    def __init__(self, lanes: Lanes, index: int) -> None:
        size = lanes.packed_size
        self.x: Float64 = lanes.x[index, :size]
        self.gradient: Float64 = lanes.gradient[index, :size]
        self.constraints: Float64 | None = None if lanes.constraints is None else lanes.constraints[index]
        self.jacobian: Float64 | None = None if lanes.jacobian is None else lanes.jacobian[index]
        self.offsets = lanes.offsets
        self.num_equalities = lanes.num_equalities
        self.precision = lanes.precision
        self._bounds: tuple[Float64, Float64] = (lanes.bounds[0][index], lanes.bounds[1][index])
        self.kept_solver: Any = None

    def copied_bounds(self, low: Float64, high: Float64) -> tuple[Float64, Float64]:
        """The bounds in memory that stays the same; see `Workspace.copied_bounds`."""
        self._bounds[0][...], self._bounds[1][...] = low, high
        return self._bounds


class Lanes:
    """The memory of up to ``capacity`` solves that go in step, and an objective that evaluates them in one call.

    Parameters
    ----------
    trace : VectorTrace
    parameters : Parameters
    capacity : int
    tensors : sequence of tf.Tensor
        The data among the ``args`` of the loss and the constraints; of batched ones, the slices of one problem.
    batched : sequence of int
        The places of these slices.

    Attributes
    ----------
    objective : _native.VectorObjective
    x, gradient : ndarray, shape (capacity, stride)
        The first ``packed_size`` columns are used.
    bounds : pair of ndarray, shape (capacity, packed_size)
    constraints, jacobian, offsets : ndarray or None
        As those of a `Workspace`, with a leading dimension, but all solves share the offsets.
    compile_seconds : float
        What compiling machine code for this capacity took.
    """

    def __init__(
        self,
        trace: VectorTrace,
        parameters: Parameters,
        capacity: int,
        tensors: Sequence[tf.Tensor],
        batched: Sequence[int],
    ) -> None:
        self._layout = layout = parameters.layout
        self.capacity = capacity
        self.packed_size = layout.packed_size
        self.precision = float(np.finfo(trace.dtype).eps)
        self.x: Float64 = _native.aligned_matrix(capacity, layout.packed_size)
        self.gradient: Float64 = _native.aligned_matrix(capacity, layout.packed_size)
        self.bounds: tuple[Float64, Float64] = (
            np.zeros((capacity, layout.packed_size)),
            np.zeros((capacity, layout.packed_size)),
        )
        self.constraints: Float64 | None = None
        self.jacobian: Float64 | None = None
        self.offsets: Float64 | None = None
        self.num_equalities = 0
        self._linear: tuple[Float64, Rows] | None = None
        self._rows_key: Any = None
        self._lanes: list[Lane] = []
        sizes = sizes_of_calls(capacity) if trace.is_padded else []
        functions, self.compile_seconds = trace.functions(sizes)
        self._inputs = Inputs(trace.backend, functions, tensors, batched)
        self.objective = _native.VectorObjective(
            private.context_capsule(),
            self._inputs.calls(),
            [_native.Component(s.offset, s.shape, s.dtype, None) for s in layout.segments],
            capacity=capacity,
            sizes=sizes,
            batched=[(np.dtype(tensors[i].dtype.as_numpy_dtype), tensors[i].shape.as_list()) for i in batched],
            num_values=trace.num_values,
            loss_dtype=trace.loss_dtype,
            values_dtype=trace.values_dtype,
        )
        self.backend = trace.backend
        self.reason = trace.backend.reason
        if sizes:
            numbers = f"{', '.join(map(str, sizes[:-1]))} or {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
            self.reason += f"; a call evaluates {numbers} problems, and fewer are filled up with copies of one"

    @property
    def size(self) -> int:
        """How many doubles it holds, apart from machine code and the kept solvers."""
        return 4 * self.x.size + (0 if self.jacobian is None else self.jacobian.size)

    def set_arguments(self, data: Sequence[tf.Tensor | NDArray[Any] | None]) -> None:
        """From now on, pass these data of ``args``, with None for batched ones; see `Inputs.update`."""
        self._inputs.update(self.objective, data)

    def position(self, index: int) -> int:
        """The position of a tensor of ``args`` among the inputs of the functions."""
        return self._inputs.position(index)

    def set_constraints(self, constraints: Constraints, shapes: Sequence[tuple[int, ...]]) -> None:
        """From now on, evaluate the rows of these constraints."""
        rows, matrix = constraints.rows(shapes), constraints.matrix
        if self._linear is not None and self._linear[0] is matrix and self._linear[1] is rows:
            return
        self._linear = None
        if self.jacobian is None or self.offsets is None or self._rows_key != rows.key:
            self._rows_key = None
            m = len(rows)
            self._lanes.clear()
            self.num_equalities = rows.num_equalities
            self.constraints = _native.aligned_matrix(self.capacity, m)[:, :m]
            flat = _native.aligned_matrix(self.capacity * m, self._layout.packed_size)
            self.jacobian = flat.reshape(self.capacity, m, flat.shape[-1])
            self.offsets = np.full(m, np.nan)
            self.objective.set_rows(native_rows(rows))
            self._rows_key = rows.key
        write_linear_rows(rows, matrix, self._layout, self.jacobian, self.offsets)
        self._linear = matrix, rows

    def take(self, count: int) -> list[Lane]:
        """The first ``count`` lanes."""
        self._lanes += [Lane(self, i) for i in range(len(self._lanes), count)]
        return self._lanes[:count]


class VectorPool:
    """A vectorized trace and the lanes made for it; see `Program`. Appending to and popping from a list are atomic.

    Attributes
    ----------
    is_fresh : bool
        Whether no batch has used the trace yet.
    """

    _MAX_DOUBLES_FREE = 1 << 22

    def __init__(self, trace: VectorTrace) -> None:
        self.trace = trace
        self.is_fresh = True
        self._free: dict[int, list[Lanes]] = {}

    def lanes(
        self, parameters: Parameters, capacity: int, tensors: Sequence[tf.Tensor], batched: Sequence[int]
    ) -> tuple[Lanes, float]:
        """Lanes of this capacity that nobody uses, or new ones, and the seconds of compiling for these.

        Give the lanes back by `release`.
        """
        try:
            return self._free.setdefault(capacity, []).pop(), 0.0
        except IndexError:
            lanes = Lanes(self.trace, parameters, capacity, tensors, batched)
            return lanes, lanes.compile_seconds

    def release(self, lanes: Lanes) -> None:
        """Give lanes back for the next batch, unless too much memory is kept already."""
        free = self._free[lanes.capacity]
        if not free or (len(free) + 1) * lanes.size <= self._MAX_DOUBLES_FREE:
            free.append(lanes)
