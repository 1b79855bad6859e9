"""Threads that stand for the processes of a solve."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tfminimize._distribute.communicator import Communicator
from tfminimize._distribute.threads import Group, ThreadCommunicator

PATIENCE = 120.0
"""Seconds after which a solve hangs."""


def on_ranks(size: int, work: Callable[[Communicator], Any], timeout: float = 60.0) -> list[Any]:
    """Run ``work(communicator)`` on so many ranks, and return what each returns or raises. Rank 0 is this thread."""
    group = Group(size)
    outcomes: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            outcomes[rank] = work(ThreadCommunicator(group, rank, timeout))
        except BaseException as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(1, size)]
    watchdog = threading.Timer(PATIENCE, group.barrier.abort)
    watchdog.start()
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a rank hangs"
    watchdog.cancel()
    return outcomes


def results(outcomes: list[Any]) -> list[Any]:
    """The outcomes, if none is an exception."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes
