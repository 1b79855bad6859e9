"""What the processes of a fit tell each other besides the loss and its sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from tfminimize._distribute.together import Together
from tfminimize._keras import private
from tfminimize._keras.precision import Precision

__all__ = ["SharedModel", "SharedStates"]


class _Alike(NamedTuple):
    """What must be the same in all processes of a fit."""

    weights: Any
    metrics: Any
    normalization: bytes
    """What `keras.layers.Normalization` keeps besides its weights."""
    precision: Any
    epochs: Any
    validation: Any


class SharedModel:
    """A model that each process of a fit has: it begins and ends with the weights of process 0.

    Parameters
    ----------
    peers : Together
    model : keras.Model
        Built.
    precision : Precision
    epochs : object
        The same everywhere if all go through the same epochs.
    validation : object
        The same everywhere if all validate after the same epochs.
    """

    def __init__(self, peers: Together, model: keras.Model, precision: Precision, epochs: Any, validation: Any) -> None:
        self._peers = peers
        self._weights = model.weights
        self._alike = _Alike(
            _kinds(model.weights),
            _kinds(model.metrics_variables),
            _normalization(model),
            precision.present,
            epochs,
            validation,
        )

    def begin(self, epoch: int) -> int:
        """Take the weights of process 0, and return the epoch with which it begins."""
        return int(self._take(epoch))

    def end(self) -> None:
        """Take the weights of process 0, which a callback of its own may have changed."""
        self._take(0, is_last=True)

    def _take(self, number: int, *, is_last: bool = False) -> float:
        vector = np.concatenate([[float(number)], *(np.ravel(v.numpy()).astype(np.float64) for v in self._weights)])
        self._peers.share(self._alike, vector, is_last=is_last)
        for variable, part in zip(self._weights, _parts(vector[1:], self._weights), strict=True):
            variable.assign(part)
        return float(vector[0])


class SharedStates:
    """The states of metrics, which processes add up.

    Parameters
    ----------
    variables : sequence of keras.Variable
        With their first values.

    Attributes
    ----------
    added : ndarray
        What this process adds to the first values; then what all add.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = variables
        self._first = [v.numpy() for v in variables]
        self.added = np.zeros(sum(v.size for v in self._first))

    def take(self) -> None:
        """Take what the variables have now."""
        for variable, first, part in zip(
            self._variables, self._first, _parts(self.added, self._variables), strict=True
        ):
            part[...] = variable.numpy().astype(np.float64) - first

    def assign(self) -> None:
        """Let the variables have what all processes have added."""
        for variable, first, part in zip(
            self._variables, self._first, _parts(self.added, self._variables), strict=True
        ):
            variable.assign(first + part)


def _normalization(model: keras.Model) -> bytes:
    layers = [layer for layer in private.layers_of(model) if isinstance(layer, keras.layers.Normalization)]
    arrays = [array for layer in layers for array in (layer.mean, layer.variance) if array is not None]
    return b"".join(np.asarray(array).tobytes() for array in arrays)


def _kinds(variables: Sequence[keras.Variable]) -> list[tuple[tuple[int, ...], str]]:
    return [(tuple(v.shape), v.dtype) for v in variables]


def _parts(vector: NDArray[np.float64], variables: Sequence[keras.Variable]) -> list[NDArray[np.float64]]:
    """Views of a vector in the shapes of variables, one after the other."""
    ends = np.cumsum([math.prod(v.shape) for v in variables])
    return [part.reshape(v.shape) for part, v in zip(np.split(vector, ends[:-1]), variables, strict=True)]
