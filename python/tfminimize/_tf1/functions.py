"""Functions of flat NumPy vectors, for solvers in Python, around traced TensorFlow functions that read variables.

The variables are not touched: the traced function reads stand-ins in their place, which are assigned from the vector.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.parameters import Unknowns
from tfminimize._solve.workspace import destroy
from tfminimize._tf import private
from tfminimize._tf.effects import warn_of_random_numbers
from tfminimize._trace.constrained_trace import constraint_values
from tfminimize._trace.jacobian import jacobian
from tfminimize._trace.trace import (
    check_connected,
    check_writes,
    dense,
    inside_trace,
    rounding_unit,
    scalar,
    scratch_handle,
)

__all__ = ["FlatFunctions", "TracedFunctions", "TracedProblem"]

Float64 = NDArray[np.float64]


class FlatFunctions:
    """The loss and the constraints of one solve, as functions of a flat vector, in the order of the variables.

    Attributes
    ----------
    num_equalities, num_inequalities : int
        Numbers of constraint functions, the equalities first. Each may have several values.
    backend : str
    precision : float
        The rounding unit of the loss.
    seconds : float
        What evaluations have taken so far.
    trace_seconds : float
        What was traced for this solve.
    """

    backend = "tfe"

    def __init__(self, num_equalities: int, num_inequalities: int, precision: float) -> None:
        self.num_equalities = num_equalities
        self.num_inequalities = num_inequalities
        self.precision = precision
        self.seconds = self.trace_seconds = 0.0
        self._sizes: list[int] | None = None
        self._values: tuple[bytes, list[Float64]] | None = None
        self._jacobians: tuple[bytes, list[Float64]] | None = None

    def loss_and_gradient(self, x: Any) -> tuple[float, Float64, list[Any]]:
        """The loss, its gradient, and what is fetched."""
        begin = time.perf_counter()
        found = self._loss_and_gradient(np.asarray(x, np.float64))
        self.seconds += time.perf_counter() - begin
        return found

    def values(self, i: int, x: Any) -> Float64:
        """The values of a constraint function, shape (k,)."""
        x = np.asarray(x, np.float64)
        if self._values is None or self._values[0] != x.tobytes():
            begin = time.perf_counter()
            self._values = x.tobytes(), self._all_values(x)
            self.seconds += time.perf_counter() - begin
            self._check_sizes([values.size for values in self._values[1]])
        found: Float64 = self._values[1][i].copy()
        return found

    def jacobian(self, i: int, x: Any) -> Float64:
        """The Jacobian of a constraint function, shape (k, n)."""
        x = np.asarray(x, np.float64)
        if self._jacobians is None or self._jacobians[0] != x.tobytes():
            begin = time.perf_counter()
            self._jacobians = x.tobytes(), self._all_jacobians(x)
            self.seconds += time.perf_counter() - begin
            self._check_sizes([len(rows) for rows in self._jacobians[1]])
        found: Float64 = self._jacobians[1][i].copy()
        return found

    def restore(self) -> None:
        """Undo what an evaluation may have changed, after an error."""

    def _check_sizes(self, sizes: list[int]) -> None:
        self._sizes = self._sizes or sizes
        for i, (size, first) in enumerate(zip(sizes, self._sizes, strict=True)):
            if size != first:
                later = i - self.num_equalities
                raise ValueError(
                    f"{f'equalities[{i}]' if later < 0 else f'inequalities[{later}]'} returned {size} values, but "
                    f"{first} at the start: it must always return the same number."
                )

    def _loss_and_gradient(self, x: Float64) -> tuple[float, Float64, list[Any]]:
        raise NotImplementedError

    def _all_values(self, x: Float64) -> list[Float64]:
        raise NotImplementedError

    def _all_jacobians(self, x: Float64) -> list[Float64]:
        raise NotImplementedError


class TracedProblem:
    """Loss, constraints and fetches, traced for one set of argument shapes.

    Attributes
    ----------
    precision : float
        The rounding unit of the loss.

    Parameters
    ----------
    unknowns : Unknowns
        Variables.
    tensors : sequence of tf.Tensor
        The arguments, to be traced for their shapes and dtypes.
    feed : callable
        ``feed(*tensors)`` gives the arguments to the functions below, first in each trace.
    loss : callable
    constraints : sequence of (str, callable)
        With the names that messages use.
    fetches : callable
        Returns a list of tensors.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        tensors: Sequence[tf.Tensor],
        feed: Callable[..., None],
        loss: Callable[[], Any],
        constraints: Sequence[tuple[str, Callable[[], Any]]],
        fetches: Callable[[], list[tf.Tensor]],
    ) -> None:
        begin = time.perf_counter()
        self._unknowns = unknowns
        self._feed = feed
        self._specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
        self._loss = inside_trace(loss, False, "loss")
        self._constraints = [(name, inside_trace(fun, False, name)) for name, fun in constraints]
        self._fetches = fetches
        self._kept: list[Any] = []
        self._handles = self._new_stand_ins()
        self._free_stand_ins = [self._handles]
        self.loss_and_gradient = self._on_vectors(self._trace_loss)
        if constraints:
            self.values = self._on_vectors(self._trace_values)
            self.jacobians = self._on_vectors(self._trace_jacobians)
        warn_of_random_numbers(concrete.graph.as_graph_def() for concrete in self._kept)
        self.seconds = time.perf_counter() - begin

    def _new_stand_ins(self) -> list[tf.Tensor]:
        """The handles of what takes the place of the variables."""
        found = []
        for variable, segment in zip(self._unknowns.variables, self._unknowns.layout.segments, strict=True):
            handle = scratch_handle(variable.device, segment)
            weakref.finalize(self, destroy, handle).atexit = False
            private.copy_handle_data(variable.handle, handle)
            found.append(handle)
        return found

    @contextlib.contextmanager
    def _stand_ins(self) -> Iterator[list[tf.Tensor]]:
        """Stand-ins that no other call has, in another thread or in a `tf.py_function` of this one."""
        try:
            handles = self._free_stand_ins.pop()
        except IndexError:
            handles = self._new_stand_ins()
        try:
            yield handles
        finally:
            self._free_stand_ins.append(handles)

    def _trace_loss(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        self._feed(*inputs)
        sources = self._unknowns.variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            loss = scalar(self._loss())
        self.precision = rounding_unit([loss.dtype.name], self._unknowns)
        gradients = tape.gradient(loss, sources)
        if not self._constraints:
            check_connected(gradients, self._unknowns)
        return [
            tf.cast(loss, tf.float64),
            _flat(map(dense, gradients, sources, self._unknowns.layout.names)),
            *self._fetches(),
        ]

    def _trace_values(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        self._feed(*inputs)
        return [tf.cast(value, tf.float64) for value in self._constraint_values()]

    def _trace_jacobians(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        self._feed(*inputs)
        sources = self._unknowns.variables
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(sources)
            values = self._constraint_values()
        found = []
        for value in values:
            parts = [
                tf.zeros([value.shape.num_elements(), source.shape.num_elements()], tf.float64)
                if part is None
                else tf.cast(tf.reshape(part, [value.shape.num_elements(), -1]), tf.float64)
                for part, source in zip(jacobian(tape, value, sources), sources, strict=True)
            ]
            found.append(tf.concat(parts, 1))
        return found

    def _constraint_values(self) -> list[tf.Tensor]:
        return [tf.reshape(constraint_values(name, fun, ()), [-1]) for name, fun in self._constraints]

    def _on_vectors(self, traced: Callable[..., Any]) -> Callable[..., list[tf.Tensor]]:
        """The function, traced, with the vector as its first input."""
        unknowns, handles = self._unknowns, self._handles
        with private.recording():
            concrete = tf.function(traced, autograph=False).get_concrete_function(*self._specs)
        check_writes(concrete, unknowns)
        stand_ins = {id(v.handle): handle for v, handle in zip(unknowns.variables, handles, strict=True)}

        def assign_and_call(x: tf.Tensor, *inputs: tf.Tensor) -> Any:
            for handle, segment in zip(handles, unknowns.layout.segments, strict=True):
                part = tf.reshape(tf.cast(x[segment.flat], segment.dtype), segment.shape)
                tf.raw_ops.AssignVariableOp(resource=handle, value=part)
            captured = [stand_ins.get(id(tensor), tensor) for tensor in concrete.captured_inputs]
            outputs = [tensor.dtype for tensor in concrete.outputs]
            return tf.raw_ops.StatefulPartitionedCall(args=[*inputs, *captured], Tout=outputs, f=concrete)

        spec = tf.TensorSpec([unknowns.layout.size], tf.float64)
        outer = tf.function(assign_and_call, autograph=False).get_concrete_function(spec, *self._specs)
        self._kept.append(concrete)

        def call(x: Float64, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            with self._stand_ins() as own:  # in the place of those that were there in the trace
                replaced = {id(handle): other for handle, other in zip(handles, own, strict=True)}
                captured = [replaced.get(id(tensor), tensor) for tensor in outer.captured_inputs]
                return list(outer._call_flat([tf.constant(x), *tensors], captured))

        return call


class TracedFunctions(FlatFunctions):
    """One solve on a traced problem."""

    def __init__(self, problem: TracedProblem, tensors: Sequence[tf.Tensor], counts: tuple[int, int]) -> None:
        super().__init__(*counts, problem.precision)
        self._problem = problem
        self._tensors = tensors
        self.trace_seconds, problem.seconds = problem.seconds, 0.0  # of the first solve

    def _loss_and_gradient(self, x: Float64) -> tuple[float, Float64, list[Any]]:
        with private.eagerly():
            loss, gradient, *fetched = self._problem.loss_and_gradient(x, self._tensors)
            return float(loss), gradient.numpy().copy(), [_as_numpy(value) for value in fetched]

    def _all_values(self, x: Float64) -> list[Float64]:
        with private.eagerly():
            return [value.numpy().copy() for value in self._problem.values(x, self._tensors)]

    def _all_jacobians(self, x: Float64) -> list[Float64]:
        with private.eagerly():
            return [value.numpy().copy() for value in self._problem.jacobians(x, self._tensors)]


def _as_numpy(tensor: tf.Tensor) -> Any:
    """What a session would return: an array, or a NumPy scalar."""
    value = tensor.numpy()
    return value.copy() if isinstance(value, np.ndarray) else value


def _flat(parts: Any) -> tf.Tensor:
    return tf.concat([tf.cast(tf.reshape(part, [-1]), tf.float64) for part in parts], 0)
