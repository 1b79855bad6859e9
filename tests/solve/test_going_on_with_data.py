"""A fit over a data set goes on from a state, and begins warm with new data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(70, 4))
Y = np.tanh(X @ RANDOM.normal(size=4)) + 0.1 * RANDOM.normal(size=70)
START = np.zeros(4)


def error(w: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_mean((tf.tanh(tf.linalg.matvec(x, w)) - y) ** 2)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("kind", ["arrays", "machine code", "tf.data"])
def test_fit_goes_on_with_the_same_bits(kind: str, method: str) -> None:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(20) if kind == "tf.data" else (X, Y)
    loss = tfm.DatasetLoss(error, data, None if kind == "tf.data" else 20)
    solver = tfm.Minimizer(loss, START, method=method, jit_compile=kind == "machine code")
    whole = solver.minimize()
    begun = solver.minimize(options={"maxiter": 4})
    ended = solver.minimize(state=begun.state)
    np.testing.assert_array_equal(ended.x, whole.x)
    assert (ended.nit, ended.nfev, ended.fun) == (whole.nit, whole.nfev, whole.fun)


def test_new_data_begin_warm() -> None:
    solver = tfm.Minimizer(tfm.DatasetLoss(error, (X, Y), 20), START)
    first = solver.minimize()
    new = (X, Y + 0.001 * RANDOM.normal(size=70))
    cold, warm = solver.minimize(first.x, data=new), solver.minimize(first.x, data=new, warm_start=first)
    assert warm.success
    assert warm.nfev <= cold.nfev
