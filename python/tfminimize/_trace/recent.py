"""Recent: a cache of the last few values, safe for threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tfminimize._tf import private

__all__ = ["Recent"]

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Makes a value when its key is first asked for, and keeps the most recently used ones.

    If several threads ask for the same value, one makes it and the others wait; no thread waits for another key.
    Making a value may run the user's code, which may ask for values too, even for the one that is being made. So a
    thread that is tracing never waits, because others may wait for its trace: it makes its own value.

    Parameters
    ----------
    most : int
        How many values to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._being_made: dict[Hashable, threading.RLock] = {}
        # Held only for moments, but the garbage collector may run the user's code in any of them.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def values(self) -> list[Value]:
        """Return all kept values."""
        return list(self._kept.values())

    def get(self, key: Hashable, make: Callable[[], Value], is_current: Callable[[Value], bool] | None = None) -> Value:
        """Return the value kept under a key. If there is none, or it is out of date, make one and keep it."""
        value = self._get(key, make)
        if is_current is None or is_current(value):
            return value
        with self._lock:
            if self._kept.get(key) is value:
                del self._kept[key]
        return self._get(key, make)

    def _get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        with self._lock:
            try:
                value = self._kept[key]
                self._kept.move_to_end(key)
                return value
            except KeyError:
                pass
        return self._made(key, make)

    def clear(self) -> None:
        """Drop all values."""
        forgotten = self._kept
        with self._lock:
            self._kept = OrderedDict()
        forgotten.clear()  # without the lock: this may run the user's code

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
        forgotten = None  # destroyed after the lock is released
        with self._lock:
            self._kept[key] = value
            if len(self._kept) > self._most:
                forgotten = self._kept.popitem(last=False)
        del forgotten
