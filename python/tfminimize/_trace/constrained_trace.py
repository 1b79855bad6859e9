"""Tracing of a loss with constraints: two TensorFlow functions, one of values and one that also has derivatives."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Unknowns
from tfminimize._trace.jacobian import jacobian
from tfminimize._trace.trace import (
    check_connected,
    dense,
    follows_jit,
    inside_trace,
    least_precise,
    scalar,
    trace_functions,
)

__all__ = ["ConstrainedProblem", "ConstrainedTrace", "constraint_values"]


class ConstrainedTrace:
    """The loss and all constraints as TensorFlow functions, for one set of shapes and dtypes.

    ``values`` returns the loss, a scalar, and the values v of all constraint functions, one vector ``[k]``;
    ``derivatives`` returns besides one gradient of the loss for each component of x, and one Jacobian of v
    ``[k, *shape]`` for each component. Without constraint functions, there are no v and no Jacobians. Both take the
    same inputs: components by value, the tensors of the loss's ``args``, and those of the constraints'.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` in functional use, ``fun(*args)`` for variables; returns the loss.
    constraints : Constraints
    unknowns : Unknowns
    arguments : Arguments
        Those of the loss.
    jit_compile : bool or None
        None follows ``fun``.

    Raises
    ------
    ValueError
        If the loss is not a real scalar, or a constraint not real or of no static shape; if nothing depends on what is
        optimised, or something writes to it.

    Attributes
    ----------
    values, derivatives : TracedFunction
    backend : Backend
    shapes : tuple of tuple of int
        Those that the constraint functions return.
    num_values : int
        k.
    values_dtype : str
        Of v.
    dtype : str
        The least precise of x, the loss and the constraints.
    seconds : float
        What tracing took.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        constraints: Constraints,
        unknowns: Unknowns,
        arguments: Arguments,
        jit_compile: bool | None,
    ) -> None:
        begin = time.perf_counter()
        jit = follows_jit(fun) if jit_compile is None else jit_compile
        problems: list[ConstrainedProblem] = []

        def make(jit: bool) -> list[Any]:
            problem = ConstrainedProblem(fun, constraints, unknowns, arguments, jit)
            problems.append(problem)
            return [tf.function(f, autograph=False, jit_compile=jit or None) for f in (problem.values, problem.all)]

        tensors = [*arguments.tensors, *constraints.tensors]
        (self.values, self.derivatives), self.backend = trace_functions(make, unknowns, tensors, jit)
        self.shapes = problems[-1].shapes
        self.num_values = sum(math.prod(shape) for shape in self.shapes)
        self.values_dtype = problems[-1].values_dtype
        self.dtype = problems[-1].dtype
        self.seconds = time.perf_counter() - begin - self.backend.seconds


class ConstrainedProblem:
    """What is traced, on symbolic tensors."""

    def __init__(
        self, fun: Callable[..., Any], constraints: Constraints, unknowns: Unknowns, arguments: Arguments, jit: bool
    ) -> None:
        self._fun = inside_trace(fun, jit)
        self._constraints = [(c, inside_trace(c.fun, jit, c.name)) for c in constraints.functions]
        self._has_linear = bool(len(constraints.matrix))
        self._unknowns = unknowns
        self._num_leaves = 0 if unknowns.variables else len(unknowns.layout.segments)
        every = [arguments, *(c.arguments for c in constraints.functions)]
        self._rebuilders = [a.rebuilder() for a in every]
        self._num_tensors = [len(a.tensors) for a in every]
        self._is_in_python: list[bool] = []
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.values_dtype = self.dtype = "float64"

    def values(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """The loss and, if there are constraint functions, their values."""
        loss, values = self._evaluate(inputs, self._sources(inputs))
        return [loss, *self._joined(values)]

    def all(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """The values, and the derivatives by each component."""
        sources = self._sources(inputs)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(sources)
            loss, values = self._evaluate(inputs, sources)
        gradients = tape.gradient(loss, sources)
        jacobians = [self._jacobian(i, tape, value, sources) for i, value in enumerate(values)]
        self._check_connected(gradients, jacobians)
        by_source = zip(*jacobians, strict=True) if jacobians else ()
        sizes = [value.shape.num_elements() for value in values]
        joined = [
            _joined(*of_one, sizes) for of_one in zip(by_source, sources, self._unknowns.layout.names, strict=False)
        ]
        return [loss, *self._joined(values), *map(dense, gradients, sources, self._unknowns.layout.names), *joined]

    def _sources(self, inputs: Sequence[tf.Tensor]) -> list[Any]:
        return list(self._unknowns.variables) or list(inputs[: self._num_leaves])

    def _evaluate(self, inputs: Sequence[tf.Tensor], sources: list[Any]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The loss, and for each constraint function its values as a vector."""
        x = () if self._unknowns.variables else (self._unknowns.rebuild(sources),)
        arguments, first = [], self._num_leaves
        for rebuild, count in zip(self._rebuilders, self._num_tensors, strict=True):
            arguments.append(rebuild(inputs[first : first + count]))
            first += count
        loss = scalar(self._fun(*x, *arguments[0]))
        values = []
        self._is_in_python = []
        for (constraint, fun), args in zip(self._constraints, arguments[1:], strict=True):
            before = len(_python_functions())
            values.append(constraint_values(constraint.name, fun, (*x, *args)))
            self._is_in_python.append(len(_python_functions()) > before)
        self.shapes = tuple(tuple(value.shape.as_list()) for value in values)
        if all(value.dtype == tf.float32 for value in values) and values:
            self.values_dtype = "float32"
        self.dtype = least_precise([tensor.dtype.name for tensor in (loss, *values)], self._unknowns)
        return loss, [tf.reshape(value, [-1]) for value in values]

    def _jacobian(self, i: int, tape: tf.GradientTape, value: tf.Tensor, sources: list[Any]) -> list[tf.Tensor | None]:
        name = self._constraints[i][0].name
        rows = value.shape.num_elements()
        if rows > 1 and self._is_in_python[i]:
            raise ValueError(
                f"{name} returns {rows} values of a tf.py_function, whose derivative TensorFlow can take only once a "
                "call: give one constraint for each value."
            )
        found = jacobian(tape, value, sources)
        if rows and all(part is None for part in found):
            names = " or ".join(s.name for s in self._unknowns.layout.segments)
            warnings.warn(
                f"{name} does not depend on {names} in a way that TensorFlow can differentiate: its derivatives are "
                "taken as zero.",
                UserWarning,
                stacklevel=2,
            )
        return found

    def _joined(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        return [tf.concat([tf.cast(value, self.values_dtype) for value in values], 0)] if values else []

    def _check_connected(self, gradients: Sequence[Any], jacobians: Sequence[Sequence[Any]]) -> None:
        """A component may be in a constraint only; whether a linear one depends on it is not known here."""
        if not self._has_linear:
            parts = zip(gradients, *jacobians, strict=True)
            found = [next((part for part in of_one if part is not None), None) for of_one in parts]
            check_connected(found, self._unknowns, "neither the loss nor a constraint depends" if jacobians else None)


def _joined(parts: Sequence[tf.Tensor | None], source: Any, name: str, sizes: Sequence[int]) -> tf.Tensor:
    """The Jacobians of all constraint functions by one component, one below the other."""
    return tf.concat([dense(part, source, name, (size,)) for part, size in zip(parts, sizes, strict=True)], 0)


def constraint_values(name: str, fun: Callable[..., Any], args: tuple[Any, ...]) -> tf.Tensor:
    """What a constraint function returns, as a real tensor of static shape."""
    try:
        value = fun(*args)
    except (AttributeError, NotImplementedError) as error:
        if not _is_numpy_on_a_tensor(error):
            raise
        raise ValueError(
            f"{name} has a function for NumPy arrays, but it gets tensors ({error}): write it with TensorFlow, such as "
            "tf.reduce_sum(x); or use scipy.optimize.minimize(..., method=tfminimize.scipy.slsqp) for NumPy functions."
        ) from error
    if value is None:
        raise ValueError(f"the function of {name} returned None: return the values, a real tensor.")
    try:
        value = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the function of {name} returned {value!r}, which is no tensor: return the values, a real tensor."
        ) from error
    if value.dtype == tf.bool:
        raise ValueError(
            f"the function of {name} returned a comparison (dtype bool): return c(x) itself, which is to be zero, or "
            "zero or greater."
        )
    if value.dtype not in (tf.float64, tf.float32):
        raise ValueError(f"{name} has values of dtype {value.dtype.name}: return real ones, float64 or float32.")
    if not value.shape.is_fully_defined():
        raise ValueError(
            f"{name} has values of shape {value.shape}, which is not static: fix it by tf.ensure_shape, or return as "
            "many values in every call."
        )
    return value


def _python_functions() -> list[Any]:
    """The calls of `tf.py_function` in the graph that is being made."""
    return [op for op in tf.compat.v1.get_default_graph().get_operations() if op.type == "EagerPyFunc"]


def _is_numpy_on_a_tensor(error: Exception) -> bool:
    """Whether NumPy, or a method that only arrays have, was tried on a tensor of the trace."""
    if isinstance(error, AttributeError):
        return bool(tf.is_tensor(getattr(error, "obj", None)))
    return "symbolic tf.Tensor" in str(error)
