"""Trace: the TensorFlow functions of one problem, and how to call each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import dispatch, private, xla
from tfminimize._tf.effects import GraphEffects, warn_of_random_numbers
from tfminimize._trace.checks import check_writes
from tfminimize._trace.dataset_loss import Loss, batch_loss
from tfminimize._trace.objective_graph import ObjectiveGraph
from tfminimize._trace.stand_ins import cannot_share, with_assignments
from tfminimize._trace.user_function import follows_jit

__all__ = ["Backend", "Trace", "TracedFunction"]


class Backend(NamedTuple):
    """How a trace is evaluated."""

    name: str
    """"xla": machine code, called without TensorFlow; "tfe": TensorFlow."""
    reason: str
    """Why: a sentence."""
    by_value: tuple[int, ...]
    """Indices of the components of x that are passed by value, as the first inputs."""
    seconds: float = 0.0
    """How long compiling to machine code took."""
    compiles: bool = False
    """Whether TensorFlow has XLA compile it, or a part of it, while it runs."""


class TracedFunction(NamedTuple):
    """One TensorFlow function of x, traced and ready to be called from C++.

    Its inputs are, in order, the components of x that are passed by value (in functional use all), the tensors of
    ``args``, and the captured inputs.
    """

    call: dispatch.CallPlan | xla.CompiledProgram
    """How to call the function."""
    captured_inputs: list[tf.Tensor]
    handles: dict[int, int]
    """Maps the `id` of a captured handle to the index of the component that replaces it."""


class Trace:
    """The loss and its gradient, and the constraints, as TensorFlow functions, for one set of shapes and dtypes.

    All take the same inputs: components by value, the tensors of the loss's ``args``, and those of the constraints'.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` in functional use, ``fun(*args)`` for variables; returns the loss.
    parameters : Parameters
    arguments : Arguments
        The loss's ``args``.
    jit_compile : bool or None
        None follows ``fun``.
    constraints : Constraints or None
        None for a method without constraints.

    Raises
    ------
    ValueError
        If the loss is not a real scalar, or a constraint is not real or has no static shape; if nothing depends on x,
        or a function writes to its variables.

    Attributes
    ----------
    functions : list of TracedFunction
        `ObjectiveGraph.derivatives`; unless ``constraints`` is None, `ObjectiveGraph.values` before it.
    backend : Backend
    shapes : tuple of tuple of int
        The shapes that the constraint functions return.
    num_values : int
        How many values these have in all.
    num_sums : int
        How many sums the functions return beside a loss `with_sums`, as their last output.
    loss_dtype, values_dtype : str
    dtype : str
        The least precise of x, the loss and the constraints.
    seconds : float
        How long tracing took.
    """

    def __init__(
        self,
        fun: Loss,
        parameters: Parameters,
        arguments: Arguments,
        jit_compile: bool | None,
        constraints: Constraints | None = None,
    ) -> None:
        begin = time.perf_counter()
        given = Constraints((), parameters) if constraints is None else constraints
        segments = () if parameters.variables else parameters.layout.segments
        inputs = (*segments, *arguments.tensors, *given.tensors)
        specs = [tf.TensorSpec(one.shape, one.dtype) for one in inputs]

        def trace(jit: bool) -> tuple[ObjectiveGraph, list[Any]]:
            has_linear = len(given.matrix) > 0
            graph = ObjectiveGraph(
                fun, parameters, arguments, given.functions, jit=jit, has_others=has_linear, takes_sums=True
            )
            traced = self._traced(graph, constraints)
            whole = jit and not graph.reads_dataset
            called = [tf.function(f, autograph=False, jit_compile=whole or None) for f in traced]
            with xla.tried(), private.recording():
                functions = [function.get_concrete_function(*specs) for function in called]
            for concrete in functions:
                check_writes(concrete, parameters)
            return graph, functions

        jit = follows_jit(batch_loss(fun)) if jit_compile is None else jit_compile
        graph, functions = trace(jit)
        compiled, reason = None, "jit_compile is not True, so TensorFlow runs the function"
        if jit and graph.reads_dataset:
            jit, reason = False, "TensorFlow reads the tf.data.Dataset, and XLA compiles the loss of a batch"
        if jit:
            compiling = time.perf_counter()
            try:
                compiled = xla.compile_functions(functions)
            except xla.NotCompiled as error:
                reason = str(error)
            except xla.NotCompilable as error:
                jit, reason = False, str(error)
                graph, functions = trace(jit)
        if compiled is None:
            self.functions, self.backend = _for_tensorflow(functions, parameters, specs, jit, reason)
        else:
            seconds = time.perf_counter() - compiling
            self.functions = [TracedFunction(code, code.captured_inputs, _components(parameters)) for code in compiled]
            self.backend = Backend("xla", xla.COMPILED, tuple(range(len(segments))), seconds)
        self.shapes = graph.shapes
        self.num_values = sum(map(math.prod, graph.shapes))
        self.num_sums = graph.num_sums
        self.loss_dtype = graph.loss_dtype
        self.values_dtype = graph.values_dtype
        self.dtype = graph.dtype
        self.seconds = time.perf_counter() - begin - self.backend.seconds

    @staticmethod
    def _traced(graph: ObjectiveGraph, constraints: Constraints | None) -> list[Callable[..., list[tf.Tensor]]]:
        """Return the Python functions to trace, in the order of `functions`."""
        return [graph.derivatives] if constraints is None else [graph.values, graph.derivatives]


def _components(parameters: Parameters) -> dict[int, int]:
    """Map the `id` of each variable's handle to the index of its component of x."""
    return {id(v.handle): i for i, v in enumerate(parameters.variables)}


def _for_tensorflow(
    functions: Sequence[Any], parameters: Parameters, specs: list[tf.TensorSpec], jit: bool, reason: str
) -> tuple[list[TracedFunction], Backend]:
    """Prepare traced functions for TensorFlow to call, for the reason given."""
    graphs = [concrete.graph.as_graph_def() for concrete in functions]
    warn_of_random_numbers(graphs)
    keeper = next(filter(None, map(dispatch.keeper, functions)), None)
    if keeper is not None:
        reason += f"; it gets copies of x, as operation {keeper} may keep what it gets"
    assigned = cannot_share(graphs, parameters, jit, keeper is not None)
    found = []
    for concrete in functions:
        handles = _components(parameters)
        if assigned:
            concrete, own = with_assignments(concrete, parameters, assigned, specs, jit)
            handles |= own
        call = dispatch.call_plan(concrete, jit and not assigned)
        found.append(TracedFunction(call, call.captured_inputs, handles))
    compiles = jit or any(GraphEffects(graph.node, graph.library).has_compiled_parts() for graph in graphs)
    by_value = assigned if parameters.variables else tuple(range(len(parameters.layout.segments)))
    return found, Backend("tfe", reason, by_value, compiles=compiles)
