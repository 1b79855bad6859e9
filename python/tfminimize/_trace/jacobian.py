"""The Jacobian of a vector by the cheaper of reverse and forward mode, inside of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

__all__ = ["jacobian"]

MAX_UNROLLED = 4
"""Up to so many rows a backward pass each is the cheapest: it needs no vectorisation, which takes long to trace."""

MIN_RATIO = 3
"""Forward mode makes two passes where reverse mode makes one, so rows have to outnumber columns clearly."""


def jacobian(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    """The derivatives of a vector by several sources, of shape ``[k, *shape]`` each.

    Parameters
    ----------
    tape : tf.GradientTape
        A persistent tape, closed, that watched the sources while ``value`` was computed.
    value : tf.Tensor, shape (k,)
    sources : sequence of tf.Tensor or tf.Variable

    Returns
    -------
    list of tf.Tensor or None
        None where ``value`` does not depend on a source.

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
    columns = sum(source.shape.num_elements() for source in sources)
    if rows == 0:
        return [None] * len(sources)
    if rows <= MAX_UNROLLED:
        return _unrolled(tape, value, sources)
    if rows >= MIN_RATIO * columns and not _has_loops(value):
        try:
            return _forward(tape, value, sources)
        except (LookupError, NotImplementedError, TypeError, ValueError):
            pass  # an operation without a second derivative: the other way gives the same numbers
    return _reverse(tape, value, sources)


def _has_loops(value: tf.Tensor) -> bool:
    """Whether there is a loop in the graph; the gradient of one has no derivative that could be vectorised."""
    graph = getattr(value, "graph", None)
    return graph is not None and any(op.type in ("While", "StatelessWhile") for op in graph.get_operations())


def _unrolled(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    rows = value.shape.num_elements()
    unit = [tf.one_hot(i, rows, dtype=value.dtype) for i in range(rows)]
    gradients = [tape.gradient(value, sources, output_gradients=row) for row in unit]
    by_source = zip(*gradients, strict=True)
    return [
        None if parts[0] is None else tf.stack([tf.convert_to_tensor(part) for part in parts]) for parts in by_source
    ]


def _reverse(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    """One backward pass, vectorised over the rows."""
    try:
        found = tape.jacobian(value, sources)
    except ValueError:  # it holds what cannot be vectorised
        found = tape.jacobian(value, sources, experimental_use_pfor=False)
    return [None if part is None else tf.convert_to_tensor(part) for part in found]


class _NotLinear(ValueError):
    """A backward pass cannot be differentiated."""


def _forward(tape: tf.GradientTape, value: tf.Tensor, sources: Sequence[Any]) -> list[tf.Tensor | None]:
    """The derivative of the backward pass ``u -> Jᵀu``, which is linear in u, vectorised over the columns.

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
