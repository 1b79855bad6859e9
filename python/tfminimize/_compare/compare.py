"""Solves the same problem with SciPy, as TensorFlow users do it, and with tfminimize."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from scipy.optimize import OptimizeResult

from tfminimize._compare.benchmark import Benchmark, benchmark, checked_repeats
from tfminimize._compare.prepared import Prepared, Side, blas, flat, in_turns
from tfminimize._problem.constraint_forms import has_constraints
from tfminimize._testing.problem import TestProblem
from tfminimize._trace.user_function import check_jit

if TYPE_CHECKING:
    import rich.console
    import rich.table

__all__ = ["Comparison", "compare", "table"]

WIDTH = 80
"""Width of the table in characters."""


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


@overload
def compare(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = ...,
    method: str | Callable[..., Any] | None = ...,
    bounds: Any = ...,
    constraints: Any = ...,
    tol: float | None = ...,
    options: Mapping[str, Any] | None = ...,
    jit_compile: bool | None = ...,
    *,
    repeats: int = ...,
    name: str | None = ...,
    solvers: None = ...,
) -> Comparison: ...
@overload
def compare(
    fun: Callable[..., Any] | TestProblem | Sequence[TestProblem],
    x0: Any = ...,
    args: Any = ...,
    method: str | Sequence[str] | None = ...,
    bounds: Any = ...,
    constraints: Any = ...,
    tol: float | None = ...,
    options: Mapping[str, Any] | None = ...,
    jit_compile: bool | None = ...,
    *,
    repeats: int = ...,
    name: str | None = ...,
    solvers: str | Sequence[str] | None = ...,
) -> Benchmark: ...
def compare(
    fun: Any,
    x0: Any = None,
    args: Any = (),
    method: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    jit_compile: bool | None = None,
    *,
    repeats: int = 7,
    name: str | None = None,
    solvers: str | Sequence[str] | None = None,
) -> Comparison | Benchmark:
    """Solve the same problem with `scipy.optimize.minimize` and with tfminimize, in turns, in one process.

    SciPy gets a function that calls a `tf.function` of loss and gradient with ``tf.constant(x)`` and takes ``.numpy()``
    of the results, and two such functions for each constraint: one for the values, one for the Jacobian. A method that
    takes second derivatives gets such functions for them too. If ``x0`` is made of variables, these functions assign
    them before each evaluation; at the end they have their old values.

    SciPy's linear algebra runs in one thread, and if its default number differs, SciPy is also timed with that.

    With ``solvers``, several methods, or problems in the place of ``fun``, it solves each problem by each method of
    each solver, and returns a `Benchmark`.

    Parameters
    ----------
    fun : callable, or tfminimize.testing.TestProblem or sequence of them
        A problem has its own x0, args, bounds and constraints, so leave these out.
    x0, args, bounds, constraints, tol, options, jit_compile
        As in `tfminimize.minimize`; ``jit_compile`` applies to all sides. In a benchmark, solvers of other packages get
        ``tol`` and ``options`` by what they mean, and a method gets only the options that it has.
    method : str or sequence of str, optional
        As in `tfminimize.minimize`. None: SLSQP for a problem with constraints, otherwise L-BFGS-B.
    repeats : int, default 7
        Number of timed solves on each side, in turns of five; one more before them is not timed.
    name : str, optional
        The name to show. Default: that of ``fun``.
    solvers : str or sequence of str, optional
        Of "tfminimize", "scipy", "tfp" (TensorFlow Probability) and "nlopt". A benchmark has the first two by default,
        and leaves out what is not installed, or does not take the bounds or constraints; ``left_out`` says why.

    Returns
    -------
    Comparison
        Or a `Benchmark`, see above.

    Examples
    --------
    >>> import tensorflow as tf
    >>> comparison = compare(
    ...     lambda x: tf.reduce_sum((x - 1.0) ** 4), np.zeros(3), repeats=3
    ... )
    >>> comparison.same_status, comparison.nit_difference, comparison.nfev_difference
    (True, 0, 0)
    >>> disc = {"type": "ineq", "fun": lambda x: 1.0 - tf.reduce_sum(x**2)}
    >>> comparison = compare(
    ...     lambda x: tf.reduce_sum(x),
    ...     np.zeros(2),
    ...     method=None,
    ...     constraints=disc,
    ...     repeats=3,
    ... )
    >>> (
    ...     comparison.same_status,
    ...     comparison.our_violation < 1e-6,
    ...     comparison.scipy_violation < 1e-6,
    ... )
    (True, True, True)
    >>> problems = [tfm.testing.rosenbrock(2), tfm.testing.quadratic(5)]
    >>> benchmark = compare(
    ...     problems,
    ...     method=["L-BFGS-B", "BFGS"],
    ...     solvers=["tfminimize", "scipy"],
    ...     repeats=3,
    ... )
    >>> runs = [run for run in benchmark.runs if run.problem == "Quadratic, n = 5"]
    >>> [run.label for run in runs]
    ['tfminimize L-BFGS-B', 'tfminimize BFGS', 'scipy L-BFGS-B', 'scipy BFGS']
    >>> [run.marks for run in runs]
    [[], [], [], []]
    """
    check_jit(jit_compile, "a comparison gives the same function to both sides")
    checked_repeats("repeats", repeats)
    is_problem = not callable(fun)
    if is_problem:
        problems = _problems(fun, x0, args, bounds, constraints, name)
    else:
        if x0 is None:
            raise ValueError("x0 is None: give the start, as for tfminimize.minimize.")
        name = name or str(getattr(fun, "__name__", type(fun).__name__))
        problems = [TestProblem(name, fun, x0, bounds, None, constraints, args)]
    is_several = not (method is None or isinstance(method, str) or callable(method))
    if is_problem or is_several or solvers is not None:
        methods = list(method) if is_several else None if method is None else [method]
        return benchmark(problems, methods, solvers, tol=tol, options=options, jits=(jit_compile,), repeats=repeats)
    return _compare_both(problems[0], method, tol, options, jit_compile, repeats)


def _problems(fun: Any, *others: Any) -> list[TestProblem]:
    problems = [fun] if isinstance(fun, TestProblem) else fun
    if not isinstance(problems, Sequence) or not all(isinstance(problem, TestProblem) for problem in problems):
        raise ValueError(f"fun is {fun!r}: give a function, a tfminimize.testing.TestProblem or a list of these.")
    for parameter, value in zip(("x0", "args", "bounds", "constraints", "name"), others, strict=True):
        if value is not None and not (isinstance(value, (tuple, list)) and not value):
            raise ValueError(f"{parameter} is {value!r}, but each TestProblem has its own: leave it out.")
    return list(problems)


def _compare_both(
    problem: TestProblem,
    method: Any,
    tol: float | None,
    options: Mapping[str, Any] | None,
    jit_compile: bool | None,
    repeats: int,
) -> Comparison:
    prepared = Prepared(problem, jit_compile)
    constrained = has_constraints(problem.constraints)
    method = method or ("SLSQP" if constrained else "L-BFGS-B")
    by_us, by_scipy = prepared.by_us(method, tol, options), prepared.by_scipy(method, tol, options)
    threads = max((library["num_threads"] for library in blas().info()), default=1)
    sides = {(solve, n): Side(solve, n) for solve, n in ((by_scipy, 1), (by_scipy, threads), (by_us, 1))}
    try:
        results, seconds = in_turns(sides, repeats, prepared.restart)
        ours, theirs = results[by_us, 1], results[by_scipy, 1]
        violations = [prepared.violation(x) for x in (flat(ours.x), theirs.x)]
    finally:
        prepared.restart()
    return Comparison(
        name=problem.name,
        size=prepared.parameters.layout.size,
        jit_compile=prepared.jit,
        ours=ours,
        scipy=theirs,
        our_seconds=statistics.median(seconds[by_us, 1]),
        scipy_seconds=statistics.median(seconds[by_scipy, 1]),
        default_blas_threads=threads,
        scipy_default_seconds=statistics.median(seconds[by_scipy, threads]),
        x_difference=float(np.abs(flat(ours.x) - theirs.x).max()),
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


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
