"""Plan: which problem is solved in which ways, checked before anything runs; and how one is solved."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.optimize import OptimizeResult

from tfminimize._compare.prepared import Prepared, Side, blas, in_turns
from tfminimize._compare.results import MOST_SECONDS, WITHIN, Run, Solved, Way
from tfminimize._compare.settings import settings_for
from tfminimize._compare.solvers import SOLVERS, Ready, refusal
from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._problem.methods import method_name
from tfminimize._problem.native_methods import NATIVE_METHODS
from tfminimize._testing.problem import TestProblem

__all__ = ["Plan"]

DEFAULT_SOLVERS = ("tfminimize", "scipy")

_ABOVE_A_MESSAGE = ("Graph execution error:", "Detected at node", "Traceback")
"""Lines that TensorFlow puts above what has happened."""


class Plan:
    """Which problem is solved in which ways.

    Parameters
    ----------
    problems : sequence of TestProblem
    methods : sequence of str, optional
        Default: for each problem SLSQP if it has constraints, otherwise L-BFGS-B.
    solvers : str or sequence of str, optional
        Default: tfminimize and SciPy.
    tol, options : optional
        As in `tfminimize.minimize`.
    jits : sequence of bool or None
        Whether XLA compiles the function; each of them is a way of its own. None follows the function.
    repeats : int

    Attributes
    ----------
    entries : list of (TestProblem, list of Way)
    left_out : list of str
        What is not solved, and why, in sentences.

    Raises
    ------
    ValueError
        If a name is not known, or nothing is left to solve.
    """

    def __init__(
        self,
        problems: Sequence[TestProblem],
        methods: Sequence[str] | None = None,
        solvers: str | Sequence[str] | None = None,
        *,
        tol: float | None = None,
        options: Mapping[str, Any] | None = None,
        jits: Sequence[bool | None] = (None,),
        repeats: int = 7,
    ) -> None:
        if not problems:
            raise ValueError("there is no problem to solve: give one or more.")
        self.repeats = repeats
        self.left_out: list[str] = []
        self._tol, self._options = tol, options
        self._solvers = self._installed(solvers)
        self._methods = None if methods is None else _known_methods(methods)
        self._check_options()
        self.entries: list[tuple[TestProblem, list[Way]]] = []
        refusals: dict[str, list[str]] = collections.defaultdict(list)
        for problem in _with_names_of_their_own(problems):
            ways, reasons = self._ways(problem, jits)
            for reason in reasons:
                refusals[reason].append(problem.name)
            if ways:
                self.entries.append((problem, ways))
        if not self.entries:
            raise ValueError(_nothing_left(refusals, problems))
        self.left_out += [f"{reason}: left out for {_listed(names)}." for reason, names in refusals.items()]

    def _installed(self, given: str | Sequence[str] | None) -> list[str]:
        """The solvers that are installed."""
        names = DEFAULT_SOLVERS if given is None else [given] if isinstance(given, str) else given
        names = [str(name).lower() for name in names]
        if not names:
            raise ValueError(f"there is no solver: give one or more of {', '.join(SOLVERS)}.")
        for name in names:
            if name not in SOLVERS:
                raise ValueError(f"there is no solver {name!r}: choose from {', '.join(SOLVERS)}.")
        missing = [SOLVERS[name] for name in names if SOLVERS[name].version is None]
        self.left_out += [f"{s.title} is not installed (pip install {s.package}): left out." for s in missing]
        found = [name for name in dict.fromkeys(names) if SOLVERS[name].version is not None]
        if not found:
            raise ValueError(" ".join(["no solver is left:", *self.left_out]))
        return found

    def _check_options(self) -> None:
        """Raise ValueError for an option that no method has, or a wrong value."""
        methods = self._methods or ["L-BFGS-B", "SLSQP"]
        natives = [NATIVE_METHODS[method.lower()] for method in methods if method.lower() in NATIVE_METHODS]
        for option in self._options or ():
            if len(natives) == len(methods) and not any(option in native.defaults for native in natives):
                known = dict.fromkeys(name for native in natives for name in native.defaults)
                raise ValueError(
                    f"none of {', '.join(methods)} has an option {option!r}: choose from {', '.join(known)}."
                )
        for method in methods:
            settings_for(method, self._tol, self._options)

    def _ways(self, problem: TestProblem, jits: Sequence[bool | None]) -> tuple[list[Way], list[str]]:
        """The ways that can solve the problem, and why the others cannot."""
        constrained, bounded = has_constraints(problem.constraints), problem.bounds is not None
        if problem.jit_compile is not None:
            jits = [problem.jit_compile]
        ways, reasons = [], []
        for solver in self._solvers:
            for method in self._methods or ["SLSQP" if constrained else "L-BFGS-B"]:
                reason = refusal(solver, method, bounded, constrained)
                if reason is None:
                    ways += [Way(solver, method, jit, self._methods is None) for jit in jits]
                else:
                    reasons.append(reason)
        return ways, reasons

    def solve(self, problem: TestProblem, ways: Iterable[Way]) -> Solved:
        """Solve one of the entries; what a solver raises becomes a run that failed."""
        with _without_warnings_of_tracing():
            return _Solving(problem, self._tol, self._options).solve(list(ways), self.repeats)


class _Solving:
    """The solves of one problem."""

    def __init__(self, problem: TestProblem, tol: float | None, options: Mapping[str, Any] | None) -> None:
        self._problem = problem
        self._tol, self._options = tol, options
        self._prepared: dict[bool | None, Prepared] = {}
        self._judge = problem.jit_compile or False
        """How the loss at the solutions is evaluated: without XLA, which may be what failed, unless it is needed."""
        self._notes: dict[str, None] = {}

    def solve(self, ways: Sequence[Way], repeats: int) -> Solved:
        try:
            with blas().limit(limits=1):
                runs, ready = self._record(ways)
            if ready:
                self._prepare(self._judge)
            sides = {way: Side(_guarded(its.solve)) for way, its in ready.items()}
            with warnings.catch_warnings():  # the first solves have given them
                warnings.simplefilter("ignore")
                results, seconds = in_turns(sides, repeats, self._restart, MOST_SECONDS)
            for way, result in results.items():
                runs[way] = self._run(way, runs[way], result, seconds[way])
            return self._judged([runs[way] for way in ways])
        finally:
            self._restart()

    def _record(self, ways: Sequence[Way]) -> tuple[dict[Way, Run], dict[Way, Ready]]:
        """Solve once in each way, with a record; those that raise an error are not ready for more."""
        runs, ready = {}, {}
        for way in ways:
            run = Run(self._problem.name, way.solver, way.method, way.label, way.group, bool(way.jit_compile))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    prepared = self._prepare(way.jit_compile)
                    settings = settings_for(way.method, self._tol, self._options)
                    its = SOLVERS[way.solver].ready(prepared, way.method, settings)
                    run = dataclasses.replace(run, jit_compile=prepared.jit, stops=its.stops)
                    self._restart()
                    _, history = its.record()
                    run, ready[way] = dataclasses.replace(run, history=history), its
                except Exception as error:
                    run = _failed(run, error)
            for warning in caught:
                self._notes[f"{way.label}: {' '.join(str(warning.message).split())}"] = None
            runs[way] = run
        return runs, ready

    def _prepare(self, jit: bool | None) -> Prepared:
        if jit not in self._prepared:
            self._restart()  # the start of variables is their value
            self._prepared[jit] = Prepared(self._problem, jit)
        return self._prepared[jit]

    def _restart(self) -> None:
        for prepared in self._prepared.values():
            prepared.restart()

    def _run(self, way: Way, run: Run, result: OptimizeResult | Exception, seconds: Sequence[float]) -> Run:
        if isinstance(result, Exception):
            return _failed(run, result)
        prepared, x = self._prepared[self._judge], np.asarray(result.x, np.float64)
        nit = result.get("nit")
        return dataclasses.replace(
            run,
            fun=float(prepared.loss_and_gradient(x)[0]),
            violation=prepared.violation(x),
            nit=None if nit is None else int(nit),
            nfev=int(result.nfev),
            all_seconds=tuple(seconds),
            converged=bool(result.success),
            message=" ".join(str(result.message).split()),
            backend=result.get("backend"),
            x=x,
        )

    def _judged(self, runs: list[Run]) -> Solved:
        """The runs, with who is right."""
        start, size, minimum = math.nan, 0, self._problem.minimum
        if (prepared := self._prepared.get(self._judge)) is not None:
            size = prepared.parameters.layout.size
            if not all(run.failed for run in runs):
                start = float(prepared.loss_and_gradient(prepared.flat_start)[0]) + 0.0
        found = [run.fun for run in runs if run.is_feasible and math.isfinite(run.fun)]
        least = min([*found, *([] if minimum is None else [float(minimum)])], default=math.nan)
        distance = abs(start - least)
        limit = least + WITHIN * max(abs(least), min(1.0, distance) if math.isfinite(distance) else 1.0)
        return Solved(
            self._problem.name,
            size,
            self._problem.bounds is not None,
            has_constraints(self._problem.constraints),
            start,
            minimum,
            least,
            [dataclasses.replace(run, right=run.is_feasible and run.fun <= limit) for run in runs],
            list(self._notes),
        )


def _known_methods(methods: Sequence[str]) -> list[str]:
    """The methods as SciPy writes them."""
    if not methods:
        raise ValueError("there is no method: give one or more, such as 'L-BFGS-B'.")
    for method in methods:
        if callable(method) or method is None:
            raise ValueError(f"method {method!r} has no name: several solvers know it by name, such as 'L-BFGS-B'.")
    names = [(method, method_name(method, ())) for method in methods]
    return list(dict.fromkeys(NATIVE_METHODS[n].name if n in NATIVE_METHODS else method for method, n in names))


def _with_names_of_their_own(problems: Sequence[TestProblem]) -> list[TestProblem]:
    """The problems; the second of the same name is "name (2)"."""
    counts: dict[str, int] = collections.Counter()
    named = []
    for problem in problems:
        counts[problem.name] += 1
        number = counts[problem.name]
        named.append(problem if number == 1 else dataclasses.replace(problem, name=f"{problem.name} ({number})"))
    return named


def _nothing_left(reasons: Iterable[str], problems: Sequence[TestProblem]) -> str:
    constrained = any(has_constraints(problem.constraints) for problem in problems)
    remedy = "SLSQP takes constraints and bounds" if constrained else "L-BFGS-B and SLSQP take bounds"
    return (
        f"no method is left for {_listed([problem.name for problem in problems])}: {'; '.join(reasons)}. Give other "
        f"methods or solvers; {remedy}."
    )


def _listed(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


@contextlib.contextmanager
def _without_warnings_of_tracing() -> Iterator[None]:
    """TensorFlow warns that many functions have been traced, as they must be for many problems."""
    logger = tf.get_logger()

    def keeps(record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in record.getMessage()

    logger.addFilter(keeps)
    try:
        yield
    finally:
        logger.removeFilter(keeps)


def _guarded(solve: Callable[[], OptimizeResult]) -> Callable[[], OptimizeResult | Exception]:
    """The function, which returns an error in the place of raising it."""

    def call() -> OptimizeResult | Exception:
        try:
            return solve()
        except Exception as error:
            return error

    return call


def _failed(run: Run, error: Exception) -> Run:
    lines = [line for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line[0].isspace() and not line.startswith(_ABOVE_A_MESSAGE)]
    message = ": ".join([type(error).__name__, *(telling or lines)[:1]])
    return dataclasses.replace(run, failed=True, message=textwrap.shorten(message, 300, placeholder=" …"))
