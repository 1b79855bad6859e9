"""Processes that are threads of one process: for tests, and to try things out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from tfminimize._distribute.communicator import Communicator, Float64

__all__ = ["Group", "ThreadCommunicator"]


class Group:
    """So many threads that stand for processes.

    Parameters
    ----------
    size : int
        How many there are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size)
        self.vectors: list[Float64] = [np.empty(0)] * size


class ThreadCommunicator(Communicator):
    """The communicator of one thread of a group. All are made at the same time, each in its thread."""

    def __init__(self, group: Group, rank: int, timeout: float = 60.0) -> None:
        self._group = group
        super().__init__(rank, group.size, timeout)

    def exchange_sum(self, vector: Float64) -> None:
        """Add up in the order of the ranks."""
        self._combine(vector, np.add)

    def exchange_maximum(self, vector: Float64) -> None:
        """Take the maximum of each element."""
        self._combine(vector, np.maximum)

    def abort(self, reason: str) -> None:
        """Break the barrier."""
        self._group.barrier.abort()

    def _combine(self, vector: Float64, combine: Callable[[Float64, Float64], Float64]) -> None:
        group = self._group
        group.vectors[self.rank] = vector.copy()
        self._wait()
        sizes = {one.size for one in group.vectors}
        if len(sizes) > 1:
            self.abort("")
            self.lose(f"the vectors have {sorted(sizes)} elements.")
        total = group.vectors[0].copy()
        for one in group.vectors[1:]:
            total = combine(total, one)
        self._wait()
        vector[...] = total

    def _wait(self) -> None:
        try:
            self._group.barrier.wait(self.patience)
        except threading.BrokenBarrierError as error:
            self.lose(self.late(), error)
