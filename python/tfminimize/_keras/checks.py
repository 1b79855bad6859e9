"""Checks of a model before it is fitted: it can be fitted, and its loss is a function of its weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfminimize._keras import private
from tfminimize._keras.data import TrainingData
from tfminimize._keras.loss import BatchLoss, stateless
from tfminimize._keras.metrics import Measured
from tfminimize._tf.warning import warn

__all__ = ["about_half_precision", "build", "check_is_function", "check_model", "check_weights"]


def check_model(model: Any) -> None:
    """Raise unless it is a compiled Keras model whose training step is Keras's."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"model is a {type(model).__name__}: give a keras.Model, for example a keras.Sequential.")
    if not model.compiled:
        raise ValueError(
            f"the model '{model.name}' is not compiled, so it has no loss: call model.compile(loss=...) first; its "
            "optimizer does not matter."
        )
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"Keras runs on {keras.config.backend()}: set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    for name in ("train_step", "make_train_function"):
        if getattr(type(model), name) is not getattr(keras.Model, name) and not _is_ours(type(model), name):
            raise ValueError(
                f"the model '{model.name}' has a {name} of its own, which a fit by L-BFGS-B, SLSQP or BFGS does not "
                "call: override compute_loss instead, which returns the loss of a batch."
            )
    if model.run_eagerly:
        warn("run_eagerly=True has no effect on a fit by tfminimize, which traces the model.", UserWarning)


def _is_ours(kind: type, name: str) -> bool:
    """Whether this package defines the method."""
    return str(getattr(getattr(kind, name), "__module__", "")).startswith("tfminimize.")


def build(model: keras.Model, data: TrainingData) -> None:
    """Make all variables of the model, its loss, metrics and optimizer, as Keras does in a fit."""
    with model.distribute_strategy.scope():
        _build(model, data)


def _build(model: keras.Model, data: TrainingData) -> None:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data.few)
    if not all(layer.built for layer in private.layers_of(model)):
        with keras.StatelessScope():
            model(x, training=False)
    with stateless(model):
        y_pred = model(x, training=False)
        model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        model.compute_metrics(x, y, y_pred, sample_weight)
    model.reset_metrics()
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def check_weights(model: keras.Model) -> None:
    """Raise ValueError unless something can be fitted."""
    if not model.trainable_variables:
        raise ValueError(
            f"the model '{model.name}' has no trainable weights: set trainable=True on a layer that has weights, and "
            "compile the model again."
        )


def about_half_precision(model: keras.Model) -> str:
    """A sentence if layers compute in 16 bits, else nothing."""
    for layer in private.layers_of(model):
        if layer.compute_dtype in ("float16", "bfloat16"):
            return (
                f" Layer '{layer.name}' computes in {layer.compute_dtype}, so that the gradient has about 3 digits: "
                'for a better fit, make the model with keras.config.set_dtype_policy("float32").'
            )
    return ""


def check_is_function(model: keras.Model, measured: Measured, data: TrainingData, reduction: str) -> None:
    """Raise ValueError, naming the layer, if the loss is not a function of the trainable weights.

    Metrics must add up over batches too.
    """
    loss = BatchLoss(model, measured)
    given = {id(v) for v, _ in measured.states} | {id(v) for v in model.trainable_variables}
    _, scope = loss.run(data.few, measured.states)
    if reduction == "sum" and scope.losses:
        raise ValueError(
            "the loss is a sum over rows, and layers add losses of their own (add_loss or activity_regularizer), which "
            f"are means over a batch: {data.in_one_batch}give a loss with "
            'reduction="sum_over_batch_size".'
        )
    written = set(scope.state_mapping) - given - {id(v) for v in model.metrics_variables}
    for layer in private.layers_of(model):
        own = [v for v in private.variables_of(layer) if id(v) in written]
        if own:
            _refuse_state(layer, own, data)
        written -= {id(v) for v in own}
    if written:
        raise ValueError(
            "the model or its loss draws random numbers from the seed of keras.utils.set_random_seed, so that the loss "
            "differs in each evaluation and has no minimum to find: leave them out, or draw them before the fit."
        )
    once = [scope.get_current_value(v) for v, _ in measured.states]
    _, again = loss.run(data.few, [(v, value) for (v, _), value in zip(measured.states, once, strict=True)])
    twice = [again.get_current_value(v) for v, _ in measured.states]
    measured.check_additive(*([np.asarray(value) for value in values] for values in (once, twice)))


def _refuse_state(layer: keras.Layer, written: list[keras.Variable], data: TrainingData) -> None:
    """Raise ValueError if this layer changes what it writes in training."""
    kind = type(layer).__name__
    if isinstance(layer, keras.layers.BatchNormalization):
        if not data.is_one_batch:
            raise ValueError(
                f"layer '{layer.name}' ({kind}) normalises each batch by its own statistics, so that the loss depends "
                f"on how the data are cut: {data.in_one_batch}freeze it by trainable=False, or use LayerNormalization."
            )
        return
    if any("seed_generator" in v.path for v in written):
        raise ValueError(
            f"layer '{layer.name}' ({kind}) draws random numbers in training, so that the loss differs in each "
            "evaluation and has no minimum to find: remove the layer, or set its rate or factor to 0. Against "
            "overfitting use kernel_regularizer or EarlyStopping; augment data once, before the fit."
        )
    names = ", ".join(v.path for v in written)
    remedy = "set stateful=False" if getattr(layer, "stateful", False) else "freeze it by trainable=False"
    raise ValueError(
        f"layer '{layer.name}' ({kind}) changes its state in training ({names}), so that the loss is no function of "
        f"the weights alone: remove the layer, or {remedy}."
    )
