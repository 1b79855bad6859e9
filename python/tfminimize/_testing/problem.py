"""TestProblem: a function to minimise, with all that a solver needs to know."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["TestProblem"]


@dataclass(frozen=True)
class TestProblem:
    """A problem to try solvers on, for `tfminimize.compare` and ``python -m tfminimize compare``.

    Attributes
    ----------
    name : str
    fun : callable
        The loss of x, a scalar tensor; for variables it takes none. As in `tfminimize.minimize`.
    x0 : array, or structure of arrays or variables
        The start.
    bounds : optional
        In any form that `tfminimize.minimize` takes.
    minimum : float, optional
        The least loss, if it is known.
    constraints : optional
        In any form that `tfminimize.minimize` takes.
    args : tuple, optional
        Further arguments of ``fun``.
    jit_compile : bool, optional
        True if only XLA should compile ``fun``, False if it cannot. None: both are possible.

    Examples
    --------
    >>> import tensorflow as tf, tfminimize as tfm
    >>> problem = tfm.testing.TestProblem(
    ...     "bowl", lambda x: tf.reduce_sum(x**2), [1.0, 2.0], minimum=0.0
    ... )
    >>> bool(tfm.minimize(problem.fun, problem.x0).fun < 1e-9)
    True
    """

    __test__: ClassVar[bool] = False  # pytest collects classes whose names begin with Test

    name: str
    fun: Callable[..., Any]
    x0: Any
    bounds: Any = None
    minimum: float | None = None
    constraints: Any = ()
    args: Any = ()
    jit_compile: bool | None = None

    def __post_init__(self) -> None:
        name: Any = self.name
        minimum: Any = self.minimum
        if not isinstance(name, str) or not name:
            raise ValueError(f"name is {name!r}: give a text that says which problem this is.")
        if not callable(self.fun):
            raise ValueError(f"fun of the problem {name!r} is {self.fun!r}: give a function that returns the loss.")
        if not (minimum is None or isinstance(minimum, numbers.Real)):
            raise ValueError(f"minimum of the problem {name!r} is {minimum!r}: give a number, or None.")
