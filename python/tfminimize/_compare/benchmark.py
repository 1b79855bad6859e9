"""Benchmark: problems solved in several ways, to print, to save, and to show as a page."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfminimize._compare.machine import machine
from tfminimize._compare.plan import Plan
from tfminimize._compare.report import page
from tfminimize._compare.results import Run, Solved
from tfminimize._compare.table import WIDTH, blocks
from tfminimize._testing.problem import TestProblem

if TYPE_CHECKING:
    import rich.console

__all__ = ["Benchmark", "benchmark", "checked_repeats"]


@dataclass(frozen=True)
class Benchmark:
    """Problems, each solved in several ways; see `tfminimize.compare`. `print` shows tables.

    Attributes
    ----------
    problems : list
        For each problem ``name``, ``size``, ``start`` (the loss there), ``least`` (the least loss known), ``notes``
        (warnings) and its ``runs``.
    left_out : list of str
        What was not solved, and why.
    machine : dict
        Versions, and the machine.
    repeats : int
        The number of timed solves.

    Examples
    --------
    >>> problem = tfm.testing.rosenbrock(2)
    >>> benchmark = tfm.compare(problem, method=["L-BFGS-B", "SLSQP"], repeats=3)
    >>> [(run.label, run.right) for run in benchmark.runs][:2]
    [('tfminimize L-BFGS-B', True), ('tfminimize SLSQP', True)]
    """

    problems: Sequence[Solved]
    left_out: Sequence[str]
    machine: Mapping[str, Any]
    repeats: int

    @property
    def runs(self) -> list[Run]:
        """All runs of all problems.

        A run has ``problem``, ``solver``, ``method``, ``label``, ``jit_compile``, ``fun``, ``violation``, ``nit``,
        ``nfev``, ``seconds``, ``converged``, ``right``, ``marks``, ``message``, ``stops``, ``x`` and ``history``.
        """
        return [run for problem in self.problems for run in problem.runs]

    def to_dict(self) -> dict[str, Any]:
        """Return everything except vectors, ready for JSON."""
        return {
            "machine": dict(self.machine),
            "repeats": self.repeats,
            "left_out": list(self.left_out),
            "problems": [problem.to_dict() for problem in self.problems],
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as a file of JSON."""
        _write(path, json.dumps(self.to_dict(), indent=2) + "\n")

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a line for each run, with the columns of its dict, as CSV."""
        rows = [
            {"problem": problem.name, "size": problem.size, **run.to_dict(), "marks": " ".join(run.marks)}
            for problem in self.problems
            for run in problem.runs
        ]
        for row in rows:
            del row["all_seconds"]
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _write(path, text.getvalue())

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page of tables and plots: one file, which needs no network.

        Raises
        ------
        ImportError
            If jinja2 or matplotlib is not installed.
        """
        _write(path, page(self.problems, self.left_out, self.machine, self.repeats))

    def __rich__(self) -> rich.console.Group:
        """Return the tables for a terminal."""
        return blocks(self.problems, self.left_out, self.repeats)

    def __str__(self) -> str:
        import rich.console

        console = rich.console.Console(file=io.StringIO(), width=WIDTH)
        console.print(self)
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


def benchmark(problems: Sequence[TestProblem], *args: Any, **options: Any) -> Benchmark:
    """Solve the problems in all ways of a `Plan`, whose arguments these are."""
    plan = Plan(problems, *args, **options)
    return Benchmark([plan.solve(*entry) for entry in plan.entries], plan.left_out, machine(), plan.repeats)


def checked_repeats(name: str, repeats: Any) -> None:
    """Raise ValueError unless it is a number of solves."""
    if not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 1:
        raise ValueError(f"{name} is {repeats}: give 1 or more.")


def _write(path: str | os.PathLike[str], text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")
