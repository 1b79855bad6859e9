"""One solve of a problem on a program, by the method that the problem names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tfminimize._distribute.together import Together
from tfminimize._problem.callback import check_callback, tell_end, wants_state_at_end
from tfminimize._problem.native_methods import NATIVE_NAMES
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.state import State
from tfminimize._solve import native, scipy_methods
from tfminimize._solve.going_on import AT_THE_START, checked_begin
from tfminimize._solve.program import Program
from tfminimize._solve.sharing import begin_together
from tfminimize._solve.watch import Watch
from tfminimize._trace.dataset_loss import BatchSum

__all__ = ["solve"]

MANY = 1 << 16
"""With this many parameters or more, we check the memory in advance, which costs little; else the solver does it."""

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
    state: Any = None,
    warm_start: Any = None,
    history: bool | Literal["x"] = False,
    assign_each_iteration: bool = False,
    progress: bool = False,
    on_fetched: Callable[[list[Any]], object] | None = None,
    peers: Together | None = None,
) -> OptimizeResult:
    """One solve from ``x0``, or from the present values of the variables, which are assigned at the end.

    A solve of variables can start from other ``values``. ``on_fetched``, for native methods only, gets what the program
    fetches in each evaluation of the loss. With ``peers``, all processes solve together.
    """
    parameters = program.parameters
    checked = problem.options(options, tol)
    check_callback(callback)
    _check_wishes(program, problem, callback, history=history, assign_each_iteration=assign_each_iteration)
    begin = AT_THE_START
    if history == "x" and state is not None:
        raise ValueError(
            "history='x' keeps the iterates of a solve from its start, and a state has none: leave out state, or use "
            "history=True."
        )
    if state is not None or warm_start is not None:
        begin = checked_begin(state, warm_start, problem.native is not None, problem.method)
    if parameters.layout.size >= MANY:
        problem.check_memory(parameters, checked)
    arguments = program.arguments(args)
    values = parameters.start(x0) if values is None else parameters.checked(values)
    lease = program.lease(arguments, problem.packed_constraints)
    called, start = callback, None
    if assign_each_iteration:
        called, start = _assigning(callback or _ignore, parameters), np.concatenate([np.ravel(v) for v in values])
    watch = None
    try:
        watch = Watch.of(progress, problem, checked, lease, 0 if state is None else state.nfev)
        lease.workspace.start(values)
        del values  # copies of variables
        if peers is not None:
            begin_together(peers, program.loss, problem, lease.workspace, arguments, checked, begin, history)
        if problem.native is not None:
            bounds, method = problem.packed_bounds, problem.native
            if problem.has_own_bounds:
                bounds = lease.workspace.copied_bounds(*bounds)
            result = native.solve(
                *(method, lease, parameters, bounds, checked, called),
                begin=begin,
                history=history,
                watch=watch,
                on_fetched=on_fetched,
                peers=peers,
            )
        else:
            result = scipy_methods.solve(
                program, lease, problem, args, tol=tol, callback=called, options=checked, watch=watch
            )
    except BaseException as error:
        if watch is not None:
            watch.end(None, error)
        if problem.native is None:  # a native solve has told it
            tell_end(callback, State, error)
        if start is not None:
            parameters.assign(start)
        raise
    finally:
        lease.release()
    parameters.assign(result.x)
    try:
        if watch is not None:
            watch.end(result)
    finally:
        if callback is not None:
            tell_end(callback, lambda: result.state, None)
    return result


def _check_wishes(
    program: Program,
    problem: Problem,
    callback: Callback | None,
    *,
    history: bool | str,
    assign_each_iteration: bool,
) -> None:
    """Raise ValueError for what this method, or these parameters, cannot have."""
    if problem.native is None and wants_state_at_end(callback):
        raise ValueError(
            f"callback has a method on_end that gets a state, and method {problem.method!r} runs in SciPy and has "
            f"none: use {NATIVE_NAMES}."
        )
    if not isinstance(history, (bool, np.bool_)) and history != "x":
        raise ValueError(f"history is {history!r}: give True, False, or 'x' to keep the iterates too.")
    loss = program.loss
    if problem.native is None and isinstance(loss, BatchSum) and loss.communicator is not None:
        raise ValueError(
            f"the loss has a communicator, and method {problem.method!r} runs in SciPy, in each process alone: use "
            f"{NATIVE_NAMES}."
        )
    if history and problem.native is None:
        raise ValueError(
            f"history={history!r} is for {NATIVE_NAMES}, and method {problem.method!r} runs in SciPy: leave it out, "
            "and collect what you need in a callback."
        )
    if assign_each_iteration and not program.parameters.variables:
        raise ValueError(
            "assign_each_iteration=True is for variables, and x0 is made of arrays: leave it out; the callback gets x."
        )


def _assigning(callback: Callback, parameters: Parameters) -> Callback:
    """The callback, for which the variables get the iterate first."""

    @functools.wraps(callback)  # SciPy reads the signature
    def call(*args: Any, **kwargs: Any) -> Any:
        parameters.assign(args[0] if args else kwargs["intermediate_result"].x)
        return callback(*args, **kwargs)

    for name in ("on_iteration_begin", "on_end"):
        if hasattr(callback, name):
            setattr(call, name, getattr(callback, name))
    return call


def _ignore(xk: Any) -> None:
    """A callback that does nothing."""
