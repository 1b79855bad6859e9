"""Communicator on TensorFlow's collectives."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import tensorflow as tf

from tfminimize._distribute.communicator import Communicator, Float64
from tfminimize._tf import private

__all__ = ["CollectiveCommunicator"]

GROUP = 0x74666D
"""TensorFlow's key for our group of processes; strategies count theirs from 1."""

KEYS = 4
"""With so many keys in turn for vectors of one kind, its operation, size, and place side by side, nobody still reads an
earlier exchange when its key comes again: a process begins an exchange only after all others have ended the one before
the last. With a new key for each exchange, TensorFlow's table of keys would grow."""

SIZES = 1 << 16
"""Keys of one communicator."""

MOST = 1 << 19
"""Elements of one collective."""

AT_ONCE = 8
"""So many collectives run side by side, which takes half the time of one after the other, or of one large one. More
channels of gRPC, or other sizes of its messages, change nothing."""

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
        self._counts: dict[Any, tuple[int, Iterator[int]]] = {}
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
                parts = np.split(vector, range(MOST, vector.size, MOST))
                for i in range(0, len(parts), AT_ONCE):
                    group = parts[i : i + AT_ONCE]
                    keys = [self._key(op, place, part.size) for place, part in enumerate(group)]
                    sums = _side_by_side(functools.partial(self._reduced, op), group, keys)
                    for part, found in zip(group, sums, strict=True):
                        part[...] = found
        except tf.errors.OpError as error:
            if self._watch.is_late:
                self.lose(self.late(), error)
            self.lose(f"TensorFlow says: {error.message.splitlines()[0]}", error)

    def _reduced(self, op: str, vector: Float64, key: int) -> Any:
        # TensorFlow keeps a timer, and memory with it, for each collective with a timeout, until the timeout is over.
        with tf.device(private.host_device()):
            return tf.raw_ops.CollectiveReduceV2(
                input=tf.constant(vector),
                group_size=self.size,
                group_key=GROUP,
                instance_key=key,
                ordering_token=[],
                merge_op=op,
                final_op="Id",
                communication_hint="ring",
                timeout_seconds=0.0,
            ).numpy()

    def _key(self, *kind: Any) -> int:
        """The same in all processes, since they exchange the same vectors in the same order."""
        if kind not in self._counts:
            begin = KEYS * len(self._counts)
            if begin + KEYS > SIZES:
                self.lose(f"it has exchanged vectors of {len(self._counts)} kinds: make a new communicator.")
            self._counts[kind] = begin, itertools.cycle(range(KEYS))
        begin, cycle = self._counts[kind]
        return self._first_key + begin + next(cycle)


def _side_by_side(function: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """As ``list(map(function, *columns))``, each call but the last in a thread of its own that nobody waits for."""
    rows = list(zip(*columns, strict=True))
    futures: list[Future[Any]] = []
    for row in rows[:-1]:
        futures.append(Future())
        threading.Thread(target=_fulfil, args=(futures[-1], function, *row), daemon=True).start()
    last = function(*rows[-1])
    return [*(future.result() for future in futures), last]


def _fulfil(future: Future[Any], function: Callable[..., Any], *args: Any) -> None:
    try:
        future.set_result(function(*args))
    except BaseException as error:
        future.set_exception(error)


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
