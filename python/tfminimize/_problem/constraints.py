"""Constraints in every form of SciPy's, as rows of equalities and inequalities.

=========================================  ===========================================================================
form                                       meaning
=========================================  ===========================================================================
``{"type": "eq", "fun": c, "args": ()}``   c(x, *args) = 0, for every element of c
``{"type": "ineq", "fun": c}``             c(x) >= 0
``NonlinearConstraint(c, lb, ub)``         lb <= c(x) <= ub; equality where ``lb == ub``, no limit where infinite
``LinearConstraint(A, lb, ub)``            lb <= A x <= ub; A is data and never traced
=========================================  ===========================================================================

One of these, or a list or tuple of them. c is a TensorFlow function with the same arguments as the loss: ``c(x,
*args)`` in functional use, ``c(*args)`` in variable use, where it reads the variables. A has one column for each
element of the flat vector: of x0 in C order, of its leaves in the order of ``tf.nest.flatten``, or of the variables.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraint_forms import SINGLE, check_form, named_constraints
from tfminimize._problem.constraint_rows import Limits, Rows, count_values, plain_rows, rows_of
from tfminimize._problem.messages import shown
from tfminimize._problem.parameters import Parameters
from tfminimize._tf.warning import warn

__all__ = ["ConstraintFunction", "Constraints", "hashable"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class ConstraintFunction:
    """The function of a constraint, as the user gave it."""

    name: str
    """Its name in messages."""
    fun: Callable[..., Any]
    arguments: Arguments


@dataclass(frozen=True)
class _Constraint:
    """One constraint of the user: limits on the values of a function or on the rows of a matrix."""

    name: str
    low: Float64
    high: Float64
    matrix: Float64 | None
    given: Any
    """As the user gave it."""


class Constraints:
    """The constraints of one problem, checked.

    Parameters
    ----------
    constraints : dict, NonlinearConstraint, LinearConstraint, iterable of them or None
    parameters : Parameters
    method : str or callable
        SLSQP has rows; another method runs in SciPy, and its rows are the values of the functions as they are.

    Raises
    ------
    ValueError
        If something is not a constraint or does not fit the parameters; it gives the place in the list.

    Attributes
    ----------
    functions : tuple of ConstraintFunction
        The functions to trace, in the order given.
    matrix : ndarray, shape (number of linear rows, n)
        A of all linear constraints, one below the other.
    data : list of tf.Tensor or ndarray
        The data among the ``args`` of the functions; see `Arguments.data`.
    key : hashable
        Problems with the same key use the same compiled functions; their limits, A and data may differ.
    takes_derivatives : bool
        Whether the method takes derivatives.

    Examples
    --------
    >>> constraint = scipy.optimize.LinearConstraint([[1, 1], [1, -1]], [2, -1], [2, 1])
    >>> rows = Constraints(constraint, Parameters(np.zeros(2))).rows(())
    >>> rows.num_equalities, rows.source, rows.sign, rows.offset
    (1, array([0, 1, 1]), array([ 1.,  1., -1.]), array([-2.,  1.,  1.]))
    """

    def __init__(self, constraints: Any, parameters: Parameters, method: Any = "slsqp") -> None:
        self._method = method
        self.takes_derivatives = method not in ("cobyla", "cobyqa")
        self._size = parameters.layout.size
        self._float_dtype = parameters.float_dtype
        self._items: list[_Constraint] = []
        functions: list[ConstraintFunction] = []
        for name, constraint in named_constraints(constraints):
            check_form(name, constraint)
            if isinstance(constraint, Mapping):
                functions.append(self._add_dict(name, constraint))
            elif isinstance(constraint, scipy.optimize.NonlinearConstraint):
                functions.append(self._add_nonlinear(name, constraint))
            else:
                self._add_linear(name, constraint)
        matrices = [item.matrix for item in self._items if item.matrix is not None]
        self.matrix: Float64 = np.concatenate(matrices) if matrices else np.zeros((0, self._size))
        self._set_functions(functions)
        self._rows: dict[Sequence[tuple[int, ...]], Rows] = {}

    @property
    def tensors(self) -> list[tf.Tensor]:
        """The data as tensors."""
        return [tensor for function in self.functions for tensor in function.arguments.tensors]

    def keep_data(self) -> None:
        """From now on the data are those of now, although the user's arrays may change."""
        for function in self.functions:
            function.arguments.keep_data()
        self._set_functions(self.functions)

    @property
    def members(self) -> list[tuple[str, ConstraintFunction | None, bool]]:
        """The name of each constraint, its function if it has one, and whether that takes args."""
        functions = iter(self.functions)
        return [
            (item.name, next(functions) if item.matrix is None else None, isinstance(item.given, Mapping))
            for item in self._items
        ]

    def with_args(self, args: Sequence[tuple[Any, ...] | None]) -> Constraints:
        """The same constraints with other ``args`` for each function; None keeps them."""
        constraints = copy.copy(self)  # the rows are the same
        constraints._set_functions(
            [f if own is None else self._with_args(f, own) for f, own in zip(self.functions, args, strict=True)]
        )
        return constraints

    def with_args_of(self, constraints: Any) -> Constraints | None:
        """The constraints as given, if they are these apart from the ``args`` of dicts; else None.

        It saves checking all constraints anew in each tick of a control loop.
        """
        named = named_constraints(constraints)
        in_list = [name != SINGLE for name, _ in named]
        if in_list != [item.name != SINGLE for item in self._items]:
            return None
        args = []
        for (_, constraint), item, (_, function, _) in zip(named, self._items, self.members, strict=True):
            if not _is_alike(constraint, item, function):
                return None
            if function is not None:
                args.append(constraint.get("args", ()) if isinstance(constraint, Mapping) else None)
        return self.with_args(args)

    def rows(self, shapes: Sequence[tuple[int, ...]]) -> Rows:
        """The rows of the solver if the functions return values of these shapes.

        Raises
        ------
        ValueError
            If the limits do not fit the shapes.
        """
        shapes = tuple(shapes)
        if shapes not in self._rows:
            limits = self.limits(shapes)
            self._rows[shapes] = rows_of(limits) if self._method == "slsqp" else plain_rows(count_values(limits))
        return self._rows[shapes]

    def limits(self, shapes: Sequence[tuple[int, ...]]) -> list[Limits]:
        """The limits of all constraints, in the order given, if the functions return values of these shapes.

        Raises
        ------
        ValueError
            If the limits do not fit the shapes.
        """
        remaining = iter(shapes)
        found = []
        for item in self._items:
            shape = next(remaining) if item.matrix is None else item.matrix.shape[:1]
            found.append(Limits(item.given, *_limits(item, shape), item.matrix))
        return found

    def _add_dict(self, name: str, constraint: Mapping[str, Any]) -> ConstraintFunction:
        for key in constraint:
            if key == "jac" and constraint[key] is not None:
                raise ValueError(f"{name} has a 'jac', but TensorFlow computes the derivatives: remove 'jac'.")
            if key not in ("type", "fun", "args", "jac"):
                raise ValueError(
                    f"{name} has the key {key!r}, which has no meaning: it may have 'type', 'fun', 'args'."
                )
        high = 0.0 if constraint["type"].lower() == "eq" else np.inf
        self._items.append(_Constraint(name, np.zeros(()), np.array(high), None, constraint))
        return self._function(name, constraint["fun"], constraint.get("args", ()))

    def _set_functions(self, functions: Sequence[ConstraintFunction]) -> None:
        self.functions = tuple(functions)
        self.data: list[Any] = [data for function in functions for data in function.arguments.data]
        self.key: Hashable = (
            self._method == "slsqp",
            self.takes_derivatives,
            len(self.matrix) > 0,
            *((hashable(function.fun), function.arguments.key) for function in functions),
        )

    def _add_nonlinear(self, name: str, constraint: Any) -> ConstraintFunction:
        if constraint.jac not in ("2-point", None):
            raise ValueError(f"{name} has a jac, but TensorFlow computes the derivatives: remove it.")
        if not isinstance(constraint.hess, scipy.optimize.HessianUpdateStrategy):
            raise ValueError(f"{name} has a hess, but TensorFlow computes the derivatives: remove it.")
        for option in ("finite_diff_rel_step", "finite_diff_jac_sparsity"):
            if getattr(constraint, option) is not None:
                raise ValueError(f"{name} has {option}, but TensorFlow computes the derivatives: remove it.")
        self._add_limits(name, constraint)
        return self._function(name, constraint.fun, ())

    def _add_linear(self, name: str, constraint: Any) -> None:
        matrix = constraint.A.toarray() if scipy.sparse.issparse(constraint.A) else np.asarray(constraint.A)
        if matrix.dtype.kind not in "fiub":
            raise ValueError(f"{name} has an A of dtype {matrix.dtype}: give real numbers.")
        if matrix.ndim != 2 or matrix.shape[1] != self._size:
            raise ValueError(
                f"{name} has an A of shape {matrix.shape}, but there are {self._size} parameters: "
                f"give a matrix of {self._size} columns, one for each."
            )
        if not np.isfinite(matrix).all():
            row, column = (int(k) for k in np.argwhere(~np.isfinite(matrix))[0])
            raise ValueError(f"{name} has A[{row}, {column}] = {matrix[row, column]}: give finite numbers.")
        self._add_limits(name, constraint, matrix.astype(np.float64))

    def _add_limits(self, name: str, constraint: Any, matrix: Float64 | None = None) -> None:
        limits = []
        for side in ("lb", "ub"):
            try:
                limit = np.asarray(getattr(constraint, side), dtype=np.float64).copy()
            except (TypeError, ValueError, NotImplementedError) as error:  # the last for a symbolic tensor
                raise ValueError(
                    f"{name} has the {side} {shown(getattr(constraint, side))}: give a real number or an array of "
                    "them, infinite where there is no limit."
                ) from error
            if np.isnan(limit).any():
                raise ValueError(f"{name} has NaN in its {side}: use infinity where there is no limit.")
            limits.append(limit)
        if np.any(constraint.keep_feasible) and (self._method == "slsqp" or not self.takes_derivatives):
            warn(
                f"{name} has keep_feasible, which {self._method.upper()} ignores: only bounds hold all along the way.",
                scipy.optimize.OptimizeWarning,
            )
        item = _Constraint(name, limits[0], limits[1], matrix, constraint)
        if matrix is not None:
            _limits(item, matrix.shape[:1])  # raises an error if they do not fit
        self._items.append(item)

    def _function(self, name: str, fun: Any, args: Any) -> ConstraintFunction:
        if not callable(fun):
            raise ValueError(f"{name} has the function {shown(fun)}: give a function that returns a tensor.")
        return ConstraintFunction(name, fun, self._arguments(name, args))

    def _with_args(self, function: ConstraintFunction, args: Any) -> ConstraintFunction:
        return ConstraintFunction(function.name, function.fun, self._arguments(function.name, args))

    def _arguments(self, name: str, args: Any) -> Arguments:
        if not isinstance(args, (tuple, list)):
            raise ValueError(f"{name} has the args {shown(args)}: give a tuple, such as (value,).")
        try:
            return Arguments(tuple(args), self._float_dtype)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


class _Identity:
    """A key for an object without a hash; it keeps the object alive."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)


def hashable(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return _Identity(value)
    key: Hashable = value
    return key


def _is_alike(constraint: Any, item: _Constraint, function: ConstraintFunction | None) -> bool:
    """Whether a constraint is the one that became ``item`` and ``function``, apart from the args of a dict."""
    if isinstance(constraint, Mapping):
        kind = constraint.get("type")
        return (
            isinstance(item.given, Mapping)
            and function is not None
            and constraint.get("fun") is function.fun
            and isinstance(kind, str)
            and kind.lower() == ("eq" if item.high == 0 else "ineq")
            and constraint.get("jac") is None
            and constraint.keys() <= {"type", "fun", "args", "jac"}
        )
    if constraint is not item.given or scipy.sparse.issparse(getattr(constraint, "A", None)):
        return False
    # The user may have changed the object.
    if function is not None and constraint.fun is not function.fun:
        return False
    pairs = [(item.low, constraint.lb), (item.high, constraint.ub)]
    if item.matrix is not None:
        pairs.append((item.matrix, constraint.A))
    return all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def _limits(item: _Constraint, shape: tuple[int, ...]) -> tuple[Float64, Float64]:
    """The limits of a constraint for each of its values, flat."""
    size = int(np.prod(shape, dtype=np.int64))
    sides = []
    for limit, side in ((item.low, "lb"), (item.high, "ub")):
        target = shape if limit.ndim == len(shape) else (size,)
        try:
            sides.append(np.broadcast_to(limit, target).ravel())
        except ValueError:
            values = f"A has {size} rows" if item.matrix is not None else f"its function returns {size} values"
            raise ValueError(
                f"{item.name} has {side} of shape {limit.shape}, but {values}: give one number, or one for each."
            ) from None
    low, high = sides
    wrong = np.flatnonzero((low > high) | (low == np.inf) | (high == -np.inf))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"{item.name} has the limits lb[{i}] = {low[i]} and ub[{i}] = {high[i]}, which no finite value satisfies: "
            "exchange or correct them."
        )
    return low, high
