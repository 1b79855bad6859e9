"""One solve of a problem on a program, by the method that the problem names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from tfminimize._problem.callback import check_callback
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve import native, scipy_methods
from tfminimize._solve.program import Program

__all__ = ["solve"]

MANY = 1 << 16
"""From so many parameters on, a solve is so long that a look at the memory does not count; the solver checks fewer."""

Callback = Callable[..., Any]


def solve(
    program: Program,
    problem: Problem,
    x0: Any,
    args: Any,
    *,
    tol: float | None,
    callback: Callback | None,
    options: Mapping[str, Any] | None,
    values: Sequence[NDArray[Any]] | None = None,
) -> OptimizeResult:
    """One solve from ``x0``, or from the present values of the variables; these are assigned at the end.

    For variables there may be other ``values`` to start from.
    """
    parameters = program.parameters
    checked = problem.options(options, tol)
    check_callback(callback)
    if parameters.layout.size >= MANY:
        problem.check_memory(parameters, checked)
    arguments = program.arguments(args)
    values = parameters.start(x0) if values is None else parameters.checked(values)
    lease = program.lease(arguments, problem.packed_constraints)
    try:
        lease.workspace.start(values)
        del values  # copies of variables
        if problem.native is not None:
            result = native.solve(problem.native, lease, parameters, problem.packed_bounds, checked, callback)
        else:
            result = scipy_methods.solve(program, lease, problem, args, tol=tol, callback=callback, options=checked)
    finally:
        lease.release()
    parameters.assign(result.x)
    return result
