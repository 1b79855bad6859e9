"""Workspace: the memory of one solve at a time, and the function bound to it."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize import _tensorflow
from tfminimize.binding import _native
from tfminimize.packing import Segment
from tfminimize.tracing import Trace
from tfminimize.unknowns import Unknowns

__all__ = ["Workspace"]

Array = NDArray[Any]


class Workspace:
    """The packed x and gradient, and an objective that evaluates a trace on them in place.

    In variable use the trace reads *scratch variables*: resources whose buffer is a segment of x itself, so that moving
    x moves them, and the user's variables are not touched. It serves one solve at a time and is made for many.

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
        self._first_argument = 0 if unknowns.variables else len(layout.segments)
        self._tensors = list(tensors)
        components, scratch = [], {}
        for i, segment in enumerate(layout.segments):
            staging = None
            if unknowns.variables:
                if segment.dtype == "float32":
                    staging = _native.aligned_zeros(segment.size, "float32")
                buffer = self.x[segment.packed] if staging is None else staging
                scratch[id(unknowns.variables[i].handle)] = _scratch_variable(self, buffer, segment)
            components.append(_native.Component(segment.offset, segment.shape, segment.dtype, staging))
        call = trace.call
        captured = [scratch.get(id(tensor), tensor) for tensor in call.captured_inputs]
        self.objective = _native.ConcreteFunction(
            _tensorflow.context_capsule(),
            call.name,
            [*range(self._first_argument), *tensors, *captured],
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

    def set_arguments(self, tensors: Sequence[tf.Tensor]) -> None:
        """Pass these tensors of ``args`` from now on."""
        for i, tensor in enumerate(tensors):
            if tensor is not self._tensors[i]:
                self.objective.set_input(self._first_argument + i, tensor)
                self._tensors[i] = tensor


def _scratch_variable(owner: Workspace, buffer: Array, segment: Segment) -> tf.Tensor:
    """The handle of a new resource whose value is the buffer's memory itself, kept until the owner dies.

    A raw resource, not a `tf.Variable`: no creator scope, distribution strategy, tape or collection of the user's
    sees it.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        tensor = tf.experimental.dlpack.from_dlpack(buffer.reshape(segment.shape).__dlpack__())
        handle = tf.raw_ops.VarHandleOp(
            dtype=segment.dtype, shape=segment.shape, shared_name=f"tfminimize_scratch_{uuid.uuid4().hex}"
        )
        tf.raw_ops.AssignVariableOp(resource=handle, value=tensor)
    weakref.finalize(owner, _destroy, handle).atexit = False
    if not _is_shared(handle, buffer, segment):
        raise RuntimeError(
            f"TensorFlow {tf.__version__} copied the memory given for {segment.name} instead of sharing it: "
            "please report this with the output of `python -m tfminimize info`."
        )
    return handle


def _destroy(handle: tf.Tensor) -> None:
    with tf.init_scope():
        tf.raw_ops.DestroyResourceOp(resource=handle)


def _is_shared(handle: tf.Tensor, buffer: Array, segment: Segment) -> bool:
    if not buffer.size:
        return True
    for mark in (1.0, 0.0):
        buffer[-1] = mark
        value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=segment.dtype).numpy()
        if np.asarray(value).ravel()[-1] != mark:
            return False
    return True
