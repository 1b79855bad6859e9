"""What does a solve cost inside of a graph?

A `tf.function` minimises Rosenbrock's function from (-1.2, 1, -1.2, 1, ...) in float64 with default tolerances, by
`tfminimize.ops.minimize`. We compare it with TensorFlow Probability's `tfp.optimizer.lbfgs_minimize`, in graph mode and
with XLA, and with `tfminimize.Minimizer.minimize`, which does the same outside the graph. All run in one process, in
turn. Every function is traced and compiled before the clock starts. The times are medians; what takes long has fewer
runs ("runs"), spread over the whole time.

With "XLA", tfminimize compiles the loss and its gradient, and TensorFlow Probability compiles the whole solve.

To call a `tf.function` from Python takes longer than some of these solves; the row "empty" is a call that does
nothing, and "without the call" leaves its time out. The graph also solves 10 times in a loop ("in a loop"), which gives
the time of a solve without the call.

The second table is for a layer that solves a problem for each row: it projects 1,000 points of 5 dimensions to the
ellipsoid Σ wᵢ xᵢ² = 1 by a penalty, in float64. One `tfminimize.ops.minimize_batch` is compared with `tf.map_fn` over
`tfminimize.ops.minimize`, and with TensorFlow Probability, whose solver takes all points at once, in step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import tfminimize as tfm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the libraries that TensorFlow Probability imports warn
    import tensorflow_probability as tfp

    tfp.optimizer.lbfgs_minimize  # noqa: B018  the first use loads it


@dataclass(frozen=True)
class Row:
    """The results of solving one problem in one way."""

    n: int
    solver: str
    mode: str
    seconds: float
    runs: int
    evaluations: int
    fun: float


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def by_operation(x0: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    def solve(x0: tf.Tensor) -> tuple[Any, Any]:
        result = tfm.ops.minimize(rosenbrock, x0, jit_compile=jit_compile)
        return result.fun, result.nfev

    return in_graph(solve, x0)


def in_loop(x0: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    def solve(x0: tf.Tensor) -> tuple[Any, Any]:
        fun, nfev = tf.constant(0.0, tf.float64), tf.constant(0, tf.int64)
        for _ in tf.range(LOOP):
            result = tfm.ops.minimize(rosenbrock, x0 + 0.0 * fun, jit_compile=jit_compile)
            fun, nfev = result.fun, result.nfev
        return fun, nfev

    return in_graph(solve, x0)


def by_nothing(x0: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    return in_graph(lambda x0: (x0[0], tf.constant(1)), x0, jit_compile)


def in_graph(solve: Callable[[tf.Tensor], Any], x0: np.ndarray, jit_compile: bool = False) -> Callable[[], Any]:
    """The solve as a `tf.function`, called with a tensor."""
    compiled, start = tf.function(solve, jit_compile=jit_compile or None), tf.constant(x0)
    return lambda: compiled(start)


def outside(x0: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    minimizer = tfm.Minimizer(rosenbrock, x0, jit_compile=jit_compile)

    def solve() -> tuple[Any, Any]:
        result = minimizer.minimize(x0)
        return result.fun, result.nfev

    return solve


def by_tfp(x0: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    def solve(x0: tf.Tensor) -> tuple[Any, Any]:
        result = tfp.optimizer.lbfgs_minimize(
            lambda x: tfp.math.value_and_gradient(rosenbrock, x),
            initial_position=x0,
            num_correction_pairs=10,
            tolerance=1e-5,
            f_relative_tolerance=2.2204460492503131e-09,
            max_iterations=15000,
        )
        return result.objective_value, result.num_objective_evaluations

    return in_graph(solve, x0, jit_compile)


def penalised(x: tf.Tensor, point: tf.Tensor) -> tf.Tensor:
    """The squared distance and the penalty, for one point or for each row."""
    outside = tf.reduce_sum(WEIGHTS * x**2, -1) - 1.0
    return tf.reduce_sum((x - point) ** 2, -1) + 10.0 * outside**2


def batch_by_operation(points: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    def solve(points: tf.Tensor) -> tuple[Any, Any]:
        start = tf.zeros_like(points[:1]) + 0.1
        result = tfm.ops.minimize_batch(penalised, start, batched_args=points, jit_compile=jit_compile)
        return result.x, tf.reduce_sum(result.nfev)

    return in_graph(solve, points)


def batch_by_map(points: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    def solve(points: tf.Tensor) -> tuple[Any, Any]:
        def one(point: tf.Tensor) -> tuple[Any, Any]:
            start = tf.zeros_like(point) + 0.1
            result = tfm.ops.minimize(penalised, start, (point,), jit_compile=jit_compile)
            return result.x, result.nfev

        x, nfev = tf.map_fn(one, points, fn_output_signature=(tf.float64, tf.int64))
        return x, tf.reduce_sum(nfev)

    return in_graph(solve, points)


def batch_by_tfp(points: np.ndarray, jit_compile: bool) -> Callable[[], tuple[Any, Any]]:
    def solve(points: tf.Tensor) -> tuple[Any, Any]:
        result = tfp.optimizer.lbfgs_minimize(
            lambda x: tfp.math.value_and_gradient(lambda x: penalised(x, points), x),
            initial_position=tf.zeros_like(points) + 0.1,
            num_correction_pairs=10,
            tolerance=1e-5,
            f_relative_tolerance=2.2204460492503131e-09,
            max_iterations=15000,
        )
        return result.position, result.num_objective_evaluations * points.shape[0]

    return in_graph(solve, points, jit_compile)


WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
BATCH_WAYS = {"one operation": batch_by_operation, "tf.map_fn": batch_by_map, "tfp": batch_by_tfp}
LOOP = 10
LONG = 1.0
"""Seconds for all runs of one way..."""
FEWEST = 5
"""...which are as many at least."""
WAYS = {
    "operation": by_operation,
    "in a loop": in_loop,
    "outside": outside,
    "tfp": by_tfp,
    "empty": by_nothing,
}
MODES = {"graph": False, "XLA": True}


def timed(
    solves: dict[Any, Callable[[], Any]], rounds: int, advance: Callable[[], None]
) -> dict[Any, tuple[float, int]]:
    """The median seconds of each call and the number of its runs, all in turn."""
    times: dict[Any, list[float]] = {key: [] for key in solves}
    for i in range(rounds):
        for key, solve in solves.items():
            taken = times[key]
            if taken and sum(taken) > max(LONG, FEWEST * taken[0]) * i / rounds:
                continue  # in a later round
            begin = time.perf_counter()
            solve()
            taken.append(time.perf_counter() - begin)
        advance()
    return {key: (statistics.median(taken), len(taken)) for key, taken in times.items()}


def measure(n: int, rounds: int, advance: Callable[[], None]) -> list[Row]:
    x0 = np.resize([-1.2, 1.0], n)
    solves = {(way, mode): make(x0, jit) for way, make in WAYS.items() for mode, jit in MODES.items()}
    results = {}
    for key, solve in solves.items():
        solve()  # trace, compile
        results[key] = [float(np.asarray(value)) for value in solve()]
    times = timed(solves, rounds, advance)
    rows = []
    for key, (fun, evaluations) in results.items():
        seconds, runs = times[key]
        rows.append(Row(n, *key, seconds / (LOOP if key[0] == "in a loop" else 1), runs, int(evaluations), fun))
    return rows


@dataclass(frozen=True)
class BatchRow:
    """The results of projecting all points in one way."""

    solver: str
    mode: str
    seconds: float
    runs: int
    evaluations: int
    """Of all problems; a solver that goes in step counts a problem until the last has converged."""
    difference: float
    """From the solutions of the operation."""
    ratio: float
    """The time as a multiple of that of the operation in the same mode."""


def measure_batch(count: int, rounds: int, advance: Callable[[], None]) -> list[BatchRow]:
    points = np.random.default_rng(0).normal(size=(count, len(WEIGHTS)))
    solves = {(way, mode): make(points, jit) for way, make in BATCH_WAYS.items() for mode, jit in MODES.items()}
    results = {}
    for key, solve in solves.items():
        solve()  # trace, compile
        results[key] = [np.asarray(value) for value in solve()]
    times = timed(solves, rounds, advance)
    x = results["one operation", "XLA"][0]
    return [
        BatchRow(
            way,
            mode,
            *times[way, mode],
            int(evaluations),
            float(np.abs(found - x).max()),
            times[way, mode][0] / times["one operation", mode][0],
        )
        for (way, mode), (found, evaluations) in results.items()
    ]


def ratios(rows: list[Row]) -> list[dict[str, Any]]:
    """Compare the times of the operation with those of the others."""
    seconds = {(row.n, row.solver, row.mode): row.seconds for row in rows}
    found = []
    for n in sorted({row.n for row in rows}):
        for mode in MODES:
            ours = seconds[n, "operation", mode]
            found.append(
                {
                    "n": n,
                    "mode": mode,
                    "tfp": seconds[n, "tfp", mode] / ours,
                    "operation / outside": ours / seconds[n, "outside", mode],
                    "without the call": (ours - seconds[n, "empty", "graph"]) / seconds[n, "outside", mode],
                    "in a loop / outside": seconds[n, "in a loop", mode] / seconds[n, "outside", mode],
                }
            )
    return found


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 100], metavar="N")
    parser.add_argument("--rounds", type=int, default=51, help="of all ways; the most runs of each")
    parser.add_argument("--count", type=int, default=1000, help="of the points that are projected")
    parser.add_argument("--small", action="store_true", help="n = 2, 10 points, once, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no tables")
    options = parser.parse_args(arguments)
    if options.small:
        options.sizes, options.count, options.rounds = [2], 10, 1

    console = Console(stderr=options.json, width=100)
    rows: list[Row] = []
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("Solving", total=(len(options.sizes) + 1) * options.rounds)

        def advance() -> None:
            progress.update(task, advance=1, refresh=True)

        for n in options.sizes:
            rows += measure(n, options.rounds, advance)
        batch = measure_batch(options.count, options.rounds, advance)

    versions = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "tensorflow_probability": tfp.__version__,
        "build": tfm.build_info(),
    }
    if options.json:
        document = {
            "machine": versions,
            "rows": [asdict(row) for row in rows],
            "ratios": ratios(rows),
            "batch": [asdict(row) for row in batch],
        }
        print(json.dumps(document, indent=2))
        return
    table = Table(title="Whole solve in a tf.function")
    for name in ("n", "mode", "solver", "evaluations", "loss", "runs", "ms", "µs per evaluation"):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: (row.n, row.mode)):
        per_evaluation = row.seconds / row.evaluations * 1e6
        cells = (
            f"{row.evaluations}",
            f"{row.fun:.1e}",
            f"{row.runs}",
            f"{row.seconds * 1e3:.3g}",
            f"{per_evaluation:.3g}",
        )
        table.add_row(str(row.n), row.mode, row.solver, *cells)
    console.print(table)
    table = Table(title="Ratios of times")
    for name in ("n", "mode", "tfp / operation", "operation / outside", "without the call", "in a loop / outside"):
        table.add_column(name, justify="right")
    for entry in ratios(rows):
        compared = [f"{entry[key]:.2f}" for key in ("operation / outside", "without the call", "in a loop / outside")]
        table.add_row(str(entry["n"]), entry["mode"], f"{entry['tfp']:.1f}", *compared)
    console.print(table)
    table = Table(title=f"{options.count} projections")
    for name in ("mode", "solver", "evaluations", "difference", "runs", "ms", "/ one operation"):
        table.add_column(name, justify="right")
    for one in sorted(batch, key=lambda row: row.mode):
        cells = (
            f"{one.evaluations}",
            f"{one.difference:.0e}",
            f"{one.runs}",
            f"{one.seconds * 1e3:.3g}",
            f"{one.ratio:.1f}",
        )
        table.add_row(one.mode, one.solver, *cells)
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
