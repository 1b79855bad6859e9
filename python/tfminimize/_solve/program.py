"""Program: one function compiled for one structure of parameters, ready to be evaluated by many solves at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraint_rows import Rows, plain_rows
from tfminimize._problem.constraints import ConstraintFunction, Constraints, hashable
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.lanes import VectorPool
from tfminimize._solve.ways import Ways
from tfminimize._solve.workspace import Workspace
from tfminimize._tf.binding import require
from tfminimize._trace.dataset_loss import BatchSum, Loss, batch_loss
from tfminimize._trace.hessian_products import ProductTrace, rows_at_once, weighted_sum
from tfminimize._trace.objective_graph import Fetches
from tfminimize._trace.recent import Recent
from tfminimize._trace.trace import Trace
from tfminimize._trace.user_function import JitCompile, check_context, check_jit, follows_jit
from tfminimize._trace.vectorized import VectorTrace

__all__ = ["Lease", "Program"]

MAX_TRACES = 8
"""How many traces are kept for different ``args`` and constraints; the least recently used one goes first."""

MAX_DOUBLES_FREE = 1 << 21
"""How many doubles one trace keeps in workspaces for the next solves; it always keeps one, however large."""

SMALLEST = 1 << 13
"""Smaller workspaces count as this many doubles, because their handles and buffers take memory too."""


class _Pool:
    """A trace and the workspaces made for it. Appending to and popping from a list are atomic."""

    def __init__(self, trace: Trace, ways: Ways | None = None) -> None:
        self.trace = trace
        self.ways = ways
        self.free: list[Workspace] = []
        self.is_fresh = True
        """Whether no solve has used the trace yet."""

    def is_current(self) -> bool:
        """Whether its machine code is still right."""
        traces = [self.trace] if self.ways is None else [way.trace for way in self.ways.ways]
        return all(trace.is_current() for trace in traces)


class Lease:
    """A workspace that one solve uses, until `release`.

    Attributes
    ----------
    trace_seconds : float
        The time of tracing, if this is the first solve with the trace, else 0.
    compile_seconds : float
        The time of compiling to machine code, likewise.
    is_first : bool
        Whether this is the first solve with the trace; then the first evaluation by TensorFlow compiles the function.
    shapes : tuple of tuple of int
        The shapes that the constraint functions return.
    """

    __slots__ = ("_pool", "compile_seconds", "is_first", "shapes", "trace_seconds", "workspace")

    def __init__(self, pool: _Pool, workspace: Workspace) -> None:
        self._pool = pool
        self.workspace = workspace
        self.shapes = pool.trace.shapes
        self.is_first, pool.is_fresh = pool.is_fresh, False
        self.trace_seconds = pool.trace.seconds if self.is_first else 0.0
        self.compile_seconds = pool.trace.backend.seconds if self.is_first else 0.0

    def release(self) -> None:
        """Give the workspace back for the next solve, unless too much memory is kept already."""
        free, size = self._pool.free, max(self.workspace.size, SMALLEST)
        if (len(free) + 1) * size <= MAX_DOUBLES_FREE or not free:
            free.append(self.workspace)


class Program:
    """The traces of one function, one for each kind of ``args`` and constraints, each with its free workspaces.

    Safe to use from several threads: a function is traced once, and no two solves share a workspace. With ``fetches``
    each evaluation computes these tensors too; see `Workspace.fetched`.
    """

    def __init__(
        self, fun: Loss, parameters: Parameters, jit_compile: JitCompile, fetches: Fetches | None = None
    ) -> None:
        if not (callable(fun) or isinstance(fun, BatchSum)):
            raise ValueError(f"fun is {fun!r}: give a function that returns the loss.")
        check_jit(jit_compile)
        require()
        self.parameters = parameters
        self._fun = fun
        self._is_auto = isinstance(jit_compile, str)
        self._jit_compile = None if isinstance(jit_compile, str) else jit_compile
        self._fetches = fetches
        self._pools: Recent[_Pool] = Recent(MAX_TRACES)
        self._vector_pools: Recent[VectorPool] = Recent(MAX_TRACES)
        self._rows_at_once: Recent[int] = Recent(MAX_TRACES)
        self._weighted: Recent[Program] = Recent(MAX_TRACES)
        self._latest: Arguments | None = None
        self._float_dtype = parameters.float_dtype

    @property
    def loss(self) -> Loss:
        """The function."""
        return self._fun

    def arguments(self, args: Any) -> Arguments:
        """``args`` as this program passes them; raises an error if it cannot be called here."""
        check_context()
        latest = self._latest
        if latest is None or not latest.are(args):
            self._latest = latest = Arguments(args, self._float_dtype)
        return latest

    def trace(self, arguments: Arguments, constraints: Constraints | None = None) -> Trace:
        """Trace now, before the first solve; raises an error if the limits do not fit the constraints."""
        trace = self._pool(arguments, constraints).trace
        if constraints is not None:
            constraints.rows(trace.shapes)
        return trace

    def lease(
        self,
        arguments: Arguments,
        constraints: Constraints | None = None,
        *,
        products: int = 0,
        whole: bool = False,
    ) -> Lease:
        """A workspace for ``args`` and constraints, traced and made if there is none.

        With ``products`` it multiplies the Hessian by so many vectors, the last arguments; see `ProductTrace`. They are
        the rows of its Jacobian. With ``whole`` its functions are those of all data, which one of many solves can call
        in its own thread.
        """
        pool = self._pool(arguments, constraints, products, whole)
        rows = None if constraints is None else constraints.rows(pool.trace.shapes)
        try:
            workspace = pool.free.pop()
        except IndexError:
            tensors = [*arguments.tensors, *([] if constraints is None else constraints.tensors)]
            workspace = Workspace(pool.trace, self.parameters, tensors, pool.ways)
            if pool.ways is not None:
                workspace.begin(tensors, in_batch=whole)
        else:
            workspace.let_go()
            workspace.begin([*arguments.data, *([] if constraints is None else constraints.data)], in_batch=whole)
        self._set_rows(workspace, rows, constraints, products)
        return Lease(pool, workspace)

    def _set_rows(
        self, workspace: Workspace, rows: Rows | None, constraints: Constraints | None, products: int
    ) -> None:
        if constraints is not None and rows is not None:
            workspace.set_rows(rows, constraints.matrix)
        elif products:
            workspace.set_rows(plain_rows(products), np.zeros((0, self.parameters.layout.size)))

    def vector_pool(
        self, arguments: Arguments, constraints: Constraints | None, batched: Sequence[int], capacity: int
    ) -> VectorPool:
        """The vectorized functions, if ``batched`` are the places of slices among the data; see `VectorTrace`."""
        key = (arguments.key, None if constraints is None else constraints.key, *batched)

        def pool() -> VectorPool:
            fun: Any = self._fun
            return VectorPool(
                VectorTrace(fun, self.parameters, arguments, batched, self._jit_compile, constraints, capacity)
            )

        return self._vector_pools.get(key, pool, lambda kept: kept.trace.is_current())

    def rows_at_once(self, arguments: Arguments) -> int:
        """How many rows of the Hessian to compute at once; see `hessian_products.rows_at_once`."""
        return self._rows_at_once.get(
            arguments.key, lambda: rows_at_once(self._fun, self.parameters, arguments, self._jit)
        )

    def weighted(self, function: ConstraintFunction) -> Program:
        """The program of vᵀc for a constraint function c; v is the first of its arguments."""
        has_x = not self.parameters.variables

        def program() -> Program:
            jit: JitCompile = "auto" if self._is_auto else self._jit
            return Program(weighted_sum(function, has_x, self._jit), self.parameters, jit)

        return self._weighted.get(hashable(function.fun), program)

    @property
    def _jit(self) -> bool:
        """Whether XLA compiles what is traced first."""
        if self._is_auto or self._jit_compile is not None:
            return bool(self._jit_compile)
        return follows_jit(batch_loss(self._fun))

    def _pool(
        self, arguments: Arguments, constraints: Constraints | None, products: int = 0, whole: bool = False
    ) -> _Pool:
        whole = bool(products) or (whole and isinstance(self._fun, BatchSum))  # any other function is whole
        key = (arguments.key, None if constraints is None else constraints.key, products, whole)

        kind = ProductTrace if products else Trace
        given = self._fun, self.parameters, arguments
        options: dict[str, Any] = {"whole": whole} if products else {"whole": whole, "fetches": self._fetches}

        def pool() -> _Pool:
            if not self._is_auto:
                return _Pool(kind(*given, self._jit_compile, constraints, **options))
            graph = kind(*given, False, constraints, **options)
            tensors = [*arguments.tensors, *([] if constraints is None else constraints.tensors)]

            def warm_up(trace: Trace) -> None:
                workspace = Workspace(trace, self.parameters, tensors)
                rows = None if constraints is None else constraints.rows(trace.shapes)
                self._set_rows(workspace, rows, constraints, products)
                workspace.evaluate()

            return _Pool(graph, Ways(graph, lambda: kind.in_steps(*given, True, constraints, **options), warm_up))

        return self._pools.get(key, pool, _Pool.is_current)
