"""Metrics of the training data, and moving statistics, from the evaluations that the solver makes anyway."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._keras import private
from tfminimize._problem.parameters import Parameters, replicas
from tfminimize._tf.dispatch import InlineCall

__all__ = ["Measured", "flat", "plain"]

Array = NDArray[Any]

_FEW = 1 << 16
"""Up to this many weights are assigned in one call, which takes a third of the time of an assignment for each variable,
but twice the memory of the weights."""


class Measured:
    """What a model measures while its loss is evaluated: the states of its metrics, and its moving statistics.

    A metric adds something to its state in each batch. So its state after all batches is the one at the beginning, and
    the sum of what the batches add. `BatchNormalization` normalises by the statistics of all data, in one batch; these
    become its moving ones, so that the model predicts as it was fitted.

    Parameters
    ----------
    model : keras.Model
        Built, with metrics in their first state.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        tracked = {id(v) for v in private.loss_tracker(model).variables}
        self._metrics = [v for v in model.metrics_variables if id(v) not in tracked]
        self._initial = [v.numpy() for v in self._metrics]
        self._layers = [
            layer
            for layer in private.layers_of(model)
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        self._parameters: Parameters
        self._weights: list[tf.Variable] = []
        self._assigned: InlineCall | None = None

    @property
    def states(self) -> list[tuple[keras.Variable, Array]]:
        """The metrics' variables with their first values."""
        return list(zip(self._metrics, self._initial, strict=True))

    @property
    def statistics(self) -> list[keras.Variable]:
        """The moving statistics."""
        return [v for layer in self._layers for v in (layer.moving_mean, layer.moving_variance)]

    @contextlib.contextmanager
    def statistics_of_the_batch(self) -> Iterator[None]:
        """Inside, moving statistics become those of the batch, without the old ones."""
        before = [layer.momentum for layer in self._layers]
        try:
            for layer in self._layers:
                layer.momentum = 0.0
            yield
        finally:
            for layer, momentum in zip(self._layers, before, strict=True):
                layer.momentum = momentum

    def added(self, scope: keras.StatelessScope) -> list[tf.Tensor]:
        """What one batch has added to the metrics, then the statistics.

        Parameters
        ----------
        scope : keras.StatelessScope
            With `states` in its mapping. The model, its loss and its metrics have run in it.
        """
        changes = [
            tf.cast(scope.get_current_value(v), tf.float64) - initial.astype(np.float64) for v, initial in self.states
        ]
        values = [scope.get_current_value(v) for v in self.statistics]
        return changes + [v.value if new is None else new for v, new in zip(self.statistics, values, strict=True)]

    def trace(self, parameters: Parameters) -> None:
        """Trace now what each `take` calls; ``parameters`` are the weights."""
        self._parameters = parameters
        self._weights = list(parameters.variables) if parameters.layout.size <= _FEW else []
        size = sum(math.prod(v.shape) for v in (*self._weights, *self._metrics, *self.statistics))
        if size:
            function = tf.function(self._assign, autograph=False)
            self._assigned = InlineCall(function.get_concrete_function(tf.TensorSpec([size], tf.float64)))

    def take(self, x: Array, sums: Array) -> dict[str, Any]:
        """Assign the weights x, and the metrics and the statistics from the sums over all batches; return the metrics.

        Call `trace` first.
        """
        if not self._weights:
            self._parameters.assign(x)
        if self._assigned is None:
            return {}
        values = np.concatenate([x, sums]) if self._weights else sums
        return plain(self._assigned(tf.constant(values)))

    def _assign(self, values: tf.Tensor) -> dict[str, Any]:
        measured = [*self._metrics, *self.statistics]
        starts = [*self._initial, *(0.0 for _ in self.statistics)]
        parts = tf.split(values, [math.prod(v.shape) for v in (*self._weights, *measured)])
        for weight, part in zip(self._weights, parts, strict=False):
            value = tf.cast(tf.reshape(part, weight.shape), weight.dtype)
            for replica in replicas(weight):
                tf.raw_ops.AssignVariableOp(resource=replica.handle, value=value)
        for variable, start, part in zip(measured, starts, parts[len(self._weights) :], strict=True):
            variable.assign(tf.cast(start + tf.reshape(part, variable.shape), variable.dtype))
        return flat(self._model.get_metrics_result()) if self._metrics else {}

    def check_additive(self, before: Sequence[Array], after: Sequence[Array]) -> None:
        """Raise ValueError, naming the metric, unless a batch adds the same again.

        Parameters
        ----------
        before, after : sequence of ndarray
            The states after the same batch has come once, and twice.
        """
        metrics = [part for metric in self._model.metrics for part in getattr(metric, "metrics", [metric])]
        names = {id(v): metric.name for metric in metrics for v in metric.variables}
        for (variable, initial), once, twice in zip(self.states, before, after, strict=True):
            first, second = once - initial, twice - once
            scale = max(float(np.abs(a).max(initial=0.0)) for a in (initial, once, twice))
            if not np.allclose(first, second, rtol=1e-3, atol=1e-5 * scale, equal_nan=True):
                raise ValueError(
                    f"the metric '{names[id(variable)]}' does not add up over batches ({variable.path} changes by "
                    f"{first.ravel()[:3]}, then, for the same rows again, by {second.ravel()[:3]}), so that it cannot "
                    "be taken from the evaluations of the solver: give it to the validation only, by "
                    "model.evaluate in a keras.callbacks.LambdaCallback, or write it as a keras.metrics.Mean."
                )


def flat(results: dict[str, Any]) -> dict[str, tf.Tensor]:
    """The results of metrics as tensors. One that is a dict gives several, as in Keras's history."""
    found: dict[str, tf.Tensor] = {}
    for name, value in results.items():
        found |= flat(value) if isinstance(value, dict) else {name: tf.convert_to_tensor(value)}
    return found


def plain(results: dict[str, tf.Tensor]) -> dict[str, Any]:
    """The results as numbers, or arrays."""
    arrays = {name: value.numpy() for name, value in results.items()}
    return {name: value.item() if value.ndim == 0 else value for name, value in arrays.items()}
