"""The plots of a benchmark, as SVG that takes the colours of the page around it."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from tfminimize._compare.recorder import History
from tfminimize._compare.results import FEASIBLE, Run, Solved, groups
from tfminimize._plot.convergence import convergence
from tfminimize._plot.profiles import data_profile, performance_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Figure", "convergence_figures", "profile_figures"]

_INK, _PAPER = "#010203", "#030201"
"""They stand for the colours of the page."""

_MOST_POINTS = 300
"""Curves have at most so many points, which keeps the page small."""


class Figure(NamedTuple):
    """A plot and what it shows."""

    svg: str
    caption: str


def profile_figures(problems: Sequence[Solved]) -> list[Figure]:
    """Profiles over all problems; none for a single one."""
    if len(problems) < 2:
        return []
    return [
        _figure(
            lambda ax: performance_profile(
                _costs(problems, "nfev", _without_xla(groups(problems))), metric="nfev", ax=ax
            ),
            "Performance profile: the share of problems solved with at most τ times the evaluations of the best",
        ),
        _figure(
            lambda ax: performance_profile(_costs(problems, "seconds", groups(problems)), metric="seconds", ax=ax),
            "Performance profile: the share of problems solved in at most τ times the time of the fastest",
        ),
        *_data_profile(problems),
    ]


def convergence_figures(problem: Solved) -> list[Figure]:
    """How the runs of a problem went, by what they evaluated."""
    names = _without_xla([run.label for run in problem.runs])
    runs = [run for run in problem.runs if run.label in names and run.history is not None and len(run.history["fun"])]
    if not any(np.isfinite(run.history["fun"]).any() for run in runs if run.history is not None):
        return []
    texts = [run.label.removesuffix(" XLA") for run in runs]
    is_plain = not problem.has_constraints and math.isfinite(problem.least)
    histories = [_drawn(run, problem.least if is_plain else None) for run in runs]
    minimum = problem.least if is_plain else None

    def draw(quantity: str, minimum: float | None, name: str) -> Callable[[Axes], Any]:
        def on(ax: Axes) -> None:
            convergence(*histories, against="nfev", quantity=quantity, minimum=minimum, labels=texts, ax=ax)
            ax.set_ylabel(name)

        return on

    if not problem.has_constraints:
        above = draw("fun", minimum, "f, above the least known" if is_plain else "f")
        return [_figure(above, "The least f so far")]
    return [
        _figure(draw("fun", None, "f"), "f of each evaluation or iterate"),
        _figure(draw("constr_violation", None, "violation"), "The greatest violation of a constraint there"),
    ]


def _without_xla(names: Sequence[str]) -> list[str]:
    """The names without those of XLA, if the function was also solved without: the counts are the same."""
    return [name for name in names if name.removesuffix(" XLA") == name or name.removesuffix(" XLA") not in names]


def _of_group(problems: Sequence[Solved], group: str) -> list[Run | None]:
    """The run of each problem; None if the problem has not been run."""
    return [next((run for run in problem.runs if run.group == group), None) for problem in problems]


def _costs(problems: Sequence[Solved], metric: str, names: Sequence[str]) -> dict[str, list[float]]:
    """For each group the cost of each problem; infinite if it was not solved."""
    return {
        group: [
            float(getattr(run, metric)) if run is not None and run.right and getattr(run, metric) else math.inf
            for run in _of_group(problems, group)
        ]
        for group in names
    }


def _data_profile(problems: Sequence[Solved]) -> list[Figure]:
    """The data profile of the ways whose evaluations are known, on the problems whose loss can decrease."""
    problems = [problem for problem in problems if problem.start > problem.least]
    names = [
        group
        for group in _without_xla(groups(problems))
        if all(run is None or run.failed or run.history is not None for run in _of_group(problems, group))
    ]
    if not problems or not names:
        return []
    results = {
        group: [_traced(run, problem) for run, problem in zip(_of_group(problems, group), problems, strict=True)]
        for group in names
    }
    return [
        _figure(
            lambda ax: data_profile(results, feasible=FEASIBLE, ax=ax),
            "Data profile: the share of problems on which all but a thousandth of the decrease is done",
        )
    ]


def _traced(run: Run | None, problem: Solved) -> OptimizeResult:
    """A result with a history, of the start alone if there is no run."""
    history = None if run is None else run.history
    if history is None or not len(history["fun"]):
        nothing = np.array([math.nan])
        columns = dict.fromkeys(("gradient_norm", "step", "seconds"), nothing)
        history = {
            "fun": np.array([problem.start]),
            "nfev": np.array([1]),
            "constr_violation": np.array([math.inf]),
            **columns,
        }
    return OptimizeResult(x=np.zeros(problem.size), history=history)


def _drawn(run: Run, least: float | None) -> History:
    """The history with few points; if the least loss is given, each row has the least so far."""
    history = run.history
    assert history is not None
    columns = {name: np.asarray(values) for name, values in history.items() if name != "x"}
    if least is not None:
        loss = np.where(np.isfinite(columns["fun"]), columns["fun"], np.inf)
        columns["fun"] = np.maximum(np.minimum.accumulate(loss), least)
    count = len(columns["fun"])
    rows = np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(int))
    return {name: values[rows] for name, values in columns.items()}


def _figure(draw: Callable[[Axes], Any], caption: str) -> Figure:
    import matplotlib
    from matplotlib import figure as figures

    ink = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color", "legend.edgecolor")
    settings: Any = {
        **dict.fromkeys(ink, _INK),
        "axes.facecolor": "none",
        "legend.facecolor": _PAPER,
        "svg.fonttype": "none",
        "font.size": 10.0,
        "font.family": "sans-serif",
    }
    with matplotlib.rc_context(settings):
        figure = figures.Figure(figsize=(5.2, 3.6), layout="constrained")
        ax = figure.subplots()
        draw(ax)
        if (legend := ax.get_legend()) is not None:
            legend.remove()
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        ax.grid(alpha=0.15, color=_INK)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor").replace(_PAPER, "var(--paper)")
    svg = svg.replace("#000000", "currentColor")  # the last of the colours of lines
    return Figure(svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(caption)}"', 1), caption)
