"""Turns a problem into functions of one flat vector x, which the operation `TfminimizeMinimize` calls in a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraint_rows import Rows
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import private
from tfminimize._tf.effects import is_read_only, warn_of_random_numbers
from tfminimize._trace.checks import check_captured
from tfminimize._trace.flat import FLAT, join, join_columns, split
from tfminimize._trace.objective_graph import ObjectiveGraph

__all__ = ["Functions", "Slices", "TraceFunction"]


@dataclass(frozen=True)
class TraceFunction:
    """A function that the solver calls after each iteration.

    Attributes
    ----------
    fun : callable
        ``fun(x, loss, gradients, state)`` gets the leaves of x (none in variable use: the variables hold the iterate),
        the loss, the gradient of each leaf, and the state, a list of tensors. It returns a bool tensor, true to end the
        solve; a new state of the same shapes and dtypes; and a list of tensors of static shape.
    state : sequence of tf.Tensor
        The state for the first call.
    at_start : bool
        Whether the solver also calls it at the start, where it cannot end the solve.
    """

    fun: Callable[[list[tf.Tensor], tf.Tensor, list[tf.Tensor], list[tf.Tensor]], tuple[Any, Any, Any]]
    state: Sequence[tf.Tensor] = ()
    at_start: bool = False


class Slices:
    """Tensors with a slice for each problem of a batch, which the functions take.

    Attributes
    ----------
    wholes : dict
        The tensors, by the `id` of what stands for a slice of each.
    """

    def __init__(self) -> None:
        self.wholes: dict[int, tf.Tensor] = {}
        self._slices: list[tf.Tensor] = []

    def of(self, args: Any) -> Any:
        """Return ``args`` with a slice in the place of each tensor; the slice never gets a value."""
        return tf.nest.map_structure(self._slice, args)

    def _slice(self, whole: tf.Tensor) -> tf.Tensor:
        one = tf.gather(whole, 0)  # whole[0] would be refused if the graph knows that there are no problems
        self.wholes[id(one)] = whole
        self._slices.append(one)
        return one


class Functions:
    """The functions of one problem, traced when the operation is added to a graph.

    Each takes x ``[n]`` and ``captures``; between them the trace function takes the loss, the gradient and the state.
    Each body only calls the real function, so that TensorFlow optimises and compiles it as it does elsewhere.

    Parameters
    ----------
    fun : callable
    parameters : Parameters
    arguments : Arguments
        May hold symbolic tensors.
    constraints : Constraints or None
        None for L-BFGS-B.
    jit : bool
    trace : TraceFunction or None
    batched : Slices, optional
        The tensors in ``arguments`` and ``constraints`` that differ between the problems of a batch.

    Attributes
    ----------
    functions, trace_functions : list of ConcreteFunction
        In the form that the operation takes.
    trace_dtypes, trace_shapes : list
        Those of the traced tensors.
    captures : list of tf.Tensor
        For a batched tensor all of it, although the functions take a slice.
    batched : list of int
        Indices of the captures that are batched.
    variables : list of int
        Indices of the captures that are handles of the variables of x; empty in functional use.
    read_only : list of int
        Indices of the captures that are resources and only read.
    num_equalities, num_constraints : int
    dtype : str
        The least precise of x, the loss and the constraints.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        parameters: Parameters,
        arguments: Arguments,
        constraints: Constraints | None,
        jit: bool,
        trace: TraceFunction | None = None,
        batched: Slices | None = None,
    ) -> None:
        self._parameters = parameters
        given = Constraints((), parameters) if constraints is None else constraints
        self._tensors = [*arguments.tensors, *given.tensors]
        has_linear = len(given.matrix) > 0
        graph = ObjectiveGraph(fun, parameters, arguments, given.functions, jit=jit, has_others=has_linear)
        self._jit = jit and not graph.reads_dataset
        inner = [self._traced(function) for function in self._flat(graph, constraints)]
        rows = given.rows(graph.shapes)
        self.num_equalities, self.num_constraints = rows.num_equalities, len(rows)
        self.dtype = graph.dtype
        inner_trace = (
            None if trace is None else self._traced(_trace(trace, parameters), _trace_specs(trace, parameters))
        )
        captured = {id(t): t for f in (*inner, inner_trace) if f is not None for t in f.captured_inputs}
        handles = {id(v.handle): v.handle for v in parameters.variables}
        others = [tensor for key, tensor in captured.items() if key not in handles]
        self._taken = [*handles.values(), *self._tensors, *others]
        wholes = {} if batched is None else batched.wholes
        self.captures = [wholes.get(id(tensor), tensor) for tensor in self._taken]
        self.batched = [i for i, tensor in enumerate(self._taken) if id(tensor) in wholes]
        self.variables = list(range(len(handles)))
        self.functions = [self._called(f) for f in inner]
        # A solve does not write to the variables of x: they are assigned after it.
        traced_graphs = [f.graph for f in (*inner, inner_trace) if f is not None]
        warn_of_random_numbers(f.graph.as_graph_def() for f in inner)
        self.read_only = [
            i
            for i, tensor in enumerate(self.captures)
            if tensor.dtype == tf.resource and all(is_read_only(graph, tensor) for graph in traced_graphs)
        ]
        self.trace_functions = []
        self.trace_dtypes: list[tf.DType] = []
        self.trace_shapes: list[tf.TensorShape] = []
        if trace is not None and inner_trace is not None:
            traced = inner_trace.outputs[1 + len(trace.state) :]
            self.trace_functions = [self._called(inner_trace, _trace_specs(trace, parameters))]
            self.trace_dtypes, self.trace_shapes = [t.dtype for t in traced], [t.shape for t in traced]

    def _flat(self, graph: ObjectiveGraph, constraints: Constraints | None) -> list[Callable[..., list[tf.Tensor]]]:
        """Return the functions of x: loss and gradient; with constraints, the values, and values with derivatives."""

        def loss_and_gradient(x: tf.Tensor, *tensors: tf.Tensor) -> list[tf.Tensor]:
            loss, *gradients = graph.derivatives(*self._leaves(x), *tensors)
            return [tf.cast(loss, FLAT), join(gradients)]

        if constraints is None:
            return [loss_and_gradient]

        def values(x: tf.Tensor, *tensors: tf.Tensor) -> list[tf.Tensor]:
            loss, *joined = graph.values(*self._leaves(x), *tensors)
            rows = constraints.rows(graph.shapes)
            return [tf.cast(loss, FLAT), _constraint_values(constraints, rows, x, joined)]

        def derivatives(x: tf.Tensor, *tensors: tf.Tensor) -> list[tf.Tensor]:
            loss, *found = graph.derivatives(*self._leaves(x), *tensors)
            rows = constraints.rows(graph.shapes)
            joined, found = (found[:1], found[1:]) if graph.shapes else ([], found)
            count = len(self._parameters.layout.segments)
            jacobian = _jacobian(constraints, rows, found[count:])
            values = _constraint_values(constraints, rows, x, joined)
            return [tf.cast(loss, FLAT), values, join(found[:count]), jacobian]

        return [values, derivatives]

    def _leaves(self, x: tf.Tensor) -> list[tf.Tensor]:
        return [] if self._parameters.variables else split(x, self._parameters.layout)

    def _specs(self, first: Sequence[tf.TensorSpec] = ()) -> list[tf.TensorSpec]:
        return [tf.TensorSpec([self._parameters.layout.size], FLAT), *first]

    def _traced(self, function: Callable[..., Any], first: Sequence[tf.TensorSpec] = ()) -> Any:
        """Trace the real function, which takes the tensors of ``args`` as inputs."""
        tensors = [tf.TensorSpec(t.shape, t.dtype) for t in self._tensors]
        compiled = tf.function(function, autograph=False, jit_compile=self._jit or None)
        with private.recording():
            concrete = compiled.get_concrete_function(*self._specs(first), *tensors)
        check_captured(concrete, self._parameters)
        return concrete

    def _called(self, inner: Any, first: Sequence[tf.TensorSpec] = ()) -> Any:
        """Trace a function that takes all captures and only calls the real one."""
        own = len(self._specs(first))
        first_tensor = own + len(self.variables)
        tensors = list(range(first_tensor, first_tensor + len(self._tensors)))
        places = {id(tensor): own + i for i, tensor in enumerate(self._taken)}
        order = [*range(own), *tensors, *(places[id(tensor)] for tensor in inner.captured_inputs)]

        def call(*inputs: tf.Tensor) -> Any:
            results = tf.raw_ops.StatefulPartitionedCall(
                args=[inputs[i] for i in order], Tout=[t.dtype for t in inner.outputs], f=inner
            )
            private.mark_read_only(results[0].op, private.read_only_inputs(inner.graph))
            if self._jit:
                private.mark_for_xla(results[0].op)
            return results

        captures = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in self._taken]
        return tf.function(call, autograph=False).get_concrete_function(*self._specs(first), *captures)


def _trace(trace: TraceFunction, parameters: Parameters) -> Callable[..., Any]:
    def traced(x: tf.Tensor, loss: tf.Tensor, gradient: tf.Tensor, *inputs: tf.Tensor) -> list[tf.Tensor]:
        leaves = [] if parameters.variables else split(x, parameters.layout)
        state = list(inputs[: len(trace.state)])
        stop, state, results = trace.fun(leaves, loss, split(gradient, parameters.layout), state)
        return [tf.convert_to_tensor(t) for t in (stop, *state, *results)]

    return traced


def _trace_specs(trace: TraceFunction, parameters: Parameters) -> list[tf.TensorSpec]:
    state = [tf.TensorSpec(t.shape, t.dtype) for t in trace.state]
    return [tf.TensorSpec([], FLAT), tf.TensorSpec([parameters.layout.size], FLAT), *state]


def _constraint_values(constraints: Constraints, rows: Rows, x: tf.Tensor, joined: list[tf.Tensor]) -> tf.Tensor:
    parts = [tf.cast(value, FLAT) for value in joined]
    if len(constraints.matrix):
        parts.append(tf.linalg.matvec(tf.constant(constraints.matrix), x))
    if not parts:
        return tf.zeros([0], FLAT)
    return tf.gather(tf.concat(parts, 0), rows.source) * rows.sign + rows.offset


def _jacobian(constraints: Constraints, rows: Rows, by_component: Sequence[tf.Tensor]) -> tf.Tensor:
    parts = [join_columns(by_component)] if by_component else []
    if len(constraints.matrix):
        parts.append(tf.constant(constraints.matrix))
    if not parts:
        return tf.zeros([0, constraints.matrix.shape[1]], FLAT)
    return tf.gather(tf.concat(parts, 0), rows.source) * rows.sign[:, None]
