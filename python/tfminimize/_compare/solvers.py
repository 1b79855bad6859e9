"""The solvers to compare: ours, SciPy's, and those of other packages if they are installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from tfminimize._compare import nlopt, tfp
from tfminimize._compare.prepared import Prepared, flat
from tfminimize._compare.recorder import History, Recorder
from tfminimize._compare.settings import Options, iterations_text
from tfminimize._problem.methods import takes_bounds, takes_constraints
from tfminimize._problem.native_methods import NATIVE_METHODS

__all__ = ["SOLVERS", "Ready", "Solver", "refusal"]

Float64 = NDArray[np.float64]


class Ready(NamedTuple):
    """A solver that is ready for a problem. ``x`` of its results is flat."""

    solve: Callable[[], OptimizeResult]
    record: Callable[[], tuple[OptimizeResult, History | None]]
    """Solves once with a record of what was evaluated; None if the solver has no such record."""
    stops: str
    """When it stops, in a sentence."""


class Solver(NamedTuple):
    """A package with methods that solve problems."""

    title: str
    package: str
    """What pip installs."""
    ready: Callable[[Prepared, str, Options], Ready]
    """Gets the problem, the method and the settings, see `settings_for`."""
    methods: tuple[str, ...] | None = None
    """The methods that it has; None for all of SciPy's."""
    takes_bounds: Callable[[str], bool] = takes_bounds
    takes_constraints: Callable[[str], bool] = takes_constraints

    @property
    def version(self) -> str | None:
        """The version of the package; None if it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


def refusal(solver: str, method: str, has_bounds: bool, has_constraints: bool) -> str | None:
    """Why this method of this solver cannot solve such a problem; None if it can."""
    its, name = SOLVERS[solver], method.lower()
    label = f"{method} of {its.title}"
    if its.methods is not None and name not in its.methods:
        return f"{its.title} has no {method}"
    if has_constraints and not its.takes_constraints(name):
        return f"{label} takes no constraints"
    if has_bounds and not its.takes_bounds(name):
        return f"{label} takes no bounds"
    return None


def _ours(prepared: Prepared, method: str, settings: Options) -> Ready:
    solve = prepared.by_us(method, settings["tol"], settings["options"])
    has_history = method.lower() in NATIVE_METHODS

    def record() -> tuple[OptimizeResult, History | None]:
        result = solve(history=has_history)
        return _with_flat_x(result), result.history if has_history else None

    return Ready(lambda: _with_flat_x(solve()), record, _stop_rule(method, settings))


def _scipy(prepared: Prepared, method: str, settings: Options) -> Ready:
    solve = prepared.by_scipy(method, settings["tol"], settings["options"])

    def record() -> tuple[OptimizeResult, History | None]:
        recorder = Recorder(prepared)
        return solve(recorder.recorded(prepared.loss_and_gradient)), recorder.history()

    return Ready(solve, record, _stop_rule(method, settings))


def _tfp(prepared: Prepared, method: str, settings: Options) -> Ready:
    losses: list[float] = []
    recording = tfp.solver(prepared, method, settings, losses.append)

    def record() -> tuple[OptimizeResult, History | None]:
        return recording(), Recorder(prepared, losses).history()

    return Ready(tfp.solver(prepared, method, settings), record, tfp.stop_rule(method, settings))


def _nlopt(prepared: Prepared, method: str, settings: Options) -> Ready:
    def record() -> tuple[OptimizeResult, History | None]:
        recorder = Recorder(prepared)
        result = nlopt.solve(prepared, method, settings, recorder.recorded(prepared.loss_and_gradient))
        return result, recorder.history()

    def solve() -> OptimizeResult:
        return nlopt.solve(prepared, method, settings, prepared.loss_and_gradient)

    return Ready(solve, record, nlopt.stop_rule(method, settings))


SOLVERS: Mapping[str, Solver] = {
    "tfminimize": Solver("tfminimize", "tfminimize", _ours),
    "scipy": Solver("SciPy", "scipy", _scipy),
    "tfp": Solver(
        "TensorFlow Probability",
        "tensorflow-probability",
        _tfp,
        methods=("l-bfgs-b", "bfgs"),
        takes_bounds=lambda method: False,
        takes_constraints=lambda method: False,
    ),
    "nlopt": Solver(
        "NLopt",
        "nlopt",
        _nlopt,
        methods=("l-bfgs-b", "slsqp"),
        takes_constraints=lambda method: method == "slsqp",
    ),
}


def _with_flat_x(result: OptimizeResult) -> OptimizeResult:
    return OptimizeResult({**result, "x": flat(result.x)})


def _stop_rule(method: str, settings: Options) -> str:
    """When a method of SciPy's stops, and so ours."""
    name, ftol, gtol = method.lower(), settings.get("ftol"), settings.get("gtol")
    if name == "l-bfgs-b":
        rule = f"projected gradient ≤ {gtol:.2g} or Δf ≤ {ftol:.2g} max(|f|, 1)"
        return f"{rule}; {iterations_text(settings)}, {settings['maxfun']} evaluations"
    if name == "slsqp":
        return f"|Δf|, slope or step, and violation ≤ {ftol:.2g}; {iterations_text(settings)}"
    if name == "bfgs":
        norm = "greatest element" if settings["norm"] == math.inf else f"{settings['norm']:g}-norm"
        return f"{norm} of the gradient ≤ {gtol:.2g}; {iterations_text(settings)}"
    given = {"tol": settings["tol"], **settings["options"]}
    shown = ", ".join(f"{option} = {value}" for option, value in given.items() if value is not None)
    return f"SciPy's defaults{f', with {shown}' if shown else ''}"
