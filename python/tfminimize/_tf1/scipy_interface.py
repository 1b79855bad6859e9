"""TensorFlow 1's interface to `scipy.optimize.minimize`, with native solvers where there are any."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._problem import methods
from tfminimize._problem.bounds import PackedBounds
from tfminimize._problem.native_methods import NATIVE_METHODS
from tfminimize._problem.result import OptimizeResult
from tfminimize._scipy.bfgs import bfgs
from tfminimize._scipy.lbfgsb import lbfgsb
from tfminimize._scipy.slsqp import slsqp
from tfminimize._solve import scipy_methods
from tfminimize._tf1.arguments import check_kwargs, meaningful_options, split_method
from tfminimize._tf1.external_interface import ExternalOptimizerInterface
from tfminimize._tf1.formulation import Run
from tfminimize._tf1.functions import FlatFunctions
from tfminimize._trace.user_function import JitCompile, check_jit

__all__ = ["ScipyOptimizerInterface"]

Float64 = NDArray[np.float64]
_LOGGER = logging.getLogger("tensorflow")

_ON_ARRAYS = {"l-bfgs-b": lbfgsb, "slsqp": slsqp, "bfgs": bfgs}
"""The native methods on functions of arrays."""


class ScipyOptimizerInterface(ExternalOptimizerInterface):
    """`scipy.optimize.minimize` for the loss and the variables of a graph with a session, or of TensorFlow 2.

    The class from TensorFlow 1's ``tf.contrib.opt``, with the same arguments. L-BFGS-B, the default, SLSQP, which takes
    constraints, and BFGS are native: the part of the graph that computes the loss, its gradient and the constraints is
    lifted out and compiled, and the solver calls it without Python or the session in between.

    Parameters
    ----------
    loss, var_list, equalities, inequalities, var_to_bounds
        As in `ExternalOptimizerInterface`.
    jit_compile : bool or "auto", optional
        As in `tfminimize.minimize`: whether XLA compiles the loss and its gradient, also those of a graph that is
        lifted. Default: no, unless the loss is a ``tf.function(jit_compile=True)``.
    **optimizer_kwargs
        ``method``, ``options`` and ``tol`` of `scipy.optimize.minimize`. The methods that are not native run in SciPy,
        with second derivatives from TensorFlow where they take them.

    Notes
    -----
    The fetches for a ``loss_callback`` are computed together with the loss, and only the callback is Python. Each
    evaluation goes through Python if a fetch is a string, or a function that has an effect or a state (random numbers,
    `tf.print`, `tf.py_function`), or if the method is not native. A graph is evaluated through the session if its
    operations have a state other than variables (random numbers, iterators, `tf.py_function`), or if it has control
    flow of TensorFlow 1. ``result.backend_reason`` says so.

    Examples
    --------
    >>> vector = tf.Variable([7.0, 7.0])
    >>> def loss():
    ...     return tf.reduce_sum(vector**2)
    >>> result = ScipyOptimizerInterface(loss, options={"maxiter": 100}).minimize()
    >>> bool(abs(vector.numpy()).max() < 1e-5)
    True

    With bounds, in a graph:

    >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    ...     v = tf.Variable([7.0, 7.0])
    ...     optimizer = ScipyOptimizerInterface(
    ...         tf.reduce_sum(v**2), var_to_bounds={v.ref(): ([1, 2], np.inf)}
    ...     )
    ...     session.run(tf.compat.v1.global_variables_initializer())
    ...     result = optimizer.minimize(session)
    ...     session.run(v)
    array([1., 2.], dtype=float32)

    With constraints: y = 1 and x >= 1.

    >>> optimizer = ScipyOptimizerInterface(
    ...     loss,
    ...     equalities=[lambda: vector[1] - 1.0],
    ...     inequalities=[lambda: vector[0] - 1.0],
    ...     method="SLSQP",
    ... )
    >>> result = optimizer.minimize()
    >>> vector.numpy().round(4)
    array([1., 1.], dtype=float32)
    """

    _DEFAULT_METHOD = "L-BFGS-B"

    def __init__(
        self,
        loss: Any,
        var_list: Any = None,
        equalities: Any = None,
        inequalities: Any = None,
        var_to_bounds: Any = None,
        *,
        jit_compile: JitCompile = None,
        **optimizer_kwargs: Any,
    ) -> None:
        check_jit(jit_compile)
        self._jit_compile = jit_compile
        super().__init__(loss, var_list, equalities, inequalities, var_to_bounds, **optimizer_kwargs)

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
        method, kwargs = split_method(optimizer_kwargs, self._DEFAULT_METHOD)
        check_kwargs(kwargs)
        name = methods.method_name(method, equality_funcs or inequality_funcs)
        if _is_native(name):
            kwargs["options"] = meaningful_options(kwargs.get("options"))
        rows = [
            *(("eq", *pair) for pair in zip(equality_funcs, equality_grad_funcs, strict=True)),
            *(("ineq", *pair) for pair in zip(inequality_funcs, inequality_grad_funcs, strict=True)),
        ]
        constraints = [{"type": kind, "fun": _array(fun), "jac": _array(jac)} for kind, fun, jac in rows]
        functions: FlatFunctions = self._of_thread.functions
        limits = None if packed_bounds is None else scipy.optimize.Bounds(*np.transpose(packed_bounds))

        def descend(x: Float64) -> float:
            of_x = lambda x: functions.loss_and_gradient(x)[:2]  # noqa: E731  without the user's callback
            options = scipy_methods.SHORT_DESCENT
            return float(scipy.optimize.minimize(of_x, x, jac=True, method=lbfgsb, bounds=limits, options=options).fun)

        if kwargs.get("hess") is None and kwargs.get("hessp") is None:
            kwargs |= _second_derivatives(name, functions)
        result = scipy_methods.minimize(
            lambda x, *args: tuple(loss_grad_func(x)),
            initial_val,
            _ON_ARRAYS[name] if _is_native(name) else name,
            self._formulation.parameters.layout,
            precision=functions.precision,
            descend=descend,
            callback=lambda xk, *_: step_callback(xk),  # trust-constr has a second argument
            constraints=constraints,
            bounds=limits,
            **kwargs,
        )
        self._of_thread.result = result
        return result.x

    def _check(self, bounds: PackedBounds) -> None:
        method, kwargs = split_method(self.optimizer_kwargs, self._DEFAULT_METHOD)
        check_kwargs(kwargs)
        name = methods.method_name(method, self._formulation.constraints)
        if self._formulation.constraints and isinstance(name, str) and name not in methods.WITH_CONSTRAINTS:
            raise ValueError(f"method {method!r} cannot handle constraints: use method='SLSQP', or remove them.")
        methods.check_bounds(name, bounds.low)

    def _run(
        self,
        run: Run,
        bounds: PackedBounds,
        step_callback: Callable[..., Any] | None,
        loss_callback: Callable[..., Any] | None,
    ) -> OptimizeResult:
        method, kwargs = split_method(self.optimizer_kwargs, self._DEFAULT_METHOD)
        name = methods.method_name(method, self._formulation.constraints)
        is_plain = type(self)._minimize is ScipyOptimizerInterface._minimize and set(kwargs) <= {"tol", "options"}
        is_compiled = is_plain and run.can_be_native
        if is_compiled and loss_callback is not None:
            is_compiled = _is_native(name) and run.can_fetch()
        if not is_compiled:
            return super()._run(run, bounds, step_callback, loss_callback)
        options = kwargs.get("options")
        if _is_native(name):
            options = meaningful_options(options)
        callback = None
        if step_callback is not None:
            in_context = run.callback(step_callback)
            callback = lambda xk: in_context(xk)  # noqa: E731  SciPy looks at the names of parameters
        on_fetched = None
        if loss_callback is not None:
            evaluated = run.callback(loss_callback)
            on_fetched = lambda values: evaluated(*run.fetched(values))  # noqa: E731
        return run.solve(name, bounds, kwargs.get("tol"), options, callback, on_fetched)

    def _report(self, result: OptimizeResult) -> None:
        if "message" not in result:
            return  # a subclass's `_minimize` called its own solver, and only that knows how it ended
        lines = ["Optimization terminated with:", "  Message: %s", "  Objective function value: %f"]
        values = [result.message, result.fun]
        if hasattr(result, "nit"):
            lines.append("  Number of iterations: %d")
            values.append(result.nit)
        if hasattr(result, "nfev"):
            lines.append("  Number of functions evaluations: %d")
            values.append(result.nfev)
        _LOGGER.info("\n".join(lines), *values)


def _is_native(method: Any) -> bool:
    """Whether the extension solves by this method, and not SciPy."""
    return isinstance(method, str) and method in NATIVE_METHODS


def _second_derivatives(method: Any, functions: FlatFunctions) -> dict[str, Any]:
    """What the method takes, as keyword arguments; raises ValueError if it needs what there is not."""
    try:
        if method in methods.WITH_PRODUCTS:
            return {"hessp": functions.products()}
        if method in methods.WITH_HESSIAN:
            return {"hess": functions.hessian()}
    except LookupError as error:
        if failure := methods.second_derivatives_error(method, error):
            raise failure from error
    return {}


def _array(function: Callable[[Any], list[Any]]) -> Callable[..., Float64]:
    return lambda x, *args: np.asarray(function(x), np.float64)
