"""With XLA's machine code, L-BFGS-B and SLSQP take the path of SciPy on the same XLA function.

XLA rounds differently from the graph, which the other parity tests use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hock_schittkowski import CASES, constraints_of

import tfminimize as tfm
from tfminimize._api.compare import Comparison

pytestmark = pytest.mark.parity


class Case(NamedTuple):
    """A problem of Moré, Garbow & Hillstrom, "Testing unconstrained optimization software", 1981."""

    residuals: Callable[[Any], Any]
    x0: list[float]
    bounds: Any = None


def _indices(count: int) -> tf.Tensor:
    return tf.range(1, count + 1, dtype=tf.float64)


def _helical_valley(x: tf.Tensor) -> list[tf.Tensor]:
    angle = tf.atan2(x[1], x[0]) / (2 * np.pi)
    return [10 * (x[2] - 10 * angle), 10 * (tf.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]]


def _watson(x: tf.Tensor) -> tf.Tensor:
    t = _indices(29)[:, None] / 29
    powers = tf.range(6, dtype=tf.float64)
    slope = tf.reduce_sum(powers[1:] * x[1:] * t ** powers[:-1], 1)
    return tf.concat([slope - tf.reduce_sum(x * t**powers, 1) ** 2 - 1, [x[0], x[1] - x[0] ** 2 - 1]], 0)


def _trigonometric(x: tf.Tensor) -> tf.Tensor:
    return 10.0 - tf.reduce_sum(tf.cos(x)) + _indices(10) * (1 - tf.cos(x)) - tf.sin(x)


def _boundary_value(x: tf.Tensor) -> tf.Tensor:
    h, padded = 1 / 11, tf.pad(x, [[1, 1]])
    return 2 * x - padded[:-2] - padded[2:] + h**2 * (x + _indices(10) * h + 1) ** 3 / 2


def _broyden(x: tf.Tensor) -> tf.Tensor:
    padded = tf.pad(x, [[1, 1]])
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def wood(x: Any) -> list[Any]:
    return [
        10 * (x[1] - x[0] ** 2),
        1 - x[0],
        90**0.5 * (x[3] - x[2] ** 2),
        1 - x[2],
        10**0.5 * (x[1] + x[3] - 2),
        0.1**0.5 * (x[1] - x[3]),
    ]


MGH = {
    "Rosenbrock": Case(lambda x: [10 * (x[1] - x[0] ** 2), 1 - x[0]], [-1.2, 1.0]),
    "Rosenbrock, bounds": Case(lambda x: [10 * (x[1] - x[0] ** 2), 1 - x[0]], [-1.2, 1.0], (-1.5, 0.8)),
    "Freudenstein": Case(
        lambda x: [-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]],
        [0.5, -2.0],
    ),
    "Beale": Case(
        lambda x: [1.5 - x[0] * (1 - x[1]), 2.25 - x[0] * (1 - x[1] ** 2), 2.625 - x[0] * (1 - x[1] ** 3)], [1.0, 1.0]
    ),
    "Beale, bounds": Case(
        lambda x: [1.5 - x[0] * (1 - x[1]), 2.25 - x[0] * (1 - x[1] ** 2), 2.625 - x[0] * (1 - x[1] ** 3)],
        [1.0, 1.0],
        [(0.6, 2.5), (0.5, 100.0)],
    ),
    "Helical valley": Case(_helical_valley, [-1.0, 0.0, 0.0]),
    "Box": Case(
        lambda x: (
            tf.exp(-_indices(10) / 10 * x[0])
            - tf.exp(-_indices(10) / 10 * x[1])
            - x[2] * (tf.exp(-_indices(10) / 10) - tf.exp(-_indices(10)))
        ),
        [0.0, 10.0, 20.0],
    ),
    "Powell singular": Case(
        lambda x: [
            x[0] + 10 * x[1],
            5**0.5 * (x[2] - x[3]),
            (x[1] - 2 * x[2]) ** 2,
            10**0.5 * (x[0] - x[3]) ** 2,
        ],
        [3.0, -1.0, 0.0, 1.0],
    ),
    "Wood": Case(wood, [-3.0, -1.0, -3.0, -1.0]),
    "Wood, bounds": Case(
        wood,
        [-3.0, -1.0, -3.0, -1.0],
        [(-100.0, 0.0), (-100.0, 10.0), (-100.0, 100.0), (0.0, 100.0)],
    ),
    "Biggs": Case(
        lambda x: (
            x[2] * tf.exp(-_indices(13) / 10 * x[0])
            - x[3] * tf.exp(-_indices(13) / 10 * x[1])
            + x[5] * tf.exp(-_indices(13) / 10 * x[4])
            - tf.exp(-_indices(13) / 10)
            + 5 * tf.exp(-_indices(13))
            - 3 * tf.exp(-0.4 * _indices(13))
        ),
        [1.0, 2.0, 1.0, 1.0, 1.0, 1.0],
    ),
    "Watson": Case(_watson, [0.0] * 6),
    "Penalty I": Case(
        lambda x: tf.concat([1e-5**0.5 * (x - 1), [tf.reduce_sum(x**2) - 0.25]], 0), list(map(float, range(1, 11)))
    ),
    "Variably dimensioned": Case(
        lambda x: tf.concat(
            [x - 1, [tf.reduce_sum(_indices(10) * (x - 1)), tf.reduce_sum(_indices(10) * (x - 1)) ** 2]], 0
        ),
        [1 - i / 10 for i in range(1, 11)],
    ),
    "Trigonometric": Case(_trigonometric, [0.1] * 10),
    "Brown almost-linear": Case(
        lambda x: tf.concat([x[:-1] + tf.reduce_sum(x) - 11, [tf.reduce_prod(x) - 1]], 0), [0.5] * 10
    ),
    "Discrete boundary value": Case(_boundary_value, [i / 11 * (i / 11 - 1) for i in range(1, 11)]),
    "Broyden tridiagonal": Case(_broyden, [-1.0] * 30),
    "Linear, full rank": Case(lambda x: tf.concat([x - 2 / 20 * tf.reduce_sum(x) - 1, _ones(x)], 0), [1.0] * 10),
    "Extended Rosenbrock": Case(
        lambda x: tf.concat([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]], 0), [-1.2, 1.0] * 15, (-2.0, 2.0)
    ),
}


def _ones(x: tf.Tensor) -> tf.Tensor:
    return -2 / 20 * tf.repeat(tf.reduce_sum(x), 10) - 1


@pytest.fixture(scope="module")
def comparisons() -> dict[str, Comparison]:
    """Return each problem solved both ways; "method" is L-BFGS-B."""

    def compared(case: Case) -> Comparison:
        def fun(x: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.square(tf.stack(case.residuals(x))))

        return tfm.compare(fun, case.x0, bounds=case.bounds, jit_compile=True, repeats=1)

    return {name: compared(case) for name, case in MGH.items()}


def test_machine_code_evaluates_all(comparisons: dict[str, Comparison]) -> None:
    assert {name: c.ours.backend_reason for name, c in comparisons.items() if c.ours.backend != "xla"} == {}


def test_status_is_that_of_scipy(comparisons: dict[str, Comparison]) -> None:
    assert [name for name, c in comparisons.items() if not c.same_status] == []


def test_fun_is_that_of_scipy(comparisons: dict[str, Comparison]) -> None:
    # Convergence itself leaves ftol = 2.2e-9, or more if f is flat and gtol = 1e-5 ends the solve.
    differing = {n: c for n, c in comparisons.items() if abs(c.fun_difference) > 1e-7 * max(1.0, abs(c.scipy.fun))}
    assert differing == {}


def test_counts_are_those_of_scipy_on_nine_of_ten_problems(comparisons: dict[str, Comparison]) -> None:
    equal = [name for name, c in comparisons.items() if c.nit_difference == c.nfev_difference == 0]
    print(f"nit and nfev equal on {len(equal)} of {len(comparisons)}; not on {set(comparisons) - set(equal)}")
    assert len(equal) >= 0.9 * len(comparisons)


@pytest.mark.parametrize("name", CASES)
def test_slsqp_takes_the_path_of_scipy(name: str) -> None:
    case = CASES[name]
    comparison = tfm.compare(
        case.fun,
        np.array(case.x0, float),
        method="SLSQP",
        bounds=case.bounds,
        constraints=constraints_of(case),
        jit_compile=True,
        repeats=1,
    )
    assert comparison.ours.backend == "xla"
    assert comparison.same_status
    assert (comparison.nit_difference, comparison.nfev_difference) == (0, 0)
    assert comparison.x_difference < 1e-6
    assert comparison.ours.fun == pytest.approx(case.optimum, abs=2e-4)
