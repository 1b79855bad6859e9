"""Tracing: one TensorFlow function of the loss and its gradient, and what can be wrong with it."""

from __future__ import annotations

import inspect
import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.layout import Segment
from tfminimize._problem.parameters import Unknowns
from tfminimize._tf import dispatch, private, xla
from tfminimize._tf.effects import GraphEffects, is_read_only, warn_of_random_numbers

__all__ = [
    "Backend",
    "Trace",
    "TracedFunction",
    "about_datasets",
    "check_connected",
    "check_context",
    "check_writes",
    "dense",
    "follows_jit",
    "inside_trace",
    "least_precise",
    "scalar",
    "scratch_handle",
    "trace_functions",
    "value_and_gradients",
    "writes_error",
]


class Backend(NamedTuple):
    """What evaluates a trace."""

    name: str
    """"xla": machine code, called without TensorFlow; "tfe": TensorFlow."""
    reason: str
    """A sentence that says why."""
    by_value: tuple[int, ...]
    """The components of x that are the first inputs of its functions."""
    seconds: float = 0.0
    """What compiling to machine code took."""
    compiles: bool = False
    """Whether TensorFlow lets XLA compile it, or a part of it, while it runs."""


class TracedFunction:
    """One TensorFlow function of x, traced and ready to be called from C++.

    Its inputs are, in order, the components of x that are passed by value (in functional use all), the tensors of
    ``args``, and what the function captures.

    Attributes
    ----------
    call : dispatch.Dispatchable or xla.MachineCode
        How to call the function.
    captured_inputs : list of tf.Tensor
    handles : dict
        From the `id` of a captured handle to the component that takes its place.
    loss_dtype : str
    """

    def __init__(
        self,
        call: dispatch.Dispatchable | xla.MachineCode,
        concrete: Any,
        unknowns: Unknowns,
        handles: dict[int, int] | None = None,
    ) -> None:
        self.call = call
        self.captured_inputs = list(call.captured_inputs)
        self.handles = {id(v.handle): i for i, v in enumerate(unknowns.variables)} if handles is None else handles
        self.loss_dtype: str = concrete.outputs[0].dtype.name


class Trace:
    """The loss and its gradient as one TensorFlow function, for one set of shapes and dtypes.

    Its outputs are the loss, a scalar, and one gradient for each component of x.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` in functional use, ``fun(*args)`` for variables; returns the loss.
    unknowns : Unknowns
    arguments : Arguments
    jit_compile : bool or None
        None follows ``fun``.

    Raises
    ------
    ValueError
        If the loss is not a real scalar, depends on nothing that is optimised, or writes to it.

    Attributes
    ----------
    function : TracedFunction
    backend : Backend
    dtype : str
        The least precise of x and the loss.
    seconds : float
        What tracing took.
    """

    def __init__(self, fun: Callable[..., Any], unknowns: Unknowns, arguments: Arguments, jit_compile: bool | None):
        begin = time.perf_counter()
        jit = follows_jit(fun) if jit_compile is None else jit_compile
        (self.function,), self.backend = trace_functions(
            lambda jit: [self.traced(fun, unknowns, arguments, jit)], unknowns, arguments.tensors, jit
        )
        self.dtype = least_precise([self.function.loss_dtype], unknowns)
        self.seconds = time.perf_counter() - begin - self.backend.seconds

    def traced(self, fun: Callable[..., Any], unknowns: Unknowns, arguments: Arguments, jit: bool) -> Any:
        """The function, not yet traced."""
        return value_and_gradients(fun, unknowns, arguments, jit)


def rounding_unit(dtypes: Iterable[str], unknowns: Unknowns) -> float:
    """That of what is computed from x in these dtypes."""
    return float(np.finfo(least_precise(dtypes, unknowns)).eps)


def least_precise(dtypes: Iterable[str], unknowns: Unknowns) -> str:
    """The dtype with the fewest digits, among those of the components of x and of what is computed from it."""
    return max(*(s.dtype for s in unknowns.layout.segments), *dtypes, key=lambda dtype: np.finfo(dtype).eps)


def trace_functions(
    make: Callable[[bool], Sequence[Any]], unknowns: Unknowns, tensors: Sequence[tf.Tensor], jit: bool
) -> tuple[list[TracedFunction], Backend]:
    """Trace functions of the same inputs, ready for what evaluates them.

    Parameters
    ----------
    make : callable
        ``make(jit)`` returns each as a `tf.function`.
    unknowns : Unknowns
    tensors : sequence of tf.Tensor
        Those of ``args``.
    jit : bool
        Whether XLA is to compile them. What it cannot compile runs without it.
    """
    segments = () if unknowns.variables else unknowns.layout.segments
    specs = [tf.TensorSpec(s.shape, s.dtype) for s in segments]
    specs += [tf.TensorSpec(t.shape, t.dtype) for t in tensors]

    def traced(jit: bool) -> list[Any]:
        with xla.tried(), private.recording():
            functions = [function.get_concrete_function(*specs) for function in make(jit)]
        for concrete in functions:
            check_writes(concrete, unknowns)
        return functions

    functions = traced(jit)
    by_value = tuple(range(len(segments)))
    reason = "jit_compile is not True, so TensorFlow runs the function"
    if jit:
        begin = time.perf_counter()
        try:
            codes = xla.compile_functions(functions)
        except xla.NotCompiled as error:
            reason = str(error)
        except xla.NotCompilable as error:
            jit, reason, functions = False, str(error), traced(False)
        else:
            backend = Backend("xla", xla.COMPILED, by_value, time.perf_counter() - begin)
            return [TracedFunction(*pair, unknowns) for pair in zip(codes, functions, strict=True)], backend
    graphs = [concrete.graph.as_graph_def() for concrete in functions]
    warn_of_random_numbers(graphs)
    keeper = next(filter(None, map(dispatch.keeper, functions)), None)
    if keeper is not None:
        reason += f"; it gets copies of x, as operation {keeper} may keep what it gets"
    assigned = _assigned(graphs, unknowns, jit, keeper is not None)
    found = []
    for concrete in functions:
        handles = None
        if assigned:
            concrete, handles = _with_assignments(concrete, unknowns, assigned, specs, jit)
        call = dispatch.dispatchable(concrete, jit and not assigned)
        found.append(TracedFunction(call, concrete, unknowns, handles))
    compiles = jit or any(GraphEffects(graph.node, graph.library).has_compiled_parts() for graph in graphs)
    return found, Backend("tfe", reason, assigned if unknowns.variables else by_value, compiles=compiles)


def follows_jit(fun: Callable[..., Any]) -> bool:
    """Whether ``fun`` is a ``tf.function(jit_compile=True)``."""
    # A decorator made by functools.wraps has the attributes of the function inside.
    return isinstance(fun, tf.types.experimental.PolymorphicFunction) and bool(fun._jit_compile)


def check_context() -> None:
    """Raise RuntimeError where functions cannot be compiled and called: while a graph is built, or all run eagerly."""
    if not tf.executing_eagerly():
        raise RuntimeError(
            "a Minimizer was called while a graph is being built: call it outside of tf.function, or "
            "tfminimize.minimize inside."
        )
    if tf.config.functions_run_eagerly():
        raise RuntimeError(
            "tf.config.run_functions_eagerly(True) is set, but the solver calls a compiled function: "
            "set it to False for the solve."
        )


def inside_trace(fun: Callable[..., Any], jit: bool, name: str = "fun") -> Callable[..., Any]:
    """What to call while tracing: the function with its own rules for AutoGraph, and no XLA inside if it is off.

    Messages call it by this name.
    """
    called: Callable[..., Any] = fun
    if isinstance(fun, tf.types.experimental.PolymorphicFunction):
        if follows_jit(fun) and not jit:
            called = fun.python_function
            if getattr(fun, "_autograph", True):
                called = private.autograph(called)
    elif not isinstance(fun, tf.types.experimental.ConcreteFunction):
        called = private.autograph(fun)

    def call(*args: Any) -> Any:
        try:
            return called(*args)
        except TypeError as error:
            _explain_arguments(fun, args, name, error)
            raise

    return call


def _explain_arguments(fun: Callable[..., Any], args: tuple[Any, ...], name: str, error: TypeError) -> None:
    """Raise TypeError with a sentence that explains an error, if the function does not take so many arguments."""
    try:
        signature = inspect.signature(fun, follow_wrapped=False)
    except (TypeError, ValueError):  # a builtin that does not say what it takes
        return
    try:
        signature.bind(*args)
    except TypeError as reason:
        own = getattr(fun, "__name__", type(fun).__name__)
        given = ", ".join(map(_described, args))
        remedy = (
            "It gets x, or nothing where x0 is made of variables, and then the elements of args"
            if args
            else "The unknowns are variables, which it reads by itself: let it take no arguments"
        )
        raise TypeError(f"{name} is {own}{signature}, but is called as {own}({given}): {reason}. {remedy}.") from error


def _described(argument: Any) -> str:
    if tf.is_tensor(argument):
        return f"{argument.dtype.name} tensor of shape {argument.shape}"
    return type(argument).__name__


def value_and_gradients(fun: Callable[..., Any], unknowns: Unknowns, arguments: Arguments, jit: bool) -> Any:
    """The loss and its gradients as a `tf.function` of the leaves of x, in functional use, and the tensors of args."""
    fun = inside_trace(fun, jit)
    rebuild_args = arguments.rebuilder()
    num_leaves = 0 if unknowns.variables else len(unknowns.layout.segments)

    def traced(*inputs: tf.Tensor) -> list[tf.Tensor]:
        sources = list(unknowns.variables) or list(inputs[:num_leaves])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            args = rebuild_args(inputs[num_leaves:])
            if not unknowns.variables:
                args = (unknowns.rebuild(sources), *args)
            loss = scalar(fun(*args))
        gradients = tape.gradient(loss, sources)
        check_connected(gradients, unknowns)
        return [loss, *map(dense, gradients, sources, unknowns.layout.names)]

    return tf.function(traced, autograph=False, jit_compile=jit or None)


def scalar(loss: Any, name: str = "the loss") -> tf.Tensor:
    """The loss as a scalar tensor; a single element of any rank counts, as in SciPy."""
    if loss is None:
        raise ValueError("fun returned None: return the loss, a real scalar tensor.")
    if isinstance(loss, (tuple, list, dict)):
        raise ValueError(
            f"fun returned a {type(loss).__name__}: return the loss only, a real scalar tensor; "
            "the gradient is made by TensorFlow."
        )
    try:
        loss = tf.convert_to_tensor(loss)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fun returned {loss!r}, which is no tensor: return the loss, a real scalar.") from error
    if loss.dtype not in (tf.float64, tf.float32):
        raise ValueError(f"the loss has dtype {loss.dtype.name}: return a real scalar of dtype float64 or float32.")
    if not loss.shape.is_fully_defined():
        raise ValueError(
            f"{name} has shape {loss.shape}, which is not static: reduce it to a scalar, for example by "
            "tf.reduce_sum, or fix its shape by tf.ensure_shape(loss, [])."
        )
    if loss.shape.num_elements() != 1:
        shape = tuple(loss.shape.as_list())
        raise ValueError(f"{name} has shape {shape}, not that of a scalar: reduce it, for example by tf.reduce_sum.")
    return tf.reshape(loss, [])


def check_connected(gradients: Sequence[Any], unknowns: Unknowns, subject: str | None = None) -> None:
    """Raise ValueError if none of the gradients, one for each component, is there; warn if one is not."""
    subject = subject or "the loss does not depend"
    names = [s.name for s, g in zip(unknowns.layout.segments, gradients, strict=True) if g is None]
    if len(names) == len(gradients):
        them = "them" if len(names) > 1 else "it"
        raise ValueError(
            f"{subject} on {' or '.join(names)} in a way that TensorFlow can differentiate: compute it from {them} "
            f"with TensorFlow operations, without .numpy() or integer casts.{about_datasets()}"
        )
    for name in () if unknowns.may_be_unused else names:
        warnings.warn(
            f"{subject[0].upper()}{subject[1:]} on {name}: its gradient is taken as zero, and it keeps its value."
            f"{about_datasets()}",
            UserWarning,
            stacklevel=2,
        )


def about_datasets() -> str:
    """What to say about a missing gradient if the function that is being traced reads a `tf.data.Dataset`."""
    graph = tf.compat.v1.get_default_graph().as_graph_def()
    if not GraphEffects(graph.node, graph.library).has_datasets():
        return ""
    return (
        " TensorFlow has no gradient of a loop over a tf.data.Dataset: make batches = list(dataset) before the solve "
        "and loop over them, or join them to one tensor."
    )


def dense(gradient: Any, source: Any, name: str, rows: tuple[int, ...] = ()) -> tf.Tensor:
    """A gradient by what has this name, or a Jacobian of so many rows, as one tensor; zeros for None."""
    shape = tf.TensorShape([*rows, *source.shape])
    if gradient is None:
        return tf.zeros(shape, source.dtype)
    gradient = tf.convert_to_tensor(gradient)
    if not gradient.shape.is_compatible_with(shape):
        raise ValueError(
            f"the gradient by {name} has shape {gradient.shape[len(rows) :]}, but {name} has shape {source.shape}: let "
            "the tf.custom_gradient in the function return one of the same shape."
        )
    return tf.ensure_shape(gradient, shape)


def check_writes(concrete: Any, unknowns: Unknowns) -> None:
    """Raise ValueError if a function writes to a variable that is optimised."""
    for variable in unknowns.variables:
        if not is_read_only(concrete.graph, variable.handle):
            raise writes_error(variable.name, unknowns.name)


def writes_error(variable: str, unknowns: str) -> ValueError:
    """What to raise where a variable that is optimised is written."""
    return ValueError(
        f"the loss or a constraint writes to variable '{variable}', which is being optimised: remove the assignment "
        f"from the function, or leave the variable out of {unknowns}."
    )


_SPARSE_READS = {"ResourceGather", "ResourceGatherNd"}


def _assigned(graphs: Sequence[Any], unknowns: Unknowns, jit: bool, is_kept: bool) -> tuple[int, ...]:
    """The variables whose stand-ins cannot share the memory of x, so that the functions have to assign them.

    A gather on a variable makes TensorFlow move it to memory of its own ("copy on read"), unless XLA compiles it; a
    variable on another device has other memory anyway; and what may be kept of a variable must not change with x.
    """
    if not unknowns.variables:
        return ()
    bodies = [body for graph in graphs for body in (graph.node, *(f.node_def for f in graph.library.function))]
    gathers = not jit and not _SPARSE_READS.isdisjoint(node.op for node in itertools.chain(*bodies))
    has_own = is_kept or gathers
    return tuple(i for i, v in enumerate(unknowns.variables) if has_own or not _in_host_memory(v))


def _in_host_memory(variable: tf.Variable) -> bool:
    device, host = map(tf.DeviceSpec.from_string, (variable.device, private.host_device()))
    is_first_cpu = (device.device_type, device.device_index) == ("CPU", 0)
    return is_first_cpu and bool(host.make_merged_spec(device) == host)  # that of no other process


def _with_assignments(
    concrete: Any, unknowns: Unknowns, by_value: tuple[int, ...], specs: list[tf.TensorSpec], jit: bool
) -> tuple[Any, dict[int, int]]:
    """The function with these variables as its first inputs, which it assigns to stand-ins before it reads them."""
    segments = [unknowns.layout.segments[i] for i in by_value]
    stand_ins = {i: scratch_handle(unknowns.variables[i].device, s) for i, s in zip(by_value, segments, strict=True)}
    for i, handle in stand_ins.items():
        private.copy_handle_data(unknowns.variables[i].handle, handle)
    replaced = {id(unknowns.variables[i].handle): handle for i, handle in stand_ins.items()}

    def assign_and_call(*inputs: tf.Tensor) -> Any:
        for handle, value in zip(stand_ins.values(), inputs, strict=False):
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        captured = [replaced.get(id(tensor), tensor) for tensor in concrete.captured_inputs]
        outputs = [tensor.dtype for tensor in concrete.outputs]
        arguments = [*inputs[len(stand_ins) :], *captured]
        results = tf.raw_ops.StatefulPartitionedCall(args=arguments, Tout=outputs, f=concrete)
        if jit and all(map(_in_host_memory, unknowns.variables)):  # XLA takes no variables of another device
            private.mark_for_xla(results[0].op)
        return results

    inputs = [tf.TensorSpec(s.shape, s.dtype) for s in segments]
    outer = tf.function(assign_and_call, autograph=False).get_concrete_function(*inputs, *specs)
    handles = {id(v.handle): i for i, v in enumerate(unknowns.variables) if i not in stand_ins}
    return outer, handles | {id(handle): i for i, handle in stand_ins.items()}


def scratch_handle(device: str, segment: Segment) -> tf.Tensor:
    """The handle of a new resource for a component of x.

    A raw resource, not a `tf.Variable`: no creator scope, distribution strategy, tape or collection of the user's
    sees it. It lives until `tf.raw_ops.DestroyResourceOp`.
    """
    with tf.init_scope(), tf.device(device):
        return tf.raw_ops.VarHandleOp(dtype=segment.dtype, shape=segment.shape, shared_name=private.anonymous_name())
