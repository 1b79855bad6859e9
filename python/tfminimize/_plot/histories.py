"""The histories in what users have: results, batches and fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.result import BatchResult, Histories

__all__ = ["COLUMNS", "histories_of", "history_of", "is_history", "num_variables"]

History = Mapping[str, NDArray[Any]]

COLUMNS = ("fun", "gradient_norm", "step", "nfev", "seconds", "constr_violation")
"""What a history has."""


def histories_of(given: Any, name: str) -> list[History]:
    """The histories of a result, of all problems of a batch, or of a fit by `tfminimize.keras.fit`.

    Parameters
    ----------
    name : str
        How messages call it.

    Raises
    ------
    ValueError
        If there are none.
    """
    if is_history(given):
        return [given]
    if isinstance(given, Histories):
        return list(given)
    result = getattr(given, "result", given)  # a History of Keras has the solver's result
    history = getattr(result, "history", None)
    if is_history(history):
        return [{column: np.asarray(history[column]) for column in history}]
    if isinstance(history, Histories):
        return list(history)
    raise ValueError(f"{name} is a {type(given).__name__} without a history: {_remedy(given)}.")


def history_of(given: Any, name: str) -> History:
    """The history of a single solve."""
    found = histories_of(given, name)
    if len(found) != 1:
        raise ValueError(f"{name} has the histories of {len(found)} problems: give a single one.")
    return found[0]


def num_variables(result: Any, name: str) -> int:
    """The number of variables of a result."""
    if not hasattr(result, "x"):
        raise ValueError(f"{name} is a {type(result).__name__} without x, so the number of variables is not known.")
    import tensorflow as tf

    return sum(np.size(leaf) for leaf in tf.nest.flatten(result.x))


def is_history(given: Any) -> TypeGuard[History]:
    """Whether this is the record of a solve."""
    return isinstance(given, Mapping) and not hasattr(given, "x") and all(column in given for column in COLUMNS)


def _remedy(given: Any) -> str:
    if isinstance(given, BatchResult):
        return "call minimize_batch(..., history=True)"
    if hasattr(given, "epoch") and hasattr(given, "history"):
        return "tfminimize.plot.fit draws a fit of Keras by any optimizer"
    return "give a result of minimize(..., history=True) by 'L-BFGS-B', 'SLSQP' or 'BFGS', or its history"
