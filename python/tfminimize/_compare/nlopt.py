"""L-BFGS and SLSQP of NLopt, on functions of NumPy vectors."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from tfminimize._compare.prepared import Prepared
from tfminimize._compare.settings import Options
from tfminimize._scipy.constraints import ConstraintRows, read_constraints

__all__ = ["solve", "stop_rule"]

Float64 = NDArray[np.float64]
_MESSAGES = {
    1: "success",
    3: "ftol reached",
    4: "xtol reached",
    5: "the evaluations are used up",
    -1: "failure",
    -2: "invalid arguments",
    -3: "out of memory",
    -4: "roundoff errors limit progress",
}


def solve(
    prepared: Prepared, method: str, settings: Options, loss_and_gradient: Callable[[Float64], Any]
) -> OptimizeResult:
    """Solve, with SciPy's options by what they mean."""
    nlopt = importlib.import_module("nlopt")
    start, bounds = prepared.flat_start, prepared.flat_bounds
    is_slsqp = method.lower() == "slsqp"
    optimizer = nlopt.opt(nlopt.LD_SLSQP if is_slsqp else nlopt.LD_LBFGS, start.size)
    optimizer.set_exceptions_enabled(False)  # an exception would take x with it
    count = 0
    errors: list[Exception] = []

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose error ends the solve; NLopt would swallow it."""

        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except Exception as error:
                errors.append(error)
                optimizer.force_stop()
                return math.nan

        return call

    def objective(x: Float64, gradient: Float64) -> float:
        nonlocal count
        count += 1
        loss, slope = loss_and_gradient(x)
        if gradient.size:
            gradient[:] = slope
        return float(loss)

    optimizer.set_min_objective(guarded(objective))
    if bounds is not None:
        optimizer.set_lower_bounds(bounds.lb)
        optimizer.set_upper_bounds(bounds.ub)
        start = np.clip(start, bounds.lb, bounds.ub)
    if is_slsqp:
        constraints = read_constraints(prepared.constraints, start)
        for is_equality, add, sign in (
            (True, optimizer.add_equality_mconstraint, 1.0),
            (False, optimizer.add_inequality_mconstraint, -1.0),
        ):
            if some := [c for c in constraints if c.is_equality == is_equality]:
                rows = ConstraintRows(some, start, lambda *_: None)  # each has its Jacobian
                add(guarded(_on_nlopt(rows, sign)), np.full(rows.size, settings["ftol"]))
    else:
        optimizer.set_ftol_rel(settings["ftol"])
        optimizer.set_vector_storage(settings["maxcor"])
    optimizer.set_ftol_abs(settings["ftol"])
    optimizer.set_maxeval(_max_evaluations(method, settings))
    x = optimizer.optimize(start)
    if errors:
        raise errors[0]
    code = optimizer.last_optimize_result()
    message = _MESSAGES.get(code, f"code {code}")
    return OptimizeResult(
        x=x, fun=optimizer.last_optimum_value(), nfev=count, success=code in (1, 3, 4), status=code, message=message
    )


def stop_rule(method: str, settings: Options) -> str:
    """When it stops, in a sentence."""
    evaluations = f"{_max_evaluations(method, settings)} evaluations"
    if method.lower() == "slsqp":
        return f"|Δf| and violation ≤ {settings['ftol']:.2g}; {evaluations}"
    return f"|Δf| ≤ {settings['ftol']:.2g} max(|f|, 1); {evaluations}"


def _max_evaluations(method: str, settings: Options) -> int:
    """NLopt does not count iterations: an iteration of SLSQP may take ten evaluations."""
    limit: int = 10 * settings["maxiter"] if method.lower() == "slsqp" else settings["maxfun"]
    return min(limit, np.iinfo(np.int32).max)


def _on_nlopt(rows: ConstraintRows, sign: float) -> Callable[[Float64, Float64, Float64], None]:
    """The rows as NLopt wants them: into arrays, and an inequality is not positive."""

    def evaluate(values: Float64, x: Float64, jacobian: Float64) -> None:
        values[:] = sign * rows.values(x)
        if jacobian.size:
            jacobian[:] = sign * rows.jacobian(x)

    return evaluate
