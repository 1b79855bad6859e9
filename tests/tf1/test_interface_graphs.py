"""Features of TensorFlow 1 graphs that are lifted out of the session and solved natively."""

from __future__ import annotations

import gc
import pathlib
import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import squared_distance

import tfminimize as tfm

v1 = tf.compat.v1


def initialised(session: Any) -> Any:
    session.run(v1.global_variables_initializer())
    return session


def solved(session: Any, loss: Any, feed_dict: Any = None, **arguments: Any) -> Any:
    optimizer = tfm.ScipyOptimizerInterface(loss, **arguments)
    result = optimizer.minimize(initialised(session), feed_dict=feed_dict)
    assert result.backend == "tfe"
    return result


class Counting:
    """A session that counts its runs."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return self._session.run(*args, **kwargs)


@pytest.mark.parametrize("watched", [True, False])
def test_session_is_run_to_read_and_to_assign_only(session: Any, watched: bool) -> None:
    x = v1.Variable(np.zeros(5))
    target = v1.Variable(np.ones(5), trainable=False)
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, target), equalities=[x[0] - 3.0], method="SLSQP")
    counting = Counting(initialised(session))
    optimizer.minimize(counting, loss_callback=(lambda: None) if watched else None)
    assert counting.runs == 2


def test_session_backend_runs_once_an_evaluation(session: Any) -> None:
    x = v1.Variable(np.zeros(2))
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, v1.py_func(lambda: np.ones(2), [], tf.float64)))
    counting = Counting(initialised(session))
    result = optimizer.minimize(counting)
    assert counting.runs == result.nfev + 2


def test_gradient_of_the_result_is_that_of_the_session(session: Any) -> None:
    kernel, bias = v1.Variable(np.full((3, 2), 0.3)), v1.Variable(np.zeros(2))
    data = np.random.default_rng(0).normal(size=(7, 3))
    loss = tf.reduce_mean(tf.square(tf.tanh(data @ kernel + bias) - 0.5))
    gradients = tf.gradients(loss, [kernel, bias])
    result = solved(session, loss, options={"maxiter": 3})
    expected = np.concatenate([np.ravel(g) for g in session.run(gradients)])
    np.testing.assert_allclose(result.jac, expected, rtol=1e-9, atol=1e-12)


def test_partitioned_variable(session: Any) -> None:
    x = v1.get_variable(
        "x", [4, 2], partitioner=v1.fixed_size_partitioner(2), initializer=v1.ones_initializer(), dtype=tf.float64
    )
    result = solved(session, squared_distance(tf.convert_to_tensor(x), 3.0))
    assert result.x.shape == (8,)
    np.testing.assert_allclose(session.run(tf.convert_to_tensor(x)), 3.0, atol=1e-6)


@pytest.mark.parametrize("use_resource", [True, False])
def test_rows_that_are_gathered(session: Any, use_resource: bool) -> None:
    table = v1.get_variable("table", [5, 2], initializer=v1.ones_initializer(), use_resource=use_resource)
    solved(session, squared_distance(tf.nn.embedding_lookup(table, [0, 2]), 4.0), var_to_bounds={table: (0, 3)})
    np.testing.assert_array_equal(session.run(table), [[3, 3], [1, 1], [3, 3], [1, 1], [1, 1]])


@pytest.mark.parametrize("use_resource", [True, False])
@pytest.mark.parametrize("watched", [False, True])
def test_variable_itself_is_loss_and_constraint(session: Any, use_resource: bool, watched: bool) -> None:
    x = v1.Variable(3.0, use_resource=use_resource)
    optimizer = tfm.ScipyOptimizerInterface(x, inequalities=[x], method="SLSQP")
    session.run(v1.global_variables_initializer())
    optimizer.minimize(session, fetches=[x], loss_callback=(lambda value: None) if watched else None)
    np.testing.assert_allclose(session.run(x), 0.0, atol=1e-6)


def test_variables_of_other_dtypes_are_read(session: Any) -> None:
    x = v1.Variable([1.0, 2.0, 3.0])
    index = v1.Variable([0, 2], trainable=False)
    flag = v1.Variable(True, trainable=False)
    solved(session, squared_distance(tf.gather(x, index), tf.where(flag, 5.0, 6.0)))
    np.testing.assert_allclose(session.run(x), [5.0, 2.0, 5.0], atol=1e-5)


def test_variable_whose_shape_the_graph_does_not_know_is_read(session: Any) -> None:
    x = v1.Variable(1.0)
    data = v1.Variable(v1.placeholder_with_default([1.0, 2.0, 6.0], [None]), validate_shape=False, trainable=False)
    solved(session, squared_distance(x, data))
    assert session.run(x) == pytest.approx(3.0, abs=1e-5)


def test_resource_variable_that_is_fed_has_the_fed_value(session: Any) -> None:
    x = v1.Variable([0.0])
    target = v1.Variable([1.0], trainable=False, use_resource=True)
    solved(session, squared_distance(x, target), {target: [7.0]})
    np.testing.assert_allclose(session.run(x), [7.0], atol=1e-5)
    np.testing.assert_array_equal(session.run(target), [1.0])


def test_custom_gradient(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])

    @tf.custom_gradient
    def square(value: tf.Tensor) -> Any:
        return tf.square(value), lambda upstream: 10.0 * upstream * value

    assert solved(session, tf.reduce_sum(square(x)), options={"maxiter": 0}).jac.tolist() == [20.0, 30.0]


def test_stopped_gradient(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])
    loss = tf.reduce_sum(x * tf.stop_gradient(x))
    assert solved(session, loss, options={"maxiter": 0}).jac.tolist() == [2.0, 3.0]


def test_second_derivatives(session: Any) -> None:
    a = v1.Variable(np.float64(1.5))
    t = v1.placeholder(tf.float64, [None])
    u = tf.cos(a * t)
    curvature = tf.gradients(tf.gradients(u, t)[0], t)[0]
    solved(session, tf.reduce_mean(tf.square(curvature + 4.0 * u)), {t: np.linspace(0.1, 1.0, 9)})
    assert session.run(a) == pytest.approx(2.0, abs=1e-4)


def test_assertions_hold_or_raise(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])
    low = v1.placeholder(tf.float32, [])
    with tf.control_dependencies([v1.assert_greater(x, low)]):
        loss = squared_distance(x, 1.0)
    solved(session, loss, {low: -9.0})
    np.testing.assert_allclose(session.run(x), 1.0, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="assert"):
        solved(session, loss, {low: 2.5})
    np.testing.assert_array_equal(session.run(x), [2.0, 3.0])


def test_stateless_random_numbers(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])
    target = tf.random.stateless_uniform([2], [1, 2])
    solved(session, squared_distance(x, target))
    np.testing.assert_allclose(session.run(x), session.run(target), atol=1e-5)


def test_constraint_whose_length_is_fed(session: Any) -> None:
    x = v1.Variable(np.array([2.0, 3.0, 4.0]))
    low = v1.placeholder(tf.float64, [None])
    optimizer = tfm.ScipyOptimizerInterface(
        squared_distance(x, 0.0), inequalities=[x[: tf.size(low)] - low], method="SLSQP"
    )
    initialised(session)
    for values in ([1.0], [1.0, 2.0], [0.5, 0.0, 3.0]):
        result = optimizer.minimize(session, feed_dict={low: values})
        assert result.multipliers.shape == (len(values),)
        expected = np.zeros(3)
        expected[: len(values)] = values
        np.testing.assert_allclose(session.run(x), expected, atol=1e-3)


def test_summaries_are_fetched(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])
    loss = squared_distance(x, 1.0)
    v1.summary.scalar("loss", loss)
    seen: list[Any] = []
    result = tfm.ScipyOptimizerInterface(loss).minimize(
        initialised(session), fetches=[v1.summary.merge_all()], loss_callback=seen.append
    )
    assert result.backend == "tfe"
    assert [v1.Summary.FromString(s).value[0].simple_value for s in (seen[0], seen[-1])] == pytest.approx(
        [5.0, result.fun], abs=1e-6
    )


def test_fetches_keep_their_structure(session: Any) -> None:
    x = v1.Variable([2.0, 3.0], name="x")
    loss = tf.identity(squared_distance(x, 1.0), name="loss")
    seen: list[Any] = []
    tfm.ScipyOptimizerInterface(loss).minimize(
        initialised(session),
        fetches=["loss:0", (x, {"first": x[0]})],
        loss_callback=lambda *values: seen.append(values),
    )
    value, (point, named) = seen[0]
    assert (value, point.tolist(), named) == (5.0, [2.0, 3.0], {"first": 2.0})


def test_optimised_variable_that_is_fed_has_the_fed_value_but_starts_from_its_own(session: Any) -> None:
    x = v1.Variable([2.0])
    result = solved(session, squared_distance(x, 1.0), {x: [5.0]}, options={"maxiter": 0})
    assert (result.x, result.fun, result.jac) == ([2.0], 16.0, [8.0])


def test_monitored_session(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, 1.0))
    with v1.train.MonitoredSession() as monitored:  # finalises the graph
        optimizer.minimize(monitored)
        np.testing.assert_allclose(monitored.run(x), 1.0, atol=1e-5)


def test_interface_adds_no_variables_to_the_graph(session: Any, tmp_path: pathlib.Path) -> None:
    x = v1.Variable([2.0, 3.0])
    solved(session, squared_distance(x, 1.0))
    assert v1.global_variables() == v1.trainable_variables() == [x]
    saver = v1.train.Saver()
    path = saver.save(session, str(tmp_path / "model"))
    initialised(session)
    saver.restore(session, path)
    np.testing.assert_allclose(session.run(x), 1.0, atol=1e-5)


def test_other_thread_may_solve(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, 1.0))
    initialised(session)
    thread = threading.Thread(target=optimizer.minimize, args=(session,))
    thread.start()
    thread.join()
    np.testing.assert_allclose(session.run(x), 1.0, atol=1e-5)


@pytest.mark.parametrize("callback", ["step_callback", "loss_callback"])
def test_callbacks_run_in_the_graph(session: Any, callback: str) -> None:
    x = v1.Variable([2.0, 3.0])
    loss = squared_distance(x, 1.0)
    seen: list[Any] = []

    def check(*_: Any) -> None:
        seen.append((tf.constant(1.0).graph is loss.graph, session.run(loss)))

    tfm.ScipyOptimizerInterface(loss).minimize(initialised(session), **{callback: check})
    assert set(seen) == {(True, 5.0)}


def test_constraints_that_contradict_each_other_are_no_success(session: Any) -> None:
    x = v1.Variable([2.0, 3.0])
    result = solved(session, squared_distance(x, 0.0), equalities=[x[0] - 1.0, x[0] - 2.0], method="SLSQP")
    assert not result.success
    assert result.constr_violation >= 0.5
    np.testing.assert_array_equal(session.run(x), result.x)


@pytest.mark.slow
def test_traces_for_other_shapes_do_not_accumulate(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    data = v1.placeholder(tf.float32, [None, 2])
    optimizer = tfm.ScipyOptimizerInterface(tf.reduce_sum(tf.square(x - data)))
    session.run(v1.global_variables_initializer())

    def num_operations(rows: range) -> int:
        for n in rows:
            optimizer.minimize(session, {data: np.ones((n, 2))})
        gc.collect()
        return sum(isinstance(found, tf.Operation) for found in gc.get_objects())

    num_operations(range(1, 13))  # and collects garbage from earlier tests
    assert num_operations(range(13, 25)) == num_operations(range(25, 37))
