"""The native solvers on a compiled function: one solve, from a filled workspace to a result."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from tfminimize._distribute.together import Together
from tfminimize._problem.callback import UserCallback, begin_of, tell_end
from tfminimize._problem.native_methods import NativeMethod
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.result import STOPPED, STOPPED_BY_CALLBACK, OptimizeResult
from tfminimize._solve.going_on import AT_THE_START, Begin, Circumstances, Source
from tfminimize._solve.lanes import Lane
from tfminimize._solve.program import Lease
from tfminimize._solve.progress import Sight
from tfminimize._solve.recompilation import warn_if_compiled_anew
from tfminimize._solve.watch import Watch
from tfminimize._solve.workspace import Workspace
from tfminimize._tf.binding import _native

__all__ = ["KeptSolver", "make_solver", "solve"]

MAX_DOUBLES_KEPT = 1 << 17
"""A workspace keeps a solver of up to this many doubles: making one takes as long as a few iterations."""

Bounds = tuple[Any, Any]


class KeptSolver(NamedTuple):
    """A solver, and what it was made for."""

    solver: Any
    method: NativeMethod
    arrays: tuple[Any, ...]
    """The solver keeps them alive."""
    num_equalities: int
    options: Mapping[str, Any]

    def serves(
        self, method: NativeMethod, arrays: tuple[Any, ...], num_equalities: int, options: Mapping[str, Any]
    ) -> bool:
        """Whether the solver can begin anew for these."""
        return (
            self.method is method
            and all(map(operator.is_, self.arrays, arrays))
            and self.num_equalities == num_equalities
            and (self.options is options or all(self.options[o] == options[o] for o in method.fixed_options))
        )


def make_solver(
    method: NativeMethod,
    workspace: Workspace | Lane,
    parameters: Parameters,
    bounds: Bounds,
    options: Mapping[str, Any],
    most_kept: int | None = None,
) -> Any:
    """A solver that starts from the workspace: the last solve's, if its arrays and options are the same.

    The workspace keeps a solver of up to ``most_kept`` doubles, by default `MAX_DOUBLES_KEPT`.
    """
    arrays = workspace.jacobian, workspace.offsets, *bounds
    kept: KeptSolver | None = workspace.kept_solver
    if kept is not None and kept.serves(method, arrays, workspace.num_equalities, options):
        if kept.options is options:
            kept.solver.restart_as_before()
        else:
            kept.solver.restart(precision=workspace.precision, **options)
            workspace.kept_solver = kept._replace(options=options)
        return kept.solver
    lower, upper = bounds
    solver = getattr(_native, method.solver)(
        workspace.x,
        workspace.gradient,
        workspace.constraints,
        workspace.jacobian,
        workspace.num_equalities,
        lower=lower,
        upper=upper,
        offsets=workspace.offsets,
        num_variables=parameters.layout.size,
        precision=workspace.precision,
        **options,
    )
    num_constraints = 0 if workspace.constraints is None else len(workspace.constraints)
    num_doubles = method.num_doubles(parameters.layout.packed_size, num_constraints, options)
    keeps = num_doubles <= (MAX_DOUBLES_KEPT if most_kept is None else most_kept)
    workspace.kept_solver = KeptSolver(solver, method, arrays, workspace.num_equalities, options) if keeps else None
    return solver


def solve(
    method: NativeMethod,
    lease: Lease,
    parameters: Parameters,
    bounds: Bounds,
    options: Mapping[str, Any],
    callback: Callable[..., Any] | None,
    *,
    begin: Begin = AT_THE_START,
    history: bool | Literal["x"] = False,
    watch: Watch | None = None,
    on_fetched: Callable[[list[Any]], object] | None = None,
    peers: Together | None = None,
) -> OptimizeResult:
    """Minimise from the x in the workspace, or go on from a state. ``watch`` looks on.

    With ``peers``, all processes do so together.

    With a loss `with_sums`, the result has ``sums``, and so has each ``intermediate_result``. ``on_fetched`` gets
    `Workspace.fetched` of each evaluation of the loss.
    """
    workspace = lease.workspace
    solver = make_solver(method, workspace, parameters, bounds, options)
    circumstances = method, workspace.layout, bounds, options, workspace.precision, workspace.linear
    if begin is not AT_THE_START:
        begin.apply(solver, Circumstances(*circumstances))
    user_callback = None if callback is None else UserCallback(callback)
    shows_fields = user_callback is not None and user_callback.takes_result
    progress = None if watch is None else watch.progress
    looks = shows_fields or progress is not None or peers is not None  # in all processes: a record reads derivatives
    record = begin.record(bool(history), keeps_latest=looks)
    iterates: list[Any] = []

    def sight() -> Sight:
        return Sight(solver.nit, solver.nfev, solver.fun, record.gradient_norm)

    def keep_x() -> None:
        layout = workspace.layout
        iterates.append(layout.rounded(layout.flatten(workspace.x)))

    summed: Workspace | Together = workspace if peers is None else peers

    def call_back() -> bool:
        present = Source(solver, circumstances, record)
        fields: dict[str, Any] = {}
        if shows_fields:
            fields = {"nit": solver.nit, "nfev": solver.nfev, "gradient_norm": np.float64(record.gradient_norm)}
        if summed.num_sums:
            fields["sums"] = summed.sums
        try:
            return user_callback(parameters.report(workspace.x), solver.fun, present, **fields)  # type: ignore[misc]
        finally:
            present.close()

    on_start = _together(
        keep_x if history == "x" else None, None if workspace.is_checked else workspace.check_sharing_once
    )
    on_iteration = _together(
        keep_x if history == "x" else None,
        (lambda: watch.see_iteration(sight())) if watch is not None and watch.sees_iterations else None,
        None if user_callback is None else call_back,
    )
    on_poll = None if progress is None else (lambda: progress.see(sight()))
    on_evaluation = None if on_fetched is None else lambda: on_fetched(workspace.fetched())
    source = Source(solver, circumstances, record)
    try:
        calls = on_iteration, on_start, record, begin_of(callback), on_poll, on_evaluation
        timing = _native.drive(solver, workspace.objective, *calls) if peers is None else peers.drive(solver, *calls)
    except BaseException as error:
        tell_end(callback, source.state, error)
        raise
    workspace.latest = weakref.ref(source)
    # TensorFlow compiles a function when it runs for the first time.
    compiling = timing.first if lease.is_first else 0.0
    source.outcome = status, message, fun, nit, nfev, njev, constr_violation = solver.outcome
    backend = workspace.present_backend()
    result = OptimizeResult(
        x=parameters.report(workspace.x),
        fun=np.float64(fun),
        jac=parameters.report(workspace.gradient),
        nit=nit,
        nfev=nfev,
        status=status,
        success=status == 0,
        message=STOPPED_BY_CALLBACK if status == STOPPED else message,
        backend=backend.name,
        backend_reason=backend.reason,
        timing={
            "trace": lease.trace_seconds + workspace.taken_trace_seconds(),
            "compile": lease.compile_seconds + compiling,
            "evaluate": timing.evaluate - compiling,
            "solver": timing.solver,
        },
        njev=njev,
        constr_violation=np.float64(constr_violation),
        **method.result(solver, source, parameters.layout),
    )
    if history:
        result.history = record.columns()
        if history == "x":
            result.history["x"] = np.array(iterates)
    if summed.num_sums:
        result.sums = summed.sums
    result.keep(source)
    if lease.is_first and peers is None:
        warn_if_compiled_anew(workspace, timing.evaluate - compiling, timing.evaluations - 1)
    return result


def _together(*calls: Callable[[], Any] | None) -> Callable[[], Any] | None:
    """A function that makes all these calls and returns what the last one does; None if there are none."""
    there = [call for call in calls if call is not None]
    if len(there) < 2:
        return there[0] if there else None

    def call_all() -> Any:
        return [call() for call in there][-1]

    return call_all
