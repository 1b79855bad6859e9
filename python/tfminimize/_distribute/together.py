"""Together: one solve by all processes, which begins and ends in all of them."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfminimize._distribute.communicator import Communicator, Float64, digest
from tfminimize._distribute.errors import LostError, PeerError
from tfminimize._tf.binding import _native

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Alike", "Together", "together"]


class Alike(NamedTuple):
    """What must be the same in all processes of a solve; bytes, or something whose `str` says all."""

    version: str
    """Of tfminimize."""
    method: str
    x0: Any
    """Shapes and dtypes."""
    bounds: Any
    constraints: Any
    options: Any
    loss: Any
    """Reduction, and whether there is a penalty."""
    history: bool | str
    state: Any
    """That the solve goes on from, or warm_start."""


class Together:
    """One solve by all processes. It is a context manager around all that the solve does in this process.

    An exception that leaves it before the solve has ended ends the solve in all processes, and the others raise
    `PeerError`.

    1. `begin`: all see that they solve the same problem, and process 0 gives its x to all.
    2. `drive`: the solve itself, see ``cpp/objectives/reduced.h``. All evaluate the same x and get the same sums.
    3. After an exception, the others learn from whom it came, and what it says.

    Parameters
    ----------
    communicator : Communicator
    """

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator
        self._has_begun = self._has_told = False
        self._objective: _native.Reduced | None = None
        self._x: Float64 = np.empty(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or self._has_told or self._communicator.is_lost:
            return
        objective = self._objective
        if objective is None or not self._has_begun:
            with contextlib.suppress(LostError):
                self._communicator.together(lambda: self._fail_to_begin(error))
            return
        if not objective.rounds:
            with contextlib.suppress(type(error), LostError):
                objective.fail(error, self._x)
        if objective.has_failed:
            self._tell(error)
        elif not objective.has_ended:
            self._communicator.abort(str(error))

    def begin(
        self,
        objective: _native.Objective,
        x: Float64,
        alike: Alike,
        *,
        rows: float,
        is_mean: bool,
        counts_rows: bool,
        precision: float,
    ) -> float:
        """Check that all solve the same problem, and take the x of process 0.

        Parameters
        ----------
        objective : _native.Objective
            That of this process's share.
        x : ndarray
            The start, which is written to.
        alike : Alike
        rows : float
            Of this process's share; if ``counts_rows``, each evaluation counts them.
        is_mean : bool
            Whether the loss is a mean over rows.
        precision : float
            The rounding unit of this process's loss.

        Returns
        -------
        float
            The largest rounding unit of all processes.
        """
        self._x = x
        self._objective = _native.Reduced(
            objective,
            self._communicator.side_thread,
            self._communicator.exchange_sum,
            rank=self._communicator.rank,
            size=self._communicator.size,
            is_mean=is_mean,
            rows=rows,
            counts_rows=counts_rows,
        )
        return self._communicator.together(lambda: self._begin(alike, precision))

    def drive(self, solver: Any, *args: Any) -> Any:
        """Run the solver in all processes, as ``_native.drive`` does in one."""
        objective = self._objective
        assert objective is not None
        try:
            return _native.drive(solver, objective, *args)
        except BaseException as error:
            if not objective.has_failed:
                raise
            peer = self._tell(error)
            if peer is not None and isinstance(error, _native.PeerFailed):
                raise peer from None
            raise

    def _begin(self, alike: Alike, precision: float) -> float:
        codes = [digest(one if isinstance(one, bytes) else str(one).encode()) for one in alike]
        table = self._communicator.gather(np.array([0.0, precision, *codes]))
        self._has_begun = True
        if table[:, 0].any():
            raise self._told("")
        different = np.argwhere(table[:, 2:] != table[0, 2:])
        if len(different):
            self._has_told = True
            rank, place = different[0]
            texts = self._communicator.gather_texts(_shown(alike[place]))
            raise ValueError(
                f"process {rank} has {alike._fields[place]} {texts[rank]}, and process 0 has {texts[0]}: all processes "
                "must solve the same problem, and differ only in their data."
            )
        self._communicator.exchange_broadcast(self._x)
        return float(table[:, 1].max())

    def _fail_to_begin(self, error: BaseException) -> None:
        """Take part in the first exchange, without a problem to solve."""
        self._has_begun = True
        self._communicator.gather(np.concatenate([[1.0], np.zeros(1 + len(Alike._fields))]))
        self._told(_text(error))

    def _tell(self, error: BaseException) -> PeerError | None:
        """What `_told` returns; None if another process is lost meanwhile, which does not matter any more."""
        text = "" if isinstance(error, _native.PeerFailed) else _text(error)
        try:
            return self._communicator.together(lambda: self._told(text))
        except LostError:
            return None

    def _told(self, text: str) -> PeerError:
        """Tell the others the text of this process's error, if it has one, and return that of the first to fail."""
        self._has_told = True
        texts = self._communicator.gather_texts(text)
        rank = next(i for i, one in enumerate(texts) if one)
        return PeerError(rank, *texts[rank].split("\n", 1))


SHOWN = 100
"""How many characters of a condition a message shows."""


def together(communicator: Communicator | None) -> contextlib.AbstractContextManager[Together | None]:
    """The solve by all processes; None for a solve in this process alone."""
    return contextlib.nullcontext() if communicator is None else Together(communicator)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}\n{error}"


def _shown(value: Any) -> str:
    text = "of its own" if isinstance(value, bytes) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
