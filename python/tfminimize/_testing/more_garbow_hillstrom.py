"""Least-squares problems of J. J. Moré, B. S. Garbow and K. E. Hillstrom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfminimize._testing.problem import TestProblem

__all__ = ["more_garbow_hillstrom"]


class _Case(NamedTuple):
    residuals: Callable[[Any], Any]
    """As a vector, or as a list of numbers."""
    x0: Any
    minimum: float | None = None
    """The published least sum of squares; None if the standard start often leads to another minimum."""
    bounds: Any = None


_GAUSSIAN = np.array([9, 44, 175, 540, 1295, 2420, 3521, 3989, 3521, 2420, 1295, 540, 175, 44, 9]) / 1e4
_BARD = np.array([14, 18, 22, 25, 29, 32, 35, 39, 37, 58, 73, 96, 134, 210, 439]) / 100
_KOWALIK = np.array([1957, 1947, 1735, 1600, 844, 627, 456, 342, 323, 235, 246]) / 1e4
_KOWALIK_U = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


def _to(count: int) -> np.ndarray[Any, Any]:
    """1, 2, ..., count."""
    return np.arange(1.0, count + 1.0)


def _rosenbrock(x: Any) -> Any:
    return [10 * (x[1] - x[0] ** 2), 1 - x[0]]


def _beale(x: Any) -> Any:
    return [1.5 - x[0] * (1 - x[1]), 2.25 - x[0] * (1 - x[1] ** 2), 2.625 - x[0] * (1 - x[1] ** 3)]


def _helical_valley(x: Any) -> Any:
    angle = tf.atan2(x[1], x[0]) / (2 * np.pi)
    return [10 * (x[2] - 10 * angle), 10 * (tf.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]]


def _bard(x: Any) -> Any:
    u = _to(15)
    return _BARD - (x[0] + u / ((16 - u) * x[1] + np.minimum(u, 16 - u) * x[2]))


def _box(x: Any) -> Any:
    t = _to(10) / 10
    return tf.exp(-t * x[0]) - tf.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def _kowalik_osborne(x: Any) -> Any:
    u = _KOWALIK_U
    return _KOWALIK - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def _wood(x: Any) -> Any:
    return [
        10 * (x[1] - x[0] ** 2),
        1 - x[0],
        90**0.5 * (x[3] - x[2] ** 2),
        1 - x[2],
        10**0.5 * (x[1] + x[3] - 2),
        0.1**0.5 * (x[1] - x[3]),
    ]


def _brown_dennis(x: Any) -> Any:
    t = _to(20) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + np.sin(t) * x[3] - np.cos(t)) ** 2


def _biggs(x: Any) -> Any:
    t = _to(13) / 10
    model = x[2] * tf.exp(-t * x[0]) - x[3] * tf.exp(-t * x[1]) + x[5] * tf.exp(-t * x[4])
    return model - np.exp(-t) + 5 * np.exp(-10 * t) - 3 * np.exp(-4 * t)


def _watson(x: Any) -> Any:
    t, powers = _to(29)[:, None] / 29, np.arange(6.0)
    slope = tf.reduce_sum(powers[1:] * x[1:] * t ** powers[:-1], 1)
    return tf.concat([slope - tf.reduce_sum(x * t**powers, 1) ** 2 - 1, [x[0], x[1] - x[0] ** 2 - 1]], 0)


def _penalty(x: Any) -> Any:
    return tf.concat([1e-5**0.5 * (x - 1), [tf.reduce_sum(x**2) - 0.25]], 0)


def _variably_dimensioned(x: Any) -> Any:
    total = tf.reduce_sum(_to(10) * (x - 1))
    return tf.concat([x - 1, [total, total**2]], 0)


def _trigonometric(x: Any) -> Any:
    return 10 - tf.reduce_sum(tf.cos(x)) + _to(10) * (1 - tf.cos(x)) - tf.sin(x)


def _brown_almost_linear(x: Any) -> Any:
    return tf.concat([x[:-1] + tf.reduce_sum(x) - 11, [tf.reduce_prod(x) - 1]], 0)


def _boundary_value(x: Any) -> Any:
    h, padded = 1 / 11, tf.pad(x, [[1, 1]])
    return 2 * x - padded[:-2] - padded[2:] + h**2 * (x + _to(10) * h + 1) ** 3 / 2


def _broyden_tridiagonal(x: Any) -> Any:
    padded = tf.pad(x, [[1, 1]])
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def _linear(x: Any) -> Any:
    total = tf.reduce_sum(x) / 10
    return tf.concat([x - total - 1, tf.fill([10], -total - 1)], 0)


def _chebyquad(x: Any) -> Any:
    y = 2 * x - 1
    before, now, residuals = tf.ones_like(y), y, [tf.reduce_mean(y)]
    for i in range(2, 9):
        before, now = now, 2 * y * now - before  # Chebyshev's polynomials
        residuals.append(tf.reduce_mean(now) + (1 / (i * i - 1) if i % 2 == 0 else 0.0))
    return residuals


def _extended_rosenbrock(x: Any) -> Any:
    return tf.concat([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]], 0)


_CASES = {
    "Rosenbrock": _Case(_rosenbrock, [-1.2, 1], 0.0),
    "Rosenbrock within bounds": _Case(_rosenbrock, [-1.2, 1], 0.04, (-1.5, 0.8)),
    "Freudenstein-Roth": _Case(
        lambda x: [-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]],
        [0.5, -2],
    ),
    "Powell badly scaled": _Case(
        lambda x: [1e4 * x[0] * x[1] - 1, tf.exp(-x[0]) + tf.exp(-x[1]) - 1.0001], [0, 1], 0.0
    ),
    "Brown badly scaled": _Case(lambda x: [x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2], [1, 1], 0.0),
    "Beale": _Case(_beale, [1, 1], 0.0),
    "Beale within bounds": _Case(_beale, [1, 1], None, [(0.6, 2.5), (0.5, 100)]),
    "Jennrich-Sampson": _Case(
        lambda x: 2 + 2 * _to(10) - tf.exp(_to(10) * x[0]) - tf.exp(_to(10) * x[1]), [0.3, 0.4], 124.362
    ),
    "Helical valley": _Case(_helical_valley, [-1, 0, 0], 0.0),
    "Bard": _Case(_bard, [1, 1, 1], 8.21487e-3),
    "Gaussian": _Case(
        lambda x: x[0] * tf.exp(-x[1] * ((8 - _to(15)) / 2 - x[2]) ** 2 / 2) - _GAUSSIAN, [0.4, 1, 0], 1.12793e-8
    ),
    "Box": _Case(_box, [0, 10, 20], 0.0),
    "Powell singular": _Case(
        lambda x: [
            x[0] + 10 * x[1],
            5**0.5 * (x[2] - x[3]),
            (x[1] - 2 * x[2]) ** 2,
            10**0.5 * (x[0] - x[3]) ** 2,
        ],
        [3, -1, 0, 1],
        0.0,
    ),
    "Wood": _Case(_wood, [-3, -1, -3, -1], 0.0),
    "Wood within bounds": _Case(_wood, [-3, -1, -3, -1], None, [(-100, 0), (-100, 10), (-100, 100), (0, 100)]),
    "Kowalik-Osborne": _Case(_kowalik_osborne, [0.25, 0.39, 0.415, 0.39], 3.07505e-4),
    "Brown-Dennis": _Case(_brown_dennis, [25, 5, -5, -1], 85822.2),
    "Biggs": _Case(_biggs, [1, 2, 1, 1, 1, 1]),
    "Watson": _Case(_watson, [0] * 6, 2.28767e-3),
    "Penalty I": _Case(_penalty, range(1, 11), 7.08765e-5),
    "Variably dimensioned": _Case(_variably_dimensioned, 1 - _to(10) / 10, 0.0),
    "Trigonometric": _Case(_trigonometric, [0.1] * 10),
    "Brown almost-linear": _Case(_brown_almost_linear, [0.5] * 10),
    "Discrete boundary value": _Case(_boundary_value, _to(10) / 11 * (_to(10) / 11 - 1), 0.0),
    "Broyden tridiagonal": _Case(_broyden_tridiagonal, [-1] * 30, 0.0),
    "Linear of full rank": _Case(_linear, [1] * 10, 10.0),
    "Chebyquad": _Case(_chebyquad, _to(8) / 9, 3.51687e-3),
    "Extended Rosenbrock": _Case(_extended_rosenbrock, [-1.2, 1] * 15, 0.0, (-2, 2)),
}


def more_garbow_hillstrom() -> list[TestProblem]:
    """Least-squares problems of Moré, Garbow and Hillstrom, with their starts and published minima.

    They are from [1]_. Four have bounds. Six have no ``minimum``, since other minima are near the start, or because of
    the bounds.

    References
    ----------
    .. [1] Moré, Garbow and Hillstrom, "Testing unconstrained optimization software", 1981, doi:10.1145/355934.355936.

    Examples
    --------
    >>> problems = {problem.name: problem for problem in more_garbow_hillstrom()}
    >>> problems["Wood"].minimum, problems["Wood"].x0
    (0.0, array([-3., -1., -3., -1.]))
    """
    return [
        TestProblem(name, _sum_of_squares(case.residuals), np.array(case.x0, np.float64), case.bounds, case.minimum)
        for name, case in _CASES.items()
    ]


def _sum_of_squares(residuals: Callable[[Any], Any]) -> Callable[[Any], tf.Tensor]:
    def fun(x: Any) -> tf.Tensor:
        return tf.reduce_sum(tf.square(tf.stack(residuals(x))))

    return fun
