"""Warns about functions that XLA compiles anew for every x, as it does if a size depends on x."""

from __future__ import annotations

import contextlib
import statistics
import time

import tensorflow as tf

from tfminimize._solve.workspace import Workspace
from tfminimize._tf.warning import warn

__all__ = ["warn_if_compiled_anew"]

_SHORT = 0.005
"""A short evaluation, in seconds; compiling the smallest function takes 10 ms."""

_MUCH_FASTER = 4

_TIMES = 3
"""The median of so many evaluations counts: one may be slow by chance, or at an x that was compiled before."""

_STEP = 2.0**-20
"""A relative step that also changes a float32."""


def warn_if_compiled_anew(workspace: Workspace, seconds: float, count: int) -> None:
    """Warn after the first solve if its evaluations were mostly compilations.

    If they took long enough, it evaluates again: at the last x, which is compiled already, and then by turns at a new x
    close to it and at the same one once more.

    Parameters
    ----------
    workspace : Workspace
    seconds : float
        The time of all evaluations but the first, which compiles the function anyway.
    count : int
        The number of these evaluations.
    """
    if not workspace.compiles or seconds < _SHORT * max(count, 1):
        return
    x, gradient = workspace.x.copy(), workspace.gradient.copy()
    again = beside = 0.0
    # Close to x, the function may be undefined.
    with contextlib.suppress(tf.errors.OpError):
        again = statistics.median(_seconds(workspace) for _ in range(_TIMES))
        if _MUCH_FASTER * again * count < seconds:
            pairs = [(_seconds_beside(workspace), _seconds(workspace)) for _ in range(_TIMES)]
            beside, again = map(statistics.median, zip(*pairs, strict=True))
            workspace.x[...] = x
            _seconds(workspace)
    workspace.x[...], workspace.gradient[...] = x, gradient
    if beside > max(_SHORT, _MUCH_FASTER * again):
        warn(
            f"XLA compiles the function anew for every x: an evaluation took {beside:.2g} s, but only {again:.2g} s at "
            "an x for which it was compiled already. Use jit_compile=False, also in a tf.function that the function "
            "calls, or let no size depend on x.",
            UserWarning,
        )


def _seconds_beside(workspace: Workspace) -> float:
    """The seconds of an evaluation one step away."""
    workspace.x[0] += _STEP * (abs(workspace.x[0]) or 1.0)
    return _seconds(workspace)


def _seconds(workspace: Workspace) -> float:
    """The seconds of an evaluation, of wall time or of CPU time of this process, whichever are fewer.

    Compiling takes both. Other programs on a busy machine take wall time alone, other threads CPU time.
    """
    begin, begin_cpu = time.perf_counter(), time.process_time()
    workspace.evaluate()
    return min(time.perf_counter() - begin, time.process_time() - begin_cpu)
