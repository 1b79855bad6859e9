"""Plots of fits of Keras models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import tfminimize as tfm

INPUTS = np.random.default_rng(0).normal(size=(40, 2)).astype("f")
TARGETS = INPUTS @ [1.0, 2.0] + 3.0


@pytest.fixture(scope="module")
def history() -> keras.callbacks.History:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    options = {"validation_split": 0.25, "validation_freq": 2, "epochs": 5, "verbose": 0}
    return tfm.keras.fit(model, INPUTS, TARGETS, **options)


def test_lines_are_the_losses_after_each_epoch(history: keras.callbacks.History) -> None:
    ax = tfm.plot.fit(history, validation_freq=2)
    loss, validation = ax.lines[:2]
    np.testing.assert_array_equal(loss.get_xdata(), np.arange(1, len(history.epoch) + 1))
    np.testing.assert_allclose(loss.get_ydata(), history.history["loss"])
    np.testing.assert_array_equal(validation.get_xdata(), [2, 4])
    np.testing.assert_allclose(validation.get_ydata(), history.history["val_loss"])
    assert (loss.get_color(), loss.get_linestyle()) == (validation.get_color(), "-")
    assert validation.get_linestyle() == "--"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")


def test_metrics_and_several_histories_are_named(history: keras.callbacks.History) -> None:
    ax = tfm.plot.fit(history, history, metrics=["loss", "mae"], labels=["a", "b"], validation_freq=[2, 4])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    each = ["loss", "loss, validation", "mae", "mae, validation"]
    assert names == [f"{label}, {name}" for label in "ab" for name in each]
    assert ax.get_ylabel() == "loss, mae"


def test_record_of_the_solver_is_drawn_by_convergence(history: keras.callbacks.History) -> None:
    (line,) = tfm.plot.convergence(history).lines[:1]
    assert len(line.get_xdata()) == history.result.nit + 1


def test_epochs_that_went_on_keep_their_numbers() -> None:
    ax = tfm.plot.fit(SimpleNamespace(epoch=[10, 11, 12], history={"loss": [3.0, 2.0, 1.0]}))
    assert list(ax.lines[0].get_xdata()) == [11, 12, 13]


@pytest.mark.parametrize(
    ("given", "kwargs", "sentence"),
    [
        (SimpleNamespace(epoch=[0], history={"loss": [1.0]}), {"metrics": "mae"}, "has no 'mae': choose from 'loss'"),
        (SimpleNamespace(epoch=[], history={}), {}, "has no epochs"),
        (
            SimpleNamespace(epoch=[0, 1, 2], history={"loss": [3.0, 2.0, 1.0], "val_loss": [2.0]}),
            {},
            "has 1 values of 'loss' for validation, but there are 3 epochs with validation_freq=1: give the",
        ),
        (tfm.OptimizeResult(x=0), {}, "is a OptimizeResult: give what fit of a Keras model returns"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: Any, kwargs: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.plot.fit(given, **kwargs)
