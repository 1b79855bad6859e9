"""A solve between `tf.summary.trace_on` and `trace_export` does not disturb the user's graphs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import bowl

import tfminimize as tfm

MARK = "mark_of_the_user"


def traced(folder: Path, between: Callable[[], Any], profiler: bool = False) -> tuple[bool, bool]:
    """Whether the export contains the graphs of the user's functions from before and after."""

    def user(name: str) -> None:
        tf.function(lambda x: tf.identity(x * 2.0, name=f"{MARK}_{name}"))(tf.ones(3))

    outputs = {"profiler_outdir": str(folder / "profile")} if profiler else {}
    tf.summary.trace_on(graph=True, profiler=profiler, **outputs)
    try:
        user("before")
        between()
        user("after")
        with tf.summary.create_file_writer(str(folder)).as_default():
            tf.summary.trace_export("graph", step=0)
    finally:
        tf.summary.trace_off()
    written = b"".join(path.read_bytes() for path in folder.glob("*.v2"))
    return f"{MARK}_before".encode() in written, f"{MARK}_after".encode() in written


def of_a_variable() -> None:
    variable = tf.Variable([0.0, 0.0])
    tfm.minimize(lambda: bowl(variable), variable)


SOLVES: dict[str, Callable[[], Any]] = {
    "minimize": lambda: tfm.minimize(lambda x: bowl(x), np.zeros(2)),
    "variable": of_a_variable,
    "SLSQP": lambda: tfm.minimize(bowl, np.zeros(2), method="SLSQP", constraints={"type": "ineq", "fun": bowl}),
    "BFGS": lambda: tfm.minimize(lambda x: bowl(x), np.zeros(2), method="BFGS"),
    "XLA": lambda: tfm.minimize(lambda x: bowl(x), np.zeros(2), jit_compile=True),
    "batch": lambda: tfm.Minimizer(lambda x: bowl(x), np.zeros(2)).minimize_batch(np.zeros((3, 2))),
    "graph": lambda: tf.function(lambda x: tfm.minimize(bowl, x).x)(tf.zeros(2)),
    "compare": lambda: tfm.compare(lambda x: bowl(x), np.zeros(2), repeats=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("profiler", [False, True])
@pytest.mark.parametrize("solve", SOLVES)
def test_trace_has_the_graphs_of_the_user(solve: str, profiler: bool, tmp_path: Path) -> None:
    assert traced(tmp_path, SOLVES[solve], profiler) == (True, True)
    if profiler:
        assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_traces_during_solves_in_another_thread(tmp_path: Path) -> None:
    stop, solved = threading.Event(), threading.Event()

    def solve() -> None:
        while not stop.is_set():
            tfm.minimize(lambda x: bowl(x), np.zeros(2))
            solved.set()

    thread = threading.Thread(target=solve)
    thread.start()
    try:
        for i in range(6):
            folder = tmp_path / str(i)
            folder.mkdir()
            assert traced(folder, solved.wait) == (True, True)
            solved.clear()
    finally:
        stop.set()
        thread.join()


def test_functions_are_optimised_again_after_the_trace(tmp_path: Path) -> None:
    found: list[str] = []

    def reason() -> None:
        solver = tfm.Minimizer(lambda x: bowl(x), np.zeros(2))
        found.append(solver._program.lease(solver.arguments).workspace._first._inputs._functions[0].call.dispatch)

    traced(tmp_path, reason)
    reason()
    assert found == ["function", "fastest"]
