"""A bowl in three variables, for the tests of constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm

X0 = np.array([0.5, -1.0, 2.0])


def bowl(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - 1.0) ** 2)


def solve(
    constraints: Any, fun: Any = bowl, x0: Any = X0, tol: float | None = 1e-12, **kwargs: Any
) -> scipy.optimize.OptimizeResult:
    return tfm.minimize(fun, x0, method="SLSQP", constraints=constraints, tol=tol, **kwargs)
