"""Functions that XLA compiles anew for every x, as it does where a size depends on x."""

from __future__ import annotations

import time
import warnings

from tfminimize.workspace import Memory

__all__ = ["warn_if_compiled_anew"]

_SHORT = 0.005
"""Seconds; compiling the smallest function takes 10 ms."""

_MUCH_FASTER = 4


def warn_if_compiled_anew(workspace: Memory, seconds: float, count: int) -> None:
    """Warn after the first solve if its evaluations were mostly compilations.

    If they took long enough, then an evaluation at the last x again, which is compiled already, tells.

    Parameters
    ----------
    workspace : Memory
    seconds : float
        What all evaluations but the first, which compiles the function anyway, took together.
    count : int
        How many they were.
    """
    mean = seconds / max(count, 1)
    if not workspace.backend.compiles or mean < _SHORT:
        return
    gradient = workspace.gradient.copy()
    begin = time.perf_counter()
    workspace.evaluate()
    again = time.perf_counter() - begin
    workspace.gradient[...] = gradient
    if again * _MUCH_FASTER < mean:
        warnings.warn(
            f"XLA compiles the function anew for every x: an evaluation took {mean:.2g} s, but {again:.2g} s where it "
            "was compiled already. Use jit_compile=False, also in a tf.function that the function calls, or "
            "let no size depend on x.",
            UserWarning,
            stacklevel=2,
        )
