"""`minimize`, and the small cache that keeps it from tracing the same function twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfminimize._graph import operation
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve.program import Program
from tfminimize._solve.solve import solve
from tfminimize._trace.recent import Recent
from tfminimize._trace.user_function import check_context

__all__ = ["clear_cache", "minimize"]

MAX_PROGRAMS = 8
"""Functions that stay compiled; the one not used for longest goes."""

_programs: Recent[Program] = Recent(MAX_PROGRAMS)


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: Any = "L-BFGS-B",
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    jit_compile: bool | None = None,
    **unsupported: Any,
) -> OptimizeResult | operation.MinimizeResult:
    """Minimise a TensorFlow function of one or more arrays or variables.

    `scipy.optimize.minimize` for TensorFlow: the gradient is TensorFlow's, the solver calls the compiled function
    without Python in between.

    Parameters
    ----------
    fun : callable
        The loss, a real scalar (or a single element) of dtype float64 or float32: ``fun(x, *args)`` in functional use,
        ``fun(*args)`` if ``x0`` is made of variables, which it then reads. A Python function or a `tf.function`.
    x0 : array, number, tensor or nested structure of them; or variable(s)
        *Functional use*: the start. ``fun`` gets tensors in the structure of ``x0`` (see `tf.nest`; a list of plain
        numbers is one array), float32 where ``x0`` is float32, else float64.
        *Variable use*: a `tf.Variable`, a Keras 3 variable, or a structure of them, float64 or float32, also mixed.
        Their values are the start. They are not touched during the solve and assigned once at its end, converged or
        not; after an exception they are as before.
    args : tuple, optional
        Further arguments of ``fun``. Tensors, arrays and NumPy scalars are passed as tensors of their own dtype, Python
        floats as tensors of the dtype of x: new values of the same shape do not retrace. All else (Python integers,
        strings, variables, models) is handed over as it is; a new value is a new trace, as with `tf.function`.
    method : str or callable, default "L-BFGS-B"
        L-BFGS-B and SLSQP are native. Any other of `scipy.optimize.minimize` runs in SciPy, on the compiled function;
        Newton-CG gets exact products of the Hessian with vectors, from TensorFlow (where TensorFlow has no second
        derivatives of the loss, differences of its gradient).
        None is SLSQP if there are constraints, L-BFGS-B otherwise.
    bounds : optional
        For one array or each leaf: ``(low, high)``, both broadcast to its shape; or one such pair of numbers for each
        element in C order, or an array ``[n, 2]``; or `scipy.optimize.Bounds`. For leaves or variables these stand in
        the structure of ``x0``, in a list parallel to its leaves, or in a dict of ``variable.ref()``. They are numbers,
        arrays or tensors; None and infinities mean no bound. A start outside is projected.
    constraints : dict, NonlinearConstraint, LinearConstraint or list of them, optional
        For SLSQP, in SciPy's forms. ``{"type": "eq", "fun": c, "args": ()}`` means ``c(x, *args) = 0``, ``"ineq"``
        ``c(x, *args) >= 0``, and `scipy.optimize.NonlinearConstraint` ``lb <= c(x) <= ub``, for every element of what c
        returns. c is a TensorFlow function that is called like ``fun``: in variable use ``c(*args)``. Its Jacobian is
        TensorFlow's. A `scipy.optimize.LinearConstraint` has an A of one column for each element of x, of all leaves or
        variables in the order of ``tf.nest.flatten(x0)``; its rows cost nothing in an evaluation. (Other methods of
        SciPy's that take constraints get them as they are: functions of one NumPy vector.)
    tol : float, optional
        Sets ``ftol`` and, for L-BFGS-B, ``gtol``.
    callback : callable, optional
        ``callback(xk)``, or ``callback(intermediate_result)`` with a parameter of just this name, after each iteration.
        x is a copy of what ``result.x`` would be. `StopIteration` ends the solve with status 99.
    options : dict, optional
        L-BFGS-B: ``maxcor=10, ftol=2.2e-9, gtol=1e-5, maxfun=15000, maxiter=15000, maxls=20``, SLSQP: ``ftol=1e-6,
        maxiter=100``; as in SciPy. L-BFGS-B also has ``storage="float64"``: ``"float32"`` keeps its correction pairs in
        half of the memory, and takes another path than SciPy.
    jit_compile : bool, optional
        None follows ``fun``: XLA if it is a ``tf.function(jit_compile=True)``. True and False force it.

    Returns
    -------
    tfminimize.OptimizeResult
        A `scipy.optimize.OptimizeResult` with SciPy's fields: ``x, fun, jac, nit, nfev, njev, status, success,
        message``, of L-BFGS-B ``hess_inv``, of SLSQP ``multipliers``. ``x`` and ``jac`` have the structure of ``x0``
        (NumPy arrays), for variables they are flat vectors in the order of ``tf.nest.flatten(x0)``; ``hess_inv`` acts
        on flat vectors. ``multipliers`` has one
        element for each equality, then one for each inequality, as in SciPy: a constraint with two limits has two, the
        lower ones first. Four fields are our own: ``constr_violation`` is the greatest violation of a constraint or
        bound, ``backend`` says what evaluated the function (``"xla"``: machine code, without TensorFlow; ``"tfe"``:
        TensorFlow), ``backend_reason`` why, and ``timing`` how many seconds went to ``trace``, ``compile`` (the first
        evaluation of a new trace), ``evaluate`` and ``solver``.
    tfminimize.ops.MinimizeResult
        Inside of a `tf.function` or a graph of TensorFlow 1: the call is `tfminimize.ops.minimize`, an operation of the
        graph, and the result is made of tensors. There is no ``callback`` then.

    Raises
    ------
    ValueError, TypeError
        Before anything runs, with a sentence that names the value and the remedy.
    Exception
        Whatever ``fun`` or ``callback`` raises, unchanged.

    Notes
    -----
    The last eight compiled functions are kept, so that calling `minimize` in a loop with the same ``fun`` traces once;
    `clear_cache` drops them with the memory they hold. As with `tf.function`, Python values that ``fun`` reads, other
    than ``x`` and ``args``, are those of the time of the trace.

    Examples
    --------
    >>> import numpy as np, tensorflow as tf
    >>> def rosenbrock(x):
    ...     return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    >>> result = minimize(rosenbrock, np.array([-1.2, 1.0]))
    >>> result.success, result.x.round(4)
    (True, array([1., 1.]))

    >>> v = tf.Variable([7.0, 7.0])
    >>> result = minimize(lambda: tf.reduce_sum(v**2), v, bounds=([1.0, 2.0], None))
    >>> v.numpy()
    array([1., 2.], dtype=float32)

    The point of the unit disc nearest to (2, 1):

    >>> def in_disc(x):
    ...     return 1.0 - tf.reduce_sum(x**2)
    >>> constraint = {"type": "ineq", "fun": in_disc}
    >>> result = minimize(
    ...     lambda x: tf.reduce_sum((x - [2.0, 1.0]) ** 2), np.zeros(2), method="SLSQP", constraints=constraint
    ... )
    >>> result.x.round(4), result.multipliers.round(3), result.constr_violation.round(6)
    (array([0.8944, 0.4472]), array([1.236]), np.float64(0.0))
    """
    _refuse(unsupported)
    if not callable(fun):
        raise ValueError(f"fun is {fun!r}: give a function that returns the loss.")
    if not tf.executing_eagerly():
        if callback is not None:
            raise ValueError(
                "a callback cannot be called from inside of a graph: remove it, and read the losses of all iterations "
                "from result.history; or call minimize outside of tf.function."
            )
        return operation.minimize(fun, x0, args, method, bounds, constraints, tol, options, jit_compile)
    check_context()
    parameters = Parameters(x0)
    problem = Problem(parameters, method, bounds, constraints)
    program = _program(fun, parameters, jit_compile)
    return solve(program, problem, x0, args, tol=tol, callback=callback, options=options)


def clear_cache() -> None:
    """Forget the functions that `minimize` has compiled, and free the memory that is kept for them.

    Examples
    --------
    >>> clear_cache()
    """
    _programs.clear()


def _program(fun: Callable[..., Any], parameters: Parameters, jit_compile: bool | None) -> Program:
    """The program for these, from the cache if it is there; an unhashable ``fun`` is compiled each time."""
    key = (fun, parameters.key(), jit_compile)
    try:
        hash(key)
    except TypeError:
        return Program(fun, parameters, jit_compile)
    return _programs.get(key, lambda: Program(fun, parameters, jit_compile))


_REASONS = {
    "jac": "the gradient is made by TensorFlow",
    "hess": "derivatives are made by TensorFlow",
    "hessp": "derivatives are made by TensorFlow",
}


def _refuse(unsupported: Mapping[str, Any]) -> None:
    for name, value in unsupported.items():
        if name in _REASONS:
            if value is None:  # SciPy's default, which asks for nothing
                continue
            raise TypeError(
                f"minimize takes no {name}=: {_REASONS[name]}. Remove it; for a function on NumPy arrays use "
                "scipy.optimize.minimize(..., method=tfminimize.scipy.lbfgsb)."
            )
        raise TypeError(f"minimize got an unexpected keyword argument {name!r}.")
