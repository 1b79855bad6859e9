"""The threads in which the solvers work on long vectors."""

from __future__ import annotations

import ctypes
import functools
import numbers
from typing import Any

from tfminimize._tf import binding
from tfminimize._tf.binding import _native

__all__ = ["checked_threads", "get_num_threads", "set_num_threads"]


def set_num_threads(num_threads: int | None) -> None:
    """Set the number of threads in which the solvers work, in the whole process, from now on.

    L-BFGS-B works on the vectors of problems with 100,000 variables or more in several threads of a pool, between two
    evaluations, and so do batches and blocks of a `DatasetLoss` as machine code. If several solves run at once, one of
    them uses the pool, and the others work in their own threads. A batch of problems solves so many at once, unless it
    is told otherwise. The results have the same bits with any number of threads. TensorFlow's threads are others; see
    `tf.config.threading`.

    Parameters
    ----------
    num_threads : int or None
        None: the cores that this process may use, by its affinity and the quota of its container. That is the default.

    Raises
    ------
    ValueError
        For anything else than an integer of at least 1, or None.

    Examples
    --------
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(None)
    """
    count = 0 if num_threads is None else checked_threads(num_threads)
    _native.set_num_threads(count)
    set_those_of_operations = _setter_of_operations()
    if set_those_of_operations is not None:
        set_those_of_operations(ctypes.c_size_t(count))


def get_num_threads() -> int:
    """The number of threads in which the solvers work; see `set_num_threads`.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    return int(_native.get_num_threads())


def checked_threads(num_threads: Any) -> int:
    """The same number; ValueError for what is no number of threads."""
    if isinstance(num_threads, bool) or not isinstance(num_threads, numbers.Integral) or num_threads < 1:
        raise ValueError(f"num_threads is {num_threads!r}: give an integer, 1 or greater, or None for all cores.")
    return min(int(num_threads), _MOST)


_MOST = 1 << 16
"""No machine has more cores."""


@functools.cache
def _setter_of_operations() -> Any:
    """The function of the library of graph operations that sets its number; None if it cannot be loaded."""
    try:
        binding.ops()
    except ImportError:
        return None
    return ctypes.CDLL(str(binding.OPERATIONS)).tfminimize_set_num_threads
