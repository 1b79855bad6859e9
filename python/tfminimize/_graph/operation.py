"""Minimisation as a graph operation: in a `tf.function`, a SavedModel, or a graph of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfminimize._graph.call import Call, Solve, static_shape
from tfminimize._problem.bounds import pack_bounds, tensor_bounds
from tfminimize._problem.methods import check_bounds
from tfminimize._problem.parameters import Parameters, replicas
from tfminimize._tf import binding
from tfminimize._trace.flat import join, split
from tfminimize._trace.user_function import JitCompile

__all__ = ["MinimizeResult", "minimize", "traced_minimize"]

HISTORY = "fun", "gradient_norm", "step", "nfev", "seconds", "constr_violation"
"""The rows of the operation's output of that name."""


class MinimizeResult(NamedTuple):
    """The result of a minimisation as tensors.

    Attributes
    ----------
    x : tensor or structure of tensors
        The solution in the structure, shapes and dtypes of ``x0``; for variables a flat float64 vector ``[n]``.
    fun : tf.Tensor, float64, shape ()
        The loss at x.
    jac : tensor or structure of tensors
        The gradient at x, in the form of ``x``.
    nit, nfev, njev : tf.Tensor, int64, shape ()
        Iterations, evaluations of the loss and of its gradient.
    status : tf.Tensor, int32, shape ()
        SciPy's number. 0: converged. L-BFGS-B and BFGS: 1 reached a limit, 2 or 3 failed. SLSQP: 2 to 10, where 9 is
        the limit.
    success : tf.Tensor, bool, shape ()
        Whether ``status`` is 0.
    constr_violation : tf.Tensor, float64, shape ()
        The greatest violation of a constraint.
    multipliers : tf.Tensor or None
        For SLSQP: float64, one for each constraint, in the order of `tfminimize.minimize`.
    history : dict of tf.Tensor, each of shape (nit + 1,)
        The record of the start and of each iteration, as `tfminimize.minimize` returns it with ``history=True``:
        ``fun``, ``gradient_norm``, ``step``, ``seconds`` and ``constr_violation``, float64, and ``nfev``, int64. It has
        one element less if SLSQP's last iteration found no step.
    backend : tf.Tensor, string, shape ()
        What evaluated the function: ``"xla"``, machine code without TensorFlow, or ``"tensorflow"``.
    backend_reason : tf.Tensor, string, shape ()
        Why: a sentence.
    """

    x: Any
    fun: tf.Tensor
    jac: Any
    nit: tf.Tensor
    nfev: tf.Tensor
    njev: tf.Tensor
    status: tf.Tensor
    success: tf.Tensor
    constr_violation: tf.Tensor
    multipliers: tf.Tensor | None
    history: dict[str, tf.Tensor]
    backend: tf.Tensor
    backend_reason: tf.Tensor


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: Any = "L-BFGS-B",
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    jit_compile: JitCompile = None,
    name: str = "minimize",
) -> MinimizeResult:
    """Add an operation that minimises a TensorFlow function to the current graph, or run it at once in eager mode.

    Parameters
    ----------
    fun, x0, args, method, bounds, constraints, tol, options, jit_compile
        As in `tfminimize.minimize`, but tensors may be symbolic: in ``x0``, with static shapes; in ``args``, also those
        of constraints; and in ``bounds``, in every form (except `scipy.optimize.Bounds`, which turns its tensors into
        arrays: use `tfminimize.Bounds`); and in ``options``, as ``hess_inv0``. ``method`` is L-BFGS-B, SLSQP or BFGS.
        With ``jit_compile=True``, a function that XLA cannot compile is an error.
    name : str
        The name of the operation.

    Returns
    -------
    MinimizeResult
        Variables are assigned before any of its tensors is available.

    Raises
    ------
    ValueError, TypeError
        While the graph is built, with a sentence that names the value and the remedy.
    tf.errors.OpError
        While the graph runs: an error in ``fun``, with the node that raised it.

    Notes
    -----
    `tf.GradientTape` and `tf.gradients` differentiate ``x``, ``fun``, ``jac`` and ``multipliers`` by everything that
    ``fun`` and the constraints read (``args``, other tensors, variables) and by bounds that are tensors. They use the
    equations that hold at a solution, so that the cost does not depend on the number of iterations: it is about one
    Hessian, or some Hessian-vector products if x has more than 100 elements. The gradient is as accurate as the
    solution, so set tight tolerances. If ``success`` is false, or several solutions are equally good, the gradient is
    finite but may mean little. The loss needs second derivatives; the gradient cannot be differentiated again.

    In eager mode each call traces ``fun``: call it in a `tf.function`, or use `tfminimize.minimize`, to trace once.

    Examples
    --------
    >>> @tf.function
    ... def nearest(a):
    ...     return minimize(
    ...         lambda x: tf.reduce_sum((x - a) ** 2), tf.zeros_like(a), bounds=(0, 1)
    ...     ).x
    >>> nearest(tf.constant([2.0, 0.5, -1.0])).numpy().round(4)
    array([1. , 0.5, 0. ], dtype=float32)
    """
    return traced_minimize(Solve(fun, x0, args, method, bounds, constraints, tol, options, jit_compile, name=name))[0]


def traced_minimize(given: Solve) -> tuple[MinimizeResult, list[tf.Tensor]]:
    """Minimise; also return the traced tensors of all iterations, stacked along a new first axis."""
    module = binding.ops()
    if tf.executing_eagerly():
        pack_bounds(given.bounds, _parameters(given.x0))  # raises now, while the values are known
        # The gradient needs the functions; the graph of a function knows them, a tape in eager mode does not.
        found = tf.function(lambda: traced_minimize(given), autograph=False).get_concrete_function()()
        return MinimizeResult(*found[0]), list(found[1])
    given.check("tfminimize.ops.minimize")
    with tf.name_scope(given.name):
        parameters = _parameters(given.x0)
        call = Call(given, parameters)
        functions = call.functions
        bounds = tensor_bounds(given.bounds, parameters)
        check_bounds(call.problem.method, bounds[0] if bounds[0].shape[0] else None)
        outputs = call.add(
            module.tfminimize_minimize,
            join(_start(given.x0, parameters)),
            bounds,
            state=[] if given.trace is None else list(given.trace.state),
            variables=functions.variables,
            variable_dtypes=[v.dtype for v in parameters.variables],
            variable_shapes=[v.shape for v in parameters.variables],
            trace_functions=functions.trace_functions,
            trace_shapes=functions.trace_shapes,
            trace_start=given.trace is not None and given.trace.at_start,
            Ttrace=functions.trace_dtypes,
        )
        if parameters.variables:
            outputs = _assigned(outputs, parameters)
        return _result(outputs, parameters, call.problem.method), [tf.stop_gradient(row) for row in outputs.trace]


def _parameters(x0: Any) -> Parameters:
    return x0 if isinstance(x0, Parameters) else Parameters(_without_tensors(x0))


def _without_tensors(x0: Any) -> Any:
    """Replace each symbolic tensor in ``x0`` by an array: only shapes and dtypes matter here."""
    leaves = tf.nest.flatten(x0)
    if not any(tf.is_tensor(leaf) for leaf in leaves):
        return x0
    return tf.nest.map_structure(lambda leaf: _placeholder(leaf) if tf.is_symbolic_tensor(leaf) else leaf, x0)


def _placeholder(tensor: tf.Tensor) -> np.ndarray[Any, Any]:
    return np.zeros(static_shape(tensor, tensor.shape, "x0"), tensor.dtype.as_numpy_dtype)


def _start(x0: Any, parameters: Parameters) -> list[tf.Tensor]:
    """Return the leaves of the start."""
    if parameters.variables:
        return [v.read_value() for v in parameters.variables]
    return [tf.convert_to_tensor(leaf) for leaf in parameters.leaves(x0)]


def _assigned(outputs: Any, parameters: Parameters) -> Any:
    """Return the outputs, available once the variables hold the solution."""
    leaves = split(outputs.x, parameters.layout)
    assignments = [
        tf.raw_ops.AssignVariableOp(resource=replica.handle, value=leaf)
        for v, leaf in zip(parameters.variables, leaves, strict=True)
        for replica in replicas(v)
    ]
    with tf.control_dependencies(assignments):
        return type(outputs)(*tf.nest.map_structure(tf.identity, tuple(outputs)))


def _result(outputs: Any, parameters: Parameters, method: str) -> MinimizeResult:
    def shown(flat: tf.Tensor) -> Any:
        leaves = split(flat, parameters.layout)  # rounded to what the function saw
        return join(leaves) if parameters.variables else parameters.rebuild(leaves)

    return MinimizeResult(
        x=shown(outputs.x),
        fun=outputs.fun,
        jac=shown(outputs.jac),
        nit=outputs.nit,
        nfev=outputs.nfev,
        njev=outputs.njev,
        status=outputs.status,
        success=tf.equal(outputs.status, 0),
        constr_violation=tf.stop_gradient(outputs.constr_violation),
        multipliers=outputs.multipliers if method == "slsqp" else None,
        history=_history(outputs.history),
        backend=outputs.backend,
        backend_reason=outputs.backend_reason,
    )


def _history(columns: tf.Tensor) -> dict[str, tf.Tensor]:
    history = dict(zip(HISTORY, tf.unstack(tf.stop_gradient(columns)), strict=True))
    history["nfev"] = tf.cast(history["nfev"], tf.int64)
    return history
