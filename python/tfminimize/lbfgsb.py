"""The native L-BFGS-B on a compiled function: one solve, from a filled workspace to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scipy.optimize import OptimizeResult

from tfminimize import native_solve
from tfminimize.binding import _native
from tfminimize.program import Lease
from tfminimize.result import InverseHessian
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
    try:
        solver = _native.Lbfgsb(workspace.x, workspace.gradient, *bounds, **options)
    except MemoryError:
        raise MemoryError(
            f"maxcor is {options['maxcor']}: there is no memory for so many pairs of vectors of "
            f"{unknowns.layout.size} elements; give a smaller one."
        ) from None
    result = native_solve.run(
        solver,
        lease,
        unknowns,
        lambda: solver.advance(workspace.objective.evaluate(workspace.x, workspace.gradient)),
        callback,
    )
    # Bounds hold all along the way.
    result.update(njev=solver.nfev, constr_violation=0.0, hess_inv=InverseHessian(solver, unknowns.layout))
    return result
