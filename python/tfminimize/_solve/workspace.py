"""Workspace: the memory for one solve at a time, and the functions bound to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.constraint_rows import Rows
from tfminimize._problem.layout import Layout
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.bound_trace import BoundTrace
from tfminimize._solve.ways import Ways
from tfminimize._tf.binding import _native
from tfminimize._trace.trace import Backend, Trace

__all__ = ["Workspace", "native_rows", "write_linear_rows"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]


class Workspace:
    """The memory for one solve at a time, and an objective that evaluates a trace in it.

    With several ways to evaluate it, the objective takes the fastest. All are bound to the same memory.

    Attributes
    ----------
    x, gradient : ndarray, shape (packed_size,)
        64-byte aligned.
    constraints : ndarray, shape (m,), or None
        None until `set_rows`, like ``jacobian`` and ``offsets``.
    jacobian : ndarray, shape (m, stride)
        Each row is 64-byte aligned; the first ``packed_size`` columns are used.
    offsets : ndarray, shape (m,)
        The offsets of linear constraints; NaN for the others.
    num_equalities : int
    precision : float
        The rounding unit of the functions' values.
    objective : _native.FunctionObjective, _native.DataSum or _native.Fastest
    linear : (ndarray, Rows) or None
        A of the linear constraints, and all rows.
    kept_solver : object
        The solver that `native` keeps for the next solve.
    latest : weakref to a Source, or a function that returns None
        Of the state of the last solve.
    is_checked : bool
        Whether its scratch variables still shared the memory of x after an evaluation.
    num_sums : int
        How many sums the functions also return; see `with_sums`.
    """

    def __init__(
        self, trace: Trace, parameters: Parameters, data: Sequence[tf.Tensor | Array], ways: Ways | None = None
    ) -> None:
        self.precision = float(np.finfo(trace.dtype).eps)
        self._parameters = parameters
        self.layout = layout = parameters.layout
        self.x: Array = _native.aligned_zeros(layout.packed_size)
        self.gradient: Array = _native.aligned_zeros(layout.packed_size)
        self.constraints: Float64 | None = None
        self.jacobian: Float64 | None = None
        self.offsets: Float64 | None = None
        self.num_equalities = 0
        self._rows: Sequence[_native.Row] | None = None
        self._rows_key: Hashable = None
        self.linear: tuple[Float64, Rows] | None = None
        self._views = layout.views(self.x)
        self.kept_solver: Any = None
        self.latest: Callable[[], Any] = lambda: None
        self.is_checked = False
        self.num_sums = trace.num_sums - trace.counts_rows
        self._has_arrays = bool(trace.fetched)
        self._bounds: tuple[Float64, Float64] | None = None
        self._ways = ways
        self._in_batch = False
        self._data = data
        self._first = BoundTrace(trace, parameters, self.x, data)
        self._first.check_sharing()
        self._bound: list[BoundTrace | None] = [self._first]
        self._used = [self._first]
        self._fastest = None if ways is None else self._race(ways)
        self.objective = self._first.objective if self._fastest is None else self._fastest

    def _race(self, ways: Ways) -> _native.Fastest:
        """An objective that takes the fastest way. It holds nothing of ours: the garbage collector would not see it."""
        this = weakref.ref(self)

        def attend() -> None:
            workspace = this()
            if workspace is not None:
                workspace.catch_up()

        fastest = _native.Fastest(ways.race, self.precision**0.5, attend)
        fastest.add(self._first.objective, self._first.position(0))
        fastest.ends_at_deadline = ways.graph.has_loop
        return fastest

    def catch_up(self) -> None:
        """Go on with making other ways, and bind those that have come since. It may be called during a solve."""
        if self._ways is None or self._fastest is None:
            return
        self._ways.attend()
        for i in range(len(self._bound), len(self._ways.ways)):
            way = self._ways.ways[i]
            try:
                bound = BoundTrace(way.trace, self._parameters, self.x, self._data, way.use_thread_pool)
                if self._rows is not None:
                    bound.objective.set_rows(self._rows)
            except Exception as error:  # it goes on without
                self._ways.refuse(i, error)
                self._bound.append(None)
                self._fastest.add(None)
            else:
                self._bound.append(bound)
                self._used.append(bound)
                self._fastest.add(bound.objective, bound.position(0))
            self.is_checked = False

    def begin(self, data: Sequence[tf.Tensor | Array], *, in_batch: bool = False) -> None:
        """Before a solve, choose the ways that it may need, and `set_arguments`."""
        self._in_batch = in_batch
        if self._ways is not None and self._fastest is not None:
            self.catch_up()
            needed = self._ways.race.needed(in_batch)
            self._fastest.use(needed)
            self._used = [bound for i, bound in enumerate(self._bound) if needed >> i & 1 and bound is not None]
        self.set_arguments(data)

    def set_arguments(self, data: Sequence[tf.Tensor | Array]) -> None:
        """From now on, pass these data of ``args``; machine code also gets the present values of variables."""
        self._data = data
        for bound in self._used:
            bound.set_arguments(data)

    @property
    def size(self) -> int:
        """How many doubles it holds, apart from machine code and the kept solver."""
        return 2 * self.x.size + (0 if self.jacobian is None else self.jacobian.size)

    @property
    def compiles(self) -> bool:
        """Whether TensorFlow has XLA compile what it evaluates first, or a part of it."""
        return self._first.backend.compiles

    @property
    def is_settled(self) -> bool:
        """Whether it is known which way is the fastest."""
        return self._ways is None or self._ways.is_settled(self._in_batch)

    def present_backend(self) -> Backend:
        """How its functions are evaluated now: of several ways, by the one that is the fastest so far."""
        return self._first.present_backend() if self._ways is None else self._ways.backend(self._in_batch)

    def taken_trace_seconds(self) -> float:
        """The time that tracing again has taken since the last call."""
        return 0.0 if self._ways is None else self._ways.taken_trace_seconds()

    @property
    def sums(self) -> Float64:
        """The sums of the last evaluation, a copy; empty unless the loss is one `with_sums`."""
        return self.objective.sums

    def fetched(self) -> list[Any]:
        """The tensors that the last evaluation has fetched, as a session would return them: arrays, NumPy scalars."""
        if not self._has_arrays:
            return []
        arrays = self.objective.arrays()  # type: ignore[union-attr]
        return [array if array.ndim else array[()] for array in arrays]

    def evaluate(self) -> float:
        """Evaluate the functions and their derivatives at x."""
        return self.objective.evaluate(self.x, self.gradient, self.constraints, self.jacobian)

    def set_rows(self, rows: Rows, matrix: Float64) -> None:
        """From now on, evaluate these rows; ``matrix`` is A of all linear constraints."""
        if self.linear is not None and self.linear[0] is matrix and self.linear[1] is rows:
            return
        self.linear = None
        if self.jacobian is None or self.offsets is None or self._rows_key != rows.key:
            self._rows_key = None
            self.jacobian, self.offsets = self._make_room(rows)
            self._rows_key = rows.key
        write_linear_rows(rows, matrix, self.layout, self.jacobian, self.offsets)
        self.linear = matrix, rows

    def _make_room(self, rows: Rows) -> tuple[Float64, Float64]:
        """Let the functions evaluate the rows that are not linear; return a Jacobian and offsets for all rows."""
        self.constraints = _native.aligned_zeros(len(rows))
        self.num_equalities = rows.num_equalities
        self._rows = native_rows(rows)
        for bound in self._bound:
            if bound is not None:
                bound.objective.set_rows(self._rows)
        return _native.aligned_matrix(len(rows), self.layout.packed_size), np.full(len(rows), np.nan)

    def position(self, index: int) -> int:
        """The position of a tensor of ``args`` among the inputs of the objective."""
        return self._first.position(index) if self._ways is None else index

    def let_go(self) -> None:
        """Have the state of the last solve copied, if anybody may still ask for it."""
        source = self.latest()
        if source is not None:
            source.take()

    def start(self, values: Sequence[Array]) -> None:
        """Copy the start into x, one array for each component."""
        for view, value in zip(self._views, values, strict=True):
            view[...] = value

    def copied_bounds(self, low: Float64, high: Float64) -> tuple[Float64, Float64]:
        """The bounds in memory that stays the same, so that the kept solver can begin anew with them."""
        if self._bounds is None:
            self._bounds = np.empty_like(low), np.empty_like(high)
        for mine, given in zip(self._bounds, (low, high), strict=True):
            mine[...] = given
        return self._bounds

    def check_sharing_once(self) -> None:
        """Do `check_sharing` after the first evaluation; later ones treat the variables in the same way."""
        if not self.is_checked:
            self.check_sharing()
            self.is_checked = True

    def check_sharing(self) -> None:
        """Raise RuntimeError unless every scratch variable still shares the memory of x."""
        for bound in self._bound:
            if bound is not None:
                bound.check_sharing()


def native_rows(rows: Rows) -> list[_native.Row]:
    """The rows that an objective writes, which are not linear."""
    places = np.flatnonzero(~rows.is_linear)
    columns = places.tolist(), rows.source[places].tolist(), rows.sign[places], rows.offset[places]
    return [_native.Row(*row) for row in zip(*columns, strict=True)]


def write_linear_rows(rows: Rows, matrix: Float64, layout: Layout, jacobian: Float64, offsets: Float64) -> None:
    """Write the linear rows into Jacobians ``[..., m, stride]`` and offsets ``[m]``; ``matrix`` is A of them all."""
    linear = np.flatnonzero(rows.is_linear)
    signed = rows.sign[linear, None] * matrix[rows.source[linear] - rows.num_values]
    for s in layout.segments:
        jacobian[..., linear, s.packed] = signed[:, s.flat]
    offsets[linear] = rows.offset[linear]
