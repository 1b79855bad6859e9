"""convergence: how a solve went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfminimize._plot.axes import (
    Line,
    axes_for,
    checked_choice,
    checked_labels,
    count_in_integers,
    draw_in_scale,
    style,
)
from tfminimize._plot.histories import COLUMNS, History, histories_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["convergence"]

_AGAINST = {"iteration": "iteration", "nfev": "evaluations", "seconds": "time in s"}

_QUANTITIES = {
    "fun": "loss",
    "gradient_norm": "max norm of the projected gradient",
    "step": "Euclidean norm of the step",
    "nfev": "evaluations",
    "seconds": "time in s",
    "constr_violation": "greatest violation of a constraint",
}


def convergence(
    *results: Any,
    against: str = "iteration",
    quantity: str = "fun",
    minimum: float | None = None,
    labels: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how a quantity changes in the course of one or more solves.

    Parameters
    ----------
    *results : results or histories
        Results of ``minimize(..., history=True)`` or their ``history``; results of
        ``minimize_batch(..., history=True)``, whose problems have one look; what `tfminimize.keras.fit` returns.
    against : {"iteration", "nfev", "seconds"}
        What the x-axis shows: iterations, evaluations, or seconds since the start.
    quantity : {"fun", "gradient_norm", "step", "nfev", "seconds", "constr_violation"}
        What the y-axis shows; see ``history`` of `tfminimize.minimize`. Values that are not finite are left out, and so
        is the step to the start.
    minimum : float, optional
        Draw the loss minus this.
    labels : sequence of str, optional
        A name for each of the results. Default: their numbers, if there are several.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The y-axis is logarithmic if no value is negative and the values differ by more than a factor of 30. Then
        triangles at its lower edge stand for zeros.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        For a result without a history, and for names that are not known.

    Examples
    --------
    >>> def quartic(x):
    ...     return tf.reduce_sum((x - [1.0, 2.0]) ** 4)
    >>> results = [
    ...     tfm.minimize(quartic, np.zeros(2), method=m, history=True)
    ...     for m in ("L-BFGS-B", "BFGS")
    ... ]
    >>> ax = tfm.plot.convergence(
    ...     *results, quantity="gradient_norm", labels=["L-BFGS-B", "BFGS"]
    ... )
    >>> ax.get_xlabel(), ax.get_yscale()
    ('iteration', 'log')
    """
    against = checked_choice("against", against, tuple(_AGAINST))
    quantity = checked_choice("quantity", quantity, COLUMNS)
    if minimum is not None and (quantity != "fun" or not np.isfinite(minimum)):
        raise ValueError(f"minimum is {minimum!r}, and quantity {quantity!r}: give the least loss, for quantity='fun'.")
    if not results:
        raise ValueError("there is no result to draw: give one of minimize(..., history=True).")
    texts = checked_labels(labels, len(results))
    several = len(results) > 1
    groups = [histories_of(result, f"result {i + 1}" if several else "the result") for i, result in enumerate(results)]
    ax = axes_for(ax)
    first = len(ax.lines)
    lines = []
    for i, (histories, text) in enumerate(zip(groups, texts, strict=True)):
        look = {**style(first + i), **_faint(len(histories))}
        for j, history in enumerate(histories):
            line = _line(history, against, quantity, minimum)
            lines.append(line._replace(label=text if j == 0 else None, look=look))
    if not any(len(line.x) for line in lines):
        raise ValueError(f"no value of {quantity} is finite: there is nothing to draw.")
    draw_in_scale(ax, lines, prefers_log=quantity not in ("fun", "nfev", "seconds") or minimum is not None)
    if against != "seconds":
        count_in_integers(ax)
    ax.set_xlabel(_AGAINST[against])
    ax.set_ylabel(_QUANTITIES[quantity] if minimum is None else f"loss − {minimum:g}")
    return ax


def _line(history: History, against: str, quantity: str, minimum: float | None) -> Line:
    y = np.asarray(history[quantity], np.float64)
    x = np.arange(len(y), dtype=np.float64) if against == "iteration" else np.asarray(history[against], np.float64)
    keeps = np.isfinite(y)
    if quantity == "step":
        keeps[:1] = False
    return Line(x[keeps], y[keeps] - (minimum or 0.0))


def _faint(count: int) -> dict[str, Any]:
    """Lines of a batch cover each other."""
    return {} if count == 1 else {"linewidth": 0.8, "alpha": 0.6, "marker": None if count > 10 else "."}
