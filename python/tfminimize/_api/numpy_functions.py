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
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.objective_graph import ObjectiveGraph

__all__ = ["NumpyFunctions"]

Float64 = NDArray[np.float64]
Forms = (Mapping, scipy.optimize.NonlinearConstraint, scipy.optimize.LinearConstraint)


class NumpyFunctions:
    """Makes NumPy functions that turn x into tensors, or assign the variables, and read the outputs back.

    Parameters
    ----------
    parameters : Parameters
    jit : bool
        Whether XLA compiles the functions.
    """

    def __init__(self, parameters: Parameters, jit: bool) -> None:
        self._parameters = parameters
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

    def constraints(self, constraints: Any) -> list[Any]:
        """Return the constraints in the same forms, each with a function for its values and one for its Jacobian."""
        every: Iterable[Any] = [constraints] if isinstance(constraints, Forms) else constraints or ()
        return [self._constraint(constraint) for constraint in every]

    def _constraint(self, constraint: Any) -> Any:
        if isinstance(constraint, scipy.optimize.LinearConstraint):
            return constraint
        if isinstance(constraint, scipy.optimize.NonlinearConstraint):
            fun, jac = self._values_and_jacobian(constraint.fun, ())
            return scipy.optimize.NonlinearConstraint(fun, constraint.lb, constraint.ub, jac)
        fun, jac = self._values_and_jacobian(constraint["fun"], tuple(constraint.get("args", ())))
        return {"type": constraint["type"], "fun": fun, "jac": jac}

    def _values_and_jacobian(
        self, fun: Callable[..., Any], args: tuple[Any, ...]
    ) -> tuple[Callable[[Float64], Float64], Callable[[Float64], Float64]]:
        arguments, none = Arguments(args, self._float_dtype), Arguments((), self._float_dtype)
        function = ConstraintFunction("the constraint", fun, arguments)
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
    ) -> Callable[[Float64], Sequence[NDArray[Any]]]:
        parameters = self._parameters
        function = tf.function(traced, autograph=False, jit_compile=jit or None)

        def call(x: Float64) -> Sequence[NDArray[Any]]:
            leaves = [tf.constant(part) for part in parameters.layout.split(x)]
            for variable, leaf in zip(parameters.variables, leaves, strict=False):
                variable.assign(leaf)
            outputs = function(*([] if parameters.variables else leaves), *arguments.tensors)
            return [output.numpy() for output in outputs]

        return call
