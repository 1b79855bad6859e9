"""fit: how a fit of a Keras model went."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from tfminimize._plot.axes import Line, as_list, axes_for, checked_labels, count_in_integers, draw_in_scale, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["fit"]


def fit(
    *histories: Any, metrics: Any = "loss", labels: Any = None, validation_freq: Any = 1, ax: Axes | None = None
) -> Axes:
    """Draw how the loss or metrics of Keras models change from epoch to epoch, with dashes for validation data.

    Parameters
    ----------
    *histories : keras.callbacks.History
        What `tfminimize.keras.fit`, or the ``fit`` of any model, returns.
    metrics : str or sequence of str, default "loss"
        What to draw: names in ``history.history``, without ``val_``.
    labels : sequence of str, optional
        A name for each of the histories. Default: their numbers, if there are several.
    validation_freq : int or sequence of int, default 1
        That of the fits; a history does not say in which epochs the model was validated.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The y-axis is logarithmic if no value is negative and the values differ by more than a factor of 30.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        For something that is not a history, or a metric that it does not have.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> history = tfm.keras.fit(
    ...     model, X, X @ [1.0, 2.0] + 3.0, validation_split=0.2, verbose=0
    ... )
    >>> ax = tfm.plot.fit(history)
    >>> [line.get_label() for line in ax.lines], ax.get_xlabel()
    (['loss', 'loss, validation'], 'epoch')
    """
    names = as_list(metrics)
    if not histories or not names:
        raise ValueError("there is nothing to draw: give a history of Keras, and metrics.")
    if isinstance(validation_freq, numbers.Integral) and validation_freq < 1:
        raise ValueError(f"validation_freq is {validation_freq!r}: give a number of epochs, 1 or greater, or a list.")
    texts = checked_labels(labels, len(histories))
    for i, history in enumerate(histories):
        _check(history, names, f"history {i + 1}" if len(histories) > 1 else "history")
    ax = axes_for(ax)
    first = len(ax.lines)
    lines = []
    curves = [(h, text, name) for h, text in zip(histories, texts, strict=True) for name in names]
    for i, (history, text, name) in enumerate(curves):
        label = ", ".join(filter(None, [text, name]))
        for prefix, suffix, dashes in (("", "", "-"), ("val_", ", validation", "--")):
            values = history.history.get(prefix + name)
            if values is not None:
                x, y = _points(history, name, values, validation_freq if prefix else 1)
                lines.append(Line(x, y, label + suffix, {**style(first + i), "linestyle": dashes}))
    draw_in_scale(ax, lines, prefers_log=False)
    count_in_integers(ax)
    ax.set_xlabel("epoch")
    ax.set_ylabel(", ".join(names))
    return ax


def _points(history: Any, name: str, values: Any, freq: Any) -> tuple[Any, Any]:
    """The number of epochs after which there is a value, from 1 on, and the values."""
    epochs = np.asarray(history.epoch, np.float64) + 1
    epochs = epochs[epochs % freq == 0 if isinstance(freq, numbers.Integral) else np.isin(epochs, freq)]
    y = np.asarray(values, np.float64)
    if len(y) != len(epochs):
        raise ValueError(
            f"the history has {len(y)} values of {name!r} for validation, but there are {len(epochs)} epochs with "
            f"validation_freq={freq!r}: give the validation_freq of the fit."
        )
    keeps = np.isfinite(y)
    return epochs[keeps], y[keeps]


def _check(history: Any, names: list[str], name: str) -> None:
    values = getattr(history, "history", None)
    if not isinstance(values, dict) or not hasattr(history, "epoch"):
        raise ValueError(
            f"{name} is a {type(history).__name__}: give what fit of a Keras model returns; for a result of minimize "
            "there is tfminimize.plot.convergence."
        )
    if not history.epoch:
        raise ValueError(f"{name} has no epochs: there is nothing to draw.")
    known = [key for key in values if not key.startswith("val_")]
    for wanted in names:
        if wanted not in known:
            raise ValueError(f"{name} has no {wanted!r}: choose from {', '.join(map(repr, known))}.")
