from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

v1 = tf.compat.v1


@pytest.fixture(params=[True, False], ids=["resource", "reference"])
def x(request: pytest.FixtureRequest, session: Any) -> Any:
    return v1.get_variable("x", initializer=np.full(2, 7.0), use_resource=request.param)


def solve(session: Any, loss: Any, **kwargs: Any) -> Any:
    feed_dict = kwargs.pop("feed_dict", None)
    optimizer = tfm.ScipyOptimizerInterface(loss, **kwargs)
    session.run(v1.global_variables_initializer())
    return optimizer.minimize(session, feed_dict)


def test_gradient_of_the_graph_is_used(session: Any, x: Any) -> None:
    @tf.custom_gradient
    def square(a: tf.Tensor) -> Any:
        return a * a, lambda upstream: 2 * a * upstream

    result = solve(session, tf.reduce_sum(square(x - 1.0)))
    assert result.backend == "tfe"
    np.testing.assert_allclose(session.run(x), [1.0, 1.0], atol=1e-6)


def test_functions_that_the_graph_calls_are_lifted(session: Any, x: Any) -> None:
    @tf.function
    def bowl(a: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((a - 1.0) ** 2)

    result = solve(session, bowl(x) + bowl(2.0 * x))
    assert result.backend == "tfe"
    np.testing.assert_allclose(session.run(x), [0.6, 0.6], atol=1e-6)


def test_branches_and_loops_of_tensorflow_2_are_lifted(session: Any, x: Any) -> None:
    _, loss = tf.while_loop(
        lambda i, _: i < 3, lambda i, s: (i + 1, s + tf.reduce_sum((x - 1.0) ** 2)), [0, tf.zeros([], tf.float64)]
    )
    loss = tf.cond(loss > 1e6, lambda: 2.0 * loss, lambda: loss)
    result = solve(session, loss)
    assert result.backend == "tfe"
    np.testing.assert_allclose(session.run(x), [1.0, 1.0], atol=1e-6)


def test_session_in_use_before_gradients_of_functions_is_an_error(session: Any, x: Any) -> None:
    loss = tf.function(lambda a: tf.reduce_sum((a - 1.0) ** 2))(x)
    session.run(v1.global_variables_initializer())
    optimizer = tfm.ScipyOptimizerInterface(loss)
    with pytest.raises(ValueError, match="in use before the interface was made"):
        optimizer.minimize(session)


def test_gather_on_a_variable_is_lifted(session: Any) -> None:
    x = v1.get_variable("x", initializer=np.full((4, 2), 7.0), use_resource=True)
    loss = tf.reduce_sum((tf.nn.embedding_lookup(x, [0, 2, 2]) - 1.0) ** 2)
    result = solve(session, loss)
    assert result.backend == "tfe"
    np.testing.assert_allclose(session.run(x), [[1.0, 1.0], [7.0, 7.0], [1.0, 1.0], [7.0, 7.0]], atol=1e-5)


def test_variable_that_the_session_reads_by_its_handle_is_restored_after_an_error(session: Any) -> None:
    x = v1.get_variable("x", initializer=np.full((4, 2), 7.0), use_resource=True)
    loss = tf.reduce_sum(tf.nn.embedding_lookup(x, [0, 2]) ** 2) + 0.0 * tf.random.uniform([], dtype=tf.float64)
    optimizer = tfm.ScipyOptimizerInterface(loss)
    session.run(v1.global_variables_initializer())
    losses: list[float] = []

    def fail(value: float) -> None:
        losses.append(value)
        if len(losses) == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"), pytest.warns(UserWarning, match="random numbers"):
        optimizer.minimize(session, fetches=[loss], loss_callback=fail)
    assert losses[0] == 4 * 49.0
    assert losses[1] < losses[0]
    np.testing.assert_array_equal(session.run(x), np.full((4, 2), 7.0))
    with pytest.warns(UserWarning, match="random numbers"):
        assert optimizer.minimize(session).backend == "session"
    np.testing.assert_allclose(session.run(x)[[0, 2]], 0.0, atol=1e-5)


def test_sparse_placeholder_is_fed(session: Any, x: Any) -> None:
    matrix = v1.sparse_placeholder(tf.float64, [2, 2])
    loss = tf.reduce_sum((tf.sparse.sparse_dense_matmul(matrix, x[:, None]) - 1.0) ** 2)
    value = v1.SparseTensorValue([[0, 0], [1, 1]], [1.0, 2.0], [2, 2])
    result = solve(session, loss, feed_dict={matrix: value})
    assert result.backend == "tfe"
    np.testing.assert_allclose(session.run(x), [1.0, 0.5], atol=1e-6)


def test_variable_that_the_loss_changes_is_changed_by_the_session(session: Any, x: Any) -> None:
    count = v1.get_variable("count", initializer=0, trainable=False)
    with tf.control_dependencies([v1.assign_add(count, 1)]):
        loss = tf.reduce_sum((x - 1.0) ** 2)
    result = solve(session, loss)
    assert result.backend == "session"
    assert "AssignAdd" in result.backend_reason
    assert session.run(count) == result.nfev


@pytest.mark.parametrize("rows", [2, 40])
def test_jacobian_of_many_rows(session: Any, x: Any, rows: int) -> None:
    result = solve(session, tf.reduce_sum(x**2), inequalities=[tf.tile(x, [rows // 2]) - 1.0], method="SLSQP")
    assert result.backend == "tfe"
    np.testing.assert_allclose(session.run(x), [1.0, 1.0], atol=1e-6)
    assert result.multipliers.shape == (rows,)


def test_finalized_graph_is_solved_again(session: Any, x: Any) -> None:
    optimizer = tfm.ScipyOptimizerInterface(tf.reduce_sum((x - 1.0) ** 2))
    initializer = v1.global_variables_initializer()
    tf.compat.v1.get_default_graph().finalize()
    for _ in range(2):
        session.run(initializer)
        optimizer.minimize(session)
        np.testing.assert_allclose(session.run(x), [1.0, 1.0], atol=1e-6)
