"""SciPy's methods that take second derivatives, with those of TensorFlow: they take SciPy's path with exact ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import bowl, rosenbrock
from scipy.optimize import NonlinearConstraint, rosen, rosen_der, rosen_hess, rosen_hess_prod

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

PRODUCTS = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"]
WHOLE = ["trust-exact", "dogleg"]
X0 = np.array([1.1, 1.2, 1.4])
"""The Hessian is positive definite along SciPy's path by dogleg from here."""
COUNTS = ("nit", "nfev", "njev", "nhev", "status", "message")


def with_exact_derivatives(method: str, x0: Any = X0, **kwargs: Any) -> Any:
    second = {"hess": rosen_hess} if method in WHOLE else {"hessp": rosen_hess_prod}
    return scipy.optimize.minimize(rosen, x0, jac=rosen_der, method=method, **second, **kwargs)


def assert_same_path(ours: Any, theirs: Any) -> None:
    for field in COUNTS:
        assert ours.get(field) == theirs.get(field), field
    np.testing.assert_allclose(np.ravel(ours.x), theirs.x, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", [*PRODUCTS, *WHOLE])
@pytest.mark.parametrize("jit", [False, True])
def test_path_is_scipys_with_exact_derivatives(method: str, jit: bool) -> None:
    ours = tfm.minimize(rosenbrock, X0, method=method, jit_compile=jit)
    assert_same_path(ours, with_exact_derivatives(method))
    assert ours.backend == ("xla" if jit else "tfe")
    assert "approximates" not in ours.backend_reason


@pytest.mark.parametrize("method", [*PRODUCTS, *WHOLE])
def test_path_of_variables_and_arguments_is_scipys(method: str) -> None:
    head, tail = tf.Variable(X0[:1]), tf.Variable(X0[1:])
    ours = tfm.minimize(
        lambda scale: scale * rosenbrock(tf.concat([head, tail], 0)), [head, tail], args=(1.0,), method=method
    )
    assert_same_path(ours, with_exact_derivatives(method))
    np.testing.assert_array_equal([*head.numpy(), *tail.numpy()], ours.x)


@pytest.mark.parametrize("method", ["trust-ncg", "trust-krylov", "trust-exact"])
def test_path_from_where_the_hessian_is_indefinite_is_scipys(method: str) -> None:
    x0 = np.array([-1.2, 1.0, 0.5, 2.0])
    assert np.linalg.eigvalsh(rosen_hess(x0))[0] < 0
    assert_same_path(tfm.minimize(rosenbrock, x0, method=method), with_exact_derivatives(method, x0))


def test_dogleg_where_the_hessian_is_indefinite_fails_like_scipys() -> None:
    def saddle(x: Any) -> Any:
        return x[0] ** 2 - x[1] ** 2 + x[1] ** 4

    x0 = np.array([1.0, 0.1])
    theirs = scipy.optimize.minimize(
        saddle,
        x0,
        jac=lambda x: np.array([2 * x[0], -2 * x[1] + 4 * x[1] ** 3]),
        hess=lambda x: np.diag([2.0, -2.0 + 12 * x[1] ** 2]),
        method="dogleg",
    )
    assert not theirs.success
    assert_same_path(tfm.minimize(saddle, x0, method="dogleg"), theirs)


@pytest.mark.parametrize("method", [*PRODUCTS, *WHOLE])
@pytest.mark.parametrize("jit", [False, True])
def test_minimum_is_found_in_float32(method: str, jit: bool) -> None:
    def loss(x: Any) -> tf.Tensor:
        return 1.0 + rosenbrock(x["a"])  # 1 hides what is below the precision

    result = tfm.minimize(loss, {"a": X0.astype(np.float32)}, method=method, jit_compile=jit)
    assert result.x["a"].dtype == np.float32
    np.testing.assert_allclose(result.x["a"], 1.0, atol=1e-2)


@pytest.mark.parametrize("method", [*PRODUCTS, *WHOLE])
def test_second_solve_does_not_trace(method: str) -> None:
    traces: list[Any] = []

    def loss(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        traces.append(x)
        return tf.reduce_sum((x - a) ** 4 + (x - a) ** 2)

    tfm.minimize(loss, np.zeros(2), args=(1.0,), method=method)
    count = len(traces)
    result = tfm.minimize(loss, np.ones(2), args=(2.0,), method=method)
    assert len(traces) == count
    np.testing.assert_allclose(result.x, 2.0, atol=1e-3)
    assert result.timing["trace"] == 0.0


def disc(x: Any) -> Any:
    return 1.5 - (x[0] ** 2 + x[1] ** 2 + x[2] ** 2)


def pairs(x: Any) -> tf.Tensor:
    return tf.stack([x[0] * x[1], x[1] * x[2]])


def numpy_pairs() -> NonlinearConstraint:
    def jac(x: Any) -> Any:
        return np.array([[x[1], x[0], 0], [0, x[2], x[1]]])

    def hess(x: Any, v: Any) -> Any:
        return np.array([[0, v[0], 0], [v[0], 0, v[1]], [0, v[1], 0]])

    return NonlinearConstraint(lambda x: np.array([x[0] * x[1], x[1] * x[2]]), -1, [0.2, 0.4], jac, hess)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("bounds", [None, [(-2, 0.5)] * 3])
def test_trust_constr_has_the_hessians_of_constraints(jit: bool, bounds: Any) -> None:
    x0, line = np.array([-1.2, 1.0, 0.5]), scipy.optimize.LinearConstraint([[1, 1, 1]], -5, 5)
    ours = tfm.minimize(
        rosenbrock,
        x0,
        method="trust-constr",
        bounds=bounds,
        constraints=[{"type": "ineq", "fun": disc}, NonlinearConstraint(pairs, -1, [0.2, 0.4]), line],
        jit_compile=jit,
    )
    in_numpy = NonlinearConstraint(disc, 0, np.inf, lambda x: -2 * x, lambda x, v: -2 * v[0] * np.eye(3))
    theirs = with_exact_derivatives("trust-constr", x0, bounds=bounds, constraints=[in_numpy, numpy_pairs(), line])
    assert_same_path(ours, theirs)
    assert [v.shape for v in ours.v] == [v.shape for v in theirs.v]
    assert ours.constr_nhev == theirs.constr_nhev
    assert "approximates" not in ours.backend_reason


@pytest.mark.parametrize("method", ["trust-ncg", "trust-krylov", "trust-exact", "trust-constr"])
@pytest.mark.parametrize("start", [0.01, 3.0])
def test_step_to_where_the_loss_is_nan_makes_the_region_smaller(method: str, start: float) -> None:
    def barrier(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x - tf.math.log(x))

    assert tf.math.is_nan(barrier(tf.constant([-1.0])))
    result = tfm.minimize(barrier, np.array([start, 0.1, 5.0]), method=method)
    assert result.success
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


@pytest.mark.parametrize("value", [1.0, [1.0, 2.0]])
def test_constant_constraint_has_a_hessian_of_zeros(value: Any) -> None:
    constraints = [
        NonlinearConstraint(lambda x: tf.constant(value, tf.float64), 0.0, np.inf),
        NonlinearConstraint(lambda x: tf.reduce_sum(x**2), 1.0, 1.0),
    ]
    with pytest.warns(UserWarning, match="its derivatives are taken as zero"):
        result = tfm.minimize(bowl, X0, method="trust-constr", constraints=constraints)
    np.testing.assert_allclose(result.x @ result.x, 1.0, atol=1e-6)
    assert "approximates" not in result.backend_reason


def test_hessians_of_constraints_take_new_arguments_without_a_trace() -> None:
    traces: list[Any] = []

    def circle(x: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        traces.append(x)
        return tf.reduce_sum(x**2) - radius**2

    def solve(radius: float) -> Any:
        constraint = {"type": "eq", "fun": circle, "args": (radius,)}
        return tfm.minimize(bowl, np.array([0.5, -1.0]), method="trust-constr", constraints=constraint)

    solve(1.0)
    count = len(traces)
    np.testing.assert_allclose(solve(2.0).x, 2.0**0.5, atol=1e-3)
    assert len(traces) == count


def in_numpy(x: tf.Tensor) -> tf.Tensor:
    """Σ (x - 1)⁴ + (x - 1)², with a gradient that TensorFlow cannot differentiate."""

    @tf.custom_gradient
    def loss(x: tf.Tensor) -> Any:
        value = tf.ensure_shape(tf.numpy_function(lambda x: np.sum((x - 1) ** 4 + (x - 1) ** 2), [x], x.dtype), [])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            slope = tf.numpy_function(lambda x: 4 * (x - 1) ** 3 + 2 * (x - 1), [x], x.dtype)
            return upstream * tf.ensure_shape(slope, x.shape)

        return value, gradient

    return loss(x)


@pytest.mark.parametrize("method", ["trust-ncg", "trust-krylov", *WHOLE])
def test_loss_without_second_derivatives_is_an_error(method: str) -> None:
    with pytest.raises(ValueError, match=f"'{method}' needs second derivatives, but there are none .*Python function"):
        tfm.minimize(in_numpy, np.zeros(3), method=method)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-constr"])
def test_methods_that_can_approximate_second_derivatives_say_so(method: str) -> None:
    result = tfm.minimize(in_numpy, np.zeros(3), method=method)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
    assert "SciPy approximates the second derivatives of the loss" in result.backend_reason


@pytest.mark.filterwarnings("ignore:delta_grad == 0.0")  # SciPy's quasi-Newton update
def test_constraint_without_second_derivatives_is_approximated() -> None:
    constraints = [NonlinearConstraint(disc, 0, np.inf), {"type": "ineq", "fun": lambda x: 4.0 - in_numpy(x)}]
    result = tfm.minimize(rosenbrock, np.array([0.5, 0.5, 0.5]), method="trust-constr", constraints=constraints)
    assert result.success
    assert result.constr_violation < 1e-8
    assert result.backend_reason.endswith("approximates the second derivatives of constraints[1]")


@pytest.mark.parametrize("method", [*PRODUCTS, *WHOLE])
def test_loss_over_data_has_second_derivatives(method: str) -> None:
    rng = np.random.default_rng(0)
    inputs, outputs = rng.standard_normal((50, 3)), np.sign(rng.standard_normal(50))

    def logistic(w: tf.Tensor, inputs: Any, outputs: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.math.softplus(-outputs * tf.linalg.matvec(inputs, w)))

    whole = tfm.minimize(lambda w: logistic(w, inputs, outputs), np.zeros(3), method=method)
    batched = tfm.minimize(tfm.DatasetLoss(logistic, (inputs, outputs), batch_size=20), np.zeros(3), method=method)
    assert_same_path(batched, whole)


@pytest.mark.parametrize("method", ["trust-krylov", "trust-exact", "trust-constr"])
@pytest.mark.parametrize("with_callback", [False, True])
def test_interface_has_second_derivatives(method: str, with_callback: bool) -> None:
    losses: list[Any] = []
    v = tf.Variable(X0)
    optimizer = tfm.ScipyOptimizerInterface(lambda: rosenbrock(v), [v], method=method)
    result = optimizer.minimize(loss_callback=(lambda: losses.append(1)) if with_callback else None)
    assert_same_path(result, with_exact_derivatives(method))
    assert bool(losses) == with_callback


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "dogleg"])
@pytest.mark.parametrize("with_callback", [False, True])
def test_interface_has_second_derivatives_of_a_graph(method: str, with_callback: bool) -> None:
    losses: list[Any] = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        head, tail = tf.compat.v1.Variable(X0[:1]), tf.compat.v1.Variable(X0[1:])
        optimizer = tfm.ScipyOptimizerInterface(rosenbrock(tf.concat([head, tail], 0)), [head, tail], method=method)
        session.run(tf.compat.v1.global_variables_initializer())
        result = optimizer.minimize(session, loss_callback=(lambda: losses.append(1)) if with_callback else None)
    assert_same_path(result, with_exact_derivatives(method))
    assert bool(losses) == with_callback


def test_interface_has_second_derivatives_of_constraints() -> None:
    v = tf.Variable(np.array([-1.2, 1.0, 0.5]))
    optimizer = tfm.ScipyOptimizerInterface(
        lambda: rosenbrock(v), [v], inequalities=[lambda: disc(v)], method="trust-constr"
    )
    in_numpy = NonlinearConstraint(disc, 0, np.inf, lambda x: -2 * x, lambda x, v: -2 * v[0] * np.eye(3))
    assert_same_path(
        optimizer.minimize(), with_exact_derivatives("trust-constr", np.array([-1.2, 1.0, 0.5]), constraints=in_numpy)
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", [*PRODUCTS, *WHOLE, "COBYLA", "Nelder-Mead"])
def test_compare_gives_both_sides_the_same_derivatives(method: str) -> None:
    comparison = tfm.compare(rosenbrock, X0, method=method, repeats=1)
    assert comparison.same_status
    assert comparison.nfev_difference == 0
    assert comparison.nit_difference == (None if method == "COBYLA" else 0)
    assert comparison.ours.get("nhev") == comparison.scipy.get("nhev")
    assert method == "COBYLA" or str(comparison.ours.nit) in str(comparison)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["trust-constr", "COBYLA", "COBYQA"])
def test_compare_takes_constraints_of_scipys_methods(method: str) -> None:
    constraints = [{"type": "ineq", "fun": disc}, NonlinearConstraint(pairs, -1, [0.2, 0.4])]
    comparison = tfm.compare(rosenbrock, np.full(3, 0.5), method=method, constraints=constraints, repeats=1)
    assert comparison.same_status
    assert comparison.nfev_difference == 0
    assert comparison.x_difference < 1e-8
