"""Together: one solve by all processes, which begins and ends in all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfminimize._distribute.communicator import Communicator, Float64, digest
from tfminimize._distribute.errors import LostError, PeerError
from tfminimize._tf.binding import _native

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Alike", "Together", "together"]


NUMBERS, CODES = 2, 12
"""How much two processes can tell each other and compare at once: a failed one must know it too."""


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

    With ``more`` there may be several steps, each a solve or a `share`, until a last `share`.

    Parameters
    ----------
    communicator : Communicator
    more : bool

    Attributes
    ----------
    num_sums : int
        How many sums there are.
    """

    def __init__(self, communicator: Communicator, *, more: bool = False) -> None:
        self._communicator = communicator
        self._more = more
        self._has_begun = self._has_told = False
        self._objective: _native.Reduced | None = None
        self._x: Float64 = np.empty(0)
        self._on_shared: Callable[[], object] | None = None
        self._shared: Float64 | None = None
        self.num_sums = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or self._has_told or self._communicator.is_lost:
            return
        objective = self._objective
        if objective is None or not self._has_begun or (self._more and self._has_concluded(objective)):
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

    def share(self, alike: Any, vector: Float64, *, is_last: bool = False) -> None:
        """Check that all processes have the same ``alike``, and take the vector of process 0."""

        def exchange() -> None:
            self._compare(alike)
            self._communicator.exchange_broadcast(vector)
            self._has_begun, self._has_told = False, is_last

        self._has_begun = False
        self._communicator.together(exchange)

    def share_after_iterations(self, vector: Float64, then: Callable[[], object]) -> None:
        """From the next solve on, add up a vector over all processes after each iteration, and call ``then()``.

        It is called after the callback of the solve; a true value stops the solve.
        """
        self._shared, self._on_shared = vector, then

    def begin(
        self,
        objective: _native.Objective,
        x: Float64,
        alike: Alike,
        *,
        rows: float,
        is_mean: bool,
        counts_rows: bool,
        num_sums: int,
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
        num_sums : int
            How many of the sums of the objective are added up; 0 for a share without rows.
        precision : float
            The rounding unit of this process's loss.

        Returns
        -------
        float
            The largest rounding unit of all processes.
        """

        def exchange() -> float:
            table = self._compare(alike, precision, num_sums)
            self.num_sums = int(table[:, 1].max())
            self._objective = _native.Reduced(
                objective,
                self._communicator.side_thread,
                self._communicator.exchange_sum,
                rank=self._communicator.rank,
                size=self._communicator.size,
                is_mean=is_mean,
                rows=rows,
                counts_rows=counts_rows,
                num_sums=self.num_sums,
                on_shared=self._on_shared,
                shared=self._shared,
            )
            self._communicator.exchange_broadcast(x)
            return float(table[:, 0].max())

        self._x, self._has_begun = x, False
        return self._communicator.together(exchange)

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

    @property
    def sums(self) -> Float64:
        """What the last evaluation has added up besides the loss, a copy."""
        assert self._objective is not None
        return self._objective.sums

    @staticmethod
    def _has_concluded(objective: _native.Reduced) -> bool:
        return objective.has_ended and not objective.has_failed

    def _compare(self, alike: Any, *numbers: float) -> Float64:
        """Raise unless all processes have the same; return the numbers of all, as rows. Each step begins with this."""
        row = np.zeros(1 + NUMBERS + CODES)
        row[1 : 1 + len(numbers)] = numbers
        codes = [digest(one if isinstance(one, bytes) else str(one).encode()) for one in alike]
        row[1 + NUMBERS : 1 + NUMBERS + len(codes)] = codes
        table = self._communicator.gather(row)
        self._has_begun = True
        failed, numbers_of_all, codes_of_all = np.split(table, [1, 1 + NUMBERS], axis=1)
        if failed.any():
            raise self._told("")
        different = np.argwhere(codes_of_all != codes_of_all[0])
        if len(different):
            self._has_told = True
            rank, place = different[0]
            texts = self._communicator.gather_texts(_shown(alike[place]))
            raise ValueError(
                f"process {rank} has {alike._fields[place]} {texts[rank]}, and process 0 has {texts[0]}: all processes "
                "must solve the same problem, and differ only in their data."
            )
        return numbers_of_all

    def _fail_to_begin(self, error: BaseException) -> None:
        """Take part in the comparison with which the next step begins, with nothing to compare."""
        self._has_begun = True
        self._communicator.gather(np.concatenate([[1.0], np.zeros(NUMBERS + CODES)]))
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


def together(
    communicator: Communicator | None, *, more: bool = False
) -> contextlib.AbstractContextManager[Together | None]:
    """The solve by all processes; None for a solve in this process alone."""
    return contextlib.nullcontext() if communicator is None else Together(communicator, more=more)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}\n{error}"


def _shown(value: Any) -> str:
    text = "of its own" if isinstance(value, bytes) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
