"""SciPy's methods on losses of float32, on losses that are not finite, and with second derivatives."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock
from scipy.optimize import rosen, rosen_der, rosen_hess_prod

import tfminimize as tfm

METHODS = ["Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "TNC", "COBYLA", "COBYQA", "trust-constr"]
X0 = np.array([-1.2, 1.0, 0.5])


def far(x: tf.Tensor) -> tf.Tensor:
    """A loss with its minimum at (1000, 10000, 1), where neighbouring float32 numbers are 0.001 apart."""
    z = x / tf.constant([1e3, 1e4, 1.0], x.dtype) - 1.0
    return tf.reduce_sum(z**4 + z**2)


def assert_scipys_path(ours: Any, theirs: Any) -> None:
    for field in ("nit", "nfev", "njev", "nhev", "status", "message"):
        assert ours[field] == theirs[field], field


@pytest.fixture(scope="module")
def with_exact_products() -> Any:
    return scipy.optimize.minimize(rosen, X0, jac=rosen_der, hessp=rosen_hess_prod, method="Newton-CG")


@pytest.mark.parametrize("jit", [False, True])
def test_newton_cg_has_exact_products(jit: bool, with_exact_products: Any) -> None:
    ours = tfm.minimize(rosenbrock, X0, method="Newton-CG", jit_compile=jit)
    assert_scipys_path(ours, with_exact_products)
    assert ours.backend == ("xla" if jit else "tfe")
    np.testing.assert_allclose(ours.x, with_exact_products.x, rtol=1e-6)


def test_newton_cg_has_exact_products_of_structures_and_arguments(with_exact_products: Any) -> None:
    def loss(x: Any, scale: Any, shift: Any) -> tf.Tensor:
        whole = tf.concat([[x["head"]], x["tail"]], 0) - shift
        return scale * rosenbrock(whole)

    solver = tfm.Minimizer(
        loss, {"head": X0[0] + 2, "tail": X0[1:] + 2}, args=(1.0, np.full(3, 2.0)), method="Newton-CG"
    )
    assert_scipys_path(solver.minimize(), with_exact_products)
    other = solver.minimize({"head": X0[0], "tail": X0[1:]}, args=(1.0, np.zeros(3)))
    assert_scipys_path(other, with_exact_products)
    assert other.timing["trace"] == 0.0


def test_newton_cg_has_exact_products_of_variables(with_exact_products: Any) -> None:
    head, tail = tf.Variable(X0[:1]), tf.Variable(X0[1:])
    result = tfm.minimize(lambda: rosenbrock(tf.concat([head, tail], 0)), [head, tail], method="Newton-CG")
    assert_scipys_path(result, with_exact_products)
    np.testing.assert_array_equal(np.concatenate([head.numpy(), tail.numpy()]), result.x)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("use", ["array", "variable", "mixed variables"])
def test_newton_cg_finds_the_minimum_in_float32(use: str, jit: bool) -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:
        return rosenbrock(x)

    start = X0.astype(np.float32)
    if use == "array":
        result = tfm.minimize(loss, start, method="Newton-CG", jit_compile=jit)
    else:
        head = tf.Variable(X0[:1] if use == "mixed variables" else start[:1])
        tail = tf.Variable(start[1:])
        result = tfm.minimize(
            lambda: loss(tf.concat([tf.cast(head, tf.float32), tail], 0)),
            [head, tail],
            method="Newton-CG",
            jit_compile=jit,
        )
    assert result.success
    assert result.fun < 1e-6
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


def numpy_bowl(dtype: Any) -> Any:
    """A loss with a gradient that TensorFlow cannot differentiate again."""

    @tf.custom_gradient
    def loss(x: tf.Tensor) -> Any:
        factors = np.array([1.0, 30.0, 1000.0], dtype)
        value = tf.numpy_function(lambda v: np.asarray(np.sum(factors * (v - 3) ** 2), dtype), [x], dtype)
        value.set_shape([])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            slope = tf.numpy_function(lambda v: (2 * factors * (v - 3)).astype(dtype), [x], dtype)
            slope.set_shape([3])
            return upstream * slope

        return value, gradient

    return loss


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_newton_cg_differences_gradients_that_have_none(dtype: Any) -> None:
    loss = numpy_bowl(dtype)
    result = tfm.minimize(lambda x: loss(x), np.array([1.0, 2.0, 0.0], dtype), method="Newton-CG")
    np.testing.assert_allclose(result.x, 3.0, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("with_callback", [False, True])
def test_newton_cg_of_a_graph_finds_the_minimum(dtype: str, with_callback: bool) -> None:
    losses: list[Any] = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.Variable(X0.astype(dtype))
        loss = rosenbrock(v)
        optimizer = tfm.ScipyOptimizerInterface(loss, method="Newton-CG")
        session.run(tf.compat.v1.global_variables_initializer())
        options = {"fetches": [loss], "loss_callback": losses.append} if with_callback else {}
        optimizer.minimize(session, **options)
        np.testing.assert_allclose(session.run(v), 1.0, atol=1e-2)


def test_hessian_of_the_user_is_used_in_newton_cg() -> None:
    v = tf.Variable(X0)
    calls: list[Any] = []

    def hessp(x: Any, p: Any) -> Any:
        calls.append(p)
        return rosen_hess_prod(x, p)

    tfm.ScipyOptimizerInterface(lambda: rosenbrock(v), [v], method="Newton-CG", hessp=hessp).minimize()
    assert calls
    np.testing.assert_allclose(v.numpy(), 1.0, atol=1e-3)


def test_tnc_differences_gradients_with_the_step_of_float32() -> None:
    factors = [1.0, 30.0, 1000.0]

    def bowl(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.constant(factors, x.dtype) * (x - 3.0) ** 2)

    double, single = (tfm.minimize(bowl, np.array([1, 2, 0], d), method="TNC") for d in (np.float64, np.float32))
    assert single.nfev <= 1.2 * double.nfev
    np.testing.assert_allclose(single.x, 3.0, rtol=1e-3)


@pytest.mark.parametrize("method", ["Nelder-Mead", "COBYQA", "TNC"])
def test_success_at_no_minimum_in_float32_is_a_warning(method: str) -> None:
    with pytest.warns(RuntimeWarning, match="stopped with success at a point that is not a minimum") as caught:
        result = tfm.minimize(far, np.array([1.0, 2.0, 3.0], np.float32), method=method)
    assert f"from {result.fun:.6g}" in str(caught[0].message)
    assert caught[0].filename == __file__


def far_in_single(x: tf.Tensor) -> tf.Tensor:
    return far(tf.cast(x, tf.float32))


@pytest.mark.parametrize("method", ["TNC", "Newton-CG", "COBYQA"])
@pytest.mark.parametrize(("loss", "dtype"), [(far, np.float32), (far_in_single, np.float64)], ids=["x", "loss"])
def test_success_that_leaves_one_badly_scaled_term_is_a_warning(method: str, loss: Any, dtype: Any) -> None:
    with pytest.warns(RuntimeWarning, match=r"a point that is not a minimum.*use method='L-BFGS-B'"):
        tfm.minimize(loss, np.array([1.0, 10.0, 5.0], dtype), method=method)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["TNC", "COBYQA"])
@pytest.mark.parametrize(("loss", "dtype"), [(far, np.float32), (far_in_single, np.float64)], ids=["x", "loss"])
@pytest.mark.parametrize("with_callback", [False, True])
def test_success_at_no_minimum_is_a_warning_of_the_interface(
    method: str, loss: Any, dtype: Any, with_callback: bool
) -> None:
    x0 = np.array([1.0, 10.0, 5.0], dtype)
    losses: list[Any] = []
    callback = (lambda: losses.append(1)) if with_callback else None
    v = tf.Variable(x0)
    with pytest.warns(RuntimeWarning, match="a point that is not a minimum"):
        result = tfm.ScipyOptimizerInterface(lambda: loss(v), [v], method=method).minimize(loss_callback=callback)
    assert not with_callback or len(losses) == result.nfev  # the check does not count as an evaluation
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.compat.v1.Variable(x0)
        optimizer = tfm.ScipyOptimizerInterface(loss(v), [v], method=method)
        session.run(tf.compat.v1.global_variables_initializer())
        with pytest.warns(RuntimeWarning, match="a point that is not a minimum"):
            optimizer.minimize(session, loss_callback=callback)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore:delta_grad == 0.0")
def test_fit_in_float32_is_no_warning(method: str, dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = tf.constant(rng.standard_normal((40, 2)), tf.float32)
    outputs = tf.constant(rng.standard_normal(40), tf.float32)

    def squares(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((tf.linalg.matvec(inputs, tf.cast(x, tf.float32)) - outputs) ** 2)

    def logistic(x: tf.Tensor) -> tf.Tensor:
        margins = tf.sign(outputs) * tf.linalg.matvec(inputs, tf.cast(x, tf.float32))
        return tf.reduce_sum(tf.math.softplus(-margins))

    for loss in (squares, logistic):
        tfm.minimize(loss, np.zeros(2, dtype), method=method)  # a warning is an error


WITHOUT_BOUNDS = ("CG", "BFGS", "Newton-CG")


def test_success_in_the_middle_of_a_valley_is_a_warning() -> None:
    with pytest.warns(RuntimeWarning, match="a point that is not a minimum"):
        result = tfm.minimize(rosenbrock, X0.astype(np.float32), method="TNC")
    assert result.fun > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "bounds"),
    [
        *((method, None) for method in METHODS if method != "TNC"),
        *((method, [(-2.0, 1.1)] * 3) for method in METHODS if method not in WITHOUT_BOUNDS),
    ],
)
def test_minimum_in_float32_is_no_warning(method: str, bounds: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "delta_grad == 0.0")  # SciPy's trust-constr, at the end
        tfm.minimize(rosenbrock, X0.astype(np.float32), method=method, bounds=bounds)


@pytest.mark.parametrize("method", ["BFGS", "TNC", "Newton-CG"])
def test_start_near_a_minimum_in_float32_is_no_warning(method: str) -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:
        return 1.0 + rosenbrock(x)

    start = tfm.minimize(loss, X0.astype(np.float32)).x
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfm.minimize(loss, start, method=method)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loss_that_is_not_finite_at_the_start_says_so(method: str, value: float, dtype: Any) -> None:
    result = tfm.minimize(lambda x: tf.reduce_sum(x**2) + value, np.ones(2, dtype), method=method)
    status = 3 if method == "BFGS" and np.isnan(value) else 2
    assert (result.success, result.status, result.nfev, result.nit) == (False, status, 1, 0)
    assert "not finite at the start" in result.message
    np.testing.assert_array_equal(result.x, [1.0, 1.0])


def cliff(x: tf.Tensor) -> tf.Tensor:
    bowl = tf.reduce_sum((x - 3.0) ** 2)
    return tf.where(x[0] > 1.0, tf.constant(-np.inf, x.dtype) * tf.ones_like(bowl), bowl)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_minus_infinity_is_no_success(method: str, dtype: Any) -> None:
    result = tfm.minimize(cliff, np.zeros(2, dtype), method=method)
    assert (result.success, result.status, result.fun) == (False, 2, -np.inf)
    assert "minus infinity" in result.message
    assert result.x[0] > 1.0


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA", "BFGS"])
def test_minus_infinity_is_no_success_of_the_interface(method: str) -> None:
    v = tf.Variable(np.zeros(2))
    optimizer = tfm.ScipyOptimizerInterface(lambda: cliff(v), [v], method=method)
    result = optimizer.minimize(loss_callback=lambda: None)
    assert (result.success, result.status, result.fun) == (False, 2, -np.inf)


def test_custom_methods_see_every_loss() -> None:
    def method(fun: Any, x0: np.ndarray, **kwargs: Any) -> scipy.optimize.OptimizeResult:
        return scipy.optimize.OptimizeResult(x=x0, fun=fun(x0 + 2.0), success=True)

    assert tfm.minimize(cliff, np.zeros(2), method=method).fun == -np.inf
