"""trajectory: the way of a solve in the plane of two variables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfminimize._plot.axes import Line, axes_for, checked_labels, draw, style
from tfminimize._plot.histories import is_history
from tfminimize._problem.bounds import pack_bounds
from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._problem.constraint_rows import Limits
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.program import Program
from tfminimize._solve.scipy_calls import Evaluation
from tfminimize._trace.dataset_loss import split_data
from tfminimize._trace.user_function import check_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["trajectory"]

Float64 = NDArray[np.float64]

_POINTS = 101
"""Of the grid, along each axis."""

_LEVELS = 14
"""Of the contours."""

_MARGIN = 0.15
"""What is left free around the iterates, as a share of their extent."""

_GREY = "#555555"


def trajectory(
    fun: Callable[..., Any],
    *results: Any,
    x0: Any = None,
    args: Any = (),
    bounds: Any = None,
    constraints: Any = (),
    limits: Any = None,
    labels: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the iterates of solves of two variables over the contours of the loss, with bounds and feasible set.

    Parameters
    ----------
    fun : callable
        The loss, as it was given to `tfminimize.minimize`.
    *results : results or arrays
        Results of ``minimize(..., history="x")``, or arrays ``[k, 2]`` of iterates, the start first. A result of SciPy
        has ``allvecs``, with ``options={"return_all": True}``.
    x0 : optional
        The variables that ``fun`` reads, or a structure like that of the start. Default: that of ``x`` in the first
        result, else one array.
    args, bounds, constraints : optional
        As in `tfminimize.minimize`. Bounds and infeasible points are grey, with a line around them; the points that
        satisfy an equality are a dashed line.
    limits : ((low, high), (low, high)), optional
        What both axes show. Default: all iterates, with a margin.
    labels : sequence of str, optional
        A name for each of the results. Default: their numbers, if there are several.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        A circle is the start of a solve, a star its end.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are not two variables, or a result has no iterates.

    Examples
    --------
    >>> problem = tfm.testing.rosenbrock(2)
    >>> result = tfm.minimize(problem.fun, problem.x0, bounds=(-2.0, 0.5), history="x")
    >>> ax = tfm.plot.trajectory(problem.fun, result, bounds=(-2.0, 0.5))
    >>> len(ax.lines[0].get_xdata()) == result.nit + 1
    True
    """
    check_context()
    if not results:
        raise ValueError('there is no solve to draw: give a result of minimize(..., history="x").')
    texts = checked_labels(labels, len(results))
    several = len(results) > 1
    paths = [_iterates(r, f"result {i + 1}" if several else "the result") for i, r in enumerate(results)]
    like = getattr(results[0], "x", paths[0][0]) if x0 is None else x0
    parameters = Parameters(like, "x")
    if parameters.layout.size != 2:
        raise ValueError(f"x has {parameters.layout.size} elements: trajectory draws functions of two.")
    box = pack_bounds(bounds, parameters)
    sides = None if box[0] is None else tuple(map(parameters.layout.flatten, box))
    area = _checked_limits(limits) if limits is not None else _area(np.concatenate(paths))
    values = _evaluate(fun, parameters, args, constraints, *_grid(area, sides))
    ax = axes_for(ax)
    looks = [style(len(ax.lines) + i) for i in range(len(paths))]
    edges = {"markeredgecolor": "white", "markeredgewidth": 0.7, "markersize": 6.5, "markevery": 1}
    lines = zip(paths, texts, looks, strict=True)
    draw(ax, [Line(path[:, 0], path[:, 1], text, {**look, **edges}) for path, text, look in lines])
    for path, look in zip(paths, looks, strict=True):
        end: dict[str, Any] = {"color": look["color"], "linestyle": "none", "zorder": 3}
        ax.plot(*path[0], marker="o", markersize=9, markerfacecolor="white", markeredgewidth=2, **end)
        ax.plot(*path[-1], marker="*", markersize=15, markeredgecolor="white", **end)
    _draw_loss(ax, values)
    _draw_infeasible(ax, values, area, sides)
    ax.set(xlim=area[0], ylim=area[1])
    x, y = _names(parameters)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if not ax.get_title() and not ax.get_title(loc="left"):
        ax.set_title("contours: loss", loc="left", fontsize="small")
    return ax


class _Values(NamedTuple):
    """The loss and the constraints on a grid."""

    x: Float64
    y: Float64
    loss: Float64
    """NaN outside of the bounds."""
    constraints: list[tuple[Float64, float, float]]
    """The values of each constraint, and their limits."""


def _iterates(result: Any, name: str) -> Float64:
    """The start and the iterates, [k, 2]."""
    found = result
    if not isinstance(result, (np.ndarray, list, tuple)):
        history = result if is_history(result) else getattr(result, "history", None)
        found = history["x"] if is_history(history) and "x" in history else getattr(result, "allvecs", None)
    if found is None:
        raise ValueError(
            f'{name} has no iterates: call minimize(..., history="x"); of a method that runs in SciPy collect them in '
            "a callback, and give an array [k, 2] with the start first."
        )
    path = np.asarray(found, np.float64)
    if path.ndim != 2 or path.shape[1] != 2 or not len(path):
        raise ValueError(
            f"{name} has iterates of shape {path.shape}: trajectory draws functions of two variables, with one row for "
            "the start and for each iterate."
        )
    return path


def _area(points: Float64) -> tuple[tuple[float, float], tuple[float, float]]:
    """What both axes show: the points, with a margin; neither is much longer than the other."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise ValueError("no iterate is finite: give limits to draw the loss.")
    low, high = points.min(axis=0), points.max(axis=0)
    extent = high - low
    extent = np.maximum(extent, max(extent.max() / 4, 1e-3 * np.abs(points).max(), 1e-12))
    half, middle = extent * (0.5 + _MARGIN), (low + high) / 2
    (a, b), (c, d) = np.stack([middle - half, middle + half], axis=1).tolist()
    return (a, b), (c, d)


def _checked_limits(limits: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    with contextlib.suppress(TypeError, ValueError):
        (a, b), (c, d) = np.asarray(limits, np.float64).tolist()
        if np.isfinite([a, b, c, d]).all() and a < b and c < d:
            return (a, b), (c, d)
    raise ValueError(f"limits is {limits!r}: give ((low, high), (low, high)), for the x-axis and the y-axis.")


def _grid(area: Any, sides: Any) -> tuple[Float64, Float64]:
    """The points of the grid along both axes: those within the bounds, and with these."""
    axes = []
    for i, (low, high) in enumerate(area):
        if sides is not None:
            low, high = max(low, sides[0][i]), min(high, sides[1][i])
        axes.append(np.linspace(low, high, _POINTS) if low < high else np.zeros(0))
    return axes[0], axes[1]


def _evaluate(
    fun: Callable[..., Any], parameters: Parameters, args: Any, constraints: Any, x: Float64, y: Float64
) -> _Values:
    """Evaluate the compiled functions on a grid."""
    fun, args = split_data(fun, args)
    checked = Constraints(constraints, parameters, "trust-constr") if has_constraints(constraints) else None
    program = Program(fun, parameters, None)
    lease = program.lease(program.arguments(args), checked)
    losses, values = [], []
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    try:
        evaluation = Evaluation(lease, has_gradient=False)
        for point in points:
            losses.append(evaluation.loss_and_gradient(point)[0])
            if checked is not None:
                values.append(evaluation.values(point))
    finally:
        lease.release()
    shape = len(y), len(x)
    return _Values(x, y, np.reshape(losses, shape), _limited(checked, lease.shapes, points, np.array(values), shape))


def _limited(
    checked: Constraints | None, shapes: Any, points: Float64, values: Float64, shape: tuple[int, int]
) -> list[tuple[Float64, float, float]]:
    """The values of each constraint on the grid, with their limits."""
    found: list[tuple[Float64, float, float]] = []
    column = 0
    for limits in () if checked is None else checked.limits(shapes):
        columns = _columns(limits, points, values, column)
        if limits.matrix is None:
            column += limits.low.size
        found += [
            (part.reshape(shape), float(low), float(high))
            for part, low, high in zip(columns, limits.low, limits.high, strict=True)
        ]
    return found


def _columns(limits: Limits, points: Float64, values: Float64, first: int) -> Sequence[Float64]:
    if limits.matrix is not None:
        return list(limits.matrix @ points.T)
    return list(values[:, first : first + limits.low.size].T)


def _draw_loss(ax: Axes, values: _Values) -> None:
    """Filled contours; their levels lie at quantiles, closer to each other where the loss is low."""
    finite = values.loss[np.isfinite(values.loss)]
    if not finite.size:
        return
    levels = np.unique(np.quantile(finite, np.linspace(0.0, 1.0, _LEVELS) ** 1.5))
    if len(levels) < 2:
        return
    loss = np.ma.masked_invalid(values.loss)
    ax.contourf(values.x, values.y, loss, levels=levels, cmap="Blues", alpha=0.6, norm="linear")
    contours = ax.contour(values.x, values.y, loss, levels=levels, colors=_GREY, linewidths=0.5)
    ax.clabel(contours, fontsize=7, fmt="%.3g")


def _draw_infeasible(ax: Axes, values: _Values, area: Any, sides: Any) -> None:
    """Grey where there is no feasible point, and the line around it; dashed lines for equalities."""
    grey: dict[str, Any] = {"facecolor": "#dddddd", "zorder": 1.1}
    line: dict[str, Any] = {"color": _GREY, "linewidth": 1.2, "zorder": 1.2}
    draws: list[tuple[Any, Any]] = [(ax.axvspan, ax.axvline), (ax.axhspan, ax.axhline)]
    for i, (span, border) in enumerate(draws):
        for side, end in () if sides is None else ((sides[0][i], area[i][0]), (sides[1][i], area[i][1])):
            if area[i][0] < side < area[i][1]:
                span(*sorted((side, end)), **grey)
                border(side, **line)
    slacks = [part - low for part, low, high in values.constraints if low < high and low > -np.inf]
    slacks += [high - part for part, low, high in values.constraints if low < high and high < np.inf]
    lines = [(part - low, "--") for part, low, high in values.constraints if low == high]
    if slacks:
        slack = np.min(slacks, axis=0)
        lines.append((slack, "-"))
        if slack.min(initial=0.0) < 0:
            shown: dict[str, Any] = {"colors": [grey["facecolor"]], "alpha": 0.8, "zorder": 1.1}
            ax.contourf(values.x, values.y, slack, levels=[slack.min(), 0.0], **shown)
    for part, dashes in lines:
        if part.min(initial=0.0) < 0 < part.max(initial=0.0):
            ax.contour(
                values.x, values.y, part, levels=[0.0], colors=[_GREY], linewidths=1.2, linestyles=dashes, zorder=1.2
            )


def _names(parameters: Parameters) -> tuple[str, str]:
    """The names of both variables."""
    names = [parameters.layout.name_of(i).removeprefix("variable ").strip("'").removesuffix(":0") for i in range(2)]
    return (names[0], names[1]) if names[0] != names[1] else ("x[0]", "x[1]")
