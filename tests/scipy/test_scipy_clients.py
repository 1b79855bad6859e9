"""SciPy's global optimisers give the same results with our methods as with SciPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import Bounds, OptimizeResult, rosen, rosen_der

import tfminimize as tfm

METHODS = {"L-BFGS-B": tfm.scipy.lbfgsb, "SLSQP": tfm.scipy.slsqp}
X0 = np.array([-1.2, 1.0, 0.5])
BOX = [(-2.0, 2.0)] * 2


def waves(x: Any) -> float:
    return float(rosen(x) + np.sum(np.cos(3.0 * np.asarray(x))))


def both(name: str, **kwargs: Any) -> tuple[OptimizeResult, OptimizeResult]:
    results = [scipy.optimize.minimize(rosen, X0, jac=rosen_der, method=m, **kwargs) for m in (METHODS[name], name)]
    return results[0], results[1]


def assert_same(ours: OptimizeResult, theirs: OptimizeResult, *fields: str) -> None:
    for field in fields or ("nit", "nfev", "njev", "status", "message", "success"):
        assert ours[field] == theirs[field], field
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-3)  # flat valleys


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("options", [{"maxiter": 0}, {"maxiter": -1}, {"maxiter": 1}], ids=str)
def test_no_iterations_are_as_many_as_scipy_makes(name: str, options: dict[str, Any]) -> None:
    assert_same(*both(name, options=options))


@pytest.mark.parametrize("maxfun", [0, -3])
def test_no_evaluations_are_as_many_as_scipy_makes(maxfun: int) -> None:
    assert_same(*both("L-BFGS-B", options={"maxfun": maxfun}))


def test_callback_is_called_once_for_maxiter_0() -> None:
    seen: list[Any] = []
    tfm.scipy.fmin_l_bfgs_b(rosen, X0, rosen_der, maxiter=0, callback=seen.append)
    assert len(seen) == 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "bounds",
    [
        [(np.nan, 2.0)] * 3,
        [(-2.0, np.nan), (None, None), (-2.0, 2.0)],
        Bounds(-0.5, np.nan),
        [(-2.0, 2.0)],
        Bounds([0.0], [0.5]),
        [(np.array([-0.5]), np.array(0.5))] * 3,
        np.array([[-0.5, 0.5]] * 3, dtype=object),
    ],
    ids=str,
)
def test_bounds_mean_what_they_mean_to_scipy(name: str, bounds: Any) -> None:
    ours, theirs = both(name, bounds=bounds)
    assert_same(ours, theirs, "status", "success")
    assert ours.fun == pytest.approx(theirs.fun, abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_bounds_may_be_an_iterator(name: str) -> None:
    ours, theirs = (
        scipy.optimize.minimize(rosen, X0, jac=rosen_der, method=m, bounds=iter([(-2.0, 0.5)] * 3))
        for m in (METHODS[name], name)
    )
    assert_same(ours, theirs, "status")


@pytest.mark.parametrize("method", METHODS.values())
def test_wrong_bounds_are_named(method: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"lower bound for x0\[1\] is greater"):
        scipy.optimize.minimize(rosen, X0, method=method, bounds=[(0, 1), (1, 0), (0, 1)])
    with pytest.raises(ValueError, match="entry 1 of the bounds for x0 is 3"):
        scipy.optimize.minimize(rosen, X0, method=method, bounds=[(0, 1), 3, (0, 1)])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("sampling", ["simplicial", "sobol"])
@pytest.mark.parametrize("constrained", [False, True])
def test_shgo_finds_the_same_with_equally_many_evaluations(name: str, sampling: str, constrained: bool) -> None:
    constraints = {"type": "ineq", "fun": lambda x: x[0] + x[1]} if constrained else ()

    def found(method: Any) -> OptimizeResult:
        return scipy.optimize.shgo(
            waves, BOX, n=32, constraints=constraints, minimizer_kwargs={"method": method}, sampling_method=sampling
        )

    assert_same(found(METHODS[name]), found(name), "nfev", "nit", "success")


@pytest.mark.parametrize("name", METHODS)
def test_basinhopping_and_dual_annealing_find_the_same(name: str) -> None:
    def hop(method: Any) -> OptimizeResult:
        kwargs = {"method": method, "bounds": BOX}
        return scipy.optimize.basinhopping(waves, [1.0, 1.0], niter=3, rng=1, minimizer_kwargs=kwargs)

    def anneal(method: Any) -> OptimizeResult:
        kwargs = {"method": method, "bounds": BOX}
        return scipy.optimize.dual_annealing(waves, BOX, maxiter=10, rng=1, minimizer_kwargs=kwargs)

    assert_same(hop(METHODS[name]), hop(name), "nfev", "nit", "success")
    assert_same(anneal(METHODS[name]), anneal(name), "nfev", "nit", "success")
