"""A loss over arrays without a batch size: machine code is called for blocks of rows, in several threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from interrupts import ctrl_c

import tfminimize as tfm
from tfminimize._trace.blocks import FEWEST, MANY_ROWS, MOST, block_rows
from tfminimize._trace.dataset_loss import with_sums

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(8)
ROWS = 3001  # a prime number: the last block is smaller
X = RANDOM.normal(size=(ROWS, 20))
Y = np.tanh(X @ RANDOM.normal(size=20)) + 0.1 * RANDOM.normal(size=ROWS)
START = {"hidden": 0.2 * RANDOM.normal(size=(20, 30)), "out": 0.2 * RANDOM.normal(size=30)}
LITTLE = {"maxiter": 4}
BLOCKS = "called for blocks of 251 rows"
AT_ONCE = "all rows at once, as "


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = tfm.get_num_threads()
    yield
    tfm.set_num_threads(before)


def predicted(p: Any, x: Any) -> tf.Tensor:
    return tf.linalg.matvec(tf.tanh(x @ p["hidden"]), p["out"])


def error(p: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_mean((predicted(p, x) - y) ** 2)


def ridge(p: Any) -> tf.Tensor:
    return 0.01 * tf.reduce_sum(p["out"] ** 2)


def assert_same(result: Any, expected: Any, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(result.fun, expected.fun, rtol=rtol)
    for one, other in zip(tf.nest.flatten(result.x), tf.nest.flatten(expected.x), strict=True):
        np.testing.assert_allclose(one, other, rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.parametrize("rows", [511, 512, 1797, 3001, 10_000, 35_940, 36_000, 99_991])
@pytest.mark.parametrize("numbers", [3, 5000])
def test_size_depends_on_shapes_alone(rows: int, numbers: int) -> None:
    size = block_rows(rows, numbers)
    if rows < 512 or (rows < MANY_ROWS and numbers == 3):
        assert size is None
        return
    assert size is not None
    assert FEWEST // 2 <= size <= MOST * 3 // 2
    assert rows / size >= 2
    last = rows % size
    assert last == 0 or last > size // 2
    assert last == 0 or rows not in (10_000, 35_940, 36_000)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_bits_do_not_depend_on_threads_and_the_fit_is_that_of_all_rows(reduction: str) -> None:
    def fun(p: Any, x: Any, y: Any) -> tf.Tensor:
        return error(p, x, y) * (1.0 if reduction == "mean" else tf.cast(tf.shape(x)[0], x.dtype))

    loss = tfm.DatasetLoss(fun, (X, Y), reduction=reduction, penalty=ridge)
    solver = tfm.Minimizer(loss, START, jit_compile=True)
    found = []
    for threads in (1, 2, 5):
        tfm.set_num_threads(threads)
        found.append(solver.minimize(options=LITTLE))
        assert f"{BLOCKS} in {threads} thread" in found[-1].backend_reason
    for other in found[1:]:
        assert other.fun == found[0].fun
        for one, same in zip(tf.nest.flatten(other.x), tf.nest.flatten(found[0].x), strict=True):
            np.testing.assert_array_equal(one, same)
    at_once = tfm.DatasetLoss(fun, (X, Y), ROWS, reduction, ridge)
    expected = tfm.minimize(at_once, START, jit_compile=True, options=LITTLE)
    assert "blocks" not in expected.backend_reason  # an explicit size keeps its meaning
    assert_same(found[0], expected)
    others = (X[::-1], -Y[::-1])
    assert_same(
        solver.minimize(data=others, options=LITTLE), tfm.minimize(at_once.with_data(others), START, options=LITTLE)
    )


def test_args_besides_the_data() -> None:
    loss = tfm.DatasetLoss(lambda p, scale, x, y: error(p, x * scale, y), (X, Y))
    result = tfm.minimize(loss, START, args=(np.full(20, 0.5),), jit_compile=True, options=LITTLE)
    assert BLOCKS in result.backend_reason
    assert_same(result, tfm.minimize(lambda p: error(p, 0.5 * X, Y), START, options=LITTLE))


def test_variables_and_sums_in_float32() -> None:
    p = {name: tf.Variable(value, dtype=tf.float32) for name, value in START.items()}

    def fun(data: Any) -> Any:
        return error(p, data["x"], data["y"]), [tf.reduce_sum(data["y"] * p["out"][0])]

    data = {"x": X.astype("float32"), "y": Y.astype("float32")}
    result = tfm.minimize(with_sums(tfm.DatasetLoss(fun, data)), p, jit_compile=True, options=LITTLE)
    assert BLOCKS in result.backend_reason
    np.testing.assert_allclose(result.sums, [data["y"].sum(dtype=float) * p["out"].numpy()[0]], rtol=1e-4)
    expected = tfm.minimize(lambda p: error(p, X, Y), START, options=LITTLE)
    np.testing.assert_allclose(result.fun, expected.fun, rtol=1e-4)


def root(p: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.sqrt(error(p, x, y))


def normalised(p: Any, x: Any, y: Any) -> tf.Tensor:
    return error(p, (x - tf.reduce_mean(x, 0)) / tf.math.reduce_std(x, 0), y)


def ridge_inside(p: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_sum((predicted(p, x) - y) ** 2) + ridge(p)


def weights_of_all_rows(p: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_mean(np.linspace(0.5, 1.5, ROWS) * (predicted(p, x) - y) ** 2)


@pytest.mark.parametrize("fun", [root, normalised, ridge_inside, weights_of_all_rows])
def test_loss_that_does_not_add_up_is_evaluated_at_once(fun: Any) -> None:
    loss = tfm.DatasetLoss(fun, (X, Y), reduction="sum" if fun is ridge_inside else "mean")
    result = tfm.minimize(loss, START, jit_compile=True, options=LITTLE)
    assert result.backend == "xla"
    assert AT_ONCE in result.backend_reason
    assert_same(result, tfm.minimize(lambda p: fun(p, X, Y), START, options=LITTLE))


def test_loss_that_is_not_finite_anywhere_near_is_evaluated_at_once() -> None:
    loss = tfm.DatasetLoss(lambda p, x, y: error(p, x, y) + 0.0 * tf.math.log(p["out"][0] - 9.0), (X, Y))
    start = {**START, "out": np.full(30, 10.0)}
    result = tfm.minimize(loss, start, jit_compile=True, options={"maxiter": 1})
    assert result.backend_reason.endswith(f"{AT_ONCE}the loss of a few rows is not finite")


def test_error_of_the_function_is_that_of_all_rows() -> None:
    def fun(p: Any, x: Any, y: Any) -> tf.Tensor:
        raise KeyError(f"with {x.shape[0]} rows")

    with pytest.raises(KeyError, match=f"with {ROWS} rows"):
        tfm.minimize(tfm.DatasetLoss(fun, (X, Y)), START, jit_compile=True)


def test_without_machine_code_nothing_changes() -> None:
    loss = tfm.DatasetLoss(error, (X, Y))
    graph = tfm.minimize(loss, START, options=LITTLE)
    assert graph.backend_reason == "jit_compile is not True, so TensorFlow runs the function"
    limit = {"type": "ineq", "fun": lambda p: 1e3 - tf.reduce_sum(p["out"] ** 2)}
    constrained = tfm.minimize(loss, START, method="SLSQP", constraints=limit, jit_compile=True, options={"maxiter": 1})
    assert constrained.backend_reason == "XLA compiled the function to machine code"


@pytest.mark.parametrize("normalise", [False, True])
def test_fit_of_keras(normalise: bool) -> None:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(30, "tanh"), keras.layers.Dense(1)]
    if normalise:
        layers.insert(1, keras.layers.BatchNormalization())
    model = keras.Sequential([keras.Input((20,)), *layers])
    model.compile(loss="mse", metrics=["mae"], jit_compile=True)
    start = model.get_weights()
    fit = {"epochs": 3, "verbose": 0, "optimizer": tfm.LBFGSB(gtol=0.0, ftol=0.0)}
    history = tfm.keras.fit(model, X, Y, **fit)
    assert ("blocks of 251 rows" in history.result.backend_reason) is not normalise
    model.set_weights(start)
    expected = tfm.keras.fit(model, X, Y, batch_size=ROWS, **fit)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(history.history[name], expected.history[name], rtol=1e-3)


def slow(p: Any, x: Any, y: Any) -> tf.Tensor:
    """The error, which takes a moment at the start, and a fraction of a second for a block elsewhere."""
    rounds = tf.where(tf.reduce_all(p["out"] == START["out"]), 0, 200_000)
    wait = tf.while_loop(lambda i, _: i < rounds, lambda i, s: (i + 1, tf.sin(s)), (0, y))[1]
    return error(p, x, y) + 1e-9 * tf.stop_gradient(tf.reduce_mean(wait))


def test_time_limit_and_ctrl_c_act_between_two_blocks() -> None:
    tfm.set_num_threads(1)
    p = {name: tf.Variable(value) for name, value in START.items()}
    solver = tfm.Minimizer(tfm.DatasetLoss(lambda x, y: slow(p, x, y), (X, Y)), p, jit_compile=True)
    assert BLOCKS in solver.minimize(options={"maxiter": 0}).backend_reason
    result = solver.minimize(options={"maxtime": 0.5})
    assert (result.success, result.nfev) == (False, 1)
    assert "ime limit" in result.message
    with ctrl_c(0.5):
        solver.minimize()
    np.testing.assert_array_equal(p["out"], START["out"])
