"""Graphs that cannot be lifted: every evaluation is a run of the session, and the result says so and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import squared_distance

import tfminimize as tfm

v1 = tf.compat.v1


@pytest.fixture
def control_flow_of_tensorflow_1() -> Iterator[None]:
    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


def solved(session: Any, loss: Any, **arguments: Any) -> Any:
    optimizer = tfm.ScipyOptimizerInterface(loss, **arguments)
    session.run([v1.global_variables_initializer(), v1.tables_initializer()])
    return optimizer.minimize(session)


def test_asking_whether_a_reference_variable_is_initialised(session: Any) -> None:
    x = v1.get_variable("x", initializer=[5.0, 5.0], use_resource=False)
    scale = 1.0 / tf.cast(v1.is_variable_initialized(x), tf.float32)
    result = solved(session, scale * squared_distance(x, [1.0, 2.0]))
    assert result.backend == "session"
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


def test_random_numbers(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    noise = tf.random.uniform([2], name="noise")
    with pytest.warns(UserWarning, match=r"random numbers, in operation 'noise/RandomUniform' \(RandomUniform\)"):
        result = solved(session, squared_distance(x, [1.0, 2.0]) + 0.0 * tf.reduce_sum(noise))
    assert result.backend == "session"
    assert "noise" in result.backend_reason
    assert "RandomUniform" in result.backend_reason
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


def test_py_func(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    calls = []

    def target() -> Any:
        calls.append(None)
        return np.array([1.0, 2.0], np.float32)

    result = solved(session, squared_distance(x, v1.py_func(target, [], tf.float32)))
    assert result.backend == "session"
    assert "PyFunc" in result.backend_reason
    assert len(calls) == result.nfev
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


def test_iterator(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    dataset = tf.data.Dataset.from_tensors(np.array([1.0, 2.0], np.float32)).repeat()
    result = solved(session, squared_distance(x, v1.data.make_one_shot_iterator(dataset).get_next()))
    assert result.backend == "session"
    assert "Iterator" in result.backend_reason
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


def test_queue(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    queue = tf.queue.FIFOQueue(100, [tf.float32], [[2]])
    session.run(queue.enqueue_many(np.tile(np.array([[1.0, 2.0]], np.float32), (100, 1))))
    result = solved(session, squared_distance(x, queue.dequeue()))
    assert result.backend == "session"
    assert "Queue" in result.backend_reason
    assert session.run(queue.size()) == 100 - result.nfev
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


def test_lookup_table(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0]), default_value=0.0)
    result = solved(session, squared_distance(x, table.lookup(tf.constant(["a", "b"]))))
    assert result.backend == "session"
    assert "Table" in result.backend_reason
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


@pytest.mark.usefixtures("control_flow_of_tensorflow_1")
def test_control_flow_of_tensorflow_1(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    doubled = v1.while_loop(lambda i, _: i < 2, lambda i, v: (i + 1, 2.0 * v), [0, x - [1.0, 2.0]])[1]
    result = solved(session, tf.reduce_sum(tf.square(doubled)))
    assert result.backend == "session"
    assert "control flow" in result.backend_reason
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


def test_constraint_that_cannot_be_lifted(session: Any) -> None:
    x = v1.Variable(np.array([5.0, 5.0]))
    low = v1.py_func(lambda: np.array([1.0, 2.0]), [], tf.float64)
    result = solved(session, squared_distance(x, 0.0), inequalities=[x - low], method="SLSQP")
    assert result.backend == "session"
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-6)


def test_fetch_that_cannot_be_lifted(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    loss = squared_distance(x, 1.0)
    noise = tf.random.uniform([])
    optimizer = tfm.ScipyOptimizerInterface(loss)
    session.run(v1.global_variables_initializer())
    seen: list[Any] = []
    result = optimizer.minimize(session, fetches=[noise, loss], loss_callback=lambda *values: seen.append(values))
    assert result.backend == "session"
    assert len({noise for noise, _ in seen}) == result.nfev
    assert seen[0][1] == 32.0


def test_operation_that_is_fetched_is_run_at_every_evaluation(session: Any) -> None:
    x, counter = v1.Variable([5.0, 5.0]), v1.Variable(0, trainable=False)
    count = v1.assign_add(counter, 1).op
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, 1.0))
    session.run(v1.global_variables_initializer())
    seen: list[Any] = []
    result = optimizer.minimize(session, fetches=[count], loss_callback=seen.append)
    assert result.backend == "session"
    assert count.name in result.backend_reason
    assert seen == [None] * result.nfev
    assert session.run(counter) == result.nfev


def test_placeholders_and_intermediate_tensors_are_fed(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    scale = v1.placeholder(tf.float32, [])
    noise = tf.random.uniform([2])
    kept = 0.0 * noise + tf.random.uniform([2])
    loss = scale * squared_distance(x, kept) + 0.0 * tf.reduce_sum(noise)
    optimizer = tfm.ScipyOptimizerInterface(loss)
    session.run(v1.global_variables_initializer())
    with pytest.warns(UserWarning, match="random numbers"):
        result = optimizer.minimize(session, feed_dict={scale: 2.0, kept: [1.0, 2.0]})
    assert result.backend == "session"
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


def test_fed_tensors_need_not_be_lifted(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    noise = tf.random.uniform([2])
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, noise))
    session.run(v1.global_variables_initializer())
    assert optimizer.minimize(session, feed_dict={noise: [1.0, 2.0]}).backend == "tfe"
    np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("use_resource", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("method", "counts"), [("L-BFGS-B", (35, 46)), ("BFGS", None)])
def test_path_is_that_of_the_lifted_graph(
    session: Any, method: str, counts: Any, dtype: str, use_resource: bool
) -> None:
    x = v1.Variable(np.zeros(5, dtype), use_resource=use_resource)
    loss = tf.reduce_sum(100.0 * tf.square(x[1:] - tf.square(x[:-1])) + tf.square(1.0 - x[:-1]))
    effect = v1.py_func(lambda: np.zeros((), dtype), [], dtype)
    lifted = solved(session, loss, method=method)
    run = solved(session, loss + effect, method=method)
    assert (lifted.backend, run.backend) == ("tfe", "session")
    if dtype == "float64":
        assert (run.nit, run.nfev) == (lifted.nit, lifted.nfev)
        assert (run.nit, run.nfev) == (counts or (run.nit, run.nfev))
    np.testing.assert_allclose(run.x, lifted.x, atol=1e-5 if dtype == "float32" else 1e-9)
    np.testing.assert_array_equal(session.run(x), run.x)


@pytest.mark.parametrize("use_resource", [True, False])
def test_variables_are_untouched_during_the_solve_and_after_an_exception(session: Any, use_resource: bool) -> None:
    x = v1.Variable([5.0, 5.0], use_resource=use_resource)
    loss = squared_distance(x, v1.py_func(lambda: np.ones(2, np.float32), [], tf.float32))
    optimizer = tfm.ScipyOptimizerInterface(loss)
    session.run(v1.global_variables_initializer())
    calls = []

    def fail(*_: Any) -> None:
        calls.append(session.run(x))
        if len(calls) == 3:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        optimizer.minimize(session, loss_callback=fail)
    np.testing.assert_array_equal(calls, np.full((3, 2), 5.0))
    np.testing.assert_array_equal(session.run(x), [5.0, 5.0])


def test_repeated_minimize_adds_nothing_to_the_graph(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    loss = squared_distance(x, v1.py_func(lambda: np.ones(2, np.float32), [], tf.float32))
    optimizer = tfm.ScipyOptimizerInterface(loss, equalities=[x[0] - x[1]], method="SLSQP")
    session.run(v1.global_variables_initializer())
    optimizer.minimize(session)
    count = len(v1.get_default_graph().get_operations())
    optimizer.minimize(session)
    optimizer.minimize(session, fetches=[loss], loss_callback=lambda _: None)
    assert len(v1.get_default_graph().get_operations()) == count


@pytest.mark.slow
@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
@pytest.mark.parametrize("kind", ["equalities", "inequalities"])
@pytest.mark.parametrize("runs", range(1, 5))
def test_constraint_that_changes_its_size_is_named_in_any_evaluation(method: str, kind: str, runs: int) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.compat.v1.Variable(np.array([1.0, 2.0]), use_resource=False)
        count = tf.compat.v1.Variable(0, trainable=False, use_resource=False)
        count = tf.compat.v1.assign_add(count, 1)
        size = 1 + tf.cast(count > runs, tf.int32)
        constraint = tf.ones([size], tf.float64) * (v[0] - 0.5)
        optimizer = tfm.ScipyOptimizerInterface(tf.reduce_sum(v**4), [v], method=method, **{kind: [constraint]})
        session.run(tf.compat.v1.global_variables_initializer())
        with pytest.raises(ValueError, match=rf"{kind}\[0\] returned 2 values, but 1 at the start"):
            optimizer.minimize(session)


def test_asking_whether_a_variable_is_initialised_does_not_change_it() -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.compat.v1.Variable(np.array([1.0, 2.0]), use_resource=False)
        loss = tf.reduce_sum(v**2) * tf.cast(tf.compat.v1.is_variable_initialized(v), tf.float64)
        optimizer = tfm.ScipyOptimizerInterface(loss, [v])
        session.run(tf.compat.v1.global_variables_initializer())
        result = optimizer.minimize(session)
    assert result.success
    assert "IsVariableInitialized, which asks for a variable that only the session has" in result.backend_reason
