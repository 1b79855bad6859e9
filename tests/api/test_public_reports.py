"""Problems from public bug reports: SciPy's SLSQP fails on them with every OpenBLAS kernel we tried; ours does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm

Function = Callable[[tf.Tensor], tf.Tensor]


class Report(NamedTuple):
    """A problem: minimise `fun` from `x0` within `bounds`, under `equality` = 0 and `inequality` >= 0."""

    fun: Function
    x0: list[float]
    bounds: list[tuple[float | None, float | None]] | None = None
    inequality: Function | None = None
    equality: Function | None = None

    def ours(self, jit_compile: bool = False) -> Any:
        constraints = [{"type": kind, "fun": fun} for kind, fun in self._constraints()]
        return tfm.minimize(
            self.fun, self.x0, method="SLSQP", bounds=self.bounds, constraints=constraints, jit_compile=jit_compile
        )

    def scipys(self) -> Any:
        constraints = [
            {"type": kind, "fun": lambda x, c=fun: c(tf.constant(x)).numpy(), "jac": lambda x, c=fun: _jacobian(c, x)}
            for kind, fun in self._constraints()
        ]
        return scipy.optimize.minimize(
            lambda x: self.fun(tf.constant(x)).numpy(),
            self.x0,
            jac=lambda x: _jacobian(self.fun, x),
            method="SLSQP",
            bounds=self.bounds,
            constraints=constraints,
        )

    def _constraints(self) -> list[tuple[str, Function]]:
        found = [("eq", self.equality), ("ineq", self.inequality)]
        return [(kind, fun) for kind, fun in found if fun is not None]


def _jacobian(fun: Function, x: np.ndarray) -> np.ndarray:
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = fun(point)
    return (tape.gradient if value.shape.rank == 0 else tape.jacobian)(value, point).numpy()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_solve_leaves_a_start_near_a_pole_of_the_tangent(jit_compile: bool) -> None:
    """https://github.com/scipy/scipy/issues/12361; the start is in https://github.com/jacobwilliams/slsqp/issues/17."""
    a, b = -1.2136516906077681, -1.228916217819073
    report = Report(
        lambda x: a**2 + tf.reduce_sum((x[:2] - 2.0) ** 2) + (b - tf.tan(x[2])) ** 2,
        [-1.8197992672355463, -1.7274253188436908, 1.5608265570618167],
        [(-5.0, 10.0), (-5.0, 10.0), (-np.pi / 2, np.pi / 2)],
        lambda x: tf.stack([x[0] - x[1] ** 3, x[1] - x[0] ** 3]),
    )
    theirs, ours = report.scipys(), report.ours(jit_compile)
    assert theirs.success
    assert theirs.fun > 1e4
    np.testing.assert_array_equal(theirs.x, report.x0)
    # At (-1, -1) both constraints are active, and the gradient (-6, -6) is 3 (1, -3) + 3 (-3, 1): a local minimum.
    assert ours.success
    np.testing.assert_allclose(ours.x, [-1.0, -1.0, math.atan(b)], atol=1e-4)
    np.testing.assert_allclose(ours.fun, a**2 + 18.0, rtol=1e-8)
    np.testing.assert_allclose(ours.multipliers, [3.0, 3.0], atol=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("slope", "status"), [(1e6, 0), (1e8, 4), (1e12, 4)])
def test_a_steep_line_is_followed_to_its_bound(slope: float, status: int, jit_compile: bool) -> None:
    """https://github.com/stevengj/nlopt/issues/86"""
    report = Report(lambda x: -slope * x[0], [0.0], [(-1.0, 1.0)])
    theirs, ours = report.scipys(), report.ours(jit_compile)
    assert (theirs.status, theirs.x[0]) == (status, 0.0)
    assert (ours.status, ours.x[0], ours.fun) == (0, 1.0, -slope)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_square_root_is_minimised_to_its_end(jit_compile: bool) -> None:
    """https://github.com/jump-dev/NLopt.jl/issues/31"""
    report = Report(lambda x: tf.sqrt(x[0]), [1.0], [(0.0, None)])
    theirs, ours = report.scipys(), report.ours(jit_compile)
    assert theirs.status == 4
    assert ours.success
    assert 0.0 <= ours.fun < 1e-6


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_square_root_in_a_disc_is_minimised_to_its_end(jit_compile: bool) -> None:
    """The square root of the test above, with a second variable and a constraint."""
    report = Report(
        lambda x: tf.sqrt(x[1]) - x[0], [1.0, 0.5], [(None, None), (0.0, None)], lambda x: 2.0 - tf.reduce_sum(x**2)
    )
    theirs, ours = report.scipys(), report.ours(jit_compile)
    assert theirs.status == 4
    assert ours.success
    np.testing.assert_allclose(ours.x, [math.sqrt(2.0), 0.0], atol=1e-5)
    np.testing.assert_allclose(ours.fun, -math.sqrt(2.0), atol=1e-5)
    assert ours.constr_violation <= 1e-6


@pytest.mark.slow
def test_a_variance_model_of_tiny_returns_is_fitted() -> None:
    """https://github.com/bashtage/arch/issues/87: GARCH(1, 1), with a gradient of about 1e14."""
    returns = np.array([1e-6, 1.2e-6, 1.4e-6, 1.55e-6] * 10)
    mean, variance = returns.mean(), returns.var()

    def negative_log_likelihood(x: tf.Tensor) -> tf.Tensor:
        residuals = (returns - x[0]) ** 2
        now, total = x[1] + (x[2] + x[3]) * variance, 0.0
        for t in range(returns.size):
            total += tf.math.log(2.0 * np.pi * now) + residuals[t] / now
            now = x[1] + x[2] * residuals[t] + x[3] * now
        return 0.5 * total

    report = Report(
        negative_log_likelihood,
        [mean, 0.1 * variance, 0.1, 0.8],
        [(-10 * mean, 10 * mean), (1e-8 * variance, 10 * variance), (0.0, 1.0), (0.0, 1.0)],
        lambda x: 1.0 - x[2] - x[3],
    )
    theirs, ours = report.scipys(), report.ours()
    assert theirs.status == 4
    np.testing.assert_array_equal(theirs.x, report.x0)
    # No worse than the best model with constant variance, whose likelihood has a formula.
    constant = 0.5 * returns.size * (math.log(2.0 * math.pi * variance) + 1.0)
    assert ours.success
    assert ours.fun < constant + 1e-3


CONTRADICTIONS = {
    "scipy#5743": Report(
        lambda x: tf.reduce_sum(x**2),
        [1.0, 2.0],
        [(0.0, None), (0.0, None)],
        lambda x: x[0] - 2.0,
        lambda x: x[0] + x[1] - 1.0,
    ),
    "scipy#6349": Report(lambda x: tf.reduce_sum(x**2), [0.0, 0.0], None, lambda x: tf.concat([x, -x], 0) - 1.0),
    "scipy#7323": Report(lambda x: tf.reduce_sum(x**2), [0.3, 0.6], None, lambda x: tf.stack([-x[0], x[0] - 1.0])),
    "scipy#9640": Report(
        lambda x: 1.0 + 0.0 * x[0],
        [-1.8869783504471584, -0.640096352696244, -0.8174212253407696],
        [(-2.0, 2.0)] * 3,
        lambda x: tf.stack([-x[0] - x[1] - 3.0, x[1] + x[2] - 2.0]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_linear_constraints_that_contradict_each_other_are_named(name: str) -> None:
    theirs, ours = CONTRADICTIONS[name].scipys(), CONTRADICTIONS[name].ours()
    assert theirs.status in (8, 9)
    assert (ours.status, ours.message) == (4, "Inequality constraints incompatible")
    assert ours.nit <= 3
    assert ours.constr_violation > 0.5
