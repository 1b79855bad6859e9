"""A control loop: how long does it wait for its optimiser, and how long at worst?

In each tick, a cart on a line gets a new position, speed and target, and the next n accelerations, each in [-1, 1], are
chosen so that it comes near to the target with little effort (model predictive control); with a constraint, it also
must not be faster than 1.5 at the end. These solve it in one process, in turn, each from zero:

- `Minimizer.minimize(args=...)` on machine code;
- `scipy.optimize.minimize` on `tf.function(jit_compile=True)`, as users write it;
- if it is installed, NLopt's LD_SLSQP on the same functions.

The second table has SLSQP with the constraint, cold and with `warm_start` from the last tick. The ticks are those of
the first table, each from zero, or those of a cart that moves on, pushed a little by chance, to a target that changes
every 50 ticks; these start from the last plan, one step on.

The garbage collector runs as in any program. p50 and the like are percentiles of the time of one tick.

    python benchmarks/inner_loop.py [--ticks 10000] [--peer-ticks 300] [--warm-ticks 2000] [--json]
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import tfminimize as tfm

Vector = NDArray[np.float64]
STEP = 0.25
SIZES = (2, 5, 10, 20)


@dataclass
class Row:
    """The ticks of one solver; times in microseconds."""

    n: int
    constraint: bool
    solver: str
    ticks: int
    p50: float
    p99: float
    p999: float
    longest: float
    iterations: float
    evaluations: float
    loss: float
    """The mean over the ticks that all solvers have made."""


def motion(u: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute positions and speeds after each of the accelerations u, [n], from (position, speed)."""
    speed = state[1] + STEP * tf.cumsum(u)
    return state[0] + STEP * tf.cumsum(speed), speed


def cost(u: tf.Tensor, state: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    position, _ = motion(u, state)
    return tf.reduce_sum((position - target) ** 2) + 0.1 * tf.reduce_sum(u**2 + 0.1 * u**4)


def slack(u: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    return 1.5**2 - motion(u, state)[1][-1] ** 2


def measured(n: int, constraint: bool, solver: str, ticks: list[Any], solve: Callable[..., Any], common: int) -> Row:
    """Solve all ticks, after some that do not count."""
    for tick in ticks[:20]:
        solve(*tick)
    times, counts, losses = [], [], []
    for tick in ticks:
        begin = time.perf_counter()
        loss, *count = solve(*tick)
        times.append(time.perf_counter() - begin)
        counts.append(count)
        losses.append(loss)
    shares = np.percentile(np.array(times) * 1e6, [50, 99, 99.9, 100])
    return Row(
        n,
        constraint,
        solver,
        len(ticks),
        *map(float, shares),
        *map(float, np.mean(counts, 0)),
        float(np.mean(losses[:common])),
    )


def ours(n: int, constraint: bool, is_warm: bool = False, from_plan: bool = False) -> Callable[..., Any]:
    def constraints(now: Vector) -> Any:
        return {"type": "ineq", "fun": slack, "args": (now,)} if constraint else ()

    solver = tfm.Minimizer(
        cost,
        np.zeros(n),
        (np.zeros(2), np.zeros(())),
        "SLSQP" if constraint else "L-BFGS-B",
        bounds=(-1, 1),
        constraints=constraints(np.zeros(2)),
        jit_compile=True,
    )
    last: Any = None

    def solve(now: Vector, target: Vector) -> tuple[float, int, int]:
        nonlocal last
        plan = np.append(last.x[1:], last.x[-1]) if from_plan and last is not None else None
        result = solver.minimize(
            plan,
            args=(now, target),
            constraints=constraints(now) if constraint else None,
            warm_start=last if is_warm else None,
        )
        last = result if is_warm or from_plan else None
        return float(result.fun), result.nit, result.nfev

    return solve


def moving_on(n: int, count: int, random: np.random.Generator) -> list[Any]:
    """The states and targets of a cart that takes the first acceleration of each plan."""
    solver = tfm.Minimizer(cost, np.zeros(n), (np.zeros(2), np.zeros(())), bounds=(-1, 1), jit_compile=True)
    now, target, ticks = np.zeros(2), np.zeros(()), []
    for i in range(count):
        if i % 50 == 0:
            target = np.asarray(random.uniform(-2, 2))
        ticks.append((now, target))
        push = random.normal(size=2) * [0.01, 0.02]
        speed = now[1] + STEP * solver.minimize(args=(now, target)).x[0] + push[1]
        now = np.array([now[0] + STEP * speed + push[0], speed])
    return ticks


def compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The cost and the slack with their gradients, for callers in Python."""

    def with_gradient(fun: Callable[..., Any]) -> Callable[..., Any]:
        @tf.function(jit_compile=True)
        def both(u: tf.Tensor, *args: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(u)
                value = fun(u, *args)
            return value, tape.gradient(value, u)

        def call(u: Vector, *args: Vector) -> tuple[float, Vector]:
            value, gradient = both(tf.constant(u), *map(tf.constant, args))
            return float(value), gradient.numpy()

        return call

    return with_gradient(cost), with_gradient(slack)


def by_scipy(n: int, constraint: bool) -> Callable[..., Any]:
    fun, limit = compiled()
    bounds = [(-1.0, 1.0)] * n

    def solve(now: Vector, target: Vector) -> tuple[float, int, int]:
        constraints: Any = ()
        if constraint:
            parts = {"fun": lambda u: limit(u, now)[0], "jac": lambda u: limit(u, now)[1]}
            constraints = {"type": "ineq", **parts}
        found = scipy.optimize.minimize(
            fun,
            np.zeros(n),
            (now, target),
            "SLSQP" if constraint else "L-BFGS-B",
            jac=True,
            bounds=bounds,
            constraints=constraints,
        )
        return float(found.fun), found.nit, found.nfev

    return solve


def by_nlopt(nlopt: Any, n: int, constraint: bool) -> Callable[..., Any]:
    fun, limit = compiled()

    def solve(now: Vector, target: Vector) -> tuple[float, float, int]:
        def value(u: Vector, gradient: Vector) -> float:
            f, slope = fun(u, now, target)
            gradient[:] = slope if gradient.size else gradient
            return f

        def excess(u: Vector, gradient: Vector) -> float:
            f, slope = limit(u, now)
            gradient[:] = -slope if gradient.size else gradient
            return -f

        problem = nlopt.opt(nlopt.LD_SLSQP, n)
        problem.set_min_objective(value)
        problem.set_lower_bounds(-1.0)
        problem.set_upper_bounds(1.0)
        problem.set_ftol_rel(1e-6)
        if constraint:
            problem.add_inequality_constraint(excess, 1e-8)
        problem.optimize(np.zeros(n))
        return problem.last_optimum_value(), np.nan, problem.get_numevals()

    return solve


def unrelated(count: int, random: np.random.Generator) -> list[Any]:
    ticks = [(random.uniform([-2, -1], [2, 1]), random.uniform(-2, 2, ())[()]) for _ in range(count)]
    return [(now, np.asarray(target)) for now, target in ticks]


def benchmark(ticks: int, peer_ticks: int) -> list[Row]:
    random = np.random.default_rng(0)
    try:
        nlopt = importlib.import_module("nlopt")
    except ModuleNotFoundError:
        nlopt = None
    rows = []
    for n in SIZES:
        inputs = unrelated(ticks, random)
        few = inputs[:peer_ticks]
        for constraint in (False, True):
            rows.append(measured(n, constraint, "tfminimize", inputs, ours(n, constraint), len(few)))
            rows.append(measured(n, constraint, "SciPy", few, by_scipy(n, constraint), len(few)))
            if nlopt is not None:
                rows.append(measured(n, constraint, "NLopt", few, by_nlopt(nlopt, n, constraint), len(few)))
    return rows


def benchmark_warm_starts(count: int) -> list[Row]:
    random = np.random.default_rng(0)
    rows = []
    for n in SIZES:
        for kind, ticks in ("unrelated", unrelated(count, random)), ("moving on", moving_on(n, count, random)):
            for is_warm in (False, True):
                solve = ours(n, True, is_warm, kind == "moving on")
                rows.append(measured(n, True, f"{kind}, {'warm' if is_warm else 'cold'}", ticks, solve, count))
    return rows


def show(rows: list[Row]) -> None:
    table = Table(title="One tick, in µs", caption="limit: on the last speed; ratio: of p50 to that of tfminimize")
    for name in ("n", "limit", "solver", "evals", "loss", "p50", "p99", "p99.9", "longest", "ratio"):
        table.add_column(name, justify="left" if name in ("limit", "solver") else "right")
    base = 1.0
    for row in rows:
        if row.solver == "tfminimize":
            base = row.p50
        ratio = "" if row.solver == "tfminimize" else f"{row.p50 / base:.0f}"
        times = [f"{t:,.0f}" if t >= 100 else f"{t:.1f}" for t in (row.p50, row.p99, row.p999, row.longest)]
        table.add_row(
            str(row.n),
            "yes" if row.constraint else "no",
            row.solver,
            f"{row.evaluations:.1f}",
            f"{row.loss:.4f}",
            *times,
            ratio,
        )
    Console(width=100).print(table)


def show_warm_starts(rows: list[Row]) -> None:
    table = Table(title="One tick of SLSQP with the limit, in µs")
    for name in ("n", "ticks", "iterations", "evals", "loss", "p50", "p99"):
        table.add_column(name, justify="left" if name == "ticks" else "right")
    for row in rows:
        counts = f"{row.iterations:.1f}", f"{row.evaluations:.1f}", f"{row.loss:.4f}"
        table.add_row(str(row.n), row.solver, *counts, f"{row.p50:,.0f}", f"{row.p99:,.0f}")
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=10_000, help="of tfminimize (default %(default)s)")
    parser.add_argument("--peer-ticks", type=int, default=300, help="of the others (default %(default)s)")
    parser.add_argument("--warm-ticks", type=int, default=2_000, help="of each warm start (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    with threadpool_limits(1, "blas"):
        rows = benchmark(arguments.ticks, arguments.peer_ticks)
        warm = benchmark_warm_starts(arguments.warm_ticks)
    if arguments.json:
        tables = {"ticks": rows, "warm_starts": warm}
        json.dump({name: [asdict(row) for row in table] for name, table in tables.items()}, sys.stdout, indent=2)
    else:
        show(rows)
        show_warm_starts(warm)


if __name__ == "__main__":
    main()
