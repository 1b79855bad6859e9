"""What is built while a function is traced: the loss, the constraint functions, and their derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import ConstraintFunction
from tfminimize._problem.parameters import Unknowns
from tfminimize._trace.checks import check_connected, constraint_values, dense, scalar
from tfminimize._trace.jacobian import jacobian
from tfminimize._trace.user_function import inside_trace

__all__ = ["ObjectiveGraph"]


class _ConstraintValues(NamedTuple):
    """What a constraint function returned."""

    name: str
    vector: tf.Tensor
    shape: tuple[int, ...]
    is_in_python: bool
    """Whether it calls a `tf.py_function`."""


class ObjectiveGraph:
    """The loss and the constraint functions of one problem, in the graph that is being traced.

    `values`, `derivatives` and `hessian_product` are what `tf.function` traces. They take the components of x in
    functional use, the tensors of the loss's ``args``, and those of the constraint functions'.

    Parameters
    ----------
    fun : callable or None
        ``fun(x, *args)`` in functional use, ``fun(*args)`` for variables; returns the loss. None for the constraint
        functions alone.
    unknowns : Unknowns
    arguments : Arguments
        Those of the loss.
    functions : sequence of ConstraintFunction
    jit : bool
        Whether XLA is to compile what is traced.
    name : str
        How messages call ``fun``.
    has_others : bool
        Whether there are other constraints, so that the loss need not depend on x.

    Attributes
    ----------
    shapes : tuple of tuple of int
        Those that the constraint functions return; like the attributes below, known once they were called.
    values_dtype : str
        Of v.
    dtype : str
        The least precise of x, the loss and the constraints.
    """

    def __init__(
        self,
        fun: Callable[..., Any] | None,
        unknowns: Unknowns,
        arguments: Arguments,
        functions: Sequence[ConstraintFunction] = (),
        *,
        jit: bool,
        name: str = "fun",
        has_others: bool = False,
    ) -> None:
        self._unknowns = unknowns
        self._loss = None if fun is None else inside_trace(fun, jit, name)
        self._rebuild_args = arguments.rebuilder()
        self._functions = [(f.name, inside_trace(f.fun, jit, f.name), f.arguments.rebuilder()) for f in functions]
        self._has_others = has_others
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.values_dtype = self.dtype = "float64"

    def values(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """The loss, a scalar, and if there are constraint functions, all their values v as one vector ``[k]``."""
        losses, values = self._evaluate(inputs, self._sources(inputs))
        return [*losses, *self._joined(values)]

    def derivatives(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """The values; a gradient of the loss by each component of x; and a Jacobian of v, ``[k, *shape]``, by each."""
        sources, names = self._sources(inputs), self._unknowns.layout.names
        with tf.GradientTape(persistent=bool(self._functions), watch_accessed_variables=False) as tape:
            tape.watch(sources)
            losses, values = self._evaluate(inputs, sources)
        gradients = [tape.gradient(loss, sources) for loss in losses]
        jacobians = [_jacobian(tape, of_one, sources) for of_one in values]
        if losses:
            self._check_connected(gradients[0], values, jacobians)
        shown = [dense(*of_one) for found in gradients for of_one in zip(found, sources, names, strict=True)]
        if values:
            sizes = [(of_one.vector.shape[0],) for of_one in values]
            for *parts, source, name in zip(*jacobians, sources, names, strict=True):
                rows = [dense(part, source, name, size) for part, size in zip(parts, sizes, strict=True)]
                shown.append(tf.concat(rows, 0))
        return [*losses, *self._joined(values), *shown]

    def hessian_product(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """The slope of the loss along a vector p, and the Hessian times p by each component of x.

        The last of the loss's arguments are the components of p. The Hessian times p is the gradient of gᵀp, where g is
        the gradient of the loss: Pearlmutter (1994), "Fast exact multiplication by the Hessian",
        doi:10.1162/neco.1994.6.1.147.

        Raises
        ------
        LookupError
            If TensorFlow has no second derivatives of the loss.
        """
        assert self._loss is not None
        sources, names = self._sources(inputs), self._unknowns.layout.names
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(sources)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(sources)
                x, tensors = self._x_and_tensors(inputs, sources)
                args = self._rebuild_args(tensors)
                args, direction = args[: -len(sources)], args[-len(sources) :]
                loss = scalar(self._loss(*x, *args))
            gradients = list(map(dense, inner.gradient(loss, sources), sources, names))
            slopes = [tf.reduce_sum(g * p) for g, p in zip(gradients, direction, strict=True)]
            slope = tf.add_n([tf.cast(s, loss.dtype) for s in slopes])
        products = outer.gradient(slope, sources)
        if all(p is None for p in products):
            raise LookupError("the gradient of the loss does not depend on x in a way that TensorFlow can see")
        self._set_dtypes([loss], [])
        return [slope, *map(dense, products, sources, names)]

    def _sources(self, inputs: Sequence[tf.Tensor]) -> list[Any]:
        """What the derivatives are taken by: the variables, or the components of x."""
        return list(self._unknowns.variables) or list(inputs[: len(self._unknowns.layout.segments)])

    def _x_and_tensors(
        self, inputs: Sequence[tf.Tensor], sources: Sequence[Any]
    ) -> tuple[tuple[Any, ...], Iterator[tf.Tensor]]:
        """The first argument of each function, if it takes x, and the tensors of all ``args``, one after the other."""
        if self._unknowns.variables:
            return (), iter(inputs)
        return (self._unknowns.rebuild(sources),), iter(inputs[len(sources) :])

    def _evaluate(
        self, inputs: Sequence[tf.Tensor], sources: Sequence[Any]
    ) -> tuple[list[tf.Tensor], list[_ConstraintValues]]:
        """The loss, in a list that is empty without one, and what each constraint function returns."""
        x, tensors = self._x_and_tensors(inputs, sources)
        losses = [] if self._loss is None else [scalar(self._loss(*x, *self._rebuild_args(tensors)))]
        values = []
        for name, fun, rebuild_args in self._functions:
            before = _count_python_functions()
            value = constraint_values(name, fun, (*x, *rebuild_args(tensors)))
            is_in_python = _count_python_functions() > before
            shape = tuple(value.shape.as_list())
            values.append(_ConstraintValues(name, tf.reshape(value, [-1]), shape, is_in_python))
        self.shapes = tuple(of_one.shape for of_one in values)
        self._set_dtypes(losses, [of_one.vector for of_one in values])
        return losses, values

    def _set_dtypes(self, losses: Sequence[tf.Tensor], vectors: Sequence[tf.Tensor]) -> None:
        if vectors and all(vector.dtype == tf.float32 for vector in vectors):
            self.values_dtype = "float32"
        self.dtype = self._unknowns.layout.least_precise(tensor.dtype.name for tensor in (*losses, *vectors))

    def _joined(self, values: Sequence[_ConstraintValues]) -> list[tf.Tensor]:
        """v, in a list that is empty without constraint functions."""
        parts = [tf.cast(of_one.vector, self.values_dtype) for of_one in values]
        return [tf.concat(parts, 0)] if parts else []

    def _check_connected(
        self, gradients: Sequence[Any], values: Sequence[_ConstraintValues], jacobians: Sequence[Sequence[Any]]
    ) -> None:
        """A component may be in a constraint only; whether one of the others depends on it is not known here."""
        for of_one, parts in zip(values, jacobians, strict=True):
            if of_one.vector.shape[0] and all(part is None for part in parts):
                warnings.warn(
                    f"{of_one.name} does not depend on {' or '.join(self._unknowns.layout.names)} in a way that "
                    "TensorFlow can differentiate: its derivatives are taken as zero.",
                    UserWarning,
                    stacklevel=2,
                )
        if not self._has_others:
            by_source = zip(gradients, *jacobians, strict=True)
            found = [next((part for part in parts if part is not None), None) for parts in by_source]
            check_connected(found, self._unknowns, "neither the loss nor a constraint depends" if jacobians else None)


def _jacobian(tape: tf.GradientTape, values: _ConstraintValues, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    rows = values.vector.shape[0]
    if rows > 1 and values.is_in_python:
        raise ValueError(
            f"{values.name} returns {rows} values of a tf.py_function, whose derivative TensorFlow can take only once "
            "a call: give one constraint for each value."
        )
    return jacobian(tape, values.vector, sources)


def _count_python_functions() -> int:
    """How often the graph that is being built calls `tf.py_function`."""
    return sum(op.type == "EagerPyFunc" for op in tf.compat.v1.get_default_graph().get_operations())
