"""BoundTrace: the functions of a trace, bound to the memory of a workspace."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.layout import Segment
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.inputs import Inputs
from tfminimize._tf import private
from tfminimize._tf.binding import _native
from tfminimize._trace.stand_ins import destroy, scratch_handle
from tfminimize._trace.trace import Backend, Trace

__all__ = ["BoundTrace"]

Array = NDArray[Any]


class BoundTrace:
    """An objective that evaluates a trace in the memory of a workspace.

    In variable use TensorFlow's functions read *scratch variables* and never touch the user's. The buffer of a scratch
    variable is a segment of x itself, so it moves with x; if that is impossible (see `stand_ins`), the functions assign
    to it before they read it. Machine code reads x itself, and takes the values that other variables had when the solve
    began.

    Parameters
    ----------
    trace : Trace
    parameters : Parameters
    x : ndarray, shape (packed_size,)
        64-byte aligned.
    tensors : sequence of tf.Tensor
        The arguments.
    use_thread_pool : bool
        Whether large machine code runs in several threads.

    Attributes
    ----------
    backend : Backend
    objective : _native.FunctionObjective or _native.DataSum
    """

    def __init__(
        self,
        trace: Trace,
        parameters: Parameters,
        x: Array,
        tensors: Sequence[tf.Tensor | Array],
        use_thread_pool: bool = True,
    ) -> None:
        self.backend = backend = trace.backend
        self._batches = trace.batches
        scratch: dict[int, tf.Tensor] = {}
        self._shared: list[tuple[tf.Tensor, Array, Segment]] = []
        components = []
        for i, segment in enumerate(parameters.layout.segments):
            staging = None
            if parameters.variables and backend.name == "tfe":
                device = parameters.variables[i].device
                scratch[i] = scratch_handle(device, segment)
                weakref.finalize(self, destroy, scratch[i]).atexit = False
                if i not in backend.by_value:
                    if segment.dtype == "float32":
                        staging = _native.aligned_zeros(segment.size, "float32")
                    buffer = x[segment.packed] if staging is None else staging
                    self._shared.append((scratch[i], buffer, segment))
            components.append(_native.Component(segment.offset, segment.shape, segment.dtype, staging))
        for handle, buffer, segment in self._shared:
            _share(handle, buffer, segment)
        num_own = 0 if trace.batches is None else trace.batches.num_tensors
        self._inputs = Inputs(backend, trace.functions, tensors, range(num_own), scratch, use_thread_pool)
        self.objective = self._objective(trace, components, tensors)
        self.objective.ends_at_deadline = trace.has_loop

    def present_backend(self) -> Backend:
        """How the functions are evaluated, and how many threads call those of a batch now."""
        if self._batches is None:
            return self.backend
        count = self.objective.num_threads  # type: ignore[union-attr]
        return self.backend._replace(reason=f"{self.backend.reason} in {count} thread{'s' if count > 1 else ''}")

    def _objective(
        self, trace: Trace, components: Sequence[_native.Component], tensors: Sequence[tf.Tensor | Array]
    ) -> _native.FunctionObjective | _native.DataSum:
        calls = self._inputs.calls()
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
            data=tensors[: batches.num_tensors],
            rows=batches.rows,
            batch_size=batches.size,
            is_mean=batches.is_mean,
            num_sums=trace.num_sums,
        )

    def set_arguments(self, data: Sequence[tf.Tensor | Array]) -> None:
        """From now on, pass these data of ``args``; see `Inputs.update`."""
        self._inputs.update(self.objective, data)

    def position(self, index: int) -> int:
        """The position of a tensor of ``args`` among the inputs of the functions."""
        return self._inputs.position(index)

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
