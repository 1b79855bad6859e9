"""The interface in TensorFlow 2: functions of variables, no session."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock, squared_distance

import tfminimize as tfm


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(1)])


@pytest.fixture
def data() -> tuple[tf.Tensor, tf.Tensor]:
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    return tf.constant(x), tf.constant(np.sin(x.sum(axis=1, keepdims=True)))


def test_result_is_that_of_minimize() -> None:
    x, y = tf.Variable(np.zeros(5)), tf.Variable(np.zeros(5))
    result = tfm.ScipyOptimizerInterface(lambda: rosenbrock(x), options={"maxcor": 5}).minimize()
    expected = tfm.minimize(lambda: rosenbrock(y), y, options={"maxcor": 5})
    assert (result.nit, result.nfev, result.message) == (expected.nit, expected.nfev, expected.message)
    assert result.success
    assert result.backend == "tfe"
    np.testing.assert_array_equal(result.x, expected.x)
    np.testing.assert_array_equal(x.numpy(), y.numpy())


@pytest.mark.parametrize("loss_callback", [None, lambda: None], ids=["native", "in Python"])
def test_warning_points_at_the_line_that_calls_minimize(loss_callback: Any) -> None:
    x = tf.Variable(np.zeros(5))
    optimizer = tfm.ScipyOptimizerInterface(lambda: rosenbrock(x), options={"eps": 1e-3})
    with pytest.warns(UserWarning, match="'eps' has no effect here") as caught:
        optimizer.minimize(loss_callback=loss_callback)
    assert caught[0].filename == __file__


def test_loss_may_be_a_tf_function() -> None:
    x = tf.Variable([5.0, 5.0])
    loss = tf.function(lambda: squared_distance(x, 1.0), jit_compile=True)
    tfm.ScipyOptimizerInterface(loss).minimize()
    np.testing.assert_allclose(x.numpy(), 1.0, atol=1e-5)


def test_var_list_defaults_to_the_variables_that_the_loss_reads() -> None:
    a, b = tf.Variable(1.0), tf.Variable(2.0)
    fixed, unused = tf.Variable(3.0, trainable=False), tf.Variable(4.0)
    result = tfm.ScipyOptimizerInterface(lambda: tf.square(b - 5.0) + tf.square(a - fixed)).minimize()
    assert [v.numpy() for v in (a, b, fixed, unused)] == pytest.approx([3.0, 5.0, 3.0, 4.0], abs=1e-4)
    assert result.x.shape == (2,)


def test_counter_that_the_loss_increases_is_not_optimised() -> None:
    x, counter = tf.Variable(1.0), tf.Variable(0)

    def loss() -> tf.Tensor:
        counter.assign_add(1)
        return tf.square(x - 5.0)

    result = tfm.ScipyOptimizerInterface(loss).minimize()
    np.testing.assert_allclose(result.x, [5.0], atol=1e-5)
    assert counter.numpy() == result.nfev


def test_variable_that_only_a_nested_function_reads_is_found() -> None:
    a = tf.Variable(1.0)

    @tf.function
    def inner() -> tf.Tensor:
        return tf.cond(tf.constant(True), lambda: tf.square(a - 2.0), lambda: a)

    tfm.ScipyOptimizerInterface(inner).minimize()
    assert a.numpy() == pytest.approx(2.0, abs=1e-5)


def test_var_list_sets_what_is_optimised_and_its_order() -> None:
    a, b, unused = tf.Variable(1.0), tf.Variable(2.0), tf.Variable(4.0)
    result = tfm.ScipyOptimizerInterface(
        lambda: tf.square(a - 10.0) + tf.square(b - 20.0), var_list=[unused, a]
    ).minimize()
    np.testing.assert_allclose(result.x, [4.0, 10.0], rtol=1e-5)
    assert b.numpy() == 2.0


def test_variables_of_both_precisions() -> None:
    a, b = tf.Variable(1.0, dtype=tf.float32), tf.Variable(2.0, dtype=tf.float64)
    for method in ("L-BFGS-B", "BFGS"):
        a.assign(1.0)
        tfm.ScipyOptimizerInterface(
            lambda: tf.square(tf.cast(a, tf.float64) - b) + tf.square(b - 7.0), var_list=[a, b], method=method
        ).minimize()
        assert (a.numpy(), b.numpy()) == pytest.approx((7.0, 7.0), abs=1e-3)


def bounds_forms() -> list[Any]:
    return [
        pytest.param(lambda v, entry: {v.ref(): entry}, id="dict of references"),
        pytest.param(lambda v, entry: [(v, entry)], id="list of pairs"),
        pytest.param(lambda v, entry: ((v, entry),), id="tuple of pairs"),
    ]


@pytest.mark.parametrize("form", bounds_forms())
def test_forms_of_bounds(form: Any) -> None:
    x, free = tf.Variable(np.full((3, 2), 7.0)), tf.Variable(7.0)
    low = [1.0, 2.0]  # a column each
    result = tfm.ScipyOptimizerInterface(
        lambda: squared_distance(x, 0.0) + tf.square(tf.cast(free, tf.float64)), var_to_bounds=form(x, (low, np.inf))
    ).minimize()
    np.testing.assert_array_equal(x.numpy(), [[1.0, 2.0]] * 3)
    assert free.numpy() == pytest.approx(0.0, abs=1e-5)
    assert result.success


def test_bounds_by_hashable_variables() -> None:
    class Hashable:
        """Wraps a variable as Keras does, and is hashable."""

        def __init__(self, value: tf.Variable) -> None:
            self.value = value

    x = Hashable(tf.Variable([7.0, 7.0]))
    tfm.ScipyOptimizerInterface(
        lambda: squared_distance(x.value, 0.0), [x], var_to_bounds={x: ([1, 2], None)}
    ).minimize()
    np.testing.assert_array_equal(x.value.numpy(), [1.0, 2.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0.0, np.inf), [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]),
        ((-np.inf, [-1.0, -2.0]), [[-1.0, -2.0]] * 3),
        ((-np.inf, [[-1.0], [-2.0], [-3.0]]), [[-1.0, -1.0], [-2.0, -2.0], [-3.0, -3.0]]),
        (([[1, None], [None, 2], [3, 4]], None), [[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]),
        (np.array([1.0, 3.0]), [[1.0, 1.0]] * 3),
    ],
)
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "TNC"])
def test_bounds_are_broadcast(bounds: Any, expected: Any, method: str) -> None:
    x = tf.Variable(np.full((3, 2), 7.0))
    tfm.ScipyOptimizerInterface(
        lambda: squared_distance(x, 0.0), var_to_bounds={x.ref(): bounds}, method=method
    ).minimize()
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"loss_callback": lambda: None}], ids=["native", "in Python"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "TNC"])
def test_a_solve_reads_the_bounds_once(method: str, arguments: dict[str, Any]) -> None:
    class Limit:
        reads = 0

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            self.reads += 1
            return np.array(0.5)

    v, limit = tf.Variable([7.0, 7.0]), Limit()
    optimizer = tfm.ScipyOptimizerInterface(
        lambda: tf.reduce_sum(v**2), var_to_bounds={v.ref(): (limit, None)}, method=method
    )
    limit.reads = 0
    optimizer.minimize(**arguments)
    np.testing.assert_allclose(v.numpy(), 0.5)
    assert limit.reads == 1


def test_vectors_are_constraints() -> None:
    x = tf.Variable(np.full(3, 5.0))
    result = tfm.ScipyOptimizerInterface(
        lambda: squared_distance(x, 0.0),
        equalities=[lambda: x[:2] - [1.0, 2.0]],
        inequalities=[lambda: tf.reshape(x, [1, 3]) - 1.0, lambda: 10.0 - tf.reduce_sum(x)],
        method="SLSQP",
    ).minimize()
    np.testing.assert_allclose(x.numpy(), [1.0, 2.0, 1.0], atol=1e-6)
    assert result.multipliers.shape == (6,)
    assert result.constr_violation < 1e-6
    assert result.backend == "tfe"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:delta_grad == 0.0")  # of trust-constr, on linear constraints
@pytest.mark.parametrize("method", ["SLSQP", "COBYLA", "COBYQA", "trust-constr"])
def test_every_method_that_takes_constraints_takes_them(method: str) -> None:
    x = tf.Variable(np.array([2.0, 3.0]))
    steps: list[Any] = []
    result = tfm.ScipyOptimizerInterface(
        lambda: squared_distance(x, 0.0),
        equalities=[lambda: x[1] - 1.0],
        inequalities=[lambda: x - 1.0],
        method=method,
    ).minimize(step_callback=lambda xk: steps.append(np.array(xk)))
    np.testing.assert_allclose(x.numpy(), [1.0, 1.0], atol=1e-2)
    assert result.constr_violation < 1e-3
    assert all(step.shape == (2,) for step in steps)
    assert steps


def test_constraints_read_variables_that_the_loss_does_not() -> None:
    x, slack = tf.Variable(np.array([2.0, 3.0])), tf.Variable(np.float64(4.0))
    tfm.ScipyOptimizerInterface(
        lambda: squared_distance(x, 0.0),
        var_list=[x, slack],
        equalities=[lambda: x[0] - slack],
        inequalities=[lambda: slack - 1.5],
        method="SLSQP",
    ).minimize()
    np.testing.assert_allclose(x.numpy(), [1.5, 0.0], atol=1e-6)
    assert slack.numpy() == pytest.approx(1.5)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG", "Nelder-Mead"])
def test_fetches_go_to_loss_callback_at_every_evaluation(method: str) -> None:
    x, scale = tf.Variable([5.0, 5.0]), tf.Variable(2.0)
    seen: list[Any] = []

    def loss() -> tf.Tensor:
        return scale * squared_distance(x, [1.0, 2.0])

    result = tfm.ScipyOptimizerInterface(loss, [x], method=method).minimize(
        fetches=[loss, lambda: x + 0.0, lambda: scale], loss_callback=lambda *values: seen.append(values)
    )
    assert len(seen) == result.nfev
    assert seen[0][0] == 50.0
    assert all(isinstance(value, (np.ndarray, np.generic)) for value in seen[0])
    for value, point, two in seen:
        np.testing.assert_allclose(value, 2.0 * np.sum((point - [1.0, 2.0]) ** 2), rtol=1e-5, atol=1e-8)
        assert two == 2.0


def test_loss_callback_does_not_change_the_path() -> None:
    x, y = tf.Variable(np.zeros(5)), tf.Variable(np.zeros(5))
    watched = tfm.ScipyOptimizerInterface(lambda: rosenbrock(x)).minimize(loss_callback=lambda: None)
    native = tfm.ScipyOptimizerInterface(lambda: rosenbrock(y)).minimize()
    assert (watched.nit, watched.nfev, watched.message) == (native.nit, native.nfev, native.message)
    np.testing.assert_allclose(watched.x, native.x, rtol=1e-12)


def test_variables_keep_their_values_while_callbacks_run() -> None:
    x = tf.Variable([5.0, 5.0])
    seen: list[Any] = []
    tfm.ScipyOptimizerInterface(lambda: squared_distance(x, 1.0)).minimize(
        loss_callback=lambda: seen.append(x.numpy()), step_callback=lambda _: seen.append(x.numpy())
    )
    np.testing.assert_array_equal(seen, np.full((len(seen), 2), 5.0))
    np.testing.assert_allclose(x.numpy(), 1.0, atol=1e-5)


def test_repeated_minimize_traces_once() -> None:
    traces = []
    x, target = tf.Variable([5.0, 5.0]), tf.Variable([1.0, 2.0], trainable=False)

    def loss() -> tf.Tensor:
        traces.append(None)
        return squared_distance(x, target)

    optimizer = tfm.ScipyOptimizerInterface(loss)
    optimizer.minimize()
    count = len(traces)
    target.assign([3.0, 4.0])
    optimizer.minimize()
    assert len(traces) == count
    np.testing.assert_allclose(x.numpy(), [3.0, 4.0], atol=1e-5)
    optimizer.minimize(fetches=[lambda: target], loss_callback=lambda _: None)
    count = len(traces)
    optimizer.minimize(loss_callback=lambda: None)
    assert len(traces) <= count + 1


@pytest.mark.parametrize("watched", [True, False])
def test_not_converged_is_assigned_too(watched: bool) -> None:
    x = tf.Variable(np.zeros(5))
    result = tfm.ScipyOptimizerInterface(lambda: rosenbrock(x), options={"maxiter": 3}).minimize(
        loss_callback=(lambda: None) if watched else None
    )
    assert (result.success, result.nit) == (False, 3)
    np.testing.assert_array_equal(x.numpy(), result.x)


def test_tol_is_passed_on() -> None:
    x, y = tf.Variable(np.zeros(5)), tf.Variable(np.zeros(5))
    loose = tfm.ScipyOptimizerInterface(lambda: rosenbrock(x), tol=1e-1).minimize()
    assert loose.nit == tfm.minimize(lambda: rosenbrock(y), y, tol=1e-1).nit < 35


def test_variables_of_keras() -> None:
    v = keras.Variable([7.0, 7.0], name="v")
    tfm.ScipyOptimizerInterface(
        lambda: keras.ops.sum(v**2), var_list=[v], var_to_bounds=[(v, ([1.0, 2.0], None))]
    ).minimize()
    np.testing.assert_array_equal(v.numpy(), [1.0, 2.0])
    v.assign([7.0, 7.0])
    tfm.ScipyOptimizerInterface(lambda: keras.ops.sum(v**2), var_to_bounds={v.value.ref(): (1.0, None)}).minimize()
    np.testing.assert_array_equal(v.numpy(), [1.0, 1.0])


@pytest.mark.parametrize("named", [True, False])
def test_model_of_keras_is_fitted(model: keras.Model, data: tuple[tf.Tensor, tf.Tensor], named: bool) -> None:
    x, y = data

    def loss() -> tf.Tensor:
        return tf.reduce_mean(tf.square(model(x) - y))

    before = float(loss())
    seen: list[Any] = []
    result = tfm.ScipyOptimizerInterface(
        loss, model.trainable_variables if named else None, options={"maxiter": 40}
    ).minimize(fetches=[loss], loss_callback=seen.append)
    assert result.x.size == model.count_params()
    assert result.fun < 0.1 * before
    assert float(loss()) == pytest.approx(result.fun, rel=1e-4)
    assert seen[0] == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("vectors", [([0.0, 1.0], [2.0, 3.0]), np.array([[0.0, 1.0], [2.0, 3.0]])])
def test_two_vectors_as_bounds_of_two_elements_are_low_and_high(vectors: Any) -> None:
    vector = tf.Variable([5.0, 5.0])
    tfm.ScipyOptimizerInterface(
        lambda: tf.reduce_sum((vector - [9.0, -9.0]) ** 2), [vector], var_to_bounds={vector.ref(): vectors}
    ).minimize()
    np.testing.assert_array_equal(vector, [2.0, 1.0])
