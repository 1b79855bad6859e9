"""The solver alone: time and memory per variable and iteration, compared with SciPy's L-BFGS-B.

Only the time inside the solvers counts, not the time of the function, and only iterations with all m = 10 pairs stored.
SciPy's time is the time in its ``setulb``, with its BLAS on one thread and with its default.

    python benchmarks/solver.py [--sizes 10,100,...] [--json]
    python benchmarks/solver.py --large     # n = 1e6 and 1e7: two threads against one, pairs in float32 against float64
    python benchmarks/solver.py --huge      # n = 1e8 in a float32 variable, maxcor 5: peak memory; takes minutes
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

import numpy as np
from numpy.typing import NDArray

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
MAXCOR = 10
WARM_UP = MAXCOR + 2
CHUNK = 1 << 14

Vector = NDArray[np.float64]

# Doubles that one iteration with one evaluation reads and writes, if all pairs are stored and all variables are free.
# We counted ours in cpp/solvers/kernels/kernels.cc (direction, trial, update), and SciPy's in its source, with one pass
# over memory for each BLAS call.
DOUBLES_MOVED = {
    ("tfminimize", False): 4 * MAXCOR + 11,
    ("tfminimize", True): 4 * MAXCOR + 19,
    ("scipy", False): 17 * MAXCOR + 31.5,
    ("scipy", True): 23.5 * MAXCOR + 59,
}


def start(n: int) -> Vector:
    return np.where(np.arange(n) % 2 == 0, -1.2, 1.0)


def bounds(n: int) -> tuple[Vector, Vector]:
    """Make bounds; one in a hundred is active at the minimum."""
    return np.full(n, -2.0), np.where(np.arange(n) % 100 == 50, 0.5, 2.0)


def rosenbrock(x: Vector, g: Vector) -> float:
    """Evaluate the chained Rosenbrock function, in pieces that stay in the cache, to need no further memory."""
    total = 0.0
    g[0] = 0.0
    for begin in range(0, len(x) - 1, CHUNK):
        end = min(begin + CHUNK, len(x) - 1)
        head, tail = x[begin:end], x[begin + 1 : end + 1]
        rise, gap = tail - head * head, 1 - head
        total += float(np.sum(100 * rise * rise + gap * gap))  # not by BLAS, whose threads wait on our cores
        g[begin + 1 : end + 1] = 200 * rise
        g[begin:end] -= 400 * rise * head + 2 * gap
    return total


def rosenbrock_in_place(n: int) -> Callable[[Vector], tuple[float, Vector]]:
    g = np.empty(n)
    return lambda x: (rosenbrock(x, g), g)


def iterations_for(n: int) -> int:
    return int(np.clip(3e7 / n, 8, 12))


def run_tfminimize(n: int, bounded: bool, iterations: int, threads: int = 1, storage: str = "float64") -> float:
    """Return the seconds that `iterations` iterations take after the warm-up."""
    (warm_up, _), (whole, _) = solve_twice(n, bounded, iterations, threads, storage)
    return whole - warm_up


def solve_twice(
    n: int, bounded: bool, iterations: int, threads: int, storage: str
) -> tuple[tuple[float, int], tuple[float, int]]:
    """Return the seconds and the evaluations of the warm-up, and those of the warm-up with `iterations` iterations."""
    from tfminimize import _native

    _native.set_num_threads(threads)
    options = {"maxcor": MAXCOR, "ftol": 0, "gtol": 0, "storage": storage}

    x, g = _native.aligned_zeros(n), _native.aligned_zeros(n)
    lower, upper = bounds(n) if bounded else (None, None)
    objective = _native.HostObjective(rosenbrock_in_place(n))

    def solve(maxiter: int) -> tuple[float, int]:
        x[:] = start(n)
        solver = _native.Lbfgsb(x, g, lower=lower, upper=upper, maxiter=maxiter, **options)
        timing = _native.drive(solver, objective)
        if solver.nit != maxiter:
            raise RuntimeError(f"The solve ended after {solver.nit} of {maxiter} iterations: {solver.message}")
        return timing.solver, solver.nfev

    return solve(WARM_UP), solve(WARM_UP + iterations)


def run_scipy(n: int, bounded: bool, iterations: int) -> float:
    from scipy.optimize import _lbfgsb

    m = MAXCOR
    x, g, f = start(n), np.zeros(n), np.array(0.0)
    lower, upper = bounds(n) if bounded else (np.zeros(n), np.zeros(n))
    kinds = np.full(n, 2 if bounded else 0, dtype=np.int32)
    work, integers = np.zeros(2 * m * n + 5 * n + 11 * m * m + 8 * m), np.zeros(3 * n, dtype=np.int32)
    task, line_task = np.zeros(2, dtype=np.int32), np.zeros(2, dtype=np.int32)
    logicals, counters, reals = np.zeros(4, dtype=np.int32), np.zeros(44, dtype=np.int32), np.zeros(29)
    evaluate, new_iterate = 3, 1
    seconds, nit = 0.0, 0
    while nit < WARM_UP + iterations:
        begin = time.perf_counter()
        _lbfgsb.setulb(
            m, x, lower, upper, kinds, f, g, 0.0, 0.0, work, integers, task, logicals, counters, reals, 20, line_task
        )  # fmt: skip
        if nit >= WARM_UP:
            seconds += time.perf_counter() - begin
        if task[0] == evaluate:
            f = np.array(rosenbrock(x, g))
        elif task[0] == new_iterate:
            nit += 1
        else:
            raise RuntimeError(f"SciPy ended after {nit} iterations.")
    return seconds


RUNNERS = {"tfminimize": run_tfminimize, "scipy": run_scipy}


def measure(solver: str, n: int, bounded: bool, repetitions: int) -> dict[str, float]:
    """Measure the median of several runs in this process."""
    iterations = iterations_for(n)
    repetitions = repetitions or (1 if n >= 10**7 else int(np.clip(1e6 / n, 3, 50)))
    importlib.import_module("tfminimize" if solver == "tfminimize" else "scipy.optimize")
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if n < 10**7:  # the first run of a small problem has cold caches
        RUNNERS[solver](n, bounded, iterations)
    runs = [RUNNERS[solver](n, bounded, iterations) / iterations for _ in range(repetitions)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # x, g, the function's g and the two bounds do not belong to the solver.
    own = (5 if bounded else 3) * 8 * n
    return {"seconds": float(np.median(runs)), "memory": (peak - peak_before) * 1024 - own}


def measure_in_child(
    solver: str, n: int, bounded: bool, repetitions: int, threads: int | None = None
) -> dict[str, float]:
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if threads:
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
    command = [sys.executable, __file__, "--child", solver, str(n), str(int(bounded)), str(repetitions)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(n: int, bounded: bool, repetitions: int) -> dict[str, object]:
    ours = measure_in_child("tfminimize", n, bounded, repetitions, 1)
    single = measure_in_child("scipy", n, bounded, repetitions, 1)
    default = measure_in_child("scipy", n, bounded, repetitions)
    return {
        "n": n,
        "bounds": bounded,
        "tfminimize_ns": ours["seconds"] / n * 1e9,
        "scipy_1_thread_ns": single["seconds"] / n * 1e9,
        "scipy_default_ns": default["seconds"] / n * 1e9,
        "ratio_1_thread": single["seconds"] / ours["seconds"],
        "ratio_default": default["seconds"] / ours["seconds"],
        "tfminimize_bytes": 8 * DOUBLES_MOVED["tfminimize", bounded],
        "scipy_bytes": 8 * DOUBLES_MOVED["scipy", bounded],
        "tfminimize_memory_doubles": ours["memory"] / 8 / n,
        "scipy_memory_doubles": single["memory"] / 8 / n,
    }


def print_table(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"L-BFGS-B, m = {MAXCOR}: one iteration of the solver, per variable")
    for name in ("n", "bounds", "tfminimize ns", "SciPy ns, 1 thread", "SciPy ns, default", "times faster (1 thread)",
                 "(default)", "bytes moved", "SciPy's", "memory, doubles", "SciPy's"):  # fmt: skip
        table.add_column(name, justify="right")
    for r in rows:
        # For a small problem, the process itself takes most of the resident memory.
        shows_memory = int(str(r["n"])) >= 10**6
        table.add_row(
            f"{r['n']:,}", "yes" if r["bounds"] else "no",
            f"{r['tfminimize_ns']:.1f}", f"{r['scipy_1_thread_ns']:.1f}", f"{r['scipy_default_ns']:.1f}",
            f"{r['ratio_1_thread']:.1f}", f"{r['ratio_default']:.1f}",
            f"{r['tfminimize_bytes']:.0f}", f"{r['scipy_bytes']:.0f}",
            f"{r['tfminimize_memory_doubles']:.1f}" if shows_memory else "",
            f"{r['scipy_memory_doubles']:.1f}" if shows_memory else "",
        )  # fmt: skip
    Console(width=150).print(table)
    print(f"The limit for the memory is 2m + 8 = {2 * MAXCOR + 8} doubles per variable.")


WAYS = ((1, "float64"), (2, "float64"), (1, "float32"), (2, "float32"))


def bytes_moved(bounded: bool, storage: str, evaluations: float) -> float:
    """Count what an iteration with so many evaluations reads and writes, per variable; see DOUBLES_MOVED.

    Each evaluation after the first moves x and looks at the new gradient.
    """
    pairs = 4 * MAXCOR + 3 + 2 * (evaluations - 1)
    vectors = 8 + 4 * (evaluations - 1)
    if bounded:
        vectors += 8 + 5 * (evaluations - 1)
    return 8 * vectors + (8 if storage == "float64" else 4) * pairs


def copy_bandwidth(source: Vector, target: Vector, threads: int) -> float:
    """Measure how many bytes per ns the loop "copy" of the STREAM benchmark moves: it reads one and writes one."""
    parts = [slice(i * len(source) // threads, (i + 1) * len(source) // threads) for i in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))
        return 2 * source.nbytes / (time.perf_counter() - begin) / 1e9


def compare_ways(n: int, bounded: bool, repetitions: int) -> list[tuple[float, float]]:
    """Return the ns of an iteration per variable, and the share of the bandwidth, of each of WAYS.

    It measures them in turn, again and again, and takes the best: what else runs disturbs all alike.
    """
    iterations = iterations_for(n)
    source, target = np.ones(2 * 10**7), np.zeros(2 * 10**7)
    best, bandwidth = np.full((len(WAYS), 2), np.inf), {1: 0.0, 2: 0.0}
    for _ in range(repetitions or 5):
        for threads in bandwidth:
            bandwidth[threads] = max(bandwidth[threads], copy_bandwidth(source, target, threads))
        for i, way in enumerate(WAYS):
            (warm_up, few), (whole, many) = solve_twice(n, bounded, iterations, *way)
            best[i] = np.minimum(best[i], (warm_up, whole))
    # All ways make the same evaluations, but for rounding.
    moved = [bytes_moved(bounded, storage, (many - few) / iterations) for _, storage in WAYS]
    times = (best[:, 1] - best[:, 0]) / iterations / n * 1e9
    return [(ns, size / ns / bandwidth[threads]) for ns, size, (threads, _) in zip(times, moved, WAYS, strict=True)]


def print_ways(repetitions: int) -> None:
    print("L-BFGS-B, m = 10: ns of one iteration of the solver, per variable; in brackets, the bytes that it must move")
    print("by the bandwidth of a copy in as many threads")
    print("         n bounds    1 thread   2 threads faster | float32: 1 thread   2 threads faster, and than float64")
    for n in (10**6, 10**7):
        for bounded in (False, True):
            ways = compare_ways(n, bounded, repetitions)
            one, two, one_float32, two_float32 = (ns for ns, _ in ways)
            cells = [f"{ns:.1f} ({share:.0%})" for ns, share in ways]
            print(
                f"{n:>10,} {'yes' if bounded else 'no':>6} {cells[0]:>11} {cells[1]:>11} {one / two:6.2f} | "
                f"{cells[2]:>17} {cells[3]:>11} {one_float32 / two_float32:6.2f} "
                f"{one / one_float32:8.2f} {two / two_float32:6.2f}"
            )


def print_huge(storage: str) -> None:
    import tensorflow as tf

    import tfminimize as tfm

    variable = tf.Variable(tf.zeros(10**8))
    begin = time.perf_counter()
    result = tfm.minimize(
        lambda: tf.reduce_sum((variable - 1.0) ** 2 + 0.1 * (variable - 1.0) ** 4),
        variable,
        jit_compile=True,
        options={"maxcor": 5, "maxiter": 12, "ftol": 0, "gtol": 0, "storage": storage},
    )
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"n = 1e8, float32 variable, maxcor 5, pairs in {storage}: {result.nit} iterations, {seconds:.1f} s in all,")
    print(f"{result.timing['solver']:.1f} s in the solver; peak memory {peak:.1f} GB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--repetitions", type=int, default=0, help="runs for each n (default: 50 to 1, by the size)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large", action="store_true", help="threads and storage at n = 1e6 and 1e7")
    parser.add_argument("--huge", action="store_true", help="n = 1e8")
    parser.add_argument("--storage", default="float64", help="of --huge: float64 or float32")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        solver, n, bounded, repetitions = arguments.child
        print(json.dumps(measure(solver, int(n), bool(int(bounded)), int(repetitions))))
        return
    if arguments.large:
        print_ways(arguments.repetitions)
        return
    if arguments.huge:
        print_huge(arguments.storage)
        return
    sizes = map(int, arguments.sizes.split(","))
    rows = [compare(n, bounded, arguments.repetitions) for n in sizes for bounded in (False, True)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
