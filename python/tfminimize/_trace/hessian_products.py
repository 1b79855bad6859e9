"""Products of the Hessian with vectors: a TensorFlow function, compiled like the loss, or differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import ConstraintFunction, Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import private
from tfminimize._trace.checks import constraint_values
from tfminimize._trace.dataset_loss import Loss
from tfminimize._trace.objective_graph import ObjectiveGraph
from tfminimize._trace.trace import Trace
from tfminimize._trace.user_function import inside_trace

__all__ = ["ProductTrace", "difference_product", "rows_at_once", "weighted_sum", "with_directions"]

Float64 = NDArray[np.float64]


ROOM = 1 << 26
"""The Hessian is computed in blocks of as many rows as fit into so many bytes. Larger blocks are no faster: at 1 GB the
Hessian of a network with 820 weights took twice as long."""


def with_directions(args: Any, parameters: Parameters, directions: Float64) -> tuple[Any, ...]:
    """Append the components of flat vectors, the rows of ``directions``, to the arguments of the loss."""
    return (*(args if isinstance(args, tuple) else (args,)), *parameters.layout.split_rows(directions))


class ProductTrace(Trace):
    """The Hessian times vectors as one TensorFlow function; see `ObjectiveGraph.hessian_products`.

    The components of the vectors are the last ``arguments``.

    Raises
    ------
    LookupError
        If TensorFlow has no second derivatives of the loss.
    """

    takes_copies = False

    @staticmethod
    def _traced(graph: ObjectiveGraph, constraints: Constraints | None) -> list[Callable[..., list[tf.Tensor]]]:
        return [graph.hessian_products]


def rows_at_once(fun: Loss, parameters: Parameters, arguments: Arguments, jit: bool) -> int:
    """How many rows of the Hessian one pass computes; ``arguments`` are those of a product with one vector.

    A pass that is vectorised over k rows holds k times what the operations return that differentiate the gradient along
    one vector. It takes so many rows that this is at most `ROOM`. Functions with loops or branches, which TensorFlow
    vectorises badly or not at all, and those that call Python get a pass for each row.

    Raises
    ------
    LookupError
        If TensorFlow has no second derivatives of the loss.
    """
    graph = ObjectiveGraph(fun, parameters, arguments, jit=jit, takes_sums=True)
    segments = () if parameters.variables else parameters.layout.segments
    specs = [tf.TensorSpec(one.shape, one.dtype) for one in (*segments, *arguments.tensors)]
    with private.recording():
        tf.function(graph.hessian_products, autograph=False).get_concrete_function(*specs)
    cost = graph.cost
    if cost.has_control_flow or cost.has_python_functions:
        return 1
    return max(1, min(parameters.layout.size, ROOM // max(1, cost.num_bytes)))


def weighted_sum(function: ConstraintFunction, has_x: bool, jit: bool) -> Callable[..., tf.Tensor]:
    """The function ``vᵀc(x, *args)`` of x (if ``has_x``), v and ``args``, for a constraint function c."""
    called = inside_trace(function.fun, jit, function.name)
    count = int(has_x)

    def loss(*inputs: Any) -> tf.Tensor:
        v, *args = inputs[count:]
        values = constraint_values(function.name, called, (*inputs[:count], *args))
        return tf.reduce_sum(tf.cast(v, values.dtype) * tf.reshape(values, [-1]))

    unconverted: Callable[..., tf.Tensor] = tf.autograph.experimental.do_not_convert(loss)
    return unconverted


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
