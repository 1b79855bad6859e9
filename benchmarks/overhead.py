"""What does a solve cost beyond the function itself?

L-BFGS-B minimises Rosenbrock's function from (-1.2, 1, -1.2, 1, ...) in float64 with default options. These run in one
process, in turn:

- `tfminimize.Minimizer` in three modes:
  - graph: TensorFlow runs the function as a graph;
  - tfe-jit: XLA compiles the function, but TensorFlow calls it, as it does if the solver cannot call XLA's code itself;
  - xla: the solver calls XLA's machine code directly, as with `jit_compile=True`;
- `scipy.optimize.minimize` on a `tf.function`, as users write it, with and without `jit_compile=True`;
- if it is installed, TensorFlow Probability's `lbfgs_minimize` as one function compiled by XLA, with the same number of
  pairs and, if it has them, the same tolerances.

Every function is traced and compiled before the clock starts. All figures are medians.

SciPy's linear algebra is limited to one thread, which makes SciPy faster. By default it has a thread for each core, and
these wait in a busy loop on the cores that TensorFlow's threads need. `--blas-threads 0` leaves it as it is installed.

There are three tables: the whole solve; one evaluation, compared with a C++ loop that only makes the same calls; and
the rest of the solve, which is the time in the solver and the time that `Minimizer.minimize` adds.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import scipy
import scipy.optimize
import tensorflow as tf
from peers import tensorflow_probability, without_machine_code
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from threadpoolctl import threadpool_limits

import tfminimize as tfm

MODES = ("graph", "tfe-jit", "xla")
TOLERANCE = 2.2204460492503131e-09


@dataclass(frozen=True)
class Row:
    """Medians of one problem size in one mode; times in seconds."""

    n: int
    mode: str
    repetitions: int
    scipy_solve: float
    """SciPy's solve, on a `tf.function` that is compiled if this mode is."""
    tfp_solve: float | None
    solve: float
    scipy_evaluations: int
    tfp_evaluations: int | None
    evaluations: int
    iterations: int
    scipy_fun: float
    tfp_fun: float | None
    fun: float
    evaluate: float
    """Time per evaluation within a solve, in TensorFlow and around its calls."""
    bare: float
    """Time per evaluation of the same calls in a bare loop."""
    solver: float
    """Time per iteration in the solver."""
    added: float
    """Time of a solve outside evaluations and solver, right after another solve."""

    @property
    def ratio(self) -> float:
        return self.scipy_solve / self.solve

    @property
    def tfp_ratio(self) -> float | None:
        return None if self.tfp_solve is None else self.tfp_solve / self.solve


@dataclass
class Peer:
    """Another way to solve the problem, with its times, and its evaluations and loss at the end."""

    solve: Callable[[], tuple[int, float]]
    times: list[float] = field(default_factory=list)
    evaluations: int = 0
    fun: float = 0.0

    def run(self) -> None:
        begin = time.perf_counter()
        self.evaluations, self.fun = self.solve()
        self.times.append(time.perf_counter() - begin)


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def start(n: int) -> np.ndarray:
    return np.resize([-1.2, 1.0], n)


def scipy_solve(x0: np.ndarray, jit_compile: bool) -> Callable[[], tuple[int, float]]:
    """Return a function that solves with SciPy, as users write it."""

    @tf.function(jit_compile=jit_compile)
    def value_and_gradient(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = rosenbrock(x)
        return value, tape.gradient(value, x)

    def fun(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = value_and_gradient(tf.constant(x))
        return value.numpy(), gradient.numpy()

    def solve() -> tuple[int, float]:
        result = scipy.optimize.minimize(fun, x0, jac=True, method="L-BFGS-B")
        return result.nfev, float(result.fun)

    return solve


def tfp_solve(x0: np.ndarray) -> Callable[[], tuple[int, float]] | None:
    """Return a function that solves with TensorFlow Probability, compiled as a whole; None if it is not installed."""
    tfp = tensorflow_probability()
    if tfp is None:
        return None

    @tf.function(jit_compile=True)
    def minimize(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        found = tfp.optimizer.lbfgs_minimize(
            lambda x: tfp.math.value_and_gradient(rosenbrock, x),
            start,
            num_correction_pairs=10,
            tolerance=1e-5,
            f_relative_tolerance=TOLERANCE,
            max_iterations=15000,
        )
        return found.position, found.num_objective_evaluations, found.objective_value

    def solve() -> tuple[int, float]:
        position, evaluations, value = minimize(tf.constant(x0))
        position.numpy()
        return int(evaluations), float(value)

    return solve


def make_minimizer(x0: np.ndarray, mode: str) -> tfm.Minimizer:
    """Make a Minimizer that evaluates in this mode."""
    if mode != "tfe-jit":
        return tfm.Minimizer(rosenbrock, x0, jit_compile=mode == "xla")
    with without_machine_code():
        return tfm.Minimizer(rosenbrock, x0, jit_compile=True)


def bare_evaluation(minimizer: tfm.Minimizer, x0: np.ndarray, count: int) -> float:
    """Return the seconds per evaluation of the minimizer's own function at x0, in a C++ loop without a solver."""
    program = minimizer._program
    lease = program.lease(program.arguments(()))
    workspace = lease.workspace
    workspace.start([x0])
    seconds = float(workspace.objective.repeat(workspace.x, count)[-1])
    lease.release()
    return seconds


class Ours:
    """A Minimizer in one mode, and the times of its solves."""

    def __init__(self, x0: np.ndarray, mode: str) -> None:
        self.mode = mode
        self._x0 = x0
        self._minimizer = make_minimizer(x0, mode)
        self.times: list[float] = []
        self.evaluate: list[float] = []
        self.solver: list[float] = []
        self.added: list[float] = []
        self.bare: list[float] = []

    def run(self) -> None:
        taken = []
        for _ in range(2):  # before the second solve, no other contender has used the caches
            begin = time.perf_counter()
            result = self._minimizer.minimize(self._x0)
            taken.append(time.perf_counter() - begin)
        expected = "xla" if self.mode == "xla" else "tfe"
        if result.backend != expected:
            raise RuntimeError(f"The backend is {result.backend}, not {expected}: {result.backend_reason}")
        self.result = result
        self.times.append(taken[0])
        self.evaluate.append(result.timing["evaluate"] / result.nfev)
        self.solver.append(result.timing["solver"] / result.nit)
        self.added.append(taken[1] - result.timing["evaluate"] - result.timing["solver"])
        self.bare.append(bare_evaluation(self._minimizer, self._x0, max(50, result.nfev)))


def measure(n: int, repetitions: int, advance: Callable[[], None]) -> list[Row]:
    x0 = start(n)
    ours = [Ours(x0, mode) for mode in MODES]
    theirs = {jit: Peer(scipy_solve(x0, jit)) for jit in (False, True)}
    compiled = tfp_solve(x0)
    tfp = None if compiled is None else Peer(compiled)
    contenders = [*ours, *theirs.values(), *([] if tfp is None else [tfp])]
    for warm in (True, False):
        for _ in range(2 if warm else repetitions):
            for contender in contenders:
                contender.run()
            if not warm:
                advance()
        if warm:  # traced and compiled
            for contender in contenders:
                for taken in vars(contender).values():
                    if isinstance(taken, list):
                        taken.clear()

    median = statistics.median
    rows = []
    for mine in ours:
        peer = theirs[mine.mode != "graph"]
        rows.append(
            Row(
                n=n,
                mode=mine.mode,
                repetitions=repetitions,
                scipy_solve=median(peer.times),
                tfp_solve=None if tfp is None else median(tfp.times),
                solve=median(mine.times),
                scipy_evaluations=peer.evaluations,
                tfp_evaluations=None if tfp is None else tfp.evaluations,
                evaluations=mine.result.nfev,
                iterations=mine.result.nit,
                scipy_fun=peer.fun,
                tfp_fun=None if tfp is None else tfp.fun,
                fun=float(mine.result.fun),
                evaluate=median(mine.evaluate),
                bare=median(mine.bare),
                solver=median(mine.solver),
                added=median(mine.added),
            )
        )
    return rows


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
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
    def table(title: str, names: tuple[str, ...]) -> Table:
        made = Table(title=title)
        for name in names:
            made.add_column(name, justify="right")
        return made

    def shown(value: float | None, show: Callable[[float], str]) -> str:
        return "-" if value is None else show(value)

    solve = table(
        "Whole solve, ms (evaluations)", ("n", "mode", "SciPy", "tfp with XLA", "ours", "SciPy / ours", "tfp / ours")
    )
    evaluation = table(
        "One evaluation, µs", ("n", "mode", "SciPy's solve / evaluations", "in our solve", "bare C++ loop")
    )
    rest = table(
        "Beyond evaluations, µs",
        ("n", "mode", "solver, per iteration", "minimize adds, per solve", "share of the solve"),
    )
    for row in rows:
        solve.add_row(
            str(row.n),
            row.mode,
            f"{milliseconds(row.scipy_solve)} ({row.scipy_evaluations:,})",
            shown(row.tfp_solve, lambda value: f"{milliseconds(value)} ({row.tfp_evaluations:,})"),  # noqa: B023
            f"{milliseconds(row.solve)} ({row.evaluations:,})",
            f"{row.ratio:.1f}",
            shown(row.tfp_ratio, lambda value: f"{value:.1f}"),
        )
        evaluation.add_row(
            str(row.n),
            row.mode,
            microseconds(row.scipy_solve / row.scipy_evaluations),
            microseconds(row.evaluate),
            microseconds(row.bare),
        )
        rest.add_row(
            str(row.n), row.mode, microseconds(row.solver), microseconds(row.added), f"{row.added / row.solve:.1%}"
        )
    for made in (solve, evaluation, rest):
        console.print(made)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 100, 1000], metavar="N")
    parser.add_argument("--repetitions", type=int, default=0, help="solves for each n (default: 51 to n = 100, then 7)")
    parser.add_argument("--blas-threads", type=int, default=1, help="threads of SciPy's BLAS; 0: as installed")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no tables")
    options = parser.parse_args(arguments)

    console = Console(stderr=options.json)
    repetitions = {n: options.repetitions or (51 if n <= 100 else 7) for n in options.sizes}
    rows = []
    with (
        threadpool_limits(options.blas_threads or None, user_api="blas"),
        Progress(console=console, transient=True, auto_refresh=False) as progress,  # no thread during the measurements
    ):
        task = progress.add_task("Solving", total=sum(repetitions.values()))
        for n in options.sizes:
            rows += measure(n, repetitions[n], lambda: progress.update(task, advance=1, refresh=True))

    where = {**machine(), "blas_threads": options.blas_threads or "as installed"}
    if options.json:
        figures = [{**asdict(row), "ratio": row.ratio, "tfp_ratio": row.tfp_ratio} for row in rows]
        print(json.dumps({"machine": where, "rows": figures}, indent=2))
    else:
        print_tables(rows, console)
        console.print(
            "{processor}, {cores} cores; TensorFlow {tensorflow}, SciPy {scipy}, NumPy {numpy}, Python {python}".format(
                **where
            )
        )


if __name__ == "__main__":
    main(sys.argv[1:])
