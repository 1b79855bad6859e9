"""Builds the loss, the constraint functions and their derivatives in the graph that is being traced."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import ConstraintFunction
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.checks import check_connected, constraint_values, dense, scalar
from tfminimize._trace.jacobian import jacobian
from tfminimize._trace.user_function import inside_trace

__all__ = ["ObjectiveGraph"]


class ObjectiveGraph:
    """The loss and the constraint functions of one problem, in the graph that is being traced.

    `tf.function` traces `values`, `derivatives` and `hessian_product`. Their inputs are the components of x (only in
    functional use), the tensors of the loss's ``args``, and those of the constraint functions' ``args``.

    Parameters
    ----------
    fun : callable or None
        ``fun(x, *args)`` in functional use, ``fun(*args)`` for variables; returns the loss. None for the constraint
        functions alone.
    parameters : Parameters
    arguments : Arguments
        The loss's ``args``.
    functions : sequence of ConstraintFunction
    jit : bool
        Whether XLA is to compile the functions.
    name : str
        The name of ``fun`` in messages.
    has_others : bool
        Whether there are other constraints; then nothing here needs to depend on x.

    Attributes
    ----------
    shapes : tuple of tuple of int
        The shapes that the constraint functions return; like the attributes below, known after the trace.
    loss_dtype, values_dtype : str
    dtype : str
        The least precise of x, the loss and the constraints.
    """

    def __init__(
        self,
        fun: Callable[..., Any] | None,
        parameters: Parameters,
        arguments: Arguments,
        functions: Sequence[ConstraintFunction] = (),
        *,
        jit: bool,
        name: str = "fun",
        has_others: bool = False,
    ) -> None:
        self._parameters = parameters
        self._fun = None if fun is None else inside_trace(fun, jit, name)
        self._rebuild_args = arguments.rebuilder()
        self._functions = [(f.name, inside_trace(f.fun, jit, f.name), f.arguments.rebuilder()) for f in functions]
        self._has_others = has_others
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.loss_dtype = self.values_dtype = self.dtype = "float64"

    def values(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Return the loss, a scalar, and, with constraint functions, all their values v as one vector ``[k]``."""
        return self._evaluate(inputs, self._sources(inputs))[0]

    def derivatives(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Return `values`, the gradients by the components of x, and the Jacobians of v, each ``[k, *shape]``."""
        sources, names = self._sources(inputs), self._parameters.layout.names
        with tf.GradientTape(persistent=bool(self._functions), watch_accessed_variables=False) as tape:
            tape.watch(sources)
            outputs, vectors = self._evaluate(inputs, sources)
        gradients = [] if self._fun is None else tape.gradient(outputs[0], sources)
        jacobians = [jacobian(tape, vector, sources) for vector in vectors]
        if gradients:
            self._check_connected(gradients, jacobians)
            outputs += map(dense, gradients, sources, names)
        if self._has_values(vectors):
            rows = [(vector.shape[0],) for vector in vectors]
            for *parts, source, name in zip(*jacobians, sources, names, strict=True):
                outputs.append(tf.concat([dense(p, source, name, k) for p, k in zip(parts, rows, strict=True)], 0))
        return outputs

    def hessian_product(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Return the slope of the loss along a vector p, and the components of the Hessian times p.

        The last of the loss's arguments are the components of p. The Hessian times p is the gradient of gᵀp, where g is
        the gradient of the loss: Pearlmutter (1994), "Fast exact multiplication by the Hessian",
        doi:10.1162/neco.1994.6.1.147.

        Raises
        ------
        LookupError
            If TensorFlow has no second derivatives of the loss.
        """
        sources, names = self._sources(inputs), self._parameters.layout.names
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(sources)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(sources)
                x, tensors = self._x_and_tensors(inputs, sources)
                args = self._rebuild_args(tensors)
                args, direction = args[: -len(sources)], args[-len(sources) :]
                loss = self._loss(*x, *args)
            gradients = list(map(dense, inner.gradient(loss, sources), sources, names))
            slopes = [tf.reduce_sum(g * p) for g, p in zip(gradients, direction, strict=True)]
            slope = tf.add_n([tf.cast(s, loss.dtype) for s in slopes])
        products = outer.gradient(slope, sources)
        if all(p is None for p in products):
            raise LookupError("the gradient of the loss does not depend on x in a way that TensorFlow can see")
        return [slope, *map(dense, products, sources, names)]

    def _sources(self, inputs: Sequence[tf.Tensor]) -> list[Any]:
        """Return the variables, or the components of x, to differentiate by."""
        return list(self._parameters.variables) or list(inputs[: len(self._parameters.layout.segments)])

    def _x_and_tensors(
        self, inputs: Sequence[tf.Tensor], sources: Sequence[Any]
    ) -> tuple[tuple[Any, ...], Iterator[tf.Tensor]]:
        """Return x as the first argument, if the functions take it, and the tensors of all ``args`` in order."""
        if self._parameters.variables:
            return (), iter(inputs)
        return (self._parameters.rebuild(sources),), iter(inputs[len(sources) :])

    def _evaluate(self, inputs: Sequence[tf.Tensor], sources: Sequence[Any]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Return the outputs of `values`, and each constraint function's values as a vector."""
        x, tensors = self._x_and_tensors(inputs, sources)
        outputs = [] if self._fun is None else [self._loss(*x, *self._rebuild_args(tensors))]
        values = [self._values(i, (*x, *rebuild(tensors))) for i, (_, _, rebuild) in enumerate(self._functions)]
        self.shapes = tuple(tuple(value.shape.as_list()) for value in values)
        dtypes = [value.dtype.name for value in values]
        self.values_dtype = "float32" if set(dtypes) == {"float32"} else "float64"
        self.dtype = self._parameters.layout.least_precise([self.dtype, *dtypes])
        vectors = [tf.reshape(value, [-1]) for value in values]
        if self._has_values(vectors):
            outputs.append(tf.concat([tf.cast(vector, self.values_dtype) for vector in vectors], 0))
        return outputs, vectors

    def _has_values(self, vectors: Sequence[tf.Tensor]) -> bool:
        """Whether v is an output. After a loss, an empty v is left out."""
        return any(vector.shape[0] for vector in vectors) or (self._fun is None and bool(vectors))

    def _loss(self, *args: Any) -> tf.Tensor:
        assert self._fun is not None
        loss = scalar(self._fun(*args))
        self.loss_dtype = loss.dtype.name
        self.dtype = self._parameters.layout.least_precise([self.loss_dtype])
        return loss

    def _values(self, i: int, args: tuple[Any, ...]) -> tf.Tensor:
        """Return the values of one constraint function."""
        name, fun, _ = self._functions[i]
        before = _count_python_functions()
        values = constraint_values(name, fun, args)
        size = values.shape.num_elements()
        if self._fun is not None and size > 1 and _count_python_functions() > before:
            raise ValueError(
                f"{name} returns {size} values of a tf.py_function, which TensorFlow can differentiate only once a "
                "call: give one constraint for each value."
            )
        return values

    def _check_connected(self, gradients: Sequence[Any], jacobians: Sequence[Sequence[Any]]) -> None:
        """Check that each component of x is used, unless there are other constraints, which may use any of them."""
        names = self._parameters.layout.names
        for (name, *_), shape, parts in zip(self._functions, self.shapes, jacobians, strict=True):
            if 0 not in shape and all(part is None for part in parts):
                warnings.warn(
                    f"{name} does not depend on {' or '.join(names)} in a way that TensorFlow can differentiate: its "
                    "derivatives are taken as zero.",
                    UserWarning,
                    stacklevel=2,
                )
        if not self._has_others:
            by_source = zip(gradients, *jacobians, strict=True)
            found = [next((part for part in parts if part is not None), None) for parts in by_source]
            subject = "neither the loss nor a constraint depends" if jacobians else "the loss does not depend"
            check_connected(found, names, subject, may_be_unused=self._parameters.may_be_unused)


def _count_python_functions() -> int:
    """Count the calls of `tf.py_function` in the graph that is being built."""
    return sum(op.type == "EagerPyFunc" for op in tf.compat.v1.get_default_graph().get_operations())
