"""Warnings that point at the user's line, however deep in the package they arise."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

_PACKAGES = ("scipy", "tensorflow", "tfminimize")


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line outside of tfminimize, TensorFlow and SciPy.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("The step is small.", UserWarning)
    >>> str(caught[0].message)
    'The step is small.'
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _PACKAGES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
