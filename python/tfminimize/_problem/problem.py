"""Problem: the method, bounds and constraints of a solve, checked and packed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from tfminimize._problem import methods
from tfminimize._problem.bounds import as_packed
from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._problem.constraints import Constraints
from tfminimize._problem.native_methods import NATIVE_METHODS, NativeMethod
from tfminimize._problem.options import check_matrix_size, scipy_options
from tfminimize._problem.parameters import Parameters
from tfminimize._tf.binding import _native

__all__ = ["Problem"]


class Problem:
    """The method, bounds and constraints of a problem, checked and packed."""

    def __init__(self, parameters: Parameters, method: Any, bounds: Any, constraints: Any) -> None:
        if isinstance(constraints, Iterator):
            constraints = list(constraints)
        self._layout = parameters.layout
        self.method = methods.method_name(method, constraints)
        self.native: NativeMethod | None = None if callable(self.method) else NATIVE_METHODS.get(self.method)
        self.packed_constraints: Constraints | None = None
        self._set_constraints(constraints, parameters)
        self._set_bounds(bounds, parameters)
        self.has_own_bounds = False
        """Whether the bounds are those of one solve only, so that a solver must not be kept for them."""

    def _set_constraints(self, constraints: Any, parameters: Parameters) -> None:
        methods.check_constraints(self.method, constraints)
        own = self.packed_constraints
        packed = None if own is None else own.with_args_of(constraints)
        if packed is None and (self.method == "slsqp" or has_constraints(constraints)):
            packed = Constraints(constraints, parameters, self.method)
        self.packed_constraints = packed

    def _set_bounds(self, bounds: Any, parameters: Parameters) -> None:
        packed = as_packed(bounds, parameters)
        self.packed_bounds: tuple[Any, Any] = packed.low, packed.high
        self.keep_feasible = packed.keep_feasible
        methods.check_bounds(self.method, self.packed_bounds[0])

    def with_bounds(self, bounds: Any, parameters: Parameters) -> Problem:
        """The same problem with other bounds, for one solve."""
        problem = copy.copy(self)
        problem._set_bounds(bounds, parameters)
        problem.has_own_bounds = problem.packed_bounds[0] is not None
        return problem

    def with_constraints(self, constraints: Any, parameters: Parameters) -> Problem:
        """The same problem with other constraints, for one solve."""
        problem = copy.copy(self)
        problem._set_constraints(list(constraints) if isinstance(constraints, Iterator) else constraints, parameters)
        return problem

    def options(self, options: Mapping[str, Any] | None, tol: float | None) -> Mapping[str, Any]:
        """The checked options of one solve."""
        if self.native is None:
            # A callable method has options of its own.
            return scipy_options(options) if isinstance(self.method, str) else options or {}
        if options is None and tol is None:
            return self.native.defaults
        checked = self.native.options(options, tol)
        matrix = checked.get("hess_inv0")
        if matrix is not None:
            check_matrix_size("hess_inv0", matrix, self._layout.size)
            checked = {**checked, "hess_inv0": self._layout.pack_matrix(matrix)}
        return checked

    def check_memory(self, parameters: Parameters, options: Mapping[str, Any] | None, count: int = 1) -> None:
        """Raise MemoryError if ``count`` solves do not fit into memory, before anything is copied.

        Without ``options``, if they fit with no options at all.
        """
        if self.native is not None:
            solver = getattr(_native, self.native.solver)
            options = {**self.native.defaults, **self.native.frugal} if options is None else options
            solver.check_memory(**self.native.memory(parameters.layout.size, options), count=count)
