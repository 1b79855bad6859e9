"""A loss over a data set: the same as that of all data at once, in the memory of one batch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from interrupts import ctrl_c

import tfminimize as tfm

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(103, 3))
Y = X @ [1.0, -2.0, 3.0] + RANDOM.normal(size=103)
BEST = np.linalg.lstsq(X, Y, rcond=None)[0]
START = np.zeros(3)
BATCH_SIZES = [None, 1, 10, 102, 103, 1000]


def mean_error(w: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_mean((tf.linalg.matvec(x, w) - y) ** 2)


def total_error(w: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_sum((tf.linalg.matvec(x, w) - y) ** 2)


def batches(size: int = 10, **kwargs: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size, **kwargs)


class Counted:
    """The mean error, which counts its traces."""

    def __init__(self) -> None:
        self.traces = 0

    def __call__(self, w: Any, x: Any, y: Any) -> tf.Tensor:
        self.traces += 1
        return mean_error(w, x, y)


def all_at_once(x0: Any = START, **kwargs: Any) -> Any:
    return tfm.minimize(mean_error, x0, args=(X, Y), **kwargs)


def check(result: Any) -> None:
    assert result.success
    np.testing.assert_allclose(result.x, BEST, atol=1e-6)
    np.testing.assert_allclose(result.fun, np.mean((X @ BEST - Y) ** 2), rtol=1e-12)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "machine code"])
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_fit_is_that_of_all_data_at_once(batch_size: int | None, jit: bool) -> None:
    result = tfm.minimize(tfm.DatasetLoss(mean_error, (X, Y), batch_size), START, jit_compile=jit)
    check(result)
    assert result.backend == ("xla" if jit else "tfe")
    assert result.nit == all_at_once().nit


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("drop_remainder", [False, True], ids=["", "static"])
def test_batches_of_a_tf_dataset(drop_remainder: bool, jit: bool) -> None:
    data = tf.data.Dataset.from_tensor_slices((X[:100], Y[:100])).batch(10, drop_remainder=drop_remainder)
    result = tfm.minimize(tfm.DatasetLoss(mean_error, data), START, jit_compile=jit)
    expected = tfm.minimize(mean_error, START, args=(X[:100], Y[:100]))
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-9)
    assert "tf.data.Dataset" in result.backend_reason or not jit


def test_shuffled_batches_of_unknown_number_give_the_same_fit() -> None:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(103).filter(lambda _, y: y < 1e9).batch(25)
    check(tfm.minimize(tfm.DatasetLoss(mean_error, data), START))


@pytest.mark.parametrize("jit", [False, True])
def test_same_batch_size_gives_the_same_bits(jit: bool) -> None:
    losses = [tfm.DatasetLoss(mean_error, (X, Y), 10) for _ in range(2)]
    tfm.clear_cache()
    first = tfm.minimize(losses[0], START, jit_compile=jit)
    tfm.clear_cache()
    second = tfm.minimize(losses[1], START, jit_compile=jit)
    assert first.fun == second.fun
    np.testing.assert_array_equal(first.x, second.x)


@pytest.mark.parametrize("data", [(X, Y), batches()], ids=["arrays", "tf.data"])
def test_sum_and_penalty(data: Any) -> None:
    batch_size = None if isinstance(data, tf.data.Dataset) else 10
    loss = tfm.DatasetLoss(total_error, data, batch_size, "sum", penalty=lambda w: 10.0 * tf.reduce_sum(w**2))
    result = tfm.minimize(loss, START)
    ridge = np.linalg.solve(X.T @ X + 10.0 * np.eye(3), X.T @ Y)
    np.testing.assert_allclose(result.x, ridge, atol=1e-5)
    np.testing.assert_allclose(result.fun, ((X @ ridge - Y) ** 2).sum() + 10.0 * (ridge**2).sum(), rtol=1e-9)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("data", ["arrays", "tf.data"])
def test_variables(data: str, dtype: str, jit: bool) -> None:
    w = tf.Variable(np.zeros(3, dtype))
    x, y = X.astype(dtype), Y.astype(dtype)
    given = (x, y) if data == "arrays" else tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    loss = tfm.DatasetLoss(lambda x, y: mean_error(w, x, y), given, 10 if data == "arrays" else None)
    result = tfm.minimize(loss, w, jit_compile=jit)
    np.testing.assert_allclose(w, BEST, atol=1e-2 if dtype == "float32" else 1e-6)
    np.testing.assert_allclose(result.fun, np.mean((X @ BEST - Y) ** 2), rtol=1e-5)


def test_nested_start_and_a_dict_as_data() -> None:
    def loss(state: Any, batch: Any) -> tf.Tensor:
        return tf.reduce_mean(
            (tf.linalg.matvec(batch["x"], state["w"]) + tf.cast(state["b"], tf.float64) - batch["y"]) ** 2
        )

    start = {"w": np.zeros(3), "b": np.float32(0)}
    found = [
        tfm.minimize(tfm.DatasetLoss(loss, {"x": X, "y": Y}, size), start, options={"gtol": 1e-9}).x
        for size in (None, 9)
    ]
    np.testing.assert_allclose(found[0]["w"], found[1]["w"], atol=1e-4)
    assert found[1]["b"].dtype == np.float32


def test_keras_model_over_batches() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    loss_of = keras.losses.MeanSquaredError()
    loss = tfm.DatasetLoss(lambda x, y: loss_of(y, model(x)), (X.astype("f"), Y[:, None].astype("f")), batch_size=25)
    before = float(loss())
    result = tfm.minimize(loss, model.trainable_variables, options={"maxiter": 30})
    assert float(loss()) == pytest.approx(float(result.fun), rel=1e-5)
    assert result.fun < 0.5 * before


@pytest.mark.parametrize("data", [(X, Y), batches()], ids=["arrays", "tf.data"])
@pytest.mark.parametrize("method", ["SLSQP", "BFGS", "Newton-CG"])
def test_other_methods(method: str, data: Any) -> None:
    batch_size = None if isinstance(data, tf.data.Dataset) else 20
    result = tfm.minimize(tfm.DatasetLoss(mean_error, data, batch_size), START, method=method, tol=1e-10)
    np.testing.assert_allclose(result.x, BEST, atol=1e-4)


def test_constraints_are_not_summed() -> None:
    constraint = {"type": "eq", "fun": lambda w: tf.reduce_sum(w) - 1.0}
    result = tfm.minimize(tfm.DatasetLoss(mean_error, (X, Y), 10), START, method="SLSQP", constraints=constraint)
    expected = all_at_once(method="SLSQP", constraints=constraint)
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-9)
    np.testing.assert_allclose(result.multipliers, expected.multipliers, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("data", [(X, Y), batches()], ids=["arrays", "tf.data"])
def test_every_entry_point_takes_it(data: Any, jit: bool) -> None:
    loss = tfm.DatasetLoss(mean_error, data, None if isinstance(data, tf.data.Dataset) else 40)
    assert abs(tfm.compare(loss, START, repeats=1, jit_compile=jit).fun_difference) < 1e-12
    check(tfm.Minimizer(loss, START, jit_compile=jit).minimize())
    np.testing.assert_allclose(tfm.ops.minimize(loss, START, jit_compile=jit).x, BEST, atol=1e-6)
    in_graph = tf.function(lambda start: tfm.minimize(loss, start, jit_compile=jit).x)
    np.testing.assert_allclose(in_graph(tf.constant(START)), BEST, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("data", [(X, Y), batches()], ids=["arrays", "tf.data"])
def test_interfaces_of_others_take_it(data: Any) -> None:
    w = tf.Variable(START)
    loss = tfm.DatasetLoss(lambda x, y: mean_error(w, x, y), data, None if isinstance(data, tf.data.Dataset) else 40)
    tfm.ScipyOptimizerInterface(loss, [w]).minimize()
    np.testing.assert_allclose(w, BEST, atol=1e-6)
    for optimizer in (tfm.LBFGSB(), keras.optimizers.Adam(0.3)):
        w.assign(START)
        losses = tfm.math.minimize(loss, 20, optimizer, trainable_variables=[w])
        assert losses[-1] < losses[0] / 2


def test_data_may_be_tensors_of_a_graph() -> None:
    @tf.function
    def fit(x: Any, y: Any) -> Any:
        return tfm.ops.minimize(tfm.DatasetLoss(mean_error, (x, y), 10), tf.zeros(3, tf.float64)).x

    np.testing.assert_allclose(fit(X, Y), BEST, atol=1e-6)


@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_new_data_do_not_trace_again(kind: str) -> None:
    def given(shift: float) -> Any:
        return (X, Y + shift) if kind == "arrays" else tf.data.Dataset.from_tensor_slices((X, Y + shift)).batch(10)

    fun = Counted()
    loss = tfm.DatasetLoss(fun, given(0.0), 10 if kind == "arrays" else None)
    solver = tfm.Minimizer(loss, START)
    check(solver.minimize())
    traces = fun.traces
    shifted = np.linalg.lstsq(X, Y + 2.0, rcond=None)[0]
    np.testing.assert_allclose(solver.minimize(data=given(2.0)).x, shifted, atol=1e-6)
    check(solver.minimize())
    assert fun.traces == traces
    tfm.minimize(loss, START)
    traces = fun.traces
    np.testing.assert_allclose(tfm.minimize(loss.with_data(given(2.0)), START).x, shifted, atol=1e-6)
    assert fun.traces == traces


def test_arguments_come_before_the_batch_and_may_be_batched() -> None:
    def ridge(w: Any, weight: Any, x: Any, y: Any) -> tf.Tensor:
        return mean_error(w, x, y) + weight * tf.reduce_sum(w**2)

    solver = tfm.Minimizer(tfm.DatasetLoss(ridge, (X, Y), 10), START, args=(0.0,), jit_compile=True)
    check(solver.minimize())
    batch = solver.minimize_batch(batched_args=np.array([0.0, 1.0]))
    np.testing.assert_allclose(batch.x[0], BEST, atol=1e-6)
    np.testing.assert_allclose(batch.x[1], solver.minimize(args=(1.0,)).x, rtol=1e-9)


def test_loss_can_be_called_and_is_differentiable() -> None:
    loss = tfm.DatasetLoss(mean_error, (X, Y), 10, penalty=lambda w: tf.reduce_sum(w))
    w = tf.constant(BEST)
    with tf.GradientTape() as tape:
        tape.watch(w)
        value = loss(w)
    np.testing.assert_allclose(value, np.mean((X @ BEST - Y) ** 2) + BEST.sum(), rtol=1e-12)
    np.testing.assert_allclose(tape.gradient(value, w), np.ones(3), atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((3, (X, Y)), "fun is 3"),
        ((mean_error, (X, Y[:5])), "item 1 of data has 5 rows, and item 0 has 103"),
        ((mean_error, (X, Y), 0), "batch_size is 0"),
        ((mean_error, (X, Y), 2.5), "batch_size is 2.5"),
        ((mean_error, (X, Y), True), "batch_size is True"),
        ((mean_error, (X, Y), 5, "max"), "reduction is 'max'"),
        ((mean_error, (X, Y), 5, "sum", 2), "penalty is 2"),
        ((mean_error, 3.0), "data is a single value"),
        ((mean_error, ()), "data is empty"),
        ((mean_error, np.zeros((0, 3))), "data has no rows"),
        ((mean_error, (row for row in X)), "data is a generator"),
        ((mean_error, batches(), 5), "batch_size is 5, but a tf.data.Dataset has batches of its own"),
        ((mean_error, batches().unbatch()), "yields single rows"),
        ((mean_error, batches().repeat()), "is infinite"),
        ((mean_error, batches().take(0)), "has no batches"),
    ],
)
def test_bad_input_is_explained(arguments: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        tfm.DatasetLoss(*arguments)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (None, "penalty returned None: return the penalty"),
        (0, "the penalty has dtype int32"),
        (np.ones(3), "the penalty has shape (3,)"),
        ((1.0, 2.0), "penalty returned a tuple: return only the penalty"),
    ],
)
def test_penalty_that_is_no_real_scalar_is_named(returned: Any, sentence: str, jit: bool) -> None:
    loss = tfm.DatasetLoss(mean_error, (X, Y), 10, penalty=lambda w: returned)
    for call in (lambda: tfm.minimize(loss, START, jit_compile=jit), lambda: loss(tf.constant(START))):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call()


@pytest.mark.parametrize("jit", [False, True])
def test_batches_without_rows_are_left_out(jit: bool) -> None:
    data = batches(10).map(lambda x, y: (x[x[:, 0] > 0.0], y[x[:, 0] > 0.0]))
    empty = tf.data.Dataset.from_tensors((X[:0], Y[:0]))
    data = empty.concatenate(data).concatenate(empty)
    kept = X[:, 0] > 0.0
    expected = np.linalg.lstsq(X[kept], Y[kept], rcond=None)[0]
    loss = tfm.DatasetLoss(mean_error, data)
    np.testing.assert_allclose(tfm.minimize(loss, START, jit_compile=jit).x, expected, atol=1e-6)
    np.testing.assert_allclose(loss(START), np.mean(Y[kept] ** 2), rtol=1e-12)


def test_batches_of_every_size_from_a_generator() -> None:
    """Their number changes from one evaluation to the next, too."""
    rounds = 0

    def read() -> Any:
        nonlocal rounds
        rounds += 1
        cuts = np.sort(np.random.default_rng(rounds).choice(np.arange(1, 103), 3 + rounds % 9, replace=False))
        for x, y in zip(np.split(X, cuts), np.split(Y, cuts), strict=True):
            yield {"x": x, "y": y}

    specs = {"x": tf.TensorSpec([None, 3], tf.float64), "y": tf.TensorSpec([None], tf.float64)}
    data = tf.data.Dataset.from_generator(read, output_signature=specs)
    check(tfm.minimize(tfm.DatasetLoss(lambda w, batch: mean_error(w, batch["x"], batch["y"]), data), START))
    assert rounds > 3


def test_items_of_a_batch_with_different_numbers_of_rows_are_refused() -> None:
    pairs = tf.data.Dataset.from_tensors((X, Y[:50]))
    with pytest.raises(ValueError, match=re.escape("have 103 and 50 rows: all need the same leading dimension")):
        tfm.DatasetLoss(mean_error, pairs)

    def cut(x: Any, y: Any) -> Any:
        return x, tf.cond(tf.shape(y)[0] < 10, lambda: y[:1], lambda: y)

    loss = tfm.DatasetLoss(lambda w, x, y: mean_error(w, x, tf.reduce_mean(y)), batches(10).map(cut))
    for call in (lambda: loss(START), lambda: tfm.minimize(loss, START)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"differ in their numbers of rows.*\n?.*3.*1"):
            call()


@pytest.mark.parametrize("jit", [False, True])
def test_arrays_in_files(jit: bool, tmp_path: Path) -> None:
    arrays = []
    for name, values in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", values)
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    check(tfm.minimize(tfm.DatasetLoss(mean_error, tuple(arrays), 20), START, jit_compile=jit))


def test_ragged_and_sparse_items() -> None:
    rows = tf.ragged.constant([[1.0], [2.0, 3.0], [], [4.0], [0.5, 0.5, 2.0]], dtype=tf.float64)
    sparse = tf.sparse.from_dense(np.eye(5))
    data = tf.data.Dataset.from_tensor_slices((rows, sparse)).batch(2)

    def fun(w: Any, rows: Any, sparse: Any) -> tf.Tensor:
        return tf.reduce_mean((tf.reduce_sum(rows, 1) - tf.linalg.matvec(tf.sparse.to_dense(sparse), w)) ** 2)

    np.testing.assert_allclose(
        tfm.minimize(tfm.DatasetLoss(fun, data), np.zeros(5)).x, [1.0, 5.0, 0.0, 4.0, 3.0], atol=1e-4
    )


def test_dataset_that_turns_out_empty_is_explained() -> None:
    data = batches().filter(lambda _, y: tf.reduce_sum(y) > 1e9)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no rows"):
        tfm.minimize(tfm.DatasetLoss(mean_error, data), START)


def test_data_for_another_loss_are_refused() -> None:
    with pytest.raises(ValueError, match="data is given, but the loss is no DatasetLoss"):
        tfm.Minimizer(mean_error, START, args=(X, Y)).minimize(data=(X, Y))


def test_component_that_no_batch_uses_is_warned_of() -> None:
    loss = tfm.DatasetLoss(lambda state, x, y: mean_error(state[0], x, y), (X, Y), 10)
    with pytest.warns(UserWarning, match=r"does not depend on x0\[1\]"):
        tfm.minimize(loss, (START, np.ones(2)))
    penalised = tfm.DatasetLoss(*[loss.fun, (X, Y), 10, "mean", lambda state: tf.reduce_sum(state[1] ** 2)])
    np.testing.assert_allclose(tfm.minimize(penalised, (START, np.ones(2))).x[1], 0.0, atol=1e-5)


def test_ctrl_c_acts_between_two_batches() -> None:
    def slow(w: Any, x: Any) -> tf.Tensor:
        rounds = tf.while_loop(lambda i, _: i < 1000, lambda i, m: (i + 1, tf.sin(m @ m)), (0, tf.eye(30)))
        return tf.reduce_sum(w**2) + 0.0 * tf.cast(tf.reduce_sum(rounds[1]), w.dtype) * tf.reduce_sum(x)

    loss = tfm.DatasetLoss(slow, np.ones((100_000, 1)), batch_size=1)
    with ctrl_c(2.0):
        tfm.minimize(loss, np.ones(2))


@pytest.mark.slow
@pytest.mark.resident_memory
@pytest.mark.parametrize("kind", ["arrays", "machine code", "tf.data"])
def test_memory_is_that_of_one_batch(kind: str) -> None:
    """All at once, the hidden layer and its derivatives would be some 1,000 MB."""
    rows, hidden, size = 200_000, 200, 1000
    x = tf.random.stateless_normal((rows, 4), seed=(0, 0), dtype=tf.float64)

    def loss(w: Any, x: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.sin(x @ w) ** 2)

    data = tf.data.Dataset.from_tensor_slices(x).batch(size) if kind == "tf.data" else x
    given = tfm.DatasetLoss(loss, data, None if kind == "tf.data" else size)
    start = np.ones((4, hidden))

    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status[status.index("VmHWM:") :].split()[1]) // 1024

    tfm.minimize(
        given.with_data(data.take(2) if kind == "tf.data" else x[: 2 * size]), start, jit_compile=kind == "machine code"
    )
    before = peak()
    tfm.minimize(given, start, options={"maxiter": 2}, jit_compile=kind == "machine code")
    assert peak() - before < 150
