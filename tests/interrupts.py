"""Ctrl-C during solves, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def delays_of_interrupts(setup: str, solve: str, after: str, seconds: float = 0.5) -> list[float]:
    """The seconds from the signal to KeyboardInterrupt, of two solves that are interrupted after ``seconds``."""
    script = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, tensorflow as tf
{setup}
sent = []
def interrupt():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
for attempt in range(2):
    threading.Timer({seconds}, interrupt).start()
    try:
{textwrap.indent(textwrap.dedent(solve), " " * 8)}
    except KeyboardInterrupt:
        print(time.perf_counter() - sent[-1])
{after}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    delays = [float(line) for line in done.stdout.split()]
    assert len(delays) == 2
    return delays
