from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from packaging.version import Version
from scipy.optimize import (
    Bounds,
    LinearConstraint,
    NonlinearConstraint,
    OptimizeResult,
    OptimizeWarning,
    rosen,
    rosen_der,
)

import tfminimize as tfm

X0 = np.array([-1.2, 1.0, -1.2, 0.3])

# Each is active somewhere near the valley, and none follows from the others.
BALL = {"type": "ineq", "fun": lambda x, r: r - x @ x, "jac": lambda x, r: -2 * x, "args": (2.5,)}
PLANE = {"type": "eq", "fun": lambda x: x[0] + x[1] - 1.2}
SYSTEM = NonlinearConstraint(lambda x: [x[0] ** 2 + x[1], x[2] * x[3], x[0] - x[1]], [-1, 0.5, -0.5], [np.inf, 0.5, 3])
ROWS = LinearConstraint([[1, 1, 1, 1], [1, 0, 0, 2]], [0, -np.inf], [3.5, 2.5])


def both(fun: Any = rosen, x0: Any = X0, **kwargs: Any) -> tuple[OptimizeResult, OptimizeResult]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Values in x were outside bounds", RuntimeWarning)  # SciPy 1.15
        theirs = scipy.optimize.minimize(fun, x0, method="SLSQP", **kwargs)
    ours = scipy.optimize.minimize(fun, x0, method=tfm.scipy.slsqp, **kwargs)
    return ours, theirs


def assert_same_path(ours: OptimizeResult, theirs: OptimizeResult) -> None:
    for field in ("nit", "nfev", "njev", "status", "message", "success"):
        assert ours[field] == theirs[field], field
    # SciPy solves the quadratic subproblem only to some 1e-7, and the valley magnifies that.
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-4)
    np.testing.assert_allclose(ours.fun, theirs.fun, rtol=1e-5, atol=1e-10)
    # Its curvature is about 1,000: if x agrees to 1e-5, jac agrees to 1e-2.
    np.testing.assert_allclose(ours.jac, theirs.jac, rtol=1e-3, atol=1e-2)
    if "multipliers" in theirs:  # since SciPy 1.16
        np.testing.assert_allclose(ours.multipliers, theirs.multipliers, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("constraints", [(), None, [], BALL, PLANE, SYSTEM, ROWS, [SYSTEM, ROWS], [BALL, PLANE]])
@pytest.mark.parametrize("bounds", [None, [(-2, 2)] * 4, Bounds(-1.5, [1.1, np.inf, 2, 0.9])])
def test_custom_method_takes_scipys_path(constraints: Any, bounds: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Equality and inequality constraints are specified", OptimizeWarning)
        assert_same_path(*both(jac=rosen_der, bounds=bounds, constraints=constraints))


@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param(
            {"options": {"maxiter": 3}},
            marks=pytest.mark.skipif(
                Version(scipy.__version__) < Version("1.16"), reason="SciPy 1.15 makes one iteration less."
            ),
        ),
        {"options": {"ftol": 1e-12}},
        {"tol": 1e-2},
        {"bounds": [(-2, 2), (0.5, 0.5), (-2, None), (0.3, 0.3)]},
    ],
    ids=str,
)
def test_options_mean_what_they_mean_in_scipy(kwargs: dict[str, Any]) -> None:
    assert_same_path(*both(jac=rosen_der, constraints=BALL, **kwargs))


def bowl(x: np.ndarray) -> Any:
    # On a convex quadratic: elsewhere the noise of differences turns rounding into another path.
    return (np.arange(1, x.size + 1) * (x - 1) ** 2).sum()


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"constraints": PLANE},
        {"constraints": [BALL, PLANE], "bounds": [(-2, 0.9)] * 4},
        {"constraints": PLANE, "bounds": [(-2, 2), (0.5, 0.5), (-2, 2), (1, 1)]},
        {"constraints": PLANE, "options": {"eps": 1e-6}},
    ],
    ids=", ".join,
)
def test_finite_differences_are_scipys(kwargs: dict[str, Any]) -> None:
    assert_same_path(*both(bowl, np.zeros(4), **kwargs))


@pytest.mark.parametrize("jac", ["2-point", "3-point", "cs"])
@pytest.mark.parametrize("bounds", [None, [(-2, 2), (0.5, 0.5), (-2, 2), (1, 1)]])
def test_relative_differences_are_scipys(jac: str, bounds: Any) -> None:
    # SciPy does not pass the names on to a custom method.
    theirs = scipy.optimize.minimize(bowl, np.zeros(4), method="SLSQP", jac=jac, bounds=bounds, constraints=PLANE)
    assert_same_path(tfm.scipy.slsqp(bowl, np.zeros(4), jac=jac, bounds=bounds, constraints=PLANE), theirs)


def test_differences_stay_within_bounds() -> None:
    bounds = Bounds([0.0, 0.0], [1.0, 1.0])

    def root(x: np.ndarray) -> float:
        assert (bounds.lb <= x).all()
        assert (x <= bounds.ub).all()
        return float(np.sqrt(x[0]) + x[1])

    result = scipy.optimize.minimize(
        lambda x: x[1] ** 2 - x[0] ** 2 + 0 * root(x),
        [0.9, 0.5],
        bounds=bounds,
        constraints=NonlinearConstraint(root, 0, 1.5),
        method=tfm.scipy.slsqp,
    )
    assert result.success


def test_jac_true_evaluates_loss_and_gradient_together() -> None:
    calls = 0

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return rosen(x), rosen_der(x)

    result = scipy.optimize.minimize(fun, X0, jac=True, constraints=BALL, method=tfm.scipy.slsqp)
    assert calls == result.nfev


def test_derivatives_are_evaluated_only_when_used() -> None:
    calls = {"gradient": 0, "jacobian": 0}

    def counted(name: str, value: np.ndarray) -> np.ndarray:
        calls[name] += 1
        return value

    constraint = {**BALL, "jac": lambda x, r: counted("jacobian", -2 * x)}
    result = scipy.optimize.minimize(
        rosen, X0, jac=lambda x: counted("gradient", rosen_der(x)), constraints=constraint, method=tfm.scipy.slsqp
    )
    assert calls == {"gradient": result.njev, "jacobian": result.njev}
    assert result.njev < result.nfev


def test_equalities_come_first_among_the_multipliers() -> None:
    # f = x + 2y, with the multiplier 1 of x = 0 and 2 of y >= 0
    result = tfm.scipy.slsqp(
        lambda x: x[0] + 2 * x[1],
        np.ones(2),
        constraints=[{"type": "ineq", "fun": lambda x: x[1]}, {"type": "eq", "fun": lambda x: x[0]}],
    )
    np.testing.assert_allclose(result.multipliers, [1.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("as_matrix", [np.asarray, scipy.sparse.csr_array], ids=["dense", "sparse"])
def test_jacobians_may_be_sparse(as_matrix: Any) -> None:
    matrix = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    constraints = [
        {"type": "eq", "fun": lambda x: matrix @ x - [1.0, 0.2], "jac": lambda x: as_matrix(matrix)},
        LinearConstraint(as_matrix(matrix[:1] * [1, 0, 0, 0]), -np.inf, 0.4),
    ]
    result = tfm.scipy.slsqp(rosen, X0, jac=rosen_der, constraints=constraints)
    assert result.success
    np.testing.assert_allclose(matrix @ result.x, [1.0, 0.2], atol=1e-9)


def test_functions_may_overwrite_their_x() -> None:
    def spoil(x: np.ndarray) -> float:
        value = 2.5 - x @ x
        x[:] = np.nan
        return float(value)

    theirs = scipy.optimize.minimize(rosen, X0, jac=rosen_der, constraints=BALL, method="SLSQP")
    constraint = {"type": "ineq", "fun": spoil, "jac": lambda x: -2 * x}
    assert_same_path(tfm.scipy.slsqp(rosen, X0, jac=rosen_der, constraints=constraint), theirs)


def test_violation_is_reported() -> None:
    # x >= 1 and x <= 0
    contradiction = {"type": "ineq", "fun": lambda x: [x[0] - 1, -x[0]]}
    result = tfm.scipy.slsqp(lambda x: float(x @ x), [0.3], constraints=contradiction)
    assert not result.success
    assert result.constr_violation == pytest.approx(max(1 - result.x[0], result.x[0]))


def test_more_equalities_than_variables_is_a_status_of_its_own() -> None:
    # SciPy overwrites the heap here.
    result = tfm.scipy.slsqp(bowl, np.zeros(2), constraints={"type": "eq", "fun": lambda x: [x[0], x[1], x[0] + x[1]]})
    assert (result.status, result.success) == (2, False)


def test_constraint_that_is_not_finite_at_the_start_is_no_success() -> None:
    result = tfm.scipy.slsqp(bowl, np.zeros(2), constraints={"type": "ineq", "fun": lambda x: [np.nan, 1.0]})
    assert (result.status, result.success) == (10, False)
    assert "finite" in result.message


@pytest.mark.parametrize("bounds", [[(0.5, 0.5)] * 4, [(1.5, 1.5)] * 4])
def test_all_variables_fixed_returns_at_once_as_scipy(bounds: Any) -> None:
    ours, theirs = both(bounds=bounds, constraints=BALL)
    for field in ("nfev", "njev", "success", "fun"):
        assert ours[field] == theirs[field], field
    assert ours.message.startswith(theirs.message.partition(" exactly")[0].partition(".")[0])
    np.testing.assert_array_equal(ours.x, theirs.x)
    assert (ours.constr_violation > 0) == (not ours.success)


@pytest.mark.parametrize(("method", "status"), [(tfm.scipy.slsqp, 10), (tfm.scipy.lbfgsb, 2)])
def test_all_variables_fixed_at_a_nan_is_no_success(method: Any, status: int) -> None:
    result = method(lambda x: np.nan, np.ones(2), bounds=[(1, 1), (1, 1)])
    assert (result.status, result.success) == (status, False)
    assert "where the function is nan" in result.message


@pytest.mark.parametrize(
    ("constraint", "error", "sentence"),
    [
        ({"fun": bowl}, KeyError, "constraint 0 has no 'type'"),
        ({"type": "eq"}, ValueError, "constraint 0 has no 'fun'"),
        ({"type": "le", "fun": bowl}, ValueError, "the type of constraint 0 is 'le'"),
        ({"type": 1, "fun": bowl}, TypeError, "the type of constraint 0 is 1"),
        ({"type": "eq", "fun": 3}, TypeError, "the function of constraint 0 is 3"),
        ({"type": "eq", "fun": bowl, "jac": "2-point"}, TypeError, "the Jacobian of constraint 0 is '2-point'"),
        ([bowl], TypeError, "constraint 0 is <function bowl"),
        ({"type": "eq", "fun": lambda x: x * 1j}, ValueError, "constraint 0 returned complex128 values"),
        ({"type": "eq", "fun": lambda x: "x"}, ValueError, "constraint 0 returned str"),
        (
            {"type": "eq", "fun": lambda x: x[:2], "jac": lambda x: np.ones((3, 4))},
            ValueError,
            r"the Jacobian of constraint 0 has shape \(3, 4\), but it must have \(2, 4\)",
        ),
    ],
)
def test_bad_constraint_is_an_error_that_names_it(constraint: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        tfm.scipy.slsqp(bowl, X0, constraints=constraint)


def test_constraint_that_changes_its_size_is_an_error() -> None:
    sizes = iter([1, 1, 2])
    with pytest.raises(ValueError, match=r"constraint 0 returned \d values, but 1 at the start"):
        tfm.scipy.slsqp(
            bowl, X0, constraints={"type": "ineq", "fun": lambda x: np.ones(next(sizes, 2)), "jac": lambda x: 0 * x}
        )


@pytest.mark.parametrize("name", ["fun", "jac"])
def test_exception_in_a_constraint_comes_through(name: str) -> None:
    def fail(*args: Any) -> float:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        tfm.scipy.slsqp(rosen, X0, jac=rosen_der, constraints={**BALL, name: fail})


def test_callback_gets_a_copy_of_each_iterate() -> None:
    iterates: list[np.ndarray] = []
    result = scipy.optimize.minimize(
        rosen, X0, jac=rosen_der, constraints=BALL, method=tfm.scipy.slsqp, callback=iterates.append
    )
    assert len(iterates) == result.nit
    np.testing.assert_array_equal(iterates[-1], result.x)
    assert len({x.tobytes() for x in iterates}) > 1


def test_callback_by_intermediate_result_can_stop() -> None:
    def callback(intermediate_result: OptimizeResult) -> None:
        # SciPy's callback sees a trial point here, and SciPy returns it.
        assert intermediate_result.fun == rosen(intermediate_result.x)
        raise StopIteration

    result = tfm.scipy.slsqp(rosen, X0, jac=rosen_der, constraints=BALL, callback=callback)
    assert (result.status, result.success, result.nit) == (99, False, 1)
    assert result.message == "`callback` raised `StopIteration`."
    assert result.fun == rosen(result.x)
    assert result.fun < rosen(X0)


def test_callback_sees_fixed_variables_too() -> None:
    seen: list[np.ndarray] = []
    bounds = [(-2, 2), (0.5, 0.5), (-2, 2), (1, 1)]
    tfm.scipy.slsqp(rosen, X0, bounds=bounds, callback=seen.append)
    assert seen
    assert all(x[1] == 0.5 and x[3] == 1.0 for x in seen)


def test_disp_prints_scipys_summary(capsys: pytest.CaptureFixture[str]) -> None:
    both(bowl, np.zeros(3), options={"disp": True})
    theirs, ours = capsys.readouterr().out.split("Optimization")[1:]
    assert [line.split(":")[0] for line in ours.splitlines()] == [line.split(":")[0] for line in theirs.splitlines()]
    tfm.scipy.slsqp(bowl, np.zeros(3))
    assert capsys.readouterr().out == ""


def test_iprint_two_prints_each_iteration(capsys: pytest.CaptureFixture[str]) -> None:
    result = tfm.scipy.slsqp(bowl, np.zeros(3), disp=True, iprint=2)
    assert len(capsys.readouterr().out.splitlines()) == 1 + result.nit + 5


def test_unknown_option_is_scipys_warning() -> None:
    with pytest.warns(OptimizeWarning, match="Unknown solver options: frobnicate"):
        tfm.scipy.slsqp(rosen, X0, jac=rosen_der, frobnicate=1)


def test_hessian_is_ignored_with_a_warning() -> None:
    with pytest.warns(RuntimeWarning, match="hess and hessp are ignored"):
        tfm.scipy.slsqp(rosen, X0, jac=rosen_der, hess=scipy.optimize.rosen_hess)


def test_result_names_the_backend() -> None:
    result = tfm.scipy.slsqp(rosen, X0, jac=rosen_der, constraints=BALL)
    assert result.backend == "host"
    assert result.timing["evaluate"] > 0
    assert result.timing["solver"] > 0


def test_fmin_has_scipys_parameters_and_defaults() -> None:
    ours = inspect.signature(tfm.scipy.fmin_slsqp).parameters
    theirs = inspect.signature(scipy.optimize.fmin_slsqp).parameters
    assert list(ours) == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name


def on_circle(x: np.ndarray, r: float) -> Any:
    return [x @ x - r]


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"fprime": lambda x, r: 2 * np.arange(1, 4) * (x - 1)},
        {"eqcons": [lambda x, r: x[0] + x[1] - r], "ieqcons": [lambda x, r: 0.5 - x[1], lambda x, r: x[2] - r]},
        {"f_eqcons": on_circle, "fprime_eqcons": lambda x, r: 2 * x[None], "bounds": [(0, 0.9), (0, 2), (0.1, 2)]},
        {"f_ieqcons": lambda x, r: [r - x @ x], "fprime_ieqcons": lambda x, r: -2 * x[None]},
        # SciPy's documentation says that the second of these hides the first, but it takes both.
        {"eqcons": [lambda x, r: x[0] - x[1]], "f_eqcons": on_circle, "f_ieqcons": lambda x, r: x},
        {"iter": 2, "epsilon": 1e-6},
        {"acc": 1e-12},
    ],
    ids=", ".join,
)
def test_fmin_returns_what_scipys_does(kwargs: dict[str, Any]) -> None:
    def weighted(x: np.ndarray, r: float) -> Any:
        return bowl(x)

    def run(fmin: Any, **more: Any) -> Any:
        return fmin(weighted, [0.2, 0.3, 0.4], args=(1.5,), iprint=0, **kwargs, **more)

    x, fun, nit, mode, message = run(tfm.scipy.fmin_slsqp, full_output=True)
    their_x, their_fun, *theirs = run(scipy.optimize.fmin_slsqp, full_output=True)
    if not (kwargs.get("iter") and Version(scipy.__version__) < Version("1.16")):  # makes one iteration less
        assert [nit, mode, message] == theirs
        np.testing.assert_allclose(x, their_x, atol=1e-5)
        np.testing.assert_allclose(fun, their_fun, rtol=1e-6, atol=1e-10)
    np.testing.assert_array_equal(run(tfm.scipy.fmin_slsqp), x)


@pytest.mark.parametrize(
    "kwargs", [{}, {"iprint": 0}, {"iprint": -1}, {"iprint": 2}, {"disp": 0}, {"disp": True}], ids=str
)
def test_fmin_prints_as_many_lines_as_scipys(kwargs: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    def lines(fmin: Any) -> int:
        fmin(bowl, np.zeros(3), **kwargs)
        return len(capsys.readouterr().out.splitlines())

    assert lines(tfm.scipy.fmin_slsqp) == lines(scipy.optimize.fmin_slsqp)


def test_fmin_calls_back_and_stops() -> None:
    seen: list[np.ndarray] = []

    def callback(xk: np.ndarray) -> None:
        seen.append(xk)
        raise StopIteration

    x, _, nit, mode, _ = tfm.scipy.fmin_slsqp(
        rosen, X0, fprime=rosen_der, iprint=0, full_output=True, callback=callback
    )
    assert (len(seen), nit, mode) == (1, 1, 99)
    np.testing.assert_array_equal(seen[0], x)
