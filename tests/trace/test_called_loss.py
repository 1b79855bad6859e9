"""A loss over a data set that is called: value and gradients of all data at once, in the memory of one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

pytestmark = pytest.mark.slow

v1 = tf.compat.v1

RANDOM = np.random.default_rng(1)
KINDS = ["whole", "batches", "tf.data"]


def made_up(rows: int, dtype: str, scale: float = 1.0) -> tuple[Any, Any]:
    x = scale * RANDOM.normal(size=(rows, 3))
    return x.astype(dtype), (x @ [1.0, -2.0, 3.0] + RANDOM.normal(size=rows)).astype(dtype)


def error(w: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_mean(tf.sqrt(1.0 + (tf.linalg.matvec(x, w) - y) ** 2))


def over(data: Any, kind: str, size: int) -> tuple[Any, int | None]:
    """The data in the form of this kind, and the batch size to give with it."""
    if kind == "tf.data":
        return tf.data.Dataset.from_tensor_slices(data).batch(size), None
    return data, size if kind == "batches" else None


def value_and_gradient(fun: Callable[..., Any], *by: Any) -> tuple[Any, Any]:
    with tf.GradientTape() as tape:
        tape.watch(by)
        value = fun(*by)
    return value, tape.gradient(value, by)


def check(found: tuple[Any, Any], expected: tuple[Any, Any], rtol: float) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=rtol)
    for one, other in zip(found[1], expected[1], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=20 * rtol, atol=20 * rtol)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_function", [False, True], ids=["eager", "tf.function"])
@pytest.mark.parametrize(("dtype", "rows", "size", "rtol"), [("float64", 57, 10, 1e-12), ("float32", 200, 64, 1e-5)])
def test_gradient_by_x_and_args_is_that_of_all_data(
    kind: str, in_function: bool, dtype: str, rows: int, size: int, rtol: float
) -> None:
    x, y = made_up(rows, dtype)

    def scaled(w: Any, scale: Any, x: Any, y: Any) -> tf.Tensor:
        return error(w * scale, x, y)

    def penalty(w: Any) -> tf.Tensor:
        return tf.reduce_sum(w**4)

    loss = tfm.DatasetLoss(scaled, *over((x, y), kind, size), penalty=penalty)
    by = tf.constant([0.3, -0.2, 1.0], dtype), tf.constant(1.5, dtype)
    expected = value_and_gradient(lambda w, scale: scaled(w, scale, x, y) + penalty(w), *by)
    call = tf.function(value_and_gradient) if in_function else value_and_gradient
    check(call(loss, *by), expected, rtol)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_function", [False, True], ids=["eager", "tf.function"])
def test_gradient_by_variables_is_that_of_all_data(kind: str, in_function: bool) -> None:
    x, y = made_up(101, "float64", 3.0)
    w, fixed = tf.Variable([0.3, -0.2, 1.0], dtype="float64"), tf.Variable(2.0, trainable=False, dtype="float64")
    bias = keras.Variable(np.float64(0.5), dtype="float64")

    def fun(x: Any, y: Any) -> tf.Tensor:
        return error(w * fixed, x, tf.convert_to_tensor(y) + bias)

    def penalty() -> tf.Tensor:
        return tf.reduce_sum(w**2)

    loss = tfm.DatasetLoss(fun, *over((x, y), kind, 20), penalty=penalty)

    def call(fun: Callable[[], Any]) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:  # it finds the variables itself
            value = fun()
        assert {v.ref() for v in tape.watched_variables()} == {w.ref(), bias.value.ref()}
        return value, tape.gradient(value, [w, bias.value])

    found = (tf.function(call) if in_function else call)(loss)
    check(found, call(lambda: fun(x, y) + penalty()), 1e-12)
    assert value_and_gradient(lambda _: loss(), fixed)[1][0] is not None  # watched by name


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_in_a_graph_of_tensorflow_1(kind: str) -> None:
    x, y = made_up(45, "float64")
    start, shift = np.array([0.3, -0.2, 1.0]), np.array([1.0, 2.0, 3.0])
    expected = value_and_gradient(lambda w, shift: error(w + shift, x, y), tf.constant(start), tf.constant(shift))
    for use_resource in (True, False):
        with tf.Graph().as_default(), v1.Session() as session:
            w = v1.placeholder(tf.float64, [3])
            variable = v1.get_variable("shift", initializer=shift, use_resource=use_resource)
            loss = tfm.DatasetLoss(lambda w, x, y, v=variable: error(w + v, x, y), *over((x, y), kind, 10))(w)
            gradients = v1.gradients(loss, [w, variable])
            session.run(v1.global_variables_initializer())
            check(session.run((loss, gradients), {w: start}), expected, 1e-12)


def test_optimizer_of_tensorflow_1_lowers_it_in_a_session() -> None:
    x, y = made_up(45, "float64")
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("w", initializer=np.zeros(3))
        loss = tfm.DatasetLoss(lambda x, y: error(w, x, y), (x, y), 10)()
        step = v1.train.AdamOptimizer(0.1).minimize(loss)
        interface = tfm.ScipyOptimizerInterface(loss)
        session.run(v1.global_variables_initializer())
        before = session.run(loss)
        session.run(step)
        assert session.run(loss) < before
        interface.minimize(session)
        found = session.run(w)
    expected = tfm.minimize(error, np.zeros(3), args=(x, y)).x
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_gradient_by_captured_tensors() -> None:
    x, y = made_up(45, "float64")

    def through(loss_of: Callable[[Any], Any]) -> Any:
        @tf.function
        def call(theta: Any) -> Any:
            return value_and_gradient(lambda theta: loss_of(tf.sin(theta)), theta)

        return call(tf.constant([0.3, -0.2, 1.0], tf.float64))

    found = through(lambda w: tfm.DatasetLoss(lambda x, y: error(w, x, y), (x, y), 10)())
    check(found, through(lambda w: error(w, x, y)), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_those_of_all_data(kind: str) -> None:
    x, y = made_up(45, "float64")
    loss = tfm.DatasetLoss(error, *over((x, y), kind, 10))

    def hessian_row(fun: Callable[[Any], Any]) -> Any:
        return value_and_gradient(
            lambda w: value_and_gradient(fun, w)[1][0][0], tf.constant([0.3, -0.2, 1.0], tf.float64)
        )

    check(hessian_row(loss), hessian_row(lambda w: error(w, x, y)), 1e-12)


def test_structure_with_an_unused_component_and_rows_gathered() -> None:
    x = RANDOM.integers(0, 5, size=57)
    table = tf.constant(RANDOM.normal(size=(5, 2)).astype("f"))

    def fun(state: Any, x: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.gather(state["table"], x) ** 2)  # its gradient is tf.IndexedSlices

    loss = tfm.DatasetLoss(fun, x, 10)
    state = {"table": table, "unused": tf.ones(2)}
    with tf.GradientTape() as tape:
        tape.watch(state)
        value = loss(state)
    found = tape.gradient(value, state)
    assert found["unused"] is None
    _, (expected,) = value_and_gradient(lambda table: fun({"table": table}, x), table)
    np.testing.assert_allclose(found["table"], tf.convert_to_tensor(expected), rtol=1e-5)


def test_arguments_whose_shape_is_not_static() -> None:
    x, y = made_up(45, "float64")
    loss = tfm.DatasetLoss(lambda w, x, y: error(tf.ensure_shape(w, [3]), x, y), (x, y), 10)
    call = tf.function(lambda w: value_and_gradient(loss, w), input_signature=[tf.TensorSpec([None], tf.float64)])
    w = tf.constant([0.3, -0.2, 1.0], tf.float64)
    check(call(w), value_and_gradient(lambda w: error(w, x, y), w), 1e-12)


def test_loss_with_a_tape_of_its_own() -> None:
    x = tf.constant(np.linspace(0.0, 1.0, 21)[:, None])

    def residual(w: Any, x: Any) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            u = tf.sin(x * w)
        return tf.reduce_mean((tape.gradient(u, x) - 1.0) ** 2)

    w = tf.constant(1.3, tf.float64)
    expected = value_and_gradient(lambda w: residual(w, x), w)
    check(value_and_gradient(tfm.DatasetLoss(residual, x, 4), w), expected, 1e-12)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_gradient_in_a_function_that_xla_compiles(kind: str) -> None:
    x, y = made_up(57, "float64")
    loss = tfm.DatasetLoss(error, *over((x, y), kind, 10))
    w = tf.constant([0.3, -0.2, 1.0], tf.float64)
    found = tf.function(value_and_gradient, jit_compile=True)(loss, w)
    check(found, value_and_gradient(lambda w: error(w, x, y), w), 1e-9)


@pytest.mark.parametrize(
    ("penalty", "args", "expected"),
    [
        (lambda w: 2.0 * tf.reduce_sum(w), ([3.0], 0.5), 6.0),
        (lambda w, factor=4.0: factor * tf.reduce_sum(w), ([3.0], 0.5), 12.0),
        (keras.regularizers.L2(2.0), ([3.0], 0.5), 18.0),
        (tf.function(lambda w: 2.0 * tf.reduce_sum(w)), ([3.0], 0.5), 6.0),
        (lambda: tf.constant(5.0), ([3.0], 0.5), 5.0),
        (lambda *, factor=2.0: factor * tf.constant(5.0), ([3.0], 0.5), 10.0),
        (lambda: tf.constant(5.0), (), 5.0),
    ],
)
def test_penalty_gets_x_if_it_needs_it(penalty: Any, args: Any, expected: float) -> None:
    loss = tfm.DatasetLoss(lambda *args: 0.0 * tf.reduce_sum(args[-1]), np.ones(10), 3, penalty=penalty)
    args = tuple(map(np.float32, args))
    np.testing.assert_allclose(loss(*args), expected)


def test_penalty_that_could_be_either_is_refused() -> None:
    loss = tfm.DatasetLoss(lambda w, x: tf.reduce_sum(w), np.ones(10), 3, penalty=lambda w=None: tf.constant(1.0))
    with pytest.raises(TypeError, match=r"with x and without.*Let it need x"):
        loss(np.ones(2))


def test_variables_with_args_and_a_penalty() -> None:
    w = tf.Variable(1.0, dtype=tf.float64)
    x = np.arange(10.0)
    loss = tfm.DatasetLoss(lambda a, x: tf.reduce_mean((a * w - x) ** 2), x, 3, penalty=lambda: w**2)
    np.testing.assert_allclose(loss(2.0), np.mean((2.0 - x) ** 2) + 1.0)
    assert tfm.minimize(loss, w, args=(2.0,)).success
    np.testing.assert_allclose(w, 2.0 * x.mean() / 5.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("fun", "sentence"),
    [
        (lambda w, x: tf.reduce_sum(x, 1) * w[0], r"the loss has shape \(3,\)"),
        (lambda w, x: tf.cast(tf.reduce_sum(x), tf.complex128), "dtype complex128"),
        (lambda w, x: None, "fun returned None"),
        (lambda w, x: (tf.reduce_sum(x), 1), "fun returned a tuple"),
    ],
)
def test_what_is_no_loss_is_refused_as_in_a_solve(fun: Any, sentence: str) -> None:
    loss = tfm.DatasetLoss(fun, np.ones((9, 2)), 3)
    for call in (lambda: loss(np.ones(2)), lambda: tfm.minimize(loss, np.ones(2))):
        with pytest.raises(ValueError, match=sentence):
            call()


def test_wrong_number_of_arguments_is_explained() -> None:
    loss = tfm.DatasetLoss(error, made_up(9, "float64"), 3)
    with pytest.raises(TypeError, match=r"fun is error\(w.*but is called as error\("):
        loss()


def test_new_values_and_new_data_do_not_trace_again() -> None:
    traces = 0

    def fun(w: Any, x: Any) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return tf.reduce_mean((x - w) ** 2)

    loss = tfm.DatasetLoss(fun, np.arange(10.0), 5)
    loss(np.float64(1.0))
    first = traces
    np.testing.assert_allclose(loss(np.float64(2.0)), np.mean((np.arange(10.0) - 2.0) ** 2))
    np.testing.assert_allclose(loss.with_data(np.ones(10))(np.float64(3.0)), 4.0)
    assert traces == first
    tfm.clear_cache()
    loss(np.float64(1.0))
    assert traces == 2 * first


def test_calls_in_threads() -> None:
    x, y = made_up(57, "float64")
    loss = tfm.DatasetLoss(error, (x, y), 10)
    points = [tf.constant(point) for point in RANDOM.normal(size=(8, 3))]
    found: dict[int, Any] = {}

    def work(i: int) -> None:
        found[i] = value_and_gradient(loss, points[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(points))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, point in enumerate(points):
        check(found[i], value_and_gradient(lambda w: error(w, x, y), point), 1e-12)


@pytest.mark.slow
@pytest.mark.resident_memory
@pytest.mark.parametrize("kind", ["batches", "tf.data"])
@pytest.mark.parametrize(
    "in_function", [pytest.param(False, id="eager", marks=pytest.mark.weekly), pytest.param(True, id="tf.function")]
)
def test_memory_of_a_gradient_is_that_of_one_batch(in_function: bool, kind: str) -> None:
    """All at once, the hidden layer and its derivatives would be some 1,000 MB."""
    rows, hidden, size = 200_000, 200, 1000
    x = tf.random.stateless_normal((rows, 4), seed=(0, 0), dtype=tf.float64)
    w = tf.Variable(np.ones((4, hidden)))

    def fun(x: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.sin(x @ w) ** 2)

    def step(loss: Any) -> Any:
        return value_and_gradient(lambda _: loss(), w)

    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status[status.index("VmHWM:") :].split()[1]) // 1024

    call = tf.function(step) if in_function else step
    call(tfm.DatasetLoss(fun, *over(x[: 2 * size], kind, size)))
    before = peak()
    call(tfm.DatasetLoss(fun, *over(x, kind, size)))
    assert peak() - before < 150
