"""The interface refuses bad input with a sentence that names it, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interface_modes import MODES, Mode, entered

import tfminimize as tfm

v1 = tf.compat.v1


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Iterator[Mode]:
    with entered(request.param, "float32") as mode:
        yield mode


@pytest.fixture
def graph() -> Iterator[tf.Graph]:
    with tf.Graph().as_default() as graph:
        yield graph


def loss_of(mode: Mode, variable: Any) -> Any:
    return mode.expression(lambda: tf.reduce_sum(tf.square(variable)))


@pytest.mark.usefixtures("graph")
def test_no_session() -> None:
    optimizer = tfm.ScipyOptimizerInterface(tf.square(v1.Variable(1.0)))
    with pytest.raises(ValueError, match=r"session.*with"):
        optimizer.minimize()


def test_session_of_another_graph() -> None:
    with tf.Graph().as_default():
        optimizer = tfm.ScipyOptimizerInterface(tf.square(v1.Variable(1.0)))
    with tf.Graph().as_default(), v1.Session() as session, pytest.raises(ValueError, match="graph"):
        optimizer.minimize(session)


def test_session_in_tensorflow_2() -> None:
    variable = tf.Variable(1.0)
    optimizer = tfm.ScipyOptimizerInterface(lambda: tf.square(variable))
    with tf.Graph().as_default(), v1.Session() as session:
        pass
    with pytest.raises(ValueError, match="session"):
        optimizer.minimize(session)
    with pytest.raises(ValueError, match="feed_dict"):
        optimizer.minimize(feed_dict={"x": 1.0})
    assert variable.numpy() == 1.0


@pytest.mark.usefixtures("graph")
def test_variable_that_is_not_initialised() -> None:
    variable = v1.Variable(1.0, name="forgotten")
    optimizer = tfm.ScipyOptimizerInterface(tf.square(variable))
    with v1.Session() as session, pytest.raises(tf.errors.FailedPreconditionError, match="forgotten"):
        optimizer.minimize(session)


@pytest.mark.usefixtures("graph")
def test_placeholder_that_is_not_fed() -> None:
    variable = v1.Variable(1.0)
    optimizer = tfm.ScipyOptimizerInterface(tf.square(variable - v1.placeholder(tf.float32, [], name="forgotten")))
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="forgotten"):
            optimizer.minimize(session)
        assert session.run(variable) == 1.0


def test_loss_that_is_no_scalar(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0])
    with pytest.raises(ValueError, match=r"loss.*shape \(2,\).*reduce"):
        mode.minimize(tfm.ScipyOptimizerInterface(mode.expression(lambda: tf.square(vector))))


def test_loss_that_is_neither_tensor_nor_function() -> None:
    with pytest.raises((TypeError, ValueError), match="loss"):
        tfm.ScipyOptimizerInterface(3.0)


def test_eager_tensor_as_loss() -> None:
    variable = tf.Variable(1.0)
    with pytest.raises((TypeError, ValueError), match=r"loss.*(function|callable)"):
        tfm.ScipyOptimizerInterface(tf.square(variable))


@pytest.mark.parametrize("name", ["equalities", "inequalities"])
def test_eager_tensor_as_constraint(name: str) -> None:
    variable = tf.Variable(1.0)
    constraints: dict[str, Any] = {name: [variable - 1.0]}
    with pytest.raises((TypeError, ValueError), match=rf"{name}.*(function|callable)"):
        tfm.ScipyOptimizerInterface(lambda: tf.square(variable), method="SLSQP", **constraints).minimize()


def test_bounds_for_a_variable_that_is_not_optimised(mode: Mode) -> None:
    vector, fixed = mode.variable([1.0, 2.0]), mode.variable(3.0, name="fixed")
    loss = mode.expression(lambda: tf.reduce_sum(tf.square(vector)) + fixed)
    mode.initialize()
    with pytest.raises(ValueError, match=r"fixed.*(optimised|var_list)"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss, [vector], var_to_bounds={mode.key(fixed): (0.0, 1.0)}))
    np.testing.assert_array_equal(mode.value(vector), [1.0, 2.0])


@pytest.mark.parametrize("side", [0, 1])
def test_bound_that_does_not_broadcast(mode: Mode, side: int) -> None:
    matrix = mode.variable(np.ones((2, 3)), name="matrix")
    bound: list[Any] = [None, None]
    bound[side] = [1.0, 2.0]
    with pytest.raises(ValueError, match=r"matrix.*broadcast.*\(2, 3\)"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, matrix), var_to_bounds={mode.key(matrix): bound}))


def test_bounds_that_are_no_pair(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0], name="vector")
    with pytest.raises(ValueError, match=r"vector.*\(low, high\)"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), var_to_bounds={mode.key(vector): 1.0}))


def test_bounds_that_cross(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0], name="vector")
    bounds = {mode.key(vector): ([0.0, 5.0], 4.0)}
    with pytest.raises(ValueError, match=r"vector.*5\.0 > 4\.0"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), var_to_bounds=bounds))


@pytest.mark.parametrize("kind", ["equalities", "inequalities"])
@pytest.mark.parametrize("method", [None, "L-BFGS-B", "l-bfgs-b"])
def test_constraints_with_lbfgsb(mode: Mode, method: str | None, kind: str) -> None:
    vector = mode.variable([1.0, 2.0])
    given: dict[str, Any] = {kind: [mode.expression(lambda: vector[0] - 3.0)]}
    if method is not None:
        given["method"] = method
    with pytest.raises(ValueError, match=r"(?i)L-BFGS-B.*constraints.*SLSQP"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), **given))
    np.testing.assert_array_equal(mode.value(vector), [1.0, 2.0])


@pytest.mark.parametrize("keyword", ["jac", "callback", "constraints"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
def test_keyword_that_the_interface_sets_itself(mode: Mode, method: str, keyword: str) -> None:
    vector = mode.variable([1.0, 2.0])
    given: dict[str, Any] = {keyword: None}
    with pytest.raises(ValueError) as error:
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), method=method, **given))
    assert str(error.value) == (
        f"Optimizer keyword arg '{keyword}' is set automatically and cannot be injected manually"
    )


def test_bounds_as_keyword(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0])
    with pytest.raises(ValueError) as error:
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), bounds=[(0.0, 1.0)] * 2))
    assert str(error.value) == "Bounds must be set using the var_to_bounds argument"


def test_method_that_does_not_exist(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0])
    with pytest.raises(ValueError, match="'newton'"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), method="newton"))


def test_loss_without_variables() -> None:
    with pytest.raises(ValueError, match="variable"):
        tfm.ScipyOptimizerInterface(lambda: tf.constant(1.0)).minimize()


def test_graph_without_trainable_variables(graph: tf.Graph) -> None:
    variable = v1.Variable(1.0, trainable=False)
    with v1.Session(graph=graph), pytest.raises(ValueError, match="variable"):
        tfm.ScipyOptimizerInterface(tf.square(variable)).minimize()


def test_variable_of_integers(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0])
    counter = tf.Variable(1, name="counter") if mode.session is None else v1.Variable(1, name="counter")
    with pytest.raises((TypeError, ValueError), match=r"counter.*int32"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), [vector, counter]))


def test_fetches_that_are_no_functions_in_tensorflow_2() -> None:
    variable = tf.Variable(1.0)
    optimizer = tfm.ScipyOptimizerInterface(lambda: tf.square(variable))
    with pytest.raises((TypeError, ValueError), match=r"fetches.*(function|callable)"):
        optimizer.minimize(fetches=[tf.square(variable)], loss_callback=print)


def test_callback_that_cannot_be_called(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0])
    for name in ("step_callback", "loss_callback"):
        with pytest.raises((TypeError, ValueError), match=name):
            mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector)), **{name: 3})


def test_messages_name_var_list(mode: Mode) -> None:
    vector = mode.variable([1.0, 2.0], name="vector")
    with pytest.raises(ValueError, match=r"'vector:0' is in var_list twice"):
        tfm.ScipyOptimizerInterface(loss_of(mode, vector), [vector, vector])
    with pytest.raises(ValueError, match=r"var_list is empty: give at least one variable"):
        tfm.ScipyOptimizerInterface(loss_of(mode, vector), [])
    counter = tf.Variable(1, name="counter") if mode.session is None else v1.Variable(1, name="counter")
    with pytest.raises(ValueError, match=r"'counter:0'.*int32.*out of var_list"):
        tfm.ScipyOptimizerInterface(loss_of(mode, vector), [vector, counter])


def test_message_on_a_loss_that_writes_names_var_list() -> None:
    variable = tf.Variable(1.0, name="written")
    optimizer = tfm.ScipyOptimizerInterface(lambda: tf.square(variable.assign_add(1.0) + variable), [variable])
    with pytest.raises(ValueError, match=r"'written:0'.*out of var_list"):
        optimizer.minimize()


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize("callback", [None, lambda *_: None])
def test_loss_whose_shape_is_found_when_it_is_traced(callback: Any) -> None:
    data = v1.placeholder(tf.float32, [None])
    loss = tf.square(v1.Variable(1.0) - data, name="residuals")
    optimizer = tfm.ScipyOptimizerInterface(loss)
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        with pytest.raises(ValueError, match=r"the loss 'residuals:0' has shape \(3,\), not.*reduce"):
            optimizer.minimize(session, {data: [1.0, 2.0, 3.0]}, loss_callback=callback)


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize("key", ["unknown:0", "unknown"])
def test_unknown_name_in_feed_dict(key: str) -> None:
    optimizer = tfm.ScipyOptimizerInterface(tf.square(v1.Variable(1.0)))
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        with pytest.raises(ValueError, match=rf"a key of feed_dict is '{key}', .*give a tensor, or its name"):
            optimizer.minimize(session, {key: 1.0})


@pytest.mark.usefixtures("graph")
def test_session_or_feed_dict_of_a_wrong_type() -> None:
    optimizer = tfm.ScipyOptimizerInterface(tf.square(v1.Variable(1.0)))
    with pytest.raises(ValueError, match=r"session is 'local': give a tf\.compat\.v1\.Session"):
        optimizer.minimize("local")
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        with pytest.raises(ValueError, match=r"feed_dict is \[1\.0\]: give a dict"):
            optimizer.minimize(session, [1.0])


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
def test_options_that_are_no_dict(mode: Mode, method: str) -> None:
    vector = mode.variable([1.0, 2.0])
    with pytest.raises(ValueError, match=r"options is 5: give a dict"):
        mode.minimize(tfm.ScipyOptimizerInterface(loss_of(mode, vector), method=method, options=5))


def test_functions_that_take_arguments() -> None:
    v = tf.Variable(1.0)
    remedy = r".*missing a required argument: 'a'\. The parameters are variables.*take no arguments\.$"
    with pytest.raises(TypeError, match=r"^loss is <lambda>\(a\), but is called as <lambda>\(\)" + remedy):
        tfm.ScipyOptimizerInterface(lambda a: a * v)
    with pytest.raises(TypeError, match=r"<lambda>\(a\), but is called as <lambda>\(\)" + remedy):
        tfm.ScipyOptimizerInterface(lambda a: a * v, [v]).minimize()
    optimizer = tfm.ScipyOptimizerInterface(lambda: v**2, [v], equalities=[lambda a: a * v], method="SLSQP")
    with pytest.raises(TypeError, match=r"^equalities\[0\] is <lambda>\(a\)" + remedy):
        optimizer.minimize()
