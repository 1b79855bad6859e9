"""Workspace: the memory for one solve at a time, and the functions bound to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.constraints import Rows
from tfminimize._problem.layout import Segment
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import private
from tfminimize._tf.binding import _native
from tfminimize._tf.xla import CompiledProgram
from tfminimize._trace.stand_ins import destroy, scratch_handle
from tfminimize._trace.trace import Trace, TracedFunction

__all__ = ["Workspace"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]


class Workspace:
    """The memory for one solve at a time, and an objective that evaluates a trace in it.

    In variable use TensorFlow's functions read *scratch variables* and never touch the user's. The buffer of a scratch
    variable is a segment of x itself, so it moves with x; if that is impossible (see `stand_ins`), the functions assign
    to it before they read it. Machine code reads x itself, and takes the values that other variables had when the solve
    began.

    Attributes
    ----------
    backend : Backend
    x, gradient : ndarray, shape (packed_size,)
        64-byte aligned.
    constraints : ndarray, shape (m,), or None
        None until `set_rows`, like ``jacobian`` and ``offsets``.
    jacobian : ndarray, shape (m, stride)
        Each row is 64-byte aligned; the first ``packed_size`` columns are used.
    offsets : ndarray, shape (m,)
        The offsets of linear constraints; NaN for the others.
    num_equalities : int
    precision : float
        The rounding unit of the functions' values.
    objective : _native.FunctionObjective or _native.DataSum
    linear : (ndarray, Rows) or None
        A of the linear constraints, and all rows.
    kept_solver : object
        The solver that `native` keeps for the next solve.
    latest : weakref to a Source, or a function that returns None
        Of the state of the last solve.
    is_checked : bool
        Whether its scratch variables still shared the memory of x after an evaluation.
    has_sums : bool
        Whether the functions also return sums; see `with_sums`.
    """

    def __init__(self, trace: Trace, parameters: Parameters, tensors: Sequence[tf.Tensor]) -> None:
        self.backend = backend = trace.backend
        self.precision = float(np.finfo(trace.dtype).eps)
        self.layout = layout = parameters.layout
        self.x: Array = _native.aligned_zeros(layout.packed_size)
        self.gradient: Array = _native.aligned_zeros(layout.packed_size)
        self.constraints: Float64 | None = None
        self.jacobian: Float64 | None = None
        self.offsets: Float64 | None = None
        self.num_equalities = 0
        self._rows_key: Hashable = None
        self.linear: tuple[Float64, Rows] | None = None
        self._views = layout.views(self.x)
        self.kept_solver: Any = None
        self.latest: Callable[[], Any] = lambda: None
        self.is_checked = False
        self.has_sums = trace.num_sums > 0
        self._has_arrays = bool(trace.fetched)
        self._batches = trace.batches
        self._functions = trace.functions
        self._tensors = list(tensors)
        self._scratch: dict[int, tf.Tensor] = {}
        self._shared: list[tuple[tf.Tensor, Array, Segment]] = []
        components = []
        for i, segment in enumerate(layout.segments):
            staging = None
            if parameters.variables and backend.name == "tfe":
                device = parameters.variables[i].device
                self._scratch[i] = scratch_handle(device, segment)
                weakref.finalize(self, destroy, self._scratch[i]).atexit = False
                if i not in backend.by_value:
                    if segment.dtype == "float32":
                        staging = _native.aligned_zeros(segment.size, "float32")
                    buffer = self.x[segment.packed] if staging is None else staging
                    self._shared.append((self._scratch[i], buffer, segment))
            components.append(_native.Component(segment.offset, segment.shape, segment.dtype, staging))
        for handle, buffer, segment in self._shared:
            _share(handle, buffer, segment)
        self.check_sharing()
        self._bounds: tuple[Float64, Float64] | None = None
        self.objective = self._objective(trace, components)
        self.objective.ends_at_deadline = trace.has_loop
        self._calls_batches = trace.batches is not None

    @property
    def size(self) -> int:
        """How many doubles it holds, apart from machine code and the kept solver."""
        return 2 * self.x.size + (0 if self.jacobian is None else self.jacobian.size)

    @property
    def reason(self) -> str:
        """Why the functions run in this backend, and how many threads call those of a batch."""
        if not self._calls_batches:
            return self.backend.reason
        count = self.objective.num_threads  # type: ignore[union-attr]
        return f"{self.backend.reason} in {count} thread{'s' if count > 1 else ''}"

    @property
    def sums(self) -> Float64:
        """The sums of the last evaluation, a copy; empty unless the loss is one `with_sums`."""
        return self.objective.sums

    def fetched(self) -> list[Any]:
        """The tensors that the last evaluation has fetched, as a session would return them: arrays, NumPy scalars."""
        if not self._has_arrays:
            return []
        arrays = self.objective.arrays()  # type: ignore[union-attr]
        return [array if array.ndim else array[()] for array in arrays]

    def _objective(
        self, trace: Trace, components: Sequence[_native.Component]
    ) -> _native.FunctionObjective | _native.DataSum:
        calls = [self._call(function) for function in trace.functions]
        batches = trace.batches
        if batches is None:
            return _native.FunctionObjective(
                private.context_capsule(),
                calls,
                components,
                num_values=trace.num_values,
                num_sums=trace.num_sums,
                loss_dtype=trace.loss_dtype,
                values_dtype=trace.values_dtype,
                arrays=list(map(_array, trace.fetched)),
            )
        parts = batches.parts
        each = len(calls) // len(parts)
        by_part = [calls[i * each : (i + 1) * each] for i in range(len(parts))]
        return _native.DataSum(
            private.context_capsule(),
            batch=by_part[0],
            last=by_part[1] if batches.rows % batches.size else [],
            penalty=by_part[-1] if batches.has_penalty else [],
            components=components,
            data=self._tensors[: batches.num_tensors],
            rows=batches.rows,
            batch_size=batches.size,
            is_mean=batches.is_mean,
            num_sums=trace.num_sums,
        )

    def _call(self, function: TracedFunction) -> _native.Call:
        """A traced function with its inputs: indices of components, and tensors."""
        captured = [self._input(tensor, function.handles.get(id(tensor))) for tensor in function.captured_inputs]
        tensors: list[tf.Tensor | None] = list(self._tensors)
        if self._batches is not None:
            tensors[: self._batches.num_tensors] = [None] * self._batches.num_tensors
        inputs = [*self.backend.by_value, *tensors, *captured]
        call = function.call
        if isinstance(call, CompiledProgram):
            return _native.XlaCall(call.program, inputs)
        names = "dispatch", "config_proto", "executor_type", "device", "optimized", "repeatable", "keeps_inputs"
        options = {name: getattr(call, name) for name in (*names, "make_error")}
        return _native.FunctionCall(call.name, inputs, **options)

    def set_arguments(self, data: Sequence[tf.Tensor | Array]) -> None:
        """From now on, pass these data of ``args``; machine code also gets the present values of variables."""
        is_machine_code = self.backend.name == "xla"
        for i, value in enumerate(data):
            if isinstance(value, np.ndarray):  # its elements may be others than last time
                self.objective.set_input(self.position(i), value if is_machine_code else tf.constant(value))
                self._tensors[i] = None
            elif value is not self._tensors[i]:
                self.objective.set_input(self.position(i), value)
                self._tensors[i] = value
        if is_machine_code:
            for i, function in enumerate(self._functions):
                for position, captured in enumerate(function.captured_inputs, self.position(len(data))):
                    if captured.dtype == tf.resource and id(captured) not in function.handles:
                        self.objective.set_input(position, private.resource_value(captured), i)

    def evaluate(self) -> float:
        """Evaluate the functions and their derivatives at x."""
        return self.objective.evaluate(self.x, self.gradient, self.constraints, self.jacobian)

    def set_rows(self, rows: Rows, matrix: Float64) -> None:
        """From now on, evaluate these rows; ``matrix`` is A of all linear constraints."""
        if self.linear is not None and self.linear[0] is matrix and self.linear[1] is rows:
            return
        self.linear = None
        if self.jacobian is None or self.offsets is None or self._rows_key != rows.key:
            self._rows_key = None
            self.jacobian, self.offsets = self._make_room(rows)
            self._rows_key = rows.key
        linear = np.flatnonzero(rows.is_linear)
        signed = rows.sign[linear, None] * matrix[rows.source[linear] - rows.num_values]
        for s in self.layout.segments:
            self.jacobian[linear, s.packed] = signed[:, s.flat]
        self.offsets[linear] = rows.offset[linear]
        self.linear = matrix, rows

    def _make_room(self, rows: Rows) -> tuple[Float64, Float64]:
        """Let the functions evaluate the rows that are not linear; return a Jacobian and offsets for all rows."""
        self.constraints = _native.aligned_zeros(len(rows))
        self.num_equalities = rows.num_equalities
        places = np.flatnonzero(~rows.is_linear)
        columns = places.tolist(), rows.source[places].tolist(), rows.sign[places], rows.offset[places]
        self.objective.set_rows([_native.Row(*row) for row in zip(*columns, strict=True)])
        return _native.aligned_matrix(len(rows), self.layout.packed_size), np.full(len(rows), np.nan)

    def position(self, index: int) -> int:
        """The position of a tensor of ``args`` among the inputs of the functions."""
        return len(self.backend.by_value) + index

    def _input(self, captured: tf.Tensor, component: int | None) -> Any:
        """The input to pass for a captured tensor."""
        if self.backend.name == "tfe":
            return captured if component is None else self._scratch.get(component, captured)
        if component is not None:
            return component
        return private.resource_value(captured) if captured.dtype == tf.resource else captured

    def let_go(self) -> None:
        """Have the state of the last solve copied, if anybody may still ask for it."""
        source = self.latest()
        if source is not None:
            source.take()

    def start(self, values: Sequence[Array]) -> None:
        """Copy the start into x, one array for each component."""
        for view, value in zip(self._views, values, strict=True):
            view[...] = value

    def copied_bounds(self, low: Float64, high: Float64) -> tuple[Float64, Float64]:
        """The bounds in memory that stays the same, so that the kept solver can begin anew with them."""
        if self._bounds is None:
            self._bounds = np.empty_like(low), np.empty_like(high)
        for mine, given in zip(self._bounds, (low, high), strict=True):
            mine[...] = given
        return self._bounds

    def check_sharing_once(self) -> None:
        """Do `check_sharing` after the first evaluation; later ones treat the variables in the same way."""
        if not self.is_checked:
            self.check_sharing()
            self.is_checked = True

    def check_sharing(self) -> None:
        """Raise RuntimeError unless every scratch variable still shares the memory of x.

        TensorFlow does not promise this: some operations move a variable to new memory.
        """
        for handle, buffer, segment in self._shared:
            if segment.size and not _is_shared(handle, buffer, segment):
                raise RuntimeError(
                    f"TensorFlow {tf.__version__} has copied the memory given for {segment.name} instead of sharing "
                    "it: please report this with the loss and the output of `python -m tfminimize info`."
                )


def _array(spec: tf.TensorSpec) -> tuple[int, np.dtype[Any], list[int]]:
    """How the extension returns a fetched tensor. Machine code is made only if the shape is static."""
    shape = spec.shape.as_list() if spec.shape.is_fully_defined() else []
    return spec.dtype.as_datatype_enum, np.dtype(spec.dtype.as_numpy_dtype), shape


def _share(handle: tf.Tensor, buffer: Array, segment: Segment) -> None:
    """Make the buffer's memory the value of a resource."""
    with tf.init_scope(), tf.device("CPU:0"):
        tensor = tf.experimental.dlpack.from_dlpack(buffer.reshape(segment.shape).__dlpack__())
        tf.raw_ops.AssignVariableOp(resource=handle, value=tensor)


def _is_shared(handle: tf.Tensor, buffer: Array, segment: Segment) -> bool:
    kept = buffer[-1]
    try:
        for mark in (1.0, 0.0):
            buffer[-1] = mark
            value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=segment.dtype).numpy()
            if np.asarray(value).ravel()[-1] != mark:
                return False
        return True
    finally:
        buffer[-1] = kept
