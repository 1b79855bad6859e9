"""What the native solvers have in common: one solve on a compiled function, from a filled workspace to a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tfminimize._problem.callback import Observer
from tfminimize._problem.parameters import Unknowns
from tfminimize._problem.result import STOPPED_BY_CALLBACK, OptimizeResult
from tfminimize._solve.program import Lease
from tfminimize._solve.recompilation import warn_if_compiled_anew
from tfminimize._solve.workspace import Memory
from tfminimize._tf.binding import _native

__all__ = ["KeptSolver", "run", "solver_for"]

MOST_DOUBLES_KEPT = 1 << 17
"""A solver of at most so many doubles stays with the workspace: making one takes as long as a few iterations."""


Solver = TypeVar("Solver")


class KeptSolver(NamedTuple):
    """A solver, and what it was made for."""

    solver: Any
    key: Hashable


def solver_for(
    workspace: Memory, key: Hashable, num_doubles: int, make: Callable[..., Solver], options: Mapping[str, Any]
) -> Solver:
    """A solver that begins at what the workspace holds.

    That of the last solve, if it was made for the same, or else a new one, ``make(precision=..., **options)``.

    Parameters
    ----------
    key : hashable
        The arrays (as ``id``; the solver keeps them alive) and options that a solver cannot exchange.
    num_doubles : int
        The size of its memory.
    """
    kept: KeptSolver | None = workspace.kept_solver
    if kept is not None and kept.key == key:
        kept.solver.restart(precision=workspace.precision, **options)
        same: Solver = kept.solver
        return same
    solver = make(precision=workspace.precision, **options)
    workspace.kept_solver = KeptSolver(solver, key) if num_doubles <= MOST_DOUBLES_KEPT else None
    return solver


def run(
    solver: Any,
    lease: Lease[Any],
    unknowns: Unknowns,
    evaluate_start: Callable[[], Any],
    callback: Callable[..., Any] | None,
) -> OptimizeResult:
    """Drive a solver to its end. ``evaluate_start()`` makes the first evaluation and advances the solver by it."""
    workspace = lease.workspace
    compile_seconds = lease.compile_seconds
    if not workspace.is_checked:
        begin = time.perf_counter()
        evaluate_start()
        if lease.is_first:  # TensorFlow compiles a function when it runs for the first time.
            compile_seconds += time.perf_counter() - begin
        workspace.check_sharing_once()
    observer = on_iteration = None
    if callback is not None:
        observer = Observer(callback)
        on_iteration = lambda: observer(unknowns.report(workspace.x), solver.fun)  # noqa: E731
    timing = _native.drive(solver, workspace.objective, on_iteration)
    status, message, fun, nit, nfev = solver.outcome
    result = OptimizeResult(
        x=unknowns.report(workspace.x),
        fun=np.float64(fun),
        jac=unknowns.report(workspace.gradient),
        nit=nit,
        nfev=nfev,
        status=status,
        success=status == 0,
        message=STOPPED_BY_CALLBACK if observer is not None and observer.stopped else message,
        backend=workspace.backend.name,
        backend_reason=workspace.backend.reason,
        timing={
            "trace": lease.trace_seconds,
            "compile": compile_seconds,
            "evaluate": timing.evaluate,
            "solver": timing.solver,
        },
    )
    if lease.is_first:
        warn_if_compiled_anew(workspace, timing.evaluate, nfev - 1)
    return result
