"""What does one sum over processes cost, and when do many processes pay?

Starts 2 to 4 processes on this machine for each engine, and measures the time of a sum against the size of the vector,
beside a copy in memory; the time of an evaluation of a logistic regression in one process, and in two with half of the
rows each; and the memory after many sums. From these it computes a fit over 1,000 machines.

    python benchmarks/distributed.py [--engine tensorflow|mpi] [--processes N ...] [--small] [--json]

Processes on one machine share its cores and its memory: only the latency and the transport of an engine are seen.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TFMINIMIZE_QUIET", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

SIZES = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
ROWS, COLUMNS = 200_000, 100
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]))


def median_seconds(run: Callable[[], Any], count: int) -> float:
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds))


def resident() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work(engine: str, small: bool) -> dict[str, Any]:
    """What one process measures."""
    source = None
    if engine == "mpi":
        from mpi4py import MPI

        source = MPI.COMM_WORLD
    import tensorflow as tf

    import tfminimize as tfm

    comm = tfm.distribute.communicator(source)
    found: dict[str, Any] = {"rank": comm.rank, "sums": {}}
    for size in SIZES[:3] if small else SIZES:
        vector, copy = np.ones(size), np.empty(size)
        count = max(min(2_000_000 // size, 200), 5)

        def add(vector: Any = vector) -> None:
            comm.sum(vector)
            vector[:1] = 1.0

        add()
        found["sums"][size] = {
            "sum": median_seconds(add, count),
            "copy": median_seconds(lambda copy=copy, vector=vector: np.copyto(copy, vector), count),
        }
    vector = np.ones(8)
    before, count = resident(), 200 if small else 10_000
    for _ in range(count):
        comm.sum(vector)
    found["bytes_for_each_sum"] = (resident() - before) / count

    rows = ROWS // 20 if small else ROWS
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, COLUMNS))
    y = np.sign(x @ random.normal(size=COLUMNS) + random.normal(size=rows))

    def logistic(w: Any, x: Any, y: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(-tf.linalg.matvec(x, w) * y)) + 0.01 * tf.reduce_sum(w**2)

    tfm.set_num_threads(1)
    ways = {"alone": ((x, y), None), "shared": (tfm.distribute.shard((x, y), comm), comm)}
    for name, (data, communicator) in ways.items():
        loss = tfm.DatasetLoss(logistic, data, communicator=communicator)
        solver = tfm.Minimizer(loss, np.zeros(COLUMNS), jit_compile=True)
        solver.minimize()
        if name == "alone":  # one process at a time
            for rank in range(comm.size):
                if rank == comm.rank:
                    result = solver.minimize()
                comm.sum(np.zeros(1))
        else:
            result = solver.minimize()
        found[name] = {"evaluation": result.timing["evaluate"] / result.nfev, "fun": float(result.fun)}
    return found


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def measure(engine: str, processes: int, small: bool) -> dict[str, Any]:
    """Start the processes, and return what the first has measured."""
    command = [sys.executable, __file__, "--work", engine, *(["--small"] if small else [])]
    if engine == "mpi":
        assert MPIEXEC is not None
        done = subprocess.run([MPIEXEC, "-n", str(processes), *command], capture_output=True, text=True, check=True)
        outputs = done.stdout
    else:
        workers = [f"127.0.0.1:{port}" for port in free_ports(processes)]
        running = []
        for index in range(processes):
            config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
            running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        outputs = "".join(one.communicate()[0] for one in running)
    lines = [json.loads(line) for line in outputs.splitlines() if line.startswith('{"rank"')]
    return {"engine": engine, "processes": processes, **next(line for line in lines if line["rank"] == 0)}


def tables(measured: list[dict[str, Any]]) -> list[Table]:
    sums = Table(title="One sum of doubles over all processes, ms (and as many copies in memory)")
    sums.add_column("doubles", justify="right")
    for one in measured:
        sums.add_column(f"{one['engine']}, {one['processes']}", justify="right")
    for size in measured[0]["sums"]:
        cells = [one["sums"][size] for one in measured]
        sums.add_row(f"{int(size):,}", *(f"{1e3 * c['sum']:.3g} ({c['sum'] / c['copy']:,.0f})" for c in cells))
    evaluations = Table(title="One evaluation of a logistic regression, one thread in each process")
    for name in ("engine", "processes", "alone, ms", "shared, ms", "ratio", "bytes kept for a sum"):
        evaluations.add_column(name, justify="right")
    for one in measured:
        alone, shared = one["alone"]["evaluation"], one["shared"]["evaluation"]
        evaluations.add_row(
            one["engine"],
            str(one["processes"]),
            f"{1e3 * alone:.2f}",
            f"{1e3 * shared:.2f}",
            f"{alone / shared:.2f}",
            f"{one['bytes_for_each_sum']:.0f}",
        )
    model = Table(title="1,000 processes, computed: speed-up of an evaluation that takes 100 s in one process")
    model.add_column("engine")
    for size in (1_000, 100_000, 10_000_000):
        model.add_column(f"{size:,} parameters", justify="right")
    for one in measured:
        if one["processes"] == 2:
            model.add_row(one["engine"], *(f"{speed_up(one, size):.0f}" for size in (1_000, 100_000, 10_000_000)))
    return [sums, evaluations, model]


def speed_up(one: dict[str, Any], size: int, processes: int = 1_000, seconds: float = 100.0) -> float:
    """A ring takes 2 (W - 1) steps, each with the latency of a step between two and 1/W of the vector."""
    sizes = {int(size): found["sum"] for size, found in one["sums"].items()}
    smallest, largest = min(sizes), max(sizes)
    step = sizes[smallest] / 2
    each_double = max(sizes[largest] - sizes[smallest], 0.0) / largest / 2
    total = 2 * (processes - 1) * (step + each_double * size / processes)
    return seconds / (seconds / processes + total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["tensorflow", "mpi"], action="append")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--small", action="store_true", help="take less time, and show less")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(work(arguments.work, arguments.small)), flush=True)
        return
    engines = arguments.engine or (["mpi"] if MPIEXEC else []) + ["tensorflow"]
    measured = [measure(engine, count, arguments.small) for engine in engines for count in arguments.processes]
    if arguments.json:
        print(json.dumps(measured))
        return
    console = Console(width=100)
    for table in tables(measured):
        console.print(table)


if __name__ == "__main__":
    main()
