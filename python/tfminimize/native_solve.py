"""What the native solvers have in common: one solve on a compiled function, from a filled workspace to a result."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from scipy.optimize import OptimizeResult

from tfminimize.binding import _native
from tfminimize.callback import Observer
from tfminimize.program import Lease
from tfminimize.result import STOPPED_BY_CALLBACK
from tfminimize.unknowns import Unknowns

__all__ = ["run"]


def run(
    solver: Any,
    lease: Lease[Any],
    unknowns: Unknowns,
    evaluate_start: Callable[[], Any],
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Drive a solver to its end. ``evaluate_start()`` makes the first evaluation and advances the solver by it."""
    workspace = lease.workspace
    compile_seconds = 0.0
    if lease.is_first:
        # TensorFlow compiles a function when it runs for the first time.
        begin = time.perf_counter()
        evaluate_start()
        compile_seconds = time.perf_counter() - begin
        workspace.check_sharing()
    observer = on_iteration = None
    if callback is not None:
        observer = Observer(callback)
        on_iteration = lambda: observer(unknowns.report(workspace.x), solver.fun)  # noqa: E731
    timing = _native.drive(solver, workspace.objective, on_iteration)
    status = solver.status_code
    return OptimizeResult(
        x=unknowns.report(workspace.x),
        fun=solver.fun,
        jac=unknowns.report(workspace.gradient),
        nit=solver.nit,
        nfev=solver.nfev,
        status=status,
        success=status == 0,
        message=STOPPED_BY_CALLBACK if observer is not None and observer.stopped else solver.message,
        backend="tfe",
        timing={
            "trace": lease.trace_seconds,
            "compile": compile_seconds,
            "evaluate": timing.evaluate,
            "solver": timing.solver,
        },
    )
