from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import tensorflow as tf
from problems import bowl_at_3, rosenbrock

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

X0 = np.array([-1.2, 1.0, -1.2, 1.0])


@pytest.mark.parametrize(
    "method",
    [
        *("Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "TNC", "COBYLA", "COBYQA", "trust-constr"),
        *("dogleg", "trust-ncg", "trust-krylov", "trust-exact"),
    ],
)
def test_other_methods_run_in_scipy_on_the_compiled_function(method: str) -> None:
    seen: list[Any] = []
    result = tfm.minimize(
        lambda x: bowl_at_3(x["a"]) + bowl_at_3(x["b"]),
        {"a": np.zeros(1), "b": 1.0},
        method=method,
        callback=seen.append,
    )
    np.testing.assert_allclose([result.x["a"][0], result.x["b"]], 3.0, atol=2e-3)
    assert result.backend == "tfe"
    assert seen[-1].keys() == {"a", "b"}


def test_other_methods_get_the_gradient() -> None:
    ours = tfm.minimize(rosenbrock, X0, method="BFGS")
    theirs = scipy.optimize.minimize(scipy.optimize.rosen, X0, jac=scipy.optimize.rosen_der, method="BFGS")
    assert ours.njev == theirs.njev
    assert ours.nfev == theirs.nfev


def test_other_methods_assign_variables_and_take_bounds() -> None:
    v = tf.Variable([0.0, 0.0])
    tfm.minimize(lambda: bowl_at_3(v), [v], method="TNC", bounds=[(None, [1.0, 5.0])])
    np.testing.assert_allclose(v.numpy(), [1.0, 3.0], atol=1e-3)


@pytest.mark.parametrize("keep_feasible", [False, True, [True, False]])
def test_keep_feasible_reaches_the_method(keep_feasible: Any) -> None:
    seen: list[Any] = []

    def method(fun: Any, x0: np.ndarray, bounds: scipy.optimize.Bounds, **kwargs: Any) -> scipy.optimize.OptimizeResult:
        seen.append(np.broadcast_to(bounds.keep_feasible, 2).tolist())
        return scipy.optimize.OptimizeResult(x=x0, fun=0.0)

    tfm.minimize(bowl_at_3, np.zeros(2), method=method, bounds=scipy.optimize.Bounds(0, 1, keep_feasible))
    assert seen == [np.broadcast_to(keep_feasible, 2).tolist()]


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA", "trust-constr"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_constraints_of_other_methods_are_tensorflow_functions(method: str, dtype: str) -> None:
    constraint = {"type": "eq", "fun": lambda x, radius: tf.reduce_sum(x**2) - radius**2, "args": (2.0**0.5,)}
    result = tfm.minimize(bowl_at_3, np.full(2, 0.5, dtype), method=method, constraints=constraint)
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-3)
    assert result.constr_violation == pytest.approx(abs(result.x @ result.x - 2.0), abs=1e-6)


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA", "trust-constr"])
def test_constraints_of_other_methods_take_structures(method: str) -> None:
    constraints = [
        {"type": "ineq", "fun": lambda x: 1.0 - x["a"]},
        scipy.optimize.NonlinearConstraint(lambda x: x["a"] + x["b"][:, 0], -np.inf, 2.5),
        scipy.optimize.LinearConstraint([0, 0, 1], -np.inf, 1),
    ]
    start = {"a": 0.0, "b": np.zeros((2, 1))}
    result = tfm.minimize(
        lambda x: bowl_at_3(x["a"]) + bowl_at_3(x["b"]), start, method=method, constraints=constraints, tol=1e-6
    )
    np.testing.assert_allclose(result.x["a"], 1.0, atol=1e-3)
    np.testing.assert_allclose(result.x["b"], [[1.5], [1.0]], atol=1e-3)


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA", "trust-constr"])
def test_constraints_of_other_methods_take_variables(method: str) -> None:
    v, w = tf.Variable([0.0, 0.0]), tf.Variable(0.5, dtype=tf.float64)
    constraints = {"type": "ineq", "fun": lambda: tf.stack([4.0 - tf.reduce_sum(v), 1.0 - tf.cast(w, tf.float32)])}
    result = tfm.minimize(
        lambda: tf.cast(bowl_at_3(v), tf.float64) + bowl_at_3(w),
        [v, w],
        method=method,
        constraints=constraints,
        bounds=[(None, [1.5, None]), None],
    )
    np.testing.assert_allclose([*v.numpy(), w.numpy()], [1.5, 2.5, 1.0], atol=2e-3)
    assert result.constr_violation < 1e-3


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA"])
def test_keep_feasible_of_a_constraint_that_the_method_ignores_is_a_warning(method: str) -> None:
    constraint = scipy.optimize.NonlinearConstraint(lambda x: x, 0, 1, keep_feasible=True)
    with pytest.warns(scipy.optimize.OptimizeWarning, match=f"keep_feasible, which {method} ignores"):
        tfm.minimize(bowl_at_3, np.zeros(2), method=method, constraints=constraint)


def test_keep_feasible_of_a_constraint_holds_in_trust_constr() -> None:
    seen: list[float] = []

    def loss(x: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda value: seen.append(float(value)), [x[0]], [])
        return bowl_at_3(x)

    constraint = scipy.optimize.NonlinearConstraint(lambda x: x, -np.inf, 1, keep_feasible=True)
    tfm.minimize(loss, np.zeros(2), method="trust-constr", constraints=constraint)
    assert max(seen) <= 1.0


def test_sparse_matrices_stay_sparse_without_constraint_functions() -> None:
    matrix = scipy.sparse.csr_array(np.eye(2))
    given = [scipy.optimize.LinearConstraint(matrix, 0, 1)]
    result = tfm.minimize(bowl_at_3, np.zeros(2), method="trust-constr", constraints=given)
    assert scipy.sparse.issparse(result.jac[0])
    given.append(scipy.optimize.NonlinearConstraint(lambda x: x[0] * x[1], -1, 0.25))
    result = tfm.minimize(bowl_at_3, np.zeros(2), method="trust-constr", constraints=given)
    np.testing.assert_allclose(result.x, 0.5, atol=1e-3)


def test_custom_method_gets_the_constraints_in_the_users_forms() -> None:
    def method(fun: Any, x0: np.ndarray, constraints: Any, **kwargs: Any) -> scipy.optimize.OptimizeResult:
        (first, second) = constraints
        assert first["type"] == "eq"
        np.testing.assert_allclose(first["jac"](x0), [[2.0, 4.0]])
        np.testing.assert_allclose(second.fun(x0), [1.0, 2.0])
        return tfm.scipy.slsqp(fun, x0, constraints=constraints, **kwargs)

    constraints = [
        {"type": "eq", "fun": lambda x: tf.reduce_sum(x**2) - 2.0},
        scipy.optimize.NonlinearConstraint(lambda x: x, -5, 5),
    ]
    result = tfm.minimize(bowl_at_3, np.array([1.0, 2.0]), method=method, constraints=constraints)
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-5)


def test_limits_that_do_not_fit_the_values_are_an_error_for_other_methods() -> None:
    constraint = scipy.optimize.NonlinearConstraint(lambda x: x, [0, 0, 0], 1)
    with pytest.raises(ValueError, match=r"lb of shape \(3,\), but its function returns 2 values"):
        tfm.minimize(bowl_at_3, np.zeros(2), method="COBYLA", constraints=constraint)


@pytest.mark.parametrize("method", ["BFGS", "TNC", "Nelder-Mead", "L-BFGS-B", "SLSQP"])
def test_violation_is_reported_by_every_method(method: str) -> None:
    assert tfm.minimize(bowl_at_3, np.zeros(2), method=method).constr_violation == 0.0


def test_violation_is_computed_if_a_custom_method_does_not_report_it() -> None:
    def method(fun: Any, x0: np.ndarray, **kwargs: Any) -> scipy.optimize.OptimizeResult:
        return scipy.optimize.OptimizeResult(x=x0, fun=0.0)

    constraints = [{"type": "ineq", "fun": lambda x: x - 0.5}, scipy.optimize.LinearConstraint([1, 1], 3, 4)]
    result = tfm.minimize(bowl_at_3, np.zeros(2), method=method, bounds=[(0.25, 1)] * 2, constraints=constraints)
    assert result.constr_violation == 3.0


def test_custom_method_of_scipy() -> None:
    ours = tfm.minimize(rosenbrock, X0, method=tfm.scipy.lbfgsb)
    assert ours.nfev == tfm.minimize(rosenbrock, X0).nfev
