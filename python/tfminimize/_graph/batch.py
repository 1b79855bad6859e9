"""Many small problems as one graph operation, such as one for each row that a layer of a network gets."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfminimize._graph.call import Call, Solve, static_shape
from tfminimize._graph.functions import Slices
from tfminimize._problem.batch_bounds import tensor_bounds_of_all
from tfminimize._problem.constraint_forms import listed_constraints
from tfminimize._problem.methods import check_bounds
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.batched_arguments import BatchedArguments, as_tuple, common_count
from tfminimize._tf import binding
from tfminimize._tf.threads import checked_threads
from tfminimize._trace.flat import join_rows, split_rows
from tfminimize._trace.user_function import JitCompile

__all__ = ["MinimizeBatchResult", "minimize_batch"]


class MinimizeBatchResult(NamedTuple):
    """The results of B minimisations as tensors; see `MinimizeResult`.

    Attributes
    ----------
    x : tensor or structure of tensors
        The solutions, in the structure and dtypes of ``x0s``, with a leading dimension of B.
    fun : tf.Tensor, float64, shape (B,)
        The losses at x.
    jac : tensor or structure of tensors
        The gradients at x, in the form of ``x``.
    nit, nfev, njev : tf.Tensor, int64, shape (B,)
        Iterations, evaluations of the loss and of its gradient.
    status : tf.Tensor, int32, shape (B,)
        SciPy's numbers. 0: converged.
    success : tf.Tensor, bool, shape (B,)
        Whether ``status`` is 0.
    constr_violation : tf.Tensor, float64, shape (B,)
        The greatest violation of a constraint.
    multipliers : tf.Tensor or None
        For SLSQP: float64, of shape (B, number of constraints).
    backend : tf.Tensor, string, shape ()
        What evaluated the function: ``"xla"``, machine code without TensorFlow, or ``"tensorflow"``; ``"none"`` if B
        is 0.
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
    backend: tf.Tensor
    backend_reason: tf.Tensor


def minimize_batch(
    fun: Callable[..., Any],
    x0s: Any,
    args: Any = (),
    batched_args: Any = (),
    method: Any = "L-BFGS-B",
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    jit_compile: JitCompile = None,
    num_threads: int | None = None,
    batched_constraints_args: Any = (),
    name: str = "minimize_batch",
) -> MinimizeBatchResult:
    """Add one operation that minimises a TensorFlow function in B independent problems, or run it at once.

    The problems differ in their start, in some arguments or in their bounds. Threads solve one after another; the
    results do not depend on the number of threads. So a layer of a network can solve a small problem for each row of
    its input: a projection, optimal transport, a step of a controller.

    Parameters
    ----------
    fun : callable
        The loss of one problem, ``fun(x, *args, *slices)``, without the leading dimension of B.
    x0s : tensor, array or structure of them
        The starts: each leaf has a leading dimension of B, or of 1 for a start that all problems share. Only the other
        dimensions must be static.
    args : tuple, optional
        The arguments that all problems share.
    batched_args : tuple, optional
        Tensors, arrays or structures of them, each with a leading dimension of B, of which ``fun`` gets a slice.
    method, tol, options, jit_compile
        As in `minimize`. ``maxtime`` limits the whole batch: a problem whose turn comes too late keeps its start and
        has the status of the limit; all else is NaN.
    bounds : optional
        For all problems, in the forms of `minimize`; or ``(low, high)`` or `tfminimize.Bounds` with arrays or tensors
        that broadcast to ``[B, n]``, a row for each problem with the n elements of x in order.
    constraints : optional
        As in `minimize`. The problems share them, but not ``batched_constraints_args``.
    num_threads : int, optional
        Default: as many as `tfminimize.get_num_threads` says when the operation runs, at first all cores. A batch
        inside of a batch has one.
    batched_constraints_args : sequence, optional
        What ``batched_args`` are for ``fun``, for the constraints: one item for each constraint, in their order, a
        tuple or None. The function of a dict gets the slices after its ``"args"``. (For a single constraint that is in
        no list, its tuple alone.)
    name : str
        The name of the operation.

    Returns
    -------
    MinimizeBatchResult
        B may be 0.

    Raises
    ------
    ValueError, TypeError
        While the graph is built, with a sentence that names the value and the remedy.
    tf.errors.OpError
        While the graph runs: an error in ``fun``, with the first problem that has one.

    Notes
    -----
    What `minimize` says of gradients holds for each problem. They flow to ``batched_args``, and, summed over the
    problems, to everything that these share. The gradients of all problems are computed at once, by
    `tf.vectorized_map`, which does not take `tf.cond` on a tensor that differs between them: use `tf.where`. If the
    derivatives of one problem are not finite, it adds nothing to its own gradients, but
    those that the problems share lose the elements that are not finite.

    Examples
    --------
    >>> points = tf.constant([[2.0, 0.5], [-1.0, 0.2], [0.3, 3.0]])
    >>> def distance(x, point):
    ...     return tf.reduce_sum((x - point) ** 2)
    >>> minimize_batch(
    ...     distance, tf.zeros([1, 2]), batched_args=points, bounds=(0, 1)
    ... ).x.numpy().round(2)
    array([[1. , 0.5],
           [0. , 0.2],
           [0.3, 1. ]], dtype=float32)
    """
    given = Solve(fun, x0s, args, method, bounds, constraints, tol, options, jit_compile, name=name)
    threads = 0 if num_threads is None else checked_threads(num_threads)
    return _added(given, batched_args, batched_constraints_args, threads)


def _added(given: Solve, batched_args: Any, of_constraints: Any, num_threads: int) -> MinimizeBatchResult:
    module = binding.ops()
    if tf.executing_eagerly():
        # The gradient needs the functions; the graph of a function knows them, a tape in eager mode does not.
        added = tf.function(lambda: _added(given, batched_args, of_constraints, num_threads), autograph=False)
        return MinimizeBatchResult(*added.get_concrete_function()())
    given.check("tfminimize.ops.minimize_batch")
    with tf.name_scope(given.name):
        parameters = _parameters_of_one(given.x0)
        batched = BatchedArguments(batched_args, in_graph=True)
        x0s = _starts(given.x0, parameters, batched.count)
        slices = Slices()
        args = (*as_tuple(given.args), *slices.of(batched.structure))
        constraints = _with_slices(given.constraints, of_constraints, slices, batched.count)
        call = Call(dataclasses.replace(given, args=args, constraints=constraints), parameters, slices)
        bounds = tensor_bounds_of_all(given.bounds, parameters)
        check_bounds(call.problem.method, None if bounds[0].shape[1] == 0 else bounds[0])
        own = {"batched": call.functions.batched, "num_threads": num_threads}
        outputs = call.add(module.tfminimize_minimize_batch, x0s, bounds, **own)
        return _result(outputs, parameters, call.problem.method)


def _parameters_of_one(x0s: Any) -> Parameters:
    """The parameters of one problem."""
    rows = Parameters(tf.nest.map_structure(_one_row, x0s), "x0s")
    if rows.variables:
        raise ValueError(
            f"x0s holds variable '{rows.variables[0].name}', but each problem has an x of its own: give arrays or "
            "tensors."
        )
    for segment in rows.layout.segments:
        if not segment.shape:
            raise ValueError(
                f"{segment.name} has no dimensions: give it a leading dimension of the number of problems, or of 1 for "
                "a start that all problems share."
            )
    return Parameters(rows.rebuild([np.zeros(s.shape[1:], s.dtype) for s in rows.layout.segments]), "x0s")


def _one_row(leaf: Any) -> Any:
    """An array like the first row of a leaf, with a leading dimension of 1; what is no array stays."""
    if not isinstance(leaf, (tf.Tensor, np.ndarray)):
        return leaf
    shape = tf.TensorShape(leaf.shape)
    if shape.rank is None:
        raise ValueError("x0s holds a tensor of a shape of unknown rank: fix it by tf.ensure_shape.")
    if shape.rank == 0:
        return leaf
    if isinstance(leaf, tf.Tensor):
        return np.zeros([1, *static_shape(leaf, shape[1:], "x0s")], leaf.dtype.as_numpy_dtype)
    return np.zeros([1, *leaf.shape[1:]], leaf.dtype)


def _starts(x0s: Any, parameters: Parameters, count: int | None) -> tf.Tensor:
    """The starts as a matrix with a row for each problem, or with one row."""
    leaves = [tf.convert_to_tensor(leaf) for leaf in parameters.leaves(x0s)]
    names = parameters.names()
    found = common_count(list(zip(names, leaves, strict=True)))
    if found is not None and found != 1 and count is not None and found != count:
        raise ValueError(
            f"x0s has {found} starts and batched_args have {count} slices: give one for each problem, or x0s with a "
            "leading dimension of 1 for a start that all problems share."
        )
    return join_rows(leaves)


def _with_slices(constraints: Any, batched_args: Any, slices: Slices, count: int | None) -> Any:
    """The constraints with slices of their batched arguments, one item for each, after their other ones."""
    is_single = isinstance(constraints, Mapping)
    items = [batched_args] if is_single else list(batched_args)
    if not items or (is_single and not as_tuple(batched_args)):
        return constraints
    listed = listed_constraints(constraints)
    if len(items) != len(listed):
        raise ValueError(
            f"batched_constraints_args has {len(items)} items, and there are {len(listed)} constraints: give a tuple "
            "or None for each."
        )
    name = "batched_constraints_args"
    changed = [
        _with_own_slices(constraint, own, name if is_single else f"{name}[{i}]", slices, count)
        for i, (constraint, own) in enumerate(zip(listed, items, strict=True))
    ]
    return changed[0] if is_single else changed


def _with_own_slices(constraint: Any, batched_args: Any, name: str, slices: Slices, count: int | None) -> Any:
    if batched_args is None or batched_args == ():
        return constraint
    if not isinstance(constraint, Mapping):
        raise ValueError(f"{name} belongs to a constraint that takes no args: give it as a dict, or None here.")
    batched = BatchedArguments(batched_args, name, in_graph=True)
    if None not in (count, batched.count) and count != batched.count:
        raise ValueError(
            f"batched_args has {count} slices and {name} has {batched.count}: give both one for each problem."
        )
    changed: Any = copy.copy(constraint)
    changed["args"] = (*as_tuple(constraint.get("args", ())), *slices.of(batched.structure))
    return changed


def _result(outputs: Any, parameters: Parameters, method: str) -> MinimizeBatchResult:
    def shown(flat: tf.Tensor) -> Any:
        return parameters.rebuild(split_rows(flat, parameters.layout))  # rounded to what the function saw

    return MinimizeBatchResult(
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
        backend=outputs.backend,
        backend_reason=outputs.backend_reason,
    )
