"""The few names of `tensorflow.python` that are needed, and what they are needed for. No other module imports them."""

from __future__ import annotations

import collections
import contextlib
import dis
import functools
import itertools
import pathlib
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2

# What each name is needed for:
#   cancellation, execute       compile a function by calling it cancelled, so that it does not run
#   context                     the capsule that the C API takes, the options of Python's own calls, the compiled
#                               graphs, what XLA cannot compile, the name of resources that share none, the device
#                               that functions run on, eager execution inside of a graph
#   atomic_function             makes a function of a graph; adds to an error the place in the user's code
#   concrete_function           makes what tapes can differentiate of a function that is known by its name
#   record                      give a tape the gradient of what it does not see: tf.custom_gradient registers one for
#                               each trace, which then keeps the graph of the trace for ever
#   ag_ctx, api, converter      convert a plain function as tf.function does (tf.autograph.to_graph does not convert
#                               what the function calls), inside of a wrapper that is traced without AutoGraph
#   backprop_util               whether a tape takes the gradient by a tensor, which may be the handle of a variable
#   parser                      whether AutoGraph finds the source of a lambda
#   auto_control_deps_utils     which resources a graph only reads, also in the functions that it calls
#   control_flow_util           whether XLA compiles what is being traced
#   handle_data_util            tell the shape and dtype of a resource to operations that are traced on its handle
#   errors_impl                 the class of an error from its status code
#   tf_decorator                the function inside of a decorated one
#   op_def_registry             whether an operation in a GraphDef is stateful
#   func_graph, importer        the graph of a function from a GraphDef that comes from one
from tensorflow.python.autograph.core import ag_ctx, converter
from tensorflow.python.autograph.impl import api
from tensorflow.python.autograph.pyct import parser
from tensorflow.python.eager import backprop_util, cancellation, execute, record
from tensorflow.python.eager import context as eager_context
from tensorflow.python.eager.polymorphic_function import atomic_function, concrete_function
from tensorflow.python.framework import auto_control_deps_utils, errors_impl, importer, op_def_registry
from tensorflow.python.framework import func_graph as func_graph_module
from tensorflow.python.ops import control_flow_util, handle_data_util
from tensorflow.python.util import tf_decorator

from tfminimize.binding import _native

__all__ = [
    "Dispatchable",
    "anonymous_name",
    "autograph",
    "bind",
    "check_compilable",
    "context_capsule",
    "copy_handle_data",
    "dispatchable",
    "eagerly",
    "function_config",
    "function_device",
    "function_of",
    "is_differentiable",
    "is_read_only",
    "op_def",
    "resource_value",
    "variable_type",
    "with_gradient",
    "without_gradient",
]


class Dispatchable(NamedTuple):
    """How to call a concrete function: what `_native.ConcreteFunction` takes, by the names of its arguments."""

    name: bytes
    dispatch: str
    config_proto: bytes
    executor_type: str
    device: str
    captured_inputs: list[Any]
    loss_dtype: str
    optimized: bytes
    """The name of the function after the graph optimisation; empty if there is none."""
    repeatable: bool
    """Whether calling it twice does no more than calling it once."""
    make_error: Callable[[int, str], BaseException]
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
    """The exception for a status of TensorFlow, as TensorFlow's own Python makes it."""
    error: Exception
    try:
        error = errors_impl.exception_type_from_error_code(code)(None, None, message)
    except KeyError:
        error = errors_impl.UnknownError(None, None, message, code)
    return error


# A function of Python's in the graph may run in the main thread, where Ctrl-C raises KeyboardInterrupt in it.
_INTERRUPTED = re.compile(r"(\{\{function_node [^}]*\}\} ?)*KeyboardInterrupt: ")


def _make_error_of(function: Any, code: int, message: str) -> BaseException:
    """The exception for a status that a function has returned, with the place in the user's code."""
    # The function may have run under other names, one inside the other; TensorFlow looks for its own.
    name = function.name.decode()
    message = re.sub(r"^(\{\{function_node [^}]*\}\} ?)+", f"{{{{function_node {name}}}}} ", message)
    if _INTERRUPTED.match(message):
        return KeyboardInterrupt()
    error = _make_error(code, message)
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
    """A context in which operations run eagerly, where `tf.init_scope` would stay in the graph of a session too."""
    mode: contextlib.AbstractContextManager[Any] = eager_context.eager_mode()
    return mode


def with_gradient(compute: Callable[[], Any], gradient: Callable[[Any], Any], inputs: list[Any]) -> Any:
    """What a function computes, while tapes take its gradient by some tensors from another function.

    Parameters
    ----------
    compute : callable
        ``compute() -> tf.Tensor``, hidden from tapes.
    gradient : callable
        ``gradient(upstream)`` is the list of gradients, one for each of the inputs.
    inputs : list of tf.Tensor
    """
    with record.stop_recording():
        value = tf.identity(compute())
    record.record_operation("Lifted", [value], inputs, gradient)
    return value


def without_gradient(compute: Callable[[], list[Any]], reason: str, inputs: list[Any]) -> list[Any]:
    """What a function computes, a list of tensors and of None; taking its gradient raises LookupError.

    Parameters
    ----------
    compute : callable
        It is hidden from tapes, which would set up the gradient of all that it calls.
    reason : str
        What the error says.
    inputs : list of tf.Tensor
        What it depends on.
    """

    def refuse(*_: Any) -> Any:
        raise LookupError(reason)

    with record.stop_recording():
        # For gradients that are made of the graph, without a tape.
        values = [None if v is None else tf.raw_ops.PreventGradient(input=v, message=reason) for v in compute()]
    record.record_operation("WithoutGradient", [value for value in values if value is not None], inputs, refuse)
    return values


def op_def(op_type: str) -> Any:
    """The OpDef of a type of operations; None if there is none, so that it is a call of a function of this name."""
    return op_def_registry.get(op_type)


def function_config() -> tuple[bytes, str, str]:
    """What Python's own calls of functions pass on in this thread: config_proto, executor_type and device."""
    context = eager_context.context()
    attributes = context.function_call_options.as_attrs()
    return attributes["config_proto"], attributes["executor_type"], context.device_name or ""


def function_device() -> str:
    """The device on which Python's own calls of functions run in this thread."""
    context = eager_context.context()
    name: str = context.device_name
    return name or (f"{context.host_address_space()}/device:GPU:0" if context.num_gpus() else _host())


def check_compilable(concrete: Any) -> None:
    """Raise ValueError with what XLA says if it cannot compile a function.

    TensorFlow keeps half a megabyte for each function that is asked about.
    """
    # Not experimental_get_compiler_ir(), which draws a random number of the user's sequence to find a device.
    eager_context.context().get_compiler_ir(
        device_name=_host(),
        platform_name=None,
        function_name=concrete.name,
        flat_args=tf.nest.flatten(concrete.structured_input_signature),
        captured_inputs=concrete.captured_inputs,
        stage="hlo_serialized",
    )


def variable_type(handle: Any) -> tuple[tf.DType, tf.TensorShape]:
    """The dtype and shape of a variable, by its handle."""
    data = handle._handle_data.shape_and_type[0]
    return tf.as_dtype(data.dtype), tf.TensorShape(data.shape)


def resource_value(handle: Any) -> Any:
    """The present value of a variable, by its handle; nobody's tape sees it."""
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable_type(handle)[0])


def autograph(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function as `tf.function` would trace it: Python's control flow on tensors becomes TensorFlow's.

    What the function raises comes through as it is, where `tf.function` makes another exception of it; where in the
    user's code it was raised is a note to it (from Python 3.11 on).
    """
    _, original = tf_decorator.unwrap(fun)
    options = converter.ConversionOptions(recursive=True, user_requested=True, optional_features=None)
    is_plain = _is_lambda_without_source(original)

    def call(*args: Any) -> Any:
        # A function that is traced without AutoGraph turns it off for all that it calls.
        with ag_ctx.ControlStatusCtx(status=ag_ctx.Status.ENABLED):
            try:
                return original(*args) if is_plain else api.converted_call(original, args, None, options=options)
            except Exception as error:
                metadata = getattr(error, "ag_error_metadata", None)
                if metadata is not None and hasattr(error, "add_note"):
                    error.add_note(metadata.get_message())
                raise

    return call


def _is_lambda_without_source(function: Any) -> bool:
    """Whether AutoGraph could not convert a lambda, which has no control flow to convert.

    It does not find the source of one of several in a line, as constraints are often written. It would call it as it
    is, after a warning of many lines that asks for nothing.
    """
    if getattr(function, "__name__", "") != "<lambda>":
        return False
    if any(i.opcode in dis.hasjrel or i.opcode in dis.hasjabs for i in dis.get_instructions(function)):
        return False
    try:
        parser.parse_entity(function, ())
    except Exception:  # of several kinds, such as where there is no module
        return True
    return False


def anonymous_name() -> str:
    """The ``shared_name`` of a resource of its own. TensorFlow keeps 37 kB for every other name, for good."""
    name: str = eager_context.anonymous_name()
    return name


def copy_handle_data(source: Any, target: Any) -> None:
    """Let operations that are traced on a handle know the shape and dtype that another handle's resource has.

    Operations such as a gather by index tuples cannot be traced without.
    """
    handle_data_util.copy_handle_data(source, target)


def function_of(op: Any, name: str) -> Callable[..., Any]:
    """A function that an attribute of an operation names, as one of flat tensors that tapes can differentiate.

    Calls of other functions in it need not have been made in Python.
    """
    from_func_graph = concrete_function.ConcreteFunction.from_func_graph
    found = _find_function(op.inputs[0].graph, name)  # a tape has no graph of the operation
    for inner in found.graph.get_operations():
        if inner.type in ("PartitionedCall", "StatefulPartitionedCall"):
            called = _find_function(found.graph, inner.get_attr("f").name)
            concrete = from_func_graph(called.graph, called.function_type, called.attributes)
            inner._gradient_function = concrete._get_gradient_function()
    function = from_func_graph(found.graph, None, found.attributes)  # the type of one from a SavedModel lacks outputs
    num_outputs = len(found.cached_definition.signature.output_arg)  # to those of the graph, tapes add others

    def call(*inputs: tf.Tensor) -> Any:
        return function._call_flat(list(inputs), [])[:num_outputs]

    return call


def _find_function(graph: Any, name: str) -> Any:
    """The function of this name that a graph, or one around it, knows."""
    while (found := graph._get_function(name)) is None:
        graph = graph.outer_graph
    return found


def is_differentiable(tensor: Any) -> bool:
    """Whether there are gradients by a tensor, or by the variable whose handle it is."""
    return bool(backprop_util.IsTrainable(tensor))


def is_read_only(graph: Any, captured: Any) -> bool:
    """Whether a function's graph only reads a captured resource, itself and in every function that it calls.

    Parameters
    ----------
    graph : FuncGraph
    captured : tf.Tensor
        The handle of a variable. One that is not captured is only read.
    """
    read_only = set(read_only_inputs(graph))
    placeholders = {id(inner) for outer, inner in graph.captures if outer is captured}
    return all(i in read_only for i, t in enumerate(graph.inputs) if id(t) in placeholders)


def read_only_inputs(graph: Any) -> list[int]:
    """Which inputs of a function's graph are resources that it only reads."""
    return list(auto_control_deps_utils.get_read_only_resource_input_indices_graph(graph))


def mark_read_only(op: Any, indices: list[int]) -> None:
    """Tell TensorFlow that an operation only reads these of its inputs, so that others need not wait for it."""
    value = attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(i=indices))
    op._set_attr(auto_control_deps_utils.READ_ONLY_RESOURCE_INPUTS_ATTR, value)


def is_for_xla() -> bool:
    """Whether a function that is being traced, or one around it, is a `tf.function(jit_compile=True)`."""
    return bool(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))


def mark_for_xla(op: Any) -> None:
    """Let XLA compile the function that an operation calls, as `tf.function(jit_compile=True)` does."""
    op._set_attr("_XlaMustCompile", attr_value_pb2.AttrValue(b=True))


def dispatchable(concrete: Any, jit_compile: bool | None) -> Dispatchable:
    """The best way to call a concrete function from C++.

    A small function is called several times faster if TensorFlow runs its operations in the calling thread, which it
    does for a ``StatefulPartitionedCall``. That call does not optimise the graph, so that it gets one that is optimised
    already: the very graph that TensorFlow makes for Python's own calls.

    Parameters
    ----------
    concrete : ConcreteFunction
        Its first output is the loss. It must not have been called before.
    jit_compile : bool or None
        Whether XLA compiles it.
    """
    config_proto, executor_type, device = function_config()
    optimized, repeatable = None, False
    name, dispatch = concrete.name, "function"
    if jit_compile:
        reason = "XLA compiles the whole function"
    else:
        try:
            optimized, num_bytes = _optimized(concrete)
        except _NotOptimized as error:
            reason = f"called as Python calls it: {error}"
        else:
            repeatable = _is_repeatable(optimized)
            if not repeatable:
                name, config_proto = optimized.name, b""  # in both ways with the copies of what is kept
            if _keeps_state(optimized):
                reason = "called as Python calls it: each way would have random numbers of its own"
            else:
                dispatch, reason = "fastest", "the faster of two ways, which are timed in turn"
                _calls.add(optimized, repeatable, num_bytes)
    return Dispatchable(
        name=name,
        dispatch=dispatch,
        config_proto=config_proto,
        executor_type=executor_type,
        device=device,
        captured_inputs=list(concrete.captured_inputs),
        loss_dtype=concrete.outputs[0].dtype.name,
        optimized=optimized.name if optimized else b"",
        repeatable=repeatable,
        make_error=functools.partial(_make_error_of, concrete._inference_function),
        function=(concrete, optimized),
        reason=reason,
    )


class _PartitionedCalls:
    """What TensorFlow keeps of the partitioned calls of functions that are gone.

    It keeps some 200 kB for each such call and several copies of the constants in its graph, by the numbers of inputs
    and outputs, and can be told to forget them together. Calls that are still in use are then set up again when they
    come next. In the moment between, one in another thread may fail; so it is done only while all calls in use can be
    repeated.
    """

    _CALL = 200_000
    _COPIES = 4
    _MANY = 64 * _CALL

    def __init__(self) -> None:
        self._retired: collections.Counter[tuple[int, int]] = collections.Counter()
        self._not_repeatable: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, function: Any, repeatable: bool, num_bytes: int) -> None:
        """Note a function that will be called so, with the size of its graph. Its end is noted by itself."""
        self._forget_retired()
        if not repeatable:
            self._not_repeatable.add(function)
        sizes = len(function.function_type.flat_inputs), len(function.function_type.flat_outputs)
        weakref.finalize(function, self._retire, sizes, num_bytes).atexit = False

    def _retire(self, sizes: tuple[int, int], num_bytes: int) -> None:
        self._retired[sizes] += self._CALL + self._COPIES * num_bytes

    def _forget_retired(self) -> None:
        context = eager_context.context()
        for (num_inputs, num_outputs), kept in list(self._retired.items()):
            if kept >= self._MANY and not self._not_repeatable:
                del self._retired[num_inputs, num_outputs]
                name = f"__wrapped__StatefulPartitionedCall_Tin_{num_inputs}_Tout_{num_outputs}_device_{_host()}"
                if context.has_function(name):
                    context.remove_function(name)


_calls = _PartitionedCalls()


def _host() -> str:
    """The name of the device whose memory is the host's."""
    return f"{eager_context.context().host_address_space()}/device:CPU:0"


class _NotOptimized(Exception):
    """Says why a function has to be called as Python calls it."""


_collecting = threading.Lock()
_numbers: Iterator[int] = itertools.count()


def _optimized(concrete: Any) -> tuple[Any, int]:
    """The function (an `AtomicFunction`) whose graph is that of ``concrete`` after TensorFlow's optimisation; its size.

    Raises
    ------
    _NotOptimized
    """
    graph = _compiled_graph(concrete)
    arguments, results = _by_index(graph, "_Arg"), _by_index(graph, "_Retval")
    context = eager_context.context()
    inner = [f.signature.name for f in graph.library.function if not context.has_function(f.signature.name)]
    if inner:
        raise _NotOptimized(f"its optimised graph calls {inner[0]}, which exists inside of that graph only")
    elsewhere = {n.device for n in graph.node} - {"", _host()}
    if elsewhere:
        raise _NotOptimized(f"a part of it runs on {min(elsewhere)}")
    _copy_what_is_kept(graph)
    for node in arguments:
        _make_placeholder(node, concrete.inputs[node.attr["index"].i].shape)
    outputs = [node.input[0] for node in results]
    kept = [node for node in graph.node if node.op != "_Retval"]
    del graph.node[:]
    graph.node.extend(kept)
    try:
        return _function_of(graph, [node.name for node in arguments], outputs), graph.ByteSize()
    except (ValueError, errors_impl.OpError) as error:
        raise _NotOptimized(f"its optimised graph could not be made a function ({error})") from error


def _compiled_graph(concrete: Any) -> Any:
    """The graph (a GraphDef) that TensorFlow runs for Python's own call of a function; the function is not run."""
    context = eager_context.context()
    if context.is_async():
        raise _NotOptimized("TensorFlow executes asynchronously")
    unusual = {t.dtype.name for t in concrete.inputs[: len(concrete.inputs) - len(concrete.captured_inputs)]}
    unusual &= {"variant", "resource"}
    if unusual:
        raise _NotOptimized(f"it takes a {min(unusual)}")
    config_proto, executor_type, _ = function_config()
    with tf.device("CPU:0"):
        # Only their devices matter, as the operations never see them.
        num_arguments = len(concrete.inputs) - len(concrete.captured_inputs)
        arguments = [tf.zeros([0], t.dtype) for t in concrete.inputs[:num_arguments]]
    cancelled = cancellation.CancellationManager()
    cancelled.start_cancel()
    with _collecting:
        tf.raw_ops.NoOp()  # now, so that it adds nothing to the graphs that are collected
        context.enable_graph_collection()
        try:
            execute.execute_with_cancellation(
                concrete.name.decode(),
                num_outputs=len(concrete.outputs),
                inputs=[*arguments, *concrete.captured_inputs],
                attrs=("executor_type", executor_type, "config_proto", config_proto),
                ctx=context,
                cancellation_manager=cancelled,
            )
        except errors_impl.CancelledError:
            tf.raw_ops.NoOp()  # graphs are handed over after the next operation that succeeds
            graphs = context.export_run_metadata().function_graphs
        except errors_impl.OpError as error:
            raise _NotOptimized(f"TensorFlow did not compile it ahead ({type(error).__name__})") from error
        else:
            raise AssertionError("TensorFlow ran a function that was cancelled.")
        finally:
            context.disable_graph_collection()
    # Other threads may have made functions at the same time.
    found = [g.post_optimization_graph for g in graphs if _is_graph_of(concrete, g.post_optimization_graph)]
    if len(found) != 1:
        raise _NotOptimized(f"TensorFlow reported {len(found)} optimised graphs of it instead of one")
    return found[0]


def _is_graph_of(concrete: Any, graph: Any) -> bool:
    names = [argument.name for argument in concrete.function_def.signature.input_arg]
    num_results = len(_by_index(graph, "_Retval"))
    return [node.name for node in _by_index(graph, "_Arg")] == names and num_results == len(concrete.outputs)


def _by_index(graph: Any, op: str) -> list[Any]:
    """The nodes of arguments or results in their order; an empty list if their indices are not 0, 1, ..."""
    nodes = sorted((n for n in graph.node if n.op == op), key=lambda n: n.attr["index"].i)
    return nodes if [n.attr["index"].i for n in nodes] == list(range(len(nodes))) else []


# Operations that keep their inputs: from which input on, and the attribute with the dtypes.
_KEEPERS = {
    "AssignVariableOp": (1, "dtype"),
    "EagerPyFunc": (0, "Tin"),
    "PyFunc": (0, "Tin"),
    "QueueEnqueueV2": (1, "Tcomponents"),
}


def _copy_what_is_kept(graph: Any) -> None:
    """Let operations that keep a tensor, such as an assignment, keep a copy.

    The tensor may be the very memory of x, which the solver changes later.
    """
    for node in [n for n in graph.node if n.op in _KEEPERS]:
        first, attribute = _KEEPERS[node.op]
        dtypes = list(node.attr[attribute].list.type) or [node.attr[attribute].type]
        for i, dtype in enumerate(dtypes, first):
            if dtype in (tf.float64.as_datatype_enum, tf.float32.as_datatype_enum):
                copy = graph.node.add(op="DeepCopy", name=f"{node.name}/kept_{i}", device=node.device)
                copy.input.append(node.input[i])
                copy.attr["T"].type = dtype
                node.input[i] = copy.name


def _make_placeholder(node: Any, shape: tf.TensorShape) -> None:
    dtype = node.attr["T"].type
    node.op = "Placeholder"
    node.device = ""
    node.attr.clear()
    node.attr["dtype"].type = dtype
    node.attr["shape"].shape.CopyFrom(shape.as_proto())


def _function_of(graph_def: Any, inputs: list[str], outputs: list[str]) -> Any:
    name = f"__tfminimize_optimized_{next(_numbers)}"
    graph = func_graph_module.FuncGraph(name)
    with graph.as_default():
        importer.import_graph_def_for_function(graph_def, name="")

        def tensor(name: str) -> Any:
            return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")

        graph.inputs = [tensor(name) for name in inputs]
        graph.outputs = [tensor(name) for name in outputs]
        # Every side effect that the optimisation has left is wanted. Those inside of a loop happen with the loop.
        in_loops = _nodes_in_loops(graph_def)
        graph.control_outputs = [op for op in graph.get_operations() if _has_effects(op) and op.name not in in_loops]
    graph.structured_outputs = tuple(graph.outputs)
    return atomic_function.from_func_graph(name, graph, {})


_READS = frozenset({"Placeholder", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "LookupTableFindV2"})
_CHECKS = frozenset({"Assert", "CheckNumerics", "CheckNumericsV2"})
_STATELESS = _CHECKS | {"DeepCopy", "EagerPyFunc", "PrintV2", "PyFunc"}


def _has_effects(op: Any) -> bool:
    return op.op_def.is_stateful and op.type not in _READS


def _keeps_state(function: Any) -> bool:
    """Whether an operation of a function keeps a state of its own between calls, as random numbers do."""
    return any(
        _has_effects(op) and op.type not in _STATELESS and not any(t.dtype == tf.resource for t in op.inputs)
        for op in function.graph.get_operations()
    )


def _is_repeatable(function: Any) -> bool:
    """Whether calling a function twice does no more than calling it once."""
    return not any(_has_effects(op) and op.type not in _CHECKS for op in function.graph.get_operations())


def _nodes_in_loops(graph_def: Any) -> set[str]:
    """The names of all nodes from an Enter to the Exit of the same loop."""
    consumers: dict[str, list[Any]] = {}
    for node in graph_def.node:
        for tensor in node.input:
            consumers.setdefault(tensor.lstrip("^").split(":")[0], []).append(node)
    found: set[str] = set()
    waiting = [n for n in graph_def.node if n.op in ("Enter", "RefEnter")]
    while waiting:
        for node in consumers.get(waiting.pop().name, ()):
            if node.name not in found and node.op not in ("Exit", "RefExit"):
                found.add(node.name)
                waiting.append(node)
    return found
