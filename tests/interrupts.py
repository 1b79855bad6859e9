"""Ctrl-C during solves, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def interrupt_twice(setup: str, solve: str, after: str, seconds: float = 0.5) -> None:
    """Check that Ctrl-C, ``seconds`` after its begin, ends a solve that takes many minutes, and then another one."""
    script = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, tensorflow as tf
{setup}
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
for attempt in range(2):
    threading.Timer({seconds}, interrupt).start()
    try:
{textwrap.indent(textwrap.dedent(solve), " " * 8)}
    except KeyboardInterrupt:
        print("interrupted")
{after}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted"] * 2
