"""The methods that the extension solves, and how they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tfminimize._problem.layout import Layout
from tfminimize._problem.options import LBFGSB_DEFAULTS, SLSQP_DEFAULTS, lbfgsb_options, slsqp_options
from tfminimize._problem.result import InverseHessian

__all__ = ["NATIVE_METHODS", "NativeMethod"]

Options = Mapping[str, Any]


class NativeMethod(NamedTuple):
    """A method of the extension."""

    name: str
    """As messages call it."""
    solver: str
    """The name of its class in the extension."""
    defaults: Options
    """Its options."""
    options: Callable[[Options | None, float | None], Options]
    """Checks the user's options and ``tol``."""
    memory: Callable[[int, Options], tuple[int, int]]
    """Checks the memory for this number of variables and these options."""
    num_doubles: Callable[[int, int, Options], int]
    """The size of a solver for these numbers of parameters and constraints and these options."""
    fixed_options: tuple[str, ...]
    """The options that cannot change once a solver is made."""
    result: Callable[[Any, Any, Layout], dict[str, Any]]
    """The fields that only this method's results have, from the solver, the holder of its pairs, and the layout."""


NATIVE_METHODS: Mapping[str, NativeMethod] = {
    "l-bfgs-b": NativeMethod(
        name="L-BFGS-B",
        solver="Lbfgsb",
        defaults=LBFGSB_DEFAULTS,
        options=lbfgsb_options,
        memory=lambda n, options: (n, options["maxcor"]),
        num_doubles=lambda n, m, options: (2 * options["maxcor"] + 6) * n,
        fixed_options=("maxcor",),
        result=lambda solver, pairs, layout: {"hess_inv": InverseHessian(pairs, layout)},
    ),
    "slsqp": NativeMethod(
        name="SLSQP",
        solver="Slsqp",
        defaults=SLSQP_DEFAULTS,
        options=slsqp_options,
        memory=lambda n, options: (n, 0),  # the constraints are counted when they are known
        num_doubles=lambda n, m, options: 3 * n * (n + m),
        fixed_options=(),
        result=lambda solver, pairs, layout: {"multipliers": solver.multipliers()},
    ),
}
