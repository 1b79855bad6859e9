"""The methods that the extension solves, and what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tfminimize._problem.layout import Layout
from tfminimize._problem.options import LBFGSB_DEFAULTS, SLSQP_DEFAULTS, lbfgsb_options, slsqp_options
from tfminimize._problem.result import InverseHessian

__all__ = ["NATIVE_METHODS", "NativeMethod"]

Options = Mapping[str, Any]

_BYTES_BESIDE = 3 * 8
"""What a solve takes for each variable besides the solver, its x and its gradient: both of them in the result, and the
gradient that TensorFlow returns, in float32 that and a copy of x."""


class NativeMethod(NamedTuple):
    """One of these methods."""

    solver: str
    """The class in the extension."""
    defaults: Options
    """Its options."""
    options: Callable[[Options | None, float | None], Options]
    """Checks the options that a user gives, and ``tol``."""
    memory: Callable[[int, Options], dict[str, Any]]
    """What the class checks the memory by, from the number of variables and the options."""
    frugal: Options
    """Those options that need the least memory."""
    num_doubles: Callable[[int, int, Options], int]
    """The size of a solver, from the numbers of variables and of constraints and the options."""
    fixed_options: tuple[str, ...]
    """The options that a solver keeps for good."""
    result: Callable[[Any, Layout], dict[str, Any]]
    """The fields of the result that not every method has, from the solver."""


NATIVE_METHODS: Mapping[str, NativeMethod] = {
    "l-bfgs-b": NativeMethod(
        solver="Lbfgsb",
        defaults=LBFGSB_DEFAULTS,
        options=lbfgsb_options,
        memory=lambda n, options: {
            "n": n,
            "maxcor": options["maxcor"],
            "storage": options["storage"],
            "beside": _BYTES_BESIDE * n,
        },
        frugal={"maxcor": 1, "storage": "float32"},
        num_doubles=lambda n, m, options: (2 * options["maxcor"] + 6) * n,
        fixed_options=("maxcor", "storage"),
        result=lambda solver, layout: {"hess_inv": InverseHessian(solver, layout)},
    ),
    "slsqp": NativeMethod(
        solver="Slsqp",
        defaults=SLSQP_DEFAULTS,
        options=slsqp_options,
        memory=lambda n, options: {"n": n, "m": 0},  # the constraints are counted when they are known
        frugal={},
        num_doubles=lambda n, m, options: 3 * n * (n + m),
        fixed_options=(),
        result=lambda solver, layout: {"multipliers": solver.multipliers()},
    ),
}
