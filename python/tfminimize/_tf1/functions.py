"""Traced TensorFlow functions that read variables, as functions of flat NumPy vectors for solvers in Python.

The variables are not touched: the traced function reads stand-ins, to which each call assigns the vector.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import ConstraintFunction
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import private
from tfminimize._tf.effects import warn_of_random_numbers
from tfminimize._trace.checks import check_captured
from tfminimize._trace.flat import FLAT, join, join_columns, split
from tfminimize._trace.objective_graph import ObjectiveGraph
from tfminimize._trace.stand_ins import StandIns, replace

__all__ = ["FlatFunctions", "TracedFunctions", "TracedProblem", "why_not_fetched"]

Float64 = NDArray[np.float64]


def why_not_fetched(tensors: Iterable[Any]) -> str | None:
    """Why compiled functions cannot return these tensors to NumPy, a sentence; None if they can."""
    for tensor in tensors:
        dtype = tensor.dtype.base_dtype
        if not (dtype.is_bool or dtype.is_integer or dtype.is_floating or dtype.is_complex):
            return f"fetch '{tensor.name}' is a {dtype.name}, and only numbers leave a compiled function"
    return None


class FlatFunctions(abc.ABC):
    """The loss and the constraints of one solve, as functions of a flat vector, in the order of the variables.

    Attributes
    ----------
    num_equalities, num_inequalities : int
        Numbers of constraint functions, the equalities first. Each may have several values.
    backend : str
    precision : float
        The rounding unit of the loss.
    seconds : float
        The time of all evaluations so far.
    trace_seconds : float
        The time of tracing for this solve.
    """

    backend = "tfe"

    def __init__(self, num_equalities: int, num_inequalities: int, precision: float) -> None:
        self.num_equalities = num_equalities
        self.num_inequalities = num_inequalities
        self.precision = precision
        self.seconds = self.trace_seconds = 0.0
        self._sizes: list[int] | None = None
        self._latest: dict[str, tuple[bytes, list[Float64]]] = {}

    def loss_and_gradient(self, x: Any) -> tuple[float, Float64, list[Any]]:
        """The loss, its gradient, and the fetched values."""
        begin = time.perf_counter()
        found = self._loss_and_gradient(np.asarray(x, np.float64))
        self.seconds += time.perf_counter() - begin
        return found

    def values(self, i: int, x: Any) -> Float64:
        """The values of a constraint function, shape (k,)."""
        values = self._at(self._all_values, x)
        self._check_sizes([of_one.size for of_one in values])
        found: Float64 = values[i].copy()
        return found

    def jacobian(self, i: int, x: Any) -> Float64:
        """The Jacobian of a constraint function, shape (k, n)."""
        rows = self._at(self._all_jacobians, x)
        self._check_sizes([len(of_one) for of_one in rows])
        found: Float64 = rows[i].copy()
        return found

    def products(self) -> Callable[..., Float64]:
        """Return a function that multiplies the Hessian of the loss at x by a vector p: ``product(x, p)``.

        Raises
        ------
        LookupError
            If there are no second derivatives.
        """
        raise LookupError("the loss is evaluated through its session")

    def hessian(self) -> Callable[..., Float64]:
        """Return a function that computes the Hessian of the loss at x; raises LookupError like `products`."""
        product = self.products()

        def hessian(x: Float64, *args: Any) -> Float64:
            rows = np.array([product(x, p) for p in np.eye(len(x))])
            found: Float64 = (rows + rows.T) / 2
            return found

        return hessian

    def _at(self, compute: Callable[[Float64], list[Float64]], x: Any) -> list[Float64]:
        """The values of all constraint functions at x, computed once, though SciPy asks for them one by one."""
        x = np.asarray(x, np.float64)
        where, found = self._latest.get(compute.__name__, (None, []))
        if where != x.tobytes():
            begin = time.perf_counter()
            found = compute(x)
            self._latest[compute.__name__] = x.tobytes(), found
            self.seconds += time.perf_counter() - begin
        return found

    def restore(self) -> None:  # noqa: B027  compiled functions change nothing
        """After an error, undo what evaluations have changed."""

    def _check_sizes(self, sizes: list[int]) -> None:
        self._sizes = self._sizes or sizes
        for i, (size, first) in enumerate(zip(sizes, self._sizes, strict=True)):
            if size != first:
                later = i - self.num_equalities
                raise ValueError(
                    f"{f'equalities[{i}]' if later < 0 else f'inequalities[{later}]'} returned {size} values, but "
                    f"{first} at the start: it must always return the same number."
                )

    @abc.abstractmethod
    def _loss_and_gradient(self, x: Float64) -> tuple[float, Float64, list[Any]]:
        """The loss, its gradient, and what the fetches hold."""

    @abc.abstractmethod
    def _all_values(self, x: Float64) -> list[Float64]:
        """The values of each constraint function."""

    @abc.abstractmethod
    def _all_jacobians(self, x: Float64) -> list[Float64]:
        """The Jacobian of each constraint function."""


class TracedProblem:
    """Loss, constraints and fetches, traced for one set of argument shapes.

    Attributes
    ----------
    precision : float
        The rounding unit of the loss.
    layout : Layout

    Parameters
    ----------
    parameters : Parameters
        Variables.
    tensors : sequence of tf.Tensor
        The arguments; the functions are traced for their shapes and dtypes.
    feed : callable
        ``feed(*tensors)`` passes the arguments to the functions below; each trace calls it first.
    loss : callable
    constraints : sequence of (str, callable)
        The constraints, each with its name in messages.
    fetches : callable
        Returns a list of tensors.
    """

    def __init__(
        self,
        parameters: Parameters,
        tensors: Sequence[tf.Tensor],
        feed: Callable[..., None],
        loss: Callable[[], Any],
        constraints: Sequence[tuple[str, Callable[[], Any]]],
        fetches: Callable[[], list[tf.Tensor]],
    ) -> None:
        begin = time.perf_counter()
        self._parameters = parameters
        self.layout = parameters.layout
        self._feed = feed
        self._specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
        self._fetches = fetches
        none = Arguments((), "float64")
        functions = [ConstraintFunction(name, fun, none) for name, fun in constraints]
        self._loss = ObjectiveGraph(loss, parameters, none, jit=False, name="loss", has_others=bool(functions))
        self._direction = Arguments(tuple(parameters.layout.split_rows(np.zeros((1, parameters.layout.size)))), None)
        self._products = ObjectiveGraph(loss, parameters, self._direction, jit=False, name="loss")
        self._constraints = ObjectiveGraph(None, parameters, none, functions, jit=False)
        self._kept: list[Any] = []
        self._stand_ins = self._new_stand_ins()
        self._free_stand_ins = [self._stand_ins]
        self.loss_and_gradient = self._on_vectors(self._trace_loss)
        if constraints:
            self.values = self._on_vectors(self._trace_values)
            self.jacobian = self._on_vectors(self._trace_jacobian)
        warn_of_random_numbers(concrete.graph.as_graph_def() for concrete in self._kept)
        self.seconds = time.perf_counter() - begin

    def split(self, rows: Float64) -> list[Float64]:
        """Split the values or the Jacobian of all constraint functions into one array for each."""
        sizes = map(math.prod, self._constraints.shapes)
        return np.split(rows, list(itertools.accumulate(sizes))[:-1])

    @functools.cached_property
    def product(self) -> Callable[..., list[tf.Tensor]]:
        """The Hessian times a vector, whose components are the last of the arguments; raises LookupError without."""
        return self._on_vectors(self._trace_product, self._direction.tensors)

    def _new_stand_ins(self) -> StandIns:
        return StandIns([v.handle for v in self._parameters.variables], self._parameters.layout.segments)

    @contextlib.contextmanager
    def _own_stand_ins(self) -> Iterator[StandIns]:
        """Stand-ins that no other call is using, in another thread or in a `tf.py_function` of this call."""
        try:
            stand_ins = self._free_stand_ins.pop()
        except IndexError:
            stand_ins = self._new_stand_ins()
        try:
            yield stand_ins
        finally:
            self._free_stand_ins.append(stand_ins)

    def _trace_loss(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        self._feed(*inputs)
        loss, *gradients = self._loss.derivatives()
        self.precision = float(np.finfo(self._loss.dtype).eps)
        return [tf.cast(loss, FLAT), join(gradients), *self._fetches()]

    def _trace_values(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        self._feed(*inputs)
        return [tf.cast(values, FLAT) for values in self._constraints.values()]

    def _trace_jacobian(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        self._feed(*inputs)
        _, *by_variable = self._constraints.derivatives()
        return [join_columns(by_variable)]

    def _trace_product(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        count = len(self._direction.tensors)
        self._feed(*inputs[:-count])
        return [join_columns(self._products.hessian_products(*inputs[-count:])[-count:])]

    def _on_vectors(
        self, traced: Callable[..., Any], others: Sequence[tf.Tensor] = ()
    ) -> Callable[..., list[tf.Tensor]]:
        """The function, traced, with the flat vector as its first input, and inputs like ``others`` as its last."""
        layout = self._parameters.layout
        specs = [*self._specs, *(tf.TensorSpec(t.shape, t.dtype) for t in others)]
        with private.recording():
            concrete = tf.function(traced, autograph=False).get_concrete_function(*specs)
        check_captured(concrete, self._parameters)
        stand_ins = self._stand_ins

        def assign_and_call(x: tf.Tensor, *inputs: tf.Tensor) -> Any:
            return stand_ins.call(concrete, split(x, layout), inputs)

        spec = tf.TensorSpec([layout.size], FLAT)
        outer = tf.function(assign_and_call, autograph=False).get_concrete_function(spec, *specs)
        self._kept.append(concrete)

        def call(x: Float64, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            with self._own_stand_ins() as own:
                captured = replace(outer.captured_inputs, stand_ins.handles, own.handles)
                return list(outer._call_flat([tf.constant(x), *tensors], captured))

        return call


class TracedFunctions(FlatFunctions):
    """One solve on a traced problem."""

    def __init__(self, problem: TracedProblem, tensors: Sequence[tf.Tensor], counts: tuple[int, int]) -> None:
        super().__init__(*counts, problem.precision)
        self._problem = problem
        self._tensors = tensors
        self.trace_seconds, problem.seconds = problem.seconds, 0.0  # counts for the first solve

    def _loss_and_gradient(self, x: Float64) -> tuple[float, Float64, list[Any]]:
        with private.eagerly():
            loss, gradient, *fetched = self._problem.loss_and_gradient(x, self._tensors)
            return float(loss), gradient.numpy().copy(), [_as_numpy(value) for value in fetched]

    def products(self) -> Callable[..., Float64]:
        with private.eagerly():
            begin = time.perf_counter()
            call = self._problem.product
            self.trace_seconds += time.perf_counter() - begin
        layout = self._problem.layout

        def product(x: Float64, p: Float64, *args: Any) -> Float64:
            begin = time.perf_counter()
            with private.eagerly():
                direction = [tf.constant(part) for part in layout.split_rows(p[np.newaxis])]
                (found,) = call(np.asarray(x, np.float64), [*self._tensors, *direction])
                row: Float64 = found.numpy()[0].copy()
            self.seconds += time.perf_counter() - begin
            return row

        return product

    def _all_values(self, x: Float64) -> list[Float64]:
        with private.eagerly():
            (values,) = self._problem.values(x, self._tensors)
            return self._problem.split(values.numpy().copy())

    def _all_jacobians(self, x: Float64) -> list[Float64]:
        with private.eagerly():
            (jacobian,) = self._problem.jacobian(x, self._tensors)
            return self._problem.split(jacobian.numpy().copy())


def _as_numpy(tensor: tf.Tensor) -> Any:
    """The value as a session would return it: an array, or a NumPy scalar."""
    value = tensor.numpy()
    return value.copy() if isinstance(value, np.ndarray) else value
