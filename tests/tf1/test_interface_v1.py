"""The interface in a session of TensorFlow 1: what is fed, fetched, read and assigned."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interface_modes import entered
from interpreter import run_python
from problems import squared_distance

import tfminimize as tfm

v1 = tf.compat.v1


@pytest.fixture
def session() -> Iterator[Any]:
    """A session of the default graph that is not the default session."""
    with tf.Graph().as_default():
        session = v1.Session()
        yield session
        session.close()


def initialised(session: Any) -> Any:
    session.run(v1.global_variables_initializer())
    return session


@pytest.mark.parametrize("given", [True, False])
def test_session_is_given_or_the_default(given: bool) -> None:
    with tf.Graph().as_default():
        x = v1.Variable([5.0, 5.0])
        optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, [1.0, 2.0]))
        session = initialised(v1.Session())
        if given:
            optimizer.minimize(session)
        else:
            with session.as_default():
                optimizer.minimize()
        np.testing.assert_allclose(session.run(x), [1.0, 2.0], atol=1e-5)
        session.close()


def test_given_session_goes_before_the_default(session: Any) -> None:
    x = v1.Variable(5.0)
    optimizer = tfm.ScipyOptimizerInterface(tf.square(x))
    with v1.Session() as other:
        initialised(other)
        optimizer.minimize(initialised(session))
        assert other.run(x) == 5.0
    assert session.run(x) == pytest.approx(0.0, abs=1e-5)


def test_graph_need_not_be_the_default_when_solving() -> None:
    with tf.Graph().as_default() as graph:
        x = v1.Variable([5.0, 5.0])
        optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, 1.0))
        initializer = v1.global_variables_initializer()
    with v1.Session(graph=graph) as session:
        session.run(initializer)
    session = v1.Session(graph=graph)
    session.run(initializer)
    result = optimizer.minimize(session)
    np.testing.assert_allclose(session.run(x), 1.0, atol=1e-5)
    assert result.backend == "tfe"
    session.close()


def test_placeholders_are_fed(session: Any) -> None:
    x = v1.Variable([0.0, 0.0])
    target = v1.placeholder(tf.float32, [2])
    weight = v1.placeholder_with_default(1.0, [])
    power = v1.placeholder(tf.int32, [])
    loss = weight * squared_distance(x, target) ** tf.cast(power, tf.float32)
    optimizer = tfm.ScipyOptimizerInterface(loss)
    initialised(session)
    result = optimizer.minimize(session, feed_dict={target: [3.0, 4.0], power: 1})
    np.testing.assert_allclose(session.run(x), [3.0, 4.0], atol=1e-5)
    assert result.backend == "tfe"
    initialised(session)
    result = optimizer.minimize(session, feed_dict={target: [3.0, 4.0], power: 1, weight: 2.0})
    assert result.nit > 0
    np.testing.assert_allclose(session.run(x), [3.0, 4.0], atol=1e-5)


def test_other_values_of_the_same_shape_do_not_retrace(session: Any) -> None:
    x = v1.Variable(0.0)
    data = v1.placeholder(tf.float32, [None])
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, data))
    initialised(session)
    traces = []
    for values in ([1.0, 3.0], [2.0, 6.0], [-5.0, 5.0]):
        traces.append(optimizer.minimize(session, feed_dict={data: values}).timing["trace"])
        assert session.run(x) == pytest.approx(np.mean(values), abs=1e-5)
    assert traces[0] > 0.0
    assert traces[1:] == [0.0, 0.0]


def test_other_shapes_may_be_fed(session: Any) -> None:
    x = v1.Variable(0.0)
    data = v1.placeholder(tf.float32, [None])
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, data))
    initialised(session)
    for values in ([1.0, 3.0], [1.0, 2.0, 6.0], [7.0]):
        optimizer.minimize(session, feed_dict={data: values})
        assert session.run(x) == pytest.approx(np.mean(values), abs=1e-5)


def test_repeated_minimize_adds_nothing_to_the_graph(session: Any) -> None:
    x = v1.Variable([5.0, 5.0])
    data = v1.placeholder(tf.float32, [2])
    loss = squared_distance(x, data)
    optimizer = tfm.ScipyOptimizerInterface(
        loss, equalities=[x[0] - data[1]], inequalities=[x - 1.0], method="SLSQP", var_to_bounds={x: (0.0, 9.0)}
    )
    initialised(session)
    v1.get_default_graph().finalize()  # from here on, a new operation is an error
    for _ in range(2):
        optimizer.minimize(session, feed_dict={data: [3.0, 4.0]})
        optimizer.minimize(
            session, feed_dict={data: [2.0, 3.0]}, fetches=[loss], loss_callback=lambda _: None, step_callback=print
        )
    np.testing.assert_allclose(session.run(x), [3.0, 3.0], atol=1e-5)


def test_variables_of_the_graph_start_from_the_values_of_the_session(session: Any) -> None:
    x = v1.Variable([0.0])
    target = v1.Variable([1.0], trainable=False)
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, target))
    initialised(session)
    assert optimizer.minimize(session).nit > 0
    assert optimizer.minimize(session).nit == 0
    target.load([4.0], session)
    optimizer.minimize(session)
    np.testing.assert_allclose(session.run(x), [4.0], atol=1e-5)


def test_reference_variable_that_is_fed_has_the_fed_value(session: Any) -> None:
    x = v1.Variable([0.0])
    target = v1.Variable([1.0], trainable=False, use_resource=False)
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, target))
    optimizer.minimize(initialised(session), feed_dict={target: [7.0]})
    np.testing.assert_allclose(session.run(x), [7.0], atol=1e-5)
    np.testing.assert_array_equal(session.run(target), [1.0])


def test_read_of_a_resource_variable_that_is_fed_has_the_fed_value(session: Any) -> None:
    x = v1.Variable([0.0])
    target = v1.Variable([1.0], trainable=False, use_resource=True)
    read = target.read_value()
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, read))
    optimizer.minimize(initialised(session), feed_dict={read: [7.0]})
    np.testing.assert_allclose(session.run(x), [7.0], atol=1e-5)


def test_fed_intermediate_tensor_is_not_computed(session: Any) -> None:
    x = v1.Variable([0.0, 0.0])
    never_fed = v1.placeholder(tf.float32, [2])
    target = tf.square(never_fed, name="target")
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, target))
    optimizer.minimize(initialised(session), feed_dict={target: [-1.0, -4.0]})
    np.testing.assert_allclose(session.run(x), [-1.0, -4.0], atol=1e-5)


def test_names_of_tensors_may_be_keys_of_the_feed(session: Any) -> None:
    x = v1.Variable([0.0])
    target = v1.placeholder(tf.float32, [1], name="target")
    optimizer = tfm.ScipyOptimizerInterface(squared_distance(x, target))
    optimizer.minimize(initialised(session), feed_dict={"target:0": [2.0]})
    np.testing.assert_allclose(session.run(x), [2.0], atol=1e-5)


def test_fetches_go_to_loss_callback_at_every_evaluation(session: Any) -> None:
    x = v1.Variable([5.0, 5.0], name="x")
    target = v1.placeholder(tf.float32, [2])
    only_fetched = v1.placeholder(tf.string, [])
    loss = squared_distance(x, target)
    optimizer = tfm.ScipyOptimizerInterface(loss)
    seen = []
    result = optimizer.minimize(
        initialised(session),
        feed_dict={target: [1.0, 2.0], only_fetched: "epoch"},
        fetches=[loss, x, only_fetched, target[1]],
        loss_callback=lambda *values: seen.append(values),
    )
    assert len(seen) == result.nfev
    first, last = seen[0], seen[-1]
    assert first[0] == 25.0
    np.testing.assert_array_equal(first[1], [5.0, 5.0])
    assert first[2] in (b"epoch", "epoch")
    assert first[3] == 2.0
    np.testing.assert_allclose(last[1], [1.0, 2.0], atol=1e-4)
    for value, point, *_ in seen:
        np.testing.assert_allclose(value, np.sum((point - [1.0, 2.0]) ** 2), rtol=1e-5, atol=1e-9)


def test_loss_callback_without_fetches_gets_nothing(session: Any) -> None:
    x = v1.Variable(3.0)
    calls = []
    result = tfm.ScipyOptimizerInterface(tf.square(x)).minimize(
        initialised(session), loss_callback=lambda *values: calls.append(values)
    )
    assert calls == [()] * result.nfev


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
@pytest.mark.parametrize("watched", [True, False])
def test_step_callback_gets_the_packed_vector_of_every_iteration(session: Any, method: str, watched: bool) -> None:
    a, b = v1.Variable([[3.0, 1.0]]), v1.Variable(-2.0)
    loss = squared_distance(a, [[1.0, 4.0]]) + tf.square(b - 5.0) ** 2
    steps: list[Any] = []
    result = tfm.ScipyOptimizerInterface(loss, method=method).minimize(
        initialised(session),
        step_callback=lambda x: steps.append(np.array(x)),
        loss_callback=(lambda: None) if watched else None,
    )
    assert len(steps) == result.nit
    assert all(step.shape == (3,) for step in steps)
    np.testing.assert_allclose(steps[-1], [*session.run(a)[0], session.run(b)], rtol=1e-6)


def test_stop_iteration_of_step_callback_ends_the_solve(session: Any) -> None:
    x = v1.Variable(np.zeros(5))
    loss = tf.reduce_sum(100.0 * tf.square(x[1:] - tf.square(x[:-1])) + tf.square(1.0 - x[:-1]))

    def stop(_: Any) -> None:
        raise StopIteration

    result = tfm.ScipyOptimizerInterface(loss).minimize(initialised(session), step_callback=stop)
    assert result.nit == 1
    assert not result.success
    np.testing.assert_array_equal(session.run(x), result.x)
    assert result.x.any()


def test_var_list_is_that_of_the_trainable_variables(session: Any) -> None:
    x = v1.Variable(1.0)
    fixed = v1.Variable(2.0, trainable=False)
    unused = v1.Variable(3.0)
    result = tfm.ScipyOptimizerInterface(tf.square(x - fixed)).minimize(initialised(session))
    assert session.run([x, fixed, unused]) == pytest.approx([2.0, 2.0, 3.0], abs=1e-5)
    np.testing.assert_allclose(result.x, [2.0, 3.0], atol=1e-5)


def test_var_list_sets_what_is_optimised_and_its_order(session: Any) -> None:
    a, b, c = v1.Variable(1.0), v1.Variable(2.0), v1.Variable(3.0, trainable=False)
    loss = tf.square(a - 10.0) + tf.square(b - 20.0) + tf.square(c - 30.0)
    result = tfm.ScipyOptimizerInterface(loss, var_list=[c, a]).minimize(initialised(session))
    np.testing.assert_allclose(result.x, [30.0, 10.0], rtol=1e-5)
    assert session.run(b) == 2.0


@pytest.mark.parametrize("use_resource", [True, False])
@pytest.mark.parametrize("getter", [True, False])
def test_resource_and_reference_variables(session: Any, use_resource: bool, getter: bool) -> None:
    if getter:
        x = v1.get_variable("x", initializer=tf.ones([2, 2]), use_resource=use_resource)
    else:
        x = v1.Variable(tf.ones([2, 2]), name="x", use_resource=use_resource)
    fixed = v1.get_variable("fixed", initializer=[[5.0], [6.0]], use_resource=use_resource, trainable=False)
    loss = tf.reduce_sum(tf.square(x @ fixed - 1.0)) + tf.reduce_sum(tf.square(tf.gather(x, [0])))
    result = tfm.ScipyOptimizerInterface(loss).minimize(initialised(session))
    assert result.backend == "tfe"
    assert session.run(loss) == pytest.approx(result.fun, rel=1e-5)
    np.testing.assert_array_equal(result.x.reshape(2, 2).astype(np.float32), session.run(x))
    np.testing.assert_allclose(session.run(tf.gradients(loss, x)[0]), 0.0, atol=1e-3)


def test_gradients_within_the_loss_are_lifted(session: Any) -> None:
    """A derivative of a network in its loss, as in physics-informed networks."""
    t = v1.placeholder(tf.float64, [None])
    a = v1.Variable(np.float64(0.3))
    u = tf.exp(a * t)
    residual = tf.gradients(u, t)[0] - 2.0 * u
    result = tfm.ScipyOptimizerInterface(tf.reduce_mean(tf.square(residual))).minimize(
        initialised(session), feed_dict={t: np.linspace(0.0, 1.0, 11)}
    )
    assert session.run(a) == pytest.approx(2.0, abs=1e-4)
    assert result.backend == "tfe"


def test_control_flow_and_functions_of_tensorflow_2_are_lifted(session: Any) -> None:
    x = v1.Variable(np.array([3.0, -4.0]))

    @tf.function
    def square(value: tf.Tensor) -> tf.Tensor:
        return value * value

    doubled = tf.while_loop(lambda i, _: i < 2, lambda i, v: (i + 1, 2.0 * v), [0, x - 1.0])[1]
    chosen = tf.cond(x[0] > -100.0, lambda: doubled, lambda: x + 7.0)
    result = tfm.ScipyOptimizerInterface(tf.reduce_sum(square(chosen))).minimize(initialised(session))
    assert result.backend == "tfe"
    np.testing.assert_allclose(session.run(x), 1.0, atol=1e-5)


def test_vectors_are_constraints(session: Any) -> None:
    x = v1.Variable(np.full(3, 5.0))
    optimizer = tfm.ScipyOptimizerInterface(
        tf.reduce_sum(tf.square(x)),
        equalities=[x[:2] - [1.0, 2.0]],
        inequalities=[tf.reshape(x, [1, 3]) - 1.0],
        method="SLSQP",
    )
    result = optimizer.minimize(initialised(session))
    np.testing.assert_allclose(session.run(x), [1.0, 2.0, 1.0], atol=1e-6)
    assert result.constr_violation < 1e-6
    assert result.multipliers.shape == (5,)


@pytest.mark.parametrize("watched", [True, False])
def test_not_converged_is_assigned_too(session: Any, watched: bool) -> None:
    x = v1.Variable(np.zeros(5))
    loss = tf.reduce_sum(100.0 * tf.square(x[1:] - tf.square(x[:-1])) + tf.square(1.0 - x[:-1]))
    result = tfm.ScipyOptimizerInterface(loss, options={"maxiter": 3}).minimize(
        initialised(session), loss_callback=(lambda: None) if watched else None
    )
    assert (result.success, result.nit) == (False, 3)
    np.testing.assert_array_equal(session.run(x), result.x)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("argument", ["loss_callback", "step_callback"])
@pytest.mark.parametrize("name", ["v1", "v1-reference", "tf2"])
def test_exception_in_callback_leaves_variables_untouched(name: str, argument: str, method: str) -> None:
    with entered(name) as mode:
        x = mode.variable([5.0, 7.0])
        calls = []

        def fail(*_: Any) -> None:
            calls.append(None)
            if len(calls) == 2:
                raise KeyError("mine")

        loss = mode.expression(lambda: squared_distance(x, 1.0) ** 2)
        optimizer = tfm.ScipyOptimizerInterface(loss, method=method)
        with pytest.raises(KeyError, match="mine"):
            mode.minimize(optimizer, **{argument: fail})
        np.testing.assert_array_equal(mode.value(x), [5.0, 7.0])
        np.testing.assert_allclose(mode.minimize(optimizer).x, 1.0, atol=0.1)


def test_arguments_of_run_reach_the_final_assignment(session: Any) -> None:
    x = v1.Variable(3.0)
    metadata = v1.RunMetadata()
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
    tfm.ScipyOptimizerInterface(tf.square(x)).minimize(initialised(session), options=options, run_metadata=metadata)
    assert metadata.step_stats.dev_stats
    assert session.run(x) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.subprocess
@pytest.mark.parametrize("disable", ["disable_v2_behavior", "disable_eager_execution"])
def test_script_of_tensorflow_1(disable: str, tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import numpy as np
import tensorflow.compat.v1 as tf
tf.{disable}()
import tfminimize as tfm

vector = tf.Variable([7.0, 7.0], name="vector")
target = tf.placeholder(tf.float32, [])
loss = tf.reduce_sum(tf.square(vector - target))
free = tfm.ScipyOptimizerInterface(loss, options={{"maxiter": 100}})
bounded = tfm.ScipyOptimizerInterface(loss, var_to_bounds={{vector: ([1, 2], np.inf)}})
constrained = tfm.ScipyOptimizerInterface(
    loss, equalities=[vector[1] - 1.0], inequalities=[vector[0] - 1.0], method="SLSQP"
)
losses = []
with tf.Session() as session:
    for optimizer, expected in ((free, [0.0, 0.0]), (bounded, [1.0, 2.0]), (constrained, [1.0, 1.0])):
        for arguments in ({{}}, {{"fetches": [loss], "loss_callback": losses.append}}):
            session.run(tf.global_variables_initializer())
            result = optimizer.minimize(session, feed_dict={{target: 0.0}}, **arguments)
            np.testing.assert_allclose(session.run(vector), expected, atol=1e-5)
            assert result.backend == "tfe", result.backend_reason
assert losses[0] == 98.0
print("done")
"""
    )
    assert run_python(script) == "done\n"
