"""Keras's callbacks during a fit."""

from __future__ import annotations

import csv
import os
import signal
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import assert_same, exact, regression, rows, weights_of

import tfminimize as tfm
from tfminimize._keras import metrics

pytestmark = pytest.mark.slow

EVENTS = ("train", "epoch", "train_batch", "batch", "test", "test_batch")


class Events(keras.callbacks.Callback):
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen.append("train")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(f"({epoch}")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen.append(f"[{batch}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(f"{batch}]")

    def on_test_begin(self, logs: Any = None) -> None:
        self.seen.append("test")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(f"{epoch})")

    def on_train_end(self, logs: Any = None) -> None:
        self.seen.append("end")


class At(keras.callbacks.Callback):
    """Does something at the end of an epoch."""

    def __init__(self, epoch: int, act: Any) -> None:
        super().__init__()
        self.epoch, self.act = epoch, act

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            self.act()


def compiled(seed: int = 1, **options: Any) -> Any:
    model = regression(seed=seed, **options)
    model.compile(loss="mse", metrics=["mae"])
    return model


def fit(model: Any, *callbacks: Any, epochs: int = 6, **options: Any) -> Any:
    x, y = rows()
    options = {"verbose": 0, "validation_split": 0.2, **options}
    return tfm.keras.fit(model, x, y, epochs=epochs, callbacks=list(callbacks), **options)


def test_callbacks_are_told_in_the_order_of_keras() -> None:
    events = Events()
    fit(compiled(), events, epochs=2)
    by_us = events.seen
    events = Events()
    model = compiled()
    x, y = rows()
    model.fit(x, y, epochs=2, batch_size=100, callbacks=[events], validation_split=0.2, verbose=0)
    assert by_us == events.seen


@pytest.mark.parametrize("method", [tfm.LBFGSB, tfm.SLSQP, tfm.BFGS])
def test_every_epoch_that_begins_ends_if_the_solver_converges(method: Any) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    x, _ = rows()
    events = Events()
    history = tfm.keras.fit(model, x, x[:, :1], verbose=0, optimizer=method(), callbacks=[events])
    assert history.result.success
    ends = [event for event in events.seen if event.endswith(")")]
    begins = [event for event in events.seen if event.startswith("(")]
    assert len(ends) == len(history.history["loss"]) > 2
    # SLSQP begins an iteration to find out that there is nothing to gain.
    assert len(begins) - len(ends) in ((0, 1) if method is tfm.SLSQP else (0,))
    assert events.seen[-1] == "end"


@pytest.mark.parametrize("few", [metrics._FEW, 0], ids=["in one call", "one by one"])
def test_weights_in_a_callback_are_those_of_the_epoch(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_FEW", few)
    model = compiled()
    x, y = rows()
    losses = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: losses.append(float(np.mean((model(x[:48]).numpy() - y[:48]) ** 2)))
    )
    history = fit(model, callback)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-5)
    assert len(set(losses)) == 6


def test_early_stopping_ends_the_fit() -> None:
    model = compiled(units=16)
    stopping = keras.callbacks.EarlyStopping(patience=3)
    history = fit(model, stopping, epochs=500, optimizer=exact())
    assert 0 < stopping.stopped_epoch < 499
    assert len(history.history["loss"]) == stopping.stopped_epoch + 1 == history.result.nit
    assert history.result.status == 99
    assert f"ended the fit after epoch {stopping.stopped_epoch + 1}" in history.result.message
    np.testing.assert_array_equal(history.result.x, np.concatenate([w.ravel() for w in model.get_weights()]))


def test_early_stopping_restores_the_best_weights() -> None:
    model = compiled(units=16)
    x, y = rows()
    stopping = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    history = fit(model, stopping, epochs=500, optimizer=exact())
    losses = history.history["val_loss"]
    assert stopping.best_epoch == int(np.argmin(losses)) < len(losses) - 1
    assert model.evaluate(x[48:], y[48:], verbose=0)[0] == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # that of the new model has no state
def test_model_checkpoint_saves_each_epoch_and_the_best(tmp_path: Path) -> None:
    model = compiled()
    kept: list[Any] = []
    fit(
        model,
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}.weights.h5", save_weights_only=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(weights_of(model))),
    )
    other = compiled(seed=2)
    for epoch, weights in enumerate(kept, 1):
        other.load_weights(tmp_path / f"{epoch:02d}.weights.h5")
        assert_same(other.get_weights(), weights)
    best = keras.saving.load_model(tmp_path / "best.keras")
    x, y = rows()
    history = model.history.history
    assert best.evaluate(x[48:], y[48:], verbose=0)[0] == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_tensorboard_shows_losses_metrics_and_weights(tmp_path: Path) -> None:
    model = compiled()
    history = fit(model, keras.callbacks.TensorBoard(tmp_path, histogram_freq=1), epochs=4)
    found: dict[str, list[float]] = {}
    for path in sorted(tmp_path.rglob("events.out.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag.startswith("epoch_"):
                    tag = f"{path.parent.name}/{value.tag}"
                    found.setdefault(tag, []).append(float(tf.make_ndarray(value.tensor)))
                else:
                    found.setdefault(value.tag, [])
    for tag, name in (("train/epoch_loss", "loss"), ("train/epoch_mae", "mae"), ("validation/epoch_loss", "val_loss")):
        np.testing.assert_allclose(found[tag], history.history[name], rtol=1e-6)
    assert any(tag.endswith("histogram") for tag in found)


def test_tensorboard_counts_epochs_of_a_native_optimizer(tmp_path: Path) -> None:
    model = regression(tfm.keras.Sequential)
    model.compile(optimizer=tfm.LBFGSB(), loss="mse")
    board = keras.callbacks.TensorBoard(tmp_path, write_steps_per_second=True, update_freq=1)
    model.fit(*rows(), epochs=3, verbose=0, validation_split=0.2, callbacks=[board])
    assert model.optimizer.iterations == 3
    assert len(list(tmp_path.rglob("events.out.*"))) == 2


def test_csv_logger_writes_a_line_an_epoch(tmp_path: Path) -> None:
    history = fit(compiled(), keras.callbacks.CSVLogger(tmp_path / "log.csv"))
    with open(tmp_path / "log.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == history.epoch
    for name in ("loss", "mae", "val_loss", "val_mae"):
        np.testing.assert_allclose([float(line[name]) for line in lines], history.history[name])


@pytest.mark.parametrize("kind", [keras.Sequential, tfm.keras.Sequential], ids=["keras", "tfminimize"])
def test_backup_and_restore_goes_on_after_an_interruption(tmp_path: Path, kind: Any) -> None:
    def compiled(seed: int = 1) -> Any:
        model = regression(kind, seed=seed)
        model.compile(tfm.LBFGSB() if kind is tfm.keras.Sequential else "rmsprop", loss="mse", metrics=["mae"])
        return model

    def stop() -> None:
        raise KeyboardInterrupt

    model = compiled()
    kept: list[Any] = []
    keep = At(2, lambda: kept.append(weights_of(model)))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(model, backup, keep, At(3, stop))
    again = compiled(seed=5)
    events = Events()
    history = fit(again, keras.callbacks.BackupAndRestore(tmp_path / "backup"), events)
    assert history.epoch == [4, 5]
    assert "(4" in events.seen
    assert history.history["loss"][0] < float(fit(compiled(), epochs=4).history["loss"][-1])
    assert not (tmp_path / "backup").exists()
    assert fit(again, epochs=2).epoch == [0, 1]


def test_stop_training_keeps_the_present_weights() -> None:
    model = compiled()
    kept: list[Any] = []

    def stop() -> None:
        model.stop_training = True
        kept.append(weights_of(model))

    history = fit(model, At(2, stop), epochs=50)
    assert history.epoch == [0, 1, 2]
    assert_same(model.get_weights(), kept[0])
    assert len(fit(model, epochs=3).epoch) == 3  # the next fit is not stopped


@pytest.mark.parametrize("raises", [False, True])
def test_terminate_on_nan_sees_a_start_without_a_loss(raises: bool) -> None:
    model = compiled()
    x, y = rows()
    y[3] = np.nan
    before = weights_of(model)
    callback = keras.callbacks.TerminateOnNaN(raise_error=raises)
    if raises:
        with pytest.raises(RuntimeError, match="NaN or Inf loss"):
            tfm.keras.fit(model, x, y, verbose=0, callbacks=[callback])
    else:
        with pytest.warns(RuntimeWarning, match="not finite at the start"):
            history = tfm.keras.fit(model, x, y, verbose=0, callbacks=[callback])
        assert model.stop_training
        assert not history.result.success
    assert_same(model.get_weights(), before)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
        keras.callbacks.ReduceLROnPlateau(),
    ],
    ids=["schedule", "plateau"],
)
def test_callbacks_of_the_learning_rate_are_refused(callback: Any) -> None:
    model = compiled()
    before = weights_of(model)
    with pytest.raises(ValueError, match=f"{type(callback).__name__} sets the learning rate.*have none"):
        fit(model, keras.callbacks.EarlyStopping(), callback)
    assert_same(model.get_weights(), before)


def test_callbacks_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="SwapEMAWeights needs an optimizer that averages"):
        fit(compiled(), keras.callbacks.SwapEMAWeights())
    with pytest.raises(ValueError, match="callbacks has a str"):
        fit(compiled(), "early_stopping")


@pytest.mark.parametrize("where", ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"])
@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_exception_leaves_the_model_as_it_was(where: str, error: Any) -> None:
    class Breaks(keras.callbacks.Callback):
        calls = 0

    def fail(self: Any, *args: Any, **kwargs: Any) -> None:
        self.calls += 1
        if self.calls == 3 or "epoch" not in where:
            raise error("broken")

    setattr(Breaks, where, fail)
    model = compiled()
    before = weights_of(model)
    with pytest.raises(error, match="broken"):
        fit(model, Breaks())
    assert_same(model.get_weights(), before)
    assert fit(model, epochs=2).result.nit == 2


def test_ctrl_c_leaves_the_model_as_it_was() -> None:
    model = compiled()
    before = weights_of(model)
    x, y = rows()
    with pytest.raises(KeyboardInterrupt):
        fit(model, At(1, lambda: signal.raise_signal(signal.SIGINT)), epochs=50)
    assert_same(model.get_weights(), before)
    moved = weights_of(model)
    with pytest.raises(ZeroDivisionError):
        fit(model, At(1, lambda: moved.extend(weights_of(model)) or 1 / 0), epochs=50)
    assert any((a != b).any() for a, b in zip(moved, moved[len(before) :], strict=False))
    assert_same(model.get_weights(), before)
    model.evaluate(x, y, verbose=0)


def test_ctrl_c_during_evaluations_leaves_the_model_as_it_was() -> None:
    x, y = rows(count=200_000)
    model = compiled(units=64)
    before = weights_of(model)
    fit(model, epochs=1)
    model.set_weights(before)
    begun = threading.Event()

    class Begins(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            begun.set()

    def press() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        tfm.keras.fit(
            model, x, y, epochs=100_000, batch_size=20_000, verbose=0, optimizer=exact(), callbacks=[Begins()]
        )
    thread.join()
    assert_same(model.get_weights(), before)


def test_history_and_a_list_of_callbacks_may_be_given() -> None:
    mine = keras.callbacks.History()
    model = compiled()
    assert fit(model, mine, epochs=2) is mine
    callbacks = keras.callbacks.CallbackList([mine], model=model, verbose=0, epochs=2, steps=1)
    x, y = rows()
    assert tfm.keras.fit(model, x, y, epochs=2, callbacks=callbacks) is mine
