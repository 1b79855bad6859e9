"""Each fault in constraints gives one clear error or warning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import tensorflow as tf
from problems import bowl, slsqp
from scipy.optimize import LinearConstraint, NonlinearConstraint

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")


def test_many_values_of_a_python_function_are_an_error() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.py_function(lambda x: x**2 - 4.0, [x], x.dtype), [3])

    with pytest.raises(
        ValueError, match=r"constraints\[0\] returns 3 values of a tf.py_function.*one constraint for each"
    ):
        slsqp([{"type": "ineq", "fun": fun}])


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: tf.constant(1.0),
        lambda x: 1.0,
        lambda x: tf.stop_gradient(x) + 3.0,
        lambda x: tf.ensure_shape(tf.numpy_function(lambda x: x + 3.0, [x], x.dtype), [3]),
    ],
)
def test_constraint_without_derivatives_is_a_warning(fun: Any) -> None:
    with pytest.warns(UserWarning, match=r"constraints\[0\] does not depend on x0 in a way that TensorFlow can diff"):
        assert slsqp([{"type": "ineq", "fun": fun}]).success


@pytest.mark.parametrize(
    ("constraints", "sentence"),
    [
        (3, "constraints is 3: give a dict"),
        ("eq", "the constraint is 'eq': give a dict"),
        ([3], r"constraints\[0\] is 3: give a dict"),
        ([{"type": "eq", "fun": bowl}, None], r"constraints\[1\] is None: give a dict"),
        (scipy.optimize.Bounds(0, 1), "the constraint is Bounds.*: give bounds as bounds="),
        ({}, "the constraint has no 'type'"),
        ({"fun": bowl}, "the constraint has no 'type': give a dict like"),
        ({"type": "eq"}, "the constraint has no 'fun'"),
        ({"type": "leq", "fun": bowl}, "the type 'leq': give 'eq' for .* or 'ineq' for"),
        ({"type": 1, "fun": bowl}, "the type 1"),
        ({"type": "eq", "fun": 3}, "the function 3"),
        (
            {"type": "eq", "fun": bowl, "jac": bowl},
            "has a 'jac', but TensorFlow computes the derivatives: remove 'jac'",
        ),
        ({"type": "eq", "fun": bowl, "lb": 0}, "has the key 'lb', which has no meaning"),
        ({"type": "eq", "fun": bowl, "args": 1.0}, r"has the args 1.0: give a tuple, such as \(value,\)"),
        ([{"type": "eq", "fun": bowl, "args": ({1},)}], r"constraints\[0\]: args holds a set"),
        (NonlinearConstraint(bowl, 0, 1, jac=bowl), "has a jac, but TensorFlow computes"),
        (NonlinearConstraint(bowl, 0, 1, jac="3-point"), "has a jac, but TensorFlow computes"),
        (NonlinearConstraint(bowl, 0, 1, hess=bowl), "has a hess, but TensorFlow computes"),
        (NonlinearConstraint(bowl, 0, 1, finite_diff_rel_step=0.1), "has finite_diff_rel_step"),
        (NonlinearConstraint(3, 0, 1), "has the function 3"),
        (NonlinearConstraint(bowl, 1, 0), r"lb\[0\] = 1.0 and ub\[0\] = 0.0, which no finite value satisfies"),
        (NonlinearConstraint(bowl, np.nan, 0), "has NaN in its lb"),
        (NonlinearConstraint(bowl, np.inf, np.inf), "which no finite value satisfies"),
        (NonlinearConstraint(bowl, "low", 0), "has the lb 'low': give a real number"),
        (NonlinearConstraint(bowl, 0, 1j), "has the ub 1j: give a real number"),
        (NonlinearConstraint(lambda x: x, [0, 0], 1), r"has lb of shape \(2,\), but its function returns 3 values"),
        (NonlinearConstraint(bowl, 0, [1, 2]), r"has ub of shape \(2,\), but its function returns 1 values"),
        (
            LinearConstraint([[1, 2]], 0, 1),
            r"has an A of shape \(1, 2\), but there are 3 parameters: give a matrix of 3",
        ),
        (LinearConstraint([1, 2, np.nan], 0, 1), r"has A\[0, 2\] = nan: give finite numbers"),
        (LinearConstraint([1, 2, 3], 1, 0), "which no finite value satisfies"),
        (LinearConstraint(scipy.sparse.csr_array(np.eye(3) * 1j), 0, 1), "has an A of dtype complex128"),
    ],
)
def test_unusable_constraint_is_an_error(constraints: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        slsqp(constraints)


def test_matrix_that_was_changed_afterwards_is_checked() -> None:
    constraint = LinearConstraint(np.eye(3), 0, 1)
    constraint.A = np.zeros(3)
    with pytest.raises(ValueError, match=r"has an A of shape \(3,\)"):
        slsqp(constraint)
    constraint.A = np.eye(3)
    constraint.lb = np.zeros(2)
    with pytest.raises(ValueError, match=r"has lb of shape \(2,\), but A has 3 rows"):
        slsqp(constraint)


@pytest.mark.parametrize(
    ("fun", "sentence"),
    [
        (lambda x: None, r"the function of constraints\[0\] returned None"),
        (lambda x: "a", r"dtype string|not a tensor"),
        (lambda x: x[0] > 0.0, "returned a comparison"),
        (lambda x: tf.cast(x, tf.int32), "dtype int32: return real ones"),
        (lambda x: 1, "dtype int32: return real ones"),
        (lambda x: tf.cast(x, tf.complex128), "dtype complex128: return real ones"),
        (lambda x: tf.cast(x, tf.float16), "dtype float16: return real ones"),
        (lambda x: tf.boolean_mask(x, x > 0.0), "not static"),
        (lambda x: [x, x[0]], "not a tensor"),
        (lambda x: np.sum(np.asarray(x)), "a function for NumPy arrays, but it gets tensors"),
        (lambda x: np.sin(x), "a function for NumPy arrays, but it gets tensors"),
        (lambda x: x.sum(), "a function for NumPy arrays, but it gets tensors .*has no attribute 'sum'"),
    ],
)
def test_unusable_function_of_a_constraint_is_an_error(fun: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        slsqp([{"type": "ineq", "fun": fun}])


class OwnError(Exception):
    """An exception from user code."""


@pytest.mark.parametrize("error", [OwnError("mine"), AttributeError("mine"), NotImplementedError("mine")])
def test_exception_in_a_constraint_comes_through(error: Exception) -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        raise error

    with pytest.raises(type(error), match="mine"):
        slsqp({"type": "ineq", "fun": fun})


def test_error_of_a_running_constraint_comes_through_and_leaves_variables_untouched() -> None:
    v = tf.Variable([2.0, 3.0])

    def fun() -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_greater(v[0], 1.5, message="v0 is too small")]):
            return v[0] - 1.0

    with pytest.raises(tf.errors.InvalidArgumentError, match="v0 is too small"):
        slsqp({"type": "ineq", "fun": fun}, fun=lambda: tf.reduce_sum(v**2), x0=v)
    np.testing.assert_array_equal(v.numpy(), [2.0, 3.0])


def test_constraint_that_writes_an_optimised_variable_is_an_error() -> None:
    v = tf.Variable([1.0, 1.0], name="weights")

    def fun() -> tf.Tensor:
        v.assign_add([1.0, 1.0])
        return v

    with pytest.raises(ValueError, match="a constraint writes to variable 'weights:0', which is being optimised"):
        slsqp({"type": "ineq", "fun": fun}, fun=lambda: tf.reduce_sum(v**2), x0=v)
    np.testing.assert_array_equal(v.numpy(), 1.0)


def test_constraint_may_write_other_variables() -> None:
    count = tf.Variable(0)

    def fun(x: tf.Tensor) -> tf.Tensor:
        count.assign_add(1)
        return x[0] - 2.0

    result = slsqp({"type": "eq", "fun": fun})
    assert result.success
    assert result.nfev <= count.numpy() <= 2 * result.nfev


def test_keep_feasible_is_a_warning() -> None:
    with pytest.warns(scipy.optimize.OptimizeWarning, match="keep_feasible, which SLSQP ignores"):
        slsqp(LinearConstraint([1, 1, 1], 0, 1, keep_feasible=True))


@pytest.mark.filterwarnings("ignore:.*does not depend on x0:UserWarning")
def test_nothing_to_optimise_is_an_error() -> None:
    with pytest.raises(ValueError, match="neither the loss nor a constraint depends on x0"):
        slsqp({"type": "ineq", "fun": lambda x: 1.0}, fun=lambda x: 1.0)
    with pytest.raises(ValueError, match="the loss does not depend on x0"):
        slsqp((), fun=lambda x: 1.0)


def test_constant_loss_finds_a_feasible_point() -> None:
    result = slsqp({"type": "eq", "fun": lambda x: x - [1.0, 2.0, 3.0]}, fun=lambda x: 1.0)
    np.testing.assert_allclose(result.x, [1, 2, 3], atol=1e-6)
    result = slsqp(LinearConstraint(np.eye(3), [1, 2, 3], [1, 2, 3]), fun=lambda x: 1.0)
    np.testing.assert_allclose(result.x, [1, 2, 3], atol=1e-6)


def test_component_that_nothing_depends_on_is_a_warning() -> None:
    v, w = tf.Variable(0.0), tf.Variable(0.0, name="idle")
    with pytest.warns(UserWarning, match="Neither the loss nor a constraint depends on variable 'idle:0'"):
        slsqp({"type": "ineq", "fun": lambda: v - 1.0}, fun=lambda: v**2, x0=[v, w])


def test_several_lambdas_in_a_line_are_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    fun, constraint = (lambda x: x[0] ** 2 + x[1] ** 2), (lambda x: x[0] + x[1] - 1.0)
    result = slsqp({"type": "eq", "fun": constraint}, fun, np.zeros(2))
    np.testing.assert_allclose(result.x, 0.5, atol=1e-6)
    assert "AutoGraph" not in caplog.text


def test_lambda_with_control_flow_is_still_converted() -> None:
    result = slsqp({"type": "ineq", "fun": lambda x: x[0] - 2.0 if x[0] < 3.0 else x[1]})
    np.testing.assert_allclose(result.x, [2, 1, 1], atol=1e-6)


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA", "trust-constr"])
@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"fun": bowl}, "the constraint has no 'type'"),
        ([{"type": "ineq", "fun": bowl}, {"type": "eq"}], r"constraints\[1\] has no 'fun'"),
        ({"type": "neq", "fun": bowl}, "the constraint has the type 'neq'"),
        ({"type": 3, "fun": bowl}, "the constraint has the type 3"),
        ("x > 0", "the constraint is 'x > 0': give a dict"),
        (3, "constraints is 3: give a dict"),
        (scipy.optimize.Bounds(0, 1), "give bounds as bounds="),
    ],
)
def test_bad_constraint_is_refused_for_scipys_methods_too(method: str, constraints: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tfm.Minimizer(bowl, np.zeros(2), method=method, constraints=constraints)


@pytest.mark.parametrize("method", [None, "SLSQP", "COBYLA", "trust-constr"])
def test_constraints_may_come_from_a_generator_that_is_read_once(method: str | None) -> None:
    constraints = ({"type": "ineq", "fun": lambda x, i=i: 0.25 - x[i] ** 2} for i in range(2))
    solver = tfm.Minimizer(lambda x: tf.reduce_sum((x - 1) ** 2), np.zeros(2), method=method, constraints=constraints)
    for _ in range(2):
        np.testing.assert_allclose(solver.minimize().x, [0.5, 0.5], atol=1e-3)
