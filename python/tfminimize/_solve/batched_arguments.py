"""Arguments with one slice for each problem of a batch: those of the loss, and those of the constraints."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.constraint_forms import SINGLE
from tfminimize._problem.constraints import ConstraintFunction, Constraints
from tfminimize._problem.parameters import as_variable

__all__ = ["BatchedArguments", "BatchedConstraintsArgs", "as_tuple", "common_count"]

Array = NDArray[Any]


class BatchedArguments:
    """Arguments with one slice for each problem of a batch.

    Parameters
    ----------
    args : tuple
        Arrays, tensors or nested structures of them, each with a leading dimension of the number of problems.
    name, owner : str
        How messages name them, and what has the arguments of one problem.
    in_graph : bool
        Whether tensors may be symbolic, with an unknown number of problems.

    Attributes
    ----------
    named : list of (str, ndarray), or of (str, tf.Tensor) if ``in_graph``
        The leaves with their names; arrays are contiguous.
    count : int or None
        The number of problems; None if there are no leaves, or if none knows it.

    Examples
    --------
    >>> batched = BatchedArguments((np.eye(3), {"scale": np.ones(3)}))
    >>> batched.count, batched.first()[0]
    (3, array([1., 0., 0.]))
    """

    def __init__(
        self, args: Any, name: str = "batched_args", owner: str = "the Minimizer", *, in_graph: bool = False
    ) -> None:
        self._args = as_tuple(args)
        self._name, self._owner = name, owner
        leaves = [(f"{name}[{i}]", leaf) for i, arg in enumerate(self._args) for leaf in tf.nest.flatten(arg)]
        convert = _batched_tensor if in_graph else _batched_array
        self.named = [(name, convert(name, _checked(name, leaf))) for name, leaf in leaves]
        self.count = common_count(self.named)

    @property
    def structure(self) -> tuple[Any, ...]:
        """The leaves in the structure of ``args``."""
        return tuple(tf.nest.pack_sequence_as(self._args, [leaf for _, leaf in self.named]))

    def replace(self, args: Any) -> tuple[Any, ...]:
        """The arguments ``args`` without the last ones, which the batched arguments replace."""
        own = as_tuple(args)
        if len(own) < len(self._args):
            raise ValueError(
                f"there are {len(self._args)} {self._name} to replace the last args of {self._owner}, but it was made "
                f"with {len(own)}: give args too, or an example of each when it is made."
            )
        return own[: len(own) - len(self._args)]

    def first(self) -> tuple[Any, ...]:
        """The arguments of the first problem."""
        return tuple(tf.nest.pack_sequence_as(self._args, [array[0] for _, array in self.named]))


class BatchedConstraintsArgs:
    """Arguments of the constraints with one slice for each problem of a batch.

    Parameters
    ----------
    args : sequence
        One item for each constraint, as for `BatchedArguments`; None, or an empty tuple, if it has none. For a single
        constraint, given without a list, its item alone.
    constraints : Constraints or None
        With an example of each among their ``args``.

    Attributes
    ----------
    constraints : Constraints or None
        With the slices of the first problem.
    named : list of (str, ndarray)
        The leaves, contiguous, with their names.
    places : list of int
        The place of each among the data of the constraints.
    """

    def __init__(self, args: Any, constraints: Constraints | None) -> None:
        self.constraints = constraints
        self.named: list[tuple[str, Array]] = []
        self.places: list[int] = []
        parts = _by_constraint(args, constraints)
        if constraints is None or not parts:
            return
        self.constraints = constraints.with_args(
            [None if part is None else (*part.replace(f.arguments.args), *part.first()) for f, part in parts]
        )
        end = 0
        for function, (_, part) in zip(self.constraints.functions, parts, strict=True):
            end += len(function.arguments.data)
            if part is not None:
                self.named += part.named
                self.places += range(end - len(part.named), end)


def common_count(named: Sequence[tuple[str, Any]]) -> int | None:
    """The number of problems that all arrays or tensors are for; None if none knows it, ValueError if they differ."""
    counts = {array.shape[0]: name for name, array in named if array.shape[0] is not None}
    if len(counts) > 1:
        (one, its_name), (other, other_name) = list(counts.items())[:2]
        raise ValueError(f"{its_name} has {one} slices and {other_name} has {other}: give both one for each problem.")
    return next(iter(counts), None)


def _by_constraint(
    args: Any, constraints: Constraints | None
) -> list[tuple[ConstraintFunction, BatchedArguments | None]]:
    """Each constraint function with its batched arguments; nothing if there are no such arguments."""
    if args is None or (isinstance(args, (tuple, list)) and not any(_is_given(own) for own in args)):
        return []
    members = [] if constraints is None else constraints.members
    names = [name for name, _, _ in members]
    if names == [SINGLE]:
        args = [args]
    if not isinstance(args, (tuple, list)) or len(args) != len(members):
        given = f"{len(args)} items" if isinstance(args, (tuple, list)) else reprlib.repr(args)
        raise ValueError(
            f"batched_constraints_args is {given}, and there are {len(members)} constraints: give one item for each, a "
            "tuple of its arrays, or None."
        )
    found = []
    for i, ((name, function, takes_args), own) in enumerate(zip(members, args, strict=True)):
        if not _is_given(own):
            part = None
        elif not takes_args:
            raise ValueError(
                f"batched_constraints_args has args for {name}, which takes none: A and limits are those of all "
                "problems. Write it as a dict {'type', 'fun', 'args'} whose function takes what differs."
            )
        else:
            place = "batched_constraints_args" if name == SINGLE else f"batched_constraints_args[{i}]"
            part = BatchedArguments(tuple(own) if isinstance(own, list) else own, place, name)
        if function is not None:
            found.append((function, part))
    return found


def _is_given(own: Any) -> bool:
    return own is not None and not (isinstance(own, (tuple, list)) and not own)


def _checked(name: str, leaf: Any) -> Any:
    if (variable := as_variable(leaf)) is not None:
        raise ValueError(f"{name} holds variable '{variable.name}': give its value, an array.")
    if not isinstance(leaf, (np.ndarray, tf.Tensor)):
        raise ValueError(
            f"{name} holds {reprlib.repr(leaf)}, which has no slices: give an array or a tensor with a leading "
            "dimension of the number of problems, and in args what all problems share."
        )
    return leaf


def _batched_array(name: str, leaf: Any) -> Array:
    """A leaf of the batched arguments as an array that C++ can read."""
    if tf.is_symbolic_tensor(leaf):
        raise ValueError(f"{name} is a symbolic tensor: call tfminimize outside of tf.function, with a value.")
    array = np.asarray(leaf)
    if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} has dtype {array.dtype.name}: give numbers.")
    _check_rank(name, array.ndim)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _batched_tensor(name: str, leaf: Any) -> tf.Tensor:
    try:
        tensor = tf.convert_to_tensor(leaf)
    except (TypeError, ValueError):
        raise ValueError(f"{name} has dtype {leaf.dtype}: give numbers.") from None
    dtype = tensor.dtype
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool or dtype.is_complex):
        raise ValueError(f"{name} has dtype {dtype.name}: give numbers.")
    if tensor.shape.rank is None:
        raise ValueError(f"{name} has a shape of unknown rank: fix it by tf.ensure_shape.")
    _check_rank(name, tensor.shape.rank)
    return tensor


def _check_rank(name: str, rank: int) -> None:
    if rank == 0:
        raise ValueError(
            f"{name} has no dimensions: give it a leading dimension of the number of problems, or put it into args."
        )


def as_tuple(args: Any) -> tuple[Any, ...]:
    return args if isinstance(args, tuple) else (args,)
