"""The few names of `tensorflow.python` that are needed, and what they are needed for. No other module imports them."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

# Converts a plain function exactly as tf.function does; tf.autograph.to_graph converts one function, not what it calls.
from tensorflow.python.eager.polymorphic_function import autograph_util

# The eager context: the capsule that the C API takes, and the options that Python's own calls pass on.
from tensorflow.python.eager import context as eager_context

# Which resource inputs of a graph are only read, also by the functions that it calls.
from tensorflow.python.framework import auto_control_deps_utils

# The class of an error from its status code.
from tensorflow.python.framework import errors_impl

from tfminimize import _native

__all__ = [
    "Dispatchable",
    "autograph",
    "bind",
    "context_capsule",
    "dispatchable",
    "function_config",
    "is_read_only",
]


class Dispatchable(NamedTuple):
    """How to call a concrete function, as `_native.ConcreteFunction` takes it."""

    name: bytes
    dispatch: str
    config_proto: bytes
    executor_type: str
    device: str
    captured_inputs: list[Any]
    loss_dtype: str
    function: Any
    """What must stay alive as long as the function is called."""
    reason: str
    """Why it is called in this way."""


@functools.cache
def bind() -> None:
    """Find TensorFlow's functions in the TensorFlow that is imported.

    Raises
    ------
    ImportError
        If a symbol is missing.
    """
    folder = pathlib.Path(tf.__file__).parent
    try:
        _native.bind_tensorflow(
            str(folder / "libtensorflow_cc.so.2"),
            str(folder / "python" / "lib_pywrap_tensorflow_common.so"),
            _make_error,
        )
    except ImportError as error:
        raise ImportError(f"tfminimize cannot call TensorFlow {tf.__version__}: {error}") from None


def _make_error(code: int, message: str) -> Exception:
    try:
        error_class = errors_impl.exception_type_from_error_code(code)
    except KeyError:
        return errors_impl.UnknownError(None, None, message, code)
    error: Exception = error_class(None, None, message)
    return error


def context_capsule() -> Any:
    """TensorFlow's eager context, a capsule of the ``TFE_Context*``."""
    context = eager_context.context()
    context.ensure_initialized()
    return context._handle


def function_config() -> tuple[bytes, str, str]:
    """What Python's own calls of functions pass on in this thread: config_proto, executor_type and device."""
    context = eager_context.context()
    attributes = context.function_call_options.as_attrs()
    return attributes["config_proto"], attributes["executor_type"], context.device_name or ""


def autograph(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function as `tf.function` would trace it: Python's control flow on tensors becomes TensorFlow's."""
    converted: Callable[..., Any] = autograph_util.py_func_from_autograph(fun)
    return converted


def is_read_only(graph: Any, captured: Any) -> bool:
    """Whether a function's graph only reads a captured resource, itself and in every function that it calls.

    Parameters
    ----------
    graph : FuncGraph
    captured : tf.Tensor
        The handle of a variable. One that is not captured is only read.
    """
    read_only = set(auto_control_deps_utils.get_read_only_resource_input_indices_graph(graph))
    placeholders = {id(inner) for outer, inner in graph.captures if outer is captured}
    return all(i in read_only for i, t in enumerate(graph.inputs) if id(t) in placeholders)


def dispatchable(concrete: Any, jit_compile: bool | None) -> Dispatchable:
    """The best way to call a concrete function from C++.

    Parameters
    ----------
    concrete : ConcreteFunction
        Its first output is the loss.
    jit_compile : bool or None
        Whether XLA compiles it.
    """
    config_proto, executor_type, device = function_config()
    reason = "XLA compiles the whole function." if jit_compile else "called as Python calls it."
    return Dispatchable(
        name=concrete.name,
        dispatch="function",
        config_proto=config_proto,
        executor_type=executor_type,
        device=device,
        captured_inputs=list(concrete.captured_inputs),
        loss_dtype=concrete.outputs[0].dtype.name,
        function=concrete,
        reason=reason,
    )
