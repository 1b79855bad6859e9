"""Machine code: what XLA makes of a function for the solver to call without TensorFlow, and why of others it does not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize import _tensorflow, binding

__all__ = ["COMPILED", "MachineCode", "NotCompilable", "NotCompiled", "compile_functions"]

COMPILED = "XLA compiled the function to machine code"
"""The reason where it did."""


class NotCompiled(Exception):
    """Says why a function runs in TensorFlow, although XLA can compile it."""


class NotCompilable(Exception):
    """Says why XLA cannot compile a function, for TensorFlow neither."""


class MachineCode(NamedTuple):
    """A function as XLA has compiled it."""

    program: Any
    """The capsule for `_native.XlaCall`: one parameter for each input, in which a variable is given by its value."""
    concrete: Any
    """The concrete function that it was made of."""


def compile_functions(functions: Sequence[Any]) -> list[MachineCode]:
    """Compile concrete functions for this processor.

    Parameters
    ----------
    functions : sequence of ConcreteFunction
        Traced with ``jit_compile=True``.

    Raises
    ------
    NotCompiled, NotCompilable
        With a sentence that says why not.
    """
    modules = [_module(function) for function in functions]
    for concrete, _ in modules:
        _check_effects(concrete)
        _check_devices(concrete)
    try:
        xla = binding.xla()
    except ImportError as error:
        raise NotCompiled(str(error)) from error
    try:
        return [MachineCode(xla.compile(module), concrete) for concrete, module in modules]
    except RuntimeError as error:
        raise NotCompiled(f"XLA cannot compile it for use without TensorFlow: {_first_line(error)}") from error


def _module(concrete: Any) -> tuple[Any, bytes]:
    """The function and its program for XLA, which may need the values of some of the captured tensors."""
    try:
        return concrete, _tensorflow.hlo(concrete)
    except (ValueError, tf.errors.OpError) as error:
        try:
            with_sizes = _with_sizes(concrete)
            return with_sizes, _tensorflow.hlo(with_sizes)
        except (ValueError, tf.errors.OpError):
            raise NotCompilable(f"XLA cannot compile it: {_first_line(error)}") from error


def _with_sizes(concrete: Any) -> Any:
    """The function with constants for captured tensors that may be shapes or axes; they never change."""

    def call(*inputs: tf.Tensor) -> Any:
        captured = [tf.constant(t.numpy()) if _is_size(t) else t for t in concrete.captured_inputs]
        outputs = [tensor.dtype for tensor in concrete.outputs]
        return tf.raw_ops.StatefulPartitionedCall(args=[*inputs, *captured], Tout=outputs, f=concrete)

    specs = tf.nest.flatten(concrete.structured_input_signature)
    return tf.function(call, autograph=False, jit_compile=True).get_concrete_function(*specs)


def _is_size(tensor: tf.Tensor) -> bool:
    return tensor.dtype in (tf.int32, tf.int64) and tensor.shape.rank <= 1 and tensor.shape.num_elements() < 100


def _check_effects(concrete: Any) -> None:
    """Machine code must only compute: it runs as often as the solver likes, and in several threads."""
    for captured in concrete.captured_inputs:
        if captured.dtype == tf.resource and not _tensorflow.is_read_only(concrete.graph, captured):
            names = [f"variable '{v.name}'" for v in concrete.graph.variables if v.handle is captured]
            raise NotCompiled(f"the function writes to {names[0] if names else 'a resource'}")
    graph = concrete.graph.as_graph_def()
    for node in itertools.chain(graph.node, *(f.node_def for f in graph.library.function)):
        if _keeps_state(node.op):
            raise NotCompiled(f"operation '{node.name}' ({node.op}) of the function keeps a state of its own")


_STATELESS = {
    "Assert",
    "Case",
    "CheckNumerics",
    "CheckNumericsV2",
    "If",
    "Placeholder",
    "StatefulPartitionedCall",
    "While",
}
"""Operations that count as stateful, and only call functions or check something, which XLA leaves out."""


def _keeps_state(op: str) -> bool:
    """Whether an operation keeps a state other than that of a resource that it gets, as random numbers do."""
    definition = _tensorflow.op_def(op)
    if definition is None or not definition.is_stateful or op in _STATELESS:
        return False
    return all(argument.type != tf.resource.as_datatype_enum for argument in definition.input_arg)


def _check_devices(concrete: Any) -> None:
    handles = [t for t in concrete.captured_inputs if t.dtype == tf.resource]
    for device in (_tensorflow.function_device(), *(handle.device for handle in handles)):
        spec = tf.DeviceSpec.from_string(device)
        if (spec.device_type, spec.device_index) != ("CPU", 0):
            raise NotCompiled(f"the function runs on device {spec.device_type}:{spec.device_index}")


def _first_line(error: Exception) -> str:
    """What XLA says, without what TensorFlow puts around it."""
    text = str(error).removeprefix("Failed getting HLO text: '").strip()
    line = text.splitlines()[0].rstrip("'") if text else type(error).__name__
    return line if len(line) <= 300 else f"{line[:297]}..."
