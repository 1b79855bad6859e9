"""SLSQP's solver of quadratic subproblems on ten thousand random programs.

The Karush-Kuhn-Tucker residuals certify each answer: for a strictly convex program they prove that it is the only one.
It is compared with that of Clarabel, an interior-point method. If there is no answer, HiGHS must agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import clarabel
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

from tfminimize import _native
from tfminimize._native import QpStatus

Vector = NDArray[np.float64]
Random = np.random.Generator

TOLERANCE = 1e-9  # Of the residuals, relative to the size of their terms.


@dataclass
class Program:
    """Minimise s @ hessian @ s / 2 + gradient @ s, with constraints as _native.DualActiveSetQp takes them."""

    hessian: Vector
    gradient: Vector
    constraints: Vector
    jacobian: Vector
    num_equalities: int = 0
    lower: Vector | None = None
    upper: Vector | None = None
    point: Vector = field(default_factory=lambda: np.zeros(0))  # A point that satisfies the constraints.

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        free = np.full(self.gradient.size, np.inf)
        return (-free if self.lower is None else self.lower), (free if self.upper is None else self.upper)

    def value(self, s: Vector) -> float:
        return float(s @ self.hessian @ s / 2 + self.gradient @ s)

    def solve(self, qp: _native.DualActiveSetQp | None = None) -> Solution:
        if qp is None:
            qp = _native.DualActiveSetQp(self.gradient.size, self.constraints.size)
        return Solution(
            *qp.solve(
                self.hessian,
                self.gradient,
                self.constraints,
                self.jacobian,
                self.num_equalities,
                self.lower,
                self.upper,
            )
        )


@dataclass
class Solution:
    status: QpStatus
    s: Vector
    multipliers: Vector
    lower_multipliers: Vector
    upper_multipliers: Vector
    pivots: int = field(compare=False)


# Programs.


def random_size(rng: Random, largest: int = 12) -> int:
    return int(rng.integers(1, largest + 1))


def random_hessian(rng: Random, n: int, condition: float = 1e4) -> Vector:
    """Return a matrix with random eigenvectors and this condition number."""
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    eigenvalues = condition ** rng.random(n)
    hessian = (q * eigenvalues) @ q.T
    return (hessian + hessian.T) / 2


def random_gradient(rng: Random, n: int) -> Vector:
    return rng.standard_normal(n) * 10.0 ** rng.integers(-2, 4)


def feasible(rng: Random, jacobian: Vector, num_equalities: int = 0, active: float = 0.5) -> Program:
    """Return a program with a feasible point, where about this share of the inequalities is active."""
    m, n = jacobian.shape
    slack = np.where(rng.random(m) < active, 0, rng.random(m))
    slack[:num_equalities] = 0
    point = rng.standard_normal(n)
    return Program(
        random_hessian(rng, n), random_gradient(rng, n), slack - jacobian @ point, jacobian, num_equalities, point=point
    )


def add_bounds(rng: Random, program: Program, touching: float = 0.3) -> Program:
    """Return bounds around the feasible point; some touch it, some are infinite, some are equal."""
    n = program.point.size
    room = np.where(rng.random((2, n)) < touching, 0, rng.random((2, n)))
    room[rng.random((2, n)) < 0.3] = np.inf
    program.lower, program.upper = program.point - room[0], program.point + room[1]
    return program


def some_equalities(rng: Random, jacobian: Vector) -> int:
    return int(rng.integers(0, min(jacobian.shape) + 1))


def unconstrained(rng: Random) -> Program:
    return feasible(rng, np.zeros((0, random_size(rng))))


def inequalities(rng: Random) -> Program:
    return feasible(rng, rng.standard_normal((random_size(rng, 20), random_size(rng))), active=0.2)


def equalities(rng: Random) -> Program:
    jacobian = rng.standard_normal((random_size(rng, 16), random_size(rng)))
    return feasible(rng, jacobian, some_equalities(rng, jacobian))


def bounds_alone(rng: Random) -> Program:
    return add_bounds(rng, feasible(rng, np.zeros((0, random_size(rng, 30)))))


def everything(rng: Random) -> Program:
    m, n = random_size(rng, 16), random_size(rng)
    jacobian = rng.standard_normal((m, n)) * 10.0 ** rng.integers(-2, 3, (m, 1))
    return add_bounds(rng, feasible(rng, jacobian, some_equalities(rng, jacobian)))


def degenerate_vertex(rng: Random) -> Program:
    """Return a program where more constraints than dimensions meet in a point; rows of small integers are dependent."""
    n = random_size(rng, 8)
    program = feasible(rng, rng.integers(-2, 3, (2 * n + random_size(rng, 10), n)).astype(float))
    program.point = rng.integers(-2, 3, n).astype(float)
    program.constraints = -program.jacobian @ program.point
    return add_bounds(rng, program, touching=0.7) if rng.random() < 0.5 else program


def dependent_rows(rng: Random) -> Program:
    """Return a program with repeated rows, multiples and sums of rows, and zero rows, equalities among them."""
    m, n = random_size(rng, 8), random_size(rng)
    rows = rng.standard_normal((m, n))
    copies = rows[rng.integers(0, m, 3)] * rng.integers(1, 4, (3, 1))
    sums = rng.integers(-1, 2, (3, m)) @ rows
    jacobian = rng.permutation(np.concatenate([rows, copies, sums, np.zeros((1, n))]))
    return feasible(rng, jacobian, some_equalities(rng, jacobian), active=0.8)


def ill_conditioned(rng: Random) -> Program:
    program = everything(rng)
    program.hessian = random_hessian(rng, program.gradient.size, 10.0 ** rng.uniform(4, 8))
    program.hessian *= 10.0 ** rng.uniform(-6, 3)
    return program


def large(rng: Random) -> Program:
    n = int(rng.integers(20, 60))
    return feasible(rng, rng.standard_normal((n, n)), int(rng.integers(0, n // 3)), active=0.3)


def maybe_infeasible(rng: Random) -> Program:
    """Return a program with constraints that may or may not have a solution."""
    program = equalities(rng)
    program.constraints = 2 * rng.standard_normal(program.constraints.size)
    return add_bounds(rng, program) if rng.random() < 0.5 else program


def infeasible(rng: Random) -> Program:
    """Return a program where a sum of rows with positive factors says 0 >= a positive number (Farkas' lemma)."""
    m = random_size(rng, 12) + 1
    jacobian = rng.standard_normal((m, random_size(rng)))
    constraints = rng.standard_normal(m)
    factors = rng.random(m - 1) + 0.1
    jacobian[-1] = -factors @ jacobian[:-1]
    constraints[-1] = -factors @ constraints[:-1] - rng.uniform(0.1, 2)
    order = rng.permutation(m)
    program = feasible(rng, jacobian[order], some_equalities(rng, jacobian))
    program.constraints = constraints[order]
    return program


def contradicting_equalities(rng: Random) -> Program:
    """Return a program where one equality is a sum of others, except for its constant."""
    n = random_size(rng, 11) + 1
    m = int(rng.integers(2, n + 1))
    jacobian = rng.standard_normal((m, n))
    constraints = rng.standard_normal(m)
    factors = rng.integers(-2, 3, m - 1)
    factors[0] = 1
    jacobian[-1] = factors @ jacobian[:-1]
    constraints[-1] = factors @ constraints[:-1] + rng.choice([-1, 1]) * rng.uniform(0.1, 2)
    order = rng.permutation(m)
    program = feasible(rng, jacobian[order], m)
    program.constraints = constraints[order]
    return program


# 10,000 in all.
FEASIBLE: dict[Callable[[Random], Program], int] = {
    unconstrained: 200,
    inequalities: 1500,
    equalities: 1200,
    bounds_alone: 700,
    everything: 1200,
    degenerate_vertex: 1200,
    dependent_rows: 1200,
    ill_conditioned: 1000,
    large: 100,
}
INFEASIBLE: dict[Callable[[Random], Program], int] = {infeasible: 500, contradicting_equalities: 200}
UNKNOWN: dict[Callable[[Random], Program], int] = {maybe_infeasible: 1000}


def programs(family: Callable[[Random], Program], count: int) -> list[Program]:
    return [family(np.random.default_rng([seed, len(family.__name__)])) for seed in range(count)]


# Checks of an answer.


def _multipliers(solution: Solution) -> tuple[Vector, Vector, Vector]:
    return solution.multipliers, solution.lower_multipliers, solution.upper_multipliers


def relative(residual: Vector, size: Vector | float) -> float:
    """Return the largest |residual| / size; 0 / 0 counts as 0."""
    return float(np.max(np.abs(residual) / np.maximum(size, np.finfo(float).tiny), initial=0))


def kkt_residual(program: Program, solution: Solution) -> float:
    """Return the largest violation of a condition of optimality, each relative to the size of its terms.

    Feasible points are of order 1, so each element of s counts as at least 1: it may be zero except for rounding.
    """
    hessian, gradient, constraints, jacobian = program.hessian, program.gradient, program.constraints, program.jacobian
    s, multipliers = solution.s, solution.multipliers
    s_size = np.maximum(np.abs(s), 1)
    inequality = np.arange(constraints.size) >= program.num_equalities

    slope = hessian @ s + gradient - multipliers @ jacobian - solution.lower_multipliers + solution.upper_multipliers
    terms = np.abs(hessian) @ np.abs(s) + np.abs(gradient) + np.abs(multipliers) @ np.abs(jacobian)
    residuals = [relative(slope, terms.max())]

    value = constraints + jacobian @ s
    size = np.abs(constraints) + np.abs(jacobian) @ s_size
    residuals.append(relative(np.where(inequality, np.minimum(value, 0), value), size))
    # Either the constraint is active or its multiplier is zero.
    residuals.append(relative(np.where(multipliers != 0, value, 0), size))
    assert np.all(multipliers[inequality] >= 0)
    for bound, sign, multiplier in zip(
        program.bounds, (1, -1), (solution.lower_multipliers, solution.upper_multipliers), strict=True
    ):
        assert np.all(sign * (s - bound) >= 0)
        assert np.all(multiplier >= 0)
        active = multiplier != 0
        residuals.append(relative((s - bound)[active], s_size[active]))
    return max(residuals)


def highs(program: Program) -> scipy.optimize.OptimizeResult:
    """Return 0 if the constraints can be satisfied, otherwise 2."""
    e = program.num_equalities
    return scipy.optimize.linprog(
        np.zeros(program.gradient.size),
        A_ub=-program.jacobian[e:],
        b_ub=program.constraints[e:],
        A_eq=program.jacobian[:e],
        b_eq=-program.constraints[:e],
        bounds=np.column_stack(program.bounds),
        method="highs",
    )


def clarabel_solution(program: Program) -> clarabel.DefaultSolution:
    lower, upper = program.bounds
    identity = np.eye(program.gradient.size)
    has_lower, has_upper = np.isfinite(lower), np.isfinite(upper)
    # rows @ s + slack = right, slack in the cones.
    rows = np.concatenate([-program.jacobian, -identity[has_lower], identity[has_upper]])
    right = np.concatenate([program.constraints, -lower[has_lower], upper[has_upper]])
    cones = [
        clarabel.ZeroConeT(program.num_equalities),
        clarabel.NonnegativeConeT(len(right) - program.num_equalities),
    ]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    hessian = scipy.sparse.csc_matrix(np.triu(program.hessian))
    solver = clarabel.DefaultSolver(hessian, program.gradient, scipy.sparse.csc_matrix(rows), right, cones, settings)
    return solver.solve()


# The tests.


def assert_clarabel_agrees(program: Program, solution: Solution) -> bool:
    """Compare with Clarabel's solution, unless it gives up, as on a few ill-conditioned programs."""
    expected = clarabel_solution(program)
    if expected.status != clarabel.SolverStatus.Solved:
        # It never finds a contradiction in a program that has a solution.
        assert expected.status in (clarabel.SolverStatus.InsufficientProgress, clarabel.SolverStatus.MaxIterations)
        return False
    accuracy = 1e-6 * (1 + abs(program.value(solution.s)))
    assert program.value(solution.s) == pytest.approx(program.value(np.array(expected.x)), abs=accuracy)
    # The distance between an optimal point and a nearly optimal one.
    difference = solution.s - expected.x
    assert difference @ program.hessian @ difference / 2 < accuracy
    return True


@pytest.mark.slow
@pytest.mark.parametrize(("family", "count"), FEASIBLE.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_feasible_program_is_solved(family: Callable[[Random], Program], count: int) -> None:
    compared = 0
    for seed, program in enumerate(programs(family, count)):
        solution = program.solve()
        assert solution.status is QpStatus.SOLVED, seed
        assert kkt_residual(program, solution) < TOLERANCE, seed
        compared += assert_clarabel_agrees(program, solution)
    assert compared >= 0.99 * count


@pytest.mark.slow
@pytest.mark.parametrize(("family", "count"), INFEASIBLE.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_infeasible_program_is_detected(family: Callable[[Random], Program], count: int) -> None:
    for seed, program in enumerate(programs(family, count)):
        singular = QpStatus.SINGULAR_EQUALITIES
        possible = (singular,) if family is contradicting_equalities else (QpStatus.INFEASIBLE, singular)
        solution = program.solve()
        assert solution.status in possible, seed
        assert np.isnan(solution.s).all()
        assert highs(program).status == 2, seed


@pytest.mark.slow
def test_program_is_solved_if_it_is_feasible() -> None:
    statuses = []
    for seed, program in enumerate(programs(maybe_infeasible, UNKNOWN[maybe_infeasible])):
        solution = program.solve()
        statuses.append(solution.status)
        if solution.status is QpStatus.SOLVED:
            assert kkt_residual(program, solution) < TOLERANCE, seed
            assert_clarabel_agrees(program, solution)
        else:
            assert solution.status is QpStatus.INFEASIBLE, seed
            assert highs(program).status == 2, seed
            assert clarabel_solution(program).status == clarabel.SolverStatus.PrimalInfeasible, seed
    assert min(statuses.count(status) for status in (QpStatus.SOLVED, QpStatus.INFEASIBLE)) > 100


def disturb(rng: Random, program: Program, change: float, rows: bool) -> None:
    """Return a program more or less like this one; with `rows`, change the Hessian and some rows as well."""
    n, m = program.gradient.size, program.constraints.size
    program.gradient = program.gradient + change * rng.standard_normal(n)
    program.constraints = program.constraints + change * rng.random(m)
    if rows:
        factor = change * rng.standard_normal((n, n))
        program.hessian = program.hessian + factor @ factor.T
        changed = rng.random((m, 1)) < 0.2
        program.jacobian = program.jacobian + np.where(changed, change * rng.standard_normal((m, n)), 0)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("family", [inequalities, everything, degenerate_vertex, dependent_rows, maybe_infeasible])
def test_solver_that_has_been_used_gives_the_same_answers(family: Callable[[Random], Program], rows: bool) -> None:
    """What a solver remembers of one program may help with the next, but must not change its answer."""
    rng = np.random.default_rng(1)
    fast = 0
    for seed, program in enumerate(programs(family, 60)):
        qp = _native.DualActiveSetQp(program.gradient.size, program.constraints.size)
        change = 10.0 ** rng.integers(-8, 1)
        for _ in range(8):
            expected, solution = program.solve(), program.solve(qp)
            assert solution.status is expected.status, seed
            if solution.status is QpStatus.SOLVED:
                fast += solution.pivots < expected.pivots
                assert kkt_residual(program, solution) < TOLERANCE, seed
                size = 1 + np.abs(expected.s).max()
                np.testing.assert_allclose(solution.s, expected.s, atol=1e-9 * size, err_msg=str(seed))
                largest = max(np.abs(part).max(initial=0) for part in _multipliers(expected))
                for actual, wanted in zip(_multipliers(solution), _multipliers(expected), strict=True):
                    np.testing.assert_allclose(actual, wanted, atol=1e-7 * (1 + largest), err_msg=str(seed))
            disturb(rng, program, change, rows)
    assert fast > 0


def test_solution_at_a_vertex() -> None:
    # The point with x + y >= 1, x <= y nearest to (1, -1); the multipliers were computed by hand.
    program = Program(np.eye(2), np.array([-1.0, 1.0]), np.array([-1.0, 0.0]), np.array([[1.0, 1.0], [-1.0, 1.0]]))
    solution = program.solve()
    np.testing.assert_allclose(solution.s, [0.5, 0.5], rtol=1e-14)
    np.testing.assert_allclose(solution.multipliers, [0.5, 1.0], rtol=1e-14)
    assert solution.pivots == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hessian": np.eye(3)}, "hessian has the shape (3, 3); it must be (2, 2)."),
        ({"gradient": np.zeros((2, 1))}, "gradient has the shape (2, 1); it must be (2,)."),
        ({"constraints": np.zeros(2)}, "constraints has the shape (2,); it must be (1,)."),
        ({"jacobian": np.zeros((2, 1))}, "jacobian has the shape (2, 1); it must be (1, 2)."),
        ({"lower": np.zeros(1)}, "lower has the shape (1,); it must be (2,)."),
        ({"upper": np.zeros(3)}, "upper has the shape (3,); it must be (2,)."),
        ({"num_equalities": 2}, "num_equalities is 2; there are 1 constraints."),
        ({"hessian": np.diag([1.0, -1.0])}, "hessian must be positive definite."),
        ({"hessian": np.diag([1.0, np.nan])}, "hessian must be positive definite."),
    ],
)
def test_arguments_that_do_not_fit(change: dict[str, object], sentence: str) -> None:
    arguments = {
        "hessian": np.eye(2),
        "gradient": np.zeros(2),
        "constraints": np.zeros(1),
        "jacobian": np.ones((1, 2)),
    }
    with pytest.raises(ValueError, match=re.escape(sentence)):
        _native.DualActiveSetQp(2, 1).solve(**(arguments | change))
