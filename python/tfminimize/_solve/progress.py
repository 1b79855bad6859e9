"""Progress: a line on the terminal that changes while a solve runs, or a line now and then in a file."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Progress", "Sight"]

_FIRST = 1.0
"""Where the output is no terminal, the first line comes after so many seconds, and each next one when the solve has
taken twice as long ..."""

_LONGEST_WAIT = 60.0
"""... or so many seconds later."""

_SPAN = 1.0
"""The rate of evaluations is that of the last second or so."""


class Sight(NamedTuple):
    """What can be seen of a solve."""

    nit: int
    nfev: int
    fun: float
    """At the last iterate; NaN before the start is evaluated."""
    gradient_norm: float
    """There; NaN if it is not known."""


class Progress:
    """Shows how far a solve has come, from now on until `end`.

    Parameters
    ----------
    maxiter : int or None
        The limit of the iterations, if it is known.
    nfev : int
        The evaluations before.
    """

    def __init__(self, maxiter: Any = None, nfev: int = 0) -> None:
        import rich  # not needed without progress

        self._console = rich.get_console()
        self._limit = f"/{maxiter}" if isinstance(maxiter, int) and maxiter < 10**6 else ""
        self._sight = Sight(0, nfev, math.nan, math.nan)
        self._first_nfev = nfev
        self._begin = time.perf_counter()
        self._rate = 0.0
        self._mark = 0.0, nfev
        self._next = _FIRST
        self._live = self._start_live()

    def see(self, sight: Sight) -> None:
        """Show this; may be called as often as one likes."""
        self._sight = sight
        elapsed = time.perf_counter() - self._begin
        since, nfev = self._mark
        if elapsed - since >= _SPAN or not self._rate:
            self._rate = (sight.nfev - nfev) / max(elapsed - since, 1e-9)
        if elapsed - since >= _SPAN:
            self._mark = elapsed, sight.nfev
        if self._live is None and elapsed >= self._next:
            self._next = elapsed + min(elapsed, _LONGEST_WAIT)
            self._print(self._line())

    def end(self, result: Mapping[str, Any] | None, message: str) -> None:
        """Show the last line: what the solve has come to, or how far it had come when it failed, and why it ended."""
        if result is not None:
            last = {name: result[name] for name in Sight._fields if isinstance(result.get(name), Real)}
            self._sight = self._sight._replace(**last)
        elapsed = max(time.perf_counter() - self._begin, 1e-9)
        self._rate = (self._sight.nfev - self._first_nfev) / elapsed
        if self._live is not None:
            self._live.stop()
        else:
            self._print(self._line())
        self._print(message)

    def _start_live(self) -> Live | None:
        """A line that is drawn again ten times a second, by a thread; None where that is impossible."""
        from rich.errors import LiveError
        from rich.live import Live
        from rich.text import Text

        if not self._console.is_terminal and not self._console.is_jupyter:
            return None
        if self._console.is_dumb_terminal:
            return None

        def draw() -> Text:
            return Text(self._line(), no_wrap=True, overflow="ellipsis")

        live = Live(console=self._console, get_renderable=draw, refresh_per_second=10)
        try:
            live.start()
        except LiveError:  # the user, or another solve, has one
            return None
        return live

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _line(self) -> str:
        sight, elapsed = self._sight, time.perf_counter() - self._begin
        parts = [f"iteration {sight.nit}{self._limit}", f"loss {sight.fun:.6g}"]
        if not math.isnan(sight.gradient_norm):
            parts.append(f"gradient {sight.gradient_norm:.1e}")
        parts += [f"{_short(self._rate)} evaluations/s", _duration(elapsed)]
        return ", ".join(parts)


def _short(rate: float) -> str:
    """A number in at most five characters, such as 12.3k.

    Examples
    --------
    >>> [_short(rate) for rate in (0.123, 12.34, 999.9, 12345.0, 1.2e7)]
    ['0.12', '12', '1.00k', '12k', '12M']
    """
    for unit in ("", "k", "M", "G"):
        if rate < 999.5 or unit == "G":
            digits = max(0, 1 - math.floor(math.log10(rate))) if rate > 0 else 0
            return f"{rate:.{min(digits, 2)}f}{unit}"
        rate /= 1000.0
    raise AssertionError


def _duration(seconds: float) -> str:
    """A time.

    Examples
    --------
    >>> [_duration(seconds) for seconds in (0.00123, 1.234, 12.34, 123.4, 12345.0)]
    ['1.23 ms', '1.2 s', '12.3 s', '2:03 min', '3:25:45']
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds * 1e3:.3g} ms"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"
