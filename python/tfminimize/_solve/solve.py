"""One solve of a problem on a program, by the method that the problem names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.callback import check_callback
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve import native, scipy_methods
from tfminimize._solve.program import Program

__all__ = ["Record", "solve"]

MANY = 1 << 16
"""From so many parameters on, a solve is so long that a look at the memory does not count; the solver checks fewer."""

Callback = Callable[..., Any]


class Record(NamedTuple):
    """What the user sees of a solve on its way."""

    history: bool = False
    """Whether the result has a history."""
    assign_each_iteration: bool = False
    """Whether the variables hold the iterate while the callback runs."""


NOTHING = Record()


def solve(
    program: Program,
    problem: Problem,
    x0: Any,
    args: Any,
    *,
    tol: float | None,
    callback: Callback | None,
    options: Mapping[str, Any] | None,
    record: Record = NOTHING,
    values: Sequence[NDArray[Any]] | None = None,
) -> OptimizeResult:
    """One solve from ``x0``, or from the present values of the variables; these are assigned at the end.

    For variables there may be other ``values`` to start from.
    """
    parameters = program.parameters
    checked = problem.options(options, tol)
    check_callback(callback)
    _check_record(record, problem, parameters)
    if parameters.layout.size >= MANY:
        problem.check_memory(parameters, checked)
    arguments = program.arguments(args)
    values = parameters.start(x0) if values is None else parameters.checked(values)
    lease = program.lease(arguments, problem.packed_constraints)
    if record.assign_each_iteration:
        callback = _assigning(callback or _ignore, parameters)
    try:
        lease.workspace.start(values)
        if problem.native is not None:
            bounds, history = problem.packed_bounds, record.history
            result = native.solve(problem.native, lease, parameters, bounds, checked, callback, history=history)
        else:
            result = scipy_methods.solve(program, lease, problem, args, tol=tol, callback=callback, options=checked)
    except BaseException:
        if record.assign_each_iteration:
            parameters.assign(np.concatenate([np.ravel(value) for value in values]))
        raise
    finally:
        lease.release()
    parameters.assign(result.x)
    return result


def _check_record(record: Record, problem: Problem, parameters: Parameters) -> None:
    if record.history and problem.native is None:
        raise ValueError(
            f"history=True is for L-BFGS-B and SLSQP, and method {problem.method!r} runs in SciPy: leave it out, and "
            "collect what you need in a callback."
        )
    if record.assign_each_iteration and not parameters.variables:
        raise ValueError(
            "assign_each_iteration=True is for variables, and x0 is made of arrays: leave it out; the callback gets x."
        )


def _assigning(callback: Callback, parameters: Parameters) -> Callback:
    """The callback, for which the variables get the iterate first."""

    @functools.wraps(callback)  # SciPy reads the signature
    def call(*args: Any, **kwargs: Any) -> Any:
        parameters.assign(args[0] if args else kwargs["intermediate_result"].x)
        return callback(*args, **kwargs)

    return call


def _ignore(xk: Any) -> None:
    """A callback that does nothing."""
