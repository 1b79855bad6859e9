"""Solves that save their state after each iteration, in processes that die.

``python dying_solves.py FOLDER METHOD BACKEND ITERATIONS...`` prints a line for each death. Each solve runs in a
process of its own, forked before TensorFlow is used and so free to use it. It sends SIGKILL to itself: nothing is
cleaned up, whatever the thread that saves is doing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm

X0 = np.array([-1.2, 1.0, 0.5, -0.3, 0.8, 1.1])
LOW = np.full(6, -2.0)


def minimizer(method: str, backend: str) -> tfm.Minimizer:
    """The problem of all these solves."""
    constraints = [{"type": "ineq", "fun": lambda x: 4.0 - tf.reduce_sum(x**2)}] if method == "SLSQP" else ()
    bounds = None if method == "BFGS" else (LOW, 0.95)
    return tfm.Minimizer(
        rosenbrock, X0, method=method, bounds=bounds, constraints=constraints, jit_compile=backend == "xla"
    )


def die_at(iteration: int, path: str, method: str, backend: str) -> None:
    """Solve until SIGKILL."""
    count = 0

    def kill(_: Any) -> None:
        nonlocal count
        count += 1
        while count == 1 and not os.path.exists(path):
            time.sleep(0.001)
        if count == iteration:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.003)  # as long as a save, so that some are done and some are not

    minimizer(method, backend).minimize(callback=tfm.Checkpoint(path, every=1, callback=kill))


def main(folder: str, method: str, backend: str, *iterations: str) -> None:
    for iteration in iterations:
        child = os.fork()
        if child == 0:
            die_at(int(iteration), f"{folder}/{iteration}.npz", method, backend)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(iteration, os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
