"""The violation of bounds and constraints agrees with SciPy's residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from tfminimize._problem.violation import violation

X = np.array([3.0, -1.0])
NONLINEAR = scipy.optimize.NonlinearConstraint(lambda x: [x @ x, x[0]], [0.0, 3.5], [9.0, np.inf])
LINEAR = scipy.optimize.LinearConstraint([[1.0, 1.0], [1.0, -1.0]], [-np.inf, 4.0], [1.5, 4.0])


@pytest.mark.parametrize("x", [X, np.zeros(2), np.array([-2.0, 5.0])], ids=str)
@pytest.mark.parametrize("constraint", [NONLINEAR, LINEAR], ids=["nonlinear", "linear"])
def test_greatest_part_of_scipys_violation(constraint: Any, x: np.ndarray) -> None:
    values = constraint.A @ x if constraint is LINEAR else np.asarray(constraint.fun(x))
    bounds = scipy.optimize.Bounds(constraint.lb, constraint.ub)
    low, high = bounds.residual(values)  # negative where the limit is broken
    assert violation(x, None, constraint) == max(0.0, -low.min(), -high.min())


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        (None, 0.0),
        ([], 0.0),
        ({"type": "eq", "fun": lambda x: x[1]}, 1.0),
        ({"type": "INEQ", "fun": lambda x, a: a - x, "args": (1.0,)}, 2.0),
        ({"type": "ineq", "fun": lambda x: x[:0]}, 0.0),
        (({"type": "eq", "fun": lambda x: x[1]}, {"type": "ineq", "fun": lambda x: -x[0]}), 3.0),
        ([scipy.optimize.LinearConstraint(scipy.sparse.csr_array([[2.0, 0.0]]), -1.0, 1.0)], 5.0),
    ],
)
def test_every_form_and_number_of_constraints(constraints: Any, expected: float) -> None:
    assert violation(X, None, constraints) == expected


def test_bounds_count_with_the_constraints() -> None:
    assert violation(X, scipy.optimize.Bounds([3.0, 0.5], np.inf), {"type": "eq", "fun": lambda x: x[1]}) == 1.5


def test_values_that_are_no_numbers_are_no_violation_of_zero() -> None:
    assert np.isnan(violation(X, None, [{"type": "ineq", "fun": lambda x: np.nan}, LINEAR]))


def test_function_cannot_change_the_point() -> None:
    x = X.copy()

    def changing(x: np.ndarray) -> float:
        x[:] = 0.0
        return 1.0

    violation(x, None, {"type": "ineq", "fun": changing})
    np.testing.assert_array_equal(x, X)
