"""Multinomial logistic regression on handwritten digits, on all data at once, by SciPy and by tfminimize.

The data are the 1,797 images of 8 x 8 pixels that come with scikit-learn. The model has 650 parameters in two
variables, weights [64, 10] and a bias [10].

SciPy is timed twice: as it is installed, and with its linear algebra (OpenBLAS) limited to one thread. By default
OpenBLAS starts a thread for each core. These wait in a busy loop on the cores that TensorFlow's threads need, and how
much time that costs depends on the machine and its load.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import scipy.optimize
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info, threadpool_limits

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


# 1. By hand: SciPy has one flat vector, and each evaluation unpacks it into the variables.


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


def fit_with_scipy_on_one_thread() -> scipy.optimize.OptimizeResult:
    with threadpool_limits(1, user_api="blas"):
        return fit_with_scipy()


def blas_threads() -> int:
    return max((library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1)


# 2. With tfminimize: one line.


def fit_with_tfminimize() -> scipy.optimize.OptimizeResult:
    return tfm.minimize(loss, [weights, bias])


@dataclass
class Fits:
    """Repeated fits in one way, each from zero."""

    name: str
    fit: Callable[[], scipy.optimize.OptimizeResult]
    seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        weights.assign(tf.zeros_like(weights))
        bias.assign(tf.zeros_like(bias))
        start = time.perf_counter()
        self.result = self.fit()
        self.seconds.append(time.perf_counter() - start)
        self.accuracy = accuracy()

    @property
    def median(self) -> float:
        return statistics.median(self.seconds[1:])  # the first one traces


def main() -> None:
    ways = [
        Fits(f"SciPy, {blas_threads()} BLAS threads", fit_with_scipy),
        Fits("SciPy, 1 BLAS thread", fit_with_scipy_on_one_thread),
        Fits("tfminimize", fit_with_tfminimize),
    ]
    for _ in range(REPETITIONS + 1):  # in turn: a change in the machine's speed affects all of them
        for way in ways:
            way.run()
    ours = ways[-1]

    table = Table(title=f"Logistic regression on {len(labels):,} handwritten digits, 650 parameters")
    table.add_column("")
    for way in ways:
        table.add_column(way.name, justify="right")
    table.add_row("loss", *(f"{way.result.fun:.7f}" for way in ways))
    table.add_row("accuracy on these data", *(f"{way.accuracy:.2%}" for way in ways))
    table.add_row("iterations", *(str(way.result.nit) for way in ways))
    table.add_row("evaluations", *(str(way.result.nfev) for way in ways))
    table.add_row(f"time, median of {REPETITIONS}", *(f"{way.median * 1e3:.0f} ms" for way in ways))
    table.add_row("time / ours", *(f"{way.median / ours.median:.1f}" for way in ways))
    Console(width=80).print(table)
    for way in ways:
        print(f"{way.name:22} {way.result.message}")
    evaluate = ours.result.timing["evaluate"] / ours.seconds[-1]
    print(f"TensorFlow evaluates loss and gradient in {evaluate:.0%} of our time.")


if __name__ == "__main__":
    main()
