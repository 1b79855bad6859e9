"""Communicator on MPI, by mpi4py."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tfminimize._distribute.communicator import Communicator, Float64

__all__ = ["MpiCommunicator"]

SPIN = 200e-6
"""Seconds in which it looks for the end of an exchange without a pause: those of small vectors take 5 to 50 µs."""

PAUSE = 50e-6
"""Seconds of a pause after that."""

MOST = 1 << 22
"""Elements that one call of MPI gets."""


class MpiCommunicator(Communicator):
    """The communicator of a process that MPI has started.

    A collective of MPI cannot be given up. After one that did not end in time, this process can go on, but it cannot
    end as usual, since MPI waits for the others; so it then ends all of them.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        It is duplicated: messages of the caller do not get in the way.
    timeout, start_timeout : float
    """

    def __init__(self, comm: Any, timeout: float, start_timeout: float) -> None:
        from mpi4py import MPI

        if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
            raise ValueError(
                "MPI was initialised for one thread only, and tfminimize exchanges in a thread of its own: leave out "
                'mpi4py.rc.thread_level, or set it to "serialized" or "multiple".'
            )
        self._mpi = MPI
        self._comm = comm
        self._by_broadcast = False
        self._room: Float64 = np.empty(0)
        super().__init__(comm.Get_rank(), comm.Get_size(), timeout, start_timeout)

    def exchange_sum(self, vector: Float64) -> None:
        """Add up, in process 0 alone if MPI would not give the same bits to all."""
        self._reduce(vector, self._mpi.SUM)

    def exchange_maximum(self, vector: Float64) -> None:
        """Take the maximum of each element."""
        self._reduce(vector, self._mpi.MAX)

    def exchange_broadcast(self, vector: Float64) -> None:
        """Give the vector of process 0 to all."""
        self._exchange(vector, self._from_0)

    def abort(self, reason: str) -> None:
        """End all processes."""
        print(f"tfminimize: process {self.rank} ends all processes: {reason}", file=sys.stderr, flush=True)
        self._comm.Abort(1)

    def _reduce(self, vector: Float64, op: Any) -> None:
        place = self._mpi.IN_PLACE

        def to_all(room: Float64) -> None:
            self._wait(lambda: self._comm.Iallreduce(place, room, op=op))

        def by_0(room: Float64) -> None:
            pair = (place, room) if self.rank == 0 else (room, None)
            self._wait(lambda: self._comm.Ireduce(*pair, op=op, root=0))
            self._from_0(room)

        self._exchange(vector, by_0 if self._by_broadcast else to_all)

    def _from_0(self, room: Float64) -> None:
        self._wait(lambda: self._comm.Ibcast(room, root=0))

    def _exchange(self, vector: Float64, exchange: Callable[[Float64], None]) -> None:
        """Exchange a vector part by part, in room that stays if MPI never ends an exchange."""
        for part in np.split(vector, range(MOST, vector.size, MOST)):
            if self._room.size < part.size:
                self._room = np.empty(part.size)
            room = self._room[: part.size]
            room[...] = part
            exchange(room)
            part[...] = room

    def _wait(self, begin: Callable[[], Any]) -> None:
        """Wait until an exchange has ended, for `patience` at most."""
        start = time.monotonic()
        try:
            request = begin()
            while not request.Test():
                passed = time.monotonic() - start
                if passed > self.patience:
                    break
                if passed > SPIN:
                    time.sleep(PAUSE)
            else:
                return
        except self._mpi.Exception as error:
            atexit.register(self._end_all)
            self.lose(f"MPI says: {error}", error)
        self._pending = request  # MPI may still write to its room
        atexit.register(self._end_all)
        self.lose(self.late())

    def _end_all(self) -> None:
        if not self._mpi.Is_finalized():
            self.abort("it has lost another process, for which MPI would wait for ever.")

    def set_up(self) -> None:
        """Duplicate MPI's communicator, and find out whether its sums have the same bits everywhere."""
        duplicate, request = self._comm.Idup()
        self._wait(lambda: request)
        self._comm = duplicate
        if not self.has_same_bits():
            self._by_broadcast = True
            super().set_up()
