"""`tfm.scipy.bfgs` and `fmin_bfgs` are SciPy's, for functions of NumPy arrays."""

from __future__ import annotations

import inspect
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import OptimizeResult, OptimizeWarning, rosen, rosen_der

import tfminimize as tfm

X0 = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
INVERSE = np.diag([0.1, 0.2, 0.3, 0.4, 0.5]) + 0.01


def both(fun: Any = rosen, x0: Any = X0, **kwargs: Any) -> tuple[OptimizeResult, OptimizeResult]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        theirs = scipy.optimize.minimize(fun, x0, method="BFGS", **kwargs)
        ours = scipy.optimize.minimize(fun, x0, method=tfm.scipy.bfgs, **kwargs)
    return ours, theirs


def assert_same_path(ours: OptimizeResult, theirs: OptimizeResult) -> None:
    for field in ("nit", "nfev", "njev", "status", "message", "success"):
        assert ours[field] == theirs[field], field
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.fun, theirs.fun, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(ours.hess_inv, theirs.hess_inv, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"tol": 1e-2},
        {"options": {"gtol": 1e-2}},
        {"options": {"norm": 2, "gtol": 1e-3}},
        {"options": {"norm": 1, "gtol": 1e-3}},
        {"options": {"norm": 2.5, "gtol": 1e-3}},
        {"options": {"norm": -np.inf, "gtol": 1e-2}},
        {"options": {"maxiter": 0}},
        {"options": {"maxiter": -1}},
        {"options": {"maxiter": 1}},
        {"options": {"maxiter": 7}},
        {"options": {"maxiter": 2.5}},
        {"options": {"xrtol": 1e-3}},
        {"options": {"c1": 1e-8}},
        {"options": {"c1": 0.1}},
        {"options": {"c2": 1e-2}},
        {"options": {"c1": 0.3, "c2": 0.4}},
        {"options": {"hess_inv0": INVERSE}},
        {"options": {"hess_inv0": INVERSE, "maxiter": 0}},
        {"options": {"hess_inv0": 1e-2 * np.eye(5), "gtol": 1e-8}},
    ],
    ids=", ".join,
)
def test_custom_method_takes_scipys_path(kwargs: dict[str, Any]) -> None:
    assert_same_path(*both(jac=rosen_der, **kwargs))


@pytest.mark.parametrize("x0", [0.0, [3.0], np.array([2, 1])], ids=repr)
def test_any_start_is_a_vector_of_float64_as_in_scipy(x0: Any) -> None:
    def bowl(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float((x - 1) @ (x - 1)), 2 * (x - 1)

    assert_same_path(*both(bowl, x0, jac=True))


@pytest.mark.parametrize("n", [1, 2, 30])
def test_quadratics_of_any_size_take_scipys_path(n: int) -> None:
    weights = np.linspace(1, 3, n)
    assert_same_path(*both(lambda x: (float(x @ (weights * x)), 2 * weights * x), np.linspace(1, 2, n), jac=True))


def quadratic(x: np.ndarray) -> Any:
    # Without cancellation, so that the noise of differences does not turn rounding into another path.
    return (np.arange(1, x.size + 1) * (x - 1) ** 2).sum()


@pytest.mark.parametrize("options", [{}, {"eps": 1e-6}, {"eps": np.linspace(1e-7, 1e-6, 5)}], ids=str)
def test_finite_differences_are_scipys(options: dict[str, Any]) -> None:
    assert_same_path(*both(quadratic, np.zeros(5), options=options))


@pytest.mark.parametrize("jac", ["2-point", "3-point", "cs"])
@pytest.mark.parametrize("step", [None, 1e-6])
def test_relative_differences_are_scipys(jac: str, step: float | None) -> None:
    # SciPy does not pass the names on to a custom method.
    options = {"finite_diff_rel_step": step}
    theirs = scipy.optimize.minimize(quadratic, np.zeros(5), method="BFGS", jac=jac, options=options)
    assert_same_path(tfm.scipy.bfgs(quadratic, np.zeros(5), jac=jac, **options), theirs)


@pytest.mark.skipif("workers" not in inspect.getsource(scipy.optimize._optimize._minimize_bfgs), reason="SciPy 1.15")
def test_workers_evaluate_the_differences() -> None:
    calls = []

    def count(function: Any, points: Any) -> Any:
        calls.append(1)
        return map(function, points)

    assert tfm.scipy.bfgs(quadratic, np.zeros(5), workers=count).success
    assert calls


def test_jac_true_evaluates_loss_and_gradient_together() -> None:
    calls = 0

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return rosen(x), rosen_der(x)

    result = scipy.optimize.minimize(fun, X0, jac=True, method=tfm.scipy.bfgs)
    assert calls == result.nfev == result.njev


def test_args_are_passed() -> None:
    def fun(x: np.ndarray, a: float, b: float) -> Any:
        return ((x - a) ** 2).sum() + b

    def jac(x: np.ndarray, a: float, b: float) -> np.ndarray:
        return 2 * (x - a)

    ours, theirs = both(fun, np.zeros(2), args=(3.0, 1.0), jac=jac)
    assert_same_path(ours, theirs)
    assert ours.fun == pytest.approx(1.0)


def test_functions_may_overwrite_their_x() -> None:
    def spoil(x: np.ndarray) -> float:
        value = rosen(x)
        x[:] = np.nan
        return float(value)

    theirs = scipy.optimize.minimize(rosen, X0, jac=rosen_der, method="BFGS")
    assert_same_path(tfm.scipy.bfgs(spoil, X0, jac=lambda x: rosen_der(x)), theirs)


def test_gradient_in_float32_is_widened() -> None:
    result = tfm.scipy.bfgs(lambda x: np.float32(x @ x), X0, jac=lambda x: (2 * x).astype(np.float32))
    assert result.jac.dtype == result.hess_inv.dtype == np.float64
    assert result.success


@pytest.mark.parametrize(
    ("update", "initial_scale"),
    [("dfp", False), *itertools.product(["ssbfgs", "ssbfgs-ol", "ssbroyden", "ssbroyden1"], [False, True])],
)
def test_relatives_of_bfgs_find_the_minimum_on_paths_of_their_own(update: str, initial_scale: bool) -> None:
    options = {"update": update, "initial_scale": initial_scale, "gtol": 1e-8}
    result = scipy.optimize.minimize(rosen, X0, jac=rosen_der, method=tfm.scipy.bfgs, options=options)
    assert result.success
    np.testing.assert_allclose(result.x, 1.0, atol=1e-7)
    standard = tfm.scipy.bfgs(rosen, X0, jac=rosen_der, gtol=1e-8)
    assert not np.array_equal(result.hess_inv, standard.hess_inv)


def test_inverse_hessian_is_an_array_near_that_of_the_function() -> None:
    result = tfm.scipy.bfgs(rosen, X0, jac=rosen_der, gtol=1e-8)
    assert type(result.hess_inv) is np.ndarray
    np.testing.assert_array_equal(result.hess_inv, result.hess_inv.T)
    np.testing.assert_allclose(result.hess_inv @ scipy.optimize.rosen_hess(result.x), np.eye(5), atol=0.2)


def test_all_iterates_are_returned() -> None:
    ours, theirs = both(jac=rosen_der, options={"return_all": True})
    assert len(ours.allvecs) == ours.nit + 1
    np.testing.assert_allclose(ours.allvecs, theirs.allvecs, rtol=1e-6)
    np.testing.assert_array_equal(ours.allvecs[-1], ours.x)


def test_callback_gets_a_copy_of_each_iterate() -> None:
    iterates: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    result = scipy.optimize.minimize(rosen, X0, jac=rosen_der, method=tfm.scipy.bfgs, callback=iterates.append)
    scipy.optimize.minimize(rosen, X0, jac=rosen_der, method="BFGS", callback=theirs.append)
    assert len(iterates) == result.nit
    np.testing.assert_allclose(iterates, theirs, rtol=1e-6)


@pytest.mark.parametrize("stop_at", [1, 3])
def test_callback_by_intermediate_result_can_stop(stop_at: int) -> None:
    def run(method: Any) -> OptimizeResult:
        count = 0

        def callback(intermediate_result: OptimizeResult) -> None:
            nonlocal count
            assert intermediate_result.fun == rosen(intermediate_result.x)
            count += 1
            if count == stop_at:
                raise StopIteration

        return scipy.optimize.minimize(rosen, X0, jac=rosen_der, method=method, callback=callback)

    ours, theirs = run(tfm.scipy.bfgs), run("BFGS")
    assert (ours.status, ours.nit) == (99, stop_at)
    assert_same_path(ours, theirs)


@pytest.mark.parametrize("name", ["fun", "jac", "callback"])
def test_exception_comes_through(name: str) -> None:
    def fail(*args: Any) -> float:
        raise ZeroDivisionError("mine")

    functions = {"fun": rosen, "jac": rosen_der, "callback": None, name: fail}
    with pytest.raises(ZeroDivisionError, match="mine"):
        tfm.scipy.bfgs(functions["fun"], X0, jac=functions["jac"], callback=functions["callback"])


@pytest.mark.parametrize("kwargs", [{}, {"options": {"maxiter": 3}}], ids=["success", "limit"])
def test_disp_prints_scipys_summary(kwargs: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    options = {"disp": True, **kwargs.get("options", {})}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        both(jac=rosen_der, options=options)
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    messages = [str(w.message) for w in caught if w.category is OptimizeWarning]
    assert messages[: len(messages) // 2] == messages[len(messages) // 2 :]
    assert bool(messages) == bool(kwargs)


def test_bounds_and_constraints_are_errors() -> None:
    with pytest.raises(ValueError, match=r"use tfminimize\.scipy\.lbfgsb"):
        scipy.optimize.minimize(rosen, X0, method=tfm.scipy.bfgs, bounds=[(0, 1)] * 5)
    with pytest.raises(ValueError, match=r"use tfminimize\.scipy\.slsqp"):
        tfm.scipy.bfgs(rosen, X0, constraints={"type": "eq", "fun": lambda x: x[0]})


def test_unknown_option_is_scipys_warning() -> None:
    with pytest.warns(OptimizeWarning, match="Unknown solver options: frobnicate"):
        tfm.scipy.bfgs(rosen, X0, jac=rosen_der, frobnicate=1)


@pytest.mark.parametrize("method", [tfm.scipy.bfgs])
def test_hessian_is_ignored_with_a_warning(method: Any) -> None:
    with pytest.warns(RuntimeWarning, match="hess and hessp are ignored"):
        method(rosen, X0, jac=rosen_der, hess=scipy.optimize.rosen_hess)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hess_inv0": -np.eye(5)}, "positive definite"),
        ({"hess_inv0": np.diag([0.0, 1, 1, 1, 1])}, "positive definite"),
        ({"hess_inv0": np.eye(5) + np.eye(5, k=1)}, "not symmetric"),
        ({"hess_inv0": np.eye(4)}, r"shape \(4, 4\)"),
        ({"hess_inv0": np.ones(5)}, r"shape \(5,\)"),
        ({"hess_inv0": np.full((5, 5), np.nan)}, "finite"),
        ({"hess_inv0": "identity"}, "hess_inv0"),
        ({"c1": 0.5, "c2": 2}, "c1"),
        ({"c1": -0.1, "c2": 0.1}, "c1"),
        ({"c1": 0.2, "c2": 0.1}, "c1"),
        ({"norm": 0}, "norm"),
        ({"norm": "max"}, "norm"),
        ({"xrtol": -1.0}, "xrtol"),
        ({"update": "BFGS2"}, "update"),
        ({"initial_scale": 1}, "initial_scale"),
        ({"maxtime": 0}, "maxtime"),
    ],
    ids=str,
)
def test_bad_option_is_an_error_that_names_it(options: dict[str, Any], sentence: str) -> None:
    calls = []

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        calls.append(x)
        return float(x @ x), 2 * x

    with pytest.raises(ValueError, match=sentence):
        scipy.optimize.minimize(fun, X0, jac=True, method=tfm.scipy.bfgs, options=options)
    assert calls == []


def test_zero_gradient_at_the_start_is_success_without_an_iteration() -> None:
    assert_same_path(*both(lambda x: (0.0, np.zeros_like(x)), X0, jac=True))


@pytest.mark.parametrize(("start", "status"), [([np.nan], 3), ([0.5, np.nan], 3), ([np.inf], 2)])
def test_start_that_is_not_finite_is_no_success(start: list[float], status: int) -> None:
    with np.errstate(invalid="ignore"):
        result = tfm.scipy.bfgs(lambda x: (float(x @ x), 2 * x), start, jac=True)
    assert (result.success, result.status, result.nit) == (False, status, 0)
    np.testing.assert_array_equal(result.x, start)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_function_that_is_not_finite_at_the_start_is_no_success(value: float) -> None:
    result = tfm.scipy.bfgs(lambda x: (value, np.ones_like(x)), X0, jac=True)
    assert (result.success, result.nit, result.nfev) == (False, 0, 1)


def barrier(x: np.ndarray) -> tuple[float, np.ndarray]:
    # Its minimum is at 1 and it is not defined for x <= 0, where the first steps go.
    with np.errstate(invalid="ignore", divide="ignore"):
        return float((x - np.log(x)).sum()), 1 - 1 / x


def overflow(x: np.ndarray) -> tuple[float, np.ndarray]:
    with np.errstate(over="ignore"):
        return float((np.exp(x) - x).sum()), np.exp(x) - 1


@pytest.mark.parametrize(
    ("fun", "start", "minimum"), [(barrier, [30.0, 1e-3], 1.0), (overflow, [-900.0, 0.5], 0.0)], ids=["NaN", "inf"]
)
def test_solve_goes_on_after_a_trial_that_is_not_finite(fun: Any, start: list[float], minimum: float) -> None:
    met = []

    def watched(x: np.ndarray) -> tuple[float, np.ndarray]:
        f, g = fun(x)
        met.append(not np.isfinite(f))
        return f, g

    # The first step has a length of 1, so that a first matrix is needed to go too far.
    result = tfm.scipy.bfgs(watched, start, jac=True, hess_inv0=1e3 * np.eye(2))
    assert any(met)
    assert result.success
    np.testing.assert_allclose(result.x, minimum, atol=1e-4)


def test_function_that_falls_to_minus_infinity_ends_there() -> None:
    with np.errstate(over="ignore"):
        result = tfm.scipy.bfgs(lambda x: -np.exp(-x[0]), [0.0], jac=lambda x: np.exp(-x))
    assert result.fun == -np.inf
    assert not result.success


@pytest.mark.parametrize("n", [1, 2])
def test_update_without_curvature_is_left_out(n: int) -> None:
    # The slopes are so small that the curvature condition holds with y = 0. SciPy then takes 1000 for 1 / yᵀs.
    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(-2.3e-162 * x.sum()), np.full_like(x, -2.3e-162)

    result = tfm.scipy.bfgs(fun, np.zeros(n), jac=True, gtol=0, maxiter=3)
    assert (result.nit, result.num_skipped_updates) == (3, 3)
    np.testing.assert_array_equal(result.hess_inv, np.eye(n))


def test_gradient_of_the_wrong_sign_is_no_success() -> None:
    result = tfm.scipy.bfgs(lambda x: float(x @ x), X0, jac=lambda x: -2 * x)
    assert not result.success
    np.testing.assert_array_equal(result.x, X0)


def test_result_names_the_backend() -> None:
    result = tfm.scipy.bfgs(rosen, X0, jac=rosen_der)
    assert result.backend == "host"
    assert result.timing["evaluate"] > 0
    assert result.timing["solver"] > 0


def test_fmin_has_scipys_parameters_and_defaults() -> None:
    ours = inspect.signature(tfm.scipy.fmin_bfgs).parameters
    theirs = inspect.signature(scipy.optimize.fmin_bfgs).parameters
    assert list(ours) == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name


@pytest.mark.parametrize("retall", [False, True])
@pytest.mark.parametrize("full_output", [False, True])
@pytest.mark.parametrize(
    "kwargs",
    [{"fprime": rosen_der}, {"fprime": rosen_der, "maxiter": 4, "c2": 0.5}, {"f": quadratic, "epsilon": 1e-7}],
    ids=", ".join,
)
def test_fmin_returns_what_scipys_does(kwargs: dict[str, Any], full_output: bool, retall: bool) -> None:
    def run(fmin: Any) -> Any:
        return fmin(**{"f": rosen, "x0": X0, "disp": False, "full_output": full_output, "retall": retall, **kwargs})

    ours, theirs = run(tfm.scipy.fmin_bfgs), run(scipy.optimize.fmin_bfgs)
    assert type(ours) is type(theirs)
    if not isinstance(ours, tuple):
        ours, theirs = (ours,), (theirs,)
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-7)


def test_fmin_prints_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    tfm.scipy.fmin_bfgs(rosen, X0, rosen_der)
    ours = capsys.readouterr().out
    scipy.optimize.fmin_bfgs(rosen, X0, rosen_der)
    assert ours == capsys.readouterr().out


@pytest.mark.parametrize("sampling", ["simplicial", "sobol"])
def test_shgo_finds_the_same_with_equally_many_evaluations(sampling: str) -> None:
    def found(method: Any) -> OptimizeResult:
        return scipy.optimize.shgo(
            lambda x: float(rosen(x)),
            [(-2, 2)] * 2,
            n=16,
            minimizer_kwargs={"method": method},
            sampling_method=sampling,
        )

    ours, theirs = found(tfm.scipy.bfgs), found("BFGS")
    assert ours.success
    assert (ours.nfev, ours.nit) == (theirs.nfev, theirs.nit)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-4)


def test_basinhopping_finds_the_same() -> None:
    def hop(method: Any) -> OptimizeResult:
        return scipy.optimize.basinhopping(quadratic, np.zeros(3), niter=3, rng=1, minimizer_kwargs={"method": method})

    ours, theirs = hop(tfm.scipy.bfgs), hop("BFGS")
    assert ours.nfev == theirs.nfev
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-6)
