"""A pytest plugin that puts our L-BFGS-B in the place of SciPy's, for SciPy's own tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import scipy.optimize
from scipy.optimize import OptimizeResult, _lbfgsb_py, _minimize

import tfminimize.scipy

CALLS = 0


def _minimize_lbfgsb(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    jac: Any = None,
    bounds: Any = None,
    callback: Any = None,
    **options: Any,
) -> OptimizeResult:
    """SciPy's private function, by our public one."""
    global CALLS
    CALLS += 1

    def observe(intermediate_result: OptimizeResult) -> None:
        # SciPy hands over a wrapper of the user's callback, and asks it afterwards whether it stopped the solve.
        try:
            callback(intermediate_result)
        except StopIteration:
            callback.stop_iteration = True
            raise

    return tfminimize.scipy.lbfgsb(
        fun, x0, args, jac, bounds=bounds, callback=None if callback is None else observe, **options
    )


def _fmin_l_bfgs_b(*args: Any, **kwargs: Any) -> Any:
    global CALLS
    CALLS += 1
    return tfminimize.scipy.fmin_l_bfgs_b(*args, **kwargs)


_fmin_l_bfgs_b.__signature__ = inspect.signature(scipy.optimize.fmin_l_bfgs_b)  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    _lbfgsb_py._minimize_lbfgsb = _minimize._minimize_lbfgsb = _minimize_lbfgsb
    scipy.optimize.fmin_l_bfgs_b = _lbfgsb_py.fmin_l_bfgs_b = _fmin_l_bfgs_b


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"solves by tfminimize: {CALLS}")
