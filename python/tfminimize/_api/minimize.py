"""`minimize`, and the small cache that saves it from tracing the same function twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import tensorflow as tf

from tfminimize._distribute.together import together
from tfminimize._graph import operation
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.state import State
from tfminimize._solve.program import Program
from tfminimize._solve.solve import solve
from tfminimize._trace import called_loss
from tfminimize._trace.dataset_loss import communicator_of, split_data
from tfminimize._trace.recent import Recent
from tfminimize._trace.user_function import JitCompile, check_context

__all__ = ["clear_cache", "minimize", "program_for"]

MAX_PROGRAMS = 8
"""This many functions stay compiled; the least recently used one is dropped first."""

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
    jit_compile: JitCompile = None,
    *,
    history: bool | Literal["x"] = False,
    state: State | None = None,
    warm_start: State | OptimizeResult | None = None,
    assign_each_iteration: bool = False,
    progress: bool = False,
    **unsupported: Any,
) -> OptimizeResult | operation.MinimizeResult:
    """Minimise a TensorFlow function of one or more arrays or variables.

    This is `scipy.optimize.minimize` for TensorFlow: TensorFlow computes the gradient, and the solver calls the
    compiled function without Python in between.

    Parameters
    ----------
    fun : callable
        The loss, a real scalar (or a single element) of dtype float64 or float32: ``fun(x, *args)`` in functional use,
        ``fun(*args)`` if ``x0`` is made of variables, which it then reads. A Python function or a `tf.function`.
    x0 : array, number, tensor or nested structure of them; or variable(s)
        *Functional use*: the start. ``fun`` gets tensors in the structure of ``x0`` (see `tf.nest`; a list of plain
        numbers is one array). They are float32 if ``x0`` is, otherwise float64.
        *Variable use*: a `tf.Variable`, a Keras 3 variable, or a structure of them, float64 or float32, also mixed.
        Their values are the start. The solve assigns them once, at its end, whether it converged or not; after an
        exception they keep their values.
    args : tuple, optional
        Further arguments of ``fun``. Tensors, arrays and NumPy scalars are passed as tensors of their own dtype, Python
        floats as tensors of the dtype of x: new values of the same shape do not retrace. Everything else (Python
        integers, strings, variables, models) is passed as it is; a new value retraces, as with `tf.function`.
    method : str or callable, default "L-BFGS-B"
        L-BFGS-B, SLSQP and BFGS are native. Any other of `scipy.optimize.minimize` runs in SciPy, on the compiled
        function.
        Newton-CG, trust-ncg, trust-krylov and trust-constr get exact products of the Hessian with vectors from
        TensorFlow, trust-exact and dogleg the Hessian, and trust-constr also the Hessians of the constraints. If
        TensorFlow has no second derivatives of a function, Newton-CG takes differences of the gradient, trust-constr
        SciPy's quasi-Newton approximation, as ``backend_reason`` then says, and the others raise ValueError.
        None means SLSQP if there are constraints, otherwise L-BFGS-B.
    bounds : optional
        For one array or each leaf: ``(low, high)``, both broadcast to its shape; or one such pair of numbers for each
        element in C order, or an array ``[n, 2]``; or `scipy.optimize.Bounds`. For leaves or variables, put these in
        the structure of ``x0``, in a list parallel to its leaves, or in a dict of ``variable.ref()``. They are numbers,
        arrays or tensors; None and infinities mean no bound. A start outside the bounds is projected.
    constraints : dict, NonlinearConstraint, LinearConstraint or list of them, optional
        For SLSQP, trust-constr, COBYLA and COBYQA, in SciPy's forms. ``{"type": "eq", "fun": c, "args": ()}`` means
        ``c(x, *args) = 0``, ``"ineq"`` ``c(x, *args) >= 0``, and `scipy.optimize.NonlinearConstraint`
        ``lb <= c(x) <= ub``, for every element of what c returns. c is a TensorFlow function that is called like
        ``fun``: in variable use ``c(*args)``. TensorFlow computes its derivatives. In a
        `scipy.optimize.LinearConstraint`, A has one column for each element of x, over all leaves or variables in the
        order of ``tf.nest.flatten(x0)``; its rows cost nothing in an evaluation. A custom method gets functions of one
        flat NumPy vector, with their Jacobians.
    tol : float, optional
        Sets ``ftol`` and, for L-BFGS-B, ``gtol``; for BFGS ``gtol``.
    callback : callable, optional
        Called after each iteration: ``callback(xk)``, or ``callback(intermediate_result)`` if its parameter has just
        this name. x is a copy, in the form of ``result.x``. `StopIteration` ends the solve with status 99.
        A method ``on_end(error)`` of the callback is called once at the end, with None or with the exception before it
        leaves the solve; see `TensorBoard`. With a native method ``intermediate_result`` has ``nit``, ``nfev`` and
        ``gradient_norm`` too, and a `State` as ``state``, and the callback may have two more methods:
        ``on_iteration_begin()`` is called before each iteration, and ``on_end(state, error)`` in the place of
        ``on_end(error)``; see `Checkpoint`.
    options : dict, optional
        L-BFGS-B: ``maxcor=10, ftol=2.2e-9, gtol=1e-5, maxfun=15000, maxiter=15000, maxls=20``, SLSQP: ``ftol=1e-6,
        maxiter=100``, BFGS: ``gtol=1e-5, norm=inf, xrtol=0, c1=1e-4, c2=0.9, maxiter=None`` (200 for each variable) and
        ``hess_inv0=None``, a symmetric, positive definite matrix ``[n, n]``, or its lower triangle; as in SciPy. All:
        ``maxtime=inf``, seconds of wall clock. A solve that has taken them ends before its next evaluation, or the next
        batch of a
        `DatasetLoss`, at the last iterate, like one that reaches ``maxiter``. Some options are our own, and take
        another path than SciPy. L-BFGS-B: ``storage="float64"``; ``"float32"`` keeps its correction pairs in half of
        the memory. BFGS: ``update="bfgs"``; ``"dfp"``, the self-scaled ``"ssbfgs"`` (of Al-Baali) and ``"ssbfgs-ol"``
        (of Oren and Luenberger), and the self-scaled ``"ssbroyden"`` and ``"ssbroyden1"`` (of Al-Baali and Khalfan, A
        Wide Interval for Efficient Self-Scaling Quasi-Newton Algorithms, 2005); and ``initial_scale=False``, whether
        the identity is scaled before its first update.
    jit_compile : bool or "auto", optional
        None follows ``fun``: XLA if it is a ``tf.function(jit_compile=True)``. True and False force it. "auto" begins
        with TensorFlow's graph, has XLA compile the function in the background, times both, and goes on with the
        faster one; `backend_reason` has the times. Two runs may then differ in the last bits.
    history : bool or "x", default False
        Whether the result has a ``history``: a dict of arrays with an element for the start and one for each iteration:
        ``fun``, the loss; ``gradient_norm``, the max norm of the gradient projected into the bounds (SLSQP: of the
        Lagrangian, at the start of the loss; NaN if an iteration did not need the gradient); ``step``, the Euclidean
        norm of the step; ``nfev``, evaluations so far; ``seconds`` since the start; and ``constr_violation``, the
        greatest violation of a constraint. With ``"x"`` it also has ``x``, an array with a row for each of them: the
        flat vector, which takes 8 bytes for each variable.
    assign_each_iteration : bool, default False
        Whether the variables hold the iterate while the callback runs, for example to evaluate a validation loss there.
        If the solve fails, they get their values from before it.
    progress : bool, default False
        Whether to show iteration, loss, gradient norm, evaluations per second and time while the solve runs: in a line
        that changes on a terminal, else in a line now and then. With a method that runs in SciPy the loss is that of
        the last evaluation.
    state : State, optional
        Go on from here, with the same bits as a solve that was not interrupted: ``result.state`` of a solve that was
        ended by a limit, a tolerance or a callback, or a state that was saved on the way. ``x0`` says only what the
        structure is. The function, bounds, constraints and ``maxcor`` must be those of that solve; limits and
        tolerances are the new ones, and the counts go on.
    warm_start : OptimizeResult or State, optional
        Begin at ``x0`` with what another solve by the same method has learned: the pairs of L-BFGS-B; the matrix,
        multipliers and active set of SLSQP; the matrix of BFGS. Data, bounds and constraints may have changed. A matrix
        that is not positive definite is left out, which ``num_resets`` of the result counts.

    Returns
    -------
    tfminimize.OptimizeResult
        A `scipy.optimize.OptimizeResult` with SciPy's fields: ``x, fun, jac, nit, nfev, njev, status, success,
        message``; L-BFGS-B and BFGS add ``hess_inv``, SLSQP ``multipliers``. ``x`` and ``jac`` have the structure of
        ``x0`` (NumPy arrays); for variables they are flat vectors in the order of ``tf.nest.flatten(x0)``. ``hess_inv``
        acts on flat vectors; that of BFGS behaves as an array ``[n, n]``, and beside it are ``num_skipped_updates`` and
        ``num_resets``: how often an update was left out, or the matrix replaced by a multiple of the identity, to keep
        it positive definite. ``multipliers`` has one element for each equality, then one for each inequality, as in
        SciPy: a constraint with two limits has two, the lower ones first. Four fields are our own:
        ``constr_violation`` is the greatest violation of a constraint or bound, ``backend`` says what evaluated the
        function (``"xla"``: machine code, without TensorFlow; ``"tfe"``: TensorFlow), ``backend_reason`` says why, and
        ``timing`` says how many seconds went to ``trace``, ``compile`` (the first evaluation of a new trace),
        ``evaluate`` and ``solver``.
        ``state`` is the whole solver, from which a solve can go on.
    tfminimize.ops.MinimizeResult
        In a `tf.function` or a graph of TensorFlow 1: the call is then `tfminimize.ops.minimize`, which adds an
        operation to the graph and returns tensors. It takes no ``callback``.

    Raises
    ------
    ValueError, TypeError
        Before anything runs, with a sentence that names the value and the remedy.
    Exception
        Any exception of ``fun`` or ``callback``, unchanged.

    Notes
    -----
    `minimize` keeps the last eight compiled functions, so calling it in a loop with the same ``fun`` traces once;
    `clear_cache` drops them and frees their memory. As with `tf.function`, Python values that ``fun`` reads, other than
    ``x`` and ``args``, keep the values that they had during the trace.

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
    ...     lambda x: tf.reduce_sum((x - [2.0, 1.0]) ** 2),
    ...     np.zeros(2),
    ...     method="SLSQP",
    ...     constraints=constraint,
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
                "a callback cannot be called from inside a graph: remove it, and read the losses of all iterations "
                "from result.history; or call minimize outside of tf.function."
            )
        if progress:
            raise ValueError("progress=True is for solves outside of a graph: read result.history at the end.")
        if assign_each_iteration:
            raise ValueError("assign_each_iteration=True is for callbacks, which cannot be called from inside a graph.")
        if state is not None or warm_start is not None:
            raise ValueError("an operation of a graph has no state: call minimize outside of tf.function.")
        return operation.minimize(fun, x0, args, method, bounds, constraints, tol, options, jit_compile)
    check_context()
    with together(communicator_of(fun)) as peers:
        parameters = Parameters(x0)
        problem = Problem(parameters, method, bounds, constraints)
        fun, args = split_data(fun, args)
        program = program_for(fun, parameters, jit_compile)
        return solve(
            program,
            problem,
            x0,
            args,
            tol=tol,
            callback=callback,
            options=options,
            state=state,
            warm_start=warm_start,
            history=history,
            assign_each_iteration=assign_each_iteration,
            progress=progress,
            peers=peers,
        )


def clear_cache() -> None:
    """Drop the functions that `minimize` has compiled, and free their memory.

    Examples
    --------
    >>> clear_cache()
    """
    _programs.clear()
    called_loss.clear()


def program_for(fun: Callable[..., Any], parameters: Parameters, jit_compile: JitCompile) -> Program:
    """Return the program from the cache, or a new one; an unhashable ``fun`` is compiled each time."""
    key = (fun, parameters.key(), jit_compile)
    try:
        hash(key)
    except TypeError:
        return Program(fun, parameters, jit_compile)
    return _programs.get(key, lambda: Program(fun, parameters, jit_compile))


_REASONS = {
    "jac": "TensorFlow computes the gradient",
    "hess": "TensorFlow computes the derivatives",
    "hessp": "TensorFlow computes the derivatives",
}


def _refuse(unsupported: Mapping[str, Any]) -> None:
    for name, value in unsupported.items():
        if name in _REASONS:
            if value is None:  # SciPy's default, which asks for nothing
                continue
            raise TypeError(
                f"minimize takes no {name}=: {_REASONS[name]}. Remove it; for a function of NumPy arrays use "
                "scipy.optimize.minimize(..., method=tfminimize.scipy.lbfgsb)."
            )
        raise TypeError(f"minimize got an unexpected keyword argument {name!r}.")
