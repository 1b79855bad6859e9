"""Axes to draw on, and how lines look: in colours that colour-blind people can tell apart, with dashes and markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Line",
    "as_list",
    "axes_for",
    "checked_choice",
    "checked_labels",
    "count_in_integers",
    "draw",
    "draw_in_scale",
    "style",
]

Float64 = NDArray[np.float64]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito, Color Universal Design, 2008; without yellow, which is hard to see on white."""

_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_MARKS = 10
"""A line has so many markers, or one at each point if it has fewer."""

_WIDE = 30.0
"""An axis is logarithmic if the greatest value on it is more than this many times the least."""


class Line(NamedTuple):
    """A line to draw."""

    x: Float64
    y: Float64
    label: str | None = None
    """None leaves it out of the legend."""
    look: Mapping[str, Any] = MappingProxyType({})
    """Other than its `style` says."""


def axes_for(ax: Any) -> Axes:
    """The axes given, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If ``ax`` is something else.
    """
    try:
        import matplotlib.axes
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(
            f"tfminimize.plot needs matplotlib, which could not be imported ({error}): run `pip install matplotlib`, "
            "or install the extra, 'tfminimize[plot]'."
        ) from error
    if ax is None:
        return matplotlib.pyplot.subplots(layout="constrained")[1]
    if not isinstance(ax, matplotlib.axes.Axes):
        raise ValueError(f"ax is a {type(ax).__name__}: give matplotlib Axes, such as plt.subplots()[1], or None.")
    return ax


def checked_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """The value; ValueError unless it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}: give one of {', '.join(map(repr, choices))}.")
    return value


def as_list(labels: Any) -> list[str]:
    """One text or several, as a list."""
    return [labels] if isinstance(labels, str) else [str(label) for label in labels]


def checked_labels(labels: Any, count: int) -> list[str | None]:
    """A label for each of ``count`` things; by default their numbers, and None for a single one."""
    if labels is None:
        return [None] if count == 1 else [str(i + 1) for i in range(count)]
    given = as_list(labels)
    if len(given) != count:
        raise ValueError(f"labels has {len(given)} texts for {count} results: give one for each.")
    return list(given)


def style(index: int) -> dict[str, Any]:
    """The look of line number ``index`` of some axes."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _DASHES[index % len(_DASHES)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 4.5,
    }


def draw(ax: Axes, lines: Sequence[Line]) -> None:
    """Draw lines that look different, also from those that are there already, and a legend of their labels."""
    first = len(ax.lines)
    for i, line in enumerate(lines):
        marks = np.linspace(0, len(line.x) - 1, min(_MARKS, len(line.x))).round().astype(int)
        look = {**style(first + i), "markevery": marks.tolist(), **line.look}
        ax.plot(line.x, line.y, label=line.label, **look)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(framealpha=0.9)


def count_in_integers(ax: Axes) -> None:
    """Let the x-axis, which counts something, have ticks at integers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_in_scale(ax: Axes, lines: Sequence[Line], prefers_log: bool) -> None:
    """Draw lines on a logarithmic axis if no value is negative and they differ much, or this is preferred.

    Zeros have no place on it: triangles at its lower edge stand for them.
    """
    values = np.concatenate([line.y for line in lines])
    positive = values[values > 0]
    is_wide = bool(positive.size) and (prefers_log or positive.max() > _WIDE * positive.min())
    if not (values < 0).any() and is_wide and (not ax.lines or ax.get_yscale() == "log"):
        ax.set_yscale("log")
        first = len(ax.lines)
        draw(ax, [line._replace(x=line.x[line.y > 0], y=line.y[line.y > 0]) for line in lines])
        for i, line in enumerate(lines):
            at_zero = line.x[line.y == 0]
            if at_zero.size:
                colour = line.look.get("color", style(first + i)["color"])
                look = {"color": colour, "linestyle": "none", "marker": "v", "clip_on": False}
                ax.plot(at_zero, np.zeros(len(at_zero)), transform=ax.get_xaxis_transform(), **look)
    else:
        draw(ax, lines)
