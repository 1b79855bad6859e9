"""Callbacks as SciPy takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.state import State

__all__ = ["UserCallback", "begin_of", "check_callback", "takes_result", "tell_end", "wants_state_at_end"]


class UserCallback:
    """Calls the user's callback after an iteration, and remembers whether it stopped the solve.

    Parameters
    ----------
    callback : callable
        ``callback(xk)``, or ``callback(intermediate_result)`` if that is the name of its only parameter.

    Attributes
    ----------
    stopped : bool
        Whether the callback has raised `StopIteration`.
    takes_result : bool
        Whether it gets an ``intermediate_result``.

    Raises
    ------
    ValueError
        If the callback can be called in neither way.
    """

    def __init__(self, callback: Callable[..., Any]) -> None:
        check_callback(callback)
        self.stopped = False
        self._callback = callback
        self.takes_result = takes_result(callback)
        if not self.takes_result:
            _check_takes_x(callback)

    def __call__(self, x: Any, fun: float, source: Any = None, **fields: Any) -> bool:
        """Call the callback with x, a copy, and the loss there; return whether the solve is to end.

        The state, if the callback asks for it, comes from ``source``. A result has further ``fields`` too.
        """
        if not self.takes_result:
            return self._call(x)
        intermediate_result = OptimizeResult(x=x, fun=np.float64(fun), **fields)
        if source is not None:
            intermediate_result.keep(source)
        return self._call(intermediate_result=intermediate_result)

    def pass_on(self, intermediate_result: OptimizeResult) -> bool:
        """Call the callback with what another one has got; return whether the solve is to end."""
        if self.takes_result:
            return self._call(intermediate_result=intermediate_result)
        return self._call(intermediate_result.x)

    def _call(self, *args: Any, **kwargs: Any) -> bool:
        try:
            self._callback(*args, **kwargs)
        except StopIteration:
            self.stopped = True
        return self.stopped


def tell_end(callback: Any, state: Callable[[], State], error: BaseException | None) -> None:
    """Call ``callback.on_end(state(), error)`` or ``callback.on_end(error)``, if it has such a method."""
    if wants_state_at_end(callback):
        callback.on_end(state(), error)
    elif _has_on_end(callback):
        callback.on_end(error)


def wants_state_at_end(callback: Any) -> bool:
    """Whether the callback has a method ``on_end`` that takes a state."""
    return _has_on_end(callback) and _parameters(callback.on_end) != {"error"}


def _has_on_end(callback: Any) -> bool:
    return callable(getattr(callback, "on_end", None))


def begin_of(callback: Any) -> Callable[[], object] | None:
    """The method to call before each iteration, if the callback has one."""
    method = getattr(callback, "on_iteration_begin", None)
    return method if callable(method) else None


def check_callback(callback: Any) -> None:
    """Raise ValueError unless the callback is None or callable."""
    if callback is not None and not callable(callback):
        raise ValueError(f"callback is {callback!r}: give a function of xk, or of intermediate_result.")


def takes_result(callback: Callable[..., Any]) -> bool:
    """Whether the only parameter is called ``intermediate_result``."""
    return _parameters(callback) == {"intermediate_result"}


def _parameters(function: Callable[..., Any]) -> set[str]:
    """The names of the parameters; none for built-in functions without a signature."""
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()


def _check_takes_x(callback: Callable[..., Any]) -> None:
    """Raise ValueError if the callback cannot be called with x alone."""
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise ValueError(
            f"callback has the parameters {signature}, but it is called with x alone ({error}): give a function of xk, "
            "or of intermediate_result."
        ) from None
