"""Solves that begin with the curvature of another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock
from results import assert_same

import tfminimize as tfm
from tfminimize import _native

RNG = np.random.default_rng(0)
SCALES = np.geomspace(1.0, 1e3, 12)
X0 = RNG.normal(size=12)


def shifted(x: Any, shift: Any) -> tf.Tensor:
    """An ill-conditioned bowl that is no quadratic, with its minimum at the shift."""
    d = x - shift
    return tf.reduce_sum(SCALES * d**2) + tf.reduce_sum(tf.square(d[1:] * d[:-1])) + tf.reduce_sum(d**4)


ON_A_PLANE = [scipy.optimize.LinearConstraint(np.ones((1, 12)), 1.0, 1.0)]
IN_A_BALL = [{"type": "ineq", "fun": lambda x: 2.0 - tf.reduce_sum(x**2)}]
PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "L-BFGS-B": {},
    "L-BFGS-B, bounds": {"bounds": [(-0.5, 0.5)] * 12},
    "BFGS": {"method": "BFGS"},
    "SSBroyden": {"method": "BFGS", "options": {"update": "ssbroyden"}},
    "SLSQP": {"method": "SLSQP"},
    "SLSQP, bounds": {"method": "SLSQP", "bounds": [(-0.5, 0.5)] * 12},
    "SLSQP, linear": {"method": "SLSQP", "constraints": ON_A_PLANE},
    "SLSQP, nonlinear": {"method": "SLSQP", "constraints": IN_A_BALL},
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())


@each_problem
@pytest.mark.parametrize("jit_compile", [False, True], ids=["tfe", "xla"])
def test_needs_fewer_evaluations_where_the_data_have_changed_a_little(
    problem: Mapping[str, Any], jit_compile: bool
) -> None:
    given = dict(problem)
    how = {"tol": 1e-8, "options": given.pop("options", None)}
    minimizer = tfm.Minimizer(shifted, X0, args=(X0,), jit_compile=jit_compile, **given)
    shift = np.random.default_rng(1).normal(size=12)
    first = minimizer.minimize(np.zeros(12), args=(shift,), **how)
    args = (shift + 0.01,)
    scratch = minimizer.minimize(first.x, args=args, **how)
    warm = minimizer.minimize(first.x, args=args, warm_start=first, **how)
    assert warm.success
    np.testing.assert_allclose(warm.x, scratch.x, atol=2e-4)
    assert warm.nfev < scratch.nfev
    assert_same(minimizer.minimize(first.x, args=args, warm_start=first.state, **how), warm)


def test_slsqp_needs_one_step_where_only_the_minimum_has_moved() -> None:
    minimizer = tfm.Minimizer(lambda x, a: tf.reduce_sum(SCALES * (x - a) ** 2), X0, args=(X0,), method="SLSQP")
    first = minimizer.minimize(args=(np.full(12, 0.1),), tol=1e-12)
    warm = minimizer.minimize(first.x, args=(np.full(12, 0.11),), warm_start=first)
    assert warm.success
    assert warm.nfev <= 3


@pytest.mark.parametrize("maxcor", [2, 5, 20])
def test_another_maxcor_keeps_the_newest_pairs(maxcor: int) -> None:
    first = tfm.minimize(rosenbrock, X0, options={"maxcor": 6, "maxiter": 20})
    warm = tfm.minimize(rosenbrock, first.x, options={"maxcor": maxcor, "maxiter": 0}, warm_start=first)
    kept = min(maxcor, 6)
    np.testing.assert_array_equal(warm.hess_inv.sk, first.hess_inv.sk[-kept:])
    np.testing.assert_array_equal(warm.hess_inv.yk, first.hess_inv.yk[-kept:])


@pytest.mark.parametrize("bounds", [None, [(-3.0, 0.9)] * 12])
@pytest.mark.parametrize("bounds_before", [None, [(-2.0, 0.8)] * 12])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP"])
def test_bounds_may_have_changed(method: str, bounds: Any, bounds_before: Any) -> None:
    first = tfm.minimize(rosenbrock, X0, method=method, bounds=bounds_before, options={"maxiter": 15})
    scratch = tfm.minimize(rosenbrock, X0, method=method, bounds=bounds, tol=1e-10)
    warm = tfm.minimize(rosenbrock, X0, method=method, bounds=bounds, tol=1e-10, warm_start=first)
    assert warm.success
    np.testing.assert_allclose(warm.fun, scratch.fun, atol=1e-7)


def test_constraints_may_have_changed() -> None:
    first = tfm.minimize(rosenbrock, X0, method="SLSQP", constraints=IN_A_BALL)
    for constraints in ((), ON_A_PLANE, [*IN_A_BALL, *ON_A_PLANE]):
        scratch = tfm.minimize(rosenbrock, X0, method="SLSQP", constraints=constraints, options={"maxiter": 300})
        warm = tfm.minimize(
            rosenbrock, X0, method="SLSQP", constraints=constraints, options={"maxiter": 300}, warm_start=first
        )
        assert warm.success
        np.testing.assert_allclose(warm.fun, scratch.fun, atol=1e-3)


def test_solve_without_a_pair_changes_nothing() -> None:
    first = tfm.minimize(rosenbrock, X0, options={"maxiter": 0})
    assert_same(tfm.minimize(rosenbrock, X0, warm_start=first), tfm.minimize(rosenbrock, X0))


def test_warm_solve_can_be_saved_and_gone_on_with() -> None:
    first = tfm.minimize(rosenbrock, X0, options={"maxiter": 20})
    warm = tfm.minimize(rosenbrock, X0 + 0.1, warm_start=first)
    for maxiter in (0, 1, 5):
        part = tfm.minimize(rosenbrock, X0 + 0.1, warm_start=first, options={"maxiter": maxiter})
        assert_same(tfm.minimize(rosenbrock, X0, state=part.state), warm)


@pytest.mark.parametrize(
    ("here", "difference"),
    [({"method": "SLSQP"}, "comes from L-BFGS-B, but this solve uses SLSQP"), ({"x0": np.zeros(4)}, "but x0 has")],
)
def test_another_method_or_size_is_refused(here: dict[str, Any], difference: str) -> None:
    first = tfm.minimize(rosenbrock, X0)
    with pytest.raises(ValueError, match=difference):
        tfm.minimize(**({"fun": rosenbrock, "x0": X0} | here), warm_start=first)


def overflowing(x: Any) -> tf.Tensor:
    """Across its first step, from 0, the change of the gradient has a square that overflows."""
    along = x[0] + x[1]
    return (along - 3.0) ** 2 + 1e160 * (x[0] - x[1]) * along


def test_matrix_of_slsqp_that_is_not_finite_is_left_out_with_a_warning() -> None:
    first = tfm.minimize(overflowing, np.zeros(2), method="SLSQP", options={"maxiter": 1})
    minimizer = tfm.Minimizer(lambda x: tf.reduce_sum((x - 1.0) ** 4), np.zeros(2), method="SLSQP")
    with pytest.warns(RuntimeWarning, match="begins without"):
        warm = minimizer.minimize(warm_start=first)
    assert_same(warm, minimizer.minimize())


def of_bfgs(hess_inv0: Any) -> _native.Bfgs:
    """A solver that begins with a matrix that `tfm.minimize` would refuse."""
    return _native.Bfgs(*(_native.aligned_zeros(len(hess_inv0)) for _ in range(2)), hess_inv0=hess_inv0)


def with_matrix(result: tfm.OptimizeResult, hess_inv0: Any) -> tfm.State:
    """The state of a solve by BFGS, with another matrix."""
    return tfm.State.of(result.state.conditions, of_bfgs(hess_inv0).save(), {}, {**result, "seconds": 0.0}, {})


@pytest.mark.parametrize("update", ["bfgs", "ssbroyden"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_matrix_of_bfgs_is_kept_over_legs_with_new_points(update: str, dtype: str) -> None:
    def loss(x: dict[str, Any], points: Any) -> tf.Tensor:
        wave = x["a"][0] * tf.sin(x["a"][1] * points + x["b"]) + x["a"][2]
        return tf.reduce_mean((wave - tf.sin(2.0 * points)) ** 2) + 1e-3 * tf.reduce_sum(x["a"] ** 2)

    start = {"a": np.array([0.5, 1.5, 0.3], dtype), "b": np.array(0.1, dtype)}
    points = np.random.default_rng(0).uniform(0.0, 3.0, (4, 40)).astype(dtype)
    minimizer = tfm.Minimizer(loss, start, args=(points[0],), method="BFGS")
    options = {"update": update, "maxiter": 4}
    leg = minimizer.minimize(options=options)
    for new in points[1:]:
        begun = minimizer.minimize(leg.x, args=(new,), options={**options, "maxiter": 0}, warm_start=leg)
        np.testing.assert_array_equal(begun.hess_inv, leg.hess_inv)
        assert (begun.hess_inv == begun.hess_inv.T).all()
        leg = minimizer.minimize(leg.x, args=(new,), options=options, warm_start=leg)
        assert leg.num_resets == 0
    assert leg.fun < 0.1 * minimizer.minimize(args=(points[-1],), options={"maxiter": 0}).fun


@pytest.mark.parametrize("matrix", [np.diag([1.0, -1.0]), np.diag([1.0, np.inf])])
def test_matrix_of_bfgs_that_is_not_definite_is_left_out_and_the_result_says_so(matrix: Any) -> None:
    minimizer = tfm.Minimizer(lambda x: tf.reduce_sum((x - 1.0) ** 4), np.zeros(2), method="BFGS")
    state = with_matrix(minimizer.minimize(), matrix)
    with pytest.warns(RuntimeWarning, match="begins without"):
        warm = minimizer.minimize(warm_start=state)
    scratch = minimizer.minimize()
    assert (warm.num_resets, scratch.num_resets) == (1, 0)
    assert (warm.nit, warm.nfev) == (scratch.nit, scratch.nfev)
    np.testing.assert_array_equal(warm.x, scratch.x)


def test_matrix_of_bfgs_that_ascends_is_replaced_and_the_result_says_so() -> None:
    minimizer = tfm.Minimizer(lambda x: tf.reduce_sum((x - [1.0, -1.0]) ** 4), np.zeros(2), method="BFGS")
    scratch = minimizer.minimize()
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]])  # not by its diagonal
    warm = minimizer.minimize(warm_start=with_matrix(scratch, indefinite))
    assert warm.success
    assert warm.num_resets == 1
    np.testing.assert_array_equal(warm.x, scratch.x)


def test_solver_that_has_begun_takes_no_curvature() -> None:
    def solver() -> _native.Lbfgsb:
        x, gradient = _native.aligned_zeros(2), _native.aligned_zeros(2)
        x[:] = gradient[:] = 1.0
        return _native.Lbfgsb(x, gradient)

    begun = solver()
    begun.advance(1.0)
    with pytest.raises(RuntimeError, match="only before the solve begins"):
        begun.warm_start(solver())
    with pytest.raises(ValueError, match="of 2 variables cannot take over from one of 3"):
        solver().warm_start(_native.Lbfgsb(_native.aligned_zeros(3), _native.aligned_zeros(3)))
