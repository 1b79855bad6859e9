"""The function's further arguments, split into data and values that the trace is made for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfminimize._problem.parameters import as_variable

__all__ = ["Arguments"]


class Arguments:
    """``args``, split into tensors that are passed to the compiled function and values that it is traced with.

    Tensors, NumPy arrays and NumPy scalars are passed as tensors of their own dtype, Python floats as scalar tensors of
    the dtype of x (float64 if x mixes dtypes): new values with the same shapes and dtypes do not retrace. The function
    gets everything else, such as Python integers, strings, variables and models, as it is, and floats too if the dtype
    is None. A new value needs a new trace, as with `tf.function`; a variable is read when the function runs.

    Examples
    --------
    >>> arguments = Arguments((np.ones(3), 2.0, 5), "float32")
    >>> [t.dtype.name for t in arguments.tensors]
    ['float64', 'float32']

    Attributes
    ----------
    data : list of tf.Tensor or ndarray
        What is passed: machine code reads arrays of numbers as they are, which saves making tensors.
    key : hashable
        Two ``args`` with the same key use the same trace.
    is_constant : bool
        Whether ``args`` cannot change, so that the same tuple always means the same arguments.
    """

    def __init__(self, args: Any, float_dtype: str | None) -> None:
        if not isinstance(args, tuple):
            args = (args,)
        try:
            tf.nest.flatten(args)
        except TypeError as error:
            raise ValueError(
                f"args has a dict whose keys cannot be sorted ({error}): give it keys of one type."
            ) from None
        self.data: list[Any] = []
        self._args = args
        self.is_constant = all(isinstance(arg, (tf.Tensor, float, int, str)) for arg in args)
        self._leaves: list[Any] = []
        parts: list[Hashable] = [_structure(args)]
        for leaf in tf.nest.flatten(args, expand_composites=True) if args else ():
            data = _as_data(leaf, float_dtype)
            if data is None:
                self._leaves.append(leaf)
                parts.append(_identity(leaf))
            else:
                self._leaves.append(_DATA)
                self.data.append(data)
                if isinstance(data, np.ndarray):
                    parts.append((_NUMBERS[data.dtype], data.shape))
                else:
                    parts.append((data.dtype, tuple(data.shape.as_list())))
        self.key: Hashable = tuple(parts)

    @functools.cached_property
    def tensors(self) -> list[tf.Tensor]:
        """The data as tensors."""
        return [tf.constant(data) if isinstance(data, np.ndarray) else data for data in self.data]

    def keep_data(self) -> None:
        """From now on pass the values of now, although the user's arrays may change."""
        self.data = self.tensors
        self._args = tf.nest.map_structure(
            lambda leaf: tf.constant(leaf) if isinstance(leaf, np.ndarray) else leaf, self._args
        )

    @property
    def count(self) -> int:
        """How many ``args`` there are."""
        return len(self._args)

    @property
    def args(self) -> tuple[Any, ...]:
        """As the user gave them."""
        args: tuple[Any, ...] = self._args
        return args

    @property
    def first(self) -> Any:
        """The first of ``args``."""
        return self._args[0]

    def are(self, args: Any) -> bool:
        """Whether these are certain to be ``args`` with their present values."""
        return self.is_constant and args is self._args

    def rebuilder(self) -> Callable[[Iterable[tf.Tensor]], tuple[Any, ...]]:
        """A function that puts tensors in the place of the data in ``args``; it does not hold the data itself."""
        template = tf.nest.map_structure(_type_spec, self._args)
        leaves = list(self._leaves)

        def rebuild(tensors: Iterable[tf.Tensor]) -> tuple[Any, ...]:
            data = iter(tensors)
            values = [next(data) if leaf is _DATA else leaf for leaf in leaves]
            rebuilt: tuple[Any, ...] = tf.nest.pack_sequence_as(template, values, expand_composites=True)
            return rebuilt

        return rebuild


_DATA = object()
"""Stands for a leaf that is passed as data."""

_NUMBERS = {
    np.dtype(name): tf.as_dtype(name) for name in ("float64", "float32", "int64", "int32", "int16", "int8", "bool")
}
"""TensorFlow's dtypes of arrays that machine code reads, in the machine's byte order."""


def _structure(args: tuple[Any, ...]) -> Hashable:
    if all(isinstance(arg, (tf.Tensor, np.ndarray, float, int)) for arg in args):
        return len(args)
    return repr(tf.nest.map_structure(_type_spec, args))


def _as_data(leaf: Any, float_dtype: str | None) -> tf.Tensor | np.ndarray[Any, Any] | None:
    """A leaf as a tensor, or as an array of numbers; None if it is not passed as data."""
    if isinstance(leaf, tf.Tensor):
        if tf.is_symbolic_tensor(leaf) and tf.executing_eagerly():
            raise ValueError(f"args holds the symbolic tensor {leaf.name}: call tfminimize outside of tf.function.")
        return leaf
    if isinstance(leaf, (np.ndarray, np.generic)):
        if leaf.dtype in _NUMBERS:
            return np.asarray(leaf)
        try:
            return tf.constant(leaf)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"args holds an array of dtype {leaf.dtype}, which cannot become a tensor ({error}): convert it, or "
                "let the function take it from its closure."
            ) from None
    if isinstance(leaf, float) and float_dtype is not None:
        return np.asarray(leaf, float_dtype)
    return None


def _identity(leaf: Any) -> Hashable:
    variable = as_variable(leaf)
    if variable is not None:
        return (type(leaf), variable.ref())
    try:
        hash(leaf)
    except TypeError:
        raise ValueError(
            f"args holds a {type(leaf).__name__}, which is neither data (tensor, array, float) nor hashable: "
            "convert it to a tensor, or let the function take it from its closure."
        ) from None
    return (type(leaf), leaf)


def _type_spec(leaf: Any) -> Any:
    """The type of a composite tensor, such as a RaggedTensor; 0 for any other leaf."""
    parts = tf.nest.flatten(leaf, expand_composites=True)
    return 0 if len(parts) == 1 and parts[0] is leaf else tf.type_spec_from_value(leaf)
