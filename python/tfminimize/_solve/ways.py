"""Ways: how one function can be evaluated, of which the fastest is found out by measurement."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from tfminimize._tf import xla
from tfminimize._tf.background import Job
from tfminimize._tf.binding import _native
from tfminimize._trace.trace import Backend, Steps, Trace

__all__ = ["Way", "Ways"]

_PATIENCE = 5.0
"""To trace a function again, evaluations must have taken so many times as long as the first trace."""


class Way(NamedTuple):
    """One way to evaluate a function."""

    trace: Trace
    name: str
    use_thread_pool: bool = True
    """Whether large machine code runs in several threads."""


class _NoOtherWay(Exception):
    """Says why the graph is the only way."""


class Ways:
    """The ways to evaluate one function, and the race between them.

    TensorFlow's graph is there from the beginning. XLA compiles the function in the background meanwhile. Machine code
    that is ready joins the race: in one thread, and in several. For a function with loops or branches, and for data
    that are cut into batches, TensorFlow makes other graphs for XLA; the function is traced again for these, once
    that is a small part of all the time that its evaluations have taken. No user's code runs in another thread.

    Safe to use from several threads.

    Parameters
    ----------
    graph : Trace
        Without XLA.
    for_xla : callable
        Returns a trace for XLA and its steps, see `Trace.in_steps`.
    warm_up : callable
        ``warm_up(trace)`` evaluates it once, in memory of its own.

    Attributes
    ----------
    race : _native.Race
    ways : list of Way
        In the order of the race.
    is_complete : bool
        Whether no other way will come.
    """

    def __init__(
        self, graph: Trace, for_xla: Callable[[], tuple[Trace, Steps]], warm_up: Callable[[Trace], Any]
    ) -> None:
        self.race = _native.Race()
        self.race.add()
        self.ways = [Way(graph, "TensorFlow's graph")]
        self.is_complete = False
        self.trace_seconds = 0.0
        self._reason = "; XLA has not been tried yet, as the evaluations have taken little time"
        self._for_xla = for_xla
        self._warm_up = warm_up
        self._lock = threading.Lock()
        self._steps = self._others()
        self._job: Job | None = None
        self._settled: dict[bool, Backend] = {}
        self._errors: dict[int, str] = {}

    @property
    def graph(self) -> Trace:
        return self.ways[0].trace

    def attend(self) -> None:
        """Go on with making the other ways, if it is time."""
        if self.is_complete or not self.race.is_due or not self._lock.acquire(blocking=False):
            return
        begin = time.perf_counter()
        try:
            self._go_on()
        except BaseException:  # such as Ctrl-C
            self._end("; its trace for XLA was interrupted")
            raise
        finally:
            self.trace_seconds += time.perf_counter() - begin
            self._lock.release()

    def taken_trace_seconds(self) -> float:
        """The time of tracing since the last call."""
        seconds, self.trace_seconds = self.trace_seconds, 0.0
        return seconds

    def is_settled(self, in_batch: bool = False) -> bool:
        """Whether no other way will come, and it is known which of them is the fastest."""
        return self.is_complete and self.race.report(in_batch)[1]

    def backend(self, in_batch: bool = False) -> Backend:
        """The way that is the fastest so far, with the times of all."""
        if in_batch in self._settled:
            return self._settled[in_batch]
        fastest, is_settled, seconds = self.race.report(in_batch)
        way = self.ways[fastest]
        timed = [(t, w.name) for t, w in zip(seconds, self.ways, strict=False) if math.isfinite(t)]
        if len(timed) > 1:
            times = ", ".join(f"{name} {_microseconds(t)}" for t, name in sorted(timed))
            reason = f"jit_compile is 'auto', and this was the fastest{'' if is_settled else ' so far'}: {times}"
        else:
            reason = f"jit_compile is 'auto': {way.name}"
        about_it = way.trace.backend.reason.partition("; ")[2]
        reason += f"; {about_it}" if about_it else ""
        backend = way.trace.backend._replace(reason=reason + self._reason + self._refused())
        if is_settled and self.is_complete:
            self._settled[in_batch] = backend
        return backend

    def refuse(self, number: int, error: Exception) -> None:
        """Do without a way that cannot be used."""
        self._errors[number] = f"{type(error).__name__}: {_first_line(error)}"
        self.race.refuse(number)

    def _refused(self) -> str:
        reasons = ""
        for i, way in enumerate(self.ways):
            if i in self._errors:
                reasons += f"; {way.name} is not used: {self._errors[i]}"
            elif self.race.is_refused(i):
                reasons += f"; {way.name} is not used, because its results do not agree with those of the graph"
        return reasons

    def _end(self, reason: str) -> None:
        self._reason = reason
        self._job, self.is_complete = None, True
        self._steps.close()
        del self._for_xla, self._warm_up  # they hold data

    def _go_on(self) -> None:
        job = self._job
        if job is not None and not job.has_ended:
            self.race.attended()
            return
        self.race.attended()
        try:
            if job is None:
                step = next(self._steps)
            else:
                self._job = None
                try:
                    result = job.result()
                except Exception as error:
                    step = self._steps.throw(error)
                else:
                    step = self._steps.send(result)
        except StopIteration:
            self._end("")
        except (_NoOtherWay, xla.NotCompiled, xla.NotCompilable) as error:
            self._end(f"; {error}")
        except Exception as error:  # the function may raise anything when it is traced for XLA
            self._end(f"; its trace for XLA raised {type(error).__name__}: {_first_line(error)}")
        else:
            if isinstance(step, float):
                self.race.wait(step)
            else:
                self._reason = "; XLA is still compiling the function"
                self._job = Job(step, self.race.call)

    def _join(self, *ways: Way) -> None:
        for way in ways:
            self.ways.append(way)
            self.race.add()

    def _others(self) -> Generator[Any, Any, None]:
        """Make the other ways: yields what is to run in the background, or after how many seconds to go on."""
        graph = self.graph
        if graph.reads_dataset:
            raise _NoOtherWay("TensorFlow reads the tf.data.Dataset")
        for function in graph.traced:
            xla.check_alike(function)
        if graph.is_plain:
            try:
                self._join_machine_code((yield from graph.machine_code()))
                return
            except xla.NotCompiled:  # but TensorFlow may call what XLA compiles
                pass
        yield _PATIENCE * graph.seconds
        trace, steps = self._for_xla()
        yield from steps
        if trace.backend.name == "xla":
            self._join_machine_code(trace)
        else:
            yield lambda: self._warm_up(trace)
            self._join(Way(trace, f"XLA through TensorFlow ({trace.backend.reason})"))

    def _join_machine_code(self, trace: Trace) -> None:
        if trace.batches is not None:
            kind = f"blocks of {trace.batches.size} rows" if trace.batches.are_blocks else "each batch"
            self._join(Way(trace, f"machine code for {kind}"))
        else:
            self._join(Way(trace, "machine code in one thread", False), Way(trace, "machine code in several"))


def _microseconds(seconds: float) -> str:
    """A time for people.

    Examples
    --------
    >>> _microseconds(1.234e-7), _microseconds(2.5e-4), _microseconds(0.0123)
    ('0.12 µs', '250 µs', '12.3 ms')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size * 9.5 or (seconds >= size and unit == "s"):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.2g} µs" if seconds < 1e-5 else f"{seconds * 1e6:.0f} µs"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else ""
