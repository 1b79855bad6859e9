"""Communicator on TensorFlow's collectives."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfminimize._distribute.communicator import Communicator, Float64
from tfminimize._tf import private

__all__ = ["CollectiveCommunicator"]

GROUP = 0x74666D
"""TensorFlow's key for our group of processes; strategies count theirs from 1."""

KEYS = 4
"""With so many keys in turn for vectors of one size, nobody still reads an earlier exchange when its key comes again: a
process begins an exchange only after all others have ended the one before the last. With a new key for each exchange,
TensorFlow's table of keys would grow."""

SIZES = 1 << 16
"""Keys of one communicator."""

MOST = 1 << 22
"""Elements of one collective."""

_communicators = itertools.count()


class CollectiveCommunicator(Communicator):
    """The communicator of a process whose TensorFlow runs a server for collectives.

    Parameters
    ----------
    rank, size : int
    timeout, start_timeout : float
    """

    def __init__(self, rank: int, size: int, timeout: float, start_timeout: float) -> None:
        self._first_key = 1 + SIZES * next(_communicators)
        self._counts: dict[tuple[str, int], tuple[int, Iterator[int]]] = {}
        self._watch = _Watch(weakref.WeakMethod(self._give_up))
        super().__init__(rank, size, timeout, start_timeout)

    def exchange_sum(self, vector: Float64) -> None:
        """Add up by TensorFlow's ring, which gives the same bits to all."""
        self._reduce(vector, "Add")

    def exchange_maximum(self, vector: Float64) -> None:
        """Take the maximum of each element."""
        self._reduce(vector, "Max")

    def abort(self, reason: str) -> None:
        """Let this process's collectives fail, and so those of the others that wait for it."""
        private.abort_collectives(reason)

    def _give_up(self) -> None:
        self.abort(self.late())

    def _reduce(self, vector: Float64, op: str) -> None:
        try:
            with self._watch.limit(self.patience):
                for part in np.split(vector, range(MOST, vector.size, MOST)):
                    part[...] = self._reduced(part, op)
        except tf.errors.OpError as error:
            if self._watch.is_late:
                self.lose(self.late(), error)
            self.lose(f"TensorFlow says: {error.message.splitlines()[0]}", error)

    def _reduced(self, vector: Float64, op: str) -> Any:
        # TensorFlow keeps a timer, and memory with it, for each collective with a timeout, until the timeout is over.
        with tf.device(private.host_device()):
            return tf.raw_ops.CollectiveReduceV2(
                input=tf.constant(vector),
                group_size=self.size,
                group_key=GROUP,
                instance_key=self._key(op, vector.size),
                ordering_token=[],
                merge_op=op,
                final_op="Id",
                communication_hint="ring",
                timeout_seconds=0.0,
            ).numpy()

    def _key(self, op: str, size: int) -> int:
        """The same in all processes, since they exchange the same vectors in the same order."""
        kind = op, size
        if kind not in self._counts:
            begin = KEYS * len(self._counts)
            if begin + KEYS > SIZES:
                self.lose(f"it has exchanged vectors of {len(self._counts)} sizes: make a new communicator.")
            self._counts[kind] = begin, itertools.cycle(range(KEYS))
        begin, cycle = self._counts[kind]
        return self._first_key + begin + next(cycle)


class _Watch:
    """Calls ``late()`` in a thread of its own if something takes too long."""

    def __init__(self, late: weakref.WeakMethod[Any]) -> None:
        self._late = late
        self._end: float | None = None
        self.is_late = False
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Limit what happens inside."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=_watch, args=(weakref.ref(self), min(seconds / 10, 1.0)), name="tfminimize-watch", daemon=True
            )
            self._thread.start()
        self._end = time.monotonic() + seconds
        try:
            yield
        finally:
            self._end = None

    def look(self) -> None:
        """Look at the time."""
        end, late = self._end, self._late()
        if end is not None and time.monotonic() > end and not self.is_late and late is not None:
            self.is_late = True
            late()


def _watch(watch: weakref.ref[_Watch], interval: float) -> None:
    while True:
        time.sleep(interval)
        found = watch()
        if found is None:
            return
        found.look()
        del found
