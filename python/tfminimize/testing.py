"""Documented test problems in TensorFlow, each with a start and, if it is known, the minimum.

Examples
--------
>>> import tfminimize as tfm
>>> problem = rosenbrock(4)
>>> result = tfm.minimize(problem.fun, problem.x0, bounds=problem.bounds)
>>> bool(abs(result.fun - problem.minimum) < 1e-8)
True
"""

from __future__ import annotations

from tfminimize._testing.functions import (
    bounded_rosenbrock,
    digits_regression,
    network_regression,
    quadratic,
    rosenbrock,
)
from tfminimize._testing.hock_schittkowski import hock_schittkowski
from tfminimize._testing.more_garbow_hillstrom import more_garbow_hillstrom
from tfminimize._testing.problem import TestProblem
from tfminimize._testing.s2mpj import s2mpj

Problem = TestProblem
"""The older name."""

__all__ = [
    "Problem",
    "TestProblem",
    "bounded_rosenbrock",
    "digits_regression",
    "hock_schittkowski",
    "more_garbow_hillstrom",
    "network_regression",
    "quadratic",
    "rosenbrock",
    "s2mpj",
]
