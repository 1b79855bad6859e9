"""Sums over all batches beside a loss: what metrics are made of, from the evaluations that the solver makes anyway."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm
from tfminimize import _native
from tfminimize._tf import private
from tfminimize._trace.dataset_loss import with_sums

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(103, 3))
Y = np.sign(X @ [1.0, -2.0, 3.0] + RANDOM.normal(size=103))
START = np.array([0.1, 0.2, -0.1])


def loss_and_sums(w: Any, x: Any, y: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
    margins = tf.linalg.matvec(x, w) * y
    losses = tf.nn.softplus(-margins)
    right = tf.cast(margins > 0, tf.int32)
    return tf.reduce_mean(losses), [tf.reduce_sum(right), tf.matmul(x, x * losses[:, None], transpose_a=True)]


def expected_sums(w: Any) -> Any:
    margins = X @ w * Y
    return [(margins > 0).sum(), *(X.T @ (X * np.logaddexp(0.0, -margins)[:, None])).ravel()]


def dataset_loss(kind: str, batch_size: int | None = 10, fun: Any = loss_and_sums, **options: Any) -> Any:
    if kind == "tf.data":
        data, batch_size = tf.data.Dataset.from_tensor_slices((X, Y)).batch(batch_size or 103), None
    else:
        data = (X, Y)
    return with_sums(tfm.DatasetLoss(fun, data, batch_size, **options))


class Seen:
    """A callback that notes the iterates and the sums."""

    def __init__(self) -> None:
        self.x: list[Any] = []
        self.sums: list[Any] = []

    def __call__(self, intermediate_result: Any) -> None:
        self.x.append(intermediate_result.x)
        self.sums.append(intermediate_result.sums)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "machine code"])
@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
@pytest.mark.parametrize("batch_size", [1, 10, 102, None])
def test_sums_belong_to_the_iterate(batch_size: int | None, kind: str, jit: bool, method: str) -> None:
    seen = Seen()
    result = tfm.minimize(
        dataset_loss(kind, batch_size), START, method=method, callback=seen, jit_compile=jit, options={"maxiter": 5}
    )
    assert len(seen.x) == 5
    for x, sums in zip([*seen.x, result.x], [*seen.sums, result.sums], strict=True):
        assert sums.dtype == np.float64
        np.testing.assert_allclose(sums, expected_sums(x), rtol=1e-10)
    assert sorted({tuple(sums) for sums in seen.sums}) != [tuple(seen.sums[0])]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_sums_change_nothing_else(reduction: str, kind: str, jit: bool) -> None:
    options = {"reduction": reduction, "penalty": lambda w: 0.1 * tf.reduce_sum(w**2)}
    alone = dataset_loss(kind, fun=lambda *args: loss_and_sums(*args)[0], **options)
    alone = alone.with_data(alone.data)
    alone.without_data = alone.without_data._replace(has_sums=False)
    expected = tfm.minimize(alone, START, jit_compile=jit)
    result = tfm.minimize(dataset_loss(kind, **options), START, jit_compile=jit)
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-7)
    np.testing.assert_allclose(result.sums, expected_sums(result.x), rtol=1e-10)
    assert "sums" not in expected


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_sums_of_variables_in_float32(kind: str, jit: bool) -> None:
    w = tf.Variable(START.astype("float32"))

    def fun(x: Any, y: Any) -> Any:
        return loss_and_sums(w, tf.cast(x, tf.float32), tf.cast(y, tf.float32))

    solver = tfm.Minimizer(dataset_loss(kind, fun=fun), w, jit_compile=jit)
    for maxiter in (2, 3):
        result = solver.minimize(options={"maxiter": maxiter})
        np.testing.assert_allclose(result.sums, expected_sums(w.numpy().astype(float)), rtol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_sums_of_a_problem_with_constraints(jit: bool) -> None:
    seen = Seen()
    constraint = {"type": "ineq", "fun": lambda w: 0.1 - tf.reduce_sum(w**2)}
    result = tfm.minimize(
        dataset_loss("arrays"), START, method="SLSQP", constraints=constraint, callback=seen, jit_compile=jit
    )
    assert result.success
    for x, sums in zip([*seen.x, result.x], [*seen.sums, result.sums], strict=True):
        np.testing.assert_allclose(sums, expected_sums(x), rtol=1e-10)


@pytest.mark.parametrize("jit", [False, True])
def test_new_data_have_their_own_sums(jit: bool) -> None:
    solver = tfm.Minimizer(dataset_loss("arrays"), START, jit_compile=jit)
    options = {"maxiter": 0}
    first = solver.minimize(options=options).sums
    np.testing.assert_allclose(solver.minimize(options=options, data=(X, -Y)).sums[0], 103 - first[0])


def test_no_sums_at_all() -> None:
    result = tfm.minimize(dataset_loss("arrays", fun=lambda *args: (loss_and_sums(*args)[0], [])), START)
    assert result.success
    assert "sums" not in result


def test_loss_with_sums_is_called_for_its_loss_alone() -> None:
    loss = dataset_loss("arrays")
    np.testing.assert_allclose(loss(START), np.logaddexp(0.0, -(X @ START) * Y).mean())


def test_sums_without_static_shape_are_refused() -> None:
    loss = dataset_loss("tf.data", fun=lambda w, x, y: (loss_and_sums(w, x, y)[0], [y]))
    with pytest.raises(ValueError, match="tensor 0 to add up has no static shape"):
        tfm.minimize(loss, START)


def test_other_graphs_refuse_a_loss_with_sums() -> None:
    with pytest.raises(ValueError, match="a loss with sums is for"):
        tf.function(lambda: tfm.ops.minimize(dataset_loss("arrays"), tf.constant(START)))()
    with pytest.raises(ValueError, match="a loss with sums is for"):
        tfm.compare(dataset_loss("arrays"), START)


def test_scipys_methods_run_without_the_sums() -> None:
    result = tfm.minimize(dataset_loss("arrays"), START, method="CG")
    assert result.success
    assert "sums" not in result


def test_objective_reads_sums_from_each_of_its_functions() -> None:
    @tf.function
    def values(x: Any) -> Any:
        return [tf.reduce_sum(x**2), tf.stack([x[0], 1.0])]

    @tf.function
    def derivatives(x: Any) -> Any:
        return [tf.reduce_sum(x**2), 2.0 * x, tf.stack([x[0], 2.0])]

    calls = [
        _native.FunctionCall(f.get_concrete_function(tf.TensorSpec([2], tf.float64)).name, [0])
        for f in (values, derivatives)
    ]
    objective = _native.FunctionObjective(
        private.context_capsule(), calls, [_native.Component(0, (2,), "float64")], num_sums=2
    )
    np.testing.assert_array_equal(objective.sums, [0.0, 0.0])
    x, g = _native.aligned_zeros(2), _native.aligned_zeros(2)
    x[:] = 3.0
    objective.values(x)
    first = objective.sums
    np.testing.assert_array_equal(first, [3.0, 1.0])
    x[:] = 4.0
    objective.derivatives(x, g)
    np.testing.assert_array_equal(objective.sums, [4.0, 2.0])
    objective.evaluate(x, g)
    np.testing.assert_array_equal(objective.sums, [4.0, 2.0])
    np.testing.assert_array_equal(first, [3.0, 1.0])
