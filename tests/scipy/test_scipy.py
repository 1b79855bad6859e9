from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import Bounds, OptimizeResult, OptimizeWarning, rosen, rosen_der

import tfminimize as tfm

X0 = np.array([-1.2, 1.0, -1.2, 1.0, -1.2])


def both(fun: Any = rosen, x0: Any = X0, **kwargs: Any) -> tuple[OptimizeResult, OptimizeResult]:
    theirs = scipy.optimize.minimize(fun, x0, method="L-BFGS-B", **kwargs)
    ours = scipy.optimize.minimize(fun, x0, method=tfm.scipy.lbfgsb, **kwargs)
    return ours, theirs


def assert_same_path(ours: OptimizeResult, theirs: OptimizeResult) -> None:
    for field in ("nit", "nfev", "njev", "status", "message", "success"):
        assert ours[field] == theirs[field], field
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.fun, theirs.fun, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"jac": rosen_der},
        {"jac": rosen_der, "bounds": [(-2, 0.5)] * 5},
        {"jac": rosen_der, "bounds": Bounds(-0.5, [np.inf, 1, 1, 1, 0.2])},
        {"jac": rosen_der, "options": {"maxiter": 3}},
        {"jac": rosen_der, "options": {"maxfun": 5}},
        {"jac": rosen_der, "options": {"maxcor": 3, "maxls": 5}},
        {"jac": rosen_der, "options": {"ftol": 0, "gtol": 1e-3}},
        {"jac": rosen_der, "tol": 1e-3},
        {"jac": rosen_der, "bounds": [(-2, 2), (0.5, 0.5), (-2, 2), (1, 1), (-2, 2)]},
    ],
    ids=", ".join,
)
def test_custom_method_takes_scipys_path(kwargs: dict[str, Any]) -> None:
    assert_same_path(*both(**kwargs))


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"bounds": [(-2, 0.5)] * 5},
        {"bounds": [(-2, 2), (0.5, 0.5), (-2, 2), (1, 1), (-2, 2)]},
        {"options": {"maxfun": 5}},
        {"options": {"eps": 1e-6}},
    ],
    ids=str,
)
def test_finite_differences_are_scipys(kwargs: dict[str, Any]) -> None:
    # On a convex quadratic: elsewhere the noise of differences turns rounding into another path.
    ours, theirs = both(lambda x: (np.arange(1, 6) * (x - 1) ** 2).sum(), np.zeros(5), **kwargs)
    assert_same_path(ours, theirs)


def test_all_variables_fixed_returns_at_once_as_scipy() -> None:
    ours, theirs = both(bounds=[(0.5, 0.5)] * 5)
    for field in ("nfev", "njev", "message", "success", "fun"):
        assert ours[field] == theirs[field], field
    np.testing.assert_array_equal(ours.x, theirs.x)


def test_jac_true_evaluates_loss_and_gradient_together() -> None:
    calls = 0

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return rosen(x), rosen_der(x)

    result = scipy.optimize.minimize(fun, X0, jac=True, method=tfm.scipy.lbfgsb)
    assert calls == result.nfev


def test_args_are_passed() -> None:
    result = scipy.optimize.minimize(
        lambda x, a: ((x - a) ** 2).sum(), np.zeros(2), args=(3.0,), method=tfm.scipy.lbfgsb
    )
    np.testing.assert_allclose(result.x, 3.0, atol=1e-6)


def test_gradient_in_float32_is_widened() -> None:
    result = scipy.optimize.minimize(
        lambda x: np.float32(x @ x), X0, jac=lambda x: (2 * x).astype(np.float32), method=tfm.scipy.lbfgsb
    )
    assert result.jac.dtype == np.float64


def test_callback_gets_a_copy_of_each_iterate() -> None:
    iterates: list[np.ndarray] = []
    ours = scipy.optimize.minimize(rosen, X0, jac=rosen_der, method=tfm.scipy.lbfgsb, callback=iterates.append)
    theirs: list[np.ndarray] = []
    scipy.optimize.minimize(rosen, X0, jac=rosen_der, method="L-BFGS-B", callback=theirs.append)
    assert len(iterates) == ours.nit
    np.testing.assert_allclose(iterates[:10], theirs[:10], rtol=1e-8)


def test_callback_by_intermediate_result_can_stop() -> None:
    def callback(intermediate_result: OptimizeResult) -> None:
        assert intermediate_result.fun == rosen(intermediate_result.x)
        raise StopIteration

    ours, theirs = both(jac=rosen_der, callback=callback)
    assert ours.status == 99
    assert_same_path(ours, theirs)


def test_callback_sees_fixed_variables_too() -> None:
    seen: list[np.ndarray] = []
    bounds = [(-2, 2), (0.5, 0.5), (-2, 2), (1, 1), (-2, 2)]
    scipy.optimize.minimize(rosen, X0, method=tfm.scipy.lbfgsb, bounds=bounds, callback=seen.append)
    assert all(x[1] == 0.5 and x[3] == 1.0 for x in seen)


def test_exception_in_the_function_comes_through() -> None:
    def fun(x: np.ndarray) -> float:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        scipy.optimize.minimize(fun, X0, jac=rosen_der, method=tfm.scipy.lbfgsb)


def test_unknown_option_is_scipys_warning() -> None:
    with pytest.warns(OptimizeWarning, match="Unknown solver options: frobnicate"):
        tfm.scipy.lbfgsb(rosen, X0, jac=rosen_der, frobnicate=1)


@pytest.mark.parametrize("method", [tfm.scipy.lbfgsb, tfm.scipy.slsqp])
def test_warning_points_at_the_callers_line(method: Any) -> None:
    with pytest.warns(OptimizeWarning, match="frobnicate") as caught:
        scipy.optimize.minimize(rosen, X0, jac=rosen_der, method=method, options={"frobnicate": 1})
    assert caught[0].filename == __file__


def test_disp_is_deprecated_as_in_scipy() -> None:
    with pytest.warns(DeprecationWarning, match="disp and iprint"):
        tfm.scipy.lbfgsb(rosen, X0, jac=rosen_der, disp=True)


def test_constraints_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"use tfminimize\.scipy\.slsqp"):
        tfm.scipy.lbfgsb(rosen, X0, constraints=[{"type": "eq", "fun": lambda x: x[0]}])


def test_result_names_the_backend() -> None:
    result = tfm.scipy.lbfgsb(rosen, X0, jac=rosen_der)
    assert result.backend == "host"
    assert result.timing["evaluate"] > 0


def test_hess_inv_satisfies_the_secant_equation_of_the_newest_pair() -> None:
    result = tfm.scipy.lbfgsb(rosen, np.resize([-1.2, 1.0], 20), jac=rosen_der, maxcor=5)
    assert result.hess_inv.n_corrs == 5
    np.testing.assert_allclose(result.hess_inv @ result.hess_inv.yk[-1], result.hess_inv.sk[-1], rtol=1e-8, atol=1e-12)


def test_fmin_has_scipys_parameters() -> None:
    ours = inspect.signature(tfm.scipy.fmin_l_bfgs_b).parameters
    theirs = inspect.signature(scipy.optimize.fmin_l_bfgs_b).parameters
    assert [name for name in ours if name in theirs] == list(theirs)
    assert ours.keys() - theirs.keys() <= {"disp", "iprint"}  # SciPy 1.18 has removed these two
    for name in ("args", "bounds", "m", "factr", "pgtol", "epsilon", "maxfun", "maxiter", "callback", "maxls"):
        assert ours[name].default == theirs[name].default, name


@pytest.mark.parametrize(
    "kwargs",
    [
        {"fprime": rosen_der},
        {"fprime": rosen_der, "bounds": [(-2, 0.5)] * 5, "m": 5, "factr": 10.0, "pgtol": 1e-8},
        {"fprime": rosen_der, "maxiter": 2},
        {"fprime": rosen_der, "maxfun": 5, "maxls": 10},
    ],
    ids=", ".join,
)
def test_fmin_returns_scipys_tuple(kwargs: dict[str, Any]) -> None:
    x, f, d = tfm.scipy.fmin_l_bfgs_b(rosen, X0, **kwargs)
    their_x, their_f, their_d = scipy.optimize.fmin_l_bfgs_b(rosen, X0, **kwargs)
    np.testing.assert_allclose(x, their_x, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(f, their_f, rtol=1e-5, atol=1e-10)
    assert set(d) == set(their_d)
    for field in ("task", "funcalls", "nit", "warnflag"):
        assert d[field] == their_d[field], field


def test_fmin_approximates_the_gradient() -> None:
    ours = tfm.scipy.fmin_l_bfgs_b(lambda x: x @ x, X0, approx_grad=True)
    theirs = scipy.optimize.fmin_l_bfgs_b(lambda x: x @ x, X0, approx_grad=True)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-7)
    assert ours[2]["funcalls"] == theirs[2]["funcalls"]


def test_fmin_with_loss_and_gradient_in_one() -> None:
    _, _, d = tfm.scipy.fmin_l_bfgs_b(lambda x: (rosen(x), rosen_der(x)), X0)
    _, _, their_d = scipy.optimize.fmin_l_bfgs_b(lambda x: (rosen(x), rosen_der(x)), X0)
    assert d["funcalls"] == their_d["funcalls"]


def test_fmin_reports_a_stop_by_callback_as_scipy() -> None:
    def callback(xk: np.ndarray) -> None:
        raise StopIteration

    _, _, ours = tfm.scipy.fmin_l_bfgs_b(rosen, X0, rosen_der, callback=callback)
    _, _, theirs = scipy.optimize.fmin_l_bfgs_b(rosen, X0, rosen_der, callback=callback)
    assert (ours["warnflag"], ours["task"]) == (theirs["warnflag"], theirs["task"])


def test_infinite_loss_is_no_success() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result = tfm.scipy.lbfgsb(lambda x: np.inf, X0, jac=lambda x: np.zeros(5))
    assert not result.success


def test_gradient_of_the_wrong_sign_is_no_success() -> None:
    result = tfm.scipy.lbfgsb(lambda x: float(x @ x), X0, jac=lambda x: -2 * x)
    assert not result.success
