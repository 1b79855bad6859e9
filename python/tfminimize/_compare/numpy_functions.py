"""Wraps a TensorFlow problem for SciPy as users do: functions of flat NumPy vectors around `tf.function`s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import ConstraintFunction
from tfminimize._problem.methods import WITH_HESSIAN, WITH_PRODUCTS
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.hessian_products import weighted_sum, with_directions
from tfminimize._trace.objective_graph import ObjectiveGraph

__all__ = ["NumpyFunctions"]

Float64 = NDArray[np.float64]
Forms = (Mapping, scipy.optimize.NonlinearConstraint, scipy.optimize.LinearConstraint)


class NumpyFunctions:
    """Makes NumPy functions that turn x into tensors, or assign the variables, and read the outputs back.

    Parameters
    ----------
    parameters : Parameters
    start : ndarray, shape (n,)
        Where the functions can be evaluated.
    jit : bool
        Whether XLA compiles the functions.
    """

    def __init__(self, parameters: Parameters, start: Float64, jit: bool) -> None:
        self._parameters = parameters
        self._start = start
        self._jit = jit
        self._float_dtype = parameters.float_dtype

    def loss_and_gradient(self, fun: Callable[..., Any], arguments: Arguments) -> Callable[[Float64], Any]:
        """Return a function that returns the loss and its gradient, a flat vector."""
        graph = ObjectiveGraph(fun, self._parameters, arguments, jit=self._jit)
        call = self._on_vectors(graph.derivatives, arguments, self._jit and not graph.reads_dataset)

        def loss_and_gradient(x: Float64) -> tuple[float, Float64]:
            loss, *gradients = call(x)
            return float(loss), np.concatenate([gradient.ravel().astype(np.float64) for gradient in gradients])

        return loss_and_gradient

    def second_derivatives(self, fun: Callable[..., Any], args: Any, method: Any) -> dict[str, Callable[..., Any]]:
        """Return ``hessp`` or ``hess``, if the method takes one and TensorFlow has second derivatives."""
        size = self._parameters.layout.size
        try:
            if method in WITH_PRODUCTS:
                products = self._products(fun, args, 1)
                return {"hessp": lambda x, p: products(x, p[np.newaxis])[0]}
            if method in WITH_HESSIAN:
                products = self._products(fun, args, size)
                return {"hess": lambda x: products(x, np.eye(size))}
        except LookupError:
            pass
        return {}

    def _products(self, fun: Callable[..., Any], args: Any, count: int) -> Callable[..., Float64]:
        """The Hessian at x times ``count`` vectors, if wanted with another first argument."""
        layout = self._parameters.layout
        directions = with_directions(args, self._parameters, np.zeros((count, layout.size)))
        arguments = Arguments(directions, self._float_dtype)
        graph = ObjectiveGraph(fun, self._parameters, arguments, jit=self._jit)
        call = self._on_vectors(graph.hessian_products, arguments, self._jit and not graph.reads_dataset)
        number = len(layout.segments)
        tensors = arguments.tensors[:-number]

        def products(x: Float64, rows: Float64, *first: tf.Tensor) -> Float64:
            directions = [tf.constant(part) for part in layout.split_rows(rows)]
            parts = call(x, [*first, *tensors[len(first) :], *directions])[-number:]
            return np.concatenate([part.reshape(count, -1).astype(np.float64) for part in parts], axis=1)

        products(self._start, np.zeros((count, layout.size)))  # traces
        return products

    def constraints(self, constraints: Any, method: Any) -> list[Any]:
        """Return the constraints in the same forms, each with functions for its values and its Jacobian.

        For trust-constr none is a dict, which has no Hessian, and those that have second derivatives have a Hessian.
        """
        every: Iterable[Any] = [constraints] if isinstance(constraints, Forms) else constraints or ()
        return [self._constraint(constraint, method == "trust-constr") for constraint in every]

    def _constraint(self, constraint: Any, has_hessian: bool) -> Any:
        if isinstance(constraint, scipy.optimize.LinearConstraint):
            return constraint
        is_dict = isinstance(constraint, Mapping)
        called, args = (constraint["fun"], constraint.get("args", ())) if is_dict else (constraint.fun, ())
        function = ConstraintFunction("the constraint", called, Arguments(tuple(args), self._float_dtype))
        fun, jac = self._values_and_jacobian(function)
        if is_dict and not has_hessian:
            return {"type": constraint["type"], "fun": fun, "jac": jac}
        limits = constraint
        if is_dict:
            limits = scipy.optimize.Bounds(0.0, 0.0 if constraint["type"].lower() == "eq" else np.inf)
        options = self._hessian_of_constraint(function, len(fun(self._start))) if has_hessian else {}
        return scipy.optimize.NonlinearConstraint(fun, limits.lb, limits.ub, jac, **options)

    def _hessian_of_constraint(self, function: ConstraintFunction, size: int) -> dict[str, Callable[..., Any]]:
        fun = weighted_sum(function, not self._parameters.variables, self._jit)
        args = (np.zeros(size), *function.arguments.args)
        eye = np.eye(self._parameters.layout.size)
        try:
            products = self._products(fun, args, len(eye))
        except LookupError:
            return {}
        return {"hess": lambda x, v: products(x, eye, tf.constant(v, tf.float64))}

    def _values_and_jacobian(
        self, function: ConstraintFunction
    ) -> tuple[Callable[[Float64], Float64], Callable[[Float64], Float64]]:
        arguments, none = function.arguments, Arguments((), self._float_dtype)
        graph = ObjectiveGraph(None, self._parameters, none, [function], jit=self._jit)
        call_values = self._on_vectors(graph.values, arguments, self._jit)
        call_jacobian = self._on_vectors(lambda *inputs: graph.derivatives(*inputs)[1:], arguments, self._jit)

        def flat_values(x: Float64) -> Float64:
            return call_values(x)[0].astype(np.float64)

        def flat_jacobian(x: Float64) -> Float64:
            parts = [part.reshape(len(part), -1).astype(np.float64) for part in call_jacobian(x)]
            return np.concatenate(parts, axis=1)

        return flat_values, flat_jacobian

    def _on_vectors(
        self, traced: Callable[..., list[tf.Tensor]], arguments: Arguments, jit: bool
    ) -> Callable[..., Sequence[NDArray[Any]]]:
        parameters = self._parameters
        function = tf.function(traced, autograph=False, jit_compile=jit or None)

        def call(x: Float64, tensors: Sequence[tf.Tensor] = arguments.tensors) -> Sequence[NDArray[Any]]:
            leaves = [tf.constant(part) for part in parameters.layout.split(x)]
            for variable, leaf in zip(parameters.variables, leaves, strict=False):
                variable.assign(leaf)
            outputs = function(*([] if parameters.variables else leaves), *tensors)
            return [output.numpy() for output in outputs]

        return call
