"""The options of a method, which all solvers get by what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfminimize._problem.native_methods import NATIVE_METHODS

__all__ = ["Options", "iterations", "iterations_text", "settings_for"]

Options = Mapping[str, Any]


def settings_for(method: str, tol: float | None, options: Options | None) -> Options:
    """``tol`` and the options that the method has; for L-BFGS-B, SLSQP and BFGS all of them, with their defaults.

    Raises
    ------
    ValueError
        If an option has a wrong value.
    """
    native = NATIVE_METHODS.get(method.lower())
    if native is None:
        return {"tol": tol, "options": dict(options or {})}
    own = {name: value for name, value in (options or {}).items() if name in native.defaults}
    return {"tol": tol, "options": own, **native.options(own, tol)}


def iterations(settings: Options, size: int) -> int:
    """The limit of iterations for this number of parameters."""
    limit: int = 200 * size if settings["maxiter"] is None else settings["maxiter"]
    return limit


def iterations_text(settings: Options) -> str:
    """The limit in words."""
    return "200 iterations for each parameter" if settings["maxiter"] is None else f"{settings['maxiter']} iterations"
