from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import bowl_at_3, rosenbrock

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

X0 = np.array([-1.2, 1.0, -1.2, 1.0])


@pytest.mark.parametrize(
    "method",
    ["Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "TNC", "COBYLA", "COBYQA", "trust-constr"],
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
def test_constraints_of_other_methods_are_numpy_functions_of_one_vector(method: str) -> None:
    constraint = {"type": "eq", "fun": lambda x: x @ x - 2.0}
    result = tfm.minimize(bowl_at_3, np.zeros(2), method=method, constraints=constraint)
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-3)
    assert result.constr_violation == pytest.approx(abs(result.x @ result.x - 2.0), abs=1e-9)


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
