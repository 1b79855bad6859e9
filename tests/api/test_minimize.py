from __future__ import annotations

import collections
import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import bowl_at_3, rosenbrock
from scipy.optimize import OptimizeResult

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

X0 = np.array([-1.2, 1.0, -1.2, 1.0])


def test_same_path_as_scipy() -> None:
    ours = tfm.minimize(rosenbrock, X0)
    theirs = scipy.optimize.minimize(scipy.optimize.rosen, X0, jac=scipy.optimize.rosen_der, method="L-BFGS-B")
    for field in ("nit", "nfev", "njev", "status", "message", "success"):
        assert ours[field] == theirs[field], field
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-8)
    np.testing.assert_allclose(ours.jac, theirs.jac, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    "x0",
    [[0.0, 0.0], (0, 0), range(2), np.zeros(2), np.zeros(2, np.int32), tf.zeros(2, tf.float64), tf.constant([0, 0])],
    ids=["floats", "ints", "range", "array", "int array", "tensor", "int tensor"],
)
def test_numbers_arrays_and_tensors_are_float64(x0: Any) -> None:
    result = tfm.minimize(bowl_at_3, x0)
    assert result.x.dtype == np.float64
    np.testing.assert_allclose(result.x, [3.0, 3.0], atol=1e-6)


@pytest.mark.parametrize("x0", [np.zeros(2, np.float32), tf.zeros(2)], ids=["array", "tensor"])
def test_float32_stays_float32(x0: Any) -> None:
    seen = []

    def fun(x: tf.Tensor) -> tf.Tensor:
        seen.append(x.dtype)
        return bowl_at_3(x)

    result = tfm.minimize(fun, x0)
    assert seen == [tf.float32]
    assert result.x.dtype == np.float32
    assert result.jac.dtype == np.float32


@pytest.mark.parametrize("x0", [1.5, np.float64(1.5), tf.constant(1.5, tf.float64)])
def test_scalar_stays_a_scalar(x0: Any) -> None:
    result = tfm.minimize(lambda x: (x - 2.0) ** 2, x0)
    assert result.x.shape == ()
    np.testing.assert_allclose(result.x, 2.0, atol=1e-6)


def test_matrix_keeps_its_shape() -> None:
    result = tfm.minimize(bowl_at_3, np.zeros((2, 3)))
    assert result.x.shape == result.jac.shape == (2, 3)
    assert result.hess_inv.shape == (6, 6)


class Pair(NamedTuple):
    first: Any
    second: Any


@pytest.mark.parametrize(
    "x0",
    [
        {"w": np.zeros((2, 2)), "b": 0.0},
        [np.zeros(2), [np.zeros(1), np.float32(0)]],
        (np.zeros(2), tf.zeros(3)),
        Pair(np.zeros(2), {"deep": 1}),
        {"list of numbers": [1.0, 2.0, 3.0]},
        collections.OrderedDict(b=np.zeros(2), a=np.zeros(1)),
    ],
    ids=str,
)
def test_result_has_the_structure_of_x0(x0: Any) -> None:
    def fun(x: Any) -> tf.Tensor:
        return tf.add_n([tf.cast(bowl_at_3(leaf), tf.float64) for leaf in tf.nest.flatten(x)])

    result = tfm.minimize(fun, x0)
    assert type(result.x) is type(x0)
    for leaf in tf.nest.flatten(result.x):
        assert isinstance(leaf, np.ndarray)
        np.testing.assert_allclose(leaf, 3.0, atol=1e-4)
    tf.nest.assert_same_structure(result.x, result.jac)


def test_function_gets_the_structure_of_x0() -> None:
    def fun(x: dict[str, Any]) -> tf.Tensor:
        return tf.reduce_sum((x["w"] - 1.0) ** 2) + (x["pair"][0] - 2.0) ** 2 + (x["pair"][1][0] - 3.0) ** 2

    result = tfm.minimize(fun, {"w": [0.0, 0.0], "pair": (np.float64(0), np.zeros(1))})
    np.testing.assert_allclose(result.x["w"], 1.0, atol=1e-5)
    np.testing.assert_allclose(result.x["pair"][0], 2.0, atol=1e-5)
    np.testing.assert_allclose(result.x["pair"][1], [3.0], atol=1e-5)


def test_variable_is_assigned_at_the_end() -> None:
    v = tf.Variable([0.0, 0.0])
    result = tfm.minimize(lambda: bowl_at_3(v), v)
    np.testing.assert_allclose(v.numpy(), 3.0, atol=1e-4)
    np.testing.assert_array_equal(result.x, v.numpy())


def test_variables_of_both_dtypes_are_optimised_together() -> None:
    v, w = tf.Variable([0.0, 0.0]), tf.Variable(np.zeros((2, 2)))
    result = tfm.minimize(lambda: tf.cast(bowl_at_3(v), tf.float64) + bowl_at_3(w), {"v": v, "w": w})
    assert (v.dtype, w.dtype) == (tf.float32, tf.float64)
    assert result.x.dtype == np.float64
    np.testing.assert_array_equal(result.x, np.concatenate([v.numpy(), w.numpy().ravel()]))
    np.testing.assert_allclose(result.x, 3.0, atol=1e-4)


def test_variables_are_assigned_when_not_converged() -> None:
    v = tf.Variable(X0)
    result = tfm.minimize(lambda: rosenbrock(v), v, options={"maxiter": 3})
    assert result.status == 1
    assert result.nit == 3
    np.testing.assert_array_equal(result.x, v.numpy())


def test_variables_keep_their_values_during_the_solve() -> None:
    v = tf.Variable(X0)
    seen = []
    tfm.minimize(lambda: rosenbrock(v), v, callback=lambda xk: seen.append((xk, v.numpy())))
    assert all((value == X0).all() for _, value in seen)
    assert not (seen[-1][0] == X0).all()


def test_x0_is_not_changed() -> None:
    x0 = np.full(8, 5.0)
    tfm.minimize(bowl_at_3, x0)
    np.testing.assert_array_equal(x0, 5.0)


def test_variables_read_through_gather_and_traced_functions() -> None:
    v = tf.Variable(np.zeros((4, 2)))

    @tf.function
    def inner() -> tf.Tensor:
        return bowl_at_3(tf.nn.embedding_lookup(v, [1, 2]))

    inner()
    tfm.minimize(lambda: inner() + bowl_at_3(tf.gather(v, [0])), v)
    np.testing.assert_allclose(v.numpy(), [[3, 3], [3, 3], [3, 3], [0, 0]], atol=1e-5)


def test_variables_read_through_gather_by_index_tuples() -> None:
    v = tf.Variable(np.zeros((4, 2)))
    tfm.minimize(lambda: bowl_at_3(tf.gather_nd(v, [[0, 1], [2, 0]])), v)
    np.testing.assert_allclose(v.numpy(), [[0, 3], [0, 0], [3, 0], [0, 0]], atol=1e-5)


def test_other_variables_are_read_as_they_are_at_the_solve() -> None:
    v, target = tf.Variable(0.0), tf.Variable(1.0)

    def fun() -> tf.Tensor:
        return (v - target) ** 2

    tfm.minimize(fun, v)
    target.assign(5.0)
    tfm.minimize(fun, v)
    np.testing.assert_allclose(v.numpy(), 5.0, atol=1e-4)


def test_other_variables_may_be_written() -> None:
    v, counter = tf.Variable(0.0), tf.Variable(0)

    def fun() -> tf.Tensor:
        counter.assign_add(1)
        return (v - 2.0) ** 2

    result = tfm.minimize(fun, v)
    assert counter.numpy() == result.nfev


def test_tape_of_the_user_does_not_see_the_solve() -> None:
    with tf.GradientTape() as tape:
        tfm.minimize(rosenbrock, X0)
    assert tape.watched_variables() == ()


def test_works_inside_a_variable_creator_scope_and_a_strategy() -> None:
    def refuse(next_creator: Any, **kwargs: Any) -> Any:
        raise AssertionError("a variable was made")

    v = tf.Variable(X0)
    with tf.variable_creator_scope(refuse):
        assert tfm.minimize(lambda: rosenbrock(v), v).success
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        assert tfm.minimize(lambda: rosenbrock(v), v).success


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [None, False, True])
@pytest.mark.parametrize("decorated", [False, True])
def test_jit_compile_with_arrays_and_variables(jit_compile: bool | None, decorated: bool) -> None:
    fun = tf.function(rosenbrock, jit_compile=True) if decorated else rosenbrock
    assert tfm.minimize(fun, X0, jit_compile=jit_compile).nit > 10
    v = tf.Variable(X0)
    w = tf.Variable([1.0, 2.0])
    closure = tf.function(lambda: rosenbrock(v) + tf.cast(bowl_at_3(w), tf.float64), jit_compile=decorated or None)
    assert tfm.minimize(closure, [v, w], jit_compile=jit_compile).success
    np.testing.assert_allclose(w.numpy(), 3.0, atol=1e-4)


def test_false_keeps_xla_out_of_a_jit_compiled_function() -> None:
    @tf.function(jit_compile=True)
    def fun(x: tf.Tensor) -> tf.Tensor:
        # XLA has no strings.
        return bowl_at_3(x) + 0.0 * tf.strings.to_number(tf.strings.as_string(x[0]), tf.float64)

    assert tfm.minimize(fun, np.zeros(2), jit_compile=False).success


def test_python_control_flow_is_converted_as_by_tf_function() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0, tf.float64)
        for i in tf.range(2):
            if x[i] > 0:
                total += (x[i] - 2.0) ** 2
            else:
                total += 4.0 - x[i]
        return total

    np.testing.assert_allclose(tfm.minimize(fun, [-1.0, 5.0]).x, 2.0, atol=1e-5)


def test_sparse_gradient_is_made_dense() -> None:
    result = tfm.minimize(lambda x: bowl_at_3(tf.gather(x, [0, 0, 2])), np.zeros(4))
    np.testing.assert_allclose(result.x, [3, 0, 3, 0], atol=1e-5)


def test_loss_of_one_element_counts_as_a_scalar() -> None:
    assert tfm.minimize(lambda x: tf.reshape(bowl_at_3(x), [1, 1]), np.zeros(2)).success


def test_gradient_may_share_memory_with_x() -> None:
    result = tfm.minimize(lambda x: tf.reduce_sum(x * x) / 2.0, np.arange(16.0))
    np.testing.assert_allclose(result.x, 0.0, atol=1e-5)


def test_partial_and_callable_objects_are_functions() -> None:
    class Loss:
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return bowl_at_3(x)

        def method(self, x: tf.Tensor) -> tf.Tensor:
            return bowl_at_3(x)

    partial = functools.partial(lambda x, a: tf.reduce_sum((x - a) ** 2), a=3.0)
    concrete = tf.function(bowl_at_3).get_concrete_function(tf.TensorSpec([2], tf.float64))
    for fun in (Loss(), Loss().method, partial, concrete):
        np.testing.assert_allclose(tfm.minimize(fun, np.zeros(2)).x, 3.0, atol=1e-6)


def test_tol_sets_both_tolerances() -> None:
    loose = tfm.minimize(rosenbrock, X0, tol=1e-1)
    theirs = scipy.optimize.minimize(scipy.optimize.rosen, X0, jac=scipy.optimize.rosen_der, method="L-BFGS-B", tol=0.1)
    assert (loose.nit, loose.nfev, loose.message) == (theirs.nit, theirs.nfev, theirs.message)


@pytest.mark.parametrize("options", [{"maxfun": 5}, {"maxiter": 2}, {"maxcor": 2}, {"maxls": 3}, {"gtol": 1.0}])
def test_options_have_scipys_meaning(options: dict[str, Any]) -> None:
    ours = tfm.minimize(rosenbrock, X0, options=options)
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen, X0, jac=scipy.optimize.rosen_der, method="L-BFGS-B", options=options
    )
    assert (ours.nit, ours.nfev, ours.status, ours.message) == (theirs.nit, theirs.nfev, theirs.status, theirs.message)


def test_unlimited_iterations_may_be_written_as_infinity() -> None:
    assert tfm.minimize(rosenbrock, X0, options={"maxiter": np.inf, "maxfun": 1e9, "maxls": 10**30}).success


def test_maxiter_zero_evaluates_the_start() -> None:
    result = tfm.minimize(rosenbrock, X0, options={"maxiter": 0})
    assert (result.nit, result.nfev, result.status) == (0, 1, 1)
    np.testing.assert_array_equal(result.x, X0)


def test_callback_gets_a_copy_of_x_in_its_structure() -> None:
    seen: list[Any] = []
    result = tfm.minimize(lambda x: rosenbrock(x["a"]), {"a": X0}, callback=seen.append)
    assert len(seen) == result.nit
    np.testing.assert_array_equal(seen[-1]["a"], result.x["a"])
    assert len({float(x["a"][0]) for x in seen}) > 5


def test_callback_by_intermediate_result() -> None:
    seen: list[OptimizeResult] = []

    def callback(intermediate_result: OptimizeResult) -> None:
        seen.append(intermediate_result)

    result = tfm.minimize(rosenbrock, X0, callback=callback)
    assert seen[-1].fun == result.fun
    assert all(a.fun > b.fun for a, b in itertools.pairwise(seen))


def test_stop_iteration_ends_with_status_99_and_assigns() -> None:
    v = tf.Variable(X0)
    count = 0

    def callback(xk: np.ndarray) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise StopIteration

    result = tfm.minimize(lambda: rosenbrock(v), v, callback=callback)
    assert (result.status, result.success, result.nit) == (99, False, 4)
    assert result.message == "`callback` raised `StopIteration`."
    np.testing.assert_array_equal(v.numpy(), result.x)
