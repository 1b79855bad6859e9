"""Evaluates a loss of NumPy arrays and counts, as SciPy's methods do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfminimize._scipy import private
from tfminimize._scipy.differences import ForwardDifferences

__all__ = ["Evaluation", "LossAndGradient", "joined"]

Float64 = NDArray[np.float64]


class Evaluation(Protocol):
    """A loss and its gradient, already evaluated at the start; like `ScalarFunction` of SciPy.

    Attributes
    ----------
    nfev, ngev : int
        How often the loss and the gradient were evaluated, as SciPy counts.
    """

    nfev: int
    ngev: int

    def fun(self, x: Float64) -> Any:
        """The loss at x."""

    def grad(self, x: Float64) -> Any:
        """The gradient at x."""

    def fun_and_grad(self, x: Float64) -> tuple[Any, Any]:
        """Both."""


class LossAndGradient:
    """An `Evaluation` that does what SciPy's does in a fraction of its time, which is longer than a small loss takes.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)``: the loss; without ``jac`` the loss and its gradient.
    jac : callable, ForwardDifferences or None
        ``jac(x, *args)``: the gradient.
    x : ndarray, shape (n,)
        The start.
    args : tuple
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        jac: Callable[..., Any] | ForwardDifferences | None,
        x: Float64,
        args: tuple[Any, ...],
    ) -> None:
        self._fun = fun
        self._jac = jac
        self._args = args
        self._f: Any = None
        self._g: Any = None
        self.nfev = self.ngev = 0
        self._move(x)
        self.fun_and_grad(x)

    def fun(self, x: Float64) -> Any:
        """The loss at x."""
        if not (x == self._x).all():
            self._move(x)
        if self._f is None:
            self._evaluate()
            self.nfev += 1
        return self._f

    def grad(self, x: Float64) -> Any:
        """The gradient at x."""
        if not (x == self._x).all():
            self._move(x)
        if not self._has_gradient:
            self._differentiate()
        return self._g

    def fun_and_grad(self, x: Float64) -> tuple[Any, Any]:
        """Both."""
        f = self.fun(x)
        if not self._has_gradient:
            self._differentiate()
        return f, self._g

    def _move(self, x: Float64) -> None:
        self._x = x.copy()
        self._f = self._g = None
        self._has_gradient = False

    # The user's functions get copies of x, since they may change or keep them.

    def _evaluate(self) -> None:
        found = self._fun(self._x.copy(), *self._args)
        if self._jac is None:
            found, self._g = found
        self._f = found if isinstance(found, float) else _scalar(found)

    def _differentiate(self) -> None:
        if isinstance(self._jac, ForwardDifferences):
            self._g = self._jac.derivative(self._value, self._x, self.fun(self._x))
        elif self._jac is not None:
            self._g = self._jac(self._x.copy(), *self._args)
        elif self._f is None:
            self._evaluate()
        self._has_gradient = True
        self.ngev += 1

    def _value(self, x: Float64) -> Any:
        """The loss at a point of the differences, which are counted as SciPy counts them."""
        self.nfev += 1
        found = self._fun(x, *self._args)
        return found if isinstance(found, float) else _scalar(found)


def joined(fun: Any, jac: Any) -> tuple[Callable[..., Any], Any]:
    """The function of loss and gradient, and None, if SciPy has split one in these two; else the two."""
    memoized = private.optimize.MemoizeJac
    is_split = type(fun) is memoized and getattr(jac, "__func__", None) is memoized.derivative and jac.__self__ is fun
    return (fun.fun, None) if is_split else (fun, jac)


def _scalar(value: Any) -> Any:
    """The element of an array; raises ValueError unless it has one element, in SciPy's words."""
    if np.isscalar(value):
        return value
    try:
        return np.asarray(value).item()
    except (TypeError, ValueError) as error:
        raise ValueError("The user-provided objective function must return a scalar value.") from error
