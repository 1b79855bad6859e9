"""What a fit refuses, with a sentence, before the model has changed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import assert_same, regression, rows, weights_of

import tfminimize as tfm


def compiled() -> Any:
    model = regression()
    model.compile(loss="mse")
    return model


def refused(sentence: str, model: Any, *args: Any, **options: Any) -> None:
    before = weights_of(model) if isinstance(model, keras.Model) else []
    with pytest.raises(ValueError, match=sentence):
        tfm.keras.fit(model, *args, **{"verbose": 0, **options})
    if before:
        assert_same(weights_of(model), before)


def test_model_that_cannot_be_fitted() -> None:
    x, y = rows()
    refused("model is a Dense: give a keras.Model", keras.layers.Dense(1), x, y)
    refused("is not compiled.*model.compile", regression(), x, y)
    model = regression()
    model.compile()
    refused("No loss to compute", model, x, y)
    model = regression()
    model.trainable = False
    model.compile(loss="mse")
    refused("has no trainable weights: set trainable=True", model, x, y)

    class OwnStep(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            return {}

    model = regression(OwnStep)
    model.compile(loss="mse")
    refused("has a train_step of its own.*override compute_loss", model, x, y)


def test_optimizer_of_another_kind() -> None:
    refused("give tfminimize.LBFGSB.*or tfminimize.BFGS", compiled(), *rows(), optimizer=keras.optimizers.Adam())
    refused("optimizer is 'adam'", compiled(), *rows(), optimizer="adam")
    refused(
        "greater than the upper bound", compiled(), *rows(), optimizer=tfm.LBFGSB(bounds=[(1.0, 0.0), None, None, None])
    )


@pytest.mark.parametrize(("name", "value"), [("epochs", 2.5), ("epochs", -1), ("initial_epoch", "3"), ("epochs", True)])
def test_epochs_that_are_no_count(name: str, value: Any) -> None:
    refused(f"{name} is {value!r}", compiled(), *rows(), **{name: value})


def test_data_that_cannot_be_read() -> None:
    x, y = rows()
    model = compiled()
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    refused("x is None", model)
    refused("no rows", model, x[:0], y[:0])
    refused("same number of samples", model, x, y[:5])
    refused("x is a generator, which can be read only once", model, ((a, b) for a, b in zip(x, y, strict=True)))
    refused("infinite", model, dataset.batch(5).repeat())
    refused("yields single rows", model, tf.data.Dataset.from_tensor_slices((x, y[:, 0])))
    refused("batch_size is 5, but a .*has batches of its own", model, dataset.batch(10), batch_size=5)
    refused("`y` should not be passed", model, dataset.batch(10), y)
    refused("no batches", model, dataset.batch(10).take(0))
    refused("batch_size is 0", model, x, y, batch_size=0)
    refused("only supported for tensors or NumPy arrays", model, dataset.batch(10), validation_split=0.2)
    refused("not sufficient to split", model, x[:1], y[:1], validation_split=0.5)
    refused("Unrecognized data type", model, object(), y)
    refused("`class_weight` and `sample_weight`", model, x, y, class_weight={0: 1.0}, sample_weight=np.ones(len(x)))

    class Endless(keras.utils.PyDataset):
        @property
        def num_batches(self) -> None:
            return None

        def __getitem__(self, index: int) -> Any:
            return x, y

    refused("has no number of batches", model, Endless())


def test_fit_inside_of_a_function() -> None:
    model = compiled()

    @tf.function
    def step() -> Any:
        tfm.keras.fit(model, *rows())

    with pytest.raises(RuntimeError, match=r"outside of tf\.function"):
        step()
