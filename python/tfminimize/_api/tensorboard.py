"""TensorBoard: a callback that writes the course of a solve for TensorBoard."""

from __future__ import annotations

import importlib.util
import math
import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfminimize._problem.callback import UserCallback, tell_end, wants_state_at_end
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.state import State

__all__ = ["TensorBoard"]


class TensorBoard:
    """A callback that writes loss, gradient norm and evaluations of every iteration for TensorBoard.

    It writes one file for each solve, into the same folder, and closes it when the solve ends, fails or is interrupted.
    Its steps are iterations. A method of SciPy's without a gradient has no gradient norm there. (For a fit of Keras,
    `keras.callbacks.TensorBoard` knows metrics and weights too.)

    Parameters
    ----------
    log_dir : str or path
        The folder, which is made if it is not there.
    every : int, default 1
        Iterations between two points. A point takes about 0.3 ms.
    callback : callable, optional
        Called after each iteration too, as `minimize` calls a callback. A method ``on_end(state, error)`` gets no state
        here: put a `Checkpoint` around this callback, not into it.

    Raises
    ------
    ImportError
        If TensorBoard is not installed, which makes the summaries.
    ValueError
        If ``log_dir`` is a file, or ``every`` is no positive integer.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = tfm.minimize(
    ...         lambda x: tf.reduce_sum((x - 1.0) ** 4),
    ...         np.zeros(3),
    ...         callback=tfm.TensorBoard(folder),
    ...     )
    ...     files = os.listdir(folder)
    >>> len(files)
    1
    """

    writes_files = True

    def __init__(
        self, log_dir: str | os.PathLike[str], every: Any = 1, callback: Callable[..., Any] | None = None
    ) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError("TensorBoard makes the summaries and is not installed: run `pip install tensorboard`.")
        self._path = Path(log_dir).absolute()
        if isinstance(every, bool) or not isinstance(every, numbers.Integral) or every < 1:
            raise ValueError(f"every is {every!r}: give the number of iterations between two points, 1 or greater.")
        if self._path.exists() and not self._path.is_dir():
            raise ValueError(f"log_dir is {str(self._path)!r}, a file: give the name of a folder.")
        if callback is not None and wants_state_at_end(callback):
            raise ValueError(
                "callback has a method on_end that gets a state, and TensorBoard has none: turn them round, as in "
                "tfm.Checkpoint(path, callback=tfm.TensorBoard(log_dir))."
            )
        self._every = int(every)
        self._callback = callback
        self._user_callback = None if callback is None else UserCallback(callback)
        self._writer: Any = None
        self._count = 0

    def __call__(self, intermediate_result: OptimizeResult) -> None:
        """Write a point if it is due, and call the user's callback."""
        self._count += 1
        step = int(intermediate_result.get("nit", self._count))
        if self._count % self._every == 0:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._path))
            with self._writer.as_default(step=step):
                tf.summary.scalar("loss", intermediate_result.fun)
                for name in ("gradient_norm", "nfev"):
                    value = float(intermediate_result.get(name, math.nan))
                    if not math.isnan(value):
                        tf.summary.scalar(name, value)
        if self._user_callback is not None and self._user_callback.pass_on(intermediate_result):
            raise StopIteration

    def on_end(self, error: BaseException | None) -> None:
        """Close the file."""
        self._count = 0
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        finally:
            tell_end(self._callback, State, error)  # one that wants a state was refused
