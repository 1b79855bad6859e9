"""Solves the same problem with SciPy, as TensorFlow users do it, and with tfminimize."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from threadpoolctl import ThreadpoolController

from tfminimize._api.minimizer import Minimizer
from tfminimize._api.numpy_functions import NumpyFunctions
from tfminimize._problem.bounds import pack_bounds
from tfminimize._problem.constraints import has_constraints
from tfminimize._problem.methods import WITHOUT_GRADIENT, method_name
from tfminimize._problem.options import OWN_OPTIONS
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.violation import violation
from tfminimize._scipy.patched import unpatched
from tfminimize._trace.dataset_loss import batch_loss, check_alone, split_data
from tfminimize._trace.user_function import check_jit, follows_jit

if TYPE_CHECKING:
    import rich.console
    import rich.table

__all__ = ["Comparison", "compare", "table"]

Float64 = NDArray[np.float64]

WIDTH = 80
"""Width of the table in characters."""

TURN = 5
"""Each side solves this often in a row, so that most solves find warm caches, as they would in a loop."""


@dataclass(frozen=True)
class Comparison:
    """One problem solved by both. `print` shows a table.

    Attributes
    ----------
    name, method : str
    size : int
        Number of parameters.
    jit_compile : bool
        Whether XLA compiled the function, on both sides.
    ours, scipy : scipy.optimize.OptimizeResult
        The results of the last runs. SciPy's ``x`` and ``jac`` are flat vectors.
    our_seconds, scipy_seconds : float
        Median time of a whole solve, without tracing and compiling. SciPy's linear algebra (BLAS) runs in one thread:
        by default it starts more, which wait in a busy loop on the cores that TensorFlow needs.
    default_blas_threads : int
        The number of threads that BLAS has by default.
    scipy_default_seconds : float
        SciPy's median with this number of threads.
    x_difference : float
        The greatest absolute difference between elements of the two x.
    our_violation, scipy_violation : float
        The greatest violation of a constraint or bound at each x, measured in the same way.
    constrained : bool
        Whether there are constraints other than bounds.
    """

    name: str
    size: int
    jit_compile: bool
    ours: OptimizeResult = field(repr=False)
    scipy: OptimizeResult = field(repr=False)
    our_seconds: float
    scipy_seconds: float
    default_blas_threads: int
    scipy_default_seconds: float
    x_difference: float
    method: str = "L-BFGS-B"
    our_violation: float = 0.0
    scipy_violation: float = 0.0
    constrained: bool = False

    @property
    def ratio(self) -> float:
        """How many times faster we are than SciPy with one BLAS thread."""
        return self.scipy_seconds / self.our_seconds

    @property
    def fun_difference(self) -> float:
        """Our loss minus SciPy's."""
        return float(self.ours.fun - self.scipy.fun)

    @property
    def nit_difference(self) -> int | None:
        """Our number of iterations minus SciPy's; None for COBYLA, which does not count them."""
        return int(self.ours.nit - self.scipy.nit) if "nit" in self.ours and "nit" in self.scipy else None

    @property
    def nfev_difference(self) -> int:
        """Our number of evaluations minus SciPy's."""
        return int(self.ours.nfev - self.scipy.nfev)

    @property
    def same_status(self) -> bool:
        """Whether both ended for the same reason."""
        return bool(self.ours.status == self.scipy.status)

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the vectors, ready for JSON."""
        sides = {
            side: {name: _plain(result.get(name)) for name in ("fun", "nit", "nfev", "status", "success", "message")}
            for side, result in (("tfminimize", self.ours), ("scipy", self.scipy))
        }
        sides["tfminimize"] |= {"violation": self.our_violation, "seconds": self.our_seconds}
        sides["tfminimize"]["timing"] = dict(self.ours.timing)
        sides["scipy"] |= {"violation": self.scipy_violation, "seconds": self.scipy_seconds, "blas_threads": 1}
        sides["scipy"]["by_default"] = {
            "seconds": self.scipy_default_seconds,
            "blas_threads": self.default_blas_threads,
        }
        return {
            "name": self.name,
            "method": self.method,
            "size": self.size,
            "jit_compile": self.jit_compile,
            "backend": self.ours.backend,
            **sides,
            "x_difference": self.x_difference,
            "fun_difference": self.fun_difference,
            "nit_difference": self.nit_difference,
            "nfev_difference": self.nfev_difference,
            "same_status": self.same_status,
            "ratio": self.ratio,
        }

    def __str__(self) -> str:
        import rich.console

        console = rich.console.Console(file=io.StringIO(), width=WIDTH)
        console.print(table([self]))
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text.rstrip()


def compare(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: str | None = "L-BFGS-B",
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    jit_compile: bool | None = None,
    *,
    repeats: int = 7,
    name: str | None = None,
) -> Comparison:
    """Solve the same problem with `scipy.optimize.minimize` and with tfminimize, in turns, in one process.

    SciPy gets a function that calls a `tf.function` of loss and gradient with ``tf.constant(x)`` and takes ``.numpy()``
    of the results, and two such functions for each constraint: one for the values, one for the Jacobian. A method that
    takes second derivatives gets such functions for them too. If ``x0`` is made of variables, these functions assign
    them before each evaluation; at the end they have their old values.

    SciPy's linear algebra runs in one thread, and if its default number differs, SciPy is also timed with that.

    Parameters
    ----------
    fun, x0, args, method, bounds, constraints, tol, options, jit_compile
        As in `tfminimize.minimize`; ``jit_compile`` applies to both sides.
    repeats : int, default 7
        Number of timed solves on each side, in turns of five; one more before them is not timed.
    name : str, optional
        The name to show. Default: that of ``fun``.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> import tensorflow as tf
    >>> comparison = compare(lambda x: tf.reduce_sum((x - 1.0) ** 4), np.zeros(3), repeats=3)
    >>> comparison.same_status, comparison.nit_difference, comparison.nfev_difference
    (True, 0, 0)
    >>> disc = {"type": "ineq", "fun": lambda x: 1.0 - tf.reduce_sum(x**2)}
    >>> comparison = compare(lambda x: tf.reduce_sum(x), np.zeros(2), method=None, constraints=disc, repeats=3)
    >>> comparison.same_status, comparison.our_violation < 1e-6, comparison.scipy_violation < 1e-6
    (True, True, True)
    """
    check_jit(jit_compile, "a comparison gives the same function to both sides")
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: give 1 or more.")
    name = name or str(getattr(fun, "__name__", type(fun).__name__))
    check_alone(fun, "compare")
    fun, args = split_data(fun, args)
    parameters = Parameters(x0)
    start = parameters.start(x0)
    flat_start = np.concatenate([value.ravel().astype(np.float64) for value in start])
    jit = follows_jit(batch_loss(fun)) if jit_compile is None else jit_compile
    constrained = has_constraints(constraints)
    method = method or ("SLSQP" if constrained else "L-BFGS-B")
    minimizer = Minimizer(fun, x0, args, method, bounds=bounds, constraints=constraints, jit_compile=jit)

    those_of_scipy = options
    if isinstance(options, Mapping):
        those_of_scipy = {name: value for name, value in options.items() if name not in OWN_OPTIONS}

    def by_scipy() -> OptimizeResult:
        with unpatched():
            return scipy.optimize.minimize(
                loss_and_gradient if has_gradient else lambda x: loss_and_gradient(x)[0],
                flat_start,
                jac=has_gradient,
                **second_derivatives,
                method=method,
                bounds=flat_bounds,
                constraints=flat_constraints,
                tol=tol,
                options=those_of_scipy,
            )

    def by_us() -> OptimizeResult:
        return minimizer.minimize(None if parameters.variables else x0, tol=tol, options=options)

    name_of_method = method_name(method, constraints)
    functions = NumpyFunctions(parameters, flat_start, jit)
    loss_and_gradient = functions.loss_and_gradient(fun, minimizer.arguments)
    second_derivatives = functions.second_derivatives(fun, args, name_of_method)
    flat_bounds = _flat_bounds(bounds, parameters)
    flat_constraints = functions.constraints(constraints, name_of_method)
    has_gradient = name_of_method not in WITHOUT_GRADIENT
    blas = ThreadpoolController().select(user_api="blas")
    threads = max((library["num_threads"] for library in blas.info()), default=1)
    sides = dict.fromkeys([(by_scipy, 1), (by_scipy, threads), (by_us, 1)])  # the same side twice counts once
    seconds: dict[Any, list[float]] = {side: [] for side in sides}
    results: dict[Any, OptimizeResult] = {}
    try:
        for first in range(0, repeats + 1, TURN):
            for side, times in seconds.items():
                solve, limit = side
                with blas.limit(limits=limit):
                    for run in range(first, min(first + TURN, repeats + 1)):
                        parameters.assign(flat_start)
                        begin = time.perf_counter()
                        results[side] = solve()
                        if run:  # the first run traces and compiles
                            times.append(time.perf_counter() - begin)
        ours, theirs = results[by_us, 1], results[by_scipy, 1]
        violations = [violation(x, flat_bounds, flat_constraints) for x in (_flat(ours.x), theirs.x)]
    finally:
        parameters.assign(flat_start)
    return Comparison(
        name=name,
        size=parameters.layout.size,
        jit_compile=jit,
        ours=ours,
        scipy=theirs,
        our_seconds=statistics.median(seconds[by_us, 1]),
        scipy_seconds=statistics.median(seconds[by_scipy, 1]),
        default_blas_threads=threads,
        scipy_default_seconds=statistics.median(seconds[by_scipy, threads]),
        x_difference=float(np.abs(_flat(ours.x) - theirs.x).max()),
        method=method,
        our_violation=violations[0],
        scipy_violation=violations[1],
        constrained=constrained,
    )


def table(comparisons: Iterable[Comparison]) -> rich.console.Group:
    """Return tables for the terminal with SciPy's figures, ours, and how many times faster we are."""
    import rich.console
    import rich.padding

    return rich.console.Group(*(rich.padding.Padding(_table(c), (0, 0, 1, 0)) for c in comparisons))


def _table(c: Comparison) -> rich.table.Table:
    import rich.box
    import rich.table

    compiled = ", XLA" if c.jit_compile else ""
    gap = 0 if c.constrained else 1  # makes room for one more column
    shown = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False)
    shown.title, shown.title_justify = (
        f"{c.name}{compiled}: {c.size} parameters, {c.method}, backend {c.ours.backend}",
        "left",
    )
    shown.add_column("", no_wrap=True)
    violation = ["violation"] if c.constrained else []
    for heading in ("BLAS", "f", "|Δx|", *violation, "nit", "nfev", "status", "time", "faster"):
        shown.add_column(heading, justify="right", no_wrap=True)

    def add(side: str, threads: str, seconds: float, result: OptimizeResult, excess: float) -> None:
        shown.add_row(
            side,
            threads,
            f"{result.fun:.5g}",
            "" if result is c.scipy else f"{c.x_difference:.0e}",
            *([f"{excess:.0e}"] if c.constrained else []),
            str(result.get("nit", "")),
            str(result.nfev),
            str(result.status),
            f"{seconds * 1e3:.4g} ms",
            f"{seconds / c.our_seconds:,.1f} ×" if result is c.scipy else "",
        )

    add("SciPy", "1", c.scipy_seconds, c.scipy, c.scipy_violation)
    if c.default_blas_threads != 1:
        add("SciPy", str(c.default_blas_threads), c.scipy_default_seconds, c.scipy, c.scipy_violation)
    add("tfminimize", "", c.our_seconds, c.ours, c.our_violation)
    return shown


def _flat_bounds(bounds: Any, parameters: Parameters) -> scipy.optimize.Bounds | None:
    low, high = pack_bounds(bounds, parameters)
    if low is None or high is None:
        return None
    return scipy.optimize.Bounds(parameters.layout.flatten(low), parameters.layout.flatten(high))


def _flat(structure: Any) -> Float64:
    return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in tf.nest.flatten(structure)])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
