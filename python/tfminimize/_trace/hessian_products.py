"""Hessian-vector products: a TensorFlow function of x and the vector, compiled like the loss, or differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.objective_graph import ObjectiveGraph
from tfminimize._trace.trace import Trace

__all__ = ["ProductTrace", "difference_product", "with_direction"]

Float64 = NDArray[np.float64]


def with_direction(args: Any, parameters: Parameters, direction: Float64) -> tuple[Any, ...]:
    """Append the components of a flat vector to the arguments of the loss."""
    return (*(args if isinstance(args, tuple) else (args,)), *parameters.layout.split(direction))


class ProductTrace(Trace):
    """The Hessian-vector product as one TensorFlow function; see `ObjectiveGraph.hessian_product`.

    The components of the vector are the last ``arguments``.

    Raises
    ------
    LookupError
        If TensorFlow has no second derivatives of the loss.
    """

    @staticmethod
    def _traced(graph: ObjectiveGraph, constraints: Constraints | None) -> list[Callable[..., list[tf.Tensor]]]:
        return [graph.hessian_product]


def difference_product(
    gradient: Callable[[Float64], Float64], precision: float
) -> Callable[[Float64, Float64], Float64]:
    """Return a function that multiplies the Hessian by a vector, by central differences of the gradient.

    The step balances rounding, in units of ``precision``, and truncation: precision^(1/3) times the size of x.

    Examples
    --------
    >>> product = difference_product(lambda x: x**2, 1e-7)
    >>> product(np.array([1.0, 2.0]), np.array([10.0, 0.0])).round(6) + 0.0
    array([20.,  0.])
    """

    def product(x: Float64, p: Float64) -> Float64:
        length = np.max(np.abs(p))
        if length == 0.0:
            return np.zeros_like(p)
        step = precision ** (1 / 3) * max(1.0, np.max(np.abs(x))) / length
        found: Float64 = (gradient(x + step * p) - gradient(x - step * p)) / (2.0 * step)
        return found

    return product
