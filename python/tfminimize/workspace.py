"""Workspace: the memory of one solve at a time, and the function bound to it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize import _tensorflow
from tfminimize.binding import _native
from tfminimize.packing import Segment
from tfminimize.tracing import Trace, scratch_handle
from tfminimize.unknowns import Unknowns

__all__ = ["Workspace"]

Array = NDArray[Any]


class Workspace:
    """The packed x and gradient, and an objective that evaluates a trace on them in place.

    In variable use the trace reads *scratch variables* in place of the user's, which are not touched: resources whose
    buffer is a segment of x itself, so that moving x moves them; or, where that cannot be (see `Trace`), resources that
    the trace assigns before it reads them. It serves one solve at a time and is made for many.

    Attributes
    ----------
    x, gradient : ndarray, shape (packed_size,)
        64-byte aligned.
    objective : _native.ConcreteFunction
    """

    def __init__(self, trace: Trace, unknowns: Unknowns, tensors: Sequence[tf.Tensor]) -> None:
        self.layout = layout = unknowns.layout
        self.x: Array = _native.aligned_zeros(layout.packed_size)
        self.gradient: Array = _native.aligned_zeros(layout.packed_size)
        self._views = layout.views(self.x)
        self._first_argument = len(trace.by_value)
        self._tensors = list(tensors)
        self._shared: list[tuple[tf.Tensor, Array, Segment]] = []
        components, scratch = [], {}
        for i, segment in enumerate(layout.segments):
            staging = None
            if unknowns.variables:
                device = unknowns.variables[i].device
                scratch[i] = scratch_handle(device, segment)
                weakref.finalize(self, _destroy, scratch[i]).atexit = False
                if i not in trace.by_value:
                    if segment.dtype == "float32":
                        staging = _native.aligned_zeros(segment.size, "float32")
                    buffer = self.x[segment.packed] if staging is None else staging
                    self._shared.append((scratch[i], buffer, segment))
            components.append(_native.Component(segment.offset, segment.shape, segment.dtype, staging))
        for handle, buffer, segment in self._shared:
            _share(handle, buffer, segment)
        self.check_sharing()
        call = trace.call
        captured = [scratch.get(trace.handles.get(id(tensor), -1), tensor) for tensor in call.captured_inputs]
        self.objective = _native.ConcreteFunction(
            _tensorflow.context_capsule(),
            call.name,
            [*trace.by_value, *tensors, *captured],
            components,
            dispatch=call.dispatch,
            config_proto=call.config_proto,
            executor_type=call.executor_type,
            device=call.device,
            loss_dtype=call.loss_dtype,
            optimized=call.optimized,
            repeatable=call.repeatable,
            make_error=call.make_error,
        )

    def start(self, values: Sequence[Array]) -> None:
        """Put a start into x, one array for each component."""
        for view, value in zip(self._views, values, strict=True):
            view[...] = value

    def check_sharing(self) -> None:
        """Raise RuntimeError unless every scratch variable still has its value in the memory of x.

        TensorFlow does not promise it: some operations move a variable to memory of its own.
        """
        for handle, buffer, segment in self._shared:
            if segment.size and not _is_shared(handle, buffer, segment):
                raise RuntimeError(
                    f"TensorFlow {tf.__version__} has copied the memory given for {segment.name} instead of sharing "
                    "it: please report this with the loss and the output of `python -m tfminimize info`."
                )

    def set_arguments(self, tensors: Sequence[tf.Tensor]) -> None:
        """Pass these tensors of ``args`` from now on."""
        for i, tensor in enumerate(tensors):
            if tensor is not self._tensors[i]:
                self.objective.set_input(self._first_argument + i, tensor)
                self._tensors[i] = tensor


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


def _destroy(handle: tf.Tensor) -> None:
    with tf.init_scope():
        tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)
