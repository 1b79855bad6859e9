"""Copies of mirrored variables, which a loss reads that calls ``strategy.run``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.parameters import Parameters, replicas

__all__ = ["reads_copies", "value_and_gradients"]


def reads_copies(concrete: Any, parameters: Parameters) -> bool:
    """Whether a function reads another copy of a variable than the first."""
    others = {id(copy.handle) for v in parameters.variables for copy in replicas(v)[1:]}
    return any(id(tensor) in others for tensor in concrete.captured_inputs)


def value_and_gradients(
    loss: Callable[[], tuple[tf.Tensor, Any]], variables: Sequence[tf.Variable]
) -> tuple[Any, Any, list[Any]]:
    """Return what ``loss()`` returns, and its gradients, each the sum over the copies of a variable."""
    copies = [replicas(v) for v in variables]
    if max(map(len, copies), default=1) > 1:
        loss = tf.function(loss, autograph=False)  # a tape does not see the threads in which strategy.run traces
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(copies)
        value, other = loss()
    return value, other, [_sum(found) for found in tape.gradient(value, copies)]


def _sum(gradients: Sequence[Any]) -> Any:
    """The sum of the gradients, without those that are None; None if all are."""
    found = [gradient for gradient in gradients if gradient is not None]
    if len(found) > 1:
        return tf.add_n([tf.convert_to_tensor(gradient) for gradient in found])
    return found[0] if found else None
