"""Run and Solved: what came out of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._compare.recorder import History

__all__ = ["FEASIBLE", "MOST_SECONDS", "WITHIN", "Run", "Solved", "Way", "groups"]

WITHIN = 1e-4
"""How near a loss is to the least one known, if it is right."""

FEASIBLE = 1e-5
"""The greatest violation of a point that counts as feasible."""


MOST_SECONDS = 10.0
"""A way whose timed solves of a problem have taken so long is not timed again."""


@dataclass(frozen=True)
class Way:
    """A method of a solver, with XLA or without."""

    solver: str
    method: str
    jit_compile: bool | None
    is_default: bool = False
    """Whether the method was chosen for the problem."""

    @property
    def label(self) -> str:
        """A short name."""
        return f"{self.solver} {self.method}{' XLA' if self.jit_compile else ''}"

    @property
    def group(self) -> str:
        """The name for all problems together: without the method, if each problem has its own."""
        return f"{self.solver}{' XLA' if self.jit_compile else ''}" if self.is_default else self.label


@dataclass(frozen=True)
class Run:
    """One problem, solved in one way.

    Attributes
    ----------
    problem, solver, method, label : str
        ``label`` is solver and method, and whether XLA compiled the function.
    group : str
        The same, without the method if it was chosen for each problem.
    jit_compile : bool
    fun : float
        The loss at the solution, evaluated in the same way for all; NaN if the run failed.
    violation : float
        The greatest violation of a bound or a constraint there.
    nit, nfev : int or None
        As the solver counts them.
    seconds : float
        The median time of a solve, without tracing and compiling.
    all_seconds : list of float
    converged : bool
        Whether the solver says so.
    right : bool
        Whether the point is feasible, to 1e-5, and its loss is the least known, to 1e-4 times the greater of this loss
        and of 1 or, if it is less, the way from the start to it.
    message : str
        The solver's, or the error.
    failed : bool
        Whether it raised an error.
    stops : str
        When the solver stops.
    backend : str or None
        What evaluated the function, for tfminimize.
    x : ndarray or None
        The solution as a flat vector.
    history : dict or None
        What was evaluated; see `tfminimize.minimize`. For tfminimize a row is an iterate, for others an evaluation.
    """

    problem: str
    solver: str
    method: str
    label: str
    group: str
    jit_compile: bool
    fun: float = math.nan
    violation: float = math.nan
    nit: int | None = None
    nfev: int | None = None
    all_seconds: Sequence[float] = ()
    converged: bool = False
    right: bool = False
    message: str = ""
    failed: bool = False
    stops: str = ""
    backend: str | None = None
    x: NDArray[np.float64] | None = field(default=None, repr=False)
    history: History | None = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        """The median."""
        return float(np.median(self.all_seconds)) if self.all_seconds else math.nan

    @property
    def is_feasible(self) -> bool:
        """Whether no bound or constraint is violated by more than 1e-5."""
        return bool(self.violation <= FEASIBLE)

    @property
    def marks(self) -> list[str]:
        """What is wrong: "failed", "unconverged", "not finite", "infeasible", "higher f"; empty if nothing is."""
        if self.failed:
            return ["failed"]
        marks = [] if self.converged else ["unconverged"]
        if not math.isfinite(self.fun):
            return [*marks, "not finite"]
        if not self.is_feasible:
            return [*marks, "infeasible"]
        return marks if self.right else [*marks, "higher f"]

    def to_dict(self) -> dict[str, Any]:
        """All but vectors, with None for what is not finite."""
        names = "solver method jit_compile backend fun violation nit nfev seconds all_seconds converged right failed"
        values = {name: getattr(self, name) for name in [*names.split(), "marks", "message", "stops"]}
        return {name: _plain(value) for name, value in values.items()}


@dataclass(frozen=True)
class Solved:
    """A problem and how it was solved.

    Attributes
    ----------
    name : str
    size : int
        Number of parameters; 0 if the problem could not be set up.
    has_bounds, has_constraints : bool
    start : float
        The loss at the start.
    minimum : float or None
        The least loss, if the problem says it.
    least : float
        The least loss known: ``minimum``, or the least that a run has found at a feasible point.
    runs : list of Run
    notes : list of str
        Warnings that were given on the way.
    """

    name: str
    size: int
    has_bounds: bool
    has_constraints: bool
    start: float
    minimum: float | None
    least: float
    runs: Sequence[Run]
    notes: Sequence[str]

    @property
    def title(self) -> str:
        """The name with the size, and what limits x."""
        size = f"{self.size} parameter{'' if self.size == 1 else 's'}" if self.size else ""
        bounds, constraints = ("bounds" * self.has_bounds, "constraints" * self.has_constraints)
        known = ", ".join(filter(None, (size, bounds, constraints)))
        return f"{self.name}: {known}" if known else self.name

    @property
    def remarks(self) -> list[str]:
        """Why runs failed or did not converge, each reason once, and the notes."""
        reasons: dict[str, list[str]] = {}
        for run in self.runs:
            if not run.converged:
                reasons.setdefault(run.message, []).append(run.label)
        who = {
            reason: "all" if len(names) == len(self.runs) > 1 else ", ".join(names) for reason, names in reasons.items()
        }
        return [*(f"{names}: {reason}" for reason, names in who.items()), *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        names = "name", "size", "has_bounds", "has_constraints", "start", "minimum", "least", "notes"
        plain = {name: _plain(getattr(self, name)) for name in names}
        return {**plain, "runs": [run.to_dict() for run in self.runs]}


def groups(problems: Sequence[Solved]) -> list[str]:
    """The groups of all runs, in order, each once."""
    return list(dict.fromkeys(run.group for problem in problems for run in problem.runs))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
