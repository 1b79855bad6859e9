"""Solves of two and three processes that really are, by both engines."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfminimize as tfm

pytestmark = [pytest.mark.subprocess, pytest.mark.slow]

PROGRAM = Path(__file__).parent.parent / "processes.py"
LIMIT = 400.0
"""Seconds after which the processes are killed; they end themselves before."""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Run:
    """What the processes have told, by the name of what they did; and how each has ended."""

    def __init__(self, engine: str, size: int, end: str, folder: Path) -> None:
        self.size = size
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        commands = []
        if engine == "mpi":
            arguments = [engine, "0", str(size), end]
            assert MPIEXEC is not None
            commands.append(([MPIEXEC, "-n", str(size), sys.executable, str(PROGRAM), *arguments], environment))
        else:
            workers = [f"127.0.0.1:{port}" for port in free_ports(size)]
            for rank in range(size):
                config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
                command = [sys.executable, str(PROGRAM), engine, str(rank), str(size), end]
                commands.append((command, {**environment, "TF_CONFIG": json.dumps(config)}))
        outputs = [folder / f"output{i}" for i in range(len(commands))]
        processes = []
        for (command, env), output in zip(commands, outputs, strict=True):
            with output.open("w") as file:
                processes.append(subprocess.Popen(command, env=env, stdout=file, stderr=file, start_new_session=True))
        begin = time.monotonic()
        try:
            waiting = processes[:-1] if end in ("SIGSTOP", "START") and engine != "mpi" else processes
            for process in waiting:
                process.wait(max(LIMIT - (time.monotonic() - begin), 0.1))
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.codes = [process.returncode for process in processes]
        self.text = "\n".join(output.read_text() for output in outputs)
        self._told: dict[tuple[str, int], Any] = {}
        for begin in re.finditer(r'\{"rank"', self.text):  # mpiexec mixes lines
            one, _ = json.JSONDecoder().raw_decode(self.text, begin.start())
            self._told[one["name"], one["rank"]] = one["found"]

    def told(self, name: str, count: int | None = None) -> list[Any]:
        """What the first ranks have told."""
        ranks = range(self.size if count is None else count)
        assert all((name, rank) in self._told for rank in ranks), f"{name}\n{self.text[-6000:]}"
        return [self._told[name, rank] for rank in ranks]


MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or MPIEXEC is None,
    reason="there is no mpi4py, or no mpiexec",
)
CASES = [
    pytest.param("tensorflow", 2, "SIGKILL", id="tensorflow2"),
    pytest.param("tensorflow", 3, "SIGSTOP", id="tensorflow3", marks=pytest.mark.weekly),
    pytest.param("strategy", 2, "SIGSTOP", id="strategy2", marks=pytest.mark.weekly),
    pytest.param("mpi", 2, "SIGSTOP", id="mpi2", marks=needs_mpi),
    pytest.param("mpi", 3, "SIGKILL", id="mpi3", marks=[needs_mpi, pytest.mark.weekly]),
]


@pytest.mark.parametrize(("engine", "size", "end"), CASES)
def test_processes_solve_together_and_end_together(engine: str, size: int, end: str, tmp_path: Path) -> None:
    run = Run(engine, size, end, tmp_path)
    check_exchanges(run)
    check_solutions(run)
    if size == 2:
        check_keras(run)
    check_faults(run)
    others = size - 1
    if engine == "mpi" and end == "SIGKILL":  # mpiexec ends all when one is killed
        assert run.codes[0] != 0
        return
    for (kind, sentence), _, is_untouched, seconds in run.told("end", others):
        assert kind == "LostError"
        assert "has lost the others" in sentence
        assert is_untouched
        assert seconds < 60
    assert run.told("done", others) == [True] * others
    if engine == "mpi":  # MPI would wait for the hung process for ever
        assert "ends all processes" in run.text
    else:
        assert run.codes[:-1] == [0] * others


@pytest.mark.weekly
@pytest.mark.parametrize("engine", ["tensorflow", pytest.param("mpi", marks=needs_mpi)])
def test_process_that_hangs_in_the_set_up_ends_the_others(engine: str, tmp_path: Path) -> None:
    run = Run(engine, 2, "START", tmp_path)
    (sentence,) = run.told("start", 1)
    assert sentence.startswith("process 0 of 2 has lost the others: another process did not answer for 4 seconds")
    assert "a longer start_timeout" in sentence


@pytest.mark.weekly
@pytest.mark.resident_memory
@pytest.mark.parametrize("engine", ["tensorflow", pytest.param("mpi", marks=needs_mpi)])
def test_many_sums_keep_no_memory(engine: str, tmp_path: Path) -> None:
    for bytes_of_each in Run(engine, 2, "SUMS", tmp_path).told("sums"):
        assert bytes_of_each < 200


def check_exchanges(run: Run) -> None:
    total = sum(range(1, run.size + 1))
    top = [run.size - 1.0, 0.0]
    expected = [[total * i for i in range(5)], top, [1.0, 1.0, 1.0], True]
    assert run.told("exchanges") == [expected] * run.size


def check_solutions(run: Run) -> None:
    import tensorflow as tf

    random = np.random.default_rng(5)
    x = random.normal(size=(103, 3))
    y = np.sign(x @ [1.0, -2.0, 3.0] + random.normal(size=103))

    def logistic(w: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(-tf.linalg.matvec(x, w) * y)) + 0.1 * tf.reduce_sum(w**2)

    ways: dict[str, dict[str, Any]] = {
        "bounds": {"bounds": (-1.0, 0.2)},
        "slsqp": {"method": "SLSQP", "constraints": {"type": "ineq", "fun": lambda w: 0.05 - tf.reduce_sum(w**2)}},
        "bfgs": {"method": "BFGS"},
    }
    for name, options in ways.items():
        alone = tfm.minimize(logistic, np.full(3, 0.1), **options)
        first, *others = run.told(name)
        assert len(first[0]) == first[3] == alone.nit
        assert all(other == first for other in others), name  # x and loss of all iterations, bit for bit
        np.testing.assert_allclose(first[1], alone.fun, rtol=1e-12)


def check_keras(run: Run) -> None:
    first, second = run.told("keras")
    assert first == second  # losses, metrics and weights, bit for bit
    assert set(first[0]) == {"loss", "mae", "val_loss", "val_mae"}
    assert first[0]["loss"][-1] < first[0]["loss"][0]
    assert run.text.count("Epoch 6/6") == 1


def check_faults(run: Run) -> None:
    last = run.size - 1
    for name, kind in {"exception": "OSError", "ctrl-c": "KeyboardInterrupt"}.items():
        for rank, (error, count, is_untouched, _) in enumerate(run.told(name)):
            assert error[0] == ("PeerError" if rank < last else kind)
            assert rank == last or error[1].startswith(f"process {last} has ended the solve with {kind}")
            assert count == 3
            assert is_untouched
    stops = run.told("stop")
    assert [(message, count) for message, count, *_ in stops] == [("`callback` raised `StopIteration`.", 3)] * run.size
    times = run.told("maxtime")
    assert len({count for _, count, *_ in times}) == 1
    assert all("time" in message.lower() for message, *_ in times)
    for (kind, sentence), count, is_untouched, _ in run.told("method"):
        assert kind == "ValueError"
        assert sentence.startswith(f"process {last} has method BFGS, and process 0 has L-BFGS-B")
        assert count == 0
        assert is_untouched
