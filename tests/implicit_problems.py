"""Random problems that depend smoothly on parameters, and finite differences of their solutions."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm

Float64 = np.ndarray[Any, np.dtype[np.float64]]

STEP = 0.03
"""The step of the differences, which divides the error that a solve leaves."""

LOW, HIGH = -0.25, 0.25


class Parameters(NamedTuple):
    """Random data of a problem with n unknowns; solutions are differentiated by `a` and `b`."""

    a: Float64
    b: Float64
    matrix: Float64
    weights: Float64


def parameters(seed: int, n: int) -> Parameters:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, n)) / np.sqrt(n)
    return Parameters(rng.normal(size=n), rng.normal(size=3), matrix @ matrix.T + np.eye(n), rng.normal(size=n))


def loss(x: Any, a: Any, b: Any, matrix: Any) -> Any:
    """A strictly convex loss with nonzero third derivatives."""
    smooth = (
        tf.reduce_sum(tf.math.expm1(0.3 * a * x)) + b[0] * tf.reduce_sum(tf.sin(0.3 * x)) + b[1] ** 2 * x[0] * x[-1] / 4
    )
    return tf.tensordot(x, tf.linalg.matvec(matrix, x), 1) / 2 + smooth - tf.reduce_sum(a * x)


def equality(x: Any, a: Any, b: Any) -> Any:
    return tf.reduce_sum(x * tf.exp(0.1 * x)) - 0.2 * b[2]


def inequalities(x: Any, a: Any, b: Any) -> Any:
    """Constraints: inside a sphere, and on one side of a surface."""
    return tf.stack([0.25 + 0.05 * b[0] - tf.reduce_sum((x - 0.1 * a) ** 2), x[0] + a[1] * x[1] ** 2 + 0.2])


def _unconstrained(a: Any, b: Any, matrix: Any) -> tfm.ops.MinimizeResult:
    options = {"ftol": 0.0, "gtol": 1e-12}
    return tfm.ops.minimize(loss, tf.zeros_like(a), args=(a, b, matrix), options=options)


def _bounded(a: Any, b: Any, matrix: Any) -> tfm.ops.MinimizeResult:
    options = {"ftol": 0.0, "gtol": 1e-12}
    return tfm.ops.minimize(loss, tf.zeros_like(a), args=(a, b, matrix), bounds=(LOW, HIGH), options=options)


def _constrained(a: Any, b: Any, matrix: Any) -> tfm.ops.MinimizeResult:
    n = a.shape[0]
    constraints = [
        {"type": "eq", "fun": lambda x: equality(x, a, b)},
        {"type": "ineq", "fun": inequalities, "args": (a, b)},
        scipy.optimize.LinearConstraint(np.ones((1, n)) * np.arange(n), -np.inf, 0.5),
    ]
    return tfm.ops.minimize(
        loss,
        tf.zeros_like(a),
        args=(a, b, matrix),
        method="SLSQP",
        bounds=[(LOW, HIGH)] * (n // 2) + [(None, None)] * (n - n // 2),
        constraints=constraints,
        options={"ftol": 1e-16, "maxiter": 300},
    )


SOLVES = {
    "unconstrained": tf.function(_unconstrained),
    "bounded": tf.function(_bounded),
    "constrained": tf.function(_constrained),
}
"""Solves by kind of problem, each traced once for a number of unknowns."""


def active_set(result: tfm.ops.MinimizeResult) -> list[bool]:
    """Return which bounds and inequalities hold with equality."""
    x = result.x.numpy()
    active = [x == LOW, x == HIGH]
    if result.multipliers is not None:
        active.append(result.multipliers.numpy()[1:] > 0)
    found: list[bool] = np.concatenate(active).tolist()
    return found


def central_difference(values: Callable[[float], Any]) -> Any:
    """Return the derivative at 0 by differences of sixth order."""
    first, second, third = ((values(k * STEP) - values(-k * STEP)) / (2 * k * STEP) for k in (1, 2, 3))
    return 1.5 * first - 0.6 * second + 0.1 * third


class Problem(NamedTuple):
    """A problem, and the derivatives of ``weights`` times its solution in some directions of (a, b)."""

    parameters: Parameters
    directions: list[tuple[Float64, Float64]]
    derivatives: list[float]


@functools.cache
def problems(kind: str, n: int, count: int) -> tuple[Problem, ...]:
    """Random problems with smooth solutions; unless unconstrained, a bound or constraint is active."""
    return tuple(itertools.islice(_problems(kind, n), count))


def _problems(kind: str, n: int) -> Iterator[Problem]:
    solve = SOLVES[kind]
    for seed in itertools.count():
        p = parameters(seed, n)
        rng = np.random.default_rng(seed + 1)
        directions = [(rng.normal(size=n) / np.sqrt(n), rng.normal(size=3)) for _ in range(2)]
        start = active_set(solve(p.a, p.b, p.matrix))
        same = []

        def along(
            h: float, da: Float64, db: Float64, p: Parameters = p, start: Sequence[bool] = start, same: Any = same
        ) -> float:
            result = solve(p.a + h * da, p.b + h * db, p.matrix)
            same.append(active_set(result) == start)
            return float(p.weights @ result.x.numpy())

        derivatives = [central_difference(lambda h, da=da, db=db: along(h, da, db)) for da, db in directions]
        if all(same) and any(start) == (kind != "unconstrained"):
            yield Problem(p, directions, derivatives)
