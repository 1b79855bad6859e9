"""The loss of a compiled model as a function of a batch."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf

from tfminimize._keras.data import TrainingData
from tfminimize._keras.metrics import Measured
from tfminimize._trace.dataset_loss import DatasetLoss, with_sums

__all__ = ["BatchLoss", "dataset_loss"]


class BatchLoss:
    """The compiled loss of one batch, with regularisers and what layers have added, and what else is measured.

    It assigns nothing.

    Parameters
    ----------
    model : keras.Model
    measured : Measured
    without_regularizers : bool
        Whether to leave out the regularisers of weights.
    """

    def __init__(self, model: keras.Model, measured: Measured, *, without_regularizers: bool = False) -> None:
        self._model = model
        self._measured = measured
        self._without_regularizers = without_regularizers
        self._options = {"training": True} if "training" in inspect.signature(model.compute_loss).parameters else {}

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def __call__(self, *batch: Any) -> tuple[Any, list[tf.Tensor]]:
        """The loss of ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, and what the batch adds to the sums."""
        model, measured = self._model, self._measured
        with measured.statistics_of_the_batch():
            loss, scope = self.run(batch, measured.states)
        return loss - regularization(model) if self._without_regularizers else loss, measured.added(scope)

    def run(self, batch: tuple[Any, ...], states: Any) -> tuple[Any, keras.StatelessScope]:
        """The loss, and a scope that has what the model, its loss and its metrics have assigned.

        ``states`` are pairs of a variable and its value.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        model = self._model
        with stateless(model, states) as scope:
            y_pred = model(x, training=True)
            loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **self._options)
            model.compute_metrics(x, y, y_pred, sample_weight)
        return loss, scope


def stateless(model: keras.Model, states: Any = ()) -> keras.StatelessScope:
    """A scope that keeps what is assigned, instead of doing it. Regularisers look for the weights in its mapping."""
    weights = [(v, tf.convert_to_tensor(v.value)) for v in model.trainable_variables]
    return keras.StatelessScope([*weights, *states], collect_losses=True)


def regularization(model: keras.Model) -> tf.Tensor:
    """The sum of all regularisers of trainable weights."""
    terms = [v.regularizer(v) for v in model.trainable_variables if v.regularizer is not None]
    return tf.add_n(terms) if terms else tf.zeros([], keras.config.floatx())


def dataset_loss(model: keras.Model, measured: Measured, data: TrainingData) -> DatasetLoss:
    """The loss over all data, with the sums of what is measured.

    Raises
    ------
    ValueError
        If the compiled losses cannot be put together from the batches.
    """
    reductions = {name: reduction for name, reduction in _reductions(model.loss) if reduction != "sum"}
    sums = [name for name, reduction in _reductions(model.loss) if reduction == "sum"]
    for name, reduction in reductions.items():
        if reduction in (None, "none"):
            raise ValueError(
                f"the loss {name} has reduction={reduction!r}, so it is no scalar: give it "
                'reduction="sum_over_batch_size" or "sum".'
            )
        if reduction == "mean_with_sample_weight" and len(data.first) == 3 and not data.is_one_batch:
            raise ValueError(
                f'the loss {name} has reduction="mean_with_sample_weight", a mean over the weights of a batch, which '
                f"differs from that over all data: {data.in_one_batch}give "
                'reduction="sum_over_batch_size".'
            )
    if sums and reductions:
        raise ValueError(
            f"the losses {', '.join(sums)} are sums over rows, and {', '.join(reductions)} are means: give all "
            'losses reduction="sum", or none of them.'
        )
    if not sums or data.is_one_batch:
        is_weighted = "mean_with_sample_weight" in reductions.values() and len(data.first) == 3
        must_be_one = data.is_one_batch and (sums or is_weighted or measured.statistics)
        size = data.rows if must_be_one else data.batch_size
        loss = BatchLoss(model, measured)
        return with_sums(DatasetLoss(loss, data.batches, size, communicator=data.communicator))
    loss = BatchLoss(model, measured, without_regularizers=True)
    return with_sums(
        DatasetLoss(loss, data.batches, data.batch_size, "sum", lambda: regularization(model), data.communicator)
    )


def _reductions(loss: Any) -> list[tuple[str, Any]]:
    """The name and the reduction of each compiled loss; functions and names of losses are means."""
    found = []
    for one in keras.tree.flatten(loss):
        if one is not None:
            name = one if isinstance(one, str) else getattr(one, "name", getattr(one, "__name__", repr(one)))
            found.append((f"'{name}'", getattr(one, "reduction", "sum_over_batch_size")))
    return found
