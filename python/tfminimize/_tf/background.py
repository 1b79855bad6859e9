"""Work in the background: one thread that runs jobs, one after the other, and never holds up the end of the process."""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

from tfminimize._tf.binding import _native

__all__ = ["Job"]


class Job:
    """Work that a thread of the background does, unless nobody holds the job any more when its turn comes.

    Parameters
    ----------
    work : callable
        It must not run the user's code, which may not expect another thread.
    tell : callable
        Called in that thread when the job has ended.
    """

    def __init__(self, work: Callable[[], Any], tell: Callable[[], None]) -> None:
        self._work = work
        self._tell = tell
        self._result: Any = None
        self._error: Exception | None = None
        self.has_ended = False
        _worker().jobs.put(weakref.ref(self))

    def run(self) -> None:
        """Do the work."""
        try:
            self._result = self._work()
        except Exception as error:
            self._error = error
        self.has_ended = True
        self._tell()

    def result(self) -> Any:
        """What the work has returned, after its end; raises what it has raised."""
        if self._error is not None:
            raise self._error
        return self._result


_MOMENT = 1.0
"""Seconds; a job takes milliseconds to prepare, and then perhaps minutes in XLA, which needs no Python."""


class _Worker:
    """The thread, and the jobs that wait."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.jobs: queue.SimpleQueue[Callable[[], Job | None]] = queue.SimpleQueue()
        self.is_over = False
        self.thread = threading.Thread(target=self._run, name="tfminimize-background", daemon=True)
        self.thread.start()
        atexit.register(self._end)

    def _end(self) -> None:
        """Let a job leave Python: a thread that asks for it while the interpreter ends may end the process."""
        self.is_over = True
        self.jobs.put(lambda: None)
        if self.process == os.getpid():
            self.thread.join(_MOMENT)

    def _run(self) -> None:
        while not self.is_over:
            job = self.jobs.get()()
            if job is None:
                continue
            _native.begin_background_work()
            try:
                job.run()
            finally:
                _native.end_background_work()
            del job  # while it waits for the next one


_lock = threading.Lock()
_present: _Worker | None = None


def _worker() -> _Worker:
    """The worker of this process; a fork does not copy threads."""
    global _present
    with _lock:
        if _present is None or _present.process != os.getpid():
            _present = _Worker()
        return _present
