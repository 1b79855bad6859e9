"""The few names of `tensorflow.python` that we need, and why. No other module imports them."""

from __future__ import annotations

import contextlib
import dis
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.core.protobuf import tensorflow_server_pb2

from tfminimize._tf.binding import error_of_status
from tfminimize._tf.lazy import PrivateModule

__all__ = [
    "abort_collectives",
    "anonymous_name",
    "autograph",
    "captured",
    "check_compilable",
    "context_capsule",
    "copy_handle_data",
    "eagerly",
    "error_of",
    "function_config",
    "function_device",
    "function_of",
    "host_device",
    "is_differentiable",
    "is_marked_read_only",
    "is_tracing",
    "op_def",
    "operations",
    "record_gradient",
    "recording",
    "refuse_gradient",
    "resource_value",
    "start_collectives",
    "variable_accessed",
    "variable_type",
    "with_gradient",
    "without_gradient",
    "workers_of",
]

# Add the place in the user's code to an error; make a function from a graph.
atomic_function = PrivateModule(
    "tensorflow.python.eager.polymorphic_function.atomic_function", "InterpolateRuntimeError", "from_func_graph"
)
# Which resources a graph only reads, also in the functions that it calls.
auto_control_deps_utils = PrivateModule(
    "tensorflow.python.framework.auto_control_deps_utils",
    "READ_ONLY_RESOURCE_INPUTS_ATTR",
    "get_read_only_resource_input_indices_graph",
)
# Convert a plain function as tf.function does, inside of a wrapper that is traced without AutoGraph.
# (tf.autograph.to_graph does not convert what the function calls.)
autograph_api = PrivateModule("tensorflow.python.autograph.impl.api", "converted_call")
autograph_context = PrivateModule("tensorflow.python.autograph.core.ag_ctx", "ControlStatusCtx", "Status")
autograph_converter = PrivateModule("tensorflow.python.autograph.core.converter", "ConversionOptions")
# Whether AutoGraph finds the source of a lambda.
autograph_parser = PrivateModule("tensorflow.python.autograph.pyct.parser", "parse_entity")
# Whether a tape takes the gradient by a tensor, which may be the handle of a variable.
backprop_util = PrivateModule("tensorflow.python.eager.backprop_util", "IsTrainable")
# Compile a function by calling it cancelled, so that it does not run.
cancellation = PrivateModule("tensorflow.python.eager.cancellation", "CancellationManager")
execute = PrivateModule("tensorflow.python.eager.execute", "execute_with_cancellation")
# Make a function that is known by its name differentiable by tapes.
concrete_function = PrivateModule("tensorflow.python.eager.polymorphic_function.concrete_function", "ConcreteFunction")
# Whether XLA compiles what is being traced.
control_flow_util = PrivateModule("tensorflow.python.ops.control_flow_util", "GraphOrParentsInXlaContext")
# The capsule for the C API, the options of Python's own calls, the compiled graphs, the check whether XLA can compile a
# function, names for resources that nobody shares, the device of functions, eager execution inside of a graph, the
# server for collectives, and whether a function is being traced.
eager_context = PrivateModule("tensorflow.python.eager.context", "anonymous_name", "context", "eager_mode")
# Know whether two runs must have the same bits.
framework_config = PrivateModule("tensorflow.python.framework.config", "is_op_determinism_enabled")
# The graph of a function from a GraphDef that comes from one.
func_graph = PrivateModule("tensorflow.python.framework.func_graph", "FuncGraph")
importer = PrivateModule("tensorflow.python.framework.importer", "import_graph_def_for_function")
# Tell the shape and dtype of a resource to operations that are traced on its handle.
handle_data_util = PrivateModule("tensorflow.python.ops.handle_data_util", "copy_handle_data")
# Whether an operation in a GraphDef is stateful.
op_def_registry = PrivateModule("tensorflow.python.framework.op_def_registry", "get")
# Let tapes record again where tf.init_scope has stopped them.
pywrap_tfe = PrivateModule(
    "tensorflow.python.pywrap_tfe",
    "TFE_Py_TapeSetIsStopped",
    "TFE_Py_TapeSetRestartOnThread",
    "TFE_Py_TapeSetStopOnThread",
)
# Give a tape the gradient of operations that it does not see: tf.custom_gradient registers one for each trace, which
# keeps the graph of the trace for ever.
record = PrivateModule("tensorflow.python.eager.record", "record_operation", "stop_recording")
# Tell tapes that a function reads a variable, which they do not see.
resource_variable_ops = PrivateModule("tensorflow.python.ops.resource_variable_ops", "variable_accessed")
# Whether tf.summary.trace_on collects graphs, and its lock.
summary_ops = PrivateModule(
    "tensorflow.python.ops.summary_ops_v2", "_current_trace_context", "_current_trace_context_lock"
)
# The function inside of a decorated one.
tf_decorator = PrivateModule("tensorflow.python.util.tf_decorator", "unwrap")
# Whether a function is a method that is a tf.function.
tf_method_target = PrivateModule("tensorflow.python.eager.polymorphic_function.tf_method_target", "TfMethodTarget")


RECEIVED_AT_ONCE = 4 << 20
"""Bytes of a tensor that a server sends in one message. TensorFlow's default of 4096 halves the throughput."""

# A Python function in the graph may run in the main thread, where Ctrl-C raises KeyboardInterrupt in it.
_INTERRUPTED = re.compile(r"(\{\{function_node [^}]*\}\} ?)*KeyboardInterrupt: ")


def error_of(function: Any, code: int, message: str) -> BaseException:
    """The exception for a status that a function returned, with the place in the user's code."""
    # The function may have run inside of functions with other names, but TensorFlow looks for its own name.
    name = function.name.decode()
    message = re.sub(r"^(\{\{function_node [^}]*\}\} ?)+", f"{{{{function_node {name}}}}} ", message)
    if _INTERRUPTED.match(message):
        return KeyboardInterrupt()
    error = error_of_status(code, message)
    try:
        with atomic_function.InterpolateRuntimeError(function):
            raise error
    except type(error) as interpolated:
        return interpolated.with_traceback(None)


def context_capsule() -> Any:
    """TensorFlow's eager context, a capsule of the ``TFE_Context*``."""
    context = eager_context.context()
    context.ensure_initialized()
    return context._handle


def eagerly() -> contextlib.AbstractContextManager[Any]:
    """A context in which operations run eagerly; `tf.init_scope` would stay in the graph of a session."""
    mode: contextlib.AbstractContextManager[Any] = eager_context.eager_mode()
    return mode


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """A context in which tapes record, even in a `tf.init_scope` or a function with a custom gradient."""
    is_stopped = pywrap_tfe.TFE_Py_TapeSetIsStopped()
    if is_stopped:
        pywrap_tfe.TFE_Py_TapeSetRestartOnThread()
    try:
        yield
    finally:
        if is_stopped:
            pywrap_tfe.TFE_Py_TapeSetStopOnThread()


def with_gradient(
    compute: Callable[[], Any], gradient: Callable[[Any], Any], inputs: list[Any], *, in_graphs: bool = False
) -> Any:
    """The value of a function, for which tapes take the gradient from another function.

    Parameters
    ----------
    compute : callable
        ``compute() -> tf.Tensor``, hidden from tapes.
    gradient : callable
        ``gradient(upstream)`` returns the list of gradients, one for each input.
    inputs : list of tf.Tensor
    in_graphs : bool
        Whether ``compute`` calls a function of these inputs, so that `tf.gradients` takes ``gradient`` too.
    """
    with record.stop_recording():
        computed = compute()
        value = tf.identity(computed)
    if in_graphs and tf.is_symbolic_tensor(computed):
        computed.op._gradient_function = lambda _, upstream: gradient(upstream)
    record.record_operation("Lifted", [value], inputs, gradient)
    return value


def variable_accessed(variable: Any) -> None:
    """Let tapes that watch what is read watch a variable."""
    resource_variable_ops.variable_accessed(variable)


def without_gradient(compute: Callable[[], list[Any]], reason: str, inputs: list[Any]) -> list[Any]:
    """The values of a function, a list of tensors and None; taking their gradient raises LookupError.

    Parameters
    ----------
    compute : callable
        It is hidden from tapes, which would set up the gradients of all functions that it calls.
    reason : str
        The message of the error.
    inputs : list of tf.Tensor
        The tensors on which the values depend.
    """
    with record.stop_recording():
        # Refuses gradients that are made from the graph, without a tape.
        values = [None if v is None else tf.raw_ops.PreventGradient(input=v, message=reason) for v in compute()]
    refuse_gradient([value for value in values if value is not None], reason, inputs)
    return values


def record_gradient(values: list[Any], gradient: Callable[..., Any], inputs: list[Any]) -> None:
    """Tell tapes that the gradients of these values by the inputs are ``gradient(*upstream)``."""
    record.record_operation("Lifted", values, inputs, gradient)


def refuse_gradient(values: list[Any], reason: str, inputs: list[Any]) -> None:
    """Tell tapes that these values depend on the inputs; taking the gradient then raises LookupError."""

    def refuse(*_: Any) -> Any:
        raise LookupError(reason)

    record.record_operation("WithoutGradient", values, inputs, refuse)


def operations(concrete: Any) -> Iterator[Any]:
    """The operations (NodeDefs) of a function and of all functions that it calls."""
    graph = concrete.graph.as_graph_def()
    return itertools.chain(graph.node, *(f.node_def for f in graph.library.function))


def start_collectives(workers: list[str], index: int) -> None:
    """Start the server of this process, one of ``workers``, for collectives. TensorFlow must not have begun."""
    context = eager_context.context()
    if context._context_handle is not None:
        raise ValueError(
            "TensorFlow has begun already, and then it starts no server for collectives: make the communicator before "
            "the first tensor or variable."
        )
    context.configure_collective_ops(
        collective_leader="/job:worker/replica:0/task:0", device_filters=(f"/job:worker/task:{index}",)
    )
    config = context.config
    config.experimental.recv_buf_max_chunk = RECEIVED_AT_ONCE
    context.enable_collective_ops(
        tensorflow_server_pb2.ServerDef(
            cluster=tf.train.ClusterSpec({"worker": workers}).as_cluster_def(),
            default_session_config=config,
            job_name="worker",
            task_index=index,
            protocol="grpc",
        )
    )


def abort_collectives(reason: str) -> None:
    """Let all collectives of this process fail, those that run and those to come."""
    eager_context.context().abort_collective_ops(tf.errors.ABORTED, reason)


def workers_of(strategy: Any) -> tuple[int, int]:
    """The number of this worker of a MultiWorkerMirroredStrategy, from 0, and how many there are."""
    return strategy.extended._id_in_cluster, strategy.extended._num_workers


def op_def(op_type: str) -> Any:
    """The OpDef of a type of operation; None if TensorFlow has no such type, because it names a function."""
    return op_def_registry.get(op_type)


def function_config() -> tuple[bytes, str, str]:
    """The config_proto, executor_type and device that Python's own calls of functions pass on in this thread."""
    context = eager_context.context()
    attributes = context.function_call_options.as_attrs()
    return attributes["config_proto"], attributes["executor_type"], context.device_name or ""


def host_device() -> str:
    """The name of the CPU device."""
    return f"{eager_context.context().host_address_space()}/device:CPU:0"


def function_device() -> str:
    """The device on which Python's own calls of functions run in this thread."""
    context = eager_context.context()
    name: str = context.device_name
    return name or (f"{context.host_address_space()}/device:GPU:0" if context.num_gpus() else host_device())


def check_compilable(concrete: Any, rows: int | None = None, *, to_the_end: bool = False) -> None:
    """Raise ValueError with XLA's reason if it cannot compile a function, with ``rows`` for dimensions that are None.

    Without ``to_the_end`` it is translated only, which is where almost all refusals come from. TensorFlow keeps half a
    megabyte for each function that is checked.
    """
    specs = [
        tf.TensorSpec([rows if extent is None else extent for extent in spec.shape], spec.dtype)
        for spec in tf.nest.flatten(concrete.structured_input_signature)
    ]
    # Not experimental_get_compiler_ir(), which draws a number from the user's random sequence to find a device.
    eager_context.context().get_compiler_ir(
        device_name=host_device(),
        platform_name=None,
        function_name=concrete.name,
        flat_args=specs,
        captured_inputs=concrete.captured_inputs,
        stage="optimized_hlo_serialized" if to_the_end else "hlo_serialized",
    )


def variable_type(handle: Any) -> tuple[tf.DType, tf.TensorShape]:
    """The dtype and shape of a variable, by its handle."""
    data = handle._handle_data.shape_and_type[0]
    return tf.as_dtype(data.dtype), tf.TensorShape(data.shape)


def resource_value(handle: Any) -> Any:
    """The present value of a variable, by its handle. No tape records the read."""
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable_type(handle)[0])


def autograph(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function as `tf.function` would trace it: Python's control flow on tensors becomes TensorFlow's.

    Exceptions pass through unchanged, while `tf.function` would replace them. From Python 3.11 on, a note says where in
    the user's code they were raised.
    """
    decorators, target = tf_decorator.unwrap(fun)
    if _is_bound(fun, target):
        fun, decorators = target, []
    options = autograph_converter.ConversionOptions(recursive=True, user_requested=True, optional_features=None)
    # tf.function does not convert a decorated function either, since the decorator may do anything.
    is_plain = bool(decorators) or _is_lambda_without_source(fun)

    def call(*args: Any) -> Any:
        # A function that is traced without AutoGraph turns it off for every function that it calls.
        with autograph_context.ControlStatusCtx(status=autograph_context.Status.ENABLED):
            try:
                return fun(*args) if is_plain else autograph_api.converted_call(fun, args, None, options=options)
            except Exception as error:
                metadata = getattr(error, "ag_error_metadata", None)
                if metadata is not None and hasattr(error, "add_note"):
                    error.add_note(_CONVERTED.sub("", metadata.get_message()))
                if isinstance(error, TypeError):  # its message names the converted function
                    error.args = tuple(_CONVERTED.sub("", a) if isinstance(a, str) else a for a in error.args)
                raise

    return call


_CONVERTED = re.compile(r"\bouter_factory\.<locals>\.inner_factory\.<locals>\.tf__")
"""The prefix that AutoGraph puts before the name of a function."""


def _is_bound(fun: Any, target: Any) -> bool:
    """Whether a function is the wrapper by which a `tf.function` that is a method passes the object to it."""
    is_method = isinstance(getattr(target, "__self__", None), tf_method_target.TfMethodTarget)
    return is_method and getattr(fun, "__wrapped__", None) is target


def _is_lambda_without_source(function: Any) -> bool:
    """Whether this is a lambda without control flow that AutoGraph could not convert.

    AutoGraph cannot find the source of a lambda if there are several in a line, as is common for constraints. It would
    call it unconverted, after a warning of many lines about which the user need do nothing.
    """
    if getattr(function, "__name__", "") != "<lambda>":
        return False
    if any(i.opcode in dis.hasjrel or i.opcode in dis.hasjabs for i in dis.get_instructions(function)):
        return False
    parse = autograph_parser.parse_entity
    try:
        parse(function, ())
    except Exception:  # of several kinds, for example if there is no module
        return True
    return False


def anonymous_name() -> str:
    """A ``shared_name`` for a resource that nobody shares. TensorFlow keeps 37 kB for ever for any other name."""
    name: str = eager_context.anonymous_name()
    return name


def copy_handle_data(source: Any, target: Any) -> None:
    """Give a handle the shape and dtype of another handle's resource, for operations that are traced on it.

    Some operations, such as a gather by index tuples, cannot be traced without them.
    """
    handle_data_util.copy_handle_data(source, target)


def function_of(op: Any, name: str) -> Callable[..., Any]:
    """The function that an operation's attribute names, as a function of flat tensors that tapes can differentiate.

    It may contain calls of other functions that were not made in Python.
    """
    from_func_graph = concrete_function.ConcreteFunction.from_func_graph
    found = _find_function(op.inputs[0].graph, name)  # on a tape, the operation itself has no graph
    for inner in found.graph.get_operations():
        if inner.type in ("PartitionedCall", "StatefulPartitionedCall"):
            called = _find_function(found.graph, inner.get_attr("f").name)
            concrete = from_func_graph(called.graph, called.function_type, called.attributes)
            inner._gradient_function = concrete._get_gradient_function()
    function = from_func_graph(
        found.graph, None, found.attributes
    )  # the type of a function from a SavedModel lacks outputs
    num_outputs = len(found.cached_definition.signature.output_arg)  # tapes add outputs to those of the graph

    def call(*inputs: tf.Tensor) -> Any:
        return function._call_flat(list(inputs), [])[:num_outputs]

    return call


def _find_function(graph: Any, name: str) -> Any:
    """The function of this name that a graph, or one around it, knows."""
    while (found := graph._get_function(name)) is None:
        graph = graph.outer_graph
    return found


def captured(tensor: Any) -> Any:
    """The tensor in the graph that is being built, which may be that of a function inside of the tensor's graph.

    A vectorized map calls its operations with this one, so a tape must watch it.
    """
    graph = tf.compat.v1.get_default_graph()
    return graph.capture(tensor) if hasattr(graph, "capture") else tensor


def is_differentiable(tensor: Any) -> bool:
    """Whether TensorFlow takes gradients with respect to a tensor, or to the variable whose handle it is."""
    return bool(backprop_util.IsTrainable(tensor))


def is_marked_read_only(graph: Any, captured: Any) -> bool:
    """Whether TensorFlow has marked a captured resource as only read; this is fast, but not every one is marked.

    `effects.is_read_only` checks this first.
    """
    read_only = set(read_only_inputs(graph))
    placeholders = {id(inner) for outer, inner in graph.captures if outer is captured}
    return all(i in read_only for i, t in enumerate(graph.inputs) if id(t) in placeholders)


def read_only_inputs(graph: Any) -> list[int]:
    """Which inputs of a function's graph are resources that it only reads."""
    return list(auto_control_deps_utils.get_read_only_resource_input_indices_graph(graph))


def mark_read_only(op: Any, indices: list[int]) -> None:
    """Tell TensorFlow that an operation only reads these inputs, so that other operations need not wait for it."""
    value = attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(i=indices))
    op._set_attr(auto_control_deps_utils.READ_ONLY_RESOURCE_INPUTS_ATTR, value)


def is_tracing() -> bool:
    """Whether this thread is tracing a function, even if it is now in a `tf.init_scope`."""
    return any(switch.is_building_function for switch in eager_context.context().context_switches.stack)


def is_for_xla() -> bool:
    """Whether a function that is being traced, or one around it, is a `tf.function(jit_compile=True)`."""
    return bool(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))


def mark_for_xla(op: Any) -> None:
    """Let XLA compile the function that an operation calls, as `tf.function(jit_compile=True)` does."""
    op._set_attr("_XlaMustCompile", attr_value_pb2.AttrValue(b=True))
