"""Bad arguments are refused with a sentence before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

X0 = np.array([-1.2, 1.0])


@pytest.fixture
def variable() -> tf.Variable:
    return tf.Variable(X0, name="x")


@pytest.mark.parametrize(
    ("fun", "sentence"),
    [
        (lambda x: x, r"shape \(2,\), not that of a scalar"),
        (lambda x: tf.cast(tf.reduce_sum(x), tf.complex128), "dtype complex128"),
        (lambda x: tf.cast(tf.reduce_sum(x), tf.int32), "dtype int32"),
        (lambda x: tf.cast(tf.reduce_sum(x), tf.float16), "dtype float16"),
        (lambda x: None, "returned None"),
        (lambda x: (tf.reduce_sum(x), x), "returned a tuple: return only the loss"),
        (lambda x: "high", "dtype string|not a tensor"),
        (lambda x: tf.boolean_mask(x, x > 0.0), "not static"),
        (lambda x: tf.constant(1.0), "does not depend on x0"),
        (lambda x: 1.0, "does not depend on x0"),
        (lambda x: tf.reduce_sum(tf.stop_gradient(x)), "does not depend on x0"),
    ],
)
def test_unusable_loss_is_an_error(fun: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.minimize(fun, X0)


@pytest.mark.parametrize(
    ("x0", "sentence"),
    [
        ([], "x0 is empty|no elements"),
        ({}, "x0 is empty"),
        (np.zeros(0), "no elements"),
        ([np.nan, 1.0], r"x0\[0\] is nan"),
        (np.array([[0.0, np.inf]]), r"x0\[0, 1\] is inf"),
        ({"a": np.array(np.nan)}, r"x0\['a'\] is nan"),
        (np.zeros(2, complex), "dtype complex128"),
        (np.zeros(2, np.float16), "dtype float16"),
        (np.array(["a"]), "x0 is array.*cannot be optimised"),
        ("ab", "x0 is 'ab', which cannot be optimised"),
        ({"a": 1.0, 2: 2.0}, "keys cannot be sorted"),
        (np.array([True]), "dtype bool"),
        ([[1.0], [1.0, 2.0]], "ragged"),
        (None, "x0 is None, which cannot be optimised: give a number"),
        ({"a": None, "b": 1.0}, r"x0\['a'\] is None"),
        (tf.Module(), "give its trainable_variables"),
    ],
)
def test_unusable_start_is_an_error(x0: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.minimize(lambda x: tf.reduce_sum(x**2), x0)


def test_integer_variable_is_an_error_that_names_it() -> None:
    count = tf.Variable([1, 2], name="count")
    with pytest.raises(ValueError, match="variable 'count:0' has dtype int32"):
        tfm.minimize(lambda: tf.reduce_sum(count), count)


def test_variable_without_static_shape_is_an_error() -> None:
    v = tf.Variable([1.0], shape=tf.TensorShape([None]), name="growing")
    with pytest.raises(ValueError, match=r"'growing:0' has shape .* not static"):
        tfm.minimize(lambda: tf.reduce_sum(v**2), v)


def test_mixture_of_variables_and_arrays_is_an_error(variable: tf.Variable) -> None:
    with pytest.raises(ValueError, match="mixes variables with other values"):
        tfm.minimize(lambda: rosenbrock(variable), [variable, X0])


def test_variable_given_twice_is_an_error(variable: tf.Variable) -> None:
    with pytest.raises(ValueError, match="'x:0' is in x0 twice"):
        tfm.minimize(lambda: rosenbrock(variable), [variable, variable])


def test_nan_in_a_variable_is_an_error_that_names_it() -> None:
    v = tf.Variable([1.0, np.nan], name="weights")
    with pytest.raises(ValueError, match=r"variable 'weights:0'\[1\] is nan"):
        tfm.minimize(lambda: tf.reduce_sum(v**2), v)


def test_loss_that_writes_an_optimised_variable_is_an_error(variable: tf.Variable) -> None:
    def fun() -> tf.Tensor:
        loss = rosenbrock(variable)
        variable.assign_add([1.0, 1.0])
        return loss

    with pytest.raises(ValueError, match="writes to variable 'x:0', which is being optimised"):
        tfm.minimize(fun, variable)
    np.testing.assert_array_equal(variable.numpy(), X0)


def test_write_in_a_nested_function_is_found(variable: tf.Variable) -> None:
    @tf.function
    def step() -> None:
        variable.assign(variable / 2.0)

    def fun() -> tf.Tensor:
        step()
        return rosenbrock(variable)

    with pytest.raises(ValueError, match="writes to variable"):
        tfm.minimize(fun, variable)


def test_disconnected_variable_keeps_its_value_and_gives_one_warning(variable: tf.Variable) -> None:
    idle = tf.Variable([5.0, 6.0], name="idle")
    with pytest.warns(UserWarning, match="does not depend on variable 'idle:0'"):
        solver = tfm.Minimizer(lambda: rosenbrock(variable), [variable, idle])
    result = solver.minimize()  # a second warning would be an error
    assert result.success
    assert result.jac[2:].tolist() == [0.0, 0.0]
    assert idle.numpy().tolist() == [5.0, 6.0]


def test_all_variables_disconnected_is_an_error() -> None:
    v, w = tf.Variable(0.0, name="v"), tf.Variable(0.0, name="w")
    with pytest.raises(ValueError, match="variable 'v:0' or variable 'w:0'"):
        tfm.minimize(lambda: tf.constant(1.0), [v, w])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"maxit": 3}, "no option 'maxit': it knows maxcor, ftol"),
        ({"maxcor": 0}, "maxcor is 0"),
        ({"maxcor": 2.5}, "maxcor is 2.5"),
        ({"maxcor": 2**31}, "maxcor must be at most 1048576"),
        ({"maxcor": 10**30}, "maxcor must be at most 1048576"),
        ({"maxls": 0}, "maxls is 0"),
        ({"ftol": np.nan}, "ftol is nan"),
        ({"ftol": -1.0}, "ftol is -1.0"),
        ({"gtol": "small"}, "gtol is 'small'"),
        ({"maxiter": -1}, "maxiter is -1"),
        ({"maxfun": np.nan}, "maxfun is nan"),
        ({"maxiter": True}, "maxiter is True"),
        ({"eps": 1e-8}, "'eps' has no meaning here: .* finite differences"),
        ({"disp": True}, "'disp' has no meaning here"),
        ([1], r"options is \[1\]"),
    ],
)
def test_unusable_option_is_an_error(options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.minimize(rosenbrock, X0, options=options)


def test_unusable_tol_is_an_error() -> None:
    with pytest.raises(ValueError, match="tol is -1"):
        tfm.minimize(rosenbrock, X0, tol=-1)


@pytest.mark.parametrize("name", ["jac", "hess", "hessp"])
def test_derivatives_from_the_user_are_an_error(name: str) -> None:
    with pytest.raises(TypeError, match=f"takes no {name}=: TensorFlow computes"):
        tfm.minimize(rosenbrock, X0, **{name: True})


def test_derivatives_that_are_none_are_accepted_as_in_scipy() -> None:
    assert tfm.minimize(rosenbrock, X0, jac=None, hess=None, hessp=None).success


def test_unknown_keyword_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'bound'"):
        tfm.minimize(rosenbrock, X0, bound=[(0, 1)] * 2)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"method": "steepest"}, "'steepest' is not known: use one of"),
        ({"method": 3}, "method is 3"),
        ({"method": "BFGS", "bounds": [(0, 1)] * 2}, "cannot handle bounds: use method='L-BFGS-B'"),
        ({"constraints": {"type": "eq", "fun": lambda x: x[0]}}, "'L-BFGS-B' cannot handle constraints: .*SLSQP"),
        ({"callback": 3}, "callback is 3"),
    ],
)
def test_unusable_method_is_an_error(kwargs: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.minimize(rosenbrock, X0, **kwargs)


@pytest.mark.parametrize("value", ["xla", 1, []])
def test_jit_compile_that_is_no_bool_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"jit_compile is .*: give True, False, 'auto' for the faster one, or None"):
        tfm.minimize(rosenbrock, X0, jit_compile=value)


@pytest.mark.parametrize("fun", [None, 3, tf.constant(1.0)])
def test_function_that_is_not_callable_is_an_error(fun: Any) -> None:
    with pytest.raises(ValueError, match="give a function that returns the loss"):
        tfm.minimize(fun, X0)


def test_unhashable_argument_is_an_error() -> None:
    with pytest.raises(ValueError, match="args holds a set, which is neither data"):
        tfm.minimize(lambda x, s: tf.reduce_sum(x**2), X0, args=({1},))


def test_array_of_objects_as_argument_is_an_error() -> None:
    with pytest.raises(ValueError, match="args holds an array of dtype object, which cannot become a tensor"):
        tfm.minimize(lambda x, a: tf.reduce_sum(x**2), X0, args=(np.array([None]),))


def test_errors_come_before_anything_runs(variable: tf.Variable) -> None:
    ran = []

    def fun() -> tf.Tensor:
        ran.append(True)
        return rosenbrock(variable)

    for kwargs in ({"bounds": (1, 0)}, {"options": {"no": 1}}, {"method": "no"}, {"tol": np.nan}, {"callback": 3}):
        with pytest.raises(ValueError):
            tfm.minimize(fun, variable, **kwargs)
    assert not ran


@pytest.mark.usefixtures("functions_run_eagerly")
def test_eager_functions_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="run_functions_eagerly"):
        tfm.minimize(rosenbrock, X0)


def test_minimizer_inside_a_tf_function_is_an_error() -> None:
    @tf.function
    def outer() -> None:
        tfm.Minimizer(rosenbrock, X0)

    with pytest.raises(RuntimeError, match=r"outside of tf\.function"):
        outer()


def test_call_with_variables_inside_a_tf_function_is_an_error(variable: tf.Variable) -> None:
    solver = tfm.Minimizer(lambda: rosenbrock(variable), variable)

    @tf.function
    def outer() -> None:
        solver.minimize()

    with pytest.raises(RuntimeError, match=r"outside of tf\.function"):
        outer()
    np.testing.assert_array_equal(variable.numpy(), X0)
