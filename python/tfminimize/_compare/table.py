"""Tables of a benchmark for the terminal, which fit 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfminimize._compare.results import MOST_SECONDS, Run, Solved, groups

if TYPE_CHECKING:
    import rich.console
    import rich.table

__all__ = ["WIDTH", "Row", "blocks", "fastest", "rules", "summary", "time_text", "value_text", "violation_text"]

WIDTH = 80
"""Width of the tables in characters."""

Row = dict[str, str]


def blocks(problems: Sequence[Solved], left_out: Sequence[str], repeats: int) -> rich.console.Group:
    """A table for each problem, one for all together, and what there is to know about them."""
    import rich.console
    import rich.table
    import rich.text

    parts: list[Any] = []
    for problem in problems:
        parts += [_table(problem), *(rich.text.Text(line, style="dim") for line in problem.remarks), ""]
    if len(problems) > 1:
        rows = summary(problems)
        together = _empty_table(f"All {len(problems)} problems", list(rows[0]))
        for row in rows:
            together.add_row(*row.values())
        parts += [together, ""]
    solves = f"{repeats} solve{'' if repeats == 1 else 's'}, or of fewer if these take {MOST_SECONDS:g} s"
    note = f"Times are medians of {solves}. The solvers take turns; NumPy's linear algebra has one thread."
    parts.append(rich.text.Text(note))
    parts.append(rich.text.Text("When each stops by itself, and at the latest:"))
    stops = rich.table.Table.grid(padding=(0, 2, 0, 0))
    for label, rule in rules(problems).items():
        stops.add_row(rich.text.Text(label), rich.text.Text(rule))
    parts.append(stops)
    parts += [rich.text.Text(line) for line in left_out]
    return rich.console.Group(*parts)


def fastest(problem: Solved) -> float:
    """The least time of a right run; NaN without one."""
    return min((run.seconds for run in problem.runs if run.right), default=math.nan)


def rules(problems: Sequence[Solved]) -> dict[str, str]:
    """For each method of each solver when it stops."""
    return {f"{run.solver} {run.method}": run.stops for problem in problems for run in problem.runs if run.stops}


def summary(problems: Sequence[Solved]) -> list[Row]:
    """For each way how many problems it solves, and the sums and ratios over those that all of them solve."""
    rows = []
    for group in groups(problems):
        runs = [(run, problem) for problem in problems for run in problem.runs if run.group == group]
        right = [(run, problem) for run, problem in runs if run.right]
        ratios = [run.seconds / fastest(problem) for run, problem in right]
        first = [run for run, problem in right if run.seconds == fastest(problem)]
        rows.append(
            {
                "solver": group,
                "runs": str(len(runs)),
                "right": str(len(right)),
                "fastest": str(len(first)),
                "median ×": f"{np.median(ratios):.3g}" if ratios else "",
                "failed": str(sum(run.failed for run, _ in runs)),
            }
        )
    return rows


def value_text(value: float) -> str:
    """A loss."""
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def violation_text(violation: float) -> str:
    """The greatest violation."""
    if not math.isfinite(violation):
        return ""
    return f"{violation:.0e}" if violation else "0"


def time_text(seconds: float) -> str:
    """A time with its unit."""
    if not math.isfinite(seconds):
        return ""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _table(problem: Solved) -> rich.table.Table:
    has_limits = problem.has_constraints or problem.has_bounds
    columns = ["", "f", *(["violation"] if has_limits else []), "nfev", "time", "×", "result"]
    known = f"; least f known: {value_text(problem.least)}" if math.isfinite(problem.least) else ""
    shown = _empty_table(f"{problem.title}{known}", columns)
    for run in problem.runs:
        shown.add_row(
            run.label,
            "" if run.failed else value_text(run.fun),
            *([violation_text(run.violation)] if has_limits else []),
            "" if run.nfev is None else str(run.nfev),
            time_text(run.seconds),
            _ratio(run, problem),
            ", ".join(run.marks) or "ok",
            style="red" if run.failed or not run.right else "yellow" if run.marks else None,
        )
    return shown


def _ratio(run: Run, problem: Solved) -> str:
    ratio = run.seconds / fastest(problem)
    return f"{ratio:.3g}" if math.isfinite(ratio) and run.right else ""


def _empty_table(title: str, columns: Sequence[str]) -> rich.table.Table:
    import rich.box
    import rich.table
    import rich.text

    shown = rich.table.Table(
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        title=rich.text.Text(title, style="bold not italic"),
        title_justify="left",
    )
    for i, column in enumerate(columns):
        is_text = i == 0 or column == "result"
        shown.add_column("" if column == "solver" else column, justify="left" if is_text else "right", no_wrap=i == 0)
    return shown
