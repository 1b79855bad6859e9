"""`tfm.scipy.patched` puts our solvers in the place of SciPy's."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import minimize as imported_before
from scipy.optimize import rosen, rosen_der

import tfminimize as tfm
from tfminimize._scipy import private

X0 = np.array([-1.2, 1.0, 0.5])
METHODS = ("L-BFGS-B", "SLSQP", "BFGS")


def rosen_and_der(x: Any) -> tuple[float, Any]:
    return rosen(x), rosen_der(x)


def held_by_scipy() -> list[Any]:
    return [getattr(module, name) for module, name in private.SOLVERS]


def is_ours(result: Any) -> bool:
    return result.get("backend") == "host"


@pytest.fixture(autouse=True)
def scipy_holds_its_own_afterwards() -> Any:
    before = held_by_scipy()
    yield
    assert held_by_scipy() == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "jac",
    [None, False, True, rosen_der, "2-point", "3-point", "cs"],
    ids=lambda jac: getattr(jac, "__name__", str(jac)),
)
def test_named_method_is_ours_with_every_jac(method: str, jac: Any) -> None:
    fun = rosen_and_der if jac is True else rosen
    theirs = scipy.optimize.minimize(fun, X0, jac=jac, method=method)
    with tfm.scipy.patched():
        ours = imported_before(fun, X0, jac=jac, method=method.lower())
    assert is_ours(ours)
    assert not is_ours(theirs)
    assert ours.status == theirs.status
    if jac is True or callable(jac):  # rounding decides about steps from differences
        assert (ours.nit, ours.nfev, ours.njev) == (theirs.nit, theirs.nfev, theirs.njev)
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-4)


@pytest.mark.parametrize(
    ("chosen", "given"),
    [
        ({}, {}),
        ({"bounds": [(0.0, 0.5)] * 3}, {}),
        ({"constraints": {"type": "ineq", "fun": lambda x: 1.0 - x @ x}}, {"options": {"ftol": 1e-9}}),
        ({"bounds": [(0.0, 0.5), (1.0, 1.0), (None, None)]}, {}),
        ({"bounds": scipy.optimize.Bounds([0.0, 1.0, -np.inf], [0.5, 1.0, np.inf])}, {"method": "SLSQP"}),
        ({}, {"method": "BFGS", "jac": rosen_der, "options": {"hess_inv0": 0.1 * np.eye(3)}}),
        ({}, {"method": "L-BFGS-B", "tol": 1e-3}),
    ],
    ids=["bfgs", "lbfgsb", "slsqp", "fixed", "fixed slsqp", "hess_inv0", "tol"],
)
def test_method_that_scipy_chooses_is_ours(chosen: dict[str, Any], given: dict[str, Any]) -> None:
    theirs = scipy.optimize.minimize(rosen, X0, **chosen, **given)
    with tfm.scipy.patched():
        ours = scipy.optimize.minimize(rosen, X0, **chosen, **given)
    assert is_ours(ours)
    assert ours.status == theirs.status
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: scipy.optimize.fmin_l_bfgs_b(rosen_and_der, X0, m=5, factr=10.0),
        lambda: scipy.optimize.fmin_l_bfgs_b(rosen, X0, approx_grad=True, bounds=[(0, 2)] * 3),
        lambda: scipy.optimize.fmin_slsqp(rosen, X0, eqcons=[lambda x: x[0] - 0.5], iprint=0, full_output=True),
        lambda: scipy.optimize.fmin_bfgs(rosen, X0, rosen_der, full_output=True, retall=True, disp=False),
        lambda: scipy.optimize.shgo(rosen, [(-2, 2)] * 2, minimizer_kwargs={"method": "L-BFGS-B"}).x,
        lambda: scipy.optimize.basinhopping(rosen, X0, niter=2, rng=1, minimizer_kwargs={"method": "BFGS"}).x,
    ],
    ids=["fmin_l_bfgs_b", "approx_grad", "fmin_slsqp", "fmin_bfgs", "shgo", "basinhopping"],
)
def test_functions_that_call_the_solvers_get_ours(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = call()
    count = 0

    def counted(original: Any) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            return original(*args, **kwargs)

        return method

    module = importlib.import_module("tfminimize._scipy.patched")
    monkeypatch.setattr(module, "_METHODS", {name: counted(method) for name, method in module._METHODS.items()})
    with tfm.scipy.patched():
        ours = call()
    assert count
    first = (lambda found: found[0]) if isinstance(theirs, tuple) else (lambda found: found)
    np.testing.assert_allclose(first(ours), first(theirs), rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_callbacks_see_x_or_the_result_and_can_stop(method: str) -> None:
    def run(is_patched: bool) -> tuple[Any, list[Any], list[Any]]:
        points: list[Any] = []
        values: list[float] = []

        def takes_x(xk: Any) -> None:
            points.append(xk)

        def takes_result(intermediate_result: Any) -> None:
            values.append(intermediate_result.fun)
            if len(values) == 3:
                raise StopIteration

        def solve() -> Any:
            scipy.optimize.minimize(rosen, X0, method=method, jac=rosen_der, callback=takes_x)
            return scipy.optimize.minimize(rosen, X0, method=method, jac=rosen_der, callback=takes_result)

        return (tfm.scipy.patched()(solve) if is_patched else solve)(), points, values

    ours, our_points, our_values = run(True)
    theirs, their_points, their_values = run(False)
    assert len(our_points) == len(their_points)
    assert len(our_values) == len(their_values) == 3
    if method != "SLSQP":  # SciPy's shows the points that the line search tries
        np.testing.assert_allclose(our_points, their_points, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(our_values, their_values, rtol=1e-6)
    assert (ours.status, ours.success, ours.message) == (theirs.status, theirs.success, theirs.message)


def test_blocks_nest_and_an_error_ends_them() -> None:
    @tfm.scipy.patched()
    def fail() -> None:
        with tfm.scipy.patched():
            pass
        assert is_ours(scipy.optimize.minimize(rosen, X0))
        scipy.optimize.minimize(lambda x: 1 / 0, X0)

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not is_ours(scipy.optimize.minimize(rosen, X0))


def test_other_threads_have_scipys_solvers() -> None:
    found: dict[str, bool] = {}
    is_inside, may_end = threading.Event(), threading.Event()

    def inside() -> None:
        with tfm.scipy.patched():
            is_inside.set()
            may_end.wait()
            found["inside"] = is_ours(scipy.optimize.minimize(rosen, X0))

    thread = threading.Thread(target=inside)
    thread.start()
    is_inside.wait()
    found["outside"] = is_ours(scipy.optimize.minimize(rosen, X0))
    with tfm.scipy.patched():
        may_end.set()
        thread.join()
        found["second"] = is_ours(scipy.optimize.minimize(rosen, X0))
    assert found == {"inside": True, "outside": False, "second": True}


def test_other_methods_stay_scipys() -> None:
    with tfm.scipy.patched():
        result = scipy.optimize.minimize(rosen, X0, jac=rosen_der, method="CG")
    assert not is_ours(result)
    assert result.success


def test_compare_still_compares_with_scipy() -> None:
    with tfm.scipy.patched():
        comparison = tfm.compare(lambda x: (x[0] - 1.0) ** 2, np.zeros(1))
        assert is_ours(scipy.optimize.minimize(rosen, X0))
    assert "backend" not in comparison.scipy


def test_scikit_learn_fits_by_our_solver() -> None:
    from sklearn.linear_model import PoissonRegressor

    random = np.random.default_rng(0)
    x = random.normal(size=(50, 2))
    y = random.poisson(np.exp(x @ [0.3, -0.2]))
    theirs = PoissonRegressor(tol=1e-8).fit(x, y)
    with tfm.scipy.patched():
        ours = PoissonRegressor(tol=1e-8).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4)
