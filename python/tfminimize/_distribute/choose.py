"""Which communicator fits what starts the processes."""

from __future__ import annotations

import json
import os
from typing import Any

import tensorflow as tf

from tfminimize._distribute.collectives import CollectiveCommunicator
from tfminimize._distribute.communicator import Communicator, checked_timeout
from tfminimize._distribute.mpi import MpiCommunicator
from tfminimize._tf import private

__all__ = ["communicator"]


def communicator(source: Any = None, *, timeout: float = 60.0, start_timeout: float = 300.0) -> Communicator:
    """Connect this process with the others; all call it at the same time, first thing in the program.

    Parameters
    ----------
    source : optional
        A `tf.distribute.MultiWorkerMirroredStrategy`, whose collectives are used; or an mpi4py communicator, such as
        ``MPI.COMM_WORLD`` (``pip install tfminimize[mpi]``). None reads the environment variable ``TF_CONFIG``, as the
        strategy does, and starts a server for TensorFlow's collectives: do that before TensorFlow does anything else.
    timeout : float, default 60.0
        How many seconds a process waits for the others in one exchange. Then the solve ends with `LostError`. It must
        be longer than the difference between the fastest and the slowest process in one evaluation.
    start_timeout : float, default 300.0
        How many seconds this call waits for processes that start later.

    Returns
    -------
    Communicator
        With ``rank``, ``size``, and the methods ``sum``, ``maximum`` and ``broadcast``, which work in place on float64
        arrays. Give it to a `tfminimize.DatasetLoss`.

    Raises
    ------
    ValueError
        If the source is of another kind, or ``TF_CONFIG`` is missing or names no workers.
    LostError
        If the others do not come.

    Examples
    --------
    Run this in every process, with its own share of the data::

        from mpi4py import MPI

        comm = tfm.distribute.communicator(MPI.COMM_WORLD)
        loss = tfm.DatasetLoss(fun, my_share, communicator=comm)
        tfm.minimize(loss, variables)
    """
    timeouts = checked_timeout(timeout), checked_timeout(start_timeout, "start_timeout")
    if source is None:
        return CollectiveCommunicator(*_start_server(), *timeouts)
    if isinstance(source, tf.distribute.MultiWorkerMirroredStrategy):
        rank, size = private.workers_of(source)
        if size < 2:
            raise ValueError(
                "the MultiWorkerMirroredStrategy has one worker only: set TF_CONFIG before it is made, or leave the "
                "communicator out."
            )
        return CollectiveCommunicator(rank, size, *timeouts)
    if hasattr(source, "Iallreduce"):
        return MpiCommunicator(source, *timeouts)
    raise ValueError(
        f"source is {source!r}: give a tf.distribute.MultiWorkerMirroredStrategy, an mpi4py communicator, or None to "
        "follow TF_CONFIG."
    )


def _start_server() -> tuple[int, int]:
    """Start a server as TF_CONFIG says; return the rank of this process and the number of all."""
    text = os.environ.get("TF_CONFIG", "")
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text or "{}")
        workers = config["cluster"]["worker"]
        kind, index = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"TF_CONFIG is {text!r}, which names no workers ({type(error).__name__}: {error}): set it to a JSON text "
            f"such as {example}, or give a strategy or an mpi4py communicator."
        ) from None
    if kind != "worker" or set(config["cluster"]) != {"worker"} or not 0 <= index < len(workers):
        raise ValueError(
            f"TF_CONFIG is {text!r}: all processes must be workers of its cluster, this one with an index below "
            f"{len(workers)}, as in {example}."
        )
    private.start_collectives(workers, index)
    return index, len(workers)
