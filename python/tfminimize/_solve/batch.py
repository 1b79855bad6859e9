"""A batch: many problems of one function, solved by a pool of threads, one by one or in step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.batch_bounds import bounds_of_all
from tfminimize._problem.layout import Layout
from tfminimize._problem.methods import check_bounds
from tfminimize._problem.native_methods import NATIVE_NAMES
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import BatchResult, Histories
from tfminimize._solve.batch_ways import Batch, in_step, in_threads
from tfminimize._solve.batched_arguments import BatchedArguments, BatchedConstraintsArgs, as_tuple, common_count
from tfminimize._solve.program import Program
from tfminimize._solve.starts import best_of, checked_number, more_starts
from tfminimize._solve.watch import LOG
from tfminimize._tf.threads import checked_threads, get_num_threads

__all__ = ["solve_batch"]

Array = NDArray[Any]


def solve_batch(
    program: Program,
    problem: Problem,
    x0s: Any,
    args: Any,
    batched: BatchedArguments,
    batched_constraints_args: Any = (),
    *,
    vectorized: bool = False,
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
    parameters = program.parameters
    layout = parameters.layout
    n_starts = checked_number(n_starts)
    starts, count, are_all = parameters.starts(x0s, n_starts)
    of_constraints = BatchedConstraintsArgs(batched_constraints_args, problem.packed_constraints)
    named = [*batched.named, *of_constraints.named]
    count = _number_of_problems(count, common_count(named), n_starts, "batched_args" if batched.named else _CONSTRAINTS)
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
    if num_threads is not None:
        num_threads = checked_threads(num_threads)
    elif vectorized:
        num_threads = 1  # one call evaluates all
    else:
        num_threads = get_num_threads()
    arguments = program.arguments((*as_tuple(args), *batched.first()))
    end = len(arguments.data)
    batch = Batch(
        program=program,
        problem=problem,
        options=problem.options(options, tol),
        arguments=arguments,
        constraints=of_constraints.constraints,
        arrays=[array for _, array in named],
        places=[*range(end - len(batched.named), end), *(end + place for place in of_constraints.places)],
        x=layout.pack_rows(flat),
        bounds=None if sides is None else (layout.pack_rows(sides[0], -1.0), layout.pack_rows(sides[1], 1.0)),
        n_starts=n_starts,
        num_threads=min(num_threads, total),
        history=history,
    )
    with _bar(total) if progress else contextlib.nullcontext() as bar:
        solved = (in_step if vectorized else in_threads)(batch, bar)
    fields, x = solved.fields, batch.x
    succeeded, seconds = np.count_nonzero(fields["status"] == 0), time.perf_counter() - begin
    LOG.info("%s: %d of %d successful after %.3g s", problem.native.name, succeeded, total, seconds)
    if batch.constraints is None:
        del fields["multipliers"]
    if history:
        fields["history"] = Histories.of(*fields["history"])
    if n_starts > 1:
        x = _keep_best(fields, x, n_starts)
    fields["jac"] = parameters.report_batch(fields["jac"])
    return BatchResult(
        x=parameters.report_batch(x),
        **fields,
        success=fields["status"] == 0,
        backend=solved.backend,
        backend_reason=solved.reason,
        timing={
            "trace": solved.trace_seconds,
            "compile": solved.compile_seconds,
            "evaluate": solved.timing.evaluate,
            "solver": solved.timing.solver,
            "total": time.perf_counter() - begin,
        },
    )


def _flat_bounds(problem: Problem, sides: Any, count: int, layout: Layout) -> Any:
    """The bounds of all problems, flat."""
    if sides is not None or problem.packed_bounds[0] is None:
        return sides
    return tuple(np.broadcast_to(layout.flatten(side), (count, layout.size)) for side in problem.packed_bounds)


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


_CONSTRAINTS = "batched_constraints_args"


def _number_of_problems(starts: int | None, slices: int | None, n_starts: int, name: str) -> int:
    """The number of problems, on which starts and slices, called ``name``, must agree; None agrees with any number."""
    if starts is None and slices is None:
        if n_starts > 1:
            return 1
        raise ValueError(
            "x0s is a single start and there are no batched_args, so all problems are the same: "
            "give x0s with a leading dimension of the number of problems; for one problem call minimize."
        )
    if starts is not None and slices is not None and starts != slices:
        raise ValueError(f"x0s has {starts} starts and {name} have {slices} slices: give one for each problem.")
    count = slices if starts is None else starts
    if not count:
        raise ValueError("x0s or batched_args have a leading dimension of 0: give at least one problem.")
    return count


@contextlib.contextmanager
def _bar(count: int) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar, and yields the function that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=count)
        yield lambda done: bar.update(task, completed=done)
        bar.update(task, completed=count)
