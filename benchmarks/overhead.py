"""What does a solve cost beyond the function itself?

Rosenbrock's function from (-1.2, 1, -1.2, 1, ...), L-BFGS-B with default options, float64. Beside each other, in one
process and in turn: `scipy.optimize.minimize` on a `tf.function`, as users write it, and `tfminimize.Minimizer`, both
as a graph and with `jit_compile=True`. Every function is traced and compiled before the clock starts. All figures are
medians.

SciPy's linear algebra is held to one thread, which makes SciPy faster: its default is a thread for each core, and these
wait in a busy loop where TensorFlow's threads should run. `--blas-threads 0` leaves it as it is installed.

Three tables: the whole solve; one evaluation, beside a C++ loop that makes the same TensorFlow calls and does nothing
else; and what `Minimizer.minimize` adds to the evaluations and the solver when solve follows solve (the C++ loop's own
clock, read twice an evaluation, is in it).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import scipy
import scipy.optimize
import tensorflow as tf
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from threadpoolctl import threadpool_limits

import tfminimize as tfm

MODES = {"graph": False, "jit": True}


@dataclass(frozen=True)
class Row:
    """Medians of one problem size in one mode; times in seconds."""

    n: int
    mode: str
    repetitions: int
    scipy_solve: float
    solve: float
    scipy_evaluations: int
    evaluations: int
    scipy_fun: float
    fun: float
    evaluate: float
    """Time in TensorFlow and around its calls, per evaluation, within a solve."""
    bare: float
    """The same calls in a loop of their own, per evaluation."""
    added: float
    """What a solve takes beyond evaluations and solver, right after another solve."""

    @property
    def ratio(self) -> float:
        return self.scipy_solve / self.solve


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def start(n: int) -> np.ndarray:
    return np.resize([-1.2, 1.0], n)


def scipy_solve(x0: np.ndarray, jit_compile: bool) -> Callable[[], scipy.optimize.OptimizeResult]:
    """A solve by SciPy, as it is usually written."""

    @tf.function(jit_compile=jit_compile)
    def value_and_gradient(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = rosenbrock(x)
        return value, tape.gradient(value, x)

    def fun(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = value_and_gradient(tf.constant(x))
        return value.numpy(), gradient.numpy()

    return lambda: scipy.optimize.minimize(fun, x0, jac=True, method="L-BFGS-B")


def bare_evaluation(minimizer: tfm.Minimizer, x0: np.ndarray, count: int) -> float:
    """Seconds per evaluation of the minimizer's own function at x0, in a C++ loop without a solver."""
    program = minimizer._program
    lease = program.lease(program.arguments(()))
    workspace = lease.workspace
    workspace.start([x0])
    seconds = float(workspace.objective.repeat(workspace.x, workspace.gradient, count))
    lease.release()
    return seconds


def measure(n: int, mode: str, repetitions: int, advance: Callable[[], None]) -> Row:
    x0 = start(n)
    theirs = scipy_solve(x0, MODES[mode])
    minimizer = tfm.Minimizer(rosenbrock, x0, jit_compile=MODES[mode])
    for _ in range(2):  # trace, compile, warm up
        scipy_result, result = theirs(), minimizer.minimize(x0)

    scipy_times: list[float] = []
    times: list[float] = []
    evaluate: list[float] = []
    added: list[float] = []
    bare: list[float] = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        theirs()
        scipy_times.append(time.perf_counter() - begin)

        for taken in (times, added):  # the second solve meets caches that SciPy's has not filled
            begin = time.perf_counter()
            ours = minimizer.minimize(x0)
            taken.append(time.perf_counter() - begin)
        evaluate.append(ours.timing["evaluate"] / ours.nfev)
        added[-1] -= ours.timing["evaluate"] + ours.timing["solver"]

        bare.append(bare_evaluation(minimizer, x0, max(50, ours.nfev)))
        advance()

    median = statistics.median
    return Row(
        n=n,
        mode=mode,
        repetitions=repetitions,
        scipy_solve=median(scipy_times),
        solve=median(times),
        scipy_evaluations=scipy_result.nfev,
        evaluations=result.nfev,
        scipy_fun=float(scipy_result.fun),
        fun=float(result.fun),
        evaluate=median(evaluate),
        bare=median(bare),
        added=median(added),
    )


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "scipy": scipy.__version__,
        "numpy": np.__version__,
        "build": tfm.build_info(),
    }


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.3g}" if seconds < 1 else f"{seconds * 1e3:,.0f}"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.3g}" if seconds < 1e-3 else f"{seconds * 1e6:,.0f}"


def print_tables(rows: list[Row], console: Console) -> None:
    solve = Table(title="Whole solve, ms")
    for name in ("n", "mode", "SciPy's evaluations", "ours", "SciPy's time", "ours", "SciPy / ours"):
        solve.add_column(name, justify="right")
    for row in rows:
        solve.add_row(
            str(row.n),
            row.mode,
            str(row.scipy_evaluations),
            str(row.evaluations),
            milliseconds(row.scipy_solve),
            milliseconds(row.solve),
            f"{row.ratio:.1f}",
        )

    evaluation = Table(title="One evaluation, µs")
    for name in ("n", "mode", "SciPy's solve / evaluations", "in our solve", "bare C++ loop", "ours / bare loop"):
        evaluation.add_column(name, justify="right")
    for row in rows:
        evaluation.add_row(
            str(row.n),
            row.mode,
            microseconds(row.scipy_solve / row.scipy_evaluations),
            microseconds(row.evaluate),
            microseconds(row.bare),
            f"{row.evaluate / row.bare:.2f}",
        )

    added = Table(title="What Minimizer.minimize adds to evaluations and solver, µs")
    for name in ("n", "mode", "added", "share of the solve"):
        added.add_column(name, justify="right")
    for row in rows:
        added.add_row(str(row.n), row.mode, microseconds(row.added), f"{row.added / row.solve:.1%}")

    for table in (solve, evaluation, added):
        console.print(table)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 100, 1000], metavar="N")
    parser.add_argument("--repetitions", type=int, default=0, help="of each solve (default: 51 up to n = 100, then 7)")
    parser.add_argument("--blas-threads", type=int, default=1, help="of SciPy's linear algebra; 0: as installed")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no tables")
    options = parser.parse_args(arguments)

    console = Console(stderr=options.json)
    repetitions = {n: options.repetitions or (51 if n <= 100 else 7) for n in options.sizes}
    rows = []
    with (
        threadpool_limits(options.blas_threads or None, user_api="blas"),
        Progress(console=console, transient=True, auto_refresh=False) as progress,  # no thread beside the measurements
    ):
        task = progress.add_task("Solving", total=len(MODES) * sum(repetitions.values()))
        for n in options.sizes:
            rows += [
                measure(n, mode, repetitions[n], lambda: progress.update(task, advance=1, refresh=True))
                for mode in MODES
            ]

    where = {**machine(), "blas_threads": options.blas_threads or "as installed"}
    if options.json:
        print(json.dumps({"machine": where, "rows": [{**asdict(row), "ratio": row.ratio} for row in rows]}, indent=2))
    else:
        print_tables(rows, console)
        console.print(
            "{processor}, {cores} cores; TensorFlow {tensorflow}, SciPy {scipy}, NumPy {numpy}, Python {python}".format(
                **where
            )
        )


if __name__ == "__main__":
    main(sys.argv[1:])
