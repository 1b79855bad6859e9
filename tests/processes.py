"""Solves of several processes, as a program that each of them runs: ``processes.py ENGINE RANK SIZE END``.

ENGINE is "tensorflow" (which reads TF_CONFIG), "strategy" (the same, by a MultiWorkerMirroredStrategy) or "mpi". Each
process prints a line ``{"name": ..., "found": ...}`` for each thing that it does. END is how its last rank dies; with
"START" it hangs before it does anything, and with "SUMS" the processes only add up, many times.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT = 300
"""Seconds after which the process ends itself."""

TIMEOUT = 4.0
"""Seconds that a process waits for the others."""

START = [-1.2, 1.0, 1.0]
SUMS = 10_000


def main(engine: str, rank: int, size: int, end: str) -> None:
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    import numpy as np
    import tensorflow as tf

    import tfminimize as tfm

    source: Any = None
    if engine == "strategy":
        source = tf.distribute.MultiWorkerMirroredStrategy()
    elif engine == "mpi":
        from mpi4py import MPI

        source = MPI.COMM_WORLD
        rank = source.Get_rank()

    def tell(name: str, found: Any) -> None:
        print(json.dumps({"rank": rank, "name": name, "found": found}), flush=True)

    if end == "START":
        if rank == size - 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            tfm.distribute.communicator(source, start_timeout=TIMEOUT)
        except tfm.distribute.LostError as error:
            tell("start", str(error))
        return
    comm = tfm.distribute.communicator(source, timeout=TIMEOUT)
    assert (comm.rank, comm.size) == (rank, size)
    if end == "SUMS":
        vector = np.ones(8)
        resident = []
        for count in (500, SUMS):
            for _ in range(count):
                comm.sum(vector)
                vector[:] = 1.0
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
        tell("sums", (resident[1] - resident[0]) / SUMS)
        return

    def exchanges() -> Any:
        vector = np.arange(5.0) * (rank + 1)
        comm.sum(vector)
        top, first = np.array([float(rank), -float(rank)]), np.full(3, float(rank + 1))
        comm.maximum(top)
        comm.broadcast(first)
        many = np.arange(1_200_000.0)  # TensorFlow exchanges it in parts
        own = many * (rank + 1)
        comm.sum(own)
        is_right = bool((own == many * size * (size + 1) / 2).all())
        return [vector.tolist(), top.tolist(), first.tolist(), is_right]

    random = np.random.default_rng(5)
    x = random.normal(size=(103, 3))
    y = np.sign(x @ [1.0, -2.0, 3.0] + random.normal(size=103))
    cuts = [0, 0, 60, 103] if size == 3 else [0, 60, 103]  # three processes have an empty share

    def logistic(w: Any, x: Any, y: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(-tf.linalg.matvec(x, w) * y)) + 0.1 * tf.reduce_sum(w**2)

    def fit(options: dict[str, Any], jit_compile: bool) -> Any:
        part = slice(cuts[rank], cuts[rank + 1])
        seen: list[str] = []

        def note(intermediate_result: Any) -> None:
            seen.append(intermediate_result.x.tobytes().hex() + float(intermediate_result.fun).hex())

        loss = tfm.DatasetLoss(logistic, (x[part], y[part]), 20, communicator=comm)
        found = tfm.minimize(
            loss, np.full(3, rank + 0.1), callback=note, jit_compile=jit_compile, history=True, **options
        )
        return [seen, found.fun, found.x.tolist(), found.nit]

    ways = {
        "bounds": {"bounds": (-1.0, 0.2)},
        "slsqp": {"method": "SLSQP", "constraints": {"type": "ineq", "fun": lambda w: 0.05 - tf.reduce_sum(w**2)}},
        "bfgs": {"method": "BFGS"},
    }
    tell("exchanges", exchanges())
    for name, options in ways.items():
        tell(name, fit(options, jit_compile=name != "slsqp"))

    def fit_keras() -> Any:
        import keras

        keras.utils.set_random_seed(rank)  # process 0 has the start
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
        model.compile(loss="mse", metrics=["mae"])
        part = slice(cuts[rank], cuts[rank + 1])
        history = tfm.keras.fit(
            *(model, x[part], y[part]), epochs=6, verbose=2, validation_split=0.2, communicator=comm
        )
        return [history.history, [w.tolist() for w in model.get_weights()]]

    if size == 2:
        tell("keras", fit_keras())

    def failing(name: str, callback: Callable[[int], None] | None = None, **options: Any) -> None:
        """A solve that fails on the last rank in its third iteration."""
        v = tf.Variable(np.array(START))
        count = 0

        def call(xk: Any) -> None:
            nonlocal count
            count += 1
            if callback is not None and rank == size - 1:
                callback(count)

        def rosenbrock(x: Any) -> tf.Tensor:
            return tf.reduce_mean(x) * tf.reduce_sum(100.0 * (v[1:] - v[:-1] ** 2) ** 2 + (1.0 - v[:-1]) ** 2)

        loss = tfm.DatasetLoss(rosenbrock, np.ones(4), communicator=comm)
        begin = time.monotonic()
        try:
            error: Any = tfm.minimize(loss, v, callback=call, **options).message
        except BaseException as caught:
            error = [type(caught).__name__, str(caught)]
        tell(name, [error, count, v.numpy().tolist() == START, time.monotonic() - begin])

    def in_third(action: Callable[[], Any]) -> Callable[[int], None]:
        return lambda count: action() if count == 3 else None

    def throw(error: BaseException) -> None:
        raise error

    failing("exception", in_third(lambda: throw(OSError("disk full"))))
    failing("stop", in_third(lambda: throw(StopIteration())))
    failing("ctrl-c", in_third(lambda: os.kill(os.getpid(), signal.SIGINT)))
    failing("maxtime", lambda count: time.sleep(0.2), options={"maxtime": 0.5})
    failing("method", method="BFGS" if rank == size - 1 else "L-BFGS-B")
    failing("end", in_third(lambda: os.kill(os.getpid(), getattr(signal, end))))
    tell("done", True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
