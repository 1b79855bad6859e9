"""A pytest plugin that runs SciPy's own tests with our L-BFGS-B, SLSQP and BFGS instead of SciPy's."""

from __future__ import annotations

import collections
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import scipy.optimize
from packaging.version import Version
from scipy.optimize import OptimizeResult, _lbfgsb_py, _minimize, _optimize, _slsqp_py

import tfminimize.scipy

CALLS: collections.Counter[str] = collections.Counter()


# SciPy 1.17 is the first whose SLSQP calls callback(intermediate_result).
SLSQP_SHOWS_RESULT = Version(scipy.__version__) >= Version("1.17")


def _observer(callback: Any, shows_result: bool = True) -> Callable[..., None] | None:
    """Returns a function that calls the user's callback; SciPy passes us a wrapper of it."""
    if callback is None:
        return None

    def observe(intermediate_result: OptimizeResult) -> None:
        # Afterwards SciPy asks the wrapper whether it stopped the solve.
        try:
            callback(intermediate_result if shows_result else intermediate_result.x)
        except StopIteration:
            callback.stop_iteration = True
            raise

    return observe


def _minimize_lbfgsb(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    jac: Any = None,
    bounds: Any = None,
    callback: Any = None,
    **options: Any,
) -> OptimizeResult:
    """Replaces SciPy's private function by our public one."""
    CALLS["L-BFGS-B"] += 1
    return tfminimize.scipy.lbfgsb(fun, x0, args, jac, bounds=bounds, callback=_observer(callback), **options)


def _minimize_slsqp(
    func: Callable[..., Any],
    x0: Any,
    args: Any = (),
    jac: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    callback: Any = None,
    **options: Any,
) -> OptimizeResult:
    """Replaces SciPy's private function, by our public one."""
    CALLS["SLSQP"] += 1
    return tfminimize.scipy.slsqp(
        func,
        x0,
        args,
        jac,
        bounds=bounds,
        constraints=constraints,
        callback=_observer(callback, SLSQP_SHOWS_RESULT),
        **options,
    )


def _minimize_bfgs(
    fun: Callable[..., Any], x0: Any, args: Any = (), jac: Any = None, callback: Any = None, **options: Any
) -> OptimizeResult:
    """Replaces SciPy's private function by our public one."""
    CALLS["BFGS"] += 1
    return tfminimize.scipy.bfgs(fun, x0, args, jac, callback=_observer(callback), **options)


def _fmin_bfgs(*args: Any, **kwargs: Any) -> Any:
    CALLS["fmin_bfgs"] += 1
    return tfminimize.scipy.fmin_bfgs(*args, **kwargs)


def _fmin_l_bfgs_b(*args: Any, **kwargs: Any) -> Any:
    CALLS["L-BFGS-B"] += 1
    return tfminimize.scipy.fmin_l_bfgs_b(*args, **kwargs)


def _fmin_slsqp(*args: Any, **kwargs: Any) -> Any:
    CALLS["fmin_slsqp"] += 1
    return tfminimize.scipy.fmin_slsqp(*args, **kwargs)


_fmin_l_bfgs_b.__signature__ = inspect.signature(scipy.optimize.fmin_l_bfgs_b)  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    _lbfgsb_py._minimize_lbfgsb = _minimize._minimize_lbfgsb = _minimize_lbfgsb
    _slsqp_py._minimize_slsqp = _minimize._minimize_slsqp = _minimize_slsqp
    scipy.optimize.fmin_slsqp = _slsqp_py.fmin_slsqp = _fmin_slsqp
    _optimize._minimize_bfgs = _minimize._minimize_bfgs = _minimize_bfgs
    scipy.optimize.fmin_bfgs = _optimize.fmin_bfgs = _fmin_bfgs
    scipy.optimize.fmin_l_bfgs_b = _lbfgsb_py.fmin_l_bfgs_b = _fmin_l_bfgs_b


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for method, calls in CALLS.items():
        terminalreporter.write_line(f"solves by {method} of tfminimize: {calls}")
