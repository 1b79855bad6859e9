"""An optimiser interface whose loss and constraints are tensors of a graph: TensorFlow 1."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.bounds import PackedBounds
from tfminimize._problem.constraint_forms import NamedConstraint
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve.program import Program
from tfminimize._solve.solve import solve
from tfminimize._tf import private
from tfminimize._tf.effects import GraphEffects
from tfminimize._tf1.functions import FlatFunctions, TracedFunctions, TracedProblem, why_not_fetched
from tfminimize._tf1.lifting import LiftedGraph, NotLiftable, ancestors, check_placeholders
from tfminimize._tf1.session import SessionFunctions
from tfminimize._tf1.tensors import GraphTensors, stand_in, variable_op
from tfminimize._trace.checks import scalar, writes_error
from tfminimize._trace.recent import Recent
from tfminimize._trace.user_function import JitCompile

__all__ = ["GraphFormulation"]

Float64 = NDArray[np.float64]


class GraphFormulation(GraphTensors):
    """A loss and constraints that are tensors of a graph, which is lifted out of its session if possible."""

    def __init__(
        self,
        loss: Any,
        var_list: Any,
        equalities: Sequence[Any],
        inequalities: Sequence[Any],
        jit_compile: JitCompile = None,
    ) -> None:
        super().__init__(loss, var_list, equalities, inequalities)
        self._jit_compile = jit_compile
        self._lock = threading.RLock()
        self._lifted: dict[Any, list[Lifted]] = {}
        self._not_liftable: dict[Any, str] = {}

    def start(self, session: Any, feed_dict: Any, fetches: Sequence[Any], run_kwargs: Mapping[str, Any]) -> GraphRun:
        """One solve, with its arguments checked."""
        if session is None:
            session = tf.compat.v1.get_default_session()
        if session is None:
            raise ValueError(
                "there is no session: give one, as in minimize(session), or call minimize in `with "
                "tf.compat.v1.Session():`."
            )
        if not hasattr(session, "graph"):  # a wrapper of a session will do
            raise ValueError(f"session is {session!r}: give a tf.compat.v1.Session of the loss's graph.")
        if session.graph is not self.graph:
            raise ValueError("the session belongs to another graph than the loss: give a session of the loss's graph.")
        for name in run_kwargs:
            if name not in ("options", "run_metadata"):
                raise TypeError(
                    f"minimize got an unexpected keyword argument {name!r}: session.run takes options and run_metadata."
                )
        fetches = tf.nest.map_structure(self._fetched, fetches)
        return GraphRun(self, session, self._feeds(feed_dict), fetches, run_kwargs)

    def lifted(self, fed: Sequence[Any], fetches: Sequence[Any]) -> Lifted:
        """The graph with these tensors fed, as functions, until `release`.

        If the functions read variables that are not optimised, then only this solve uses them: another one, in another
        thread or in a callback, gets its own copy and never waits.

        Raises
        ------
        NotLiftable
        """
        key = tuple(t.name for t in fed), tuple(t.name for t in fetches)
        with self._lock:
            if key in self._not_liftable:
                raise NotLiftable(self._not_liftable[key])
            free = self._lifted.setdefault(key, [])
            try:
                lifted = free.pop() if free else Lifted(self, key, fed, fetches, self._jit_compile)
            except NotLiftable as error:
                self._check_effects({tensor.name for tensor in fed})
                self._not_liftable[key] = str(error)
                raise
            if not lifted.other_ops:
                free.append(lifted)
            return lifted

    def release(self, lifted: Lifted) -> None:
        """Let the next solve use what `lifted` returned."""
        with self._lock:
            if lifted.other_ops:
                self._lifted[lifted.key].append(lifted)

    def _check_effects(self, fed: set[str]) -> None:
        """Raise ValueError if the loss or a constraint writes a variable of x; warn if it draws random numbers."""
        ops = ancestors(self.outputs(), fed | {tensor.name for tensor in self.seeds()})
        effects = GraphEffects([op.node_def for op in ops], self.graph.as_graph_def().library)
        for op in self.variable_ops:
            if effects.writes(op.name):
                raise writes_error(op.name, self.parameters.name)
        effects.warn_of_random_numbers()

    def _feeds(self, feed_dict: Any) -> dict[Any, Any]:
        """The values to feed, by tensor."""
        feeds: dict[Any, Any] = {}
        if feed_dict is not None and not isinstance(feed_dict, Mapping):
            raise ValueError(f"feed_dict is {feed_dict!r}: give a dict such as {{placeholder: value}}.")
        for key, value in (feed_dict or {}).items():
            if isinstance(key, tf.Variable):
                op = variable_op(key)
                if op.graph is not self.graph:
                    raise ValueError(
                        f"feed_dict has variable '{key.name}', which is not in the loss's graph: remove it."
                    )
                for tensor in self.feeds.reads(op):
                    feeds[tensor] = value
                continue
            keys = tf.nest.flatten(key, expand_composites=True)
            values = [value] if len(keys) == 1 else list(value)  # such as a SparseTensorValue
            if len(values) != len(keys):
                raise ValueError(
                    f"feed_dict has {len(values)} values for the {len(keys)} tensors of {key!r}: give one each."
                )
            for one, part in zip(keys, values, strict=True):
                feeds[self.tensor(one, "a key of feed_dict")] = part
        by_name = {tensor.name: (tensor, value) for tensor, value in feeds.items()}
        converted = {}
        for name in sorted(by_name):
            tensor, value = by_name[name]
            dtype = tensor.dtype.base_dtype
            try:
                array = np.asarray(value, dtype.as_numpy_dtype)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"feed_dict has a value for '{name}' that cannot become {dtype.name} ({error}): convert it."
                ) from None
            if not tensor.shape.is_compatible_with(array.shape):
                raise ValueError(
                    f"feed_dict has a value of shape {array.shape} for '{name}', whose shape is {tensor.shape}: "
                    "give a value of that shape."
                )
            converted[tensor] = array
        return converted

    def _fetched(self, fetch: Any) -> Any:
        try:
            return self.graph.as_graph_element(fetch)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"fetches holds {fetch!r}, which is not a tensor or operation of the loss's graph: {error.args[0]}"
            ) from None


class Lifted:
    """A formulation as functions that read the stand-ins of its variables.

    Attributes
    ----------
    key : object
        The key that the formulation uses for it.
    used : list of int
        Which of the fed tensors are arguments of the functions.
    other_ops : list of tf.Operation
        The variables that are read but not optimised. Only these functions use their stand-ins.
    program : Program
        The loss, ready to be compiled for the native solvers.
    why_not_fetched : str or None
        Why compiled functions cannot compute the fetches.
    constraints : list of dict
        The constraints, likewise. Each trace calls them after the loss, which passes on the fed values.
    """

    def __init__(
        self, formulation: GraphTensors, key: Any, fed: Sequence[Any], fetches: Sequence[Any], jit_compile: JitCompile
    ) -> None:
        self.key = key
        for fetch in fetches:
            if isinstance(fetch, tf.Operation):
                raise NotLiftable(f"operation '{fetch.name}' is fetched, which has an effect but no value")
        self._formulation = formulation
        names = [op.name for op in formulation.variable_ops]
        stand_ins = dict(zip(names, formulation.parameters.variables, strict=True))
        self._graph = LiftedGraph(
            formulation.graph,
            [*formulation.outputs(), *fetches],
            fed,
            formulation.seeds(),
            lambda op: stand_ins[op.name],
        )
        self.used = self._graph.used
        self.other_ops = [op for op in self._graph.variable_ops if op.name not in stand_ins]
        self._others = [stand_in(op) for op in self.other_ops]
        stand_ins.update((op.name, other) for op, other in zip(self.other_ops, self._others, strict=True))
        self._fetches = list(fetches)
        losses = formulation.loss, formulation.loss_gradients, formulation.loss_seed
        loss = self._differentiable(*losses)
        self._loss = _unconverted(lambda: scalar(loss(), f"the loss '{formulation.loss.name}'"))
        self._constraints = [
            (name, kind, self._differentiable(tensor, *gradients))
            for (name, kind, tensor), gradients in zip(
                formulation.constraints, formulation.constraint_gradients, strict=True
            )
        ]
        self.constraints = [NamedConstraint(*constraint) for constraint in self._constraints]

        def loss_of_fed(*values: tf.Tensor) -> tf.Tensor:
            self._graph.feed(values)
            return self._loss()

        self._loss_of_fed = _unconverted(loss_of_fed)
        with private.eagerly():
            self.program = Program(self._loss_of_fed, formulation.parameters, jit_compile)
        self._jit_compile = jit_compile
        self.why_not_fetched = why_not_fetched(fetches)
        self._traced: Recent[TracedProblem] = Recent(1)

    @functools.cached_property
    def fetching(self) -> Program:
        """The program that computes the fetches too, if they can be fetched."""
        return Program(self._loss_of_fed, self._formulation.parameters, self._jit_compile, self._fetched)

    def _fetched(self) -> list[tf.Tensor]:
        return [tf.identity(tensor) for tensor in self._graph.tensors(self._fetches)]

    def assign_others(self, values: Sequence[Any]) -> None:
        """Give the variables that are not optimised the values that they have in a session."""
        with private.eagerly():
            for variable, value in zip(self._others, values, strict=True):
                tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.constant(value, variable.dtype))

    def traced(self, tensors: Sequence[tf.Tensor]) -> TracedProblem:
        """The functions for solvers in Python, traced for these arguments."""
        key = tuple((t.dtype, tuple(t.shape.as_list())) for t in tensors)
        return self._traced.get(
            key,
            lambda: TracedProblem(
                self._formulation.parameters,
                tensors,
                lambda *values: self._graph.feed(values),
                self._loss,
                [(name, fun) for name, _, fun in self._constraints],
                self._fetched,
            ),
        )

    def _differentiable(self, tensor: Any, gradients: Sequence[Any], seed: Any) -> Callable[[], tf.Tensor]:
        """A function that computes a tensor and has the gradient that the graph has."""
        stand_ins = self._formulation.parameters.variables
        connected = [i for i, gradient in enumerate(gradients) if gradient is not None]

        def compute() -> tf.Tensor:
            return self._graph.tensors([tensor])[0]

        def call() -> tf.Tensor:
            if not connected:
                return tf.identity(compute())
            read = [stand_ins[i] for i in connected]
            inputs = [tf.convert_to_tensor(variable) for variable in read]

            def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
                found = self._graph.tensors([gradients[i] for i in connected], {seed.name: upstream})

                def again(*upstreams: tf.Tensor) -> list[Any]:
                    return _gradients_in_graph(found, upstream, read, upstreams)

                private.record_gradient(found, again, [upstream, *inputs])
                return found

            return private.with_gradient(compute, gradient, inputs)

        return _unconverted(call)


class GraphRun:
    """One solve of a `GraphFormulation`.

    Attributes
    ----------
    can_be_native : bool
        Whether the graph is lifted; otherwise it is evaluated through the session.
    backend_reason : str or None
        Why it is not lifted.
    """

    def __init__(
        self,
        formulation: GraphFormulation,
        session: Any,
        feeds: Mapping[Any, Any],
        fetches: Sequence[Any],
        run_kwargs: Mapping[str, Any],
    ) -> None:
        self._formulation = formulation
        self._session = session
        self._feeds = feeds
        self._structure = fetches
        self._fetches = fetches = tf.nest.flatten(fetches)
        self._run_kwargs = run_kwargs
        self._context = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self.backend_reason: str | None = None
        self._lifted: Lifted | None = None
        try:
            self._lifted = formulation.lifted(list(feeds), fetches)
        except NotLiftable as reason:
            self.backend_reason = str(reason)
            known = {tensor.name for tensor in feeds}
            check_placeholders(
                ancestors([*formulation.outputs(), *fetches], known | {t.name for t in formulation.seeds()})
            )
        self.can_be_native = self._lifted is not None
        try:
            self._initial = self._read()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let other solves use what this one had for itself."""
        if self._lifted is not None:
            self._formulation.release(self._lifted)
            self._lifted = None

    def initial(self) -> Float64:
        """The values of the variables in the session, flat."""
        return np.concatenate([np.asarray(value, np.float64).ravel() for value in self._initial])

    def can_fetch(self) -> bool:
        """Whether the compiled functions can compute the fetches too."""
        if self._lifted is not None:
            self.backend_reason = self._lifted.why_not_fetched
        return self.backend_reason is None

    def solve(
        self,
        method: Any,
        bounds: PackedBounds,
        tol: Any,
        options: Any,
        callback: Callable[..., Any] | None,
        on_fetched: Callable[[list[Any]], object] | None,
    ) -> OptimizeResult:
        """Solve on the lifted graph, without Python between two evaluations."""
        assert self._lifted is not None
        with private.eagerly():
            problem = Problem(self._formulation.parameters, method, bounds, self._lifted.constraints)
            args = tuple(self._tensors())
            return solve(
                self._lifted.fetching if on_fetched is not None and self._fetches else self._lifted.program,
                problem,
                None,
                args,
                tol=tol,
                callback=callback,
                options=options,
                values=self._initial,
                on_fetched=on_fetched,
            )

    def functions(self) -> FlatFunctions:
        """The functions for a solver in Python."""
        formulation = self._formulation
        if self._lifted is None:
            return SessionFunctions(
                formulation, self._session, self._feeds, self._fetches, self._run_kwargs, self._initial
            )
        with private.eagerly():
            tensors = self._tensors()
            return TracedFunctions(self._lifted.traced(tensors), tensors, formulation.counts)

    def callback(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The user's function, which the solve then calls in the graph context of `minimize`."""
        context = self._context
        if context is None:
            return function

        def call(*args: Any) -> Any:
            with context.as_default():
                return function(*args)

        return call

    def fetched(self, values: Sequence[Any]) -> Any:
        """The values of all fetches, in their structure."""
        return tf.nest.pack_sequence_as(self._structure, values)

    def assign(self, x: Float64) -> None:
        """Give the variables their final values."""
        formulation = self._formulation
        parts = formulation.parameters.layout.split(x)
        values = dict(zip(formulation.new_values, parts, strict=True))
        self._session.run(formulation.assignments, values, **self._run_kwargs)

    def _read(self) -> list[Any]:
        """Read the variables to optimise; assign the values of the other variables to their stand-ins."""
        formulation = self._formulation
        others = [] if self._lifted is None else self._lifted.other_ops
        reads = [formulation.feeds.value(op) for op in (*formulation.variable_ops, *others)]
        try:
            values = self._session.run(reads, **self._run_kwargs)
        except tf.errors.FailedPreconditionError as error:
            raise tf.errors.FailedPreconditionError(
                error.node_def,
                error.op,
                "a variable that the loss needs has no value in the session: run its initializer first, such as "
                f"session.run(tf.compat.v1.global_variables_initializer()). {error.message}",
            ) from None
        except tf.errors.InvalidArgumentError as error:
            if "Connecting to invalid output" not in error.message:
                raise
            # TensorFlow adds outputs to a call, loop or branch for its gradient, but the session still has the old one.
            raise ValueError(
                "the session was in use before the interface was made, which added the gradients of a tf.function, "
                "tf.cond or tf.while_loop to the graph: make the interface first, or use a new session, or call "
                "tf.compat.v1.experimental.output_all_intermediates(True) before the graph is made."
            ) from error
        number = len(formulation.variable_ops)
        if self._lifted is not None:
            self._lifted.assign_others(values[number:])
        return [np.asarray(value) for value in values[:number]]

    def _tensors(self) -> list[tf.Tensor]:
        assert self._lifted is not None
        values = list(self._feeds.items())
        return [tf.constant(values[i][1], values[i][0].dtype.base_dtype) for i in self._lifted.used]


def _gradients_in_graph(
    tensors: Sequence[tf.Tensor], seed: tf.Tensor, variables: Sequence[tf.Variable], upstreams: Sequence[Any]
) -> list[Any]:
    """The gradients of lifted tensors, which no tape has recorded, by the seed and by variables."""
    handles = [tf.compat.v1.get_default_graph().capture(variable.handle) for variable in variables]
    try:
        return list(tf.gradients(tensors, [seed, *handles], list(upstreams)))
    except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise LookupError(f"TensorFlow cannot differentiate the gradients in the graph again: {error}") from error


def _unconverted(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function, marked to be traced without AutoGraph."""
    marked: Callable[..., Any] = tf.autograph.experimental.do_not_convert(fun)
    return marked
