"""Checkpoint: a callback that saves the state of a solve, so that a solve that dies can go on."""

from __future__ import annotations

import numbers
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfminimize._problem.callback import UserCallback, tell_end
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.state import State
from tfminimize._tf.warning import warn

__all__ = ["Checkpoint"]


class Checkpoint:
    """A callback that saves the state every so many iterations, and when the solve ends, fails or is interrupted.

    A thread writes the file, so the solve waits only until the state is copied. If the last save is not done when the
    next one is due, that one waits for the first iteration after it.

    Parameters
    ----------
    path : str or path
        The file, which `State.save` replaces each time. Its folder must be there.
    every : int, default 50
        Iterations between two saves.
    callback : callable, optional
        Called after each iteration too, as `minimize` calls a callback.

    Raises
    ------
    ValueError
        If the folder is not there, or ``every`` is no positive integer.
    OSError
        In the solve, at the first iteration after a save that failed, or at the end. The file that was there before is
        still whole. If the solve itself fails, there is a `RuntimeWarning` instead.

    Examples
    --------
    >>> import tempfile
    >>> def quartic(x):
    ...     return tf.reduce_sum((x - [1.0, 2.0]) ** 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = tfm.Checkpoint(f"{folder}/fit.npz", every=5)
    ...     result = tfm.minimize(
    ...         quartic, np.zeros(2), callback=checkpoint, options={"maxiter": 8}
    ...     )
    ...     tfm.minimize(
    ...         quartic, np.zeros(2), state=tfm.State.load(f"{folder}/fit.npz")
    ...     ).nit > 8
    True
    """

    writes_files = True

    def __init__(
        self, path: str | os.PathLike[str], every: Any = 50, callback: Callable[..., Any] | None = None
    ) -> None:
        self._path = Path(path).absolute()
        if isinstance(every, bool) or not isinstance(every, numbers.Integral) or every < 1:
            raise ValueError(f"every is {every!r}: give the number of iterations between two saves, 1 or greater.")
        if not self._path.parent.is_dir():
            raise ValueError(f"the folder {self._path.parent} is not there: make it before the solve.")
        if self._path.is_dir():
            raise ValueError(f"path is {str(self._path)!r}, a folder: give the name of a file.")
        self._every = int(every)
        self._callback = callback
        self._user_callback = None if callback is None else UserCallback(callback)
        self._since = 0
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def __call__(self, intermediate_result: OptimizeResult) -> None:
        """Save if it is due, and call the user's callback."""
        self._raise_error()
        self._since += 1
        if self._since >= self._every and (self._thread is None or not self._thread.is_alive()):
            self._since = 0
            self._thread = threading.Thread(target=self._save, args=(intermediate_result.state,))
            self._thread.start()
        if self._user_callback is not None and self._user_callback.pass_on(intermediate_result):
            raise StopIteration

    def on_end(self, state: State, error: BaseException | None) -> None:
        """Save the last state, and wait until it is on the disk."""
        try:
            self._save_last(state, error)
        finally:
            tell_end(self._callback, lambda: state, error)

    def _save_last(self, state: State, error: BaseException | None) -> None:
        self._since = 0
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if error is None:
            self._raise_error()
        self._save(state)
        if error is not None and self._error is not None:
            warn(f"The state could not be saved to {self._path}: {self._error}", RuntimeWarning)
            self._error = None
        self._raise_error()

    def _save(self, state: State) -> None:
        try:
            state.save(self._path)
        except Exception as error:
            self._error = error

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
