"""The memory of one solve with constraints at a time, and the functions bound to it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.constraints import Rows
from tfminimize._problem.layout import ALIGNMENT
from tfminimize._problem.parameters import Unknowns
from tfminimize._solve.workspace import Memory, call_options
from tfminimize._tf import private
from tfminimize._tf.binding import _native
from tfminimize._tf.xla import MachineCode
from tfminimize._trace.trace import Trace, TracedFunction

__all__ = ["ConstrainedWorkspace"]

Float64 = NDArray[np.float64]


class ConstrainedWorkspace(Memory):
    """An objective that evaluates a trace of loss and constraints in place. It serves one solve at a time, and many.

    Attributes
    ----------
    constraints : ndarray, shape (m,)
    jacobian : ndarray, shape (m, stride)
        Row by row, each of them 64-byte aligned; the first ``packed_size`` columns are used.
    offsets : ndarray, shape (m,)
        Of the linear constraints; NaN for the others.
    num_equalities : int
    objective : _native.ConstrainedXlaExecutable or _native.ConstrainedFunction
    """

    objective: _native.ConstrainedXlaExecutable | _native.ConstrainedFunction

    def __init__(self, trace: Trace, unknowns: Unknowns, tensors: Sequence[tf.Tensor]) -> None:
        super().__init__(trace.functions, trace, unknowns, tensors)
        make: Any = _native.ConstrainedFunction
        if trace.backend.name == "xla":
            make = _native.ConstrainedXlaExecutable
        self.objective = make(
            private.context_capsule(),
            *map(self._bound, trace.functions),
            self.components,
            [],
            num_values=trace.num_values,
            loss_dtype=trace.loss_dtype,
            values_dtype=trace.values_dtype,
        )
        self._key: Hashable = None
        self._linear: tuple[Float64, Rows] | None = None

    @property
    def size(self) -> int:
        """How many doubles it holds."""
        return super().size + self.jacobian.size

    def set_rows(self, rows: Rows, matrix: Float64) -> None:
        """Evaluate these rows in the solves from now on; ``matrix`` is A of all linear constraints."""
        if self._linear is not None and self._linear[0] is matrix and self._linear[1] is rows:
            return
        self._linear = None
        if self._key != rows.key:
            self._key = None
            self._set_functions(rows)
            self._key = rows.key
        linear = np.flatnonzero(rows.is_linear)
        signed = rows.sign[linear, None] * matrix[rows.source[linear] - rows.num_values]
        for s in self.layout.segments:
            self.jacobian[linear, s.packed] = signed[:, s.flat]
        self.offsets[linear] = rows.offset[linear]
        self._linear = matrix, rows

    def _set_functions(self, rows: Rows) -> None:
        """Make room for the rows, and take those that are no linear constraints from the functions."""
        stride = -(-self.layout.packed_size // ALIGNMENT) * ALIGNMENT
        self.constraints: Float64 = _native.aligned_zeros(len(rows))
        self.jacobian: Float64 = _native.aligned_zeros(len(rows) * stride).reshape(len(rows), stride)
        self.offsets = np.full(len(rows), np.nan)
        self.num_equalities = rows.num_equalities
        places = np.flatnonzero(~rows.is_linear)
        columns = places.tolist(), rows.source[places].tolist(), rows.sign[places], rows.offset[places]
        self.objective.set_rows([_native.Row(*row) for row in zip(*columns, strict=True)])

    def evaluate(self) -> float:
        """Evaluate the functions and their derivatives at x."""
        return self.objective.evaluate(self.x, self.gradient, self.constraints, self.jacobian)

    def set_captured(self, function: int, position: int, tensor: tf.Tensor) -> None:
        """Pass values (0) or derivatives (1) this tensor from now on."""
        assert isinstance(self.objective, _native.ConstrainedXlaExecutable)
        self.objective.set_captured(function, position, tensor)

    def _bound(self, function: TracedFunction) -> _native.XlaCall | _native.FunctionCall:
        call, inputs = function.call, self.inputs(function)
        if isinstance(call, MachineCode):
            return _native.XlaCall(call.program, inputs)
        return _native.FunctionCall(call.name, inputs, **call_options(call))
