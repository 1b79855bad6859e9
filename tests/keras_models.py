"""Small Keras models and their data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import tfminimize as tfm

ROWS = 60


@pytest.fixture(params=["float32", "float64"])
def floatx(request: pytest.FixtureRequest) -> Iterator[str]:
    """Keras's dtype of weights, data and losses."""
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(before)


def rows(seed: int = 0, count: int = ROWS) -> tuple[Any, Any]:
    """Inputs of three features, and a target."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 3)).astype(keras.config.floatx())
    return x, np.sin(x.sum(axis=1, keepdims=True))


def labels(seed: int = 0, count: int = ROWS) -> tuple[Any, Any]:
    """Inputs of three features, and a class of three."""
    x, y = rows(seed, count)
    return x, (np.digitize(y[:, 0], [-0.5, 0.3])).astype(np.int64)


def regression(kind: Any = keras.Sequential, seed: int = 1, units: int = 4, **options: Any) -> Any:
    """A network with one hidden layer, not compiled."""
    keras.utils.set_random_seed(seed)
    return kind(
        [
            keras.layers.Input((3,)),
            keras.layers.Dense(units, activation="tanh", **options),
            keras.layers.Dense(1),
        ]
    )


def classifier(kind: Any = keras.Sequential, seed: int = 1) -> Any:
    """A network for three classes, not compiled."""
    keras.utils.set_random_seed(seed)
    return kind(
        [keras.layers.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3, name="logits")]
    )


def two_by_two(kind: Any = keras.Model, seed: int = 1) -> Any:
    """A model with two inputs and two outputs, not compiled."""
    keras.utils.set_random_seed(seed)
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    hidden = keras.layers.Dense(4, activation="tanh")(keras.layers.Concatenate()([left, right]))
    outputs = {"value": keras.layers.Dense(1, name="value")(hidden), "kind": keras.layers.Dense(3, name="kind")(hidden)}
    return kind({"left": left, "right": right}, outputs)


def two_by_two_rows(seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data of `two_by_two`."""
    (x, value), (_, kind) = rows(seed), labels(seed)
    return {"left": x, "right": x[:, :2] ** 2}, {"value": value, "kind": kind}


class Batches(keras.utils.PyDataset):
    """Batches of arrays; it counts how often each is asked for."""

    def __init__(self, arrays: tuple[Any, ...], size: int) -> None:
        super().__init__()
        self.arrays, self.size, self.asked = arrays, size, 0

    def __len__(self) -> int:
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        self.asked += 1
        return tuple(array[index * self.size : (index + 1) * self.size] for array in self.arrays)


def weights_of(model: Any) -> list[Any]:
    """Copies of all weights, also those that are not trained."""
    return [value.copy() for value in model.get_weights()]


def assert_same(weights: list[Any], others: list[Any]) -> None:
    """The same bits."""
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one, other)


def exact(**options: Any) -> tfm.LBFGSB:
    """An L-BFGS-B that goes on as long as it can."""
    return tfm.LBFGSB(ftol=0.0, gtol=0.0, **options)
