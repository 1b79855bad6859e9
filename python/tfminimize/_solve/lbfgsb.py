"""The native L-BFGS-B on a compiled function: one solve, from a filled workspace to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfminimize._problem.parameters import Unknowns
from tfminimize._problem.result import InverseHessian, OptimizeResult
from tfminimize._solve import native
from tfminimize._solve.program import Lease
from tfminimize._solve.workspace import Workspace
from tfminimize._tf.binding import _native

__all__ = ["make_solver", "solve"]


def make_solver(
    workspace: Workspace, unknowns: Unknowns, bounds: tuple[Any, Any], options: Mapping[str, Any]
) -> _native.Lbfgsb:
    """A solver that begins at the x in the workspace."""
    low, high = bounds
    maxcor = options["maxcor"]
    return native.solver_for(
        workspace,
        (id(low), id(high), maxcor),
        (2 * maxcor + 6) * unknowns.layout.packed_size,
        lambda **kwargs: _native.Lbfgsb(workspace.x, workspace.gradient, low, high, **kwargs),
        options,
    )


def solve(
    lease: Lease[Workspace],
    unknowns: Unknowns,
    bounds: tuple[Any, Any],
    options: Mapping[str, Any],
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Minimise from the x in the workspace."""
    workspace = lease.workspace
    solver = make_solver(workspace, unknowns, bounds, options)
    result = native.run(
        solver,
        lease,
        unknowns,
        lambda: solver.advance(workspace.evaluate()),
        callback,
    )
    hess_inv = InverseHessian(solver, unknowns.layout)
    if workspace.kept_solver is not None:
        hess_inv.take_pairs()  # the next solve is the solver's too
    # Bounds hold all along the way.
    result.update(njev=result.nfev, constr_violation=np.float64(0), hess_inv=hess_inv)
    return result
