"""Documented test functions in TensorFlow, each with a start and, if it is known, the minimum.

Examples
--------
>>> import tfminimize as tfm
>>> problem = rosenbrock(4)
>>> result = tfm.minimize(problem.fun, problem.x0, bounds=problem.bounds)
>>> bool(abs(result.fun - problem.minimum) < 1e-8)
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Problem", "bounded_rosenbrock", "digits_regression", "quadratic", "rosenbrock"]


@dataclass(frozen=True)
class Problem:
    """A function to minimise.

    Attributes
    ----------
    name : str
    fun : callable
        The loss of x, a scalar tensor.
    x0 : ndarray or dict of ndarray
        The start.
    bounds : optional
        In any form that `tfminimize.minimize` takes.
    minimum : float, optional
        The least loss, if it is known.
    """

    name: str
    fun: Callable[..., tf.Tensor]
    x0: Any
    bounds: Any = None
    minimum: float | None = None


def rosenbrock(n: int) -> Problem:
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
    return Problem(f"Rosenbrock, n = {n}", _rosenbrock, x0, minimum=0.0)


def bounded_rosenbrock(n: int) -> Problem:
    """Rosenbrock's valley with each element of x between -2 and 0.5; most upper bounds are active at the minimum.

    Examples
    --------
    >>> bounded_rosenbrock(2).bounds
    (-2.0, 0.5)
    """
    return Problem(f"Rosenbrock within bounds, n = {n}", _rosenbrock, np.resize([-1.2, 0.4], n), (-2.0, 0.5))


def quadratic(n: int) -> Problem:
    """A convex quadratic with eigenvalues from 1 to 1000, from (1, ..., 1); minimum 0 at the origin.

    Examples
    --------
    >>> float(quadratic(1).fun(tf.constant([2.0], tf.float64)))
    2.0
    """
    eigenvalues = np.geomspace(1.0, 1000.0, n)

    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(eigenvalues * x * x) / 2.0

    return Problem(f"Quadratic, n = {n}", fun, np.ones(n), minimum=0.0)


def digits_regression(l2: float = 1e-4) -> Problem:
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

    return Problem("Digits, logistic regression", fun, {"W": np.zeros((64, 10)), "b": np.zeros(10)})


def _rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
