"""The arguments of the methods on NumPy arrays: names, options, bounds, and functions of a part of x."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeWarning

from tfminimize._problem.bounds import pack_bounds
from tfminimize._problem.parameters import Parameters
from tfminimize._scipy import private
from tfminimize._tf.warning import warn

__all__ = [
    "FreeVariables",
    "known_as",
    "one_pair_each",
    "read_bounds",
    "sorted_options",
    "split",
    "with_least",
]

Float64 = NDArray[np.float64]
Method = TypeVar("Method", bound=Callable[..., Any])


def known_as(name: str) -> Callable[[Method], Method]:
    """Make ``method.lower()`` return SciPy's name of the method.

    `scipy.optimize.shgo` calls it, even on a callable, and chooses the method's arguments by the name.
    """

    def named(method: Method) -> Method:
        method.lower = lambda: name  # type: ignore[attr-defined]
        return method

    return named


def split(fun: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Split a function of loss and gradient in two. The second returns the gradient that the first computed."""
    both = private.optimize.MemoizeJac(fun)
    return both, both.derivative


def sorted_options(
    options: Mapping[str, Any], native: Collection[str], loose: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options given for the solver, and the loose ones with their defaults; others get SciPy's warning."""
    given = {name: value for name, value in options.items() if name in native}
    others = dict(loose) | {name: value for name, value in options.items() if name in loose}
    unknown = [name for name in options if name not in native and name not in loose and name != "tol"]
    if unknown:
        warn(f"Unknown solver options: {', '.join(unknown)}", OptimizeWarning)
    return given, others


def with_least(options: Mapping[str, Any], **least: int) -> dict[str, Any]:
    """The options with each limit raised to ``least``: SciPy accepts lower ones, but its loop treats them alike.

    Examples
    --------
    >>> with_least({"maxiter": -1, "maxfun": 5}, maxiter=1, maxfun=0)
    {'maxiter': 1, 'maxfun': 5}
    """
    return {
        name: least[name] if name in least and isinstance(value, numbers.Real) and value < least[name] else value
        for name, value in options.items()
    }


def read_bounds(bounds: Any, x: Float64) -> tuple[Float64, Float64] | tuple[None, None]:
    """The lower and upper bounds of x, from any of SciPy's forms; None, None without bounds.

    As in SciPy, one pair holds for all elements, arrays of one element are numbers, and NaN means no bound.

    Raises
    ------
    ValueError
        If a bound is crossed or of a wrong shape; it gives the index.

    Examples
    --------
    >>> read_bounds([(0, np.nan)], np.zeros(2))
    (array([0., 0.]), array([inf, inf]))
    """
    if bounds is None:
        return None, None
    if not isinstance(bounds, Bounds):
        bounds = list(bounds)
        if not bounds:
            return None, None
    plain = _plain_bounds(bounds, x.size)
    if plain is not None:
        return plain
    if not isinstance(bounds, Bounds):
        try:
            bounds = Bounds(*private.constraints.old_bound_to_new(bounds))
        except (TypeError, ValueError):
            return pack_bounds(bounds, Parameters(x))  # says what is wrong
    if isinstance(bounds, Bounds):
        low, high = (np.asarray(side, np.float64) for side in (bounds.lb, bounds.ub))
        bounds = Bounds(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))
    return pack_bounds(bounds, Parameters(x))


def _plain_bounds(bounds: Any, size: int) -> tuple[Float64, Float64] | None:
    """Two numbers for each element, in a tenth of the time, if they are right and some of them finite; else None."""
    try:
        if isinstance(bounds, Bounds):
            low, high = np.array(bounds.lb, np.float64), np.array(bounds.ub, np.float64)
        else:
            lows, highs = zip(*bounds, strict=True)
            low = np.array([-np.inf if number is None else number for number in lows], np.float64)
            high = np.array([np.inf if number is None else number for number in highs], np.float64)
    except (TypeError, ValueError):
        return None
    if not size or not low.shape == high.shape == (size,) or not (low <= high).all():  # or there is a NaN
        return None
    highest, lowest = low.max(), high.min()
    are_numbers = highest < np.inf and lowest > -np.inf
    return (low, high) if are_numbers and (highest > -np.inf or lowest < np.inf) else None


def one_pair_each(bounds: Any, x0: Any) -> Any:
    """The bounds, of which SciPy's older functions want a pair for each element; raises ValueError for another number.

    Examples
    --------
    >>> one_pair_each([(0, 1)], [1.0, 2.0])
    Traceback (most recent call last):
    ...
    ValueError: bounds has 1 entries, but x0 has 2 elements: give one pair (low, high) for each element.
    """
    if bounds is None or isinstance(bounds, Bounds):
        return bounds
    bounds = list(bounds)
    if bounds and len(bounds) != np.size(x0):
        raise ValueError(
            f"bounds has {len(bounds)} entries, but x0 has {np.size(x0)} elements: give one pair (low, high) for each "
            "element."
        )
    return bounds


class FreeVariables:
    """The elements that the bounds leave free. The others are left out, as finite differences cannot move them.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Holds the values of the fixed elements.
    free : ndarray of bool, shape (n,)
    """

    def __init__(self, x: Float64, free: NDArray[np.bool_]) -> None:
        self._x = x
        self._free = free

    def part(self, vector: Float64) -> Float64:
        """Only the free elements of a vector."""
        return vector[self._free]

    def whole(self, part: Float64, fixed: float | None = None) -> Float64:
        """The whole vector; ``fixed``, if given, replaces the values of the fixed elements."""
        # The dtype is complex in the differences of the method "cs".
        vector: Float64 = (self._x if fixed is None else np.full(self._x.size, fixed)).astype(part.dtype)
        vector[self._free] = part
        return vector

    def function(self, fun: Callable[..., Any]) -> Callable[..., Any]:
        """A function of all variables as one of the free ones."""
        return lambda part, *args: fun(self.whole(part), *args)

    def derivative(self, jac: Callable[..., Any]) -> Callable[..., Any]:
        """A gradient or Jacobian with respect to all variables as one with respect to the free ones."""
        return lambda part, *args: np.asarray(jac(self.whole(part), *args))[..., self._free]
