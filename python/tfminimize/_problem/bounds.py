"""Bounds in every accepted form, as two vectors.

First the structure: one entry for each leaf, or None where a leaf has no bounds.

========================  ============================================================================================
``x0``                    ``bounds``
========================  ============================================================================================
one array or variable     the entry; for a variable also a list of it
structure                 the same structure with entries for leaves (dict keys may be missing), or for a dict and for
                          variables a list parallel to ``tf.nest.flatten(x0)``; or `Bounds` on the flat vector
any variables             a dict of ``variable.ref()`` to the entry; variables that are not in it have no bounds
========================  ============================================================================================

Then the entry, for a leaf of n elements:

- a pair ``(low, high)``, both broadcast to the shape of the leaf; or
- n pairs of numbers, one for each element in C order, or an array ``[n, 2]``; or
- `scipy.optimize.Bounds` or `Bounds`, in which n numbers belong to the elements in C order.

All numbers may be arrays, tensors or variables. None and infinities mean that there is no bound. For a leaf of two
elements, two pairs are one for each element, as in SciPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem.layout import Layout, Segment
from tfminimize._problem.parameters import Parameters, as_variable

__all__ = [
    "Bounds",
    "PackedBounds",
    "as_numbers",
    "as_packed",
    "described",
    "low_then_high",
    "pack_bounds",
    "rounded_inwards",
    "tensor_bounds",
]

Float64 = NDArray[np.float64]
_FORM = (
    "give (low, high), each a number, None, an array or a tensor that broadcasts to its shape, or one such pair of "
    "numbers for each element"
)
_NUMBERS = {int, float, type(None), np.float64}
_NOT_DENSE = (tf.RaggedTensor, tf.SparseTensor, tf.IndexedSlices)


class Bounds(scipy.optimize.Bounds):  # type: ignore[misc]
    """`scipy.optimize.Bounds` that keeps tensors, with their gradients; SciPy's converts them to arrays.

    Parameters
    ----------
    lb, ub : number, array or tensor, optional
        Anything that broadcasts to the shape of x, or one number for each element in C order.
    keep_feasible : bool or array of bool, optional
        As in SciPy.

    Examples
    --------
    >>> upper = tf.constant([1.0, 5.0])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(upper)
    ...     x = tfm.ops.minimize(
    ...         lambda x: tf.reduce_sum((x - 3.0) ** 2),
    ...         tf.zeros(2),
    ...         bounds=Bounds(ub=upper),
    ...     ).x
    >>> x.numpy().round(3), tape.gradient(x, upper).numpy()
    (array([1., 3.], dtype=float32), array([1., 0.], dtype=float32))
    """

    def __init__(self, lb: Any = -np.inf, ub: Any = np.inf, keep_feasible: Any = False) -> None:
        # SciPy's class would convert tensors to arrays.
        arrays = [np.zeros(1) if _is_tensor(side) else side for side in (lb, ub)]
        super().__init__(*arrays, keep_feasible)
        for name, side in (("lb", lb), ("ub", ub)):
            if _is_tensor(side):
                setattr(self, name, side)


def pack_bounds(bounds: Any, parameters: Parameters) -> tuple[Float64, Float64] | tuple[None, None]:
    """The bounds as two packed vectors; two Nones if no bound is finite.

    Bounds of a float32 component are rounded inwards to float32: its values then respect them exactly. The padding has
    two bounds too: it never moves, and if every element has two bounds, so has the whole packed vector.

    Raises
    ------
    ValueError
        If a bound is NaN, crossed or of a wrong shape; it names the element.

    Examples
    --------
    >>> pack_bounds([(0, None), (None, 1)], Parameters(np.zeros(2)))
    (array([  0., -inf]), array([inf,  1.]))
    """
    low, high = _checked(_sides(bounds, parameters), parameters.layout)
    if low is None or high is None:
        return None, None
    return parameters.layout.pack(low, -1.0), parameters.layout.pack(high, 1.0)


class PackedBounds(NamedTuple):
    """The bounds of a solve, checked and packed.

    Attributes
    ----------
    low, high : ndarray or None
        The vectors from `pack_bounds`.
    keep_feasible : bool or ndarray
        Which elements must not leave their bounds even on the way.
    """

    low: Float64 | None
    high: Float64 | None
    keep_feasible: Any

    def flat(self, layout: Layout) -> tuple[Float64, Float64]:
        """The bounds as two flat vectors, with infinity for no bound."""
        if self.low is None or self.high is None:
            return np.full(layout.size, -np.inf), np.full(layout.size, np.inf)
        return layout.flatten(self.low), layout.flatten(self.high)


def as_packed(bounds: Any, parameters: Parameters) -> PackedBounds:
    """The bounds, packed unless they are packed already."""
    if isinstance(bounds, PackedBounds):
        return bounds
    low, high = pack_bounds(bounds, parameters)
    return PackedBounds(low, high, _kept_feasible(bounds, parameters))


def tensor_bounds(bounds: Any, parameters: Parameters) -> tuple[tf.Tensor, tf.Tensor]:
    """The bounds as two flat float64 tensors; empty if no bound can be finite.

    They depend on the tensors among the bounds; the values of these are not checked.
    """
    sides = _sides(bounds, parameters)
    if not any(tf.is_tensor(side) for pair in sides for side in pair):
        low, high = _checked(sides, parameters.layout)
        none = np.zeros(0)
        return tf.constant(none if low is None else low), tf.constant(none if high is None else high)
    rounded = []
    for pair, segment in zip(sides, parameters.layout.segments, strict=True):
        tensors = tuple(tf.convert_to_tensor(side) for side in pair)
        rounded.append(rounded_inwards(*tensors) if segment.dtype == "float32" else tensors)
    lows, highs = zip(*rounded, strict=True)
    return tf.concat(lows, 0), tf.concat(highs, 0)


def _kept_feasible(bounds: Any, parameters: Parameters) -> Any:
    """Which elements must not leave their bounds even on the way: a bool, or one for each element."""
    if isinstance(bounds, scipy.optimize.Bounds) or bounds is None:
        return getattr(bounds, "keep_feasible", False)
    kept = np.zeros(parameters.layout.size, bool)
    for entry, segment in zip(_entries(bounds, parameters), parameters.layout.segments, strict=True):
        kept[segment.flat] = np.ravel(getattr(entry, "keep_feasible", False))
    return kept if kept.any() else False


def low_then_high(entry: Any, size: int) -> Any:
    """The entry of a leaf of ``size`` elements, rewritten for an interface in which every pair is ``(low, high)``."""
    return list(zip(*_parts(entry), strict=True)) if _are_two_pairs(entry, size) else entry


def _are_two_pairs(entry: Any, size: int) -> bool:
    """Whether the entry can be read in two ways: as a pair for each element, or as two vectors, low and high."""
    parts = _parts(entry)
    return size == 2 and parts is not None and len(parts) == 2 and all(map(_is_pair, parts))


def _sides(bounds: Any, parameters: Parameters) -> list[tuple[Any, Any]]:
    """The lower and upper bounds of each leaf, as flat float64 arrays, or as tensors if they hold tensors."""
    layout = parameters.layout
    if bounds is None:
        return [(np.full(s.size, -np.inf), np.full(s.size, np.inf)) for s in layout.segments]
    if isinstance(bounds, scipy.optimize.Bounds) and len(layout.segments) > 1:
        low, high = _sides_of_leaf(bounds, Segment(parameters.name, (layout.size,), "float64", 0, 0))
        return [(low[s.flat], high[s.flat]) for s in layout.segments]
    plain = _plain_sides(bounds, layout)
    if plain is not None:
        return [plain]
    entries = _entries(bounds, parameters)
    return [_sides_of_leaf(entry, segment) for entry, segment in zip(entries, layout.segments, strict=True)]


def _plain_sides(bounds: Any, layout: Layout) -> tuple[Float64, Float64] | None:
    """Two float64 arrays as they are, in a tenth of the time, where that is certain to be meant; else None."""
    segment = layout.segments[0]
    shapes: tuple[tuple[int, ...], ...]
    if isinstance(bounds, scipy.optimize.Bounds):
        sides, shapes = (bounds.lb, bounds.ub), (segment.shape, (segment.size,))
    elif isinstance(bounds, tuple) and len(bounds) == 2 and segment.size != 2:
        sides, shapes = bounds, (segment.shape,)
    else:
        return None
    if len(layout.segments) > 1 or not all(type(s) is np.ndarray and s.dtype == np.float64 for s in sides):
        return None
    low, high = sides
    return (low.ravel(), high.ravel()) if low.shape in shapes and high.shape in shapes else None


def _sides_of_leaf(entry: Any, segment: Segment) -> tuple[Any, Any]:
    if entry is None:
        low = high = None
        in_c_order = False
    elif isinstance(entry, scipy.optimize.Bounds):
        low, high, in_c_order = entry.lb, entry.ub, True
    else:
        low, high, in_c_order = _low_and_high(entry, segment)
    return (
        _side(low, -np.inf, segment, in_c_order, "lower"),
        _side(high, np.inf, segment, in_c_order, "upper"),
    )


def _low_and_high(entry: Any, segment: Segment) -> tuple[Any, Any, bool]:
    """The two sides of an entry, and whether each has one number for each element in C order."""
    if _is_array(entry) and tuple(entry.shape) == (segment.size, 2):
        return entry[:, 0], entry[:, 1], True
    parts = _parts(entry)
    if parts is None:
        raise ValueError(f"the bounds for {segment.name} are {described(entry)}: {_FORM}.")
    if len(parts) == 2 and not _are_two_pairs(parts, segment.size):
        return parts[0], parts[1], False
    if len(parts) != segment.size:
        raise ValueError(
            f"the bounds for {segment.name} have {len(parts)} entries, but {segment.name} has {segment.size} elements: "
            f"{_FORM}."
        )
    for i, pair in enumerate(parts):
        if not _is_pair(pair):
            raise ValueError(
                f"entry {i} of the bounds for {segment.name} is {described(pair)}: give a pair of numbers (low, "
                "high), with None where there is no bound."
            )
    return [pair[0] for pair in parts], [pair[1] for pair in parts], True


def _side(side: Any, infinity: float, segment: Segment, in_c_order: bool, word: str) -> Any:
    """One side of a leaf, as a flat array or tensor."""
    name = f"the {word} bound for {segment.name}"
    try:
        value = as_numbers(side, infinity)
        shape = tf.TensorShape(value.shape)
        if in_c_order and shape.rank is not None and shape.num_elements() in (1, segment.size):
            value = _reshaped(value, () if shape.num_elements() == 1 else segment.shape)
        if tf.is_tensor(value):
            static = tf.broadcast_static_shape(value.shape, tf.TensorShape(segment.shape))
            if not static.is_compatible_with(segment.shape):
                raise ValueError(f"it has shape {value.shape}")
            return _reshaped(tf.broadcast_to(value, segment.shape), (-1,))
        return np.broadcast_to(value, segment.shape).ravel()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}, {described(side)}, cannot be broadcast to the shape {segment.shape} ({error}): {_FORM}."
        ) from None


def as_numbers(side: Any, infinity: float) -> Any:
    """Numbers as a float64 array, or as a tensor if one of them is a tensor; None becomes ``infinity``."""
    if side is None:
        return np.array(infinity)
    if isinstance(side, _NOT_DENSE):
        raise TypeError("it is not a dense tensor")
    if _is_tensor(side):
        tensor = tf.convert_to_tensor(side if as_variable(side) is None else as_variable(side))
        if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
            raise TypeError(f"it has dtype {tensor.dtype.name}")
        return tf.cast(tensor, tf.float64)
    if isinstance(side, (list, tuple)):
        if set(map(type, side)) <= _NUMBERS:
            return np.array([infinity if value is None else value for value in side], np.float64)
        parts = [as_numbers(part, infinity) for part in side]
        return tf.stack(parts) if any(map(tf.is_tensor, parts)) else np.array(parts, np.float64)
    array = np.asarray(side)
    if array.dtype == object:
        return as_numbers(array.tolist(), infinity) if array.ndim else np.array(float(side))
    if array.dtype.kind in "cSU":
        raise TypeError(f"it has dtype {array.dtype}")
    return array.astype(np.float64)


def described(entry: Any) -> str:
    """The given value and why it cannot be read, for messages."""
    if isinstance(entry, (set, frozenset)):
        return f"{entry!r}, which has no order"
    return f"of type {type(entry).__name__}" if isinstance(entry, _NOT_DENSE) else repr(entry)


def _is_tensor(value: Any) -> bool:
    return bool(tf.is_tensor(value)) or as_variable(value) is not None


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (_is_tensor(value) and not isinstance(value, _NOT_DENSE))


def _parts(value: Any) -> Any:
    """The items of a sequence, array, tensor or iterator; None for a value without items or without an order."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, (Mapping, set, frozenset, str, bytes, *_NOT_DENSE)):
        return None
    if _is_tensor(value):
        rank = value.shape.rank
        return tf.unstack(tf.convert_to_tensor(value)) if rank and value.shape[0] is not None else None
    if np.ndim(value) == 0 and not hasattr(value, "__iter__"):
        return None
    return list(value)


def _is_pair(value: Any) -> bool:
    """Whether it is two numbers."""
    if _is_array(value):
        return tuple(value.shape) == (2,)
    return isinstance(value, (list, tuple)) and len(value) == 2 and not any(map(_has_parts, value))


def _has_parts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (_is_array(value) and value.shape != () and tuple(value.shape) != (1,))


def _reshaped(value: Any, shape: tuple[int, ...]) -> Any:
    return tf.reshape(value, shape) if tf.is_tensor(value) else value.reshape(shape)


def _joined(sides: list[tuple[Any, Any]]) -> tuple[Float64, Float64]:
    """The bounds of all leaves as flat arrays; raises ValueError for a symbolic tensor."""
    for pair in sides:
        for side in pair:
            if tf.is_symbolic_tensor(side):
                raise ValueError(
                    f"bounds hold a symbolic tensor ({side.name}): give its value, or call tfminimize.minimize inside "
                    "of the tf.function that it belongs to."
                )
    low, high = (np.concatenate([np.asarray(pair[i]) for pair in sides]) for i in (0, 1))
    return low, high


def _checked(sides: list[tuple[Any, Any]], layout: Layout) -> tuple[Float64, Float64] | tuple[None, None]:
    """The bounds as flat arrays, rounded for float32 components; two Nones if no bound is finite."""
    low, high = _joined(sides)
    _check(low, high, layout)
    if not (np.isfinite(low).any() or np.isfinite(high).any()):
        return None, None
    for s in layout.segments:
        if s.dtype != "float32":
            continue
        rounded = rounded_inwards(low[s.flat], high[s.flat])
        beyond = np.flatnonzero((rounded[0] == np.inf) | (rounded[1] == -np.inf))
        if beyond.size:
            i = s.start + int(beyond[0])
            raise ValueError(
                f"the bounds for {layout.name_of(i)} are ({low[i]}, {high[i]}), which no float32 satisfies: make it "
                "float64."
            )
        low[s.flat], high[s.flat] = rounded
    return low, high


def _entries(bounds: Any, parameters: Parameters) -> list[Any]:
    """The bounds given for each leaf."""
    if parameters.is_array:
        if isinstance(bounds, Mapping):
            raise ValueError(
                "bounds is a dict, but x0 is one array: give (low, high), or one such pair for each element."
            )
        return [bounds]
    if parameters.variables:
        if isinstance(bounds, Mapping) and (not bounds or _keyed_by_reference(bounds)):
            return _by_reference(bounds, parameters)
        if parameters.template is None:
            parallel = isinstance(bounds, (list, tuple)) and len(bounds) == 1
            return [bounds[0] if parallel else bounds]
    template = parameters.template
    if isinstance(template, Mapping) and isinstance(bounds, (list, tuple)):
        return _checked_length(bounds, len(parameters.layout.segments), "x0")
    return _matched(bounds, template, "x0")


def _keyed_by_reference(bounds: Mapping[Any, Any]) -> bool:
    return any(_variable_of(key) is not None for key in bounds)


def _variable_of(key: Any) -> Any:
    """The variable that a key of the bounds refers to; None for any other key."""
    return as_variable(key.deref() if hasattr(key, "deref") else key)


def _by_reference(bounds: Mapping[Any, Any], parameters: Parameters) -> list[Any]:
    found: dict[Any, Any] = {}
    for key, entry in bounds.items():
        variable = _variable_of(key)
        if variable is None:
            raise ValueError(f"bounds has the key {key!r}, which is not a variable: use variable.ref() as key.")
        found[variable.ref()] = entry
    known = {v.ref() for v in parameters.variables}
    for reference in found:
        if reference not in known:
            raise ValueError(
                f"bounds has an entry for variable '{reference.deref().name}', which is not among the variables of x0: "
                "remove it, or optimise the variable."
            )
    return [found.get(v.ref()) for v in parameters.variables]


def _matched(bounds: Any, template: Any, path: str) -> list[Any]:
    """Walk down the bounds and the structure of x0 together, in the order of `tf.nest`."""
    if template is None:
        return [bounds]
    if bounds is None:
        return [None] * len(tf.nest.flatten(template))
    if isinstance(template, Mapping):
        if not isinstance(bounds, Mapping):
            raise ValueError(f"the bounds for {path} must be a dict with the keys of {path}, not {bounds!r}.")
        for key in bounds:
            if key not in template:
                raise ValueError(f"bounds has the key {key!r}, which {path} does not have: remove it.")
        keys = sorted(template)
        return [entry for k in keys for entry in _matched(bounds.get(k), template[k], f"{path}[{k!r}]")]
    if isinstance(template, (list, tuple)):
        items = _checked_length(bounds, len(template), path)
        pairs = enumerate(zip(items, template, strict=True))
        return [entry for i, (item, part) in pairs for entry in _matched(item, part, f"{path}[{i}]")]
    return _checked_length(bounds, len(tf.nest.flatten(template)), path)


def _checked_length(bounds: Any, length: int, path: str) -> list[Any]:
    parts = None if isinstance(bounds, scipy.optimize.Bounds) else _parts(bounds)
    if parts is None or len(parts) != length:
        count = described(bounds) if parts is None else f"{len(parts)} entries"
        raise ValueError(
            f"the bounds for {path} are {count}, but {path} has {length} parts: give one (low, high) or None for each."
        )
    return list(parts)


def _check(low: Float64, high: Float64, layout: Layout) -> None:
    wrong = np.flatnonzero(~(low <= high) | (low == np.inf) | (high == -np.inf))
    if not wrong.size:
        return
    i = int(wrong[0])
    name = layout.name_of(i)
    if np.isnan(low[i]) or np.isnan(high[i]):
        raise ValueError(f"the bounds for {name} are ({low[i]}, {high[i]}): use None where there is no bound, not NaN.")
    if low[i] <= high[i]:
        raise ValueError(
            f"the bounds for {name} are ({low[i]}, {high[i]}), which no finite value satisfies: correct them."
        )
    raise ValueError(
        f"the lower bound for {name} is greater than the upper bound ({low[i]} > {high[i]}): exchange or correct them."
    )


def rounded_inwards(low: Any, high: Any) -> tuple[Any, Any]:
    """The smallest float32 >= ``low`` and the largest <= ``high``; the nearest float32 if none lies between them."""
    xp: Any = tf if tf.is_tensor(low) else np
    nextafter: Any = tf.math.nextafter if xp is tf else np.nextafter
    cast: Any = tf.cast if xp is tf else lambda value, dtype: value.astype(dtype)
    with np.errstate(over="ignore"):
        low32, high32 = cast(low, np.float32), cast(high, np.float32)
        nearest, below = cast(low32, np.float64), cast(high32, np.float64)
        inner_low = cast(xp.where(nearest < low, nextafter(low32, np.float32(np.inf)), low32), np.float64)
        inner_high = cast(xp.where(below > high, nextafter(high32, np.float32(-np.inf)), high32), np.float64)
    empty = inner_low > inner_high
    return xp.where(empty, nearest, inner_low), xp.where(empty, nearest, inner_high)
