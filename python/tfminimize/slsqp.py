"""The native SLSQP on a compiled function with constraints: one solve, from a filled workspace to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scipy.optimize import OptimizeResult

from tfminimize import native_solve
from tfminimize.binding import _native
from tfminimize.constrained_workspace import ConstrainedWorkspace
from tfminimize.program import Lease
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
    result = native_solve.run(
        solver, lease, unknowns, lambda: solver.advance(workspace.objective.evaluate(*memory), True), callback
    )
    result.update(njev=solver.njev, multipliers=solver.multipliers(), constr_violation=solver.constr_violation)
    return result
