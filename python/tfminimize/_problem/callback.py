"""Callbacks as SciPy takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tfminimize._problem.result import OptimizeResult

__all__ = ["UserCallback", "check_callback", "takes_result"]


class UserCallback:
    """Calls the user's callback after an iteration, and remembers whether it asked for the end.

    Parameters
    ----------
    callback : callable
        ``callback(xk)``, or ``callback(intermediate_result)`` if that is the name of its only parameter.

    Attributes
    ----------
    stopped : bool
        Whether the callback has raised `StopIteration`.
    """

    def __init__(self, callback: Callable[..., Any]) -> None:
        check_callback(callback)
        self.stopped = False
        self._callback = callback
        self._takes_result = takes_result(callback)

    def __call__(self, x: Any, fun: float) -> bool:
        """Call the callback with x, a copy, and the loss there; return whether the solve is to end."""
        try:
            if self._takes_result:
                self._callback(intermediate_result=OptimizeResult(x=x, fun=np.float64(fun)))
            else:
                self._callback(x)
        except StopIteration:
            self.stopped = True
        return self.stopped


def check_callback(callback: Any) -> None:
    """Raise ValueError unless it is None or can be called."""
    if callback is not None and not callable(callback):
        raise ValueError(f"callback is {callback!r}: give a function of xk, or of intermediate_result.")


def takes_result(callback: Callable[..., Any]) -> bool:
    """Whether the only parameter is called ``intermediate_result``."""
    try:
        return set(inspect.signature(callback).parameters) == {"intermediate_result"}
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
