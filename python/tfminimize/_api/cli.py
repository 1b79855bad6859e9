"""The command line: ``python -m tfminimize info`` and ``python -m tfminimize compare``."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rich.console
import rich.progress
import rich.table
import tensorflow as tf

from tfminimize import testing
from tfminimize._api.compare import WIDTH, Comparison, compare, table
from tfminimize._problem.native_methods import NATIVE_METHODS
from tfminimize._tf import binding
from tfminimize._tf.build_info import build_info

__all__ = ["main"]

PROBLEMS: dict[str, Callable[[], testing.Problem]] = {
    "rosenbrock-2": lambda: testing.rosenbrock(2),
    "rosenbrock-100": lambda: testing.rosenbrock(100),
    "rosenbrock-1000": lambda: testing.rosenbrock(1000),
    "bounded-rosenbrock-100": lambda: testing.bounded_rosenbrock(100),
    "quadratic-1000": lambda: testing.quadratic(1000),
    "digits": testing.digits_regression,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    parser = argparse.ArgumentParser(
        "python -m tfminimize", description="L-BFGS-B, SLSQP and BFGS for TensorFlow functions."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    info_parser = commands.add_parser("info", help="show how tfminimize was built and what it finds here")
    compare_parser = commands.add_parser("compare", help="solve built-in problems with SciPy and with tfminimize")
    compare_parser.add_argument(
        "problems", nargs="*", metavar="problem", help=f"any of {', '.join(PROBLEMS)}; default: all"
    )
    compare_parser.add_argument(
        "--method",
        choices=[method.name for method in NATIVE_METHODS.values()],
        default="L-BFGS-B",
        help="on both sides",
    )
    compare_parser.add_argument("--repeats", type=int, default=7, help="number of timed solves on each side")
    compare_parser.add_argument(
        "--jit", action=argparse.BooleanOptionalAction, help="use XLA on both sides, or on neither; default: time both"
    )
    for each in (info_parser, compare_parser):
        each.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(arguments)
    if options.command == "info":
        return _info(options.json)
    if options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}: give 1 or more.")
    unknown = set(options.problems) - set(PROBLEMS)
    if unknown:
        parser.error(f"there is no problem {' or '.join(sorted(unknown))}: choose from {', '.join(PROBLEMS)}.")
    if "digits" in options.problems and not _has_sklearn():
        parser.error("the problem 'digits' needs scikit-learn: run `pip install scikit-learn`, or choose another.")
    if options.method == "BFGS" and any(name.startswith("bounded") for name in options.problems):
        parser.error("BFGS takes no bounds: leave out the bounded problems, or choose another --method.")
    modes = (False, True) if options.jit is None else (options.jit,)
    return _compare(
        options.problems or _available(options.method), options.method, options.repeats, modes, options.json
    )


def _info(as_json: bool) -> int:
    found = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        **{name: importlib.metadata.version(name) for name in ("numpy", "scipy", "keras")},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "binding": _works(binding.require),
        "xla": _works(binding.xla),
        "ops": _works(binding.ops),
    }
    information = {"built": build_info(), "found": found}
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


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _has_sklearn() -> bool:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return False
    return True


def _available(method: str) -> list[str]:
    """The problems that can be solved here, by this method."""
    names = [name for name in PROBLEMS if method != "BFGS" or not name.startswith("bounded")]
    if _has_sklearn():
        return names
    print("scikit-learn is not installed, so the problem 'digits' is left out.", file=sys.stderr)
    return [name for name in names if name != "digits"]


def _compare(names: Sequence[str], method: str, repeats: int, modes: Sequence[bool], as_json: bool) -> int:
    comparisons: list[Comparison] = []
    progress = rich.progress.Progress(console=rich.console.Console(stderr=True), transient=True)
    with progress:
        task = progress.add_task("", total=len(names) * len(modes))
        for name in names:
            problem = PROBLEMS[name]()
            progress.update(task, description=problem.name)
            for jit in modes:
                comparisons.append(_one(problem, method, repeats, jit))
                progress.advance(task)
    if as_json:
        print(json.dumps([c.to_dict() for c in comparisons], indent=2))
    else:
        rich.console.Console(width=WIDTH).print(table(comparisons))
    return 0


def _one(problem: testing.Problem, method: str, repeats: int, jit: bool) -> Comparison:
    return compare(
        problem.fun,
        problem.x0,
        method=method,
        bounds=problem.bounds,
        jit_compile=jit,
        repeats=repeats,
        name=problem.name,
    )
