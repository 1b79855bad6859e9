"""An optimiser interface whose loss and constraints are callables: TensorFlow 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.bounds import PackedBounds
from tfminimize._problem.constraint_forms import NamedConstraint
from tfminimize._problem.parameters import Parameters, as_variable
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve.program import Program
from tfminimize._solve.solve import solve
from tfminimize._tf import private
from tfminimize._tf.dispatch import effect
from tfminimize._tf1.functions import FlatFunctions, TracedFunctions, TracedProblem, why_not_fetched
from tfminimize._trace.recent import Recent
from tfminimize._trace.user_function import JitCompile, check_context, inside_trace

__all__ = ["EagerFormulation"]

Float64 = NDArray[np.float64]


class EagerFormulation:
    """A loss and constraints that are functions of no arguments and read variables.

    Attributes
    ----------
    variables : tuple
        As the user gave them, in the order of the flat vector.
    parameters : Parameters
    program : Program
        The loss, ready to be compiled for the native solvers.
    """

    def __init__(
        self,
        loss: Callable[[], Any],
        var_list: Any,
        equalities: Sequence[Any],
        inequalities: Sequence[Any],
        jit_compile: JitCompile = None,
    ) -> None:
        check_context()
        self._loss = loss
        self.constraints = [
            *((f"equalities[{i}]", "eq", fun) for i, fun in enumerate(equalities)),
            *((f"inequalities[{i}]", "ineq", fun) for i, fun in enumerate(inequalities)),
        ]
        for name, _, fun in self.constraints:
            if not callable(fun):
                raise ValueError(f"{name} is {fun!r}: the loss is a function, so give a function of no arguments.")
        self.counts = len(equalities), len(inequalities)
        variables = _read_variables(loss) if var_list is None else list(var_list)
        for variable in variables:
            if as_variable(variable) is None:
                raise ValueError(f"var_list holds {variable!r}, not a variable: give tf.Variable or Keras ones.")
        self.parameters = Parameters(variables, "var_list", may_be_unused=True)
        self.variables = self.parameters.variables
        self._jit_compile = jit_compile
        self.program = Program(loss, self.parameters, jit_compile)
        self._traced: Recent[tuple[TracedProblem, Sequence[Any]]] = Recent(1)
        self._fetching: Recent[tuple[Program | str, Sequence[Any]]] = Recent(1)

    def start(self, session: Any, feed_dict: Any, fetches: Sequence[Any], run_kwargs: Mapping[str, Any]) -> EagerRun:
        """One solve, with its arguments checked."""
        if session is not None:
            raise ValueError(f"session is {session!r}, but the loss is a function, which needs no session: remove it.")
        if feed_dict:
            raise ValueError(
                "feed_dict is given, but the loss is a function: let it read the data from a tf.Variable or a tensor."
            )
        if run_kwargs:
            raise TypeError(f"minimize got the keyword argument {next(iter(run_kwargs))!r}, but there is no session.")
        for i, fetch in enumerate(fetches):
            if not callable(fetch) and as_variable(fetch) is None:
                raise ValueError(
                    f"fetches[{i}] is {fetch!r}: the loss is a function, so give a variable or a function that returns "
                    "a tensor."
                )
        check_context()
        return EagerRun(self, fetches)

    def traced(self, fetches: Sequence[Any]) -> TracedProblem:
        """The functions with these fetches; traced anew unless the last fetches were the same."""
        traced, _ = self._traced.get(tuple(map(id, fetches)), lambda: (self._trace(fetches), fetches))
        return traced

    def fetching(self, fetches: Sequence[Any]) -> Program | str:
        """The program that computes these fetches too; or why there is none, a sentence."""
        if not fetches:
            return self.program
        found, _ = self._fetching.get(tuple(map(id, fetches)), lambda: (self._program(fetches), fetches))
        return found

    def _program(self, fetches: Sequence[Any]) -> Program | str:
        tensors = _tensors(fetches)
        with private.recording():
            concrete = tf.function(tensors, autograph=False).get_concrete_function()
        operation = effect(concrete)
        if operation is not None:
            return (
                f"the fetches have an effect or a state, in operation {operation}, so they are computed once each time"
            )
        return why_not_fetched(concrete.outputs) or Program(self._loss, self.parameters, self._jit_compile, tensors)

    def _trace(self, fetches: Sequence[Any]) -> TracedProblem:
        return TracedProblem(
            self.parameters,
            (),
            lambda: None,
            self._loss,
            [(name, fun) for name, _, fun in self.constraints],
            _tensors(fetches),
        )


class EagerRun:
    """One solve of an `EagerFormulation`."""

    def __init__(self, formulation: EagerFormulation, fetches: Sequence[Any]) -> None:
        self._formulation = formulation
        self._fetches = fetches
        self.can_be_native = True
        self.backend_reason: str | None = None

    def initial(self) -> Float64:
        """The present values of the variables, flat."""
        return np.concatenate([np.asarray(v, np.float64).ravel() for v in self._formulation.parameters.start(None)])

    def can_fetch(self) -> bool:
        """Whether the compiled functions can compute the fetches too."""
        found = self._formulation.fetching(self._fetches)
        self.backend_reason = found if isinstance(found, str) else None
        return not isinstance(found, str)

    def solve(
        self,
        method: Any,
        bounds: PackedBounds,
        tol: Any,
        options: Any,
        callback: Callable[..., Any] | None,
        on_fetched: Callable[[list[Any]], object] | None,
    ) -> OptimizeResult:
        """Solve on the compiled function, without Python between two evaluations."""
        formulation = self._formulation
        program = formulation.program if on_fetched is None else formulation.fetching(self._fetches)
        assert isinstance(program, Program)
        constraints = [NamedConstraint(*constraint) for constraint in formulation.constraints]
        problem = Problem(formulation.parameters, method, bounds, constraints)
        return solve(program, problem, None, (), tol=tol, callback=callback, options=options, on_fetched=on_fetched)

    def functions(self) -> FlatFunctions:
        """The functions for a solver in Python."""
        formulation = self._formulation
        return TracedFunctions(formulation.traced(self._fetches), (), formulation.counts)

    def callback(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The user's function in the form in which the solve calls it."""
        return function

    def fetched(self, values: Sequence[Any]) -> Any:
        """The values of all fetches, in their structure."""
        return values

    def release(self) -> None:
        """Do nothing: solves share everything here."""

    def assign(self, x: Float64) -> None:
        """Give the variables their final values."""
        self._formulation.parameters.assign(x)


def _tensors(fetches: Sequence[Any]) -> Callable[[], list[tf.Tensor]]:
    """A function to trace, which returns the values of the fetches."""
    called = [fetch if as_variable(fetch) is None else _reader(fetch) for fetch in fetches]
    called = [inside_trace(fetch, False, "a fetch") for fetch in called]
    return lambda: [tf.convert_to_tensor(fetch()) for fetch in called]


def _reader(variable: Any) -> Callable[[], Any]:
    return lambda: tf.convert_to_tensor(as_variable(variable))


def _read_variables(loss: Callable[[], Any]) -> list[tf.Variable]:
    """The trainable variables that the loss reads."""
    found: list[tf.Variable] = []
    called = inside_trace(loss, False, "loss")

    def traced() -> None:
        with tf.GradientTape() as tape:
            called()
        found[:] = [v for v in tape.watched_variables() if v.dtype.is_floating]

    with private.recording():
        tf.function(traced, autograph=False).get_concrete_function()
    if not found:
        raise ValueError("the loss reads no trainable variable: give the variables to optimise in var_list.")
    return found
