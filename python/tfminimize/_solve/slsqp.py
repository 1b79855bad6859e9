"""The native SLSQP on a compiled function with constraints: one solve, from a filled workspace to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfminimize._problem.parameters import Unknowns
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve import native
from tfminimize._solve.constrained_workspace import ConstrainedWorkspace
from tfminimize._solve.program import Lease
from tfminimize._tf.binding import _native

__all__ = ["make_solver", "solve"]


def make_solver(
    workspace: ConstrainedWorkspace, unknowns: Unknowns, bounds: tuple[Any, Any], options: Mapping[str, Any]
) -> _native.Slsqp:
    """A solver that begins at the x in the workspace."""
    arrays = workspace.constraints, workspace.jacobian, workspace.offsets, *bounds
    n = unknowns.layout.packed_size
    return native.solver_for(
        workspace,
        (*map(id, arrays), workspace.num_equalities),
        3 * n * (n + len(workspace.constraints)),
        lambda **kwargs: _native.Slsqp(
            workspace.x,
            workspace.gradient,
            workspace.constraints,
            workspace.jacobian,
            workspace.num_equalities,
            *bounds,
            workspace.offsets,
            num_variables=unknowns.layout.size,
            **kwargs,
        ),
        options,
    )


def solve(
    lease: Lease[ConstrainedWorkspace],
    unknowns: Unknowns,
    bounds: tuple[Any, Any],
    options: Mapping[str, Any],
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Minimise from the x in the workspace."""
    workspace = lease.workspace
    solver = make_solver(workspace, unknowns, bounds, options)
    result = native.run(solver, lease, unknowns, lambda: solver.advance(workspace.evaluate(), True), callback)
    result.update(
        njev=solver.njev, multipliers=solver.multipliers(), constr_violation=np.float64(solver.constr_violation)
    )
    return result
