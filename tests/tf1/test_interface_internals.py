"""Subclasses that read private attributes of TensorFlow 1's class, like zfit's and ADCME's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interface_modes import Mode, entered

import tfminimize as tfm


def problem(mode: Mode) -> tuple[Any, Any, Any]:
    matrix, vector = mode.variable([[1.0, 2.0], [3.0, 4.0]], "matrix"), mode.variable([5.0, 6.0], "vector")

    def loss() -> tf.Tensor:
        return tf.reduce_sum(tf.square(matrix - 1.0)) + tf.reduce_sum(tf.square(vector - 2.0))

    return matrix, vector, mode.expression(loss)


class Minuit(tfm.ExternalOptimizerInterface):
    """Like zfit: the minimiser wants a name, a start and limits for each parameter in turn."""

    def _minimize(self, initial_val: Any, loss_grad_func: Any, packed_bounds: Any, **unused: Any) -> Any:
        self.names = [variable.name.split(":")[0] for variable in self._vars]
        self.sizes = [int(np.prod(variable.shape)) for variable in self._vars]
        self.starts = [initial_val[part] for part in self._packing_slices]
        self.limits = [packed_bounds[part] for part in self._packing_slices]
        assert packed_bounds == self._packed_bounds
        return scipy.optimize.minimize(loss_grad_func, initial_val, jac=True, bounds=packed_bounds).x


def test_subclass_reads_variables_slices_and_bounds(mode: Mode) -> None:
    matrix, vector, loss = problem(mode)
    optimizer = Minuit(loss, [matrix, vector], var_to_bounds={mode.key(vector): (3.0, None)})
    mode.minimize(optimizer)
    assert optimizer.names == ["matrix", "vector"]
    assert optimizer.sizes == [4, 2]
    np.testing.assert_array_equal(np.concatenate(optimizer.starts), [1, 2, 3, 4, 5, 6])
    assert optimizer.limits == [[(-np.inf, np.inf)] * 4, [(3.0, np.inf)] * 2]
    np.testing.assert_allclose(mode.value(vector), 3.0)


class OwnLoop(tfm.ExternalOptimizerInterface):
    """Overrides `minimize` and uses the functions that the original makes."""

    def minimize(self, session: Any = None, feed_dict: Any = None, fetches: Any = None, **unused: Any) -> Any:
        self.fetched: list[Any] = []
        loss_grad_func = self._make_eval_func(
            [self._loss, self._packed_loss_grad], session, feed_dict, fetches, lambda *f: self.fetched.append(f)
        )
        values = self._make_eval_funcs(self._equalities + self._inequalities, session, feed_dict, [])
        gradients = self._make_eval_funcs(
            self._packed_equality_grads + self._packed_inequality_grads, session, feed_dict, []
        )
        x = np.arange(6.0)
        self.at_x = loss_grad_func(x), [f(x) for f in values], [g(x) for g in gradients]
        return self.at_x


@pytest.mark.slow
def test_functions_of_the_original_evaluate_anywhere(mode: Mode) -> None:
    matrix, vector, loss = problem(mode)
    optimizer = OwnLoop(
        loss,
        [matrix, vector],
        equalities=[mode.expression(lambda: vector[0] * matrix[0, 1])],
        inequalities=[mode.expression(lambda: vector[1])],
    )
    (value, gradient), values, gradients = mode.minimize(optimizer, fetches=[loss])
    # The matrix is [[0, 1], [2, 3]], the vector [4, 5].
    assert value == 1 + 0 + 1 + 4 + 4 + 9
    np.testing.assert_array_equal(gradient, [-2, 0, 2, 4, 4, 6])
    np.testing.assert_array_equal(np.ravel(values), [4, 5])
    np.testing.assert_array_equal(np.reshape(gradients, (2, 6)), [[0, 4, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]])
    assert np.ravel(optimizer.fetched) == [value]
    np.testing.assert_array_equal(mode.value(vector), [5.0, 6.0])


def test_packed_variable_has_the_present_values(mode: Mode) -> None:
    matrix, vector, loss = problem(mode)
    optimizer = tfm.ExternalOptimizerInterface(loss, [vector, matrix])
    packed = optimizer._packed_var
    assert optimizer._packed_var is packed
    mode.initialize()
    value = mode.value(packed)
    np.testing.assert_array_equal(value, [5, 6, 1, 2, 3, 4])
    assert value.dtype == mode.dtype


class Adcme(tfm.ExternalOptimizerInterface):
    """Like ADCME: the variables follow the optimiser, so that the callback can read them."""

    def follow(self, session: Any) -> Any:
        self._session = session
        return self.minimize(session, step_callback=self._update)

    def _update(self, x: Any) -> None:
        parts = [x[part] for part in self._packing_slices]
        self._session.run(self._var_updates, feed_dict=dict(zip(self._update_placeholders, parts, strict=True)))

    def _minimize(self, initial_val: Any, loss_grad_func: Any, step_callback: Any, **unused: Any) -> Any:
        return scipy.optimize.minimize(loss_grad_func, initial_val, jac=True, method="BFGS", callback=step_callback).x


@pytest.mark.parametrize("name", ["v1", "v1-reference"])
def test_subclass_assigns_the_variables_in_a_graph(name: str) -> None:
    with entered(name) as mode:
        matrix, vector, loss = problem(mode)
        optimizer = Adcme(loss, [matrix, vector])
        mode.initialize()
        optimizer.follow(mode.session)
        np.testing.assert_allclose(mode.value(matrix), 1.0, atol=1e-5)
        optimizer._update(np.arange(6.0))
        np.testing.assert_array_equal(mode.value(matrix), [[0, 1], [2, 3]])
        np.testing.assert_array_equal(mode.value(vector), [4, 5])


def test_placeholders_belong_to_graphs() -> None:
    v = tf.Variable(1.0)
    optimizer = tfm.ExternalOptimizerInterface(lambda: v**2, [v])
    for name in ("_update_placeholders", "_var_updates"):
        with pytest.raises(AttributeError, match=f"{name} belongs to a graph of TensorFlow 1"):
            getattr(optimizer, name)


def test_variables_of_several_dtypes_are_packed_as_float64() -> None:
    single, double = tf.Variable([1.0]), tf.Variable(np.array([2.0, 3.0]))
    optimizer = tfm.ExternalOptimizerInterface(
        lambda: tf.cast(tf.reduce_sum(single**2), tf.float64) + tf.reduce_sum(double**2), [single, double]
    )
    np.testing.assert_array_equal(optimizer._packed_var(), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(optimizer._packed_loss_grad(), [2.0, 4.0, 6.0])
    assert optimizer._packed_loss_grad().dtype == tf.float64
    assert optimizer._packed_equality_grads == []


def test_session_that_evaluates_gets_the_variables_back() -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.Variable(np.array([1.0, 2.0]))
        loss = tf.reduce_sum(tf.gather(v, [0, 1]) ** 2) + 0.0 * tf.random.uniform([], dtype=tf.float64)
        optimizer = tfm.ExternalOptimizerInterface(loss, [v])
        session.run(tf.compat.v1.global_variables_initializer())
        evaluate = optimizer._make_eval_func(optimizer._loss, session, None, None)
        with pytest.warns(UserWarning, match="draws random numbers"):  # which keeps the loss in the session
            assert evaluate(np.array([3.0, 4.0])) == [25.0]
        np.testing.assert_array_equal(session.run(v), [1.0, 2.0])
