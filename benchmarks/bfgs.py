"""BFGS alone: the time of one iteration, the share of the memory's bandwidth, and the memory, compared with SciPy's.

Only the time inside the solvers counts, not the time of the function, which is the chained Rosenbrock function. SciPy
runs with its BLAS on one thread and with its default, each in a process of its own.

An iteration of ours reads and writes half of the inverse Hessian once. "Of loop" is the time that a loop needs for as
many bytes, divided by our time: the share of the memory's bandwidth. As in STREAM, the loop goes over more than the
caches hold; it multiplies doubles by a number in place. Both take turns in one process, and the fastest of each counts.

    python benchmarks/bfgs.py [--sizes 10,100,...] [--update ssbroyden] [--json]
    python benchmarks/bfgs.py --large     # SciPy with more than 2,000 variables too: minutes, and 6 n² doubles
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("TFMINIMIZE_QUIET", "1")

import numpy as np
from numpy.typing import NDArray
from solver import rosenbrock, start

SIZES = (10, 100, 1_000, 2_000, 3_000, 5_000, 10_000)
LARGEST_FOR_SCIPY = 2_000
WARM_UP = 3
MEMORY = 1 << 25  # doubles, at least, that the loop goes over

Vector = NDArray[np.float64]


class Clock:
    """The chained Rosenbrock function, and the ends of iterations without the time that it takes."""

    def __init__(self, n: int) -> None:
        self._gradient = np.empty(n)
        self._spent = 0.0
        self._ends: list[float] = []

    def fun(self, x: Vector) -> tuple[float, Vector]:
        begin = time.perf_counter()
        f = rosenbrock(x, self._gradient)
        self._spent += time.perf_counter() - begin
        return f, self._gradient.copy()

    def end_iteration(self, _: object = None) -> None:
        self._ends.append(time.perf_counter() - self._spent)

    def seconds(self) -> float:
        """Return the time of the fastest iteration after the warm-up: what else runs disturbs the others."""
        return float(np.diff(self._ends)[WARM_UP - 1 :].min())


def run_tfminimize(n: int, iterations: int, threads: int, update: str) -> float:
    """Return the seconds of one iteration of ours."""
    from tfminimize import _native

    _native.set_num_threads(threads)
    x, g = _native.aligned_zeros(n), _native.aligned_zeros(n)
    x[:] = start(n)
    clock = Clock(n)
    solver = _native.Bfgs(x, g, gtol=0, maxiter=WARM_UP + iterations, update=update)
    _native.drive(solver, _native.HostObjective(clock.fun), clock.end_iteration)
    if solver.nit != WARM_UP + iterations:
        raise RuntimeError(f"The solve ended after {solver.nit} iterations: {solver.message}")
    return clock.seconds()


def multiply(parts: list[Vector], pool: ThreadPoolExecutor) -> float:
    """Return the seconds that it takes to read and write these arrays once, each in a thread."""
    begin = time.perf_counter()
    list(pool.map(lambda part: np.multiply(part, 0.999, out=part), parts))
    return time.perf_counter() - begin


def measure_tfminimize(n: int, update: str, repetitions: int) -> dict[str, float]:
    """Measure our solver and the bandwidth in this process, with one thread and with all, in turn."""
    importlib.import_module("tfminimize")
    threads = len(os.sched_getaffinity(0))
    run_tfminimize(10, 1, threads, update)  # loads all libraries
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_tfminimize(n, 1, threads, update)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    iterations = int(np.clip(1e9 / n**2, 5, 30))
    triangle = n * (n + 1) // 2
    memory = np.ones(max(triangle, MEMORY))
    runs: list[tuple[float, ...]] = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repetitions or 5):
            ours = [run_tfminimize(n, iterations, count, update) for count in (1, threads)]
            loops = [min(multiply(np.array_split(memory, k), pool) for _ in range(5)) for k in (1, threads)]
            runs.append((*ours, *loops))
    one, many, one_loop, many_loop = map(min, zip(*runs, strict=True))
    speed, speed_all = 2 * memory.nbytes / one_loop, 2 * memory.nbytes / many_loop
    return {
        "threads": threads,
        "seconds": one,
        "seconds_all_threads": many,
        "bandwidth": 16 * triangle / one / speed,
        "bandwidth_all_threads": 16 * triangle / many / speed_all,
        "loop_bytes_per_second": speed,
        "loop_bytes_per_second_all_threads": speed_all,
        # Without the solver's x and gradient, and the function's gradient.
        "squares": ((peak - before) * 1024 / 8 - 3 * n) / n**2,
    }


def measure_scipy(n: int, repetitions: int) -> dict[str, float]:
    """Measure one iteration of SciPy's."""
    import scipy.optimize

    clock = Clock(n)
    maxiter = WARM_UP + (repetitions or int(np.clip(3e10 / n**3, 2, 50)))
    scipy.optimize.minimize(
        clock.fun,
        start(n),
        jac=True,
        method="BFGS",
        options={"gtol": 0, "maxiter": maxiter},
        callback=clock.end_iteration,
    )
    return {"seconds": clock.seconds()}


def in_child(solver: str, n: int, update: str, repetitions: int, threads: int = 0) -> dict[str, float]:
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    if threads:
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
    command = [sys.executable, __file__, "--child", solver, str(n), update, str(repetitions)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(n: int, update: str, repetitions: int, with_scipy: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"n": n, **in_child("tfminimize", n, update, repetitions)}
    if with_scipy:
        single, default = (in_child("scipy", n, update, repetitions, threads)["seconds"] for threads in (1, 0))
        row |= {
            "scipy_seconds": single,
            "scipy_seconds_default": default,
            "ratio": single / row["seconds"],
            "ratio_default": default / row["seconds_all_threads"],
        }
    return row


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:,.0f}"


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "n": lambda r: f"{r['n']:,}",
    "ours, ms": lambda r: milliseconds(r["seconds"]),
    "all threads": lambda r: milliseconds(r["seconds_all_threads"]),
    "SciPy": lambda r: milliseconds(r["scipy_seconds"]) if "ratio" in r else "",
    "default": lambda r: milliseconds(r["scipy_seconds_default"]) if "ratio" in r else "",
    "times faster": lambda r: f"{r['ratio']:,.0f}" if "ratio" in r else "",
    "all / default": lambda r: f"{r['ratio_default']:,.0f}" if "ratio" in r else "",
    # A small triangle stays in a cache, and most of a small solve's memory is the process itself.
    "of loop": lambda r: f"{r['bandwidth']:.0%}" if r["n"] >= 3_000 else "",
    "all threads ": lambda r: f"{r['bandwidth_all_threads']:.0%}" if r["n"] >= 3_000 else "",
    "n² doubles": lambda r: f"{r['squares']:.2f}" if r["n"] >= 2_000 else "",
}


def print_table(rows: list[dict[str, Any]], update: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"One iteration of {update} on one thread and on {rows[0]['threads']}", title_justify="left")
    for name in COLUMNS:
        table.add_column(name.strip(), justify="right")
    for row in rows:
        table.add_row(*(column(row) for column in COLUMNS.values()))
    Console(width=100).print(table)
    speeds = (max(row[f"loop_bytes_per_second{kind}"] for row in rows) / 1e9 for kind in ("", "_all_threads"))
    print("The loop reads and writes {:.1f} GB/s with one thread and {:.1f} with all.".format(*speeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--update", default="bfgs", help="ours; SciPy has bfgs only")
    parser.add_argument("--repetitions", type=int, default=0, help="runs for each n (default: by the size)")
    parser.add_argument("--large", action="store_true", help="SciPy with more than 2,000 variables too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        solver, n, update, repetitions = arguments.child
        if solver == "scipy":
            print(json.dumps(measure_scipy(int(n), int(repetitions))))
        else:
            print(json.dumps(measure_tfminimize(int(n), update, int(repetitions))))
        return
    rows = [
        compare(n, arguments.update, arguments.repetitions, n <= LARGEST_FOR_SCIPY or arguments.large)
        for n in map(int, arguments.sizes.split(","))
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows, arguments.update)


if __name__ == "__main__":
    main()
