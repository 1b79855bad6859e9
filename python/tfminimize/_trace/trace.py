"""Trace: the TensorFlow functions of one problem, and how to call each."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import dispatch, private, xla
from tfminimize._tf.effects import GraphEffects, warn_of_random_numbers
from tfminimize._trace.batches import NO_ROWS, WHOLE, Batches, Part, cut
from tfminimize._trace.blocks import why_at_once
from tfminimize._trace.checks import check_captured, check_connected
from tfminimize._trace.copies import reads_copies
from tfminimize._trace.cost import CONTROL_FLOW
from tfminimize._trace.dataset_loss import BatchSum, DatasetLoss, Loss, batch_loss
from tfminimize._trace.objective_graph import Fetches, ObjectiveGraph
from tfminimize._trace.stand_ins import cannot_share, with_assignments
from tfminimize._trace.user_function import follows_jit

__all__ = ["Backend", "Steps", "Trace", "TracedFunction", "for_tensorflow"]


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

    def is_current(self) -> bool:
        """Whether machine code, if it is that, is still right: sizes that are variables have not changed."""
        return not isinstance(self.call, xla.CompiledProgram) or self.call.is_current()


Steps = Generator[Callable[[], Any], Any, None]
"""The steps of making a trace: it yields what can run in another thread, and gets what that returns or raises."""


def _take(steps: Steps) -> None:
    """Take all steps here and now."""
    try:
        work = next(steps)
        while True:
            try:
                found = work()
            except (xla.NotCompiled, xla.NotCompilable) as error:
                work = steps.throw(error)
            else:
                work = steps.send(found)
    except StopIteration:
        pass


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
    whole : bool
        Whether the functions must be those of all data, not of a batch.
    fetches : callable or None
        Returns numeric tensors that the functions compute besides; they are then those of all data too.

    Raises
    ------
    ValueError
        If the loss is not a real scalar, or a constraint is not real or has no static shape; if nothing depends on x,
        or a function writes to its variables.

    Attributes
    ----------
    functions : list of TracedFunction
        `ObjectiveGraph.derivatives`; unless ``constraints`` is None, `ObjectiveGraph.values` before it. With
        ``batches``, these for each of their parts.
    traced : sequence of ConcreteFunction
        What TensorFlow runs.
    reads_dataset : bool
        Whether it reads a tf.data.Dataset.
    batches : Batches or None
        How the data are cut, if the functions are those of a batch. They are machine code then.
    has_loop : bool
        Whether TensorFlow, in each function, adds up the batches of a loss over data.
    backend : Backend
    jit : bool
        Whether XLA compiles the functions, for us or for TensorFlow.
    shapes : tuple of tuple of int
        The shapes that the constraint functions return.
    num_values : int
        How many values these have in all.
    num_sums : int
        How many sums the functions return, with a loss `with_sums`.
    counts_rows : bool
        Whether the last of these is the number of rows.
    fetched : list of tf.TensorSpec
        What the functions return last.
    loss_dtype, values_dtype : str
    dtype : str
        The least precise of x, the loss and the constraints.
    seconds : float
        How long tracing took.
    """

    takes_copies = True
    """Whether its functions may read other copies of mirrored variables than the first."""

    def __init__(
        self,
        fun: Loss,
        parameters: Parameters,
        arguments: Arguments,
        jit_compile: bool | None,
        constraints: Constraints | None = None,
        *,
        whole: bool = False,
        fetches: Fetches | None = None,
    ) -> None:
        _take(self._make(fun, parameters, arguments, jit_compile, constraints, whole=whole, fetches=fetches))

    @classmethod
    def in_steps(cls, *args: Any, **kwargs: Any) -> tuple[Trace, Steps]:
        """A trace for XLA, with the arguments of the constructor, and the steps that make it.

        The last step raises `xla.NotCompilable` if XLA cannot compile it.
        """
        trace = cls.__new__(cls)
        return trace, trace._make(*args, **kwargs, needs_xla=True)

    def _make(
        self,
        fun: Loss,
        parameters: Parameters,
        arguments: Arguments,
        jit_compile: bool | None,
        constraints: Constraints | None,
        *,
        whole: bool,
        fetches: Fetches | None = None,
        needs_xla: bool = False,
    ) -> Steps:
        begin = time.perf_counter()
        given = Constraints((), parameters) if constraints is None else constraints
        segments = () if parameters.variables else parameters.layout.segments
        inputs = (*segments, *arguments.tensors, *given.tensors)
        specs = [tf.TensorSpec(one.shape, one.dtype) for one in inputs]

        is_empty = isinstance(fun, BatchSum) and fun.is_empty(arguments.first)

        def trace(jit: bool, part: Part = NO_ROWS if is_empty else WHOLE) -> tuple[ObjectiveGraph, list[Any]]:
            graph = ObjectiveGraph(
                fun,
                parameters,
                arguments,
                given.functions,
                jit=jit,
                has_others=len(given.matrix) > 0,
                takes_derivatives=given.takes_derivatives,
                takes_sums=True,
                part=part.kind,
                fetches=fetches,
            )
            traced = self._traced(graph, constraints)
            compiles = jit and not graph.reads_dataset
            called = [tf.function(f, autograph=False, jit_compile=compiles or None) for f in traced]
            part_specs = specs if batches is None else batches.specs(specs, len(segments), part)
            with xla.tried(), private.recording():
                functions = [function.get_concrete_function(*part_specs) for function in called]
            for concrete in functions:
                takes_copies = self.takes_copies and not given.functions
                check_captured(concrete, parameters, takes_copies=takes_copies)
            graph.reads_copies = any(reads_copies(concrete, parameters) for concrete in functions)
            return graph, functions

        jit = follows_jit(batch_loss(fun)) if jit_compile is None else jit_compile
        batches, at_once = cut(fun, arguments, parameters.layout.size), ""
        self._is_cut_for_xla = batches is not None and not whole and not given.functions and fetches is None
        may_be_cut = jit and not whole and not given.functions and fetches is None
        if batches is not None and batches.are_blocks:
            if may_be_cut and isinstance(fun, BatchSum):
                at_once = why_at_once(fun, parameters, arguments, batches.num_tensors)
            if at_once or not may_be_cut:
                batches = None
        made = None
        if may_be_cut and batches is not None:
            made = yield from _made_by_batch(trace, batches)
        self.batches = None if made is None else batches
        if made is None:
            made = yield from _made_at_once(trace, jit, needs_xla)
        elif not len(given.matrix):
            _check_parts(made.graphs, parameters)
        reason = made.reason
        if at_once:
            reason += f"; all rows at once, as {at_once}"
        if batches is not None and self.batches is None and not batches.are_blocks:
            reason += "; TensorFlow's loop adds up the batches"
            reason += ", as there are constraint functions" if made.programs is not None and given.functions else ""
        self.jit, self.reads_dataset = made.jit, made.graphs[0].reads_dataset
        self.traced = made.functions if made.programs is None else ()
        self._parameters = parameters
        self.has_loop = made.programs is None and isinstance(fun, (BatchSum, DatasetLoss))
        if made.programs is None:
            self.functions, self.backend = for_tensorflow(made.functions, parameters, specs, made.jit, reason)
        else:
            self._use(made.programs, reason, made.seconds)
        graph = made.graphs[0]
        self._reads_copies = graph.reads_copies
        self.shapes = graph.shapes
        self.num_values = sum(map(math.prod, graph.shapes))
        self.num_sums = graph.num_sums
        self.counts_rows = isinstance(fun, BatchSum) and fun.counts_rows(arguments.first)
        self.fetched = graph.fetched
        self.loss_dtype = graph.loss_dtype
        self.values_dtype = graph.values_dtype
        self.dtype = parameters.layout.least_precise([one.dtype for one in made.graphs])
        self.seconds = time.perf_counter() - begin - self.backend.seconds

    def _use(self, programs: Sequence[xla.CompiledProgram], reason: str, seconds: float) -> None:
        """Call machine code."""
        handles = _components(self._parameters)
        self.functions = [TracedFunction(code, code.captured_inputs, handles) for code in programs]
        num_segments = 0 if self._parameters.variables else len(self._parameters.layout.segments)
        self.backend = Backend("xla", reason, tuple(range(num_segments)), seconds)

    def is_current(self) -> bool:
        """Whether its functions are still right; see `TracedFunction.is_current`."""
        return all(function.is_current() for function in self.functions)

    @property
    def is_plain(self) -> bool:
        """Whether the same graph would be traced for XLA: no loops or branches, and data that are not cut."""
        operations = [node.op for function in self.traced for node in private.operations(function)]
        has_flow = not CONTROL_FLOW.isdisjoint(operations) or any(op.startswith("TensorList") for op in operations)
        are_static = all(one.shape.is_fully_defined() for one in self.fetched)
        return are_static and not self._reads_copies and not has_flow and not self._is_cut_for_xla

    def machine_code(self) -> Generator[Callable[[], Any], Any, Trace]:
        """The same trace as machine code; raises `xla.NotCompiled` or `xla.NotCompilable`."""
        begin = time.perf_counter()
        programs = yield functools.partial(xla.compile_functions, self.traced)
        other = copy.copy(self)
        other.jit, other.has_loop, other.traced = True, False, ()
        other._use(programs, xla.COMPILED, time.perf_counter() - begin)
        return other

    @staticmethod
    def _traced(graph: ObjectiveGraph, constraints: Constraints | None) -> list[Callable[..., list[tf.Tensor]]]:
        """Return the Python functions to trace, in the order of `functions`."""
        return [graph.derivatives] if constraints is None else [graph.values, graph.derivatives]


TracePart = Callable[..., tuple[ObjectiveGraph, list[Any]]]
"""Traces the functions of a part: ``trace(jit, part)``."""


class _Made(NamedTuple):
    """Traced functions, and the machine code made of them."""

    graphs: list[ObjectiveGraph]
    """One for each part of the loss."""
    functions: list[Any]
    jit: bool
    """Whether XLA compiles the functions when TensorFlow runs them."""
    reason: str
    programs: list[xla.CompiledProgram] | None = None
    seconds: float = 0.0
    """How long compiling took."""


Making = Generator[Callable[[], Any], Any, Any]


def _made_by_batch(trace: TracePart, batches: Batches) -> Making:
    """Make machine code of each part of a loss over data; None if XLA cannot."""
    parts = [trace(True, part) for part in batches.parts]
    functions = [function for _, of_part in parts for function in of_part]
    begin = time.perf_counter()
    try:
        _check_devices(graph for graph, _ in parts)
        programs = yield functools.partial(xla.compile_functions, functions)
    except (xla.NotCompiled, xla.NotCompilable):  # the loss of all data says why
        return None
    graphs = [graph for graph, _ in parts]
    calls = f"called for blocks of {batches.size} rows" if batches.are_blocks else "called batch by batch"
    return _Made(graphs, functions, True, f"{xla.COMPILED}, {calls}", programs, time.perf_counter() - begin)


def _made_at_once(trace: TracePart, jit: bool, needs_xla: bool) -> Making:
    """Make the functions of the whole loss."""
    graph, functions = trace(jit)
    if not jit:
        return _Made([graph], functions, False, "jit_compile is not True, so TensorFlow runs the function")
    if graph.reads_dataset:
        reason = "TensorFlow reads the tf.data.Dataset, and XLA compiles the loss of a batch"
        return _Made([graph], functions, False, reason)
    if not all(one.shape.is_fully_defined() for one in graph.fetched):
        return _Made([graph], functions, True, "a fetch has no static shape, so TensorFlow calls what XLA compiles")
    begin = time.perf_counter()
    try:
        _check_devices([graph])
        programs = yield functools.partial(xla.compile_functions, functions)
    except xla.NotCompiled as error:
        return _Made([graph], functions, True, str(error))
    except xla.NotCompilable as error:
        if needs_xla:
            raise
        graph, functions = trace(False)
        return _Made([graph], functions, False, str(error))
    return _Made([graph], functions, True, xla.COMPILED, programs, time.perf_counter() - begin)


def _check_devices(graphs: Iterable[ObjectiveGraph]) -> None:
    """Raise NotCompilable if a loss runs on several devices."""
    if any(graph.reads_copies for graph in graphs):
        raise xla.NotCompilable("XLA cannot compile it: the loss reads copies of variables on several devices")


def _check_parts(graphs: Sequence[ObjectiveGraph], parameters: Parameters) -> None:
    """Check that some part of the loss depends on each component of x."""
    uses = [any(used) or None for used in zip(*(graph.uses for graph in graphs), strict=True)]
    check_connected(uses, parameters.layout.names, may_be_unused=parameters.may_be_unused)


def _components(parameters: Parameters) -> dict[int, int]:
    """Map the `id` of each variable's handle to the index of its component of x."""
    return {id(v.handle): i for i, v in enumerate(parameters.variables)}


def for_tensorflow(
    functions: Sequence[Any], parameters: Parameters, specs: list[tf.TensorSpec], jit: bool, reason: str
) -> tuple[list[TracedFunction], Backend]:
    """Prepare traced functions for TensorFlow to call, for the reason given."""
    graphs = [concrete.graph.as_graph_def() for concrete in functions]
    warn_of_random_numbers(graphs)
    keeper = next(filter(None, map(dispatch.keeper, functions)), None)
    if keeper is not None:
        reason += f"; it gets copies of x, as operation {keeper} may keep what it gets"
    has_own = keeper is not None or any(reads_copies(concrete, parameters) for concrete in functions)
    assigned = cannot_share(graphs, parameters, jit, has_own)
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
