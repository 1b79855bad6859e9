"""Does memory grow? Measures the resident memory during compilations to machine code, and during evaluations.

Each compilation makes a new `Minimizer` of a new function, which is traced, compiled by XLA, solved once and thrown
away. The evaluations use one Minimizer, in a bare loop and in whole solves. The first tenth of each measurement does
not count, because caches and pools fill then.

    python benchmarks/leaks.py [--small] [--json] [--compilations N] [--evaluations N]
"""

from __future__ import annotations

import argparse
import gc
import json
import pathlib
import resource
import time
from collections.abc import Callable
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import tfminimize as tfm

PARTS = 10
"""How many times memory is read during a measurement."""


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def resident() -> int:
    """Return how many bytes the process has in memory."""
    gc.collect()
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(name: str, count: int, run: Callable[[int], None]) -> dict[str, Any]:
    """Make `count` runs in equal parts, and read the memory after each part."""
    part = max(count // PARTS, 1)
    begin = time.perf_counter()
    memory = [resident()]
    for _ in range(PARTS):
        run(part)
        memory.append(resident())
    steps = len(memory) - 2
    return {
        "name": name,
        "count": part * PARTS,
        "megabytes": [round(m / 1e6, 2) for m in memory],
        "bytes_each": (memory[-1] - memory[1]) / (part * steps),
        "seconds": time.perf_counter() - begin,
    }


def compile_new(count: int) -> None:
    for _ in range(count):
        solver = tfm.Minimizer(lambda x: rosenbrock(x), np.zeros(3), jit_compile=True)
        assert solver.minimize(options={"maxiter": 3}).backend == "xla"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a quick run: 20 compilations, 100,000 evaluations")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no table")
    parser.add_argument("--compilations", type=int, default=10_000)
    parser.add_argument("--evaluations", type=int, default=10_000_000)
    options = parser.parse_args()
    compilations, evaluations = options.compilations, options.evaluations
    if options.small:
        compilations, evaluations = 20, 100_000

    solver = tfm.Minimizer(rosenbrock, np.full(100, -1.2), jit_compile=True)
    each = solver.minimize().nfev
    lease = solver._program.lease(solver.arguments)
    memory, objective = lease.workspace, lease.workspace.objective

    def solve(count: int) -> None:
        for _ in range(max(count // each, 1)):
            solver.minimize()

    compile_new(5)
    rows = [
        measure("evaluations in a bare loop", evaluations, lambda n: objective.repeat(memory.x, n)),
        measure("evaluations in whole solves", evaluations, solve),
        measure("compilations", compilations, compile_new),
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title=f"Resident memory, TensorFlow {tf.__version__}", title_justify="left")
    for heading in ("what", "count", "MB at the start", "MB after a tenth", "MB at the end", "bytes each", "seconds"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        first, tenth, *_, last = row["megabytes"]
        figures = f"{first:.1f}", f"{tenth:.1f}", f"{last:.1f}", f"{row['bytes_each']:.4g}", f"{row['seconds']:.1f}"
        table.add_row(row["name"], f"{row['count']:,}", *figures)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
