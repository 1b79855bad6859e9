"""The page of a benchmark: tables and plots in one file, which needs no network."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from tfminimize._compare.figures import convergence_figures, profile_figures
from tfminimize._compare.results import FEASIBLE, MOST_SECONDS, WITHIN, Solved, groups
from tfminimize._compare.table import fastest, rules, summary, time_text, value_text, violation_text

__all__ = ["check_packages", "page"]


def check_packages() -> None:
    """Raise ImportError if a package is missing that the page needs."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"the page needs jinja2 and matplotlib ({error}): run `pip install jinja2 matplotlib`, or install the "
            "extra, 'tfminimize[compare]'."
        ) from error


def page(problems: Sequence[Solved], left_out: Sequence[str], machine: Mapping[str, Any], repeats: int) -> str:
    """The page, as HTML.

    Raises
    ------
    ImportError
        If jinja2 or matplotlib is not installed.
    """
    check_packages()
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(value=value_text, time=time_text, violation=violation_text)
    source = resources.files("tfminimize._compare").joinpath("report.html.jinja").read_text(encoding="utf-8")
    text: str = environment.from_string(source).render(
        problems=problems,
        num_ways=len(groups(problems)),
        left_out=left_out,
        machine=machine,
        repeats=repeats,
        made=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        summary=summary(problems),
        rules=rules(problems),
        ratios=[[_ratio(run.seconds, fastest(problem)) for run in problem.runs] for problem in problems],
        profiles=profile_figures(problems),
        curves=[convergence_figures(problem) for problem in problems],
        isfinite=math.isfinite,
        within=WITHIN,
        feasible=FEASIBLE,
        most_seconds=MOST_SECONDS,
    )
    return text


def _ratio(seconds: float, least: float) -> str:
    ratio = seconds / least
    return f"{ratio:.3g}" if math.isfinite(ratio) else ""
