"""The ways to solve a batch: each problem with its own evaluations, or many in step, with one call for all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.native_methods import NativeMethod
from tfminimize._problem.problem import Problem
from tfminimize._solve import native
from tfminimize._solve.lanes import Lane
from tfminimize._solve.program import Program
from tfminimize._solve.recompilation import warn_if_compiled_anew
from tfminimize._solve.watch import LOG
from tfminimize._solve.workspace import Workspace
from tfminimize._tf.binding import _native

__all__ = ["Batch", "Solved", "in_step", "in_threads"]

Array = NDArray[Any]
Progress = Callable[[int], object]

MOST_IN_STEP = 1024
"""So many problems one call evaluates at most; as some end, others take their place. Larger calls are no faster."""

MOST_DOUBLES = 1 << 26
"""So many doubles the solvers that go in step have at most."""

MOST_DOUBLES_KEPT = 1 << 22
"""So many doubles of solvers are kept for the next batch."""


class Batch(NamedTuple):
    """A batch, checked and packed."""

    program: Program
    problem: Problem
    options: Mapping[str, Any]
    arguments: Arguments
    """Those of the loss; the last ones are slices of the first problem."""
    constraints: Constraints | None
    """Those of the problem, likewise."""
    arrays: list[Array]
    """The batched arguments of the loss and of the constraints, ``[B, ...]``."""
    places: list[int]
    """The place of each among the data of the loss and the constraints."""
    x: Array
    """The starts, packed, ``[B * n_starts, packed_size]``; the solvers write the solutions here."""
    bounds: tuple[Array, Array] | None
    """Packed, ``[B, packed_size]``; None if they are those of the problem."""
    n_starts: int
    num_threads: int
    history: bool

    @property
    def native(self) -> NativeMethod:
        """The method."""
        method = self.problem.native
        assert method is not None
        return method

    def announce(self, backend: str, reason: str) -> None:
        """Log what is about to be solved."""
        text = "%s: %d problems of %d parameters, backend %s (%s)"
        LOG.info(text, self.native.name, len(self.x), self.program.parameters.layout.size, backend, reason)

    def solver_bounds(self, workspace: Workspace | Lane) -> tuple[Any, Any]:
        """The bounds of one solver: the memory of its own, with those of the first problem, if they differ."""
        if self.bounds is None:
            return self.problem.packed_bounds
        low, high = self.bounds
        return workspace.copied_bounds(low[0], high[0])


class Solved(NamedTuple):
    """What the solvers have found."""

    fields: dict[str, Any]
    """SciPy's fields, apart from x."""
    timing: Any
    backend: str
    reason: str
    trace_seconds: float
    compile_seconds: float


def in_threads(batch: Batch, progress: Progress | None) -> Solved:
    """Solve the problems one by one, in several threads."""
    program, parameters = batch.program, batch.program.parameters
    batch.problem.check_memory(parameters, batch.options, batch.num_threads)
    with contextlib.ExitStack() as stack:
        leases = []
        for _ in range(batch.num_threads):
            leases.append(program.lease(batch.arguments, batch.constraints, whole=True))
            stack.callback(leases[-1].release)
        workspaces = [lease.workspace for lease in leases]
        backend = workspaces[0].present_backend()
        batch.announce(backend.name, backend.reason)

        def solver(workspace: Workspace) -> Any:
            bounds = batch.solver_bounds(workspace)
            return native.make_solver(batch.native, workspace, parameters, bounds, batch.options)

        fields, timing = _native.drive_batch(
            tuple(solver(workspace) for workspace in workspaces),
            tuple(workspace.objective for workspace in workspaces),
            batch.x,
            [(workspaces[0].position(place), array) for place, array in zip(batch.places, batch.arrays, strict=True)],
            progress,
            batch.history,
            batch.bounds,
            batch.n_starts,
        )
        for workspace in workspaces:
            workspace.check_sharing_once()
        if leases[0].is_first and workspaces[0].compiles:
            workspaces[0].evaluate()  # perhaps other threads solved all the problems
            warn_if_compiled_anew(workspaces[0], timing.evaluate, int(fields["nfev"].sum()) - 1)
        backend = workspaces[0].present_backend()
        trace_seconds = leases[0].trace_seconds + workspaces[0].taken_trace_seconds()
        return Solved(fields, timing, backend.name, backend.reason, trace_seconds, leases[0].compile_seconds)


def in_step(batch: Batch, progress: Progress | None) -> Solved:
    """Solve the problems in step: one call of a vectorized function evaluates all that one thread is solving."""
    program, parameters, constraints = batch.program, batch.program.parameters, batch.constraints
    share = -(-len(batch.x) // batch.num_threads)
    doubles = max(1, batch.native.num_doubles(parameters.layout.packed_size, 0, batch.options))
    members = max(1, min(share, MOST_IN_STEP, MOST_DOUBLES // doubles))
    batch.problem.check_memory(parameters, batch.options, members * batch.num_threads)
    capacity = 1 << (members - 1).bit_length()
    pool = program.vector_pool(batch.arguments, constraints, batch.places, capacity)
    shapes = pool.trace.shapes
    if constraints is not None:
        constraints.rows(shapes)  # raises an error if the limits do not fit
    tensors = [*batch.arguments.tensors, *([] if constraints is None else constraints.tensors)]
    data = [*batch.arguments.data, *([] if constraints is None else constraints.data)]
    for place in batch.places:
        data[place] = None
    is_first, pool.is_fresh = pool.is_fresh, False
    with contextlib.ExitStack() as stack:
        teams, compile_seconds = [], 0.0
        for _ in range(batch.num_threads):
            lanes, seconds = pool.lanes(parameters, capacity, tensors, batch.places)
            stack.callback(pool.release, lanes)
            lanes.set_arguments(data)
            if constraints is not None:
                lanes.set_constraints(constraints, shapes)
            teams.append(lanes)
            compile_seconds += seconds
        backend = pool.trace.backend
        batch.announce(backend.name, teams[0].reason)
        most_kept = MOST_DOUBLES_KEPT // members

        def solver(lane: Lane) -> Any:
            bounds = batch.solver_bounds(lane)
            return native.make_solver(batch.native, lane, parameters, bounds, batch.options, most_kept)

        fields, timing = _native.drive_in_step(
            tuple(tuple(solver(lane) for lane in lanes.take(members)) for lanes in teams),
            tuple(lanes.objective for lanes in teams),
            batch.x,
            [(teams[0].position(place), array) for place, array in zip(batch.places, batch.arrays, strict=True)],
            progress,
            batch.history,
            batch.bounds,
            batch.n_starts,
        )
        return Solved(
            fields,
            timing,
            backend.name,
            teams[0].reason,
            pool.trace.seconds if is_first else 0.0,
            compile_seconds + (backend.seconds if is_first else 0.0),
        )
