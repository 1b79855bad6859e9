"""A vectorized function: one call evaluates several problems, each in one row of x and of the batched arguments."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import private, xla
from tfminimize._trace.checks import check_all_connected, constraint_values, dense, losses
from tfminimize._trace.jacobian import jacobian
from tfminimize._trace.trace import Backend, TracedFunction, for_tensorflow
from tfminimize._trace.user_function import follows_jit, inside_trace

__all__ = ["VectorTrace", "sizes_of_calls"]

FEWEST = 8
"""A call of machine code has at least so many rows, unless the largest has fewer: smaller ones are hardly faster."""

STEP = 4
"""The ratio of one size to the next smaller one. With 2, twice as many programs would have to be compiled."""


def sizes_of_calls(capacity: int) -> list[int]:
    """The numbers of problems that XLA compiles the function for, if at most ``capacity`` are solved at once.

    Examples
    --------
    >>> sizes_of_calls(512), sizes_of_calls(100), sizes_of_calls(3)
    ([8, 32, 128, 512], [8, 32, 128], [4])
    """
    sizes = [1 << (capacity - 1).bit_length()]
    while sizes[0] // STEP >= FEWEST:
        sizes.insert(0, sizes[0] // STEP)
    return sizes


class VectorTrace:
    """A vectorized loss, its gradient, and vectorized constraints, as one TensorFlow function of any number of rows.

    For several problems it takes and returns what `ObjectiveGraph.derivatives` does for one. What belongs to a problem
    has one more dimension, None, which comes first, but second in Jacobians: ``[k, None, *shape]``. Row b of a result
    depends on row b of x alone, so the gradient of the sum of all losses has the gradient of each in its row.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)``; returns the losses, ``[None]``.
    parameters : Parameters
        Those of one problem, which are no variables.
    arguments : Arguments
        The loss's ``args``; of batched ones, the slices of a problem.
    batched : collection of int
        The places of the slices among the data of the loss and of the constraints.
    jit_compile : bool or None
        None follows ``fun``.
    constraints : Constraints or None
    capacity : int
        For how many problems XLA compiles it first.

    Raises
    ------
    ValueError
        If the losses are not real or have another shape, and likewise the constraints; or if nothing depends on x.

    Attributes
    ----------
    backend : Backend
    shapes : tuple of tuple of int
        The shapes that the constraint functions return for one problem.
    num_values : int
        How many values these have in all.
    loss_dtype, values_dtype : str
    dtype : str
        The least precise of x, the losses and the constraints.
    seconds : float
        How long tracing took.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        parameters: Parameters,
        arguments: Arguments,
        batched: Collection[int],
        jit_compile: bool | None,
        constraints: Constraints | None,
        capacity: int,
    ) -> None:
        begin = time.perf_counter()
        given = Constraints((), parameters) if constraints is None else constraints
        data = [*arguments.tensors, *given.tensors]
        specs = [tf.TensorSpec([None, *s.shape], s.dtype) for s in parameters.layout.segments]
        specs += [tf.TensorSpec([None, *t.shape] if i in batched else t.shape, t.dtype) for i, t in enumerate(data)]
        self._programs: dict[int, TracedFunction] = {}
        self._lock = threading.RLock()
        seconds = 0.0
        jit = follows_jit(fun) if jit_compile is None else jit_compile
        self._concrete = self._traced(fun, parameters, arguments, given, specs, jit)
        reason, is_compiled = "jit_compile is not True, so TensorFlow runs the function", False
        if jit:
            try:
                before = time.perf_counter()
                self._compile(sizes_of_calls(capacity))
                seconds = time.perf_counter() - before
                reason, is_compiled = xla.COMPILED, True
            except xla.NotCompiled as error:
                reason = str(error)
            except xla.NotCompilable as error:
                reason, jit = str(error), False
                self._concrete = self._traced(fun, parameters, arguments, given, specs, jit)
        self.is_padded = jit
        if is_compiled:
            self.backend = Backend("xla", reason, tuple(range(len(parameters.layout.segments))), seconds)
        else:
            (self._for_any,), self.backend = for_tensorflow([self._concrete], parameters, specs, jit, reason)
        self.num_values = sum(map(math.prod, self.shapes))
        self.seconds = time.perf_counter() - begin - seconds

    def functions(self, sizes: Sequence[int]) -> tuple[list[TracedFunction], float]:
        """One function for each of these numbers of problems, or one for all; and the seconds of compiling them."""
        if self.backend.name != "xla":
            return [self._for_any], 0.0
        begin = time.perf_counter()
        self._compile(sizes)
        return [self._programs[size] for size in sizes], time.perf_counter() - begin

    def is_current(self) -> bool:
        """See `Trace.is_current`."""
        with self._lock:
            return all(function.is_current() for function in self._programs.values())

    def _compile(self, sizes: Sequence[int]) -> None:
        with self._lock:
            for size in reversed(sizes):
                if size not in self._programs:
                    (code,) = xla.compile_functions([self._concrete], size)
                    self._programs[size] = TracedFunction(code, code.captured_inputs, {})

    def _traced(
        self,
        fun: Callable[..., Any],
        parameters: Parameters,
        arguments: Arguments,
        constraints: Constraints,
        specs: Sequence[tf.TensorSpec],
        jit: bool,
    ) -> Any:
        """The concrete function; it sets the shapes and dtypes."""
        called = inside_trace(fun, jit)
        functions = [(f.name, inside_trace(f.fun, jit, f.name), f.arguments.rebuilder()) for f in constraints.functions]
        rebuild_args = arguments.rebuilder()
        has_others = len(constraints.matrix) > 0
        names = parameters.layout.names

        def derivatives(*inputs: tf.Tensor) -> list[tf.Tensor]:
            sources = inputs[: len(names)]
            tensors = iter(inputs[len(names) :])
            x, args = parameters.rebuild(sources), rebuild_args(tensors)
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(sources)
                loss = losses(called(x, *args))
                shapes.clear()
                values = [_values(name, f, (x, *rebuild(tensors))) for name, f, rebuild in functions]
                columns = [tf.reduce_sum(value, 0) for value in values]
            gradients = tape.gradient(loss, sources)
            jacobians = [jacobian(tape, column, sources) for column in columns]
            of_functions = [(name, k, j) for (name, *_), k, j in zip(functions, shapes, jacobians, strict=True)]
            check_all_connected(parameters, gradients, of_functions, has_others=has_others)
            self.loss_dtype = loss.dtype.name
            dtypes = [value.dtype.name for value in values]
            self.values_dtype = "float32" if set(dtypes) == {"float32"} else "float64"
            self.dtype = parameters.layout.least_precise([self.loss_dtype, *dtypes])
            outputs = [loss]
            if sum(value.shape[1] for value in values):
                outputs.append(tf.concat([tf.cast(value, self.values_dtype) for value in values], 1))
            outputs += map(_dense, gradients, sources, names)
            if len(outputs) > 1 + len(sources):
                for *parts, source, name in zip(*jacobians, sources, names, strict=True):
                    rows = [(value.shape[1],) for value in values]
                    outputs.append(tf.concat([_dense(p, source, name, k) for p, k in zip(parts, rows, strict=True)], 0))
            return outputs

        def _values(name: str, f: Callable[..., Any], args: tuple[Any, ...]) -> tf.Tensor:
            value = constraint_values(name, f, args, vectorized=True)
            shapes.append(tuple(value.shape.as_list()[1:]))
            return tf.reshape(value, [tf.shape(value)[0], math.prod(shapes[-1])])

        shapes: list[tuple[int, ...]] = []
        function = tf.function(derivatives, autograph=False, jit_compile=jit or None)
        with xla.tried(), private.recording():
            concrete = function.get_concrete_function(*specs)
        self.shapes = tuple(shapes)
        return concrete


def _dense(gradient: Any, source: tf.Tensor, name: str, rows: tuple[int, ...] = ()) -> tf.Tensor:
    """Return a gradient, or a Jacobian with these rows, as a dense tensor; zeros for None."""
    if gradient is None:
        return tf.zeros(tf.concat([tf.constant(rows, tf.int32), tf.shape(source)], 0), source.dtype)
    return dense(gradient, source, name, rows)
