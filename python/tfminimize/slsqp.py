"""The native SLSQP on a compiled function with constraints: one solve, from a filled workspace to a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from scipy.optimize import OptimizeResult

from tfminimize.binding import _native
from tfminimize.callback import Observer
from tfminimize.constrained_workspace import ConstrainedWorkspace
from tfminimize.program import Lease
from tfminimize.result import STOPPED_BY_CALLBACK
from tfminimize.unknowns import Unknowns

__all__ = ["solve"]


def solve(
    lease: Lease[ConstrainedWorkspace],
    unknowns: Unknowns,
    bounds: tuple[Any, Any],
    options: Mapping[str, Any],
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Minimise from the x in the workspace."""
    workspace = lease.workspace
    objective = workspace.objective
    memory = workspace.x, workspace.gradient, workspace.constraints, workspace.jacobian
    try:
        solver = _native.Slsqp(
            *memory,
            workspace.num_equalities,
            *bounds,
            workspace.offsets,
            num_variables=unknowns.layout.size,
            **options,
        )
    except MemoryError:
        raise MemoryError(
            f"there is no memory for the matrices of SLSQP, of {unknowns.layout.size} unknowns and "
            f"{len(workspace.constraints)} constraints: use L-BFGS-B if there are no constraints but bounds."
        ) from None
    compile_seconds = 0.0
    if lease.is_first:
        # TensorFlow compiles a function when it runs for the first time.
        begin = time.perf_counter()
        solver.advance(objective.evaluate(*memory), True)
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
        njev=solver.njev,
        status=status,
        success=status == 0,
        message=STOPPED_BY_CALLBACK if observer is not None and observer.stopped else solver.message,
        multipliers=solver.multipliers(),
        constr_violation=solver.constr_violation,
        backend="tfe",
        timing={
            "trace": lease.trace_seconds,
            "compile": compile_seconds,
            "evaluate": timing.evaluate,
            "solver": timing.solver,
        },
    )
