"""The protocols that `graph` and `eager` implement: a loss with variables and constraints, and one solve of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfminimize._problem.bounds import PackedBounds
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.result import OptimizeResult
from tfminimize._tf1.functions import FlatFunctions

__all__ = ["Formulation", "Run"]

Float64 = NDArray[np.float64]


class Run(Protocol):
    """One solve, from the present values of the variables."""

    can_be_native: bool
    """Whether the functions can be compiled."""
    backend_reason: str | None
    """Why they cannot be compiled."""

    def initial(self) -> Float64:
        """The present values of the variables, flat."""

    def can_fetch(self) -> bool:
        """Whether the compiled functions can compute the fetches too; if not, `backend_reason` says why."""

    def solve(
        self,
        method: Any,
        bounds: PackedBounds,
        tol: Any,
        options: Any,
        callback: Callable[..., Any] | None,
        on_fetched: Callable[[list[Any]], object] | None,
    ) -> OptimizeResult:
        """Solve on the compiled functions, without Python between two evaluations.

        ``on_fetched``, if there is one, gets the values of all fetches in each evaluation of the loss.
        """

    def functions(self) -> FlatFunctions:
        """The functions for a solver in Python."""

    def callback(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The user's function in the form in which the solve calls it."""

    def fetched(self, values: Sequence[Any]) -> Any:
        """The values of all fetches, in their structure."""

    def release(self) -> None:
        """Let other solves use what this one had for itself."""

    def assign(self, x: Float64) -> None:
        """Give the variables their final values."""


class Formulation(Protocol):
    """A loss, the variables to optimise, and constraints."""

    parameters: Parameters

    @property
    def variables(self) -> Sequence[Any]:
        """As the user gave them, in the order of the flat vector."""

    @property
    def constraints(self) -> Sequence[tuple[str, str, Any]]:
        """For each its name in messages, "eq" or "ineq", and the tensor or function."""

    def start(self, session: Any, feed_dict: Any, fetches: Sequence[Any], run_kwargs: Mapping[str, Any]) -> Run:
        """One solve, with the arguments of `minimize`, which are checked."""
