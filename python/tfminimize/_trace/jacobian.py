"""The Jacobian of a vector inside a trace, by reverse or forward mode, whichever is cheaper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfminimize._tf.effects import GraphEffects
from tfminimize._trace.cost import CONTROL_FLOW

__all__ = ["jacobian"]

MAX_UNROLLED = 4
"""Up to this many rows, one backward pass for each is cheapest: vectorisation takes long to trace."""

MIN_RATIO = 3
"""Forward mode needs two passes and reverse mode one, so it pays only with this many times more rows than columns."""


def jacobian(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    """Return the derivatives of a vector by several sources, each of shape ``[k, *shape]``.

    Parameters
    ----------
    tape : tf.GradientTape
        A persistent, closed tape that watched the sources while ``value`` was computed.
    value : tf.Tensor, shape (k,)
    sources : sequence of tf.Tensor or tf.Variable

    Returns
    -------
    list of tf.Tensor or None
        None if ``value`` does not depend on the source.

    Examples
    --------
    >>> x = tf.constant([1.0, 2.0, 3.0])
    >>> with tf.GradientTape(persistent=True) as tape:
    ...     tape.watch(x)
    ...     value = x[:2] ** 2
    >>> jacobian(tape, value, [x])[0].numpy()
    array([[2., 0., 0.],
           [0., 4., 0.]], dtype=float32)
    """
    (rows,) = value.shape.as_list()
    sizes = [source.shape.num_elements() for source in sources]
    columns = math.inf if None in sizes else sum(sizes)
    if rows == 0:
        return [None] * len(sources)
    if rows <= MAX_UNROLLED:
        return _unrolled(tape, value, sources)
    if rows >= MIN_RATIO * columns and not _has_control_flow(value):
        try:
            return _forward(tape, value, sources)
        except (LookupError, NotImplementedError, TypeError, ValueError):
            pass  # an operation has no second derivative; reverse mode gives the same numbers
    return _reverse(tape, value, sources)


def _has_control_flow(value: tf.Tensor) -> bool:
    """Whether the graph has a loop or a branch: TensorFlow cannot vectorise the derivative of its gradient."""
    graph = getattr(value, "graph", None)
    if graph is None:
        return False
    definition = graph.as_graph_def()
    return GraphEffects(definition.node, definition.library).has(CONTROL_FLOW)


def _unrolled(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    rows = value.shape.num_elements()
    unit = [tf.one_hot(i, rows, dtype=value.dtype) for i in range(rows)]
    gradients = [tape.gradient(value, sources, output_gradients=row) for row in unit]
    by_source = zip(*gradients, strict=True)
    return [
        None if parts[0] is None else tf.stack([tf.convert_to_tensor(part) for part in parts]) for parts in by_source
    ]


def _reverse(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    """Run one backward pass, vectorised over the rows."""
    try:
        found = tape.jacobian(value, sources)
    except ValueError:  # some operation cannot be vectorised
        found = tape.jacobian(value, sources, experimental_use_pfor=False)
    return [None if part is None else tf.convert_to_tensor(part) for part in found]


class _NotLinear(ValueError):
    """The backward pass cannot be differentiated."""


def _forward(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    """Differentiate the backward pass ``u -> Jᵀu``, which is linear in u, vectorised over the columns.

    `tf.autodiff.ForwardAccumulator` gives the same, but runs the function a second time.
    """
    with tf.GradientTape(persistent=True) as outer:
        u = tf.zeros_like(value)
        outer.watch(u)
        gradients = tape.gradient(value, sources, output_gradients=u)
        flat = [None if gradient is None else tf.reshape(gradient, [-1]) for gradient in gradients]
    found: list[tf.Tensor | None] = []
    for gradient, source in zip(flat, sources, strict=True):
        if gradient is None:
            found.append(None)
            continue
        transposed = outer.jacobian(gradient, u)
        if transposed is None:
            raise _NotLinear
        found.append(tf.reshape(tf.cast(tf.transpose(transposed), source.dtype), value.shape + source.shape))
    return found
