"""Many starts of one acquisition function: is it faster to evaluate them together?

The function is the expected improvement of a Gaussian process on 100 points in 6 dimensions, in float64, which Bayesian
optimisation maximises from many random starts within a box. These solve it in one process, in turn:

- `minimize_batch(vectorized=True)`: the solves go in step, and one call evaluates all that are still running; also in
  as many groups as there are cores;
- `minimize_batch` on the function of one point, in as many threads as there are cores;
- a loop over `scipy.optimize.minimize` on the function of one point, compiled by `tf.function` (on a sample);
- one call of SciPy's L-BFGS-B for the sum over all starts, as BoTorch does. It needs fewer calls than the loop, but its
  curvature is that of all starts at once, and so is its stopping test.

The first two run through TensorFlow and through XLA's machine code. All is traced and compiled before the clock starts.
Times are medians of rounds in which all take turns. "Best" is the share of the starts that end within 1e-6 of the best
value that any solver has found from that start.

    python benchmarks/acquisition.py [--starts 64 512] [--rounds 5] [--small] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
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

Array = NDArray[np.float64]
POINTS, SIZE = 100, 6
SCALE, NOISE = 0.5, 1e-4
LOW, HIGH = 0.0, 1.0


@dataclass
class Row:
    """The results of one solver."""

    starts: int
    solver: str
    backend: str
    solved: int
    """How many starts were timed."""
    per_start: float
    """Seconds."""
    evaluations: float
    """The mean over the starts."""
    fun: list[float]
    best: float = 0.0
    """Share of the starts."""


class Surrogate:
    """A Gaussian process with a squared exponential kernel."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.points = rng.uniform(LOW, HIGH, (POINTS, SIZE))
        values = np.sin(5 * self.points).sum(axis=1) + np.cos(7 * self.points[:, 0] * self.points[:, 1])
        values = (values - values.mean()) / values.std()
        squares = ((self.points[:, None] - self.points) ** 2).sum(axis=-1)
        kernel = np.exp(-squares / (2 * SCALE**2)) + NOISE * np.eye(POINTS)
        self.weights = np.linalg.solve(kernel, values)
        self.inverse = np.linalg.inv(kernel)
        self.least = values.min()

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Compute the negative logarithm of the expected improvement, [..., 6] -> [...]."""
        rows = tf.reshape(x, [-1, SIZE])
        squares = tf.reduce_sum((rows[:, None] - self.points) ** 2, axis=-1)
        kernel = tf.exp(-squares / (2 * SCALE**2))
        mean = tf.linalg.matvec(kernel, self.weights)
        variance = 1.0 - tf.reduce_sum(tf.matmul(kernel, self.inverse) * kernel, axis=-1)
        deviation = tf.sqrt(tf.maximum(variance, 1e-12))
        z = (self.least - mean) / deviation
        normal = tf.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        improvement = deviation * (normal + z * 0.5 * tf.math.erfc(-z / np.sqrt(2.0)))
        return tf.reshape(-tf.math.log(tf.maximum(improvement, 1e-300)), tf.shape(x)[:-1])


Solve = Callable[[], tuple[Array, NDArray[np.int64], str]]
"""Returns the losses and the number of evaluations of each start, and the backend."""


def ours(fun: Surrogate, starts: Array, vectorized: bool, jit_compile: bool, groups: int | None = None) -> Solve:
    one = fun if vectorized else lambda x: fun(x)
    minimizer = tfm.Minimizer(one, np.zeros(SIZE), bounds=(LOW, HIGH), jit_compile=jit_compile, vectorized=vectorized)

    def solve() -> tuple[Array, NDArray[np.int64], str]:
        batch = minimizer.minimize_batch(starts, num_threads=groups)
        return batch.fun, batch.nfev, "XLA" if batch.backend == "xla" else "graph"

    return solve


def by_scipy(fun: Surrogate, starts: Array, together: bool) -> Solve:
    @tf.function(reduce_retracing=True)
    def value_and_gradient(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = fun(x)
        return value, tape.gradient(value, x)

    def solve_one(x0: Array) -> Any:
        def call(flat: Array) -> tuple[float, Array]:
            value, gradient = value_and_gradient(tf.constant(flat.reshape(x0.shape)))
            return float(np.sum(value)), gradient.numpy().ravel()

        result = scipy.optimize.minimize(call, x0.ravel(), jac=True, method="L-BFGS-B", bounds=[(LOW, HIGH)] * x0.size)
        return fun(result.x.reshape(x0.shape)).numpy(), result.nfev

    def solve() -> tuple[Array, Array, str]:
        found = [solve_one(starts)] if together else [solve_one(x0) for x0 in starts]
        return np.hstack([f for f, _ in found]), np.array([n for _, n in found]), "graph"

    return solve


def measure(count: int, sample: int, rounds: int) -> list[Row]:
    fun = Surrogate()
    starts = np.random.default_rng(1).uniform(LOW, HIGH, (count, SIZE))
    few = starts[: min(sample, count)]
    solvers: list[tuple[str, Array, Solve]] = []
    for jit_compile in (False, True):
        solvers.append(("tfminimize, vectorized", starts, ours(fun, starts, True, jit_compile)))
        in_groups = ours(fun, starts, True, jit_compile, min(count, os.cpu_count() or 1))
        solvers.append(("tfminimize, vectorized, a group for each core", starts, in_groups))
        solvers.append(("tfminimize, one by one in threads", starts, ours(fun, starts, False, jit_compile)))
    solvers.append(("SciPy, in a loop", few, by_scipy(fun, few, False)))
    solvers.append(("SciPy, the sum of all", starts, by_scipy(fun, starts, True)))
    for _, _, solve in solvers:
        solve()
    times: list[list[float]] = [[] for _ in solvers]
    for _ in range(rounds):
        for i, (_, _, solve) in enumerate(solvers):
            begin = time.perf_counter()
            solve()
            times[i].append(time.perf_counter() - begin)
    rows = []
    for (name, given, solve), seconds in zip(solvers, times, strict=True):
        losses, evaluations, backend = solve()
        per_start = statistics.median(seconds) / len(given)
        rows.append(Row(count, name, backend, len(given), per_start, float(evaluations.mean()), losses.tolist()))
    least = np.full(count, np.inf)
    for row in rows:
        least[: row.solved] = np.fmin(least[: row.solved], row.fun)
    for row in rows:
        row.best = float(np.mean(np.array(row.fun) <= least[: row.solved] + 1e-6))
    return rows


def print_table(rows: list[Row], console: Console) -> None:
    table = Table(title=f"Expected improvement, {POINTS} points, {SIZE} variables")
    for name in ("starts", "solver", "backend", "µs per start", "evaluations", "best", "/ vectorized"):
        table.add_column(name, justify="left" if name in ("solver", "backend") else "right")
    for row in rows:
        base = next(r for r in rows if (r.starts, r.backend) == (row.starts, row.backend))
        table.add_row(
            f"{row.starts:,}",
            row.solver,
            row.backend,
            f"{row.per_start * 1e6:,.0f}",
            f"{row.evaluations:.1f}",
            f"{row.best:.0%}",
            f"{row.per_start / base.per_start:.2f}",
        )
    console.print(table)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--sample", type=int, default=32, help="number of starts that SciPy solves in a loop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a quick run: 8 starts, once")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no table")
    options = parser.parse_args(arguments)
    if options.small:
        options.starts, options.sample, options.rounds = [8], 2, 1
    with threadpool_limits(1, user_api="blas"):
        rows = [row for count in options.starts for row in measure(count, options.sample, options.rounds)]
    if options.json:
        print(json.dumps([{k: v for k, v in asdict(row).items() if k != "fun"} for row in rows], indent=2))
    else:
        print_table(rows, Console())


if __name__ == "__main__":
    main(sys.argv[1:])
