"""The interface of TensorFlow 1 to optimisers of other libraries, in graphs with sessions and in TensorFlow 2."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from tfminimize import scipy as native
from tfminimize import scipy_methods
from tfminimize.bounds import flat_bounds, pack_bounds
from tfminimize.flat_functions import FlatFunctions
from tfminimize.function_problem import FunctionProblem
from tfminimize.graph_problem import GraphProblem
from tfminimize.unknowns import as_variable

__all__ = ["ExternalOptimizerInterface", "ScipyOptimizerInterface"]

Float64 = NDArray[np.float64]
_LOGGER = logging.getLogger("tensorflow")
_WITHOUT_EFFECT = ("disp", "iprint", "eps")


class ExternalOptimizerInterface:
    """Base class of interfaces to optimisation algorithms: subclass it and implement `_minimize`.

    Parameters
    ----------
    loss : tf.Tensor or callable
        What to minimise, a scalar: a tensor of a graph (TensorFlow 1), or a function of no arguments that reads
        variables (TensorFlow 2).
    var_list : sequence of variables, optional
        Those to optimise. Default: all in the graph's collection TRAINABLE_VARIABLES; or the trainable variables that
        the function reads, in the order in which they were made.
    equalities, inequalities : sequence of tf.Tensor or of callables, optional
        Constraints: what is to be zero, and what is not to be negative, element by element.
    var_to_bounds : dict or list of pairs, optional
        From a variable, or ``variable.ref()``, to ``(low, high)``; or a list of ``(variable, (low, high))``. Both are
        broadcast to the shape of the variable; None and infinities mean no bound.
    **optimizer_kwargs
        For the subclass.

    Attributes
    ----------
    optimizer_kwargs : dict
    """

    def __init__(
        self,
        loss: Any,
        var_list: Any = None,
        equalities: Any = None,
        inequalities: Any = None,
        var_to_bounds: Any = None,
        **optimizer_kwargs: Any,
    ) -> None:
        self.optimizer_kwargs = optimizer_kwargs
        constraints = _listed(equalities, "equalities"), _listed(inequalities, "inequalities")
        variables = None if var_list is None else _listed(var_list, "var_list")
        kind = _problem_class(loss)
        self._problem: Any = kind(loss, variables, *constraints)
        self._bounds = _bounds_by_variable(var_to_bounds, self._problem)

    def minimize(
        self,
        session: Any = None,
        feed_dict: Mapping[Any, Any] | None = None,
        fetches: Any = None,
        step_callback: Callable[..., Any] | None = None,
        loss_callback: Callable[..., Any] | None = None,
        **run_kwargs: Any,
    ) -> OptimizeResult:
        """Minimise from the present values of the variables, and assign them at the end, converged or not."""
        for name, function in (("step_callback", step_callback), ("loss_callback", loss_callback)):
            if function is not None and not callable(function):
                raise ValueError(f"{name} is {function!r}: give a function.")
        fetches = _listed(fetches, "fetches")
        self._check()
        run = self._problem.start(session, feed_dict, fetches, run_kwargs)
        result = self._run(run, step_callback, loss_callback)
        run.assign(result.x)
        self._report(result)
        return result

    def _minimize(
        self,
        initial_val: Float64,
        loss_grad_func: Callable[[Any], list[Any]],
        equality_funcs: list[Callable[[Any], list[Any]]],
        equality_grad_funcs: list[Callable[[Any], list[Any]]],
        inequality_funcs: list[Callable[[Any], list[Any]]],
        inequality_grad_funcs: list[Callable[[Any], list[Any]]],
        packed_bounds: list[tuple[float, float]] | None,
        step_callback: Callable[[Any], Any],
        optimizer_kwargs: dict[str, Any],
    ) -> Any:
        """Minimise a function of a flat vector; called with all arguments by keyword."""
        raise NotImplementedError(
            "To use ExternalOptimizerInterface, subclass from it and implement the _minimize() method."
        )

    def _check(self) -> None:
        """Raise an error for what no solve could use, before anything is read."""

    def _report(self, result: OptimizeResult) -> None:
        """Say how it ended."""

    def _run(
        self, run: Any, step_callback: Callable[..., Any] | None, loss_callback: Callable[..., Any] | None
    ) -> OptimizeResult:
        """Solve in Python, by `_minimize`."""
        functions: FlatFunctions = run.functions()
        self._result: OptimizeResult | None = None
        layout = self._problem.unknowns.layout
        begin = time.perf_counter()
        try:
            x = np.asarray(self._minimize(**self._arguments(run, functions, step_callback, loss_callback)), np.float64)
            if x.size != layout.size:
                raise ValueError(
                    f"_minimize returned {x.size} values, but there are {layout.size} unknowns: return a flat vector "
                    "of them all."
                )
            result = OptimizeResult() if self._result is None else self._result
            result.x = layout.rounded(x.ravel())
            if "constr_violation" not in result:
                result.constr_violation = self._violation(functions, result.x)
        except BaseException:
            functions.restore()
            raise
        finally:
            self._result = None
        result.backend = functions.backend
        if run.backend_reason is not None:
            result.backend_reason = run.backend_reason
        result.timing = {
            "trace": functions.trace_seconds,
            "compile": 0.0,
            "evaluate": functions.seconds,
            "solver": time.perf_counter() - begin - functions.seconds,
        }
        return result

    def _arguments(
        self,
        run: Any,
        functions: FlatFunctions,
        step_callback: Callable[..., Any] | None,
        loss_callback: Callable[..., Any] | None,
    ) -> dict[str, Any]:
        """The arguments of `_minimize`."""

        def loss_grad_func(x: Any) -> list[Any]:
            loss, gradient, fetched = functions.loss_and_gradient(x)
            if loss_callback is not None:
                loss_callback(*fetched)
            return [loss, gradient]

        def step(xk: Any) -> Any:
            return None if step_callback is None else step_callback(xk)

        def values(i: int) -> Callable[[Any], list[Any]]:
            return lambda x: list(functions.values(i, x))

        def gradients(i: int) -> Callable[[Any], list[Any]]:
            return lambda x: list(functions.jacobian(i, x))

        equalities = range(functions.num_equalities)
        inequalities = range(functions.num_equalities, functions.num_equalities + functions.num_inequalities)
        return {
            "initial_val": run.initial(),
            "loss_grad_func": loss_grad_func,
            "equality_funcs": [values(i) for i in equalities],
            "equality_grad_funcs": [gradients(i) for i in equalities],
            "inequality_funcs": [values(i) for i in inequalities],
            "inequality_grad_funcs": [gradients(i) for i in inequalities],
            "packed_bounds": self._packed_bounds(),
            "step_callback": step,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def _violation(self, functions: FlatFunctions, x: Float64) -> float:
        """The greatest violation of a constraint or bound, for solvers that do not tell it."""
        violations = [0.0]
        for i in range(functions.num_equalities + functions.num_inequalities):
            values = functions.values(i, x)
            violations.append(np.max(np.abs(values) if i < functions.num_equalities else -values, initial=0.0))
        for value, (low, high) in zip(x, self._packed_bounds() or (), strict=False):
            violations.append(max(low - value, value - high))
        return float(max(violations))

    def _packed_bounds(self) -> list[tuple[float, float]] | None:
        if self._bounds is None:
            return None
        packed = pack_bounds(self._bounds, self._problem.unknowns)
        if packed[0] is None:
            low, high = flat_bounds(self._bounds, self._problem.unknowns)
        else:
            low, high = (self._problem.unknowns.layout.flatten(side) for side in packed)
        return list(zip(low.tolist(), high.tolist(), strict=True))


class ScipyOptimizerInterface(ExternalOptimizerInterface):
    """`scipy.optimize.minimize` for the loss and variables of a graph with a session, or of TensorFlow 2.

    Examples
    --------
    >>> import tensorflow as tf
    >>> vector = tf.Variable([7.0, 7.0])
    >>> optimizer = ScipyOptimizerInterface(lambda: tf.reduce_sum(vector**2), options={"maxiter": 100})
    >>> result = optimizer.minimize()
    >>> bool(abs(vector.numpy()).max() < 1e-5)
    True
    """

    _DEFAULT_METHOD = "L-BFGS-B"

    def _minimize(  # the hook's arguments, by keyword
        self,
        initial_val: Float64,
        loss_grad_func: Callable[[Any], list[Any]],
        equality_funcs: list[Callable[[Any], list[Any]]],
        equality_grad_funcs: list[Callable[[Any], list[Any]]],
        inequality_funcs: list[Callable[[Any], list[Any]]],
        inequality_grad_funcs: list[Callable[[Any], list[Any]]],
        packed_bounds: list[tuple[float, float]] | None,
        step_callback: Callable[[Any], Any],
        optimizer_kwargs: dict[str, Any],
    ) -> Any:
        method, kwargs = _split_method(optimizer_kwargs, self._DEFAULT_METHOD)
        _check_kwargs(kwargs)
        name = scipy_methods.method_name(method, equality_funcs or inequality_funcs)
        has_gradient = callable(name) or name not in scipy_methods.WITHOUT_GRADIENT
        if name in ("l-bfgs-b", "slsqp"):
            kwargs = {**kwargs, "options": _meaningful(kwargs.get("options"))}
        rows = [
            *(("eq", *pair) for pair in zip(equality_funcs, equality_grad_funcs, strict=True)),
            *(("ineq", *pair) for pair in zip(inequality_funcs, inequality_grad_funcs, strict=True)),
        ]
        constraints = [{"type": kind, "fun": _array(fun), "jac": _array(jac)} for kind, fun, jac in rows]
        result = scipy.optimize.minimize(
            (lambda x, *args: tuple(loss_grad_func(x))) if has_gradient else (lambda x, *args: loss_grad_func(x)[0]),
            scipy_methods.start(name, initial_val, self._problem.unknowns.layout),
            jac=True if has_gradient else None,
            callback=lambda xk, *_: step_callback(xk),  # trust-constr has a second argument
            method={"l-bfgs-b": native.lbfgsb, "slsqp": native.slsqp}.get(name, name)
            if isinstance(name, str)
            else name,
            constraints=constraints,
            bounds=packed_bounds,
            **kwargs,
        )
        self._result = result
        return result.x

    def _check(self) -> None:
        method, kwargs = _split_method(self.optimizer_kwargs, self._DEFAULT_METHOD)
        _check_kwargs(kwargs)
        name = scipy_methods.method_name(method, self._problem.constraints)
        if self._problem.constraints and isinstance(name, str) and name not in scipy_methods.WITH_CONSTRAINTS:
            raise ValueError(f"method {method!r} cannot handle constraints: use method='SLSQP', or remove them.")
        if self._bounds is not None:
            scipy_methods.check_bounds(name, pack_bounds(self._bounds, self._problem.unknowns)[0])

    def _run(
        self, run: Any, step_callback: Callable[..., Any] | None, loss_callback: Callable[..., Any] | None
    ) -> OptimizeResult:
        method, kwargs = _split_method(self.optimizer_kwargs, self._DEFAULT_METHOD)
        name = scipy_methods.method_name(method, self._problem.constraints)
        is_plain = type(self)._minimize is ScipyOptimizerInterface._minimize and loss_callback is None
        of_solver = name == "slsqp" or not self._problem.constraints
        if not (is_plain and of_solver and run.can_be_native and set(kwargs) <= {"tol", "options"}):
            return super()._run(run, step_callback, loss_callback)
        options = kwargs.get("options")
        if name in ("l-bfgs-b", "slsqp"):
            options = _meaningful(options)
        callback = None
        if step_callback is not None:
            in_context = run.callback(step_callback)
            callback = lambda xk: in_context(xk)  # noqa: E731  SciPy looks at the names of parameters
        return run.solve(name, self._bounds, kwargs.get("tol"), options, callback)

    def _report(self, result: OptimizeResult) -> None:
        lines = ["Optimization terminated with:", "  Message: %s", "  Objective function value: %f"]
        values = [result.message, result.fun]
        if hasattr(result, "nit"):
            lines.append("  Number of iterations: %d")
            values.append(result.nit)
        if hasattr(result, "nfev"):
            lines.append("  Number of functions evaluations: %d")
            values.append(result.nfev)
        _LOGGER.info("\n".join(lines), *values)


def _problem_class(loss: Any) -> Any:
    """Whether the loss is one of TensorFlow 1 or 2."""
    if isinstance(loss, tf.Variable) or tf.is_tensor(loss):
        graph = None if tf.executing_eagerly() and not tf.is_symbolic_tensor(loss) else getattr(loss, "graph", None)
        if graph is None:
            raise ValueError(
                f"the loss is the value {loss!r}, from which nothing can be computed again: give a function of no "
                "arguments that returns the loss."
            )
        if hasattr(graph, "outer_graph"):
            raise ValueError(f"the loss {loss!r} is a tensor inside of a tf.function: use the interface outside of it.")
        return GraphProblem
    if callable(loss):
        return FunctionProblem
    raise ValueError(f"the loss is {loss!r}: give a function of no arguments, or a tensor of a TensorFlow 1 graph.")


def _listed(values: Any, name: str) -> list[Any]:
    if values is None:
        return []
    if isinstance(values, (str, bytes)) or tf.is_tensor(values) or isinstance(values, tf.Variable) or callable(values):
        raise ValueError(f"{name} is {values!r}: give a list, such as [{values!r}].")
    try:
        return list(values)
    except TypeError:
        raise ValueError(f"{name} is {values!r}: give a list.") from None


def _bounds_by_variable(var_to_bounds: Any, problem: Any) -> list[Any] | None:
    """The bounds parallel to the variables; checked."""
    if var_to_bounds is None:
        return None
    pairs = var_to_bounds.items() if isinstance(var_to_bounds, Mapping) else _pairs(var_to_bounds)
    places = {id(variable): i for i, variable in enumerate(problem.variables)}
    found: list[Any] = [None] * len(places)
    for key, bounds in pairs:
        given = key.deref() if hasattr(key, "deref") else key
        variable = as_variable(given)
        if variable is None:
            raise ValueError(f"var_to_bounds has the key {key!r}, which is no variable: give a variable, or its ref().")
        if id(variable) not in places:
            raise ValueError(
                f"var_to_bounds has bounds for variable '{variable.name}', which is not optimised: remove them, or add "
                "the variable to var_list."
            )
        found[places[id(variable)]] = bounds
    pack_bounds(found, problem.unknowns)
    return found


def _pairs(var_to_bounds: Any) -> Sequence[Any]:
    try:
        pairs = [(variable, bounds) for variable, bounds in var_to_bounds]
    except (TypeError, ValueError):
        raise ValueError(
            f"var_to_bounds is {var_to_bounds!r}: give a dict {{variable.ref(): (low, high)}} or a list of "
            "(variable, (low, high))."
        ) from None
    return pairs


def _split_method(optimizer_kwargs: Mapping[str, Any], default: str) -> tuple[Any, dict[str, Any]]:
    kwargs = dict(optimizer_kwargs)
    return kwargs.pop("method", default), kwargs


def _check_kwargs(kwargs: Mapping[str, Any]) -> None:
    for name in kwargs:
        if name == "bounds":
            raise ValueError("Bounds must be set using the var_to_bounds argument")
        if name in ("jac", "callback", "method", "constraints"):
            raise ValueError(f"Optimizer keyword arg '{name}' is set automatically and cannot be injected manually")


def _meaningful(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options without those that SciPy's solvers have and the native ones do not need."""
    options = dict(options or {})
    ignored = [name for name in _WITHOUT_EFFECT if name in options]
    shown = [f"'{name}'" for name in ignored if options[name] not in (None, False)]
    if shown:
        warnings.warn(f"the option {', '.join(shown)} has no effect here: remove it.", UserWarning, stacklevel=4)
    return {name: value for name, value in options.items() if name not in ignored}


def _array(function: Callable[[Any], list[Any]]) -> Callable[..., Float64]:
    return lambda x, *args: np.asarray(function(x), np.float64)
