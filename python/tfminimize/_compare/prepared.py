"""A problem as each solver takes it, and the clock that all are measured by."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from threadpoolctl import ThreadpoolController

from tfminimize._api.minimizer import Minimizer
from tfminimize._compare.numpy_functions import NumpyFunctions
from tfminimize._problem.arguments import Arguments
from tfminimize._problem.bounds import pack_bounds
from tfminimize._problem.methods import WITHOUT_GRADIENT, method_name
from tfminimize._problem.options import OWN_OPTIONS
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.violation import violation
from tfminimize._scipy.patched import unpatched
from tfminimize._testing.problem import TestProblem
from tfminimize._trace.dataset_loss import batch_loss, check_alone, split_data
from tfminimize._trace.user_function import follows_jit

__all__ = ["Prepared", "Side", "blas", "flat", "in_turns"]

Float64 = NDArray[np.float64]
Solve = Callable[[], OptimizeResult]
Key = TypeVar("Key")

TURN = 5
"""Each side solves this often in a row, so that most solves find warm caches, as they would in a loop."""


class Prepared:
    """A problem as each solver takes it: for tfminimize as it is, for others as functions of flat NumPy vectors.

    Parameters
    ----------
    problem : TestProblem
    jit : bool, optional
        Whether XLA compiles the functions. Default: if the problem's function says so.

    Attributes
    ----------
    parameters : Parameters
    flat_start : ndarray, shape (n,)
    flat_bounds : scipy.optimize.Bounds or None
    arguments : Arguments
        Those of the loss, on tensors.
    """

    def __init__(self, problem: TestProblem, jit: bool | None) -> None:
        check_alone(problem.fun, "compare")
        self.problem = problem
        self.fun, self._args = split_data(problem.fun, problem.args)
        self.parameters = Parameters(problem.x0)
        start = self.parameters.start(problem.x0)
        self.flat_start = np.concatenate([value.ravel().astype(np.float64) for value in start])
        self.jit = follows_jit(batch_loss(self.fun)) if jit is None else jit
        self.arguments = Arguments(self._args, self.parameters.float_dtype)
        self.flat_bounds = _flat_bounds(problem.bounds, self.parameters)
        self._functions = NumpyFunctions(self.parameters, self.flat_start, self.jit)

    @functools.cached_property
    def loss_and_gradient(self) -> Callable[[Float64], tuple[float, Float64]]:
        """The loss and its gradient at a flat vector."""
        return self._functions.loss_and_gradient(self.fun, self.arguments)

    @functools.cached_property
    def constraints(self) -> list[Any]:
        """The constraints, on flat vectors, with Jacobians."""
        return self._functions.constraints(self.problem.constraints, None)

    def violation(self, x: Float64) -> float:
        """The greatest violation of a bound or a constraint at a flat vector."""
        return violation(x, self.flat_bounds, self.constraints)

    def restart(self) -> None:
        """Assign the start to the variables, if there are any."""
        self.parameters.assign(self.flat_start)

    def by_us(self, method: Any, tol: float | None, options: Mapping[str, Any] | None) -> Callable[..., OptimizeResult]:
        """Return a function that solves with tfminimize; it takes further arguments of `Minimizer.minimize`."""
        problem = self.problem
        minimizer = Minimizer(
            self.fun,
            problem.x0,
            self._args,
            method,
            bounds=problem.bounds,
            constraints=problem.constraints,
            jit_compile=self.jit,
        )
        x0 = None if self.parameters.variables else problem.x0
        return functools.partial(minimizer.minimize, x0, tol=tol, options=options)

    def by_scipy(self, method: Any, tol: float | None, options: Mapping[str, Any] | None) -> Callable[..., Any]:
        """Return a function that solves with SciPy.

        It takes a function to use in the place of ``loss_and_gradient``, such as one that also records.
        """
        name = method_name(method, self.problem.constraints)
        second_derivatives = self._functions.second_derivatives(self.fun, self._args, name)
        constraints = self._functions.constraints(self.problem.constraints, name)
        has_gradient = name not in WITHOUT_GRADIENT
        if isinstance(options, Mapping):
            options = {option: value for option, value in options.items() if option not in OWN_OPTIONS}

        def solve(loss_and_gradient: Callable[[Float64], Any] = self.loss_and_gradient) -> OptimizeResult:
            with unpatched():
                return scipy.optimize.minimize(
                    loss_and_gradient if has_gradient else lambda x: loss_and_gradient(x)[0],
                    self.flat_start,
                    jac=has_gradient,
                    **second_derivatives,
                    method=method,
                    bounds=self.flat_bounds,
                    constraints=constraints,
                    tol=tol,
                    options=options,
                )

        return solve


class Side(NamedTuple):
    """One of those that solve a problem in turns."""

    solve: Solve
    blas_threads: int = 1


def in_turns(
    sides: Mapping[Key, Side], repeats: int, prepare: Callable[[], Any], most_seconds: float = math.inf
) -> tuple[dict[Key, OptimizeResult], dict[Key, list[float]]]:
    """Let each side solve ``repeats`` times, in turns of five, and once before that is not timed.

    ``prepare`` is called before each solve. A side whose timed solves have taken ``most_seconds`` solves no more.

    Returns
    -------
    The last result of each, and its times in seconds.
    """
    controller = blas()
    results: dict[Key, OptimizeResult] = {}
    seconds: dict[Key, list[float]] = {key: [] for key in sides}
    for first in range(0, repeats + 1, TURN):
        for key, (solve, threads) in sides.items():
            with controller.limit(limits=threads):
                for run in range(first, min(first + TURN, repeats + 1)):
                    if sum(seconds[key]) >= most_seconds:
                        break
                    prepare()
                    begin = time.perf_counter()
                    results[key] = solve()
                    if run:  # the first run traces and compiles
                        seconds[key].append(time.perf_counter() - begin)
    return results, seconds


def blas() -> ThreadpoolController:
    """The libraries of linear algebra that are loaded, and their threads."""
    return ThreadpoolController().select(user_api="blas")


def flat(structure: Any) -> Float64:
    """The leaves of a structure as one vector."""
    leaves: Sequence[Any] = tf.nest.flatten(structure)
    return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in leaves])


def _flat_bounds(bounds: Any, parameters: Parameters) -> scipy.optimize.Bounds | None:
    low, high = pack_bounds(bounds, parameters)
    if low is None or high is None:
        return None
    return scipy.optimize.Bounds(parameters.layout.flatten(low), parameters.layout.flatten(high))
