"""Fits that go on from a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_models import assert_same, floatx, regression, rows, weights_of  # noqa: F401

import tfminimize as tfm

pytestmark = pytest.mark.slow

WHOLE = 12


def compiled(seed: int = 1) -> Any:
    model = regression(seed=seed, kernel_regularizer="l2")
    model.compile(loss="mse", metrics=["mae"])
    return model


def fit(model: Any, epochs: int = WHOLE, **options: Any) -> Any:
    options = {"jit_compile": False, **options}  # "auto" gives other bits when it finds XLA to be faster
    return tfm.keras.fit(model, *rows(), epochs=epochs, verbose=0, validation_split=0.25, **options)


@pytest.mark.parametrize(
    ("optimizer", "jit_compile", "batch_size"),
    [
        (tfm.LBFGSB(), False, None),
        pytest.param(tfm.LBFGSB(maxcor=4), True, 13, marks=pytest.mark.weekly),
        (tfm.SLSQP(), True, None),
        (tfm.BFGS(update="ssbroyden"), True, 13),
        pytest.param(tfm.SLSQP(), False, 13, marks=pytest.mark.weekly),
    ],
)
def test_fit_goes_on_with_the_same_bits(floatx: str, optimizer: Any, jit_compile: bool, batch_size: Any) -> None:  # noqa: F811
    options = {"optimizer": optimizer, "jit_compile": jit_compile, "batch_size": batch_size}
    whole_model = compiled()
    whole = fit(whole_model, **options)
    begun = fit(compiled(), epochs=5, **options)
    model = compiled(seed=9)
    ended = fit(model, state=begun.result.state, **options)
    assert_same(model.get_weights(), whole_model.get_weights())
    assert begun.epoch + ended.epoch == whole.epoch
    for name, values in whole.history.items():
        assert begun.history[name] + ended.history[name] == values, name
    for name in ("nit", "nfev", "njev", "status", "message"):
        assert ended.result[name] == whole.result[name], name
    np.testing.assert_array_equal(ended.result.history["fun"], whole.result.history["fun"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_checkpoint_saves_when_a_fit_is_interrupted(tmp_path: Path, error: Any) -> None:
    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 6:
                raise error("broken")

    whole_model = compiled()
    whole = fit(whole_model)
    model = compiled()
    before = weights_of(model)
    checkpoint = tfm.Checkpoint(tmp_path / "fit.npz", every=2)
    with pytest.raises(error, match="broken"):
        fit(model, callbacks=[checkpoint, Breaks()])
    assert_same(model.get_weights(), before)
    state = tfm.State.load(tmp_path / "fit.npz")
    assert state.nit == 7
    ended = fit(model, state=state)
    assert_same(model.get_weights(), whole_model.get_weights())
    assert ended.epoch == list(range(7, WHOLE))
    assert ended.history["loss"] == whole.history["loss"][7:]


@pytest.mark.parametrize("optimizer", [tfm.LBFGSB(), tfm.SLSQP(), tfm.BFGS()], ids=["lbfgsb", "slsqp", "bfgs"])
@pytest.mark.parametrize("where", ["on_epoch_begin", "on_train_batch_end"])
def test_epoch_that_was_interrupted_is_the_next(tmp_path: Path, optimizer: Any, where: str) -> None:
    class Breaks(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epochs = epoch + 1

    def fail(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.epochs == 4:
            raise KeyError("broken")

    setattr(Breaks, where, fail)
    whole = fit(compiled(), optimizer=optimizer)
    with pytest.raises(KeyError, match="broken"):
        fit(compiled(), optimizer=optimizer, callbacks=[tfm.Checkpoint(tmp_path / "fit.npz"), Breaks()])
    ended = fit(compiled(seed=2), optimizer=optimizer, state=tfm.State.load(tmp_path / "fit.npz"))
    done = 4 if where == "on_epoch_begin" else 5  # an iteration that was reported is not reported again
    assert ended.epoch == whole.epoch[done:]
    assert ended.history["loss"] == whole.history["loss"][done:]


def test_fit_that_has_ended_goes_on_with_more_epochs_and_an_initial_one() -> None:
    model = compiled()
    begun = fit(model, epochs=8, initial_epoch=3)
    assert begun.epoch == [3, 4, 5, 6, 7]
    ended = fit(model, epochs=10, initial_epoch=3, state=begun.result.state)
    assert ended.epoch == [8, 9]
    assert ended.result.nit == 7
    nothing = fit(model, epochs=10, initial_epoch=3, state=ended.result.state)
    assert nothing.history == {}
    assert nothing.result.nit == 7


def test_state_of_another_fit_is_refused() -> None:
    model = compiled()
    state = fit(model, epochs=2).result.state
    before = weights_of(model)
    with pytest.raises(ValueError, match="maxcor"):
        fit(model, state=state, optimizer=tfm.LBFGSB(maxcor=3))
    with pytest.raises(ValueError, match=r"give history\.result\.state"):
        fit(model, state=begun_is_no_state())
    assert_same(model.get_weights(), before)


def begun_is_no_state() -> Any:
    return {"nit": 3}
