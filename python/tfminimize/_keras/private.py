"""The only imports from inside of Keras, and the only uses of its private attributes.

`keras.Model.fit` turns its arguments into batches with these functions. With them, the arguments mean the same here,
and errors are in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfminimize._tf.lazy import PrivateModule
from tfminimize._tf.private import framework_config
from tfminimize._trace.user_function import JitCompile

__all__ = [
    "arrays_of",
    "batches_of",
    "functional",
    "jit_compile",
    "layers_of",
    "loss_tracker",
    "print_message",
    "should_validate",
    "take_initial_epoch",
    "train_validation_split",
    "variables_of",
]

_adapters = PrivateModule("keras.src.trainers.data_adapters", "ArrayDataAdapter", "get_data_adapter")
_slicing = PrivateModule("keras.src.trainers.data_adapters.array_slicing", "train_validation_split")
_io = PrivateModule("keras.src.utils.io_utils", "print_msg")
_functional = PrivateModule("keras.src.models.functional", "Functional")


def functional() -> Any:
    """The class of models that are made from inputs and outputs."""
    return _functional.Functional


def jit_compile(model: keras.Model) -> JitCompile:
    """Whether XLA compiles a model: what it was compiled with, else "auto", unless two fits must have the same bits.

    Keras decides its own "auto" in ``compile``, without XLA on a CPU, and does not keep what it was given; a model of
    `tfminimize` does.
    """
    compiles = bool(model.jit_compile)
    has_decided = compiles or getattr(model, "_given_jit_compile", "auto") is False
    return compiles if has_decided or framework_config.is_op_determinism_enabled() else "auto"


def print_message(message: str) -> None:
    """Print a line where the progress bar is."""
    _io.print_msg(message)


def train_validation_split(arrays: Any, validation_split: float) -> Any:
    """The first rows of arrays, and the last ones for the validation."""
    return _slicing.train_validation_split(arrays, validation_split=validation_split)


def arrays_of(x: Any, y: Any, sample_weight: Any, class_weight: Any) -> tuple[Any, ...] | None:
    """Arrays as ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``; None if ``x`` yields batches of its own."""
    adapter = _adapters.get_data_adapter(x=x, y=y, sample_weight=sample_weight, class_weight=class_weight)
    if not isinstance(adapter, _adapters.ArrayDataAdapter):
        return None
    inputs = adapter._inputs
    return inputs if isinstance(inputs, tuple) else (inputs,)


def batches_of(
    x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, batch_size: int | None = None
) -> Any:
    """The `tf.data.Dataset` of batches that Keras makes, in the order of the data."""
    adapter = _adapters.get_data_adapter(
        x=x, y=y, sample_weight=sample_weight, class_weight=class_weight, batch_size=batch_size, shuffle=False
    )
    dataset = adapter.get_tf_dataset()
    if adapter.num_batches is None:
        return dataset
    return dataset.apply(tf.data.experimental.assert_cardinality(adapter.num_batches))


def layers_of(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers, however deep, each after those that hold it; the model is the first."""
    return iter(model._flatten_layers())


def variables_of(layer: keras.Layer) -> list[keras.Variable]:
    """The variables of a layer, without those of the layers in it."""
    states = keras.tree.flatten(getattr(layer, "states", None))  # of a stateful RNN, which `variables` leaves out
    own = {id(v): v for v in [*layer.variables, *states] if isinstance(v, keras.Variable)}
    for part in layer._flatten_layers(include_self=False):
        for v in part.variables:
            own.pop(id(v), None)
    return list(own.values())


def loss_tracker(model: keras.Model) -> keras.metrics.Metric:
    """The metric that has the mean loss."""
    return model._loss_tracker


def should_validate(model: keras.Model, epoch: int, validation_freq: Any) -> bool:
    """Whether there is a validation after this epoch."""
    return bool(model._should_eval(epoch, validation_freq))


def take_initial_epoch(model: keras.Model) -> int | None:
    """The epoch at which `BackupAndRestore` goes on, and None for the next fit."""
    epoch, model._initial_epoch = model._initial_epoch, None
    return None if epoch is None else int(epoch)
