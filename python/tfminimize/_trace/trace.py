"""Trace: the TensorFlow functions of one problem, and how each is best called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Unknowns
from tfminimize._tf import dispatch, private, xla
from tfminimize._tf.effects import GraphEffects, warn_of_random_numbers
from tfminimize._trace.checks import check_writes
from tfminimize._trace.objective_graph import ObjectiveGraph
from tfminimize._trace.stand_ins import cannot_share, with_assignments
from tfminimize._trace.user_function import follows_jit

__all__ = ["Backend", "Trace", "TracedFunction"]


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
    """The loss and its gradient, and the constraints, as TensorFlow functions, for one set of shapes and dtypes.

    All functions take the same inputs: components by value, the tensors of the loss's ``args``, and those of the
    constraints'. They return what those of the same names in `ObjectiveGraph` do.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` in functional use, ``fun(*args)`` for variables; returns the loss.
    unknowns : Unknowns
    arguments : Arguments
        Those of the loss.
    jit_compile : bool or None
        None follows ``fun``.
    constraints : Constraints or None
        None for a method that takes none.

    Raises
    ------
    ValueError
        If the loss is not a real scalar, or a constraint not real or of no static shape; if nothing depends on what is
        optimised, or something writes to it.

    Attributes
    ----------
    functions : list of TracedFunction
        The derivatives; with constraints, even if no function is among them, the values and the derivatives.
    backend : Backend
    shapes : tuple of tuple of int
        Those that the constraint functions return.
    num_values : int
        How many values these have.
    loss_dtype, values_dtype : str
    dtype : str
        The least precise of x, the loss and the constraints.
    seconds : float
        What tracing took.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        unknowns: Unknowns,
        arguments: Arguments,
        jit_compile: bool | None,
        constraints: Constraints | None = None,
    ) -> None:
        begin = time.perf_counter()
        given = Constraints((), unknowns) if constraints is None else constraints
        graphs: list[ObjectiveGraph] = []

        def make(jit: bool) -> list[Any]:
            has_linear = len(given.matrix) > 0
            graph = ObjectiveGraph(fun, unknowns, arguments, given.functions, jit=jit, has_others=has_linear)
            graphs.append(graph)
            functions = self._traced(graph, constraints is not None)
            return [tf.function(f, autograph=False, jit_compile=jit or None) for f in functions]

        jit = follows_jit(fun) if jit_compile is None else jit_compile
        self.functions, self.backend = _trace(make, unknowns, [*arguments.tensors, *given.tensors], jit)
        graph = graphs[-1]
        self.shapes = graph.shapes
        self.num_values = sum(map(math.prod, graph.shapes))
        self.loss_dtype = self.functions[0].loss_dtype
        self.values_dtype = graph.values_dtype
        self.dtype = graph.dtype
        self.seconds = time.perf_counter() - begin - self.backend.seconds

    @staticmethod
    def _traced(graph: ObjectiveGraph, has_constraints: bool) -> list[Callable[..., list[tf.Tensor]]]:
        return [graph.values, graph.derivatives] if has_constraints else [graph.derivatives]


def _trace(
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
            backend = Backend("xla", xla.COMPILED, tuple(range(len(segments))), time.perf_counter() - begin)
            return [TracedFunction(*pair, unknowns) for pair in zip(codes, functions, strict=True)], backend
    return _for_tensorflow(functions, unknowns, specs, jit, reason)


def _for_tensorflow(
    functions: Sequence[Any], unknowns: Unknowns, specs: list[tf.TensorSpec], jit: bool, reason: str
) -> tuple[list[TracedFunction], Backend]:
    """The traced functions, where TensorFlow calls them for this reason."""
    graphs = [concrete.graph.as_graph_def() for concrete in functions]
    warn_of_random_numbers(graphs)
    keeper = next(filter(None, map(dispatch.keeper, functions)), None)
    if keeper is not None:
        reason += f"; it gets copies of x, as operation {keeper} may keep what it gets"
    assigned = cannot_share(graphs, unknowns, jit, keeper is not None)
    found = []
    for concrete in functions:
        handles = None
        if assigned:
            concrete, handles = with_assignments(concrete, unknowns, assigned, specs, jit)
        call = dispatch.dispatchable(concrete, jit and not assigned)
        found.append(TracedFunction(call, concrete, unknowns, handles))
    compiles = jit or any(GraphEffects(graph.node, graph.library).has_compiled_parts() for graph in graphs)
    by_value = assigned if unknowns.variables else tuple(range(len(unknowns.layout.segments)))
    return found, Backend("tfe", reason, by_value, compiles=compiles)
