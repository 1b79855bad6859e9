"""A Keras classifier of handwritten digits, fitted on all data at once by L-BFGS-B, with Keras's own callbacks.

The fit stops when the validation loss no longer falls. TensorBoard shows it on the way, and the best model is saved. A
second fit is interrupted, and goes on from its checkpoint to the same bits. Adam, for comparison, needs a learning rate
and a number of epochs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tfminimize as tfm

EPOCHS = 300
PENALTY = 1e-4

pixels, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(
    (pixels / 16.0).astype(np.float32), labels, test_size=0.25, random_state=0, stratify=labels
)


def make_classifier(optimizer: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = tfm.keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(32, activation="tanh", kernel_regularizer=keras.regularizers.L2(PENALTY)),
            keras.layers.Dense(10, kernel_regularizer=keras.regularizers.L2(PENALTY)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def fit(model: keras.Model, callbacks: list[Any], **options: Any) -> keras.callbacks.History:
    options = {"epochs": EPOCHS, "validation_split": 0.2, "verbose": 0, **options}
    return model.fit(train_x, train_y, callbacks=callbacks, **options)


def report(name: str, model: keras.Model, seconds: float, said: str) -> None:
    loss, accuracy = model.evaluate(test_x, test_y, verbose=0)
    print(f"{name:9} loss {loss:.4f}, accuracy on unseen digits {accuracy:.1%}, {seconds:.1f} s ({said})")


def stop_early(folder: Path) -> None:
    model = make_classifier(tfm.LBFGSB(maxcor=20))
    callbacks = [
        keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True),
        keras.callbacks.TensorBoard(folder / "logs"),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
    ]
    start = time.perf_counter()
    history = fit(model, callbacks)
    report("L-BFGS-B", model, time.perf_counter() - start, f"{len(history.epoch)} epochs: {history.result.message}")
    saved = keras.saving.load_model(folder / "best.keras")
    assert np.array_equal(saved.predict(test_x, verbose=0), model.predict(test_x, verbose=0))
    print(f"saved with {saved.optimizer}; `tensorboard --logdir` shows {len(list((folder / 'logs').iterdir()))} runs")


def go_on(folder: Path) -> None:
    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 20:
            raise KeyboardInterrupt

    whole = make_classifier(tfm.LBFGSB())
    fit(whole, [], epochs=40)
    model = make_classifier(tfm.LBFGSB())
    try:
        fit(model, [tfm.Checkpoint(folder / "fit.npz"), keras.callbacks.LambdaCallback(on_epoch_end=interrupt)])
    except KeyboardInterrupt:
        state = tfm.State.load(folder / "fit.npz")
        history = fit(model, [], epochs=40, state=state)
    print(
        f"interrupted after {state.nit} epochs, went on with epochs {history.epoch[0] + 1} to {history.epoch[-1] + 1}"
    )
    assert all(map(np.array_equal, model.get_weights(), whole.get_weights()))


def fit_with_adam() -> None:
    model = make_classifier(keras.optimizers.Adam())
    start = time.perf_counter()
    fit(model, [], epochs=30, batch_size=32)
    report("Adam", model, time.perf_counter() - start, "30 epochs")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stop_early(folder)
        go_on(folder)
    fit_with_adam()


if __name__ == "__main__":
    main()
