"""Callbacks as SciPy takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from scipy.optimize import OptimizeResult

__all__ = ["Observer"]


class Observer:
    """Calls the user's callback after an iteration, and remembers whether it asked for the end.

    Parameters
    ----------
    callback : callable
        ``callback(xk)``, or ``callback(intermediate_result)`` if that is the name of its only parameter.
    current : callable
        Returns a copy of x as the callback gets it, and the loss there.
    """

    def __init__(self, callback: Callable[..., Any], current: Callable[[], tuple[Any, float]]) -> None:
        if not callable(callback):
            raise ValueError(f"callback is {callback!r}: give a function of xk, or of intermediate_result.")
        self.stopped = False
        self._callback = callback
        self._current = current
        self._takes_result = takes_result(callback)

    def __call__(self) -> bool:
        """Call the callback; return whether the solve is to end."""
        x, fun = self._current()
        try:
            if self._takes_result:
                self._callback(intermediate_result=OptimizeResult(x=x, fun=fun))
            else:
                self._callback(x)
        except StopIteration:
            self.stopped = True
        return self.stopped


def takes_result(callback: Callable[..., Any]) -> bool:
    """Whether the only parameter is called ``intermediate_result``."""
    try:
        return set(inspect.signature(callback).parameters) == {"intermediate_result"}
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
