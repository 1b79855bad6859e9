"""SLSQP compared with SciPy's: the time per iteration in the solver, the memory, and the time of a whole solve.

The problem is strictly convex: f = ½ xᵀDx + ¼ Σ xᵢ⁴ with D = diag(1 ... 10). It has n/2 linear inequalities Ax >= b,
about half of them active at the minimum, and bounds; or only bounds, about a third of them active.

The first table counts only the time inside the solvers, without the function and the constraints. The runs take turns,
and the figures are medians. SciPy's linear algebra is limited to one thread (--blas-threads 0 leaves it as it is
installed). The second table bends n/2 to 2n rows: with Ax - 0.15·W(x∘x) >= b, their normals change from one iteration
to the next, and no factors of theirs can be kept ("cold"); with Ax >= b they can ("warm"). The third table measures how
much a new process grows during a solve. The last table has the whole solve of the old `ScipyOptimizerInterface`'s
example with constraints and two variables, with SciPy on `tf.function`s, as users write it.

    python benchmarks/slsqp.py [--small] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("TFMINIMIZE_QUIET", "1")

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, _slsqp_py

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """The convex problem, for `scipy.optimize.minimize`."""

    n: int
    matrix: Vector
    right_side: Vector
    bounds: scipy.optimize.Bounds
    bend: Vector | None = None
    """W, or None for linear constraints."""

    @staticmethod
    def with_rows(n: int, rows: int | None = None, bent: bool = False) -> Problem:
        """Make a problem whose first n/2 rows meet at a random point, with bounds far away."""
        generator = np.random.default_rng(1)
        m = n // 2 if rows is None else rows
        matrix = generator.standard_normal((m, n)) / np.sqrt(n)
        point = generator.uniform(-1, 1, n)
        slack = np.where(np.arange(m) < n // 2, 0, generator.uniform(0, 1, m))
        bend = 0.3 * generator.standard_normal((m, n)) / np.sqrt(n) if bent else None
        far = scipy.optimize.Bounds(np.full(n, -2.0), np.full(n, 2.0))
        problem = Problem(n, matrix, np.zeros(m), far, bend)
        return replace(problem, right_side=problem.values(point) - slack)

    @staticmethod
    def with_bounds(n: int) -> Problem:
        generator = np.random.default_rng(1)
        lower = generator.uniform(-1, 0.5, n)
        return Problem(n, np.empty((0, n)), np.empty(0), scipy.optimize.Bounds(lower, lower + 1))

    def values(self, x: Vector) -> Vector:
        """Compute the constraints, which are not negative where they hold."""
        linear = self.matrix @ x - self.right_side
        return linear if self.bend is None else linear - self.bend @ x**2 / 2

    def jacobian(self, x: Vector) -> Vector:
        return self.matrix if self.bend is None else self.matrix - self.bend * x

    def solve(self, method: Any, maxiter: int = 1000) -> OptimizeResult:
        weights = np.linspace(1, 10, self.n)
        constraint = {"type": "ineq", "fun": self.values, "jac": self.jacobian}
        return scipy.optimize.minimize(
            lambda x: float(x @ (weights * x) / 2 + (x**4).sum() / 4),
            np.ones(self.n),
            jac=lambda x: weights * x + x**3,
            method=method,
            bounds=self.bounds,
            constraints=constraint if len(self.matrix) else (),
            options={"maxiter": maxiter},
        )

    def active(self, x: Vector) -> int:
        """Count the rows and bounds that hold with equality."""
        rows = int((self.values(x) < 1e-6).sum())
        return rows + int(((x < self.bounds.lb + 1e-9) | (x > self.bounds.ub - 1e-9)).sum())


class SolverClock:
    """Wraps SciPy's solver to count the seconds spent in it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._solver = _slsqp_py.slsqp
        _slsqp_py.slsqp = self

    def __call__(self, *args: Any) -> Any:
        begin = time.perf_counter()
        returned = self._solver(*args)
        self.seconds += time.perf_counter() - begin
        return returned

    def remove(self) -> None:
        _slsqp_py.slsqp = self._solver


def compare_iterations(problem: Problem, repetitions: int) -> dict[str, Any]:
    """Measure the median seconds of one iteration inside each solver."""
    import tfminimize as tfm

    ours: list[float] = []
    scipys: list[float] = []
    for _ in range(repetitions + 1):
        our_result = problem.solve(tfm.scipy.slsqp)
        ours.append(our_result.timing["solver"] / our_result.nit)
        clock = SolverClock()
        scipy_result = problem.solve("SLSQP")
        clock.remove()
        scipys.append(clock.seconds / scipy_result.nit)
    for result in (our_result, scipy_result):
        if not result.success:
            raise RuntimeError(f"n = {problem.n}: {result.message}")
    our_seconds, scipy_seconds = statistics.median(ours[1:]), statistics.median(scipys[1:])  # the first warms up
    return {
        "n": problem.n,
        "rows": len(problem.matrix),
        "active": problem.active(our_result.x),
        "nit": our_result.nit,
        "scipy_nit": scipy_result.nit,
        "fun_difference": our_result.fun - scipy_result.fun,
        "seconds": our_seconds,
        "scipy_seconds": scipy_seconds,
        "ratio": scipy_seconds / our_seconds,
    }


def compare_cold_with_warm(n: int, rows: int, repetitions: int) -> dict[str, Any]:
    """Measure an iteration of our solver with bent rows and with straight ones."""
    import tfminimize as tfm

    cold, warm = Problem.with_rows(n, rows, bent=True), Problem.with_rows(n, rows)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(repetitions + 1):
        for problem in (cold, warm):
            result = problem.solve(tfm.scipy.slsqp)
            if not result.success:
                raise RuntimeError(f"n = {n}: {result.message}")
            seconds[problem is cold].append(result.timing["solver"] / result.nit)
            if problem is cold:
                active, nit = cold.active(result.x), result.nit
    cold_seconds, warm_seconds = (statistics.median(seconds[is_cold][1:]) for is_cold in (True, False))
    return {
        "n": n,
        "rows": rows,
        "active": active,
        "nit": nit,
        "cold_seconds": cold_seconds,
        "warm_seconds": warm_seconds,
        "ratio": cold_seconds / warm_seconds,
    }


def measure_memory(n: int, rows: bool) -> dict[str, Any]:
    """Solve once in this process, and measure how much it grows, without the problem's own matrix."""
    import tfminimize as tfm

    Problem.with_rows(10).solve(tfm.scipy.slsqp)  # loads all libraries
    problem = Problem.with_rows(n) if rows else Problem.with_bounds(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = problem.solve(tfm.scipy.slsqp)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if not result.success:
        raise RuntimeError(f"n = {n}: {result.message}")
    m = len(problem.matrix)
    return {
        "n": n,
        "rows": m,
        "active": problem.active(result.x),
        "nit": result.nit,
        "seconds": result.timing["solver"] / result.nit,
        "squares": (peak - before) * 1024 / 8 / n**2,
        # The workspace that SciPy allocates (_slsqp_py.py), and its copy of the Jacobian.
        "scipy_squares": (n * (n + 1) // 2 + 4 * m * n + 9 * m + 8 * n * n + 35 * n + 28) / n**2,
    }


def measure_memory_in_child(n: int, rows: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", str(n), str(int(rows))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare_old_example(repetitions: int) -> list[dict[str, Any]]:
    """Measure the whole solve, as a graph and with XLA on both sides."""
    import tensorflow as tf

    import tfminimize as tfm

    vector = tf.Variable([7.0, 7.0], name="vector")
    constraints = [
        {"type": "eq", "fun": lambda: vector[1] - 1.0},
        {"type": "ineq", "fun": lambda: vector[0] - 1.0},
    ]
    rows = []
    for jit in (False, True):
        comparison = tfm.compare(
            lambda: tf.reduce_sum(tf.square(vector)),
            vector,
            method="SLSQP",
            constraints=constraints,
            jit_compile=jit,
            repeats=repetitions,
        )
        rows.append(
            {
                "mode": "jit" if jit else "graph",
                "nit": comparison.ours.nit,
                "scipy_nit": comparison.scipy.nit,
                "seconds": comparison.our_seconds,
                "scipy_seconds": comparison.scipy_seconds,
                "ratio": comparison.ratio,
            }
        )
    return rows


def print_report(report: dict[str, list[dict[str, Any]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    def show(title: str, columns: dict[str, Callable[[dict[str, Any]], str]], rows: Sequence[dict[str, Any]]) -> None:
        table = Table(title=title, title_justify="left")
        for name in columns:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*(column(row) for column in columns.values()))
        Console(width=120).print(table)

    size: dict[str, Callable[[dict[str, Any]], str]] = {
        "n": lambda r: f"{r['n']:,}",
        "rows": lambda r: str(r["rows"]),
        "active": lambda r: str(r["active"]),
    }
    show(
        "One iteration of the solver, milliseconds",
        {
            **size,
            "iterations": lambda r: str(r["nit"]),
            "SciPy's": lambda r: str(r["scipy_nit"]),
            "f minus SciPy's": lambda r: f"{r['fun_difference']:.0e}",
            "tfminimize": lambda r: f"{r['seconds'] * 1e3:.3f}",
            "SciPy": lambda r: f"{r['scipy_seconds'] * 1e3:.2f}",
            "times faster": lambda r: f"{r['ratio']:.1f}",
        },
        report["iterations"],
    )
    show(
        "Nonlinear constraints, whose normals change: one iteration of the solver, milliseconds",
        {
            **size,
            "iterations": lambda r: str(r["nit"]),
            "cold": lambda r: f"{r['cold_seconds'] * 1e3:.3f}",
            "warm": lambda r: f"{r['warm_seconds'] * 1e3:.3f}",
            "cold / warm": lambda r: f"{r['ratio']:.1f}",
        },
        report["cold"],
    )
    show(
        "A large problem; memory in units of n² doubles",
        {
            **size,
            "iterations": lambda r: str(r["nit"]),
            "ms per iteration": lambda r: f"{r['seconds'] * 1e3:.0f}",
            "memory": lambda r: f"{r['squares']:.1f}",
            "SciPy's": lambda r: f"{r['scipy_squares']:.1f}",
        },
        report["memory"],
    )
    show(
        "The old interface's example, whole solve, milliseconds",
        {
            "mode": lambda r: r["mode"],
            "iterations": lambda r: str(r["nit"]),
            "SciPy's": lambda r: str(r["scipy_nit"]),
            "tfminimize": lambda r: f"{r['seconds'] * 1e3:.3f}",
            "SciPy": lambda r: f"{r['scipy_seconds'] * 1e3:.2f}",
            "times faster": lambda r: f"{r['ratio']:.1f}",
        },
        report["example"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small problems, once each")
    parser.add_argument("--repetitions", type=int, default=0, help="solves of each problem (default: by its size)")
    parser.add_argument("--blas-threads", type=int, default=1, help="SciPy's threads; 0: as installed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        n, rows = map(int, arguments.child)
        print(json.dumps(measure_memory(n, bool(rows))))
        return

    from threadpoolctl import threadpool_limits

    sizes, bounded, large = ((16, 32), 32, 64) if arguments.small else ((100, 200, 400), 400, 2000)
    bent = (16,) if arguments.small else (10, 100, 300)
    repetitions = arguments.repetitions or (1 if arguments.small else 0)
    with threadpool_limits(arguments.blas_threads or None, "blas"):
        problems = [*map(Problem.with_rows, sizes), Problem.with_bounds(bounded)]
        report = {
            "iterations": [compare_iterations(p, repetitions or max(3, 2000 // p.n)) for p in problems],
            "cold": [
                compare_cold_with_warm(n, rows, repetitions or max(3, 2000 // n))
                for n in bent
                for rows in (n // 2, n, 2 * n)
            ],
            "memory": [measure_memory_in_child(large, rows) for rows in (True, False)],
            "example": compare_old_example(repetitions or 200),
        }
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print_report(report)


if __name__ == "__main__":
    main()
