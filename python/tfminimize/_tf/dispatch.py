"""Chooses how C++ calls a concrete function, and gets its graph after TensorFlow's optimisation."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize._tf import private
from tfminimize._tf.effects import CHECKS, READS, called_functions
from tfminimize._tf.private import (
    atomic_function,
    cancellation,
    eager_context,
    error_of,
    execute,
    func_graph,
    function_config,
    host_device,
    importer,
    summary_ops,
)

__all__ = ["CallPlan", "InlineCall", "call_plan", "effect", "keeper"]


class CallPlan(NamedTuple):
    """How to call a concrete function: the arguments of `_native.FunctionCall`, by name."""

    name: bytes
    dispatch: str
    config_proto: bytes
    executor_type: str
    device: str
    captured_inputs: list[Any]
    loss_dtype: str
    optimized: bytes
    """The name of the optimised function; empty if the graph is not optimised."""
    repeatable: bool
    """Whether calling it twice has the same effect as calling it once."""
    keeps_inputs: bool
    """Whether it may keep its inputs after the call; then it gets copies of x."""
    make_error: Callable[[int, str], BaseException]
    function: Any
    """Objects that must stay alive as long as the function is called."""
    reason: str
    """Why this dispatch was chosen."""


def call_plan(concrete: Any, jit_compile: bool | None) -> CallPlan:
    """The best way to call a concrete function from C++.

    Calling a small function is several times faster if TensorFlow runs its operations in the calling thread, as it does
    for a ``StatefulPartitionedCall``. That call does not optimise the graph, so we pass the optimised graph that
    TensorFlow makes for Python's own calls.

    Parameters
    ----------
    concrete : ConcreteFunction
        Its first output is the loss. It must not have been called before.
    jit_compile : bool or None
        Whether XLA compiles it.
    """
    config_proto, executor_type, device = function_config()
    optimized, repeatable = None, False
    dispatch = "function"
    if jit_compile:
        reason = "XLA compiles the whole function"
    else:
        try:
            optimized, num_bytes = _optimized(concrete)
        except _NotOptimized as error:
            reason = f"called as Python calls it: {error}"
        else:
            repeatable = _is_repeatable(optimized)
            if _keeps_state(optimized):
                reason = "called as Python calls it: each way would draw its own random numbers"
            else:
                dispatch, reason = "fastest", "the faster of two ways, which take turns to be timed"
                _calls.add(optimized, repeatable, num_bytes)
    return CallPlan(
        name=concrete.name,
        dispatch=dispatch,
        config_proto=config_proto,
        executor_type=executor_type,
        device=device,
        captured_inputs=list(concrete.captured_inputs),
        loss_dtype=concrete.outputs[0].dtype.name,
        optimized=optimized.name if optimized else b"",
        repeatable=repeatable,
        keeps_inputs=keeper(concrete) is not None,
        make_error=functools.partial(error_of, concrete._inference_function),
        function=(concrete, optimized),
        reason=reason,
    )


class _PartitionedCalls:
    """Frees the memory that TensorFlow keeps for partitioned calls of functions that are gone.

    TensorFlow keeps some 200 kB for each such call, and several copies of the constants in its graph. It can only
    forget all calls with the same numbers of inputs and outputs at once, and sets those up again that are still in use.
    Meanwhile a call in another thread may fail, so we do this only while all calls in use with these numbers are
    repeatable.
    """

    _CALL = 200_000
    _COPIES = 4
    _MANY = 64 * _CALL

    def __init__(self) -> None:
        self._retired: Counter[tuple[int, int]] = Counter()
        self._not_repeatable: dict[tuple[int, int], weakref.WeakSet[Any]] = {}

    def add(self, function: Any, repeatable: bool, num_bytes: int) -> None:
        """Record a function that will be called in this way, and the size of its graph, until it is gone."""
        self._forget_retired()
        sizes = len(function.graph.inputs), len(function.graph.outputs)
        if not repeatable:
            self._not_repeatable.setdefault(sizes, weakref.WeakSet()).add(function)
        weakref.finalize(function, self._retire, sizes, num_bytes).atexit = False

    def _retire(self, sizes: tuple[int, int], num_bytes: int) -> None:
        self._retired[sizes] += self._CALL + self._COPIES * num_bytes

    def _forget_retired(self) -> None:
        context = eager_context.context()
        for sizes, kept in list(self._retired.items()):
            if kept >= self._MANY and not self._not_repeatable.get(sizes):
                del self._retired[sizes]
                num_inputs, num_outputs = sizes
                name = f"__wrapped__StatefulPartitionedCall_Tin_{num_inputs}_Tout_{num_outputs}_device_{host_device()}"
                if context.has_function(name):
                    context.remove_function(name)


_calls = _PartitionedCalls()


class InlineCall:
    """Calls a concrete function in the calling thread.

    Python's own call of a small function takes seven times as long, some 0.2 ms, and another thread runs its
    operations, which must be woken first.

    Parameters
    ----------
    concrete : ConcreteFunction
        With tensors as arguments.
    """

    def __init__(self, concrete: Any) -> None:
        self._concrete = concrete
        self._dtypes = [output.dtype for output in concrete.outputs]
        _calls.add(concrete._inference_function, False, concrete.function_def.ByteSize())

    def __call__(self, *arguments: tf.Tensor) -> Any:
        """Call it, and return what it returns."""
        inputs = [*arguments, *self._concrete.captured_inputs]
        outputs = tf.raw_ops.StatefulPartitionedCall(
            args=inputs, Tout=self._dtypes, f=self._concrete._inference_function
        )
        return tf.nest.pack_sequence_as(self._concrete.structured_outputs, outputs)


class _NotOptimized(Exception):
    """Says why we must call a function as Python calls it."""


_numbers: Iterator[int] = itertools.count()


def _optimized(concrete: Any) -> tuple[Any, int]:
    """``concrete`` after TensorFlow's optimisation, as an `AtomicFunction`, and the size of its graph.

    Raises
    ------
    _NotOptimized
    """
    graph = _compiled_graph(concrete)
    arguments, results = _by_index(graph, "_Arg"), _by_index(graph, "_Retval")
    context = eager_context.context()
    for name in itertools.chain(*map(called_functions, graph.node)):
        if not context.has_function(name):
            raise _NotOptimized(f"its optimised graph calls {name}, which exists only inside of that graph")
    elsewhere = {n.device for n in graph.node} - {"", host_device()}
    if elsewhere:
        raise _NotOptimized(f"a part of it runs on {min(elsewhere)}")
    for node in arguments:
        _make_placeholder(node, concrete.inputs[node.attr["index"].i].shape)
    outputs = [node.input[0] for node in results]
    kept = [node for node in graph.node if node.op != "_Retval"]
    del graph.node[:]
    graph.node.extend(kept)
    try:
        return _function_of(graph, [node.name for node in arguments], outputs), graph.ByteSize()
    except (ValueError, tf.errors.OpError) as error:
        raise _NotOptimized(f"its optimised graph could not be turned into a function ({error})") from error


def _compiled_graph(concrete: Any) -> Any:
    """The graph (a GraphDef) that TensorFlow runs when Python calls a function; this does not run the function."""
    context = eager_context.context()
    if context.is_async():
        raise _NotOptimized("TensorFlow executes asynchronously")
    unusual = {t.dtype.name for t in concrete.inputs[: len(concrete.inputs) - len(concrete.captured_inputs)]}
    unusual &= {"variant", "resource"}
    if unusual:
        raise _NotOptimized(f"it takes a {min(unusual)}")
    config_proto, executor_type, _ = function_config()
    with tf.device("CPU:0"):
        # Only their devices matter: no operation ever sees them.
        num_arguments = len(concrete.inputs) - len(concrete.captured_inputs)
        arguments = [tf.zeros([0], t.dtype) for t in concrete.inputs[:num_arguments]]
    cancelled = cancellation.CancellationManager()
    cancelled.start_cancel()
    with _collecting():
        tf.raw_ops.NoOp()  # beforehand, so that the next one adds no graph
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
        except tf.errors.CancelledError:
            tf.raw_ops.NoOp()  # graphs are handed over after the next operation that succeeds
            graphs = context.export_run_metadata().function_graphs
        except tf.errors.OpError as error:
            raise _NotOptimized(f"TensorFlow did not compile it ahead ({type(error).__name__})") from error
        else:
            raise AssertionError("TensorFlow ran a function that was cancelled.")
        finally:
            context.disable_graph_collection()
    # Other threads may have compiled functions at the same time.
    found = [g.post_optimization_graph for g in graphs if _is_graph_of(concrete, g.post_optimization_graph)]
    if len(found) != 1:
        raise _NotOptimized(f"TensorFlow reported {len(found)} optimised graphs of it instead of one")
    return found[0]


_collecting_thread: int | None = None


@contextlib.contextmanager
def _collecting() -> Iterator[None]:
    """A context that collects graphs: TensorFlow allows only one collector, which gets the graphs of all threads.

    While `tf.summary.trace_on` collects, the graphs belong to the user; it waits while we collect.
    """
    global _collecting_thread
    if _collecting_thread == threading.get_ident():  # a destructor may run while we collect
        raise _NotOptimized("another function is being compiled in this thread")
    with summary_ops._current_trace_context_lock:
        if summary_ops._current_trace_context is not None:
            raise _NotOptimized("tf.summary.trace_on is collecting the graphs of functions")
        _collecting_thread = threading.get_ident()
        try:
            yield
        finally:
            _collecting_thread = None


def _is_graph_of(concrete: Any, graph: Any) -> bool:
    names = [argument.name for argument in concrete.function_def.signature.input_arg]
    num_results = len(_by_index(graph, "_Retval"))
    return [node.name for node in _by_index(graph, "_Arg")] == names and num_results == len(concrete.outputs)


def _by_index(graph: Any, op: str) -> list[Any]:
    """The nodes of arguments or results in their order; an empty list if their indices are not 0, 1, ..."""
    nodes = sorted((n for n in graph.node if n.op == op), key=lambda n: n.attr["index"].i)
    return nodes if [n.attr["index"].i for n in nodes] == list(range(len(nodes))) else []


def _make_placeholder(node: Any, shape: tf.TensorShape) -> None:
    dtype = node.attr["T"].type
    node.op = "Placeholder"
    node.device = ""
    node.attr.clear()
    node.attr["dtype"].type = dtype
    node.attr["shape"].shape.CopyFrom(shape.as_proto())


def _function_of(graph_def: Any, inputs: list[str], outputs: list[str]) -> Any:
    name = f"__tfminimize_optimized_{next(_numbers)}"
    graph = func_graph.FuncGraph(name)
    with graph.as_default():
        importer.import_graph_def_for_function(graph_def, name="")

        def tensor(name: str) -> Any:
            return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")

        graph.inputs = [tensor(name) for name in inputs]
        graph.outputs = [tensor(name) for name in outputs]
        # Keep every side effect that the optimisation has left. Those in a loop happen with the loop.
        in_loops = _nodes_in_loops(graph_def)
        graph.control_outputs = [op for op in graph.get_operations() if _has_effects(op) and op.name not in in_loops]
    graph.structured_outputs = tuple(graph.outputs)
    return atomic_function.from_func_graph(name, graph, {})


_READS = READS | {"LookupTableFindV2", "Placeholder"}
_STATELESS = CHECKS | {"DeepCopy", "EagerPyFunc", "PrintV2", "PyFunc"}
_CALLS = frozenset({"Case", "If", "StatefulPartitionedCall", "While"})
_RANDOM = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoissonV2",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "RngReadAndSkip",
        "TruncatedNormal",
    }
)
_KEEP_NOTHING = (
    _READS | CHECKS | _CALLS | _RANDOM | {"AssignAddVariableOp", "AssignSubVariableOp", "PrintV2", "VarHandleOp"}
)
"""Operations that count as stateful, but keep none of their inputs."""


def keeper(concrete: Any) -> str | None:
    """An operation in a function, or in one that it calls, that may keep an input after the call; None without one.

    The input may be the memory of x itself, which the solver changes later. So the function gets a copy of x if any
    operation, such as an assignment, a queue, a list in a variable or a `tf.py_function`, may keep its inputs, whether
    or not it depends on x.
    """
    return next((f"'{node.name}' ({node.op})" for node in private.operations(concrete) if _may_keep(node)), None)


def effect(concrete: Any) -> str | None:
    """An operation in a function, or in one that it calls, that does more than read; None without one.

    A function without any computes the same in one call as in two.
    """
    return next((f"'{node.name}' ({node.op})" for node in private.operations(concrete) if _does_more(node)), None)


def _does_more(node: Any) -> bool:
    definition = private.op_def(node.op)
    return definition is not None and definition.is_stateful and node.op not in _READS | CHECKS | _CALLS


def _may_keep(node: Any) -> bool:
    definition = private.op_def(node.op)
    if definition is None:  # a call of a function, whose operations are checked too
        return False
    if node.op == "AssignVariableOp":  # an integer cannot share memory with x, except through a Bitcast
        dtype = tf.as_dtype(node.attr["dtype"].type)
        return not (dtype.is_integer or dtype.is_bool)
    has_state = definition.is_stateful or any(argument.is_ref for argument in definition.input_arg)
    return node.op in ("Bitcast", "PyFuncStateless") or (has_state and node.op not in _KEEP_NOTHING)


def _has_effects(op: Any) -> bool:
    return op.op_def.is_stateful and op.type not in _READS


def _keeps_state(function: Any) -> bool:
    """Whether an operation of a function keeps its own state between calls, as random numbers do."""
    return any(
        _has_effects(op) and op.type not in _STATELESS and not any(t.dtype == tf.resource for t in op.inputs)
        for op in function.graph.get_operations()
    )


def _is_repeatable(function: Any) -> bool:
    """Whether calling a function twice has the same effect as calling it once."""
    return not any(_has_effects(op) and op.type not in CHECKS for op in function.graph.get_operations())


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
