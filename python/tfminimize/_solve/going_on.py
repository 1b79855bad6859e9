"""Going on: the state of a solve for its result, and solves that begin with a state."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.constraint_rows import Rows
from tfminimize._problem.layout import Layout
from tfminimize._problem.native_methods import NATIVE_METHODS, NATIVE_NAMES, NativeMethod
from tfminimize._problem.state import Conditions, State
from tfminimize._tf.binding import _native
from tfminimize._tf.warning import warn

__all__ = ["AT_THE_START", "Begin", "Circumstances", "Source", "checked_begin"]

Float64 = NDArray[np.float64]

_OUTCOME = "status", "message", "fun", "nit", "nfev", "njev", "constr_violation"
"""What a solver has as its outcome."""

_taking = threading.Lock()
"""A source is taken by whoever comes first: who asks for the state, or the next solve with its solver."""


class Circumstances(NamedTuple):
    """A solve as far as a state must know it."""

    method: NativeMethod
    layout: Layout
    bounds: tuple[Any, Any]
    options: Mapping[str, Any]
    precision: float
    linear: tuple[Float64, Rows] | None
    """As the workspace has it."""

    def conditions(self) -> Conditions:
        """What another solve must share to go on from here."""
        matrix, rows = (None, None) if self.linear is None else self.linear
        low, high = self.bounds
        num_equalities = 0 if rows is None else rows.num_equalities
        return Conditions(
            method=self.method.name,
            components=tuple((s.shape, s.dtype) for s in self.layout.segments),
            fixed_options={name: self.options[name] for name in self.method.fixed_options},
            precision=self.precision,
            num_equalities=num_equalities,
            num_inequalities=0 if rows is None else len(rows) - num_equalities,
            limits=_digest(rows, matrix),
            bounds=None if low is None else (low, high),
        )


class Source:
    """The state of a solve, which stays in the solver until somebody asks for it or the solver goes on.

    Parameters
    ----------
    solver : _native.Solver
    circumstances : tuple
        What `Circumstances` are made of: making them takes time that only a state is worth.
    record : _native.History

    Attributes
    ----------
    outcome : tuple or None
        The solver's, once the solve has ended.
    """

    __slots__ = ("__weakref__", "_circumstances", "_record", "_saved", "_solver", "_state", "outcome")

    def __init__(self, solver: Any, circumstances: tuple[Any, ...], record: _native.History) -> None:
        self._solver = solver
        self._circumstances = circumstances
        self._record = record
        self._saved: bytes | None = None
        self.outcome: tuple[Any, ...] | None = None
        self._state: State | None = None

    def take(self) -> None:
        """Copy the state out of the solver, and the bounds, whose memory the next solve may use for others."""
        with _taking:
            if self._solver is not None:
                self._saved = self._solver.save()
                self.outcome = self.outcome or self._solver.outcome
                self._solver = None
                method, layout, bounds, *others = self._circumstances
                bounds = tuple(None if side is None else side.copy() for side in bounds)
                self._circumstances = (method, layout, bounds, *others)

    def state(self) -> State:
        """The state, always the same object."""
        self.take()
        with _taking:
            if self._saved is not None:
                counts = dict(zip(_OUTCOME, self.outcome or (), strict=True))
                counts["seconds"] = self._record.seconds
                history = self._record.columns() if self._record.keeps_rows else {}
                circumstances = Circumstances(*self._circumstances)
                self._state = State.of(circumstances.conditions(), self._saved, circumstances.options, counts, history)
                self._saved = None
        if self._state is None:
            raise ValueError("the solve has gone on: ask for intermediate_result.state while the callback runs.")
        return self._state

    def read(self, question: Callable[[Any], Any]) -> Any:
        """What ``question`` reads in the solver, as the solve has left it."""
        with _taking:
            solver = self._solver
            if solver is not None:
                return question(solver)
        return question(_restored(self.state()))

    def close(self) -> None:
        """The solver goes on: there is no state any more, unless it was taken."""
        with _taking:
            self._solver = None

    def __deepcopy__(self, memo: Any) -> Source:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


class Begin(NamedTuple):
    """What a solve begins with, other than its start."""

    state: State | None = None
    warm_start: State | None = None

    def record(self, keeps_rows: bool, keeps_latest: bool = False) -> _native.History:
        """The record of the solve, which goes on with that of the state."""
        if self.state is None:
            return _native.History(keeps_rows, keeps_latest=keeps_latest)
        return _native.History(keeps_rows, self.state.seconds, self.state.history, keeps_latest)

    def apply(self, solver: Any, circumstances: Circumstances) -> None:
        """Let a solver that has not begun begin with it."""
        if self.state is not None:
            self.state.conditions.check_same(circumstances.conditions())
            solver.restore(self.state.solver)
            solver.resume(precision=circumstances.precision, **circumstances.options)
        elif self.warm_start is not None:
            self.warm_start.conditions.check_alike(circumstances.conditions())
            if not solver.warm_start(_restored(self.warm_start)):
                warn(
                    "warm_start has a curvature that is not finite or not positive definite: the solve begins without.",
                    RuntimeWarning,
                )


AT_THE_START = Begin()
"""A solve that begins with nothing else."""


def checked_begin(state: Any, warm_start: Any, is_native: bool, method: Any) -> Begin:
    """What the user gave as ``state`` and ``warm_start``; ValueError for anything that no solve can begin with."""
    if state is not None and warm_start is not None:
        raise ValueError("both state and warm_start are given: give state to go on, or warm_start to begin at x0.")
    if not is_native:
        raise ValueError(f"method is {method!r}, which runs in SciPy and has no state: use {NATIVE_NAMES}.")
    if state is not None and not isinstance(state, State):
        raise ValueError(f"state is a {type(state).__name__}: give result.state, or tfm.State.load(path).")
    if warm_start is not None and not isinstance(warm_start, State):
        try:
            warm_start = warm_start.state
        except AttributeError as error:
            raise ValueError(
                f"warm_start is a {type(warm_start).__name__}: give a result or a state. {error}"
            ) from None
        if not isinstance(warm_start, State):
            raise ValueError(f"warm_start.state is a {type(warm_start).__name__}: give a result or a state.")
    begin = Begin(state, warm_start)
    for given in begin:
        if given is not None:
            _ = given.conditions  # an empty state says so
    return begin


def _restored(state: State) -> Any:
    """The solver of a state, with memory of its own."""
    c = state.conditions
    n, m = c.layout.packed_size, c.num_equalities + c.num_inequalities
    lower, upper = (None, None) if c.bounds is None else c.bounds
    is_constrained = c.method == "SLSQP"
    solver = getattr(_native, NATIVE_METHODS[c.method.lower()].solver)(
        _native.aligned_zeros(n),
        _native.aligned_zeros(n),
        _native.aligned_zeros(m) if is_constrained else None,
        _native.aligned_matrix(m, n) if is_constrained else None,
        c.num_equalities,
        lower=lower,
        upper=upper,
        offsets=np.full(m, np.nan) if is_constrained else None,
        num_variables=c.layout.size,
        **c.fixed_options,
    )
    solver.restore(state.solver)
    return solver


def _digest(rows: Rows | None, matrix: Float64 | None) -> str:
    if rows is None or matrix is None or not len(rows):
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for array in (rows.source, rows.sign, rows.offset, matrix):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
