"""Functions of any size, and losses of small models."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from tfminimize._testing.problem import TestProblem

__all__ = ["bounded_rosenbrock", "digits_regression", "network_regression", "quadratic", "rosenbrock"]


def rosenbrock(n: int) -> TestProblem:
    """Rosenbrock's valley in n dimensions, from (-1.2, 1, -1.2, 1, ...); minimum 0 at (1, ..., 1).

    The sum over neighbours, like `scipy.optimize.rosen`.
    For n from 4 to 7 there is a local minimum near (-1, 1, ..., 1), see Kok & Sandrock (2009),
    doi:10.1162/evco.2009.17.3.437.

    Examples
    --------
    >>> float(rosenbrock(2).fun(tf.constant([-1.2, 1.0], tf.float64)))
    24.199999999999996
    """
    x0 = np.resize([-1.2, 1.0], n)
    return TestProblem(f"Rosenbrock, n = {n}", _rosenbrock, x0, minimum=0.0)


def bounded_rosenbrock(n: int) -> TestProblem:
    """Rosenbrock's valley with each element of x between -2 and 0.5; most upper bounds are active at the minimum.

    Examples
    --------
    >>> bounded_rosenbrock(2).bounds
    (-2.0, 0.5)
    """
    return TestProblem(f"Rosenbrock within bounds, n = {n}", _rosenbrock, np.resize([-1.2, 0.4], n), (-2.0, 0.5))


def quadratic(n: int) -> TestProblem:
    """A convex quadratic with eigenvalues from 1 to 1000, from (1, ..., 1); minimum 0 at the origin.

    Examples
    --------
    >>> float(quadratic(1).fun(tf.constant([2.0], tf.float64)))
    2.0
    """
    eigenvalues = np.geomspace(1.0, 1000.0, n)

    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(eigenvalues * x * x) / 2.0

    return TestProblem(f"Quadratic, n = {n}", fun, np.ones(n), minimum=0.0)


def digits_regression(l2: float = 1e-4) -> TestProblem:
    """Multinomial logistic regression on the 1,797 handwritten digits that scikit-learn ships, full batch.

    x is ``{"W": (64, 10), "b": (10,)}``; the loss is the mean cross-entropy plus ``l2`` times the sum of squares of W.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> problem = digits_regression()
    >>> sorted(problem.x0)
    ['W', 'b']
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    features, targets = tf.constant(images / 16.0, tf.float64), tf.constant(labels, tf.int64)

    def fun(x: dict[str, tf.Tensor]) -> tf.Tensor:
        logits = features @ x["W"] + x["b"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        return tf.reduce_mean(losses) + l2 * tf.reduce_sum(x["W"] ** 2)

    return TestProblem("Digits, logistic regression", fun, {"W": np.zeros((64, 10)), "b": np.zeros(10)})


def network_regression(width: int = 16) -> TestProblem:
    """A network with two hidden layers of tanh, fitted to 200 noisy values of a wave on the plane; full batch.

    x is a dict of three kernels and three biases, 337 numbers with the default width; the loss is the mean squared
    error plus 1e-4 times the sum of squares of the kernels. There are many local minima.

    Examples
    --------
    >>> problem = network_regression()
    >>> sorted(problem.x0), problem.x0["W1"].shape
    (['W1', 'W2', 'W3', 'b1', 'b2', 'b3'], (2, 16))
    """
    random = np.random.default_rng(0)
    inputs = random.uniform(-2.0, 2.0, (200, 2))
    targets = np.sin(2.0 * inputs[:, :1] + inputs[:, 1:]) + 0.05 * random.normal(size=(200, 1))
    sizes = [2, width, width, 1]
    x0 = {}
    for i, (rows, columns) in enumerate(itertools.pairwise(sizes), 1):
        x0[f"W{i}"] = random.normal(size=(rows, columns)) / np.sqrt(rows)
        x0[f"b{i}"] = np.zeros(columns)

    def fun(x: dict[str, tf.Tensor]) -> tf.Tensor:
        hidden = tf.tanh(inputs @ x["W1"] + x["b1"])
        hidden = tf.tanh(hidden @ x["W2"] + x["b2"])
        error = tf.reduce_mean((hidden @ x["W3"] + x["b3"] - targets) ** 2)
        return error + 1e-4 * tf.add_n([tf.reduce_sum(x[name] ** 2) for name in ("W1", "W2", "W3")])

    return TestProblem(f"Network, {width} + {width} units", fun, x0)


def _rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
