"""Constraints that change from solve to solve, and from problem to problem of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm

CENTERS = np.array([[2.0, 1.0], [-1.0, 3.0], [0.1, 0.2], [0.0, -4.0]])
RADII = np.array([1.0, 2.0, 0.5, 0.25])


def distance(x: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - center) ** 2)


def in_disc(x: tf.Tensor, shift: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    return radius**2 - tf.reduce_sum((x - shift) ** 2)


def on_line(x: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x) - total


def disc(shift: Any, radius: Any) -> dict[str, Any]:
    return {"type": "ineq", "fun": in_disc, "args": (shift, radius)}


def nearest(center: np.ndarray, radius: float) -> np.ndarray:
    """The point of a disc around the origin that is nearest to a center."""
    return center * min(1.0, radius / float(np.linalg.norm(center)))


def disc_solver(dtype: str = "float64", jit_compile: bool = True, calls: list[int] | None = None) -> tfm.Minimizer:
    def loss(x: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        if calls is not None:
            calls.append(1)  # in the trace alone
        return distance(x, center)

    zero = np.zeros(2, dtype)
    constraint = disc(zero, np.ones((), dtype))
    return tfm.Minimizer(loss, zero, (zero,), "SLSQP", constraints=constraint, jit_compile=jit_compile)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_constraint_gets_other_args_without_a_new_trace(dtype: str, jit_compile: bool) -> None:
    calls: list[int] = []
    solver = disc_solver(dtype, jit_compile, calls)
    traces = len(calls)
    shift = np.zeros(2, dtype)
    for center, radius in zip(CENTERS.astype(dtype), RADII.astype(dtype), strict=True):
        result = solver.minimize(args=(center,), constraints=disc(shift, np.asarray(radius)))
        np.testing.assert_allclose(result.x, nearest(center, radius), atol=1e-3 if dtype == "float32" else 1e-6)
    np.testing.assert_allclose(solver.minimize(args=(CENTERS[0].astype(dtype),)).x, nearest(CENTERS[0], 1), atol=1e-3)
    assert len(calls) == traces


def test_array_that_changes_in_place_is_read_anew() -> None:
    solver = disc_solver()
    radius = np.array(1.0)
    for value in (1.0, 0.5, 2.0):
        radius[...] = value
        result = solver.minimize(args=(CENTERS[0],), constraints=disc(np.zeros(2), radius))
        np.testing.assert_allclose(result.x, nearest(CENTERS[0], value), atol=1e-6)


def test_array_given_to_the_constructor_is_copied() -> None:
    shift, radius = np.zeros(2), np.array(1.0)
    solver = tfm.Minimizer(distance, np.zeros(2), (np.zeros(2),), "SLSQP", constraints=disc(shift, radius))
    radius[...] = 0.1
    for _ in range(2):
        np.testing.assert_allclose(solver.minimize(args=(CENTERS[0],)).x, nearest(CENTERS[0], 1.0), atol=1e-6)
    shift[...] = 9.0
    batch = solver.minimize_batch(args=(CENTERS[0],), batched_constraints_args=(RADII,))
    np.testing.assert_allclose(batch.x[0], nearest(CENTERS[0], 1.0), atol=1e-6)


def test_other_limits_and_another_matrix() -> None:
    def solver(linear: Any, nonlinear: Any) -> tfm.Minimizer:
        constraints = [linear, nonlinear, {"type": "ineq", "fun": in_disc, "args": (np.zeros(2), 9.0)}]
        return tfm.Minimizer(distance, np.zeros(2), (CENTERS[0],), "SLSQP", constraints=constraints, jit_compile=True)

    def pair(a: float, limit: float, upper: float) -> tuple[Any, Any]:
        linear = scipy.optimize.LinearConstraint([[1.0, a]], -np.inf, limit)
        return linear, scipy.optimize.NonlinearConstraint(first, -1.0, upper)

    def first(x: tf.Tensor) -> tf.Tensor:
        return x[0] ** 3

    disc_9 = {"type": "ineq", "fun": in_disc, "args": (np.zeros(2), 9.0)}
    one = solver(*pair(1.0, 1.0, 8.0))
    for a, limit, upper in [(1.0, 1.0, 8.0), (1.0, 0.5, 8.0), (-1.0, 0.5, 8.0), (1.0, 1.0, -0.5), (1.0, 1.0, np.inf)]:
        found = one.minimize(constraints=[*pair(a, limit, upper), disc_9])
        expected = solver(*pair(a, limit, upper)).minimize()
        np.testing.assert_array_equal(found.x, expected.x)
        np.testing.assert_array_equal(found.multipliers, expected.multipliers)


def test_constraint_changed_in_place_counts_as_it_is_now() -> None:
    linear = scipy.optimize.LinearConstraint([[1.0, 1.0]], -np.inf, [1.0])
    line = {"type": "ineq", "fun": on_line, "args": (-9.0,)}
    solver = tfm.Minimizer(distance, np.zeros(2), (CENTERS[0],), "SLSQP", constraints=[linear, line])
    np.testing.assert_allclose(solver.minimize(constraints=[linear, line]).x, [1.0, 0.0], atol=1e-6)
    linear.ub = np.zeros(1)
    np.testing.assert_allclose(solver.minimize(constraints=[linear, line]).x, [0.5, -0.5], atol=1e-5)
    line.update(type="eq", args=(-1.0,))
    np.testing.assert_allclose(solver.minimize(constraints=[linear, line]).x, [0.0, -1.0], atol=1e-3)


def test_constraints_can_be_left_out_or_added_for_one_solve() -> None:
    solver = disc_solver()
    np.testing.assert_allclose(solver.minimize(args=(CENTERS[0],), constraints=()).x, CENTERS[0], atol=1e-6)
    both = [disc(np.zeros(2), 9.0), {"type": "eq", "fun": on_line, "args": (1.0,)}]
    np.testing.assert_allclose(solver.minimize(args=(CENTERS[0],), constraints=both).x, [1.0, 0.0], atol=1e-6)
    with pytest.raises(ValueError, match="use method='SLSQP'"):
        tfm.Minimizer(distance, np.zeros(2), (np.zeros(2),)).minimize(constraints=both)
    with pytest.raises(ValueError, match="the constraint has no 'fun'"):
        solver.minimize(constraints={"type": "ineq"})


def test_method_in_scipy_takes_other_args_too() -> None:
    solver = tfm.Minimizer(distance, np.zeros(2), (CENTERS[0],), "COBYLA", constraints=disc(np.zeros(2), 1.0))
    found = solver.minimize(constraints=disc(np.zeros(2), 0.5), tol=1e-8)
    np.testing.assert_allclose(found.x, nearest(CENTERS[0], 0.5), atol=1e-3)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_each_problem_of_a_batch_has_its_own_args(jit_compile: bool) -> None:
    solver = disc_solver(jit_compile=jit_compile)
    shifts = np.random.default_rng(0).normal(size=(4, 2))
    batch = solver.minimize_batch(batched_args=CENTERS, batched_constraints_args=(shifts, RADII), num_threads=2)
    for i in range(4):
        one = solver.minimize(args=(CENTERS[i],), constraints=disc(shifts[i], RADII[i]))
        np.testing.assert_array_equal(batch.x[i], one.x)
        np.testing.assert_array_equal(batch.multipliers[i], one.multipliers)
        assert batch.nfev[i] == one.nfev
    shared = solver.minimize_batch(
        batched_args=CENTERS, constraints=disc(np.ones(2), 1.0), batched_constraints_args=RADII
    )
    expected = 1.0 + np.array([nearest(c - 1.0, r) for c, r in zip(CENTERS, RADII, strict=True)])
    np.testing.assert_allclose(shared.x, expected, atol=1e-5)
    np.testing.assert_allclose(solver.minimize(args=(CENTERS[0],)).x, nearest(CENTERS[0], 1.0), atol=1e-6)


def test_several_constraints_of_a_batch() -> None:
    half = scipy.optimize.LinearConstraint([[0.0, 1.0]], -np.inf, 0.6)
    constraints = [disc(np.zeros(2), 1.0), half, {"type": "eq", "fun": on_line, "args": (0.0,)}]
    solver = tfm.Minimizer(distance, np.zeros(2), (CENTERS[0],), "SLSQP", constraints=constraints)
    totals = np.array([0.0, 0.5, 1.0])
    batch = solver.minimize_batch(batched_constraints_args=[None, None, (totals,)])
    for i, total in enumerate(totals):
        line = {"type": "eq", "fun": on_line, "args": (total,)}
        np.testing.assert_array_equal(batch.x[i], solver.minimize(constraints=[constraints[0], half, line]).x)
    both = solver.minimize_batch(batched_constraints_args=[(RADII[:3],), (), totals])
    assert not np.array_equal(both.x, batch.x)
    starts = solver.minimize_batch(np.zeros((3, 2, 2)), batched_constraints_args=[None, None, totals], n_starts=2)
    np.testing.assert_array_equal(starts.x, batch.x)


def test_batched_args_that_do_not_fit_are_refused() -> None:
    half = scipy.optimize.LinearConstraint([[0.0, 1.0]], -np.inf, 0.6)
    solver = tfm.Minimizer(distance, np.zeros(2), (CENTERS[0],), "SLSQP", constraints=[disc(np.zeros(2), 1.0), half])

    def refused(match: str, args: Any, **more: Any) -> None:
        with pytest.raises(ValueError, match=match):
            solver.minimize_batch(batched_constraints_args=args, **more)

    refused(r"constraints\[1\], which takes none.*a limit|constraints\[1\], which takes none", [None, (RADII,)])
    refused("is 1 items, and there are 2 constraints", [(RADII,)])
    refused(r"is array\(.*, and there are 2 constraints", RADII)
    refused(
        r"there are 3 batched_constraints_args\[0\] to replace the last args of constraints\[0\]", [[RADII] * 3, None]
    )
    refused(
        r"batched_args\[0\] has 4 slices and .*constraints_args\[0\]\[0\] has 3",
        [(RADII[:3],), ()],
        batched_args=CENTERS,
    )
    refused("x0s has 2 starts and batched_constraints_args have 4", [(RADII,), ()], x0s=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="and there are 0 constraints"):
        tfm.Minimizer(distance, np.zeros(2), (CENTERS[0],)).minimize_batch(batched_constraints_args=[(RADII,)])
