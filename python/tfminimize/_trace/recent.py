"""Recent: what is made once for each key, and the last few of these kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tfminimize._tf import private

__all__ = ["Recent"]

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by their keys, each made when it is first asked for; the one not used for longest goes.

    If several threads ask for the same value, one makes it and the others wait. Nobody waits for the value of another
    key. Making a value may run code of the user's, which may ask for values too, also for the one that is being made.
    So a thread that traces a function never waits, as others may wait for that trace: it makes a value of its own.

    Parameters
    ----------
    most : int
        How many values are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._being_made: dict[Hashable, threading.RLock] = {}
        # Held for moments only; but the garbage collector may run code of the user's in any of them.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def values(self) -> list[Value]:
        """All that is kept."""
        return list(self._kept.values())

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key: the one that is kept, or what ``make()`` returns."""
        with self._lock:
            try:
                value = self._kept[key]
                self._kept.move_to_end(key)
                return value
            except KeyError:
                pass
        return self._made(key, make)

    def clear(self) -> None:
        """Forget all values."""
        forgotten = self._kept
        with self._lock:
            self._kept = OrderedDict()
        forgotten.clear()  # without the lock: this may run code of the user's

    def _made(self, key: Hashable, make: Callable[[], Value]) -> Value:
        with self._lock:
            turn = self._being_made.setdefault(key, threading.RLock())
        if not turn.acquire(blocking=not private.is_tracing()):
            return make()
        try:
            value = self._kept.get(key)
            if value is None:  # no other thread has made it meanwhile
                value = make()
                self._keep(key, value)
            return value
        finally:
            with self._lock:
                self._being_made.pop(key, None)
            turn.release()

    def _keep(self, key: Hashable, value: Value) -> None:
        forgotten = None  # goes when the lock is free
        with self._lock:
            self._kept[key] = value
            if len(self._kept) > self._most:
                forgotten = self._kept.popitem(last=False)
        del forgotten
