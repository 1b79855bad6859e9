"""The native L-BFGS-B on a compiled function: one solve, from a filled workspace to a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from scipy.optimize import OptimizeResult

from tfminimize.binding import _native
from tfminimize.callback import Observer
from tfminimize.program import Lease
from tfminimize.result import STOPPED_BY_CALLBACK, InverseHessian
from tfminimize.unknowns import Unknowns
from tfminimize.workspace import Workspace

__all__ = ["solve"]


def solve(
    lease: Lease[Workspace],
    unknowns: Unknowns,
    bounds: tuple[Any, Any],
    options: Mapping[str, Any],
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Minimise from the x in the workspace."""
    workspace = lease.workspace
    objective = workspace.objective
    try:
        solver = _native.Lbfgsb(workspace.x, workspace.gradient, *bounds, **options)
    except MemoryError:
        raise MemoryError(
            f"maxcor is {options['maxcor']}: there is no memory for so many pairs of vectors of "
            f"{unknowns.layout.size} elements; give a smaller one."
        ) from None
    compile_seconds = 0.0
    if lease.is_first:
        # TensorFlow compiles a function when it runs for the first time.
        begin = time.perf_counter()
        solver.advance(objective.evaluate(workspace.x, workspace.gradient))
        compile_seconds = time.perf_counter() - begin
        workspace.check_sharing()
    observer = on_iteration = None
    if callback is not None:
        observer = Observer(callback)
        on_iteration = lambda: observer(unknowns.report(workspace.x), solver.fun)  # noqa: E731
    timing = _native.drive(solver, objective, on_iteration)
    status = solver.status_code
    return OptimizeResult(
        x=unknowns.report(workspace.x),
        fun=solver.fun,
        jac=unknowns.report(workspace.gradient),
        nit=solver.nit,
        nfev=solver.nfev,
        njev=solver.nfev,
        status=status,
        success=status == 0,
        message=STOPPED_BY_CALLBACK if observer is not None and observer.stopped else solver.message,
        constr_violation=0.0,  # bounds hold all along the way
        hess_inv=InverseHessian(solver, unknowns.layout),
        backend="tfe",
        timing={
            "trace": lease.trace_seconds,
            "compile": compile_seconds,
            "evaluate": timing.evaluate,
            "solver": timing.solver,
        },
    )
