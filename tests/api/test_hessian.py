"""`tfm.hessian` against analytic Hessians and finite differences of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock
from scipy.optimize import rosen_hess

import tfminimize as tfm
from tfminimize._trace import hessian_products

pytestmark = pytest.mark.usefixtures("empty_cache")

X = np.array([-1.2, 1.0, 0.5, 2.0])


def differences(fun: Callable[[Any], Any], x: Any, step: float = 1e-5) -> Any:
    """Central differences of TensorFlow's gradient."""

    def gradient(x: Any) -> Any:
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = fun(x)
        return tf.convert_to_tensor(tape.gradient(value, x)).numpy()

    return np.array([(gradient(x + e) - gradient(x - e)) / (2 * step) for e in step * np.eye(len(x))])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("dtype", "precision"), [("float64", 1e-12), ("float32", 1e-5)])
def test_hessian_is_the_analytic_one(jit: bool, dtype: str, precision: float) -> None:
    found = tfm.hessian(rosenbrock, X.astype(dtype), jit_compile=jit)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, rosen_hess(X), rtol=precision, atol=precision * 1e3)
    np.testing.assert_array_equal(found, found.T)


def test_function_that_is_compiled_is_compiled_here_too() -> None:
    np.testing.assert_allclose(tfm.hessian(tf.function(rosenbrock, jit_compile=True), X), rosen_hess(X), rtol=1e-12)


def test_structure_is_flat_in_the_order_of_nest() -> None:
    def fun(x: Any) -> tf.Tensor:
        return x["b"] ** 2 * tf.reduce_sum(x["a"] * tf.constant([[1.0, 2.0], [3.0, 4.0]], tf.float64))

    found = tfm.hessian(fun, {"b": 3, "a": np.ones((2, 2))})
    expected = np.zeros((5, 5))
    expected[4, :4] = expected[:4, 4] = [6, 12, 18, 24]
    expected[4, 4] = 20
    np.testing.assert_allclose(found, expected)


def test_mixed_dtypes_are_float64() -> None:
    def fun(x: Any) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(x[0], tf.float64) * x[1])

    found = tfm.hessian(fun, [np.ones(2, np.float32), np.ones(2)])
    np.testing.assert_allclose(found, np.kron([[0, 1], [1, 0]], np.eye(2)))


def test_variables_are_read_and_keep_their_values() -> None:
    head, tail = tf.Variable(X[:1].astype(np.float32)), tf.Variable(X[1:])

    def fun() -> tf.Tensor:
        return rosenbrock(tf.concat([tf.cast(head, tf.float64), tail], 0))

    found = tfm.hessian(fun, [head, tail])
    np.testing.assert_allclose(found, rosen_hess(np.array([np.float32(-1.2), *X[1:]])), rtol=1e-5)
    np.testing.assert_array_equal(tail.numpy(), X[1:])
    tail.assign(np.zeros(3))
    moved = tfm.hessian(fun, [head, tail])
    np.testing.assert_allclose(moved, rosen_hess(np.array([np.float32(-1.2), 0, 0, 0])), rtol=1e-5)


def test_arguments_change_without_a_trace() -> None:
    traces: list[Any] = []

    def fun(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        traces.append(x)
        return tf.reduce_sum(a * x**4)

    tfm.hessian(fun, X, (1.0,))
    count = len(traces)
    np.testing.assert_allclose(tfm.hessian(fun, 2 * X, (0.5,)), np.diag(6 * (2 * X) ** 2))
    assert len(traces) == count


def test_solve_and_hessian_share_a_trace() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cosh(x - 1.0))

    result = tfm.minimize(fun, np.zeros(2), method="trust-exact")
    traced = tfm.minimize(fun, np.zeros(2), method="trust-exact").timing["trace"]
    np.testing.assert_allclose(tfm.hessian(fun, result.x), np.eye(2), atol=1e-6)
    assert traced == 0.0


@pytest.mark.parametrize("jit", [False, True])
def test_loop_gets_a_pass_for_each_row(jit: bool) -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, tf.tanh(x * y + 0.5 * x**2 - y[::-1])

        _, y = tf.while_loop(lambda i, _: i < 5, body, (0, x), maximum_iterations=5)
        return tf.reduce_sum(y**2)

    np.testing.assert_allclose(tfm.hessian(fun, X, jit_compile=jit), differences(fun, X), rtol=1e-6, atol=1e-8)


def branch_of_tf_cond(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(x[0] > 0.0, lambda: tf.reduce_sum(tf.sinh(x) ** 2), lambda: tf.reduce_prod(tf.cos(x)))


def branch_of_python(x: tf.Tensor) -> tf.Tensor:
    if tf.reduce_sum(x) > 0.0:
        return tf.reduce_sum(x**3) ** 2
    return tf.reduce_prod(x + 3.0)


def branch_of_tf_switch_case(x: tf.Tensor) -> tf.Tensor:
    branches = [lambda: tf.reduce_sum(tf.sinh(x) ** 2), lambda: tf.reduce_prod(x + 3.0)]
    return tf.switch_case(tf.cast(x[1] > 0.0, tf.int32), branches)


@pytest.mark.parametrize("fun", [branch_of_tf_cond, branch_of_python, branch_of_tf_switch_case])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_branch_gets_a_pass_for_each_row(fun: Callable[..., tf.Tensor], sign: float) -> None:
    np.testing.assert_allclose(tfm.hessian(fun, sign * X), differences(fun, sign * X), rtol=1e-6, atol=1e-7)


def test_method_that_takes_the_hessian_minimizes_a_function_with_a_branch() -> None:
    def huber(x: tf.Tensor) -> tf.Tensor:
        distance = tf.reduce_sum((x - 1.0) ** 2)
        if distance > 1.0:
            return 2.0 * tf.sqrt(distance) - 1.0
        return distance

    result = tfm.minimize(huber, np.array([0.2, 0.1, 0.3]), method="trust-exact")
    np.testing.assert_allclose(result.x, 1.0, atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_blocks_of_rows_are_joined(monkeypatch: pytest.MonkeyPatch, rows: int, jit: bool) -> None:
    calls: list[Any] = []

    def rows_at_once(*args: Any) -> int:
        calls.append(args)
        return rows

    monkeypatch.setattr("tfminimize._solve.program.rows_at_once", rows_at_once)
    np.testing.assert_allclose(tfm.hessian(rosenbrock, X, jit_compile=jit), rosen_hess(X), rtol=1e-12)
    assert len(calls) == 1


def test_rows_at_once_follow_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.ones((1000, 5))

    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.tanh(data @ x[:, tf.newaxis]))

    seen: list[int] = []
    of_trace = hessian_products.rows_at_once

    def watched(*args: Any) -> int:
        seen.append(of_trace(*args))
        return seen[-1]

    monkeypatch.setattr("tfminimize._solve.program.rows_at_once", watched)
    whole = tfm.hessian(fun, np.zeros(5))
    tfm.clear_cache()
    monkeypatch.setattr(hessian_products, "ROOM", 100_000)  # bytes; each row takes several vectors of 1,000 doubles
    np.testing.assert_allclose(tfm.hessian(fun, np.zeros(5)), whole, rtol=1e-12, atol=1e-12)
    assert seen[0] == 5
    assert 1 <= seen[1] < 5


@pytest.mark.parametrize("batch_size", [None, 10])
@pytest.mark.parametrize("jit", [False, True])
def test_loss_over_data_is_summed_batch_by_batch(batch_size: int | None, jit: bool) -> None:
    rng = np.random.default_rng(0)
    inputs, weights = rng.standard_normal((43, 4)), rng.uniform(size=43)

    def fun(x: tf.Tensor, inputs: Any, weights: Any) -> tf.Tensor:
        return tf.reduce_mean(weights * tf.math.softplus(tf.linalg.matvec(inputs, x)))

    def penalty(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**4)

    loss = tfm.DatasetLoss(fun, (inputs, weights), batch_size=batch_size, penalty=penalty)
    p = 1 / (1 + np.exp(-inputs @ X))
    expected = (inputs.T * (weights * p * (1 - p))) @ inputs / 43 + np.diag(12 * X**2)
    np.testing.assert_allclose(tfm.hessian(loss, X, jit_compile=jit), expected, rtol=1e-10)


def test_loss_over_a_dataset_is_summed_batch_by_batch() -> None:
    data = tf.data.Dataset.from_tensor_slices(np.arange(7.0)).batch(3)
    loss = tfm.DatasetLoss(lambda x, a: tf.reduce_sum(a * x**3), data, reduction="sum")
    np.testing.assert_allclose(tfm.hessian(loss, np.array([2.0])), [[6 * 2 * 21]])


def test_sparse_gradients_are_differentiated() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.gather(x, [0, 1, 1]) ** 3)

    np.testing.assert_allclose(tfm.hessian(fun, X), np.diag([6 * X[0], 12 * X[1], 0, 0]))


@pytest.mark.parametrize("fun", [tf.reduce_sum, lambda x: tf.reduce_sum(tf.abs(x)), lambda x: tf.nn.relu(x[1])])
def test_hessian_of_a_piecewise_linear_function_is_zero(fun: Any) -> None:
    np.testing.assert_array_equal(tfm.hessian(fun, X), np.zeros((4, 4)))


def test_unused_leaf_has_rows_of_zeros_and_no_warning() -> None:
    found = tfm.hessian(lambda x: tf.reduce_sum(x["a"] ** 2), {"a": 1.0, "b": np.ones(2)})
    np.testing.assert_array_equal(found, np.diag([2.0, 0, 0]))


def test_not_finite_derivatives_are_returned() -> None:
    found = tfm.hessian(lambda x: tf.sqrt(x[0]) + x[1] ** 2, np.array([0.0, 1.0]))
    assert not np.isfinite(found[0, 0])
    assert found[1, 1] == 2.0


@pytest.mark.parametrize(
    ("fun", "x", "sentence"),
    [
        (lambda x: 2 * x, X, r"has shape \(4,\), not that of a scalar"),
        (lambda x: tf.constant(1.0), X, "does not depend on x in a way that TensorFlow can differentiate"),
        (lambda x: tf.cast(tf.reduce_sum(x), tf.int32), X, "has dtype int32"),
        (rosenbrock, [1.0, np.nan], r"x\[1\] is nan"),
        (rosenbrock, "here", "x is 'here'"),
        (3, X, "fun is 3"),
        (
            lambda x: tf.ensure_shape(tf.py_function(lambda x: tf.reduce_sum(x**2), [x], x.dtype), []),
            X,
            r"fun has no second derivatives \(it calls a Python function",
        ),
    ],
)
def test_unusable_call_is_an_error(fun: Any, x: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.hessian(fun, x)


def test_hessian_that_does_not_fit_into_memory_is_an_error() -> None:
    with pytest.raises(MemoryError, match=r"a Hessian of 5000000 parameters takes 2e\+05 GB.*use products"):
        tfm.hessian(lambda x: tf.reduce_sum(x**2), np.zeros(5_000_000))


def test_call_inside_of_a_function_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="while a graph is being built"):
        tf.function(lambda: tfm.hessian(rosenbrock, X))()
