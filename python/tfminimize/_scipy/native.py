"""One solve by a native solver on functions of NumPy arrays, for `lbfgsb`, `slsqp` and `bfgs`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.callback import UserCallback
from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._problem.result import STOPPED_BY_CALLBACK, OptimizeResult
from tfminimize._scipy import private
from tfminimize._scipy.constraints import ArrayConstraint, ConstraintRows, finite_differences, read_constraints
from tfminimize._scipy.differences import forward_differences
from tfminimize._scipy.evaluation import Evaluation, LossAndGradient, joined
from tfminimize._scipy.functions import FreeVariables, read_bounds, split
from tfminimize._tf.binding import _native
from tfminimize._tf.warning import warn

__all__ = ["ArrayFunctions", "HostSolve", "all_fixed", "over_free_elements", "read_functions", "warn_of_hessian"]

Float64 = NDArray[np.float64]
Shown = Callable[[Float64], Float64]
"""Copies the solver's x into the vector that the user's callback gets."""

FIXED = "All independent variables were fixed by bounds."
"""SciPy's message if nothing is left to optimise."""


@dataclass
class ArrayFunctions:
    """A loss and constraints on NumPy arrays, with a start within the bounds."""

    fun: Callable[..., Any]
    x: Float64
    args: tuple[Any, ...]
    jac: Any
    bounds: tuple[Float64, Float64] | None
    constraints: Sequence[ArrayConstraint]

    @property
    def has_derivatives(self) -> bool:
        """Whether no finite differences are needed, which cannot move elements that the bounds fix."""
        return callable(self.jac) and all(c.jac is not None for c in self.constraints)

    @functools.cached_property
    def free(self) -> NDArray[np.bool_]:
        """Which elements the bounds leave free."""
        return np.ones(self.x.size, np.bool_) if self.bounds is None else self.bounds[0] < self.bounds[1]

    @property
    def is_fixed(self) -> bool:
        """Whether the bounds fix every element."""
        return self.bounds is not None and not self.free.any()

    @property
    def limits(self) -> tuple[Any, Any]:
        """The bounds for finite differences."""
        return (-np.inf, np.inf) if self.bounds is None else self.bounds

    def on(self, variables: FreeVariables) -> ArrayFunctions:
        """The same functions of the free variables only."""
        return ArrayFunctions(
            variables.function(self.fun),
            variables.part(self.x),
            self.args,
            variables.derivative(self.jac) if callable(self.jac) else self.jac,
            None if self.bounds is None else (variables.part(self.bounds[0]), variables.part(self.bounds[1])),
            [c.on(variables) for c in self.constraints],
        )

    def evaluation(self, differences: Mapping[str, Any]) -> Evaluation:
        """The loss and its gradient, evaluated at the start."""
        if callable(self.jac):
            return LossAndGradient(*joined(self.fun, self.jac), self.x, self.args)
        workers = differences["workers"]
        forward = forward_differences(self.jac, differences, self.limits)
        if forward is not None and workers is None:
            return LossAndGradient(self.fun, forward, self.x, self.args)
        evaluation: Evaluation = private.optimize._prepare_scalar_function(
            self.fun,
            self.x,
            jac=self.jac,
            args=self.args,
            bounds=self.limits,
            epsilon=differences["eps"],
            finite_diff_rel_step=differences["finite_diff_rel_step"],
            **({} if workers is None else {"workers": workers}),  # SciPy 1.15 does not have it
        )
        return evaluation

    def rows(self, differences: Mapping[str, Any]) -> ConstraintRows:
        """The constraints as rows; each constraint is called once at the start."""
        return ConstraintRows(self.constraints, self.x, finite_differences(self.jac, differences, self.limits))


def read_functions(
    fun: Callable[..., Any], x0: Any, args: Any, jac: Any, bounds: Any, constraints: Any = ()
) -> ArrayFunctions:
    """The arguments that `scipy.optimize.minimize` passes to a method, checked."""
    if jac is True:
        fun, jac = split(fun)
    elif not callable(jac) and not isinstance(jac, str):
        jac = None
    if not isinstance(args, tuple):
        args = (args,)
    x = np.array(x0, dtype=np.float64).ravel()
    read = read_constraints(constraints, x) if has_constraints(constraints) else []
    lower, upper = read_bounds(bounds, x)
    if lower is None or upper is None:
        return ArrayFunctions(fun, x, args, jac, None, read)
    return ArrayFunctions(fun, x.clip(lower, upper), args, jac, (lower, upper), read)


def warn_of_hessian(name: str, hess: Any, hessp: Any) -> None:
    """Warn if a method gets a Hessian, since it uses none."""
    if hess is not None or hessp is not None:
        warn(f"{name} uses no Hessian: hess and hessp are ignored.", RuntimeWarning)


def over_free_elements(
    functions: ArrayFunctions, solve: Callable[[ArrayFunctions, Shown], OptimizeResult]
) -> OptimizeResult:
    """Solve; with finite differences, only over the elements that the bounds leave free."""
    if functions.bounds is None or functions.has_derivatives or functions.free.all():
        return solve(functions, np.copy)
    variables = FreeVariables(functions.x, functions.free)
    result = solve(functions.on(variables), variables.whole)
    result.x = variables.whole(result.x)
    result.jac = variables.whole(result.jac, np.nan)
    if "hess_inv" in result:
        result.hess_inv = None  # it covers the free elements only
    return result


def all_fixed(functions: ArrayFunctions, rows: ConstraintRows, ftol: float, not_finite: int) -> OptimizeResult:
    """The result if the bounds fix every parameter: the loss there, and whether the constraints hold.

    ``not_finite`` is the method's status if the function is not finite at the start.
    """
    fun = np.float64(functions.fun(functions.x.copy(), *functions.args))
    violation = rows.violation(functions.x)
    holds = violation <= ftol
    finite = bool(np.isfinite(fun))
    message = FIXED
    if not finite:
        message = f"{FIXED[:-1]}, where the function is {fun}: change the bounds."
    elif rows.size and holds:
        message = f"{FIXED[:-1]} at values that satisfy the constraints."
    elif not holds:
        message = (
            f"{FIXED[:-1]}, but the independent variables do not satisfy the constraints "
            f"(Maximum violation: {violation})."
        )
    return OptimizeResult(
        x=functions.x,
        fun=fun,
        jac=np.full(functions.x.size, np.nan),
        nit=0,
        nfev=1,
        njev=0,
        status=not_finite if not finite else 0 if holds else 4,
        success=finite and holds,
        message=message,
        constr_violation=np.float64(violation),
        backend="host",
    )


class HostSolve:
    """One solve: its memory and its functions, already evaluated at the start.

    Parameters
    ----------
    functions : ArrayFunctions
    differences : dict
        ``eps``, ``finite_diff_rel_step`` and ``workers``.
    user_callback : UserCallback or None
        It gets ``shown(x)``.

    Attributes
    ----------
    bounds : dict
        ``lower`` and ``upper``, for the solver.
    x, gradient : ndarray, shape (n,)
        The solver's vectors.
    function : Evaluation
    rows : ConstraintRows
    """

    def __init__(
        self,
        functions: ArrayFunctions,
        differences: Mapping[str, Any],
        user_callback: UserCallback | None,
        shown: Shown,
    ) -> None:
        begin = time.perf_counter()
        self.rows = functions.rows(differences)
        self.function = functions.evaluation(differences)
        self._first = time.perf_counter() - begin
        lower, upper = functions.bounds or (None, None)
        self.bounds: dict[str, Any] = {"lower": lower, "upper": upper}
        n = functions.x.size
        self.x, self.gradient = _native.aligned_zeros(n), _native.aligned_zeros(n)
        self.x[:] = functions.x
        self.user_callback = user_callback
        self._shown = shown

    def call_back(self, solver: _native.Solver) -> bool:
        """Call the user's callback, if there is one; return whether it ends the solve."""
        return self.user_callback is not None and self.user_callback(self._shown(self.x), solver.fun)

    @property
    def is_stopped(self) -> bool:
        """Whether the user's callback has ended the solve."""
        return self.user_callback is not None and self.user_callback.stopped

    def run(self, solver: _native.Solver, objective: Any, on_iteration: Callable[[], bool] | None) -> OptimizeResult:
        """Drive a solver to its end."""
        timing = _native.drive(solver, objective, on_iteration)
        return OptimizeResult(
            x=self.x.copy(),
            fun=np.float64(solver.fun),
            jac=self.gradient.copy(),
            nit=solver.nit,
            nfev=self.function.nfev,
            njev=self.function.ngev,
            status=solver.status_code,
            success=solver.status_code == 0,
            message=STOPPED_BY_CALLBACK if self.is_stopped else solver.message,
            backend="host",
            timing={"trace": 0.0, "compile": 0.0, "evaluate": self._first + timing.evaluate, "solver": timing.solver},
        )
