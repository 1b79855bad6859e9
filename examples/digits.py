"""Multinomial logistic regression on handwritten digits, full batch: SciPy through a tf.function, and tfminimize.

The data are the 1,797 images of 8 x 8 pixels that scikit-learn ships. The model has 650 parameters in two variables:
weights [64, 10] and a bias [10].
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.optimize
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import tfminimize as tfm

REPETITIONS = 7
PENALTY = 1e-4

pixels, labels = load_digits(return_X_y=True)
images = tf.constant(pixels / 16.0)  # [1797, 64] float64
digits = tf.constant(labels, tf.int64)  # [1797]

weights = tf.Variable(tf.zeros([64, 10], tf.float64), name="weights")
bias = tf.Variable(tf.zeros([10], tf.float64), name="bias")


def loss() -> tf.Tensor:
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(digits, images @ weights + bias)
    return tf.reduce_mean(cross_entropy) + PENALTY * tf.reduce_sum(weights**2)


def accuracy() -> float:
    predicted = tf.argmax(images @ weights + bias, axis=1)
    return float(tf.reduce_mean(tf.cast(predicted == digits, tf.float64)))


# 1. By hand: one flat vector for SciPy, unpacked into the variables at every evaluation.


@tf.function
def value_and_gradient(flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    weights.assign(tf.reshape(flat[:640], [64, 10]))
    bias.assign(flat[640:])
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [weights, bias])
    return value, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)


def value_and_gradient_numpy(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value, gradient = value_and_gradient(tf.constant(flat))
    return value.numpy(), gradient.numpy()


def fit_with_scipy() -> scipy.optimize.OptimizeResult:
    result = scipy.optimize.minimize(value_and_gradient_numpy, np.zeros(650), jac=True, method="L-BFGS-B")
    value_and_gradient(tf.constant(result.x))  # leaves the solution in the variables
    return result


# 2. The same in one line.


def fit_with_tfminimize() -> scipy.optimize.OptimizeResult:
    return tfm.minimize(loss, [weights, bias])


def timed_fit(fit: Callable[[], scipy.optimize.OptimizeResult]) -> tuple[float, scipy.optimize.OptimizeResult]:
    """Seconds and result of one fit that starts from zero."""
    weights.assign(tf.zeros_like(weights))
    bias.assign(tf.zeros_like(bias))
    start = time.perf_counter()
    result = fit()
    return time.perf_counter() - start, result


def main() -> None:
    fits = {"SciPy, tf.function": fit_with_scipy, "tfminimize": fit_with_tfminimize}
    results, accuracies, first, further = {}, {}, {}, {name: [] for name in fits}
    for name, fit in fits.items():
        first[name], results[name] = timed_fit(fit)
        accuracies[name] = accuracy()
    for _ in range(REPETITIONS):  # in turn, so that a change of the machine's speed meets both
        for name, fit in fits.items():
            further[name].append(timed_fit(fit)[0])

    table = Table(title=f"Logistic regression on {len(labels):,} handwritten digits, L-BFGS-B, 650 parameters")
    table.add_column("")
    for name in fits:
        table.add_column(name, justify="right")
    table.add_column("SciPy / ours", justify="right")
    theirs, ours = results.values()
    table.add_row("loss", f"{theirs.fun:.12f}", f"{ours.fun:.12f}", f"difference {abs(theirs.fun - ours.fun):.1e}")
    table.add_row("accuracy on these data", *(f"{value:.2%}" for value in accuracies.values()), "")
    table.add_row("iterations", *(str(result.nit) for result in results.values()), "")
    table.add_row("evaluations", *(str(result.nfev) for result in results.values()), "")
    seconds = list(first.values())
    table.add_row("first fit, with tracing", *(f"{value * 1e3:.1f} ms" for value in seconds), ratio(seconds))
    seconds = [statistics.median(values) for values in further.values()]
    table.add_row(
        f"next fits, median of {REPETITIONS}", *(f"{value * 1e3:.1f} ms" for value in seconds), ratio(seconds)
    )
    Console().print(table)
    print(f"SciPy:      {theirs.message}")
    print(f"tfminimize: {ours.message}")


def ratio(seconds: list[float]) -> str:
    theirs, ours = seconds
    return f"{theirs / ours:.1f} times"


if __name__ == "__main__":
    main()
