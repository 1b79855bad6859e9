"""Constraints that are TensorFlow functions, in SciPy's forms for its own methods: functions of one flat vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse.linalg
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.constraint_rows import Limits
from tfminimize._problem.constraints import ConstraintFunction, Constraints
from tfminimize._solve.program import Program
from tfminimize._solve.scipy_calls import Evaluation, Products
from tfminimize._trace.checks import NotConnectedError

__all__ = ["constraint_hessians", "in_scipy"]

Float64 = NDArray[np.float64]
Hess = Callable[[Float64, Float64], Any]


def in_scipy(
    constraints: Constraints, evaluation: Evaluation, method: Any, products: Mapping[int, Products | None]
) -> list[Any]:
    """The constraints for SciPy, in the order given.

    Parameters
    ----------
    constraints : Constraints
    evaluation : Evaluation
        Of the loss and all constraint functions.
    method : str or callable
        A custom method gets each constraint in the form in which the user gave it, a built-in one never a dict, which
        has no Hessian.
    products : mapping of int to Products or None
        The Hessians of vᵀc for constraint functions by their numbers; see `constraint_hessians`.
    """
    shapes = evaluation.lease.shapes
    found: list[Any] = []
    number = begin = 0
    for limits in constraints.limits(shapes):
        if limits.matrix is not None:
            found.append(_linear(limits, keeps_sparse=not constraints.functions))
            continue
        place = slice(begin, begin + limits.low.size)
        begin = place.stop
        hess = _hess(products[number]) if number in products else None
        found.append(_nonlinear(limits, evaluation, place, method, hess))
        number += 1
    return found


def constraint_hessians(
    program: Program, functions: Sequence[ConstraintFunction], shapes: Sequence[tuple[int, ...]]
) -> dict[int, Products | None]:
    """The Hessians of vᵀc for each constraint function c that has one, by its number; None for a constant."""
    found: dict[int, Products | None] = {}
    for i, (function, shape) in enumerate(zip(functions, shapes, strict=True)):
        v = np.zeros(math.prod(shape))
        try:
            found[i] = Products(program.weighted(function), (v, *function.arguments.args))
        except NotConnectedError:
            found[i] = None
        except LookupError:  # SciPy approximates this one
            continue
    return found


def _linear(limits: Limits, keeps_sparse: bool) -> scipy.optimize.LinearConstraint:
    # SciPy wants all Jacobians to be sparse or all to be dense, and those of functions are dense.
    matrix = limits.given.A if keeps_sparse else limits.matrix
    return scipy.optimize.LinearConstraint(matrix, limits.low, limits.high, limits.given.keep_feasible)


def _nonlinear(limits: Limits, evaluation: Evaluation, place: slice, method: Any, hess: Hess | None) -> Any:
    def fun(x: Float64, *args: Any) -> Float64:
        return evaluation.values(x)[place]

    def jac(x: Float64, *args: Any) -> Float64:
        return evaluation.jacobian_at(x)[place]

    is_dict = isinstance(limits.given, Mapping)
    if is_dict and callable(method):
        return {"type": limits.given["type"], "fun": fun, "jac": jac}
    keep_feasible = False if is_dict else limits.given.keep_feasible
    options = {} if hess is None else {"hess": hess}
    return scipy.optimize.NonlinearConstraint(fun, limits.low, limits.high, jac, keep_feasible=keep_feasible, **options)


def _hess(products: Products | None) -> Hess:
    def hess(x: Float64, v: Float64) -> Any:
        if products is None:
            return np.zeros((len(x), len(x)))
        at, weights = np.array(x), tf.constant(v, tf.float64)

        def times(p: Float64) -> Float64:
            products.replace_first(weights)
            return products.product(at, np.ravel(p))

        return scipy.sparse.linalg.LinearOperator((len(at), len(at)), matvec=times, rmatvec=times, dtype=np.float64)

    return hess
