"""The methods that the extension solves, and how they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tfminimize._problem.layout import Layout
from tfminimize._problem.options import (
    BFGS_DEFAULTS,
    LBFGSB_DEFAULTS,
    SLSQP_DEFAULTS,
    bfgs_options,
    lbfgsb_options,
    slsqp_options,
)
from tfminimize._problem.result import InverseHessian, InverseHessianMatrix

__all__ = ["NATIVE_METHODS", "NATIVE_NAMES", "NativeMethod"]

Options = Mapping[str, Any]

_BYTES_BESIDE = 3 * 8
"""The bytes that a solve takes for each variable besides the solver, its x and its gradient: x and the gradient in the
result, and the gradient that TensorFlow returns, in float32 with a copy of x."""


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
    memory: Callable[[int, Options], dict[str, Any]]
    """The arguments of the class's check of the memory, for this number of variables and these options."""
    frugal: Options
    """The options that need the least memory."""
    num_doubles: Callable[[int, int, Options], int]
    """The size of a solver for these numbers of parameters and constraints and these options."""
    fixed_options: tuple[str, ...]
    """The options that cannot change once a solver is made."""
    result: Callable[[Any, Any, Layout], dict[str, Any]]
    """The fields that only this method's results have, from the solver, its source, and the layout."""


NATIVE_METHODS: Mapping[str, NativeMethod] = {
    "l-bfgs-b": NativeMethod(
        name="L-BFGS-B",
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
        result=lambda solver, source, layout: {"hess_inv": InverseHessian(source.read, layout)},
    ),
    "slsqp": NativeMethod(
        name="SLSQP",
        solver="Slsqp",
        defaults=SLSQP_DEFAULTS,
        options=slsqp_options,
        memory=lambda n, options: {"n": n, "m": 0},  # the constraints are counted when they are known
        frugal={},
        num_doubles=lambda n, m, options: 3 * n * (n + m),
        fixed_options=(),
        result=lambda solver, source, layout: {"multipliers": solver.multipliers()},
    ),
    "bfgs": NativeMethod(
        name="BFGS",
        solver="Bfgs",
        defaults=BFGS_DEFAULTS,
        options=bfgs_options,
        memory=lambda n, options: {"n": n, "beside": _BYTES_BESIDE * n},
        frugal={},
        num_doubles=lambda n, m, options: n * (n + 20) // 2,
        fixed_options=(),
        result=lambda solver, source, layout: {
            "hess_inv": InverseHessianMatrix(source.read, layout),
            "num_skipped_updates": solver.num_skipped_updates,
            "num_resets": solver.num_resets,
        },
    ),
}

NATIVE_NAMES = "'L-BFGS-B', 'SLSQP' or 'BFGS'"
"""The methods, as messages list them."""
