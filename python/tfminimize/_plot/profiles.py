"""performance_profile and data_profile: how solvers compare on many problems."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._plot.axes import Line, axes_for, checked_choice, draw
from tfminimize._plot.histories import History, history_of, num_variables
from tfminimize._problem.result import BatchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["data_profile", "performance_profile"]

Float64 = NDArray[np.float64]

_METRICS = {"nfev": "evaluations", "seconds": "time"}

_LEGEND_WIDTH = 64
"""A line of the legend has so many characters."""

_FAR = 30.0
"""The x-axis of a data profile is logarithmic if its values differ by more than this factor."""


def performance_profile(
    results: Mapping[str, Any],
    metric: str = "nfev",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the performance profile of several solvers on the same problems.

    For each solver it shows the share of problems that it solves at no more than τ times the cost of the best solver
    for that problem [1]_. At τ = 1 this is how often a solver is the best; far to the right, how many problems it
    solves.

    Parameters
    ----------
    results : dict
        For each name of a solver a sequence with an element for each problem, in the same order: a result of
        `tfminimize.minimize` or SciPy, or the cost itself, a number, infinite or NaN for a failure. A result counts as
        a failure unless it has ``success``. In the place of a sequence there may be a `tfminimize.BatchResult`.
    metric : {"nfev", "seconds"}
        The cost in a result: evaluations; or seconds without tracing and compiling, which results of SciPy do not have.
        Of numbers it is the name.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the solvers have different numbers of problems, or a result has no such cost.

    References
    ----------
    .. [1] Dolan and Moré, "Benchmarking optimization software with performance profiles", 2002,
       doi:10.1007/s101070100263.

    Examples
    --------
    >>> problems = [tfm.testing.rosenbrock(n) for n in (2, 4, 8)]
    >>> ax = tfm.plot.performance_profile(
    ...     {
    ...         m: [tfm.minimize(p.fun, p.x0, method=m) for p in problems]
    ...         for m in ("L-BFGS-B", "BFGS")
    ...     }
    ... )
    >>> [line.get_label() for line in ax.lines], ax.get_xscale()
    (['L-BFGS-B', 'BFGS'], 'log')
    """
    metric = checked_choice("metric", metric, tuple(_METRICS))
    costs = np.array([_costs(solver, list_, metric) for solver, list_ in _checked(results).items()])
    best = costs.min(axis=0)
    ratios = np.divide(costs, best, out=np.full(costs.shape, np.inf), where=np.isfinite(costs))
    finite = ratios[np.isfinite(ratios)]
    right = max(2.0, 1.2 * finite.max(initial=1.0))
    ax = axes_for(ax)
    draw(ax, [_steps(row, 1.0, right, name) for name, row in zip(results, ratios, strict=True)])
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlim(2**-0.02, right)
    _label(ax, f"{_METRICS[metric]}, as a multiple of the best solver's")
    return ax


def data_profile(
    results: Mapping[str, Any],
    metric: str = "nfev",
    *,
    tol: float = 1e-3,
    feasible: float = 1e-6,
    ax: Axes | None = None,
) -> Axes:
    """Draw the data profile of several solvers on the same problems.

    For each solver it shows the share of problems that it has solved after so many evaluations, divided by n + 1 for n
    variables, or after so many seconds [1]_. A problem is solved at the first iterate whose loss is at most
    ``f_best + tol * (f_start - f_best)``, with the least loss that any of the solvers found.

    Parameters
    ----------
    results : dict
        For each name of a solver a sequence with an element for each problem, in the same order: results of
        ``minimize(..., history=True)``. In the place of a sequence there may be a `tfminimize.BatchResult` with
        histories.
    metric : {"nfev", "seconds"}
        What the x-axis shows. An evaluation is one of the loss and its gradient.
    tol : float, default 1e-3
        The share of the greatest decrease that may be missing, between 0 and 1.
    feasible : float, default 1e-6
        An iterate counts only if no constraint is violated by more than this.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The x-axis is logarithmic if its values differ by more than a factor of 30.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the solvers have different numbers of problems, or a result has no history.

    References
    ----------
    .. [1] Moré and Wild, "Benchmarking derivative-free optimization algorithms", 2009, doi:10.1137/080724083.

    Examples
    --------
    >>> problems = [tfm.testing.rosenbrock(n) for n in (2, 4, 8)]
    >>> ax = tfm.plot.data_profile(
    ...     {
    ...         m: [tfm.minimize(p.fun, p.x0, method=m, history=True) for p in problems]
    ...         for m in ("L-BFGS-B", "BFGS")
    ...     }
    ... )
    >>> ax.get_xlabel()
    'evaluations / (n + 1)'
    """
    metric = checked_choice("metric", metric, tuple(_METRICS))
    if not 0 < tol < 1:
        raise ValueError(f"tol is {tol!r}: give a number between 0 and 1.")
    solves = {solver: _histories(solver, list_) for solver, list_ in _checked(results).items()}
    by_problem = list(zip(*solves.values(), strict=True))
    costs = np.array([_costs_to_decrease(problem, metric, tol, feasible) for problem in by_problem]).T
    finite = costs[np.isfinite(costs)]
    right = 1.1 * finite.max(initial=0.0) or 1.0
    positive = finite[finite > 0]
    is_wide = bool(positive.size) and right > _FAR * positive.min()
    ax = axes_for(ax)
    left = positive.min() / 1.2 if is_wide else 0.0
    draw(ax, [_steps(row, left, right, name) for name, row in zip(results, costs, strict=True)])
    if is_wide:
        ax.set_xscale("log")
    ax.set_xlim(left, right)
    _label(ax, "evaluations / (n + 1)" if metric == "nfev" else "time in s")
    return ax


def _steps(costs: Float64, left: float, right: float, label: str) -> Line:
    """The share of costs that are at most x, for x from ``left`` to ``right``."""
    x = np.concatenate([[left], np.unique(costs[np.isfinite(costs)].clip(min=left)), [right]])
    y = (costs[:, None] <= x).mean(axis=0)
    return Line(x, y, label, {"drawstyle": "steps-post"})


def _label(ax: Axes, x: str) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel("share of problems solved")
    ax.set_ylim(-0.03, 1.03)
    # Profiles may run anywhere in the axes.
    widest = max((len(text) for text in ax.get_legend_handles_labels()[1]), default=0)
    columns = min(4, max(1, _LEGEND_WIDTH // (widest + 6)))  # 6 for the line and the gaps
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, borderaxespad=0.2)


def _checked(results: Any) -> Mapping[str, Any]:
    """Raise ValueError unless it has the same number of problems, one or more, for each solver."""
    if not isinstance(results, Mapping) or not results:
        raise ValueError(
            f"results is a {type(results).__name__}: give a dict with a sequence for each solver, such as "
            "{'BFGS': [result_of_first_problem, result_of_second]}."
        )
    counts = {}
    for solver, given in results.items():
        is_other = isinstance(given, (str, Mapping)) or not hasattr(given, "__len__")
        if is_other and not isinstance(given, BatchResult):
            raise ValueError(f"results[{solver!r}] is a {type(given).__name__}: give a sequence, one for each problem.")
        counts[solver] = len(given.nfev if isinstance(given, BatchResult) else given)
    (one, count), *others = counts.items()
    for other, its_count in others:
        if its_count != count:
            raise ValueError(f"{one!r} has {count} problems and {other!r} has {its_count}: give the same for both.")
    if not count:
        raise ValueError(f"results[{one!r}] has no problems: give one or more.")
    return results


def _costs(solver: str, given: Any, metric: str) -> Float64:
    """The cost of each problem, infinite for a failure."""
    if isinstance(given, BatchResult):
        if metric == "seconds":
            raise ValueError(
                f"results[{solver!r}] is a BatchResult, whose problems share their time: use metric='nfev'."
            )
        return np.where(given.success, given.nfev.astype(np.float64), np.inf)
    return np.array([_cost(result, metric, f"results[{solver!r}][{i}]") for i, result in enumerate(given)])


def _cost(result: Any, metric: str, name: str) -> float:
    if isinstance(result, numbers.Real):
        cost = float(result)
        if cost <= 0:
            raise ValueError(f"{name} is {result}: a cost is greater than 0, and infinite for a failure.")
        return np.inf if np.isnan(cost) else cost
    for needed in ("success", "nfev"):
        if not hasattr(result, needed):
            raise ValueError(f"{name} is a {type(result).__name__} without {needed}: give a result, or a number.")
    if not result.success:
        return np.inf
    if metric == "nfev":
        return float(result.nfev)
    timing = getattr(result, "timing", None)
    if timing is None:
        raise ValueError(f"{name} has no timing, as results of SciPy: give the seconds themselves, as numbers.")
    return float(timing["evaluate"] + timing["solver"])


def _histories(solver: str, given: Any) -> Sequence[tuple[History, int]]:
    """The history and the number of variables of each problem."""
    name = f"results[{solver!r}]"
    if isinstance(given, BatchResult):
        size = num_variables(given, name) // len(given.nfev)
        given = getattr(given, "history", None)
        if given is None:
            raise ValueError(f"{name} has no history: call minimize_batch(..., history=True).")
        return [(history, size) for history in given]
    names = [f"{name}[{i}]" for i in range(len(given))]
    return [(history_of(r, n), num_variables(r, n)) for r, n in zip(given, names, strict=True)]


def _costs_to_decrease(problem: Sequence[tuple[History, int]], metric: str, tol: float, feasible: float) -> list[float]:
    """What each solver needs for most of the decrease; infinite if it never gets there."""
    losses = []
    for history, _ in problem:
        loss = np.asarray(history["fun"], np.float64)
        counts = np.isfinite(loss) & (np.asarray(history["constr_violation"]) <= feasible)
        losses.append(np.where(counts, loss, np.inf))
    start = max(float(history["fun"][0]) for history, _ in problem)
    best = min(float(loss.min()) for loss in losses)
    costs = []
    for loss, (history, size) in zip(losses, problem, strict=True):
        reached = np.flatnonzero(np.isfinite(loss) & (loss <= best + tol * max(start - best, 0.0)))
        unit = size + 1.0 if metric == "nfev" else 1.0
        costs.append(float(history[metric][reached[0]]) / unit if len(reached) else np.inf)
    return costs
