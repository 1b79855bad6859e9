"""Workspace: the memory of one solve at a time, and the functions bound to it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.layout import Segment
from tfminimize._problem.parameters import Unknowns
from tfminimize._tf import dispatch, private
from tfminimize._tf.binding import _native
from tfminimize._tf.xla import MachineCode
from tfminimize._trace.stand_ins import destroy, scratch_handle
from tfminimize._trace.trace import Trace, TracedFunction

__all__ = ["Memory", "Workspace", "call_options"]

Array = NDArray[Any]


class Memory:
    """The packed x and gradient, and what TensorFlow reads of them.

    In variable use TensorFlow's functions read *scratch variables* in place of the user's, which are not touched:
    resources whose buffer is a segment of x itself, so that moving x moves them; or, where that cannot be (see
    `stand_ins`), resources that the functions assign before they read them. Machine code reads x itself, and of other
    variables the values that they had when the solve began.

    Attributes
    ----------
    backend : Backend
    x, gradient : ndarray, shape (packed_size,)
        64-byte aligned.
    components : list of _native.Component
    precision : float
        The rounding unit of the functions' values.
    objective : object
        What evaluates the functions; subclasses make it.
    kept_solver : object
        What `native_solve` keeps for the next solve.
    is_checked : bool
        Whether its scratch variables still shared the memory of x after an evaluation.
    """

    objective: Any

    def __init__(
        self,
        functions: Sequence[TracedFunction],
        trace: Trace,
        unknowns: Unknowns,
        tensors: Sequence[tf.Tensor],
    ) -> None:
        self.backend = backend = trace.backend
        self.precision = float(np.finfo(trace.dtype).eps)
        self.layout = layout = unknowns.layout
        self.x: Array = _native.aligned_zeros(layout.packed_size)
        self.gradient: Array = _native.aligned_zeros(layout.packed_size)
        self.components: list[_native.Component] = []
        self._views = layout.views(self.x)
        self.kept_solver: Any = None
        self.is_checked = False
        self._functions = functions
        self._tensors = list(tensors)
        self._scratch: dict[int, tf.Tensor] = {}
        self._shared: list[tuple[tf.Tensor, Array, Segment]] = []
        for i, segment in enumerate(layout.segments):
            staging = None
            if unknowns.variables and backend.name == "tfe":
                device = unknowns.variables[i].device
                self._scratch[i] = scratch_handle(device, segment)
                weakref.finalize(self, destroy, self._scratch[i]).atexit = False
                if i not in backend.by_value:
                    if segment.dtype == "float32":
                        staging = _native.aligned_zeros(segment.size, "float32")
                    buffer = self.x[segment.packed] if staging is None else staging
                    self._shared.append((self._scratch[i], buffer, segment))
            self.components.append(_native.Component(segment.offset, segment.shape, segment.dtype, staging))
        for handle, buffer, segment in self._shared:
            _share(handle, buffer, segment)
        self.check_sharing()

    @property
    def size(self) -> int:
        """How many doubles it holds, machine code and the kept solver apart."""
        return 2 * self.x.size

    def inputs(self, function: TracedFunction) -> list[Any]:
        """What a traced function is called with: indices of components, and tensors."""
        captured = [self._input(tensor, function.handles.get(id(tensor))) for tensor in function.captured_inputs]
        return [*self.backend.by_value, *self._tensors, *captured]

    def set_arguments(self, tensors: Sequence[tf.Tensor]) -> None:
        """Pass these tensors of ``args`` from now on, and machine code the present values of variables."""
        for i, tensor in enumerate(tensors):
            if tensor is not self._tensors[i]:
                self.objective.set_input(self.position(i), tensor)
                self._tensors[i] = tensor
        if self.backend.name == "xla":
            for i, function in enumerate(self._functions):
                for position, captured in enumerate(function.captured_inputs, self.position(len(tensors))):
                    if captured.dtype == tf.resource and id(captured) not in function.handles:
                        self.set_captured(i, position, private.resource_value(captured))

    def evaluate(self) -> float:
        """Evaluate the functions and their derivatives at x."""
        raise NotImplementedError

    def set_captured(self, function: int, position: int, tensor: tf.Tensor) -> None:
        """Pass one of the functions this tensor from now on."""
        raise NotImplementedError

    def position(self, index: int) -> int:
        """Where a tensor of ``args`` is among the inputs of the functions."""
        return len(self.backend.by_value) + index

    def _input(self, captured: tf.Tensor, component: int | None) -> Any:
        """What takes the place of a captured tensor."""
        if self.backend.name == "tfe":
            return captured if component is None else self._scratch.get(component, captured)
        if component is not None:
            return component
        return private.resource_value(captured) if captured.dtype == tf.resource else captured

    def start(self, values: Sequence[Array]) -> None:
        """Put a start into x, one array for each component."""
        for view, value in zip(self._views, values, strict=True):
            view[...] = value

    def check_sharing_once(self) -> None:
        """Do `check_sharing` after the first evaluation; later ones do the same to the variables."""
        if not self.is_checked:
            self.check_sharing()
            self.is_checked = True

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


class Workspace(Memory):
    """An objective that evaluates a trace of loss and gradient in place. It serves one solve at a time, and many.

    Attributes
    ----------
    objective : _native.XlaExecutable or _native.ConcreteFunction
    """

    objective: _native.XlaExecutable | _native.ConcreteFunction

    def __init__(self, trace: Trace, unknowns: Unknowns, tensors: Sequence[tf.Tensor]) -> None:
        (function,) = trace.functions
        super().__init__([function], trace, unknowns, tensors)
        context, inputs = private.context_capsule(), self.inputs(function)
        call, dtype = function.call, trace.loss_dtype
        if isinstance(call, MachineCode):
            bound = _native.XlaCall(call.program, inputs)
            self.objective = _native.XlaExecutable(context, bound, self.components, loss_dtype=dtype)
        else:
            self.objective = _native.ConcreteFunction(
                context, call.name, inputs, self.components, loss_dtype=dtype, **call_options(call)
            )

    def evaluate(self) -> float:
        """Evaluate the loss and its gradient at x."""
        return self.objective.evaluate(self.x, self.gradient)

    def set_captured(self, function: int, position: int, tensor: tf.Tensor) -> None:
        """Pass the function this tensor from now on."""
        self.objective.set_input(position, tensor)


def call_options(call: dispatch.Dispatchable) -> dict[str, Any]:
    """How a function is called, as `_native.ConcreteFunction` and `_native.FunctionCall` take it."""
    names = "dispatch", "config_proto", "executor_type", "device", "optimized", "repeatable", "keeps_inputs"
    return {name: getattr(call, name) for name in (*names, "make_error")}


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
