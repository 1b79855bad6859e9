"""Private names of ``tf.contrib.opt`` that subclasses written for TensorFlow 1 use besides `_minimize`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.parameters import as_variable
from tfminimize._tf1.formulation import Formulation
from tfminimize._tf1.graph import GraphFormulation

__all__ = ["Internals"]

Float64 = NDArray[np.float64]


class Internals:
    """The private attributes of the original class, made when they are first read.

    In a graph they are tensors, as in the original. If the loss is a function, they are functions of no arguments that
    return tensors. Variables of several dtypes are packed as float64.

    Attributes
    ----------
    _loss : tf.Tensor or callable
    _equalities, _inequalities : list
        The constraints, in the same form.
    """

    _formulation: Formulation
    _loss: Any
    _equalities: list[Any]
    _inequalities: list[Any]

    @property
    def _vars(self) -> list[Any]:
        """The variables, in the order of the flat vector."""
        return list(self._formulation.variables)

    @property
    def _packing_slices(self) -> list[slice]:
        """The place of each variable in the flat vector."""
        return [segment.flat for segment in self._formulation.parameters.layout.segments]

    @cached_property
    def _packed_var(self) -> Any:
        """The present values of all variables, one after the other."""
        return self._in_form(lambda: self._pack(self._vars))

    @cached_property
    def _packed_loss_grad(self) -> Any:
        """The gradient of the loss, flat."""
        return self._packed_grad(self._loss, 0)

    @cached_property
    def _packed_equality_grads(self) -> list[Any]:
        """The gradient of each equality, flat."""
        return [self._packed_grad(c, 1 + i) for i, c in enumerate(self._equalities)]

    @cached_property
    def _packed_inequality_grads(self) -> list[Any]:
        """The gradient of each inequality, flat."""
        return [self._packed_grad(c, 1 + len(self._equalities) + i) for i, c in enumerate(self._inequalities)]

    @property
    def _update_placeholders(self) -> list[Any]:
        """For each variable a placeholder for its new value, of any shape; in a graph only."""
        return list(self._graph("_update_placeholders").new_values)

    @property
    def _var_updates(self) -> list[Any]:
        """The operations that assign the new values; in a graph only."""
        return list(self._graph("_var_updates").assignments)

    @classmethod
    def _pack(cls, tensors: Sequence[Any]) -> Any:
        """The tensors as one flat tensor, of float64 if their dtypes differ; None without tensors."""
        flat = [tf.reshape(tf.convert_to_tensor(tensor), [-1]) for tensor in tensors]
        if len({tensor.dtype.base_dtype for tensor in flat}) > 1:
            flat = [tf.cast(tensor, tf.float64) for tensor in flat]
        if len(flat) < 2:
            return flat[0] if flat else None
        return tf.concat(flat, 0)

    def _make_eval_func(
        self,
        tensors: Any,
        session: Any,
        feed_dict: Mapping[Any, Any] | None,
        fetches: Any,
        callback: Callable[..., Any] | None = None,
    ) -> Callable[[Any], list[Any]]:
        """A function of the flat vector that returns the values of tensors, and passes fetches to the callback."""
        wanted = list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
        fetches = list(fetches or [])

        def eval_func(x: Any) -> list[Any]:
            run = self._formulation.start(session, feed_dict, [*wanted, *fetches], {})
            try:
                functions = run.functions()
                values = list(run.fetched(functions.loss_and_gradient(np.asarray(x, np.float64).ravel())[2]))
                functions.restore()
            finally:
                run.release()
            if callback is not None:
                callback(*values[len(wanted) :])
            return values[: len(wanted)]

        return eval_func

    def _make_eval_funcs(
        self,
        tensors: Sequence[Any],
        session: Any,
        feed_dict: Mapping[Any, Any] | None,
        fetches: Any,
        callback: Callable[..., Any] | None = None,
    ) -> list[Callable[[Any], list[Any]]]:
        """One function from `_make_eval_func` for each tensor."""
        return [self._make_eval_func(tensor, session, feed_dict, fetches, callback) for tensor in tensors]

    def _packed_grad(self, target: Any, index: int) -> Any:
        if isinstance(self._formulation, GraphFormulation):
            of_constraints = [gradients for gradients, _ in self._formulation.constraint_gradients]
            gradients = [self._formulation.loss_gradients, *of_constraints][index]
            return self._in_form(
                lambda: self._pack(
                    [tf.zeros_like(v) if g is None else g for v, g in zip(self._vars, gradients, strict=True)]
                )
            )

        def gradient() -> tf.Tensor:
            variables = [as_variable(variable) for variable in self._vars]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                value = tf.convert_to_tensor(target())
            return self._pack(tape.gradient(value, variables, unconnected_gradients="zero"))

        return gradient

    def _in_form(self, make: Callable[[], Any]) -> Any:
        """The tensor that the function adds to the graph; without a graph, the function itself."""
        if not isinstance(self._formulation, GraphFormulation):
            return make
        with self._formulation.building():
            return make()

    def _graph(self, name: str) -> GraphFormulation:
        if isinstance(self._formulation, GraphFormulation):
            return self._formulation
        raise AttributeError(
            f"{name} belongs to a graph of TensorFlow 1, but the loss is a function: assign to the variables in _vars."
        )
