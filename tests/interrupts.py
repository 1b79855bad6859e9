"""Ctrl-C during solves."""

from __future__ import annotations

import contextlib
import os
import signal
import textwrap
import threading
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def ctrl_c(seconds: float = 0.3) -> Iterator[None]:
    """Press Ctrl-C after this many seconds, and check that it ends the block."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    timer.join()


def interrupted_twice(solve: str, after: str, seconds: float = 0.5) -> str:
    """Return a program that checks that Ctrl-C ends a solve that takes many minutes, and then another one."""
    return f"""
from interrupts import ctrl_c
for attempt in range(2):
    with ctrl_c({seconds}):
{textwrap.indent(textwrap.dedent(solve), " " * 8)}
{after}
"""
