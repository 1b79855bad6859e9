"""The data of a fit, as `keras.Model.fit` takes them, for a `DatasetLoss`."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfminimize._distribute.communicator import Communicator
from tfminimize._keras import private
from tfminimize._trace.dataset_loss import DatasetLoss

__all__ = ["TrainingData", "ValidationData", "split", "training_data"]

FEW = 32
"""The checks before a fit look at this many rows."""


@dataclass(frozen=True)
class TrainingData:
    """What a `DatasetLoss` is made of.

    Attributes
    ----------
    batches : tuple of tensors, or tf.data.Dataset
        Items are ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.
    batch_size : int or None
    first : tuple
        The first batch.
    is_one_batch : bool
        Whether one batch surely holds all rows.
    rows : int or None
        Of arrays; None for a data set.
    communicator : Communicator or None
        What connects the processes that have shares of the data.
    """

    batches: Any
    batch_size: int | None
    first: tuple[Any, ...]
    is_one_batch: bool
    rows: int | None = None
    communicator: Communicator | None = None

    @property
    def in_one_batch(self) -> str:
        """The advice to give all rows in one batch, if that can be done."""
        if self.communicator is not None:
            return ""
        return "give all rows in one batch (batch_size=None, or a tf.data.Dataset of one batch), or "

    @property
    def few(self) -> tuple[Any, ...]:
        """The first rows of the first batch, or all of it if it cannot be cut."""
        if not all(isinstance(leaf, tf.Tensor) for leaf in tf.nest.flatten(self.first)):
            return self.first
        few: tuple[Any, ...] = tf.nest.map_structure(lambda leaf: leaf[:FEW], self.first)
        return few


@dataclass(frozen=True)
class ValidationData:
    """What `keras.Model.evaluate` reads after an epoch.

    Attributes
    ----------
    batches : tf.data.Dataset or keras.utils.PyDataset
    steps : int or None
        How many of the batches, if not all.
    """

    batches: Any
    steps: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there are surely no batches."""
        return isinstance(self.batches, tf.data.Dataset) and int(self.batches.cardinality()) == 0

    @classmethod
    def of(cls, data: Any, batch_size: int | None, steps: int | None = None) -> ValidationData:
        """From ``validation_data`` as Keras takes it."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if private.arrays_of(x, y, sample_weight, None) is not None:
            x = private.batches_of(x, y, sample_weight, batch_size=batch_size)
        return cls(x, steps)


def split(x: Any, y: Any, sample_weight: Any, validation_split: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The rows to fit, and the last ones for the validation."""
    training, validation = private.train_validation_split((x, y, sample_weight), validation_split)
    return training, validation


def training_data(
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    batch_size: int | None,
    communicator: Communicator | None = None,
) -> TrainingData:
    """The data as Keras understands them; ValueError for data that cannot be read anew in each evaluation."""
    if x is None:
        raise ValueError("x is None: give arrays, a tf.data.Dataset or a keras.utils.PyDataset.")
    if isinstance(x, types.GeneratorType):
        raise ValueError(
            "x is a generator, which can be read only once, and each evaluation reads all data: give arrays, a "
            "keras.utils.PyDataset, or tf.data.Dataset.from_generator with a function that makes a new generator."
        )
    arrays = private.arrays_of(x, y, sample_weight, class_weight)
    if arrays is not None:
        return _from_arrays(arrays, batch_size, communicator)
    if batch_size is not None:
        raise ValueError(
            f"batch_size is {batch_size}, but a {type(x).__name__} has batches of its own: leave batch_size out."
        )
    if isinstance(x, keras.utils.PyDataset):
        x = _from_py_dataset(x)
    if not isinstance(x, tf.data.Dataset):
        raise ValueError(
            f"x is a {type(x).__name__}: give arrays, a tf.data.Dataset or a keras.utils.PyDataset, which can be read "
            "anew in each evaluation."
        )
    dataset = private.batches_of(x, class_weight=class_weight)
    _check(dataset, None, communicator)
    is_one_batch = int(dataset.cardinality()) == 1 and communicator is None
    return TrainingData(dataset, None, _first(dataset, communicator), is_one_batch, communicator=communicator)


def _from_arrays(arrays: tuple[Any, ...], batch_size: int | None, communicator: Communicator | None) -> TrainingData:
    leaves = tf.nest.flatten(arrays)
    rows = next(int(leaf.shape[0]) for leaf in leaves if leaf is not None)
    is_one_batch = communicator is None and (batch_size is None or batch_size >= rows)
    if any(leaf is None or _is_sparse_or_ragged(leaf) for leaf in leaves):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(arrays)
        dataset = private.batches_of(x, y, sample_weight, batch_size=batch_size or max(rows, 1))
        return TrainingData(dataset, None, _first(dataset, communicator), is_one_batch, communicator=communicator)
    tensors = tf.nest.map_structure(_tensor, arrays)
    _check(tensors, batch_size, communicator)
    first = tensors if is_one_batch else tf.nest.map_structure(lambda leaf: leaf[:batch_size], tensors)
    return TrainingData(tensors, batch_size, first, is_one_batch, rows, communicator)


def _check(batches: Any, batch_size: int | None, communicator: Communicator | None) -> None:
    """Raise ValueError unless a loss can be added up over the data."""
    DatasetLoss(_check, batches, batch_size, communicator=communicator)


def _is_sparse_or_ragged(leaf: Any) -> bool:
    return isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)) or hasattr(leaf, "tocsr")


def _tensor(array: Any) -> tf.Tensor:
    """An array as a tensor, with floats in `keras.config.floatx()`, as Keras's fit converts them."""
    tensor = tf.convert_to_tensor(array if isinstance(array, (np.ndarray, tf.Tensor)) else np.asarray(array))
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor


def _first(dataset: tf.data.Dataset, communicator: Communicator | None) -> tuple[Any, ...]:
    for batch in dataset.take(1):
        return batch if isinstance(batch, tuple) else (batch,)
    if communicator is not None:
        return tf.nest.map_structure(_no_rows, dataset.element_spec)  # type: ignore[no-any-return]
    raise ValueError("x has no batches: give at least one.")


def _no_rows(spec: Any) -> tf.Tensor:
    """A batch of no rows."""
    if not isinstance(spec, tf.TensorSpec) or None in spec.shape.as_list()[1:]:
        raise ValueError(
            f"this process's data set x has no batches, and its elements have no known shape ({spec}): give each "
            "process at least one batch."
        )
    return tf.zeros([0, *spec.shape[1:]], spec.dtype)


def _from_py_dataset(source: keras.utils.PyDataset) -> tf.data.Dataset:
    """A data set that asks for all batches in order, each time that it is read."""
    count = source.num_batches
    if count is None:
        raise ValueError(
            f"the {type(source).__name__} has no number of batches (its num_batches is None), and each evaluation "
            "reads all of them: give it a __len__."
        )
    if count == 0:
        raise ValueError(f"the {type(source).__name__} has no batches: give at least one.")
    looked_at = [_batch(source[i]) for i in sorted({0, min(1, count - 1), count - 1})]
    spec = tf.nest.map_structure(_spec, *looked_at)

    def batches() -> Any:
        for i in range(count):
            yield _batch(source[i])

    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(1)


def _batch(batch: Any) -> tuple[Any, ...]:
    items = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    while items and items[-1] is None:
        items = items[:-1]
    return tf.nest.map_structure(np.asarray, items)  # type: ignore[no-any-return]


def _spec(*leaves: Any) -> tf.TensorSpec:
    """The shape that all have, with None for what differs and for the rows."""
    sizes = zip(*(leaf.shape[1:] for leaf in leaves), strict=True)
    shape = [None, *(same[0] if len(set(same)) == 1 else None for same in sizes)]
    return tf.TensorSpec(shape, leaves[0].dtype)
