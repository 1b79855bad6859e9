"""Compiles functions with XLA so that the solver can call them without TensorFlow, and says why when it cannot."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._tf import binding, private
from tfminimize._tf.effects import CHECKS, is_read_only

__all__ = [
    "COMPILED",
    "CompiledProgram",
    "NotCompilable",
    "NotCompiled",
    "check_alike",
    "compile_functions",
    "is_required",
    "tried",
]

COMPILED = "XLA compiled the function to machine code"
"""The reason if XLA compiled it."""


class NotCompiled(Exception):
    """Says why a function runs in TensorFlow, although XLA can compile it."""


class NotCompilable(Exception):
    """Says why XLA cannot compile a function, not even when TensorFlow calls it."""


_is_tried = contextvars.ContextVar("_is_tried", default=False)


@contextlib.contextmanager
def tried() -> Iterator[None]:
    """A context for tracing functions that run in TensorFlow if XLA cannot compile them."""
    token = _is_tried.set(True)
    try:
        yield
    finally:
        _is_tried.reset(token)


def is_required() -> bool:
    """Whether the function that is being traced fails if XLA cannot compile it."""
    return private.is_for_xla() and not _is_tried.get()


Sizes = list[tuple[tf.Tensor, NDArray[Any]]]
"""Handles of variables that XLA must know, as shapes or axes, with their values."""


class CompiledProgram(NamedTuple):
    """A function that XLA has compiled."""

    program: Any
    """The capsule for `_native.XlaCall`. Its parameters are the arguments of the function and then..."""
    captured_inputs: list[tf.Tensor]
    """...the tensors that it captures, except constants. For a variable it takes the value."""
    sizes: Sizes
    """The program is for these values only."""

    def is_current(self) -> bool:
        """Whether the variables still have these values."""
        return all(np.array_equal(private.resource_value(handle), value) for handle, value in self.sizes)


def compile_functions(functions: Sequence[Any], rows: int | None = None) -> list[CompiledProgram]:
    """Compile concrete functions for this processor.

    Parameters
    ----------
    functions : sequence of ConcreteFunction
        Traced with ``jit_compile=True``.
    rows : int, optional
        The size of the dimensions that are None in the trace.

    Raises
    ------
    NotCompiled, NotCompilable
        With a sentence that gives the reason.
    """
    try:
        for function in functions:
            _check_resources(function)
        xla = binding.xla()
    except (ImportError, NotCompiled) as error:
        for function in functions:
            _check_with_tensorflow(function, rows)
        raise NotCompiled(str(error)) from error
    libraries = [_library(function) for function in functions]
    known: dict[int, NDArray[Any]] = {}
    lowered = [_lowered(*pair, xla, rows, known) for pair in zip(functions, libraries, strict=True)]
    for function, library in zip(functions, libraries, strict=True):
        _check_effects(function, library, xla)
        _check_devices(function)
    try:
        programs = [xla.compile(module) for module, _ in lowered]
    except RuntimeError as error:
        for function in functions:
            _check_with_tensorflow(function, rows, to_the_end=True)
        raise NotCompiled(_refusal(error)) from error
    captured = [[t for t in function.captured_inputs if not _is_size(t)] for function in functions]
    sizes = [of_program for _, of_program in lowered]
    return [CompiledProgram(*one) for one in zip(programs, captured, sizes, strict=True)]


def _library(concrete: Any) -> bytes:
    """The function and those that it calls."""
    library = concrete.graph.as_graph_def().library
    library.function.append(concrete.function_def)
    serialized: bytes = library.SerializeToString()
    return serialized


def _lowered(
    concrete: Any, library: bytes, xla: Any, rows: int | None, known: dict[int, NDArray[Any]]
) -> tuple[bytes, Sizes]:
    """The function as a program of XLA, and the `sizes` for which it is one.

    ``known`` keeps the value of each variable by the id of its handle, so that functions of one solve have the same.
    """
    num_arguments = len(concrete.inputs) - len(concrete.captured_inputs)
    inputs = [*concrete.inputs[:num_arguments], *concrete.captured_inputs]

    def lowered(sizes: Sizes) -> bytes:
        values = {id(handle): value for handle, value in sizes}
        arguments = [_argument(tensor, xla, rows, values.get(id(tensor))) for tensor in inputs]
        module: bytes = xla.lower(concrete.name.decode(), library, arguments)
        return module

    try:
        return lowered([]), []
    except RuntimeError as error:
        handles = [tensor for tensor in concrete.captured_inputs if _may_be_size(tensor)]
        known.update((id(one), private.resource_value(one).numpy()) for one in handles if id(one) not in known)
        sizes = [(one, known[id(one)]) for one in handles]
        if sizes:
            with contextlib.suppress(RuntimeError):  # the first message names the operation as the user wrote it
                return _for_fewest(lowered, sizes)
        raise NotCompilable(_refusal(error)) from error


def _for_fewest(lowered: Callable[[Sizes], bytes], sizes: Sizes) -> tuple[bytes, Sizes]:
    """The program that knows only what XLA must know of these; the others stay inputs, and may have new values."""
    module, needed = lowered(sizes), sizes
    for one in sizes:
        fewer = [other for other in needed if other is not one]
        if fewer:
            with contextlib.suppress(RuntimeError):
                module, needed = lowered(fewer), fewer
    return module, needed


def _argument(tensor: Any, xla: Any, rows: int | None, value: NDArray[Any] | None) -> Any:
    """The description of a function's input for XLA; ``value`` is that of a variable, if XLA must know it."""
    if tensor.dtype == tf.resource:
        dtype, shape = private.variable_type(tensor)
        constant = b"" if value is None else tf.make_tensor_proto(value).SerializeToString()
        return xla.Argument(dtype.as_datatype_enum, shape.as_list(), is_variable=True, constant=constant)
    constant = tf.make_tensor_proto(tensor).SerializeToString() if _is_size(tensor) else b""
    shape = [rows if extent is None else extent for extent in tensor.shape]
    return xla.Argument(tensor.dtype.as_datatype_enum, shape, constant=constant)


def _is_size(tensor: Any) -> bool:
    """Whether a captured constant may be a shape, an axis or paddings, which XLA needs as constants."""
    return not tf.is_symbolic_tensor(tensor) and _can_hold_sizes(tensor.dtype, tensor.shape)


def _may_be_size(tensor: Any) -> bool:
    """Whether a captured input is a variable that may be one, as the number of data is one in models of GPflow."""
    return tensor.dtype == tf.resource and _can_hold_sizes(*private.variable_type(tensor))


def _can_hold_sizes(dtype: tf.DType, shape: tf.TensorShape) -> bool:
    return dtype in (tf.int32, tf.int64) and shape.num_elements() < 100


def _check_with_tensorflow(concrete: Any, rows: int | None, *, to_the_end: bool = False) -> None:
    try:
        private.check_compilable(concrete, rows, to_the_end=to_the_end)
    except (ValueError, tf.errors.OpError) as error:
        raise NotCompilable(_refusal(error)) from error


def _check_resources(concrete: Any) -> None:
    """Refuse resources other than variables: XLA has no others, and machine code takes the values of variables."""
    variables = _variables(concrete)
    if len(variables) != sum(t.dtype == tf.resource for t in concrete.captured_inputs):
        raise NotCompilable("XLA cannot compile it: the function uses a table, a queue or another such resource")
    for variable in variables:
        if not variable.shape.is_fully_defined():
            raise NotCompiled(f"the function uses variable '{variable.name}', which has no static shape")


def _variables(concrete: Any) -> list[tf.Variable]:
    handles = {id(t) for t in concrete.captured_inputs}
    return [v for v in concrete.graph.variables if id(v.handle) in handles]


def _check_effects(concrete: Any, library: bytes, xla: Any) -> None:
    """Refuse side effects: the solver runs machine code any number of times, and in several threads."""
    _check_writes(concrete)
    try:
        xla.check_state(library)
    except RuntimeError as error:
        raise NotCompiled(str(error)) from error


def _check_writes(concrete: Any) -> None:
    for variable in _variables(concrete):
        if not is_read_only(concrete.graph, variable.handle):
            raise NotCompiled(f"the function writes to variable '{variable.name}'")


def check_alike(concrete: Any) -> None:
    """Refuse a function that does something else, or fails in another way, if XLA compiles it.

    Without machine code, it does not look for random numbers: if XLA draws others, its results do not agree with those
    of the graph, and are not used.

    Raises
    ------
    NotCompiled
        With a sentence that gives the reason.
    """
    try:
        xla = binding.xla()
    except ImportError:
        _check_writes(concrete)
    else:
        _check_effects(concrete, _library(concrete), xla)
    for node in private.operations(concrete):
        if node.op in CHECKS:
            raise NotCompiled(f"XLA would leave out the check '{node.name}' ({node.op})")


def _check_devices(concrete: Any) -> None:
    handles = [t for t in concrete.captured_inputs if t.dtype == tf.resource]
    for device in (private.function_device(), *(handle.device for handle in handles)):
        spec = tf.DeviceSpec.from_string(device)
        if (spec.device_type, spec.device_index) != ("CPU", 0):
            raise NotCompiled(f"the function runs on device {spec.device_type}:{spec.device_index}")


def _refusal(error: Exception) -> str:
    """A sentence with XLA's message, without the text that TensorFlow adds."""
    text = str(error).removeprefix("Failed getting HLO text: '").strip()
    line = text.splitlines()[0].rstrip("'") if text else type(error).__name__
    return f"XLA cannot compile it: {line if len(line) <= 300 else f'{line[:297]}...'}"
