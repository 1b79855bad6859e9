"""Communicator: what connects the processes of a solve."""

from __future__ import annotations

import abc
import hashlib
import math
import numbers
import threading
import weakref
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from tfminimize._distribute.errors import LostError
from tfminimize._tf.binding import _native

__all__ = ["Communicator", "check_communicator", "checked_timeout", "digest"]

Float64 = NDArray[np.float64]
Result = TypeVar("Result")

TEST_SIZE = 1000
"""How many numbers are added up to see whether all processes get the same bits."""

TEXT_SIZE = 2000
"""How many bytes of a text other processes get: its beginning and its end, as TensorFlow puts the cause at the end."""


class Communicator(abc.ABC):
    """What connects this process with the others of a solve.

    All processes make one at the same time, and then call the same methods in the same order: each call waits for the
    others. The vectors are float64 arrays of the same size everywhere, and all processes get the same bits.

    The exchanges take place in a thread of its own, where no signal handler can interrupt them.

    Parameters
    ----------
    rank : int
        Of this process, from 0.
    size : int
        How many processes there are.
    timeout : float
        How many seconds an exchange waits for the others before it raises `LostError`.
    start_timeout : float, optional
        How many seconds the first exchange, here, waits for processes that start later. Default: ``timeout``.

    Attributes
    ----------
    rank, size, timeout
        As above.
    patience : float
        How many seconds the present exchange waits.
    """

    def __init__(self, rank: int, size: int, timeout: float, start_timeout: float | None = None) -> None:
        self.rank = rank
        self.size = size
        self.timeout = timeout
        self.side_thread = _native.SideThread()
        self.patience = timeout if start_timeout is None else start_timeout
        self._is_set_up = False
        self._lost: LostError | None = None
        threading.Thread(target=self.side_thread.serve, name="tfminimize-exchanges", daemon=True).start()
        weakref.finalize(self, self.side_thread.close).atexit = False
        self.together(self.set_up)
        self.patience, self._is_set_up = timeout, True

    @abc.abstractmethod
    def exchange_sum(self, vector: Float64) -> None:
        """Add up over all processes, in place; like the next two, called in the side thread."""

    @abc.abstractmethod
    def exchange_maximum(self, vector: Float64) -> None:
        """Take the maximum over all processes of each element, in place."""

    def exchange_broadcast(self, vector: Float64) -> None:
        """Give the vector of process 0 to all, in place."""
        if self.rank > 0:
            vector[...] = 0.0
        self.exchange_sum(vector)

    @abc.abstractmethod
    def abort(self, reason: str) -> None:
        """Let the exchanges of all processes fail, from now on."""

    def sum(self, vector: Float64) -> None:
        """Add up a vector over all processes, in place."""
        self.together(lambda: self.exchange_sum(vector))

    def maximum(self, vector: Float64) -> None:
        """Take the maximum over all processes of each element, in place."""
        self.together(lambda: self.exchange_maximum(vector))

    def broadcast(self, vector: Float64) -> None:
        """Give the vector of process 0 to all, in place."""
        self.together(lambda: self.exchange_broadcast(vector))

    def together(self, exchanges: Callable[[], Result]) -> Result:
        """What ``exchanges()`` returns: all or none of its exchanges take place, whatever the user presses."""
        if self._lost is not None:
            raise self._lost
        result: Result = self.side_thread.call(exchanges)
        return result

    def gather(self, row: Float64) -> Float64:
        """The vectors of all processes as the rows of a matrix. Call it in the side thread."""
        table = np.zeros((self.size, len(row)))
        table[self.rank] = row
        self.exchange_sum(table.reshape(-1))
        return table

    def gather_texts(self, text: str) -> list[str]:
        """The texts of all processes. Call it in the side thread."""
        row = np.zeros(TEXT_SIZE)
        encoded = text.encode()
        if len(encoded) > TEXT_SIZE:
            half = TEXT_SIZE // 2
            encoded = encoded[: half - 5] + b" ... " + encoded[-half:]
        row[: len(encoded)] = list(encoded)
        rows = self.gather(row).astype(np.uint8)
        return [bytes(one).rstrip(b"\0").decode(errors="replace") for one in rows]

    def lose(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        """Raise `LostError`, now and in all later exchanges."""
        self._lost = LostError(f"process {self.rank} of {self.size} has lost the others: {reason}")
        raise self._lost from cause

    @property
    def is_lost(self) -> bool:
        """Whether an exchange has failed, so that there can be no others."""
        return self._lost is not None

    def late(self) -> str:
        """The sentence for a process that does not answer."""
        begin = f"another process did not answer for {self.patience:g} seconds: it"
        if not self._is_set_up:
            return f"{begin} has not started, or hangs. If it starts later, give communicator() a longer start_timeout."
        return (
            f"{begin} has ended or hangs. If an evaluation takes longer in one process than in another, give "
            "communicator() a longer timeout."
        )

    def set_up(self) -> None:
        """Check, by the first exchanges, that all processes get the same bits."""
        if not self.has_same_bits():
            raise RuntimeError(
                "The processes got different bits from the same sum, so their solvers would part: let all run the same "
                "versions of TensorFlow and MPI on the same kind of machine."
            )

    def has_same_bits(self) -> bool:
        """Whether all processes get the same bits from a sum."""
        vector = np.random.default_rng(self.rank).normal(size=TEST_SIZE)
        self.exchange_sum(vector)
        found = self.gather(np.array([digest(vector.tobytes())]))
        return bool(np.all(found == found[0]))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a communicator belongs to its process and cannot be copied or pickled: make a new one.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.rank} of {self.size}>"


def digest(data: bytes) -> float:
    """A number that tells these bytes from others; sums with zeros keep it exact."""
    return float(int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "little"))


def check_communicator(communicator: Any) -> None:
    """Raise ValueError unless it is None or a communicator."""
    if communicator is not None and not isinstance(communicator, Communicator):
        raise ValueError(
            f"communicator is {communicator!r}: give what tfminimize.distribute.communicator(...) returns."
        )


def checked_timeout(timeout: Any, name: str = "timeout") -> float:
    """Return a timeout in seconds; ValueError for anything else."""
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real) or not 0 < float(timeout) < math.inf:
        raise ValueError(f"{name} is {timeout!r}: give a positive number of seconds.")
    return float(timeout)
