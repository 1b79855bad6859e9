"""Functions of arrays are evaluated, differentiated and counted as SciPy does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import Bounds, rosen, rosen_der
from scipy.optimize._numdiff import approx_derivative
from scipy.optimize._optimize import _prepare_scalar_function

import tfminimize as tfm
from tfminimize._scipy.differences import ForwardDifferences
from tfminimize._scipy.evaluation import LossAndGradient

METHODS = {"L-BFGS-B": tfm.scipy.lbfgsb, "SLSQP": tfm.scipy.slsqp, "BFGS": tfm.scipy.bfgs}
WIDE = np.array([-1e20, -3.0, -0.0, 0.0, 1e-300, 0.7, 5.0, 1e20])


def waves(x: Any) -> float:
    return float(np.sum(np.sin(np.asarray(x)) + 0.1 * np.asarray(x) ** 2))


@pytest.mark.parametrize("eps", [None, 1e-8, -1e-6, 0.0, np.geomspace(1e-12, 1.0, 8)], ids=str)
@pytest.mark.parametrize(
    "bounds",
    [
        (-np.inf, np.inf),
        (np.full(8, -np.inf), WIDE),
        (WIDE, np.full(8, np.inf)),
        (WIDE - np.array([1e10, 1e-9, 1e-9, 1.0, 1.0, 1e-12, 0.0, 1e10]), WIDE + 1e-9),
    ],
    ids=["none", "at the upper", "at the lower", "narrow"],
)
@pytest.mark.parametrize("fun", [waves, lambda x: np.stack([np.cos(x).sum(), x[0] - x[-1], x[2] * x[5]])])
def test_forward_differences_have_the_bits_of_scipys(eps: Any, bounds: Any, fun: Any) -> None:
    step = {"rel_step": None} if eps is None else {"abs_step": eps}
    theirs = approx_derivative(fun, WIDE, method="2-point", bounds=bounds, **step)
    ours = ForwardDifferences(eps, bounds).derivative(fun, WIDE, fun(WIDE))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_differences_of_less_precise_values_are_scipys(dtype: str) -> None:
    def fun(x: Any) -> Any:
        return np.asarray(waves(x) * 1e3, dtype)[()]

    x = np.array([0.3, -2.0])
    differences = ForwardDifferences(None, (-np.inf, np.inf))
    theirs = approx_derivative(fun, x, method="2-point")
    np.testing.assert_array_equal(differences.derivative(fun, x, fun(x)), theirs)


@pytest.mark.parametrize("jac", [rosen_der, None, "2-point"])
def test_calls_are_counted_as_scipy_counts_them(jac: Any) -> None:
    x, other = np.array([1.3, 0.7]), np.array([0.2, -0.0])
    gradient = jac if callable(jac) else ForwardDifferences(None if jac else 1e-8, (-np.inf, np.inf))
    ours = LossAndGradient(rosen, gradient, x, ())
    theirs = _prepare_scalar_function(rosen, x, jac=jac, epsilon=1e-8)
    for name, at in (("fun", x), ("grad", x), ("grad", other), ("fun", -other), ("fun", other), ("fun_and_grad", x)):
        found, expected = getattr(ours, name)(at), getattr(theirs, name)(at)
        for one, that in zip(
            np.atleast_1d(*found) if name == "fun_and_grad" else [found],
            np.atleast_1d(*expected) if name == "fun_and_grad" else [expected],
            strict=True,
        ):
            np.testing.assert_array_equal(one, that)
        assert (ours.nfev, ours.ngev) == (theirs.nfev, theirs.ngev)


@pytest.mark.parametrize("name", METHODS)
def test_function_of_loss_and_gradient_is_called_once_at_each_x(name: str) -> None:
    seen: list[bytes] = []

    def both(x: Any) -> tuple[float, Any]:
        seen.append(x.tobytes())
        return rosen(x), rosen_der(x)

    result = scipy.optimize.minimize(both, [1.3, 0.7, 0.2], jac=True, method=METHODS[name])
    assert len(seen) == len(set(seen)) == result.nfev
    apart = scipy.optimize.minimize(rosen, [1.3, 0.7, 0.2], jac=rosen_der, method=METHODS[name])
    np.testing.assert_array_equal(result.x, apart.x)
    assert (result.nit, result.nfev, result.njev) == (apart.nit, apart.nfev, apart.njev)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("jac", [None, True, "2-point"])
def test_functions_may_change_and_keep_their_x(name: str, jac: Any) -> None:
    kept: list[Any] = []

    def spoiling(x: Any) -> Any:
        value, gradient = rosen(x), rosen_der(x)
        kept.append(x)
        x[:] = np.nan
        return (value, gradient) if jac is True else value

    def plain(x: Any) -> Any:
        return (rosen(x), rosen_der(x)) if jac is True else rosen(x)

    spoilt, clean = (
        scipy.optimize.minimize(fun, [1.3, 0.7], jac=jac, method=METHODS[name]) for fun in (spoiling, plain)
    )
    np.testing.assert_array_equal(spoilt.x, clean.x)
    assert len({id(x) for x in kept}) == len(kept)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("convert", [lambda f: np.array([f]), lambda f: np.array([[f]]), np.array, np.float64])
def test_loss_may_be_an_array_of_one_element(name: str, convert: Any) -> None:
    results = [
        scipy.optimize.minimize(lambda x: convert(rosen(x)), [1.3, 0.7], jac=jac, method=METHODS[name])
        for jac in (rosen_der, None)
    ]
    assert all(result.success for result in results)
    assert all(type(result.fun) is np.float64 for result in results)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("jac", [rosen_der, None])
def test_loss_that_is_no_scalar_is_refused_in_scipys_words(name: str, jac: Any) -> None:
    with pytest.raises(ValueError, match="must return a scalar value"):
        scipy.optimize.minimize(lambda x: x, [1.3, 0.7], jac=jac, method=METHODS[name])


@pytest.mark.parametrize("name", ["L-BFGS-B", "SLSQP"])
@pytest.mark.parametrize("jac", [None, "2-point", "3-point", rosen_der])
def test_finite_differences_at_bounds_take_scipys_path(name: str, jac: Any) -> None:
    bounds = Bounds([-1.0, 0.2, -np.inf], [0.5, 0.2 + 1e-9, np.inf])
    theirs: list[Any] = []
    ours: list[Any] = []

    def seen(points: list[Any]) -> Any:
        return lambda x: (points.append(x.copy()), rosen(x))[1]

    start = [-1.0, 0.2, 1.0]
    scipy.optimize.minimize(seen(theirs), start, jac=jac, method=name, bounds=bounds, options={"maxiter": 2})
    METHODS[name](seen(ours), start, jac=jac, bounds=bounds, maxiter=2)  # SciPy passes no name of a jac on
    np.testing.assert_allclose(ours, theirs, atol=1e-6)  # SLSQP solves its subproblems in other ways


@pytest.mark.parametrize("fmin", [tfm.scipy.fmin_l_bfgs_b, tfm.scipy.fmin_slsqp])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_older_functions_want_a_pair_of_bounds_for_each_element(fmin: Any, count: int) -> None:
    with pytest.raises(ValueError, match=f"bounds has {count} entries, but x0 has 3 elements"):
        fmin(rosen, [1.3, 0.7, 0.2], bounds=[(0.0, 1.0)] * count)
