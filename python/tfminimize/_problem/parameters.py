"""The parameters to optimise: arrays that the function takes, or variables that it reads."""

from __future__ import annotations

import copy
import math
import numbers
import weakref
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.layout import Layout
from tfminimize._problem.messages import shown
from tfminimize._tf.warning import warn

__all__ = ["Parameters", "as_variable", "replicas"]

_FLOATS = ("float64", "float32")
_VERY_FEW = 16
_FEW = 256
Array = NDArray[Any]


def as_variable(value: Any) -> tf.Variable | None:
    """The TensorFlow variable that ``value`` is or, as a Keras 3 variable, holds; None for anything else.

    If a distribution strategy mirrors the variable, it is the first copy, which the others follow.
    """
    if isinstance(value, tf.Variable):
        return value.values[0] if isinstance(value, tf.distribute.DistributedValues) else value
    if isinstance(value, (np.ndarray, np.generic, tf.Tensor, numbers.Number)):
        return None
    inner = getattr(value, "value", None)
    return as_variable(inner) if isinstance(inner, tf.Variable) else None


def replicas(variable: tf.Variable) -> tuple[tf.Variable, ...]:
    """All copies of a variable that a distribution strategy mirrors; else the variable itself."""
    mirrored = _container(variable)
    return (variable,) if mirrored is None else tuple(mirrored.values)


def _container(variable: tf.Variable) -> Any:
    """The distribution strategy's container of a variable and its copies; None for any other variable."""
    reference = getattr(getattr(variable, "handle", None), "_distributed_container", None)
    return None if reference is None else reference()


class Parameters:
    """The structure, shapes and dtypes of ``x0``, without its values.

    In *functional* use the function takes ``x`` in the structure of ``x0`` (see `tf.nest`); a list or tuple of plain
    numbers, however deep, counts as one array. In *variable* use ``x0`` is a variable or a structure of variables.

    Attributes
    ----------
    name : str
        How messages name ``x0``.
    variables : tuple of tf.Variable
        Empty in functional use.
    layout : Layout
    may_be_unused : bool
        Whether the loss may ignore one of the components without a warning.
    """

    def __init__(self, x0: Any, name: str = "x0", *, may_be_unused: bool = False) -> None:
        self.name = name
        self.may_be_unused = may_be_unused
        template = _with_arrays(x0)
        try:
            leaves = tf.nest.flatten(template)
        except TypeError as error:
            raise ValueError(
                f"{name} has a dict whose keys cannot be sorted ({error}): give it keys of one type."
            ) from None
        if not leaves:
            raise ValueError(f"{name} is empty: give at least one number, array, tensor or variable to optimise.")
        self._is_leaf = not tf.nest.is_nested(template)
        self._template = template if self._is_leaf else tf.nest.map_structure(lambda _: None, template)
        variables = [as_variable(leaf) for leaf in leaves]
        self.variables: tuple[tf.Variable, ...] = ()
        if any(v is not None for v in variables):
            self.variables = _checked_variables(variables, leaves, name)
            components = [(f"variable '{v.name}'", _static_shape(v), v.dtype.name) for v in self.variables]
        else:
            arrays = [_as_array(leaf, name) for leaf, name in zip(leaves, self.names(), strict=True)]
            components = [(n, a.shape, a.dtype.name) for n, a in zip(self.names(), arrays, strict=True)]
        if self._is_leaf:
            self._template = None
        self.layout = Layout(components)
        doubles = all(segment.dtype == "float64" for segment in self.layout.segments)
        self._is_plain = doubles and (self._is_leaf or bool(self.variables))
        if self.layout.size == 0:
            raise ValueError(f"{name} has no elements: there is nothing to optimise.")

    @property
    def is_array(self) -> bool:
        """Whether x is one array, as in SciPy."""
        return self._is_leaf and not self.variables

    @property
    def template(self) -> Any:
        """The structure with None for each leaf; None itself for a single one."""
        return self._template

    @property
    def float_dtype(self) -> str:
        """The dtype for Python floats among the arguments: that of x, or float64 if x mixes dtypes."""
        dtypes = {s.dtype for s in self.layout.segments}
        return dtypes.pop() if len(dtypes) == 1 else "float64"

    def key(self) -> Hashable:
        """Problems with the same key can use the same compiled function."""
        shapes = tuple((s.shape, s.dtype) for s in self.layout.segments)
        if self.variables:
            return tuple(v.ref() for v in self.variables)
        return (None if self._is_leaf else _structure_key(self._template), shapes)

    def names(self) -> list[str]:
        """The names of the leaves in messages."""
        if self._is_leaf:
            return [self.name]
        return [name for name, _ in _walk(self._template, self.name)]

    def leaves(self, x0: Any) -> list[Any]:
        """The leaves of ``x0``, which may be tensors; a range and a list of plain numbers are arrays."""
        return list(tf.nest.flatten(_with_arrays(x0)))

    def start(self, x0: Any) -> list[Array]:
        """The values of ``x0`` or of the variables, leaf by leaf; raises ValueError unless they fit and are finite."""
        if self.variables:
            values = [_read(v) for v in self.variables]
        elif self._is_leaf and type(x0) is np.ndarray and x0.dtype.char in "df":
            values = [x0]
        else:
            template = _with_arrays(x0)
            if not self._has_structure(template):
                raise ValueError(
                    f"x0 must be {self._describe()}, like the one that the function was compiled for, not {shown(x0)}."
                )
            leaves = tf.nest.flatten(template)
            values = [_as_array(leaf, s.name) for leaf, s in zip(leaves, self.layout.segments, strict=True)]
        return self.checked(values)

    def checked(self, values: Sequence[Array]) -> list[Array]:
        """The values as a list; raises ValueError unless they have the right shapes and are finite."""
        for value, segment in zip(values, self.layout.segments, strict=True):
            if value.shape != segment.shape:
                raise ValueError(
                    f"{segment.name} has shape {value.shape}, but the function was compiled for {segment.shape}: "
                    "make a new Minimizer for another shape."
                )
            _check_finite(value, segment.name)
        return list(values)

    def starts(self, x0s: Any, n_starts: int = 1) -> tuple[list[Array], int | None, bool]:
        """The starts of a batch, leaf by leaf with a leading dimension, their number, and whether all are given.

        None stands for the present values of the variables. For it, and for one start that all problems share, the
        leading dimension is 1 and the number is None. Leaves with two leading dimensions, the problem and one of
        ``n_starts``, are joined along these.
        """
        if self.variables and all(as_variable(leaf) is not None for leaf in tf.nest.flatten(x0s) if leaf is not None):
            self.check_same_variables(x0s, "x0s")
            return [value[np.newaxis] for value in self.start(None)], None, False
        template = _with_arrays(x0s)
        if not self._has_structure(template):
            raise ValueError(f"x0s must be {self._describe()}, like x0, with an array for each leaf, not {shown(x0s)}.")
        names = ["x0s"] if self._is_leaf else [name for name, _ in _walk(template, "x0s")]
        values = [_as_array(leaf, name) for leaf, name in zip(tf.nest.flatten(template), names, strict=True)]
        shapes = [segment.shape for segment in self.layout.segments]
        is_one = all(value.shape == shape for value, shape in zip(values, shapes, strict=True))
        if is_one:
            values = [value[np.newaxis] for value in values]
        are_all = n_starts > 1 and all(
            value.ndim == len(shape) + 2 and value.shape[1] == n_starts
            for value, shape in zip(values, shapes, strict=True)
        )
        if are_all:
            values = [value.reshape(-1, *value.shape[2:]) for value in values]
        for name, value, shape in zip(names, values, shapes, strict=True):
            if value.shape != (len(values[0]) if values[0].ndim else 0, *shape):
                raise ValueError(
                    f"{name} has shape {value.shape}, but x0 has {shape} there: give every leaf a leading dimension of "
                    "the number of problems, or none of them, for a start that all share."
                )
            _check_finite(value, name)
        return values, None if is_one else len(values[0]) // (n_starts if are_all else 1), are_all

    def check_same_variables(self, x0: Any, name: str = "x0") -> None:
        """Raise ValueError, with ``name`` for ``x0``, unless it is None or holds exactly these variables."""
        if x0 is None:
            return
        given = [as_variable(leaf) for leaf in tf.nest.flatten(x0)]
        if len(given) != len(self.variables) or any(g is not v for g, v in zip(given, self.variables, strict=True)):
            raise ValueError(
                f"{name} must be the variables that the Minimizer was made for, or None: a solve starts from their "
                "present values, so assign to them before it."
            )

    def rebuild(self, leaves: Sequence[Any]) -> Any:
        """The leaves in the structure of ``x0``."""
        return leaves[0] if self._is_leaf else tf.nest.pack_sequence_as(self._template, leaves)

    def report(self, packed: Array) -> Any:
        """A copy of a packed vector as users see it: in the structure of ``x0``, or flat for variables.

        A float32 component is rounded to the values that the function saw.
        """
        layout = self.layout
        if self._is_plain:
            flat = layout.flatten(packed)
            return flat if self.variables else flat.reshape(layout.segments[0].shape)
        if self.variables:
            flat = np.empty(layout.size)
            for s in layout.segments:  # one after the other: their copies in float32 are not there at once
                flat[s.flat] = packed[s.packed].astype(s.dtype, copy=False)
            return flat
        return self.rebuild([packed[s.packed].reshape(s.shape).astype(s.dtype) for s in layout.segments])

    def report_batch(self, packed: Array) -> Any:
        """An array ``[B, packed_size]`` as users see it: arrays ``[B, ...]`` in the structure of ``x0``."""
        leaves = [
            np.ascontiguousarray(packed[:, s.packed].reshape(len(packed), *s.shape), s.dtype)
            for s in self.layout.segments
        ]
        return self.rebuild(leaves)

    def assign(self, flat: Array) -> None:
        """Assign a flat vector to the variables; does nothing in functional use."""
        for variable, segment in zip(self.variables, self.layout.segments, strict=False):
            value = flat[segment.flat].reshape(segment.shape)
            # tf.constant copies. Without a copy, the variable might share memory with the result.
            tensor = tf.constant(value, variable.dtype)
            for replica in replicas(variable):  # half the time of variable.assign
                tf.raw_ops.AssignVariableOp(resource=replica.handle, value=tensor)

    def _has_structure(self, template: Any) -> bool:
        try:
            tf.nest.assert_same_structure(template, self._template)
        except (TypeError, ValueError):
            return False
        return True

    def _describe(self) -> str:
        return "one array" if self._is_leaf else f"a structure like {self._template!r}"


def _with_arrays(x0: Any) -> Any:
    """``x0`` with every range and every list or tuple of plain numbers replaced by an array."""
    if isinstance(x0, range):
        return np.asarray(x0)
    if isinstance(x0, (list, tuple)):
        if x0 and all(_is_numeric(item) for item in x0):
            try:
                return np.asarray(x0)
            except ValueError as error:
                raise ValueError(f"x0 is a ragged list of numbers ({error}): all rows need the same length.") from None
        items = [_with_arrays(item) for item in x0]
        return x0 if _all_same(items, x0) else _rebuilt(x0, items)
    if isinstance(x0, dict):
        values = {key: _with_arrays(item) for key, item in x0.items()}
        if not _all_same(values.values(), x0.values()):
            x0 = copy.copy(x0)
            x0.update(values)
    return x0


def _all_same(items: Iterable[Any], others: Iterable[Any]) -> bool:
    return all(item is other for item, other in zip(items, others, strict=True))


def _is_numeric(item: Any) -> bool:
    if isinstance(item, (list, tuple)) and not hasattr(item, "_fields"):
        return bool(item) and all(_is_numeric(part) for part in item)
    return isinstance(item, (numbers.Number, np.generic))


def _rebuilt(sequence: Any, items: list[Any]) -> Any:
    return type(sequence)(*items) if hasattr(sequence, "_fields") else type(sequence)(items)


def _walk(structure: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves in the order of `tf.nest`, each with its path."""
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from _walk(structure[key], f"{path}[{key!r}]")
    elif isinstance(structure, tuple) and hasattr(structure, "_fields"):
        for field in structure._fields:
            yield from _walk(getattr(structure, field), f"{path}.{field}")
    elif isinstance(structure, (list, tuple)):
        for i, item in enumerate(structure):
            yield from _walk(item, f"{path}[{i}]")
    elif tf.nest.is_nested(structure):
        for i, item in enumerate(tf.nest.flatten(structure)):
            yield f"{path} (leaf {i})", item
    else:
        yield path, structure


def _structure_key(structure: Any) -> Hashable:
    """A hashable key for a structure whose leaves are None."""
    if isinstance(structure, Mapping):
        return (type(structure), tuple((k, _structure_key(structure[k])) for k in sorted(structure)))
    if isinstance(structure, (list, tuple)):
        return (type(structure), tuple(_structure_key(item) for item in structure))
    return repr(structure)


def _as_array(leaf: Any, name: str) -> Array:
    """A leaf as a float64 or float32 array; numbers and integers become float64."""
    if tf.is_symbolic_tensor(leaf):
        raise ValueError(f"{name} is a symbolic tensor: call tfminimize outside of tf.function, with a value.")
    if as_variable(leaf) is not None:
        raise ValueError(f"{name} is a variable, but the function was compiled for an array.")
    remedy = "give a number, an array or a tensor of numbers, or a variable"
    holds_variables = hasattr(leaf, "trainable_variables")
    if holds_variables:
        remedy = "to optimise what it holds, give its trainable_variables"
    try:
        array = np.asarray(None if holds_variables else leaf)
    except Exception:  # the object's own conversion may raise anything
        array = np.asarray(None)
    if array.dtype.kind in "OSU":
        raise ValueError(f"{name} is {shown(leaf)}, which cannot be optimised: {remedy}.")
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    if array.dtype.name not in _FLOATS:
        raise ValueError(
            f"{name} has dtype {array.dtype.name}, but only float32, float64 and integers (taken as float64) can be "
            "optimised: cast it."
        )
    return array


def _check_finite(value: Array, name: str) -> None:
    # For few elements, isfinite() would take five to ten times as long. Neither of these warns of an overflow.
    if value.size <= _FEW and math.isfinite(
        sum(value.ravel().tolist()) if value.size <= _VERY_FEW else np.vdot(value, value)
    ):
        return
    if np.isfinite(value).all():
        return
    index = tuple(int(k) for k in np.argwhere(~np.isfinite(value))[0])
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    raise ValueError(f"{place} is {value[index]} at the start: give a finite value.")


def _read(variable: tf.Variable) -> Array:
    # A raw read is three times faster than variable.numpy(), and no tape records it.
    return np.asarray(tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype).numpy())


def _static_shape(variable: tf.Variable) -> tuple[int, ...]:
    if not variable.shape.is_fully_defined():
        raise ValueError(
            f"variable '{variable.name}' has shape {variable.shape}, which is not static: "
            "give every dimension a size when the variable is made."
        )
    return tuple(variable.shape.as_list())


def _checked_variables(variables: list[tf.Variable | None], leaves: list[Any], name: str) -> tuple[tf.Variable, ...]:
    checked: list[tf.Variable] = []
    seen: set[Any] = set()
    for i, (variable, leaf) in enumerate(zip(variables, leaves, strict=True)):
        if variable is None:
            raise ValueError(
                f"{name} mixes variables with other values (leaf {i} is a {type(leaf).__name__}): "
                "give either variables only, or arrays and tensors only; of a module or a model its "
                "trainable_variables."
            )
        _check_copies(variable)
        if getattr(leaf, "constraint", None) is not None:
            _warn_of_constraint(variable)
        if variable.dtype.name.endswith("_ref"):
            raise ValueError(
                f"variable '{variable.name}' is a reference variable of TensorFlow 1, which no function can read: "
                "create it with use_resource=True."
            )
        if variable.dtype.name not in _FLOATS:
            raise ValueError(
                f"variable '{variable.name}' has dtype {variable.dtype.name}, but only float32 and float64 variables "
                f"can be optimised: leave it out of {name}, or make it a float variable."
            )
        if variable.ref() in seen:
            raise ValueError(f"variable '{variable.name}' is in {name} twice: give each variable once.")
        seen.add(variable.ref())
        checked.append(variable)
    return tuple(checked)


def _check_copies(variable: tf.Variable) -> None:
    """Raise ValueError for a distributed variable whose copies cannot all get the solution."""
    container = _container(variable)
    if container is None:
        return
    if container.synchronization == tf.VariableSynchronization.ON_READ:
        raise ValueError(
            f"variable '{variable.name}' has a different value on each replica (VariableSynchronization.ON_READ), so "
            "no solution fits all of them: optimise a mirrored variable."
        )
    if not tf.distribute.in_cross_replica_context() and tf.distribute.has_strategy():
        raise ValueError(
            f"variable '{variable.name}' is mirrored, and a solve assigns to all replicas, but this is one replica of "
            "strategy.run: call tfminimize outside of strategy.run."
        )


_warned: set[int] = set()
"""The `id` of each living variable about whose constraint we have warned."""


def _warn_of_constraint(variable: tf.Variable) -> None:
    if id(variable) in _warned:
        return
    _warned.add(id(variable))
    weakref.finalize(variable, _warned.discard, id(variable)).atexit = False
    warn(
        f"Variable '{variable.name}' has a constraint=, which only Keras optimizers apply: it is ignored. Give "
        "bounds or constraints to tfminimize instead.",
        UserWarning,
    )
