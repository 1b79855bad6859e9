"""What the functions of a trace are called with besides x: tensors of ``args``, and captured ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._tf import private
from tfminimize._tf.binding import _native
from tfminimize._tf.xla import CompiledProgram
from tfminimize._trace.trace import Backend, TracedFunction

__all__ = ["Inputs"]


class Inputs:
    """What the functions of a trace are called with besides x: tensors of ``args``, and captured ones.

    Parameters
    ----------
    backend : Backend
    functions : sequence of TracedFunction
    tensors : sequence of tf.Tensor
        The data among the ``args`` of the loss and the constraints.
    open_places : iterable of int
        The places among these that the objective fills itself.
    scratch : mapping of int to tf.Tensor
        The handle that replaces a captured variable, by the index of its component of x.
    use_thread_pool : bool
        Whether large machine code runs in several threads.
    """

    def __init__(
        self,
        backend: Backend,
        functions: Sequence[TracedFunction],
        tensors: Sequence[tf.Tensor | NDArray[Any]],
        open_places: Iterable[int] = (),
        scratch: Mapping[int, tf.Tensor] | None = None,
        use_thread_pool: bool = True,
    ) -> None:
        self.backend = backend
        self._functions = functions
        self._open = frozenset(open_places)
        is_machine_code = backend.name == "xla"
        self._tensors: list[Any] = [t if is_machine_code else tf.convert_to_tensor(t) for t in tensors]
        self._use_thread_pool = use_thread_pool
        self._scratch = scratch or {}

    def calls(self) -> list[_native.Call]:
        """Each function with its inputs: indices of components, and tensors; None for an open place."""
        return [self._call(function) for function in self._functions]

    def position(self, index: int) -> int:
        """The position of a tensor of ``args`` among the inputs of the functions."""
        return len(self.backend.by_value) + index

    def update(self, objective: Any, data: Sequence[tf.Tensor | NDArray[Any] | None]) -> None:
        """From now on, pass these data of ``args``; machine code also gets the present values of variables.

        None stands for data that stay as they are.
        """
        is_machine_code = self.backend.name == "xla"
        for i, value in enumerate(data):
            if isinstance(value, np.ndarray):  # its elements may be others than last time
                objective.set_input(self.position(i), value if is_machine_code else tf.constant(value))
                self._tensors[i] = None
            elif value is not None and value is not self._tensors[i]:
                objective.set_input(self.position(i), value)
                self._tensors[i] = value
        if is_machine_code:
            for i, function in enumerate(self._functions):
                for position, captured in enumerate(function.captured_inputs, self.position(len(data))):
                    if captured.dtype == tf.resource and id(captured) not in function.handles:
                        objective.set_input(position, private.resource_value(captured), i)

    def _call(self, function: TracedFunction) -> _native.Call:
        """A traced function with its inputs: indices of components, and tensors."""
        captured = [self._input(tensor, function.handles.get(id(tensor))) for tensor in function.captured_inputs]
        tensors = [None if i in self._open else tensor for i, tensor in enumerate(self._tensors)]
        inputs = [*self.backend.by_value, *tensors, *captured]
        call = function.call
        if isinstance(call, CompiledProgram):
            return _native.XlaCall(call.program, inputs, self._use_thread_pool)
        names = "dispatch", "config_proto", "executor_type", "device", "optimized", "repeatable", "keeps_inputs"
        options = {name: getattr(call, name) for name in (*names, "make_error")}
        return _native.FunctionCall(call.name, inputs, **options)

    def _input(self, captured: tf.Tensor, component: int | None) -> Any:
        """The input to pass for a captured tensor."""
        if self.backend.name == "tfe":
            return captured if component is None else self._scratch.get(component, captured)
        if component is not None:
            return component
        return private.resource_value(captured) if captured.dtype == tf.resource else captured
