"""A Keras classifier of handwritten digits, fitted on all data at once by L-BFGS-B, and by Adam for comparison.

The network has one hidden layer, and a penalty on its weights, so the loss has a minimum. L-BFGS-B needs no learning
rate and no schedule, and says when it has found the minimum.
"""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tfminimize as tfm

PENALTY = 1e-3
EPOCHS = 30  # for Adam, with batches of 32

pixels, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(
    (pixels / 16.0).astype(np.float32), labels, test_size=0.25, random_state=0, stratify=labels
)


def make_classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(32, activation="tanh", kernel_regularizer=keras.regularizers.L2(PENALTY)),
            keras.layers.Dense(10, kernel_regularizer=keras.regularizers.L2(PENALTY)),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def fit_with_lbfgsb(model: keras.Model) -> str:
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    images, digits = tf.constant(train_x), tf.constant(train_y)

    def loss() -> tf.Tensor:
        return cross_entropy(digits, model(images)) + tf.add_n(model.losses)

    result = tfm.minimize(loss, model.trainable_variables, options={"maxiter": 2000})
    return f"{result.nit} iterations, {result.nfev} evaluations: {result.message}"


def fit_with_adam(model: keras.Model) -> str:
    model.fit(train_x, train_y, epochs=EPOCHS, batch_size=32, verbose=0)
    return f"{EPOCHS} epochs"


def main() -> None:
    for name, fit in (("L-BFGS-B", fit_with_lbfgsb), ("Adam", fit_with_adam)):
        model = make_classifier()
        start = time.perf_counter()
        said = fit(model)
        seconds = time.perf_counter() - start
        loss, _ = model.evaluate(train_x, train_y, batch_size=len(train_x), verbose=0)
        _, accuracy = model.evaluate(test_x, test_y, batch_size=len(test_x), verbose=0)
        print(f"{name:9} loss {loss:.4f}, accuracy on unseen digits {accuracy:.1%}, {seconds:.1f} s ({said})")


if __name__ == "__main__":
    main()
