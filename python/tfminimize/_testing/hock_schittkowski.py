"""Problems with constraints, as TensorFlow functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfminimize._testing.problem import TestProblem

__all__ = ["CASES", "Case", "constraints_of", "hock_schittkowski"]


class Case(NamedTuple):
    """A problem of W. Hock and K. Schittkowski, "Test examples for nonlinear programming codes", 1981."""

    fun: Callable[[Any], Any]
    x0: list[float]
    optimum: float
    equalities: Callable[[Any], Any] | None = None
    inequalities: Callable[[Any], Any] | None = None
    bounds: list[tuple[float | None, float | None]] | None = None


# Works for NumPy arrays and for tensors.
CASES = {
    "HS6": Case(lambda x: (1 - x[0]) ** 2, [-1.2, 1], 0.0, lambda x: 10 * (x[1] - x[0] ** 2)),
    "HS7": Case(
        lambda x: tf.math.log(1 + x[0] ** 2) - x[1], [2, 2], -(3**0.5), lambda x: (1 + x[0] ** 2) ** 2 + x[1] ** 2 - 4
    ),
    "HS12": Case(
        lambda x: 0.5 * x[0] ** 2 + x[1] ** 2 - x[0] * x[1] - 7 * x[0] - 7 * x[1],
        [0, 0],
        -30.0,
        None,
        lambda x: 25 - 4 * x[0] ** 2 - x[1] ** 2,
    ),
    "HS14": Case(
        lambda x: (x[0] - 2) ** 2 + (x[1] - 1) ** 2,
        [2, 2],
        9 - 2.875 * 7**0.5,
        lambda x: x[0] - 2 * x[1] + 1,
        lambda x: 1 - 0.25 * x[0] ** 2 - x[1] ** 2,
    ),
    "HS21": Case(
        lambda x: 0.01 * x[0] ** 2 + x[1] ** 2 - 100,
        [-1, -1],
        -99.96,
        None,
        lambda x: 10 * x[0] - x[1] - 10,
        [(2, 50), (-50, 50)],
    ),
    "HS28": Case(
        lambda x: (x[0] + x[1]) ** 2 + (x[1] + x[2]) ** 2, [-4, 1, 1], 0.0, lambda x: x[0] + 2 * x[1] + 3 * x[2] - 1
    ),
    "HS35": Case(
        lambda x: (
            9
            - 8 * x[0]
            - 6 * x[1]
            - 4 * x[2]
            + 2 * x[0] ** 2
            + 2 * x[1] ** 2
            + x[2] ** 2
            + 2 * x[0] * x[1]
            + 2 * x[0] * x[2]
        ),
        [0.5, 0.5, 0.5],
        1 / 9,
        None,
        lambda x: 3 - x[0] - x[1] - 2 * x[2],
        [(0, None)] * 3,
    ),
    "HS71": Case(
        lambda x: x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2],
        [1, 5, 5, 1],
        17.0140173,
        lambda x: x[0] ** 2 + x[1] ** 2 + x[2] ** 2 + x[3] ** 2 - 40,
        lambda x: x[0] * x[1] * x[2] * x[3] - 25,
        [(1, 5)] * 4,
    ),
}


def constraints_of(case: Case) -> list[dict[str, Any]]:
    """The constraints in SciPy's form."""
    kinds = (("eq", case.equalities), ("ineq", case.inequalities))
    return [{"type": kind, "fun": fun} for kind, fun in kinds if fun is not None]


def hock_schittkowski() -> list[TestProblem]:
    """Small problems of Hock and Schittkowski, with constraints and published minima.

    They are from [1]_.

    References
    ----------
    .. [1] Hock and Schittkowski, "Test examples for nonlinear programming codes", 1981,
       doi:10.1007/978-3-642-48320-2.

    Examples
    --------
    >>> [problem.name for problem in hock_schittkowski()]
    ['HS6', 'HS7', 'HS12', 'HS14', 'HS21', 'HS28', 'HS35', 'HS71']
    """
    return [
        TestProblem(name, case.fun, np.array(case.x0, np.float64), case.bounds, case.optimum, constraints_of(case))
        for name, case in CASES.items()
    ]
