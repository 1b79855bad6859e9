"""Functions that many tests minimise."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm


def rosenbrock(x: Any) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def squared_distance(x: Any, target: Any) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x - target))


def bowl(x: Any) -> tf.Tensor:
    return tf.reduce_sum((x - 1.0) ** 2)


def bowl_at_3(x: Any) -> tf.Tensor:
    return tf.reduce_sum((x - 3.0) ** 2)


BOWL_X0 = np.array([0.5, -1.0, 2.0])


def slsqp(
    constraints: Any, fun: Any = bowl, x0: Any = BOWL_X0, tol: float | None = 1e-12, **kwargs: Any
) -> scipy.optimize.OptimizeResult:
    return tfm.minimize(fun, x0, method="SLSQP", constraints=constraints, tol=tol, **kwargs)
