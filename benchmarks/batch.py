"""Many small solves at once: how fast are 10,000 curve fits?

Each fit is a least-squares fit of the model a exp(-b t) + c + d t to 50 points with noise, in float64. The four
parameters have bounds, and all fits start at the same point. These solvers run in one process, in turn:

- `Minimizer.minimize_batch`, through XLA's machine code and through TensorFlow, with one thread and with more;
- a loop over `scipy.optimize.minimize` on a `tf.function`, as users write it (on a sample, because all fits would take
  minutes);
- `jaxopt.LBFGSB`, vmapped and compiled by `jax.jit`, with its default tolerance 1e-3 and 50 iterations (with a
  smaller tolerance, the whole batch goes on until the last fit has used up its iterations);
- without bounds, `tfp.optimizer.lbfgs_minimize` on the whole batch, compiled by XLA.

The others use SciPy's default tolerances for the gradient and the function. Every function is traced and compiled
before the clock starts. Times are medians. A fit counts as solved if its loss is within 0.1 % of the least loss that
any of these solvers has found for it.

    python benchmarks/batch.py [--count 10000] [--threads 1 2] [--small] [--json]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray
from peers import tensorflow_probability
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import tfminimize as tfm

T = np.linspace(0.0, 4.0, 50)
START = np.ones(4)
LOW, HIGH = 0.0, 5.0
FTOL, GTOL = 2.2204460492503131e-09, 1e-5

Array = NDArray[Any]


@dataclass
class Row:
    """The results of one solver; times in seconds."""

    solver: str
    bounds: bool
    threads: str
    fits: int
    """How many fits were timed."""
    per_fit: float
    evaluations: float | None
    """Per fit; None if the solver does not count them for each fit."""
    fun: Array
    solved: float = 0.0
    """Share of the fits."""


def data(count: int) -> Array:
    """Draw the curves, [count, 50]."""
    rng = np.random.default_rng(0)
    a, b, c, d = rng.uniform([1.0, 0.5, 0.0, 0.1], [3.0, 2.0, 1.0, 1.0], (count, 4)).T[:, :, np.newaxis]
    curves: Array = a * np.exp(-b * T) + c + d * T + 0.05 * rng.normal(size=(count, len(T)))
    return curves


def loss(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x[0] * tf.exp(-x[1] * T) + x[2] + x[3] * T - y) ** 2)


def median_time(solve: Callable[[], Any], repetitions: int) -> tuple[float, Any]:
    """Return the median seconds of a solve after a warm-up, and its result."""
    result = solve()
    times = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        result = solve()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), result


def tfminimize_row(curves: Array, jit_compile: bool, bounds: bool, threads: int, repetitions: int) -> Row:
    minimizer = tfm.Minimizer(
        loss, START, args=(curves[0],), bounds=(LOW, HIGH) if bounds else None, jit_compile=jit_compile
    )
    seconds, batch = median_time(
        lambda: minimizer.minimize_batch(batched_args=curves, num_threads=threads), repetitions
    )
    name = f"tfminimize, {'XLA' if batch.backend == 'xla' else 'graph'}"
    return Row(name, bounds, str(threads), len(curves), seconds / len(curves), float(batch.nfev.mean()), batch.fun)


def scipy_row(curves: Array, jit_compile: bool) -> Row:
    @tf.function(jit_compile=jit_compile)
    def value_and_gradient(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x, y)
        return value, tape.gradient(value, x)

    def fun(x: Array, y: tf.Tensor) -> tuple[Array, Array]:
        value, gradient = value_and_gradient(tf.constant(x), y)
        return value.numpy(), gradient.numpy()

    def solve() -> list[Any]:
        return [
            scipy.optimize.minimize(fun, START, tf.constant(y), jac=True, method="L-BFGS-B", bounds=[(LOW, HIGH)] * 4)
            for y in curves
        ]

    seconds, results = median_time(solve, 1)
    name = f"SciPy, tf.function{' with XLA' if jit_compile else ''}"
    evaluations = statistics.mean(result.nfev for result in results)
    losses = np.array([result.fun for result in results])
    return Row(name, True, "1", len(curves), seconds / len(curves), evaluations, losses)


def jaxopt_row(curves: Array, repetitions: int) -> Row | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax, jaxopt = importlib.import_module("jax"), importlib.import_module("jaxopt")
    except ModuleNotFoundError:
        return None
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def fun(x: Any, y: Any) -> Any:
        return jnp.sum((x[0] * jnp.exp(-x[1] * T) + x[2] + x[3] * T - y) ** 2)

    solver = jaxopt.LBFGSB(fun, implicit_diff=False)
    bounds = (jnp.full(4, LOW), jnp.full(4, HIGH))
    run = jax.jit(jax.vmap(lambda y: solver.run(jnp.array(START), bounds, y)))
    on_device = jnp.array(curves)
    seconds, result = median_time(lambda: jax.block_until_ready(run(on_device)), repetitions)
    losses = np.asarray(jax.vmap(fun)(result.params, on_device))
    return Row("jaxopt, vmapped LBFGSB", True, "all", len(curves), seconds / len(curves), None, losses)


def tfp_row(curves: Array, repetitions: int) -> Row | None:
    tfp = tensorflow_probability()
    if tfp is None:
        return None
    targets = tf.constant(curves)

    def value_and_gradient(x: tf.Tensor) -> Any:
        def losses(x: tf.Tensor) -> tf.Tensor:
            a, b, c, d = (x[:, i, tf.newaxis] for i in range(4))
            return tf.reduce_sum((a * tf.exp(-b * T) + c + d * T - targets) ** 2, axis=1)

        return tfp.math.value_and_gradient(losses, x)

    @tf.function(jit_compile=True)
    def solve() -> Any:
        return tfp.optimizer.lbfgs_minimize(
            value_and_gradient,
            initial_position=tf.tile(tf.constant(START)[tf.newaxis], [len(curves), 1]),
            tolerance=GTOL,
            f_relative_tolerance=FTOL,
            max_iterations=15000,
        )

    seconds, losses = median_time(lambda: solve().objective_value.numpy(), repetitions)
    return Row("tfp, batched L-BFGS with XLA", False, "all", len(curves), seconds / len(curves), None, losses)


def measure(count: int, sample: int, threads: list[int], repetitions: int) -> list[Row]:
    curves = data(count)
    rows = [tfminimize_row(curves, True, True, number, repetitions) for number in threads]
    rows += [tfminimize_row(curves, False, True, number, 1) for number in threads]
    rows += [scipy_row(curves[:sample], jit_compile) for jit_compile in (False, True)]
    rows += [row for row in [jaxopt_row(curves, max(1, repetitions // 2))] if row is not None]
    rows += [tfminimize_row(curves, True, False, number, repetitions) for number in threads]
    rows += [row for row in [tfp_row(curves, max(1, repetitions // 2))] if row is not None]
    for bounds in (True, False):
        of_these = [row for row in rows if row.bounds == bounds]
        least = np.full(count, np.inf)
        for row in of_these:
            least[: row.fits] = np.fmin(least[: row.fits], row.fun)
        for row in of_these:
            row.solved = float(np.mean(row.fun <= 1.001 * least[: row.fits]))
    return rows


def ratios(rows: list[Row]) -> list[dict[str, Any]]:
    """Add each row's time relative to our machine code on the same problem, for each number of threads."""
    report = []
    for row in rows:
        ours = [other for other in rows if other.solver == "tfminimize, XLA" and other.bounds == row.bounds]
        fields = {**asdict(row), "ratios": {other.threads: row.per_fit / other.per_fit for other in ours}}
        del fields["fun"]
        report.append(fields)
    return report


def print_table(report: list[dict[str, Any]], count: int, console: Console) -> None:
    table = Table(title=f"{count:,} fits of 4 parameters to {len(T)} points")
    names = ["solver", "bounds", "threads", "fits timed", "µs per fit", "evaluations per fit", "solved"]
    for name in names + [f"/ XLA, {threads} thr." for threads in report[0]["ratios"]]:
        table.add_column(name, justify="left" if name == "solver" else "right")
    for row in report:
        table.add_row(
            row["solver"],
            "yes" if row["bounds"] else "no",
            row["threads"],
            f"{row['fits']:,}",
            f"{row['per_fit'] * 1e6:,.1f}",
            "" if row["evaluations"] is None else f"{row['evaluations']:.1f}",
            f"{row['solved']:.1%}",
            *(f"{ratio:,.2f}" if ratio < 10 else f"{ratio:,.0f}" for ratio in row["ratios"].values()),
        )
    console.print(table)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="number of fits")
    parser.add_argument("--sample", type=int, default=200, help="number of fits that SciPy solves")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="a quick run: 20 fits, once")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no table")
    options = parser.parse_args(arguments)
    if options.small:
        options.count, options.sample, options.repetitions, options.threads = 20, 3, 1, [1, 2]
    with threadpool_limits(1, user_api="blas"):  # more threads of SciPy would only wait on TensorFlow's cores
        report = ratios(
            measure(options.count, min(options.sample, options.count), options.threads, options.repetitions)
        )
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print_table(report, options.count, Console())


if __name__ == "__main__":
    main(sys.argv[1:])
