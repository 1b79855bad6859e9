"""The inverse Hessian after each update of the Broyden family, compared with the formulas on dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from broyden_family import UPDATES, Matrix, Vector, updated
from native_functions import vectors

from tfminimize import _native

Function = Callable[[Vector], tuple[float, Vector]]


class Run(NamedTuple):
    """A solve, with the points that it went through."""

    solver: _native.Bfgs
    iterates: list[Vector]
    gradients: list[Vector]

    def reference(self, update: str, initial_scale: bool, inverse: Matrix | None) -> Matrix:
        """The inverse Hessian that the formulas make of the iterates."""
        n = len(self.iterates[0])
        scales = initial_scale and inverse is None
        inverse = np.eye(n) if inverse is None else inverse
        pairs = zip(np.diff(self.iterates, axis=0), np.diff(self.gradients, axis=0), strict=True)
        for k, (s, y) in enumerate(pairs):
            inverse = updated(inverse, s, y, update, scales_identity=scales and k == 0)
        return inverse


def run(fun: Function, x0: Vector, inverse: Matrix | None = None, **options: Any) -> Run:
    x, g = vectors(len(x0), x0)
    solver = _native.Bfgs(x, g, **{"gtol": 0.0, "hess_inv0": inverse, **options})
    iterates, gradients = [x.copy()], [fun(x)[1].copy()]

    def keep() -> None:
        iterates.append(x.copy())
        gradients.append(g.copy())

    _native.drive(solver, _native.HostObjective(fun), keep)
    return Run(solver, iterates, gradients)


def valley(x: Vector) -> tuple[float, Vector]:
    """Rosenbrock's chained function with its minimum moved to zero, so that steps have all their digits to the end."""
    head, tail = x[:-1], x[1:]
    rise = tail - 2 * head - head**2
    gradient = np.zeros_like(x)
    gradient[1:] = 200 * rise
    gradient[:-1] -= 400 * rise * (1 + head)
    gradient[:-1] += 2 * head
    return float(100 * rise @ rise + head @ head), gradient


def given_inverse(n: int) -> Matrix:
    factor = np.eye(n) + np.tri(n, k=-1) / n
    return factor @ np.diag(np.linspace(0.01, 0.1, n)) @ factor.T


def assert_same(ours: Matrix, reference: Matrix) -> None:
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-10 * np.abs(reference).max())


@pytest.mark.parametrize("initial_scale", [False, True])
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("n", [2, 5, 20])
def test_matrix_is_that_of_the_formulas_after_30_iterations(n: int, update: str, initial_scale: bool) -> None:
    done = run(valley, np.linspace(-2.2, 1.0, n), update=update, initial_scale=initial_scale, maxiter=30)
    assert done.solver.nit == 30
    assert done.solver.num_skipped_updates == 0
    assert_same(done.solver.inverse_hessian(), done.reference(update, initial_scale, None))


@pytest.mark.parametrize("initial_scale", [False, True])
@pytest.mark.parametrize("update", UPDATES)
def test_given_matrix_is_updated_and_not_scaled_first(update: str, initial_scale: bool) -> None:
    inverse = given_inverse(6)
    done = run(valley, np.ones(6), inverse, update=update, initial_scale=initial_scale, maxiter=10)
    assert done.solver.nit == 10
    assert_same(done.solver.inverse_hessian(), done.reference(update, initial_scale, inverse))


@pytest.mark.parametrize("initial_scale", [False, True])
@pytest.mark.parametrize("update", UPDATES)
def test_one_variable_is_the_secant_method(update: str, initial_scale: bool) -> None:
    done = run(lambda x: (float(np.cosh(x[0])), np.sinh(x)), np.ones(1), update=update, maxiter=4)
    (s,), (y,) = (np.diff(points, axis=0)[-1] for points in (done.iterates, done.gradients))
    np.testing.assert_allclose(done.solver.inverse_hessian(), [[s / y]], rtol=1e-12)


@pytest.mark.parametrize("update", UPDATES)
def test_matrix_is_that_of_the_formulas_in_whole_tiles_and_threads(update: str) -> None:
    done = run(valley, np.linspace(-1.0, 1.0, 130), update=update, maxiter=5)
    assert_same(done.solver.inverse_hessian(), done.reference(update, False, None))


CURVES: list[tuple[Callable[[Vector], Vector], Callable[[Vector], Vector]]] = [
    (lambda z: z**2 / 2, lambda z: z),
    (lambda z: z**4, lambda z: 4 * z**3),
    (lambda z: np.log1p(z**2), lambda z: 2 * z / (1 + z**2)),
    (lambda z: z**2 / 8 - np.cos(3 * z), lambda z: z / 4 + 3 * np.sin(3 * z)),
    (lambda z: np.logaddexp(z, -z), np.tanh),
]


def random_function(random: np.random.Generator, n: int, magnitude: float) -> Function:
    """Return a sum of curves along random directions, convex or not, with or without rounding noise in the gradient.

    The directions have lengths of 10 to the power of -magnitude to magnitude, and the values of the square of that.
    """
    directions = random.standard_normal((n + 2, n)) * 10.0 ** random.uniform(-magnitude, magnitude, (n + 2, 1))
    shift = random.standard_normal(n + 2)
    curve, slope = CURVES[random.integers(len(CURVES))]
    noise = random.choice([0.0, 1e-12, 1e-6])
    scale = 10.0 ** random.uniform(-2 * magnitude, 2 * magnitude)

    def fun(x: Vector) -> tuple[float, Vector]:
        z = directions @ x - shift
        gradient = directions.T @ slope(z)
        return scale * float(curve(z).sum()), scale * gradient * (1 + noise * np.sin(1e9 * x))

    return fun


def random_run(random: np.random.Generator, n: int, magnitude: float) -> tuple[list[float], Matrix]:
    """Return the values and the inverse Hessians, [count, n, n], of the iterations of a solve."""
    fun = random_function(random, n, magnitude)
    x, g = vectors(n, random.standard_normal(n) * 10.0 ** random.uniform(-3, 0.5))
    solver = _native.Bfgs(
        x,
        g,
        update=random.choice(UPDATES),
        initial_scale=bool(random.integers(2)),
        c2=random.choice([0.1, 0.9, 0.999]),
        gtol=0,
        maxiter=20,
    )
    values: list[float] = []
    matrices: list[Matrix] = []

    def keep() -> None:
        values.append(solver.fun)
        matrices.append(solver.inverse_hessian())

    with np.errstate(over="ignore", invalid="ignore"):
        values.append(fun(x)[0])
        _native.drive(solver, _native.HostObjective(fun), keep)
    return values, np.array([*matrices, solver.inverse_hessian()])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_matrix_stays_definite_in_2000_random_runs(n: int) -> None:
    random = np.random.default_rng(n)
    for _ in range(2000):
        _, matrices = random_run(random, n, magnitude=1.0)
        diagonals = np.diagonal(matrices, axis1=1, axis2=2)
        assert (diagonals > 0).all()
        scales = 1 / np.sqrt(diagonals)
        np.linalg.cholesky(matrices * scales[:, :, None] * scales[:, None, :])  # raises if it is not


@pytest.mark.parametrize("n", [1, 2, 8])
def test_solve_descends_if_curvatures_span_more_than_float64_has_digits(n: int) -> None:
    random = np.random.default_rng(n)
    for _ in range(300):
        values, matrices = random_run(random, n, magnitude=4.0)
        assert np.isfinite(matrices).all()
        if np.isfinite(values[0]):
            assert (np.diff(values) <= 0).all()
