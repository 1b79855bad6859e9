"""The second derivatives that a method of SciPy takes: of the loss, and of the constraints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfminimize._problem.methods import WITH_HESSIAN, WITH_PRODUCTS, second_derivatives_error
from tfminimize._problem.problem import Problem
from tfminimize._solve.program import Program
from tfminimize._solve.scipy_calls import Hessian, Products
from tfminimize._solve.scipy_constraints import constraint_hessians

__all__ = ["SecondDerivatives"]


class SecondDerivatives:
    """What a method takes, ready to be called.

    Raises
    ------
    ValueError
        If there are no second derivatives of the loss, and the method cannot do without them.

    Attributes
    ----------
    hessp, hess : callable or None
        The product of the Hessian with a vector, and the Hessian itself; of flat vectors.
    of_constraints : dict of int to Products or None
        See `scipy_constraints.constraint_hessians`.
    reason : str
        What is approximated, for `backend_reason`.
    """

    def __init__(self, program: Program, problem: Problem, args: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        self.hessp: Callable[..., Any] | None = None
        self.hess: Callable[..., Any] | None = None
        self.of_constraints: dict[int, Products | None] = {}
        self.reason = ""
        self.timers: list[Products] = []
        try:
            self._take(program, problem, args, shapes)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the workspaces back."""
        for timer in self.timers:
            timer.release()

    def _take(self, program: Program, problem: Problem, args: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        approximated = []
        try:
            if problem.method in WITH_PRODUCTS:
                self.timers.append(Products(program, args))
                self.hessp = self.timers[0].product
            elif problem.method in WITH_HESSIAN:
                hessian = Hessian(program, args)
                self.timers.append(hessian)
                self.hess = hessian.at
        except LookupError as error:
            if failure := second_derivatives_error(problem.method, error):
                raise failure from error
            approximated.append("the loss")
        constraints = problem.packed_constraints
        if constraints is not None and problem.method == "trust-constr":
            self.of_constraints = constraint_hessians(program, constraints.functions, shapes)
            self.timers += filter(None, self.of_constraints.values())
            approximated += [f.name for i, f in enumerate(constraints.functions) if i not in self.of_constraints]
        if approximated:
            self.reason = f"; SciPy approximates the second derivatives of {', '.join(approximated)}"
