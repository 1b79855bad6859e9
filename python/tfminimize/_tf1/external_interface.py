"""The base class of TensorFlow 1's interfaces to optimisers of other libraries, with sessions and in TensorFlow 2."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._problem.bounds import PackedBounds, as_packed
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.violation import add_violation
from tfminimize._tf1.arguments import bounds_by_variable, formulate, listed
from tfminimize._tf1.formulation import Run
from tfminimize._tf1.functions import FlatFunctions
from tfminimize._tf1.internals import Internals
from tfminimize._trace.dataset_loss import check_alone
from tfminimize._trace.user_function import JitCompile

__all__ = ["ExternalOptimizerInterface"]

Float64 = NDArray[np.float64]


class ExternalOptimizerInterface(Internals):
    """Base class of interfaces to optimisation algorithms: subclass it and implement `_minimize`.

    Parameters
    ----------
    loss : tf.Tensor or callable
        The loss, a scalar of dtype float64 or float32: a tensor of a graph (TensorFlow 1), or a function of no
        arguments that reads variables (TensorFlow 2).
    var_list : sequence of variables, optional
        The variables to optimise, float64 or float32, also mixed. Default: the collection TRAINABLE_VARIABLES of the
        graph; or the trainable variables that the function reads, in the order in which they were made. If the loss
        does not depend on a variable, it keeps its value.
    equalities, inequalities : sequence of tf.Tensor or of callables, optional
        Constraints: every element of an equality must be 0, every element of an inequality 0 or greater. Shapes must
        be static.
    var_to_bounds : dict or list of pairs, optional
        From a variable, or ``variable.ref()``, to ``(low, high)``; or a list of ``(variable, (low, high))``. ``low``
        and ``high`` are broadcast to the shape of the variable; None, also as an element, and infinities mean no bound.
    **optimizer_kwargs
        For the subclass.

    Raises
    ------
    ValueError, TypeError
        With a sentence that names the tensor or variable and the remedy.

    Attributes
    ----------
    optimizer_kwargs : dict

    Notes
    -----
    Subclasses may read the private attributes of the original, such as ``_vars`` and ``_packed_var``: see `Internals`.

    In a graph, the constructor adds the operations for gradients and assignments; nothing is added later. If the loss
    calls a `tf.function`, `tf.cond` or `tf.while_loop`, make the interface before you first use the session.

    Examples
    --------
    >>> class GradientDescent(ExternalOptimizerInterface):
    ...     def _minimize(
    ...         self,
    ...         initial_val,
    ...         loss_grad_func,
    ...         step_callback,
    ...         optimizer_kwargs,
    ...         **unused,
    ...     ):
    ...         x = initial_val
    ...         for _ in range(optimizer_kwargs["steps"]):
    ...             loss, gradient = loss_grad_func(x)
    ...             x = x - 0.1 * gradient
    ...             step_callback(x)
    ...         return x
    >>> v = tf.Variable([2.0, 3.0])
    >>> result = GradientDescent(
    ...     lambda: tf.reduce_sum((v - 1.0) ** 2), steps=100
    ... ).minimize()
    >>> v.numpy().round(6)
    array([1., 1.], dtype=float32)
    """

    _jit_compile: JitCompile = None

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
        self._of_thread = threading.local()  # `result`, `functions`: those of `_minimize`, while it runs
        constraints = listed(equalities, "equalities"), listed(inequalities, "inequalities")
        variables = None if var_list is None else listed(var_list, "var_list")
        if variables is not None and not variables:
            raise ValueError("var_list is empty: give at least one variable, or leave it out.")
        check_alone(loss, "ScipyOptimizerInterface")
        self._formulation = formulate(loss, variables, *constraints, self._jit_compile)
        self._loss = getattr(self._formulation, "loss", loss)  # the tensor, if it was given by name
        read = [constraint for _, _, constraint in self._formulation.constraints]
        self._equalities, self._inequalities = read[: len(constraints[0])], read[len(constraints[0]) :]
        self._bounds = bounds_by_variable(var_to_bounds, self._formulation)

    def minimize(
        self,
        session: Any = None,
        feed_dict: Mapping[Any, Any] | None = None,
        fetches: Any = None,
        step_callback: Callable[..., Any] | None = None,
        loss_callback: Callable[..., Any] | None = None,
        **run_kwargs: Any,
    ) -> OptimizeResult:
        """Minimise from the present values of the variables, and assign the result, converged or not, at the end.

        Parameters
        ----------
        session : tf.compat.v1.Session, optional
            For tensors: the session that holds the variables. Default: the default session.
        feed_dict : dict, optional
            For tensors: values for placeholders, or for any other tensor or variable. They are read once.
        fetches : list, optional
            What `loss_callback` gets: tensors or variables of the graph; for a loss that is a function, functions of no
            arguments or variables.
        step_callback : callable, optional
            ``step_callback(xk)`` after each iteration, with a flat vector of all variables, one after the other, shape
            (n,). `StopIteration` ends the solve.
        loss_callback : callable, optional
            ``loss_callback(*fetched)`` after each evaluation of loss and gradient, with the values of ``fetches``.
        **run_kwargs
            For tensors: ``options`` and ``run_metadata``, passed to ``session.run``.

        Returns
        -------
        scipy.optimize.OptimizeResult
            ``x``, the flat vector, and the method's other fields. ``backend`` says what evaluated the loss: ``"tfe"``
            or ``"xla"``, a compiled function; or ``"session"``, if the graph cannot be lifted out of its session; then
            ``backend_reason`` names the operation that prevents it. ``timing`` is in seconds, as in
            `tfminimize.minimize`.

        Raises
        ------
        ValueError, TypeError
            Before anything changes, with a sentence that names the argument at fault.
        Exception
            Anything that a callback raises; the variables then keep their old values.
        """
        for name, function in (("step_callback", step_callback), ("loss_callback", loss_callback)):
            if function is not None and not callable(function):
                raise ValueError(f"{name} is {function!r}: give a function.")
        fetches = listed(fetches, "fetches")
        bounds = as_packed(self._bounds, self._formulation.parameters)
        self._check(bounds)
        run = self._formulation.start(session, feed_dict, fetches, run_kwargs)
        try:
            result = self._run(run, bounds, step_callback, loss_callback)
        finally:
            run.release()
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
        """Minimise a function of a flat vector. Subclasses implement this; all arguments are passed by keyword.

        Parameters
        ----------
        initial_val : ndarray, shape (n,)
            The start, float64: all variables, one after the other.
        loss_grad_func : callable
            ``loss_grad_func(x) -> [loss, gradient]``, a float and an array of shape (n,).
        equality_funcs, inequality_funcs : list of callable
            One for each constraint: ``f(x)`` is the list of its values, of one element for a scalar.
        equality_grad_funcs, inequality_grad_funcs : list of callable
            ``g(x)`` is the list of their gradients, of shape (n,) each.
        packed_bounds : list of (low, high) or None
            One pair for each element of x, infinite where there is no bound; None without ``var_to_bounds``.
        step_callback : callable
            Call it as ``step_callback(x)`` after each iteration.
        optimizer_kwargs : dict
            From the constructor.

        Returns
        -------
        array_like, shape (n,)
            The solution.
        """
        raise NotImplementedError(
            "To use ExternalOptimizerInterface, subclass from it and implement the _minimize() method."
        )

    def _check(self, bounds: PackedBounds) -> None:
        """Raise an error if the method cannot take these bounds or arguments, before anything is read."""

    def _report(self, result: OptimizeResult) -> None:
        """Report how the solve ended."""

    def _run(
        self,
        run: Run,
        bounds: PackedBounds,
        step_callback: Callable[..., Any] | None,
        loss_callback: Callable[..., Any] | None,
    ) -> OptimizeResult:
        """Solve in Python, by `_minimize`."""
        functions = run.functions()
        self._of_thread.result, self._of_thread.functions = None, functions
        layout = self._formulation.parameters.layout
        begin = time.perf_counter()
        try:
            arguments = self._arguments(run, functions, bounds, step_callback, loss_callback)
            x = np.asarray(self._minimize(**arguments), np.float64)
            if x.size != layout.size:
                raise ValueError(
                    f"_minimize returned {x.size} values, but there are {layout.size} parameters: return a flat vector "
                    "of them all."
                )
            result = OptimizeResult() if self._of_thread.result is None else self._of_thread.result
            result.x = layout.rounded(x.ravel())
            self._add_violation(result, functions, bounds)
        except BaseException:
            functions.restore()
            raise
        finally:
            self._of_thread.result = self._of_thread.functions = None
        result.backend = functions.backend
        if run.backend_reason is not None:
            result.backend_reason = run.backend_reason
        elif self._jit_compile:
            result.backend_reason = "Python asks for each evaluation, so TensorFlow runs the function without XLA"
        result.timing = {
            "trace": functions.trace_seconds,
            "compile": 0.0,
            "evaluate": functions.seconds,
            "solver": time.perf_counter() - begin - functions.seconds,
        }
        return result

    def _arguments(
        self,
        run: Run,
        functions: FlatFunctions,
        bounds: PackedBounds,
        step_callback: Callable[..., Any] | None,
        loss_callback: Callable[..., Any] | None,
    ) -> dict[str, Any]:
        """The arguments of `_minimize`."""

        def loss_grad_func(x: Any) -> list[Any]:
            loss, gradient, fetched = functions.loss_and_gradient(x)
            if loss_callback is not None:
                loss_callback(*run.fetched(fetched))
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
            "packed_bounds": self._pairs(bounds),
            "step_callback": step,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def _add_violation(self, result: OptimizeResult, functions: FlatFunctions, bounds: PackedBounds) -> None:
        constraints = [
            {"type": kind, "fun": functools.partial(functions.values, i)}
            for i, (_, kind, _) in enumerate(self._formulation.constraints)
        ]
        box = scipy.optimize.Bounds(*bounds.flat(self._formulation.parameters.layout))
        add_violation(result, box, constraints)

    def _pairs(self, bounds: PackedBounds) -> list[tuple[float, float]] | None:
        """One (low, high) for each element of the flat vector; None without ``var_to_bounds``."""
        if self._bounds is None:
            return None
        low, high = bounds.flat(self._formulation.parameters.layout)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    @property
    def _packed_bounds(self) -> list[tuple[float, float]] | None:
        """The bounds as TensorFlow 1 packed them, for subclasses that read them."""
        return self._pairs(as_packed(self._bounds, self._formulation.parameters))
