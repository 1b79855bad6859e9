"""Products of the Hessian with a vector, from TensorFlow: a function of x and the vector, compiled like the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.parameters import Unknowns
from tfminimize._trace.trace import Trace, dense, inside_trace, scalar

__all__ = ["ProductTrace", "difference_product", "with_direction"]

Float64 = NDArray[np.float64]


def with_direction(args: Any, unknowns: Unknowns, direction: Float64) -> tuple[Any, ...]:
    """The arguments of the loss, and after them the components of a flat vector."""
    return (*(args if isinstance(args, tuple) else (args,)), *unknowns.layout.split(direction))


class ProductTrace(Trace):
    """The slope of the loss along a vector, and the Hessian times this vector, as one TensorFlow function.

    The Hessian times p is the gradient of gᵀp, where g is the gradient of the loss: Pearlmutter (1994), "Fast exact
    multiplication by the Hessian", doi:10.1162/neco.1994.6.1.147. The components of p are the last ``arguments``.

    Raises
    ------
    LookupError
        If TensorFlow has no second derivatives of the loss.
    """

    def traced(self, fun: Callable[..., Any], unknowns: Unknowns, arguments: Arguments, jit: bool) -> Any:
        """The function, not yet traced."""
        fun = inside_trace(fun, jit)
        rebuild_args = arguments.rebuilder()
        num_components = len(unknowns.layout.segments)
        num_leaves = 0 if unknowns.variables else num_components

        def product(*inputs: tf.Tensor) -> list[tf.Tensor]:
            sources = list(unknowns.variables) or list(inputs[:num_leaves])
            args = rebuild_args(inputs[num_leaves:])
            args, direction = args[:-num_components], args[-num_components:]
            if not unknowns.variables:
                args = (unknowns.rebuild(sources), *args)
            with tf.GradientTape(watch_accessed_variables=False) as outer:
                outer.watch(sources)
                with tf.GradientTape(watch_accessed_variables=False) as inner:
                    inner.watch(sources)
                    loss = scalar(fun(*args))
                gradients = list(map(dense, inner.gradient(loss, sources), sources, unknowns.layout.names))
                slopes = [tf.reduce_sum(g * p) for g, p in zip(gradients, direction, strict=True)]
                slope = tf.add_n([tf.cast(s, loss.dtype) for s in slopes])
            products = outer.gradient(slope, sources)
            if all(p is None for p in products):
                raise LookupError("the gradient of the loss does not depend on x in a way that TensorFlow can see")
            return [slope, *map(dense, products, sources, unknowns.layout.names)]

        return tf.function(product, autograph=False, jit_compile=jit or None)


def difference_product(
    gradient: Callable[[Float64], Float64], precision: float
) -> Callable[[Float64, Float64], Float64]:
    """The Hessian times a vector by central differences of a gradient with this rounding unit.

    The step has the length that balances rounding and curvature, precision^(1/3), in proportion to the size of x.

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
