"""A batch: many problems of one function, solved by a pool of threads."""

from __future__ import annotations

import contextlib
import reprlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.layout import Layout
from tfminimize._problem.methods import check_bounds
from tfminimize._problem.native_methods import NATIVE_NAMES
from tfminimize._problem.parameters import as_variable
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import BatchResult, Histories
from tfminimize._solve import native
from tfminimize._solve.program import Program
from tfminimize._solve.recompilation import warn_if_compiled_anew
from tfminimize._solve.starts import best_of, bounds_of_all, checked_number, more_starts
from tfminimize._solve.watch import LOG
from tfminimize._solve.workspace import Workspace
from tfminimize._tf.binding import _native
from tfminimize._tf.threads import checked_threads, get_num_threads

__all__ = ["BatchedArguments", "solve_batch"]

Array = NDArray[Any]


class BatchedArguments:
    """Arguments with one slice for each problem of a batch.

    Parameters
    ----------
    args : tuple
        Arrays, tensors or nested structures of them, each with a leading dimension of the number of problems.

    Attributes
    ----------
    arrays : list of ndarray
        The leaves, contiguous.
    count : int or None
        The number of problems; None if there are no arrays.

    Examples
    --------
    >>> batched = BatchedArguments((np.eye(3), {"scale": np.ones(3)}))
    >>> batched.count, batched.first()[0]
    (3, array([1., 0., 0.]))
    """

    def __init__(self, args: Any) -> None:
        self._args = _as_tuple(args)
        named = [(f"batched_args[{i}]", leaf) for i, arg in enumerate(self._args) for leaf in tf.nest.flatten(arg)]
        self.arrays = [_batched_array(name, leaf) for name, leaf in named]
        counts = {len(array): name for (name, _), array in zip(named, self.arrays, strict=True)}
        if len(counts) > 1:
            (one, its_name), (other, other_name) = list(counts.items())[:2]
            raise ValueError(
                f"{its_name} has {one} slices and {other_name} has {other}: give both one for each problem."
            )
        self.count = next(iter(counts), None)

    def replace(self, args: Any) -> tuple[Any, ...]:
        """The arguments ``args`` without the last ones, which the batched arguments replace."""
        own = _as_tuple(args)
        if len(own) < len(self._args):
            raise ValueError(
                f"there are {len(self._args)} batched_args to replace the last args of the Minimizer, but it was made "
                f"with {len(own)}: give args too, or make the Minimizer with an example of each."
            )
        return own[: len(own) - len(self._args)]

    def first(self) -> tuple[Any, ...]:
        """The arguments of the first problem."""
        return tuple(tf.nest.pack_sequence_as(self._args, [array[0] for array in self.arrays]))


def solve_batch(
    program: Program,
    problem: Problem,
    x0s: Any,
    args: Any,
    batched: BatchedArguments,
    *,
    num_threads: int | None,
    tol: float | None,
    options: Mapping[str, Any] | None,
    progress: bool,
    history: bool,
    bounds: Any = None,
    n_starts: int = 1,
    seed: Any = None,
) -> BatchResult:
    """Solve one problem for each start and each slice of the batched arguments; the variables stay as they are."""
    begin = time.perf_counter()
    if problem.native is None:
        raise ValueError(
            f"method is {problem.method!r}, which runs in SciPy, one problem at a time: use {NATIVE_NAMES} for "
            "batches, or call minimize for each problem."
        )
    checked = problem.options(options, tol)
    parameters = program.parameters
    layout = parameters.layout
    n_starts = checked_number(n_starts)
    starts, count, are_all = parameters.starts(x0s, n_starts)
    count = _number_of_problems(count, batched.count, n_starts)
    sides = None
    if bounds is not None:
        check_bounds(problem.method, bounds)
        sides = bounds_of_all(bounds, count, parameters)
    flat = np.concatenate([start.reshape(len(start), -1) for start in starts], axis=1)
    if not are_all:
        flat = np.broadcast_to(flat, (count, layout.size))
        if n_starts > 1:
            flat = more_starts(flat, n_starts, _flat_bounds(problem, sides, count, layout), layout, seed)
    total = count * n_starts
    num_threads = min(get_num_threads() if num_threads is None else checked_threads(num_threads), total)
    problem.check_memory(parameters, checked, num_threads)
    arguments = program.arguments((*_as_tuple(args), *batched.first()))
    x = layout.pack_rows(flat)
    with contextlib.ExitStack() as stack:
        leases = []
        for _ in range(num_threads):
            leases.append(program.lease(arguments, problem.packed_constraints, whole=True))
            stack.callback(leases[-1].release)
        workspaces = [lease.workspace for lease in leases]
        backend = workspaces[0].present_backend()
        text = "%s: %d problems of %d parameters, backend %s (%s)"
        LOG.info(text, problem.native.name, total, layout.size, backend.name, backend.reason)
        first = len(arguments.data) - len(batched.arrays)
        fields, timing = _native.drive_batch(
            tuple(
                native.make_solver(problem.native, w, parameters, _solver_bounds(problem, sides, w, layout), checked)
                for w in workspaces
            ),
            tuple(workspace.objective for workspace in workspaces),
            x,
            [(workspaces[0].position(first + i), array) for i, array in enumerate(batched.arrays)],
            stack.enter_context(_bar(total)) if progress else None,
            history,
            None if sides is None else (layout.pack_rows(sides[0], -1.0), layout.pack_rows(sides[1], 1.0)),
            n_starts,
        )
        for workspace in workspaces:
            workspace.check_sharing_once()
        if leases[0].is_first and workspaces[0].compiles:
            workspaces[0].evaluate()  # perhaps other threads solved all the problems
            warn_if_compiled_anew(workspaces[0], timing.evaluate, int(fields["nfev"].sum()) - 1)
    succeeded, seconds = np.count_nonzero(fields["status"] == 0), time.perf_counter() - begin
    LOG.info("%s: %d of %d successful after %.3g s", problem.native.name, succeeded, total, seconds)
    if problem.packed_constraints is None:
        del fields["multipliers"]
    if history:
        fields["history"] = Histories.of(*fields["history"])
    if n_starts > 1:
        x = _keep_best(fields, x, n_starts)
    fields["jac"] = parameters.report_batch(fields["jac"])
    backend = workspaces[0].present_backend()
    return BatchResult(
        x=parameters.report_batch(x),
        **fields,
        success=fields["status"] == 0,
        backend=backend.name,
        backend_reason=backend.reason,
        timing={
            "trace": leases[0].trace_seconds + workspaces[0].taken_trace_seconds(),
            "compile": leases[0].compile_seconds,
            "evaluate": timing.evaluate,
            "solver": timing.solver,
            "total": time.perf_counter() - begin,
        },
    )


def _flat_bounds(problem: Problem, sides: Any, count: int, layout: Layout) -> Any:
    """The bounds of all problems, flat."""
    if sides is not None or problem.packed_bounds[0] is None:
        return sides
    return tuple(np.broadcast_to(layout.flatten(side), (count, layout.size)) for side in problem.packed_bounds)


def _solver_bounds(problem: Problem, sides: Any, workspace: Workspace, layout: Layout) -> Any:
    """The memory of the bounds of one solver; its own if those of the problems differ."""
    if sides is None:
        return problem.packed_bounds
    return workspace.copied_bounds(*(layout.pack(side[0], pad) for side, pad in zip(sides, (-1.0, 1.0), strict=True)))


def _keep_best(fields: dict[str, Any], x: Array, n_starts: int) -> Array:
    """Keep the best start of each problem in ``fields``, which get ``best_start`` and ``nfev_total``; return its x."""
    best = best_of(fields["fun"], fields["status"] == 0, n_starts)
    places = np.arange(len(best)) * n_starts + best
    total = fields["nfev"].reshape(-1, n_starts).sum(axis=1)
    errors = {i: fields["errors"][int(p)] for i, p in enumerate(places) if int(p) in fields["errors"]}
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            fields[name] = value[places]
    fields["message"] = [fields["message"][p] for p in places]
    fields.update(errors=errors, best_start=best, nfev_total=total)
    if "history" in fields:
        fields["history"] = fields["history"].take(places)
    kept: Array = x[places]
    return kept


def _as_tuple(args: Any) -> tuple[Any, ...]:
    return args if isinstance(args, tuple) else (args,)


def _number_of_problems(starts: int | None, slices: int | None, n_starts: int) -> int:
    """The number of problems, on which both must agree; None agrees with any number."""
    if starts is None and slices is None:
        if n_starts > 1:
            return 1
        raise ValueError(
            "x0s is a single start and there are no batched_args, so all problems are the same: "
            "give x0s with a leading dimension of the number of problems; for one problem call minimize."
        )
    if starts is not None and slices is not None and starts != slices:
        raise ValueError(f"x0s has {starts} starts and batched_args have {slices} slices: give one for each problem.")
    count = slices if starts is None else starts
    if not count:
        raise ValueError("x0s or batched_args have a leading dimension of 0: give at least one problem.")
    return count


def _batched_array(name: str, leaf: Any) -> Array:
    """A leaf of the batched arguments as an array that C++ can read."""
    if (variable := as_variable(leaf)) is not None:
        raise ValueError(f"{name} holds variable '{variable.name}': give its value, an array.")
    if not isinstance(leaf, (np.ndarray, tf.Tensor)):
        raise ValueError(
            f"{name} holds {reprlib.repr(leaf)}, which has no slices: give an array or a tensor with a leading "
            "dimension of the number of problems, and in args what all problems share."
        )
    if tf.is_symbolic_tensor(leaf):
        raise ValueError(f"{name} is a symbolic tensor: call tfminimize outside of tf.function, with a value.")
    array = np.asarray(leaf)
    if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} has dtype {array.dtype.name}: give numbers.")
    if array.ndim == 0:
        raise ValueError(
            f"{name} has no dimensions: give it a leading dimension of the number of problems, or put it into args."
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


@contextlib.contextmanager
def _bar(count: int) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar, and yields the function that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=count)
        yield lambda done: bar.update(task, completed=done)
        bar.update(task, completed=count)
