"""Bounds in every accepted form, as two packed vectors.

========================  ============================================================================================
``x0``                    ``bounds``
========================  ============================================================================================
one array                 `scipy.optimize.Bounds`; a sequence of one ``(low, high)`` for each element in C order;
                          or two numbers ``(low, high)`` for all elements
structure of arrays       the same structure with ``(low, high)`` or None for each leaf (dict keys may be missing);
                          for a dict also a list parallel to ``tf.nest.flatten(x0)``; or `scipy.optimize.Bounds`
one variable              ``(low, high)``
structure of variables    a list of ``(low, high)`` or None parallel to ``tf.nest.flatten(x0)``, or the structure of x0
any variables             a dict of ``variable.ref()`` to ``(low, high)``; variables that are not in it have no bounds;
                          or `scipy.optimize.Bounds` on the flat vector
========================  ============================================================================================

In a ``(low, high)`` for a leaf or a variable, each of the two is broadcast to its shape by `np.broadcast_to`; None
(also as an element) and infinities mean that there is no bound. A list of pairs is therefore never read element by
element for a variable: ``([0, 0], [1, 1])`` is a low and a high vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize.packing import Layout, Segment
from tfminimize.unknowns import Unknowns, as_variable

__all__ = ["flat_bounds", "pack_bounds", "symbolic_bounds"]

Float64 = NDArray[np.float64]
_FORM = "give (low, high), each a number, None or an array that broadcasts to its shape"


def pack_bounds(bounds: Any, unknowns: Unknowns) -> tuple[Float64, Float64] | tuple[None, None]:
    """The bounds as two packed vectors; two Nones where no bound is finite.

    Bounds of a float32 component are rounded inwards to float32, so that its values respect them exactly.

    Raises
    ------
    ValueError
        With the name of the element, for a bound that is NaN, crossed or of a wrong shape.

    Examples
    --------
    >>> pack_bounds([(0, None), (None, 1)], Unknowns(np.zeros(2)))
    (array([  0., -inf]), array([inf,  1.]))
    """
    if bounds is None:
        return None, None
    low, high = flat_bounds(bounds, unknowns)
    _check(low, high, unknowns.layout)
    if not (np.isfinite(low).any() or np.isfinite(high).any()):
        return None, None
    for s in unknowns.layout.segments:
        if s.dtype == "float32":
            low[s.flat], high[s.flat] = _rounded_inwards(low[s.flat], high[s.flat])
    return unknowns.layout.pack(low, -np.inf), unknowns.layout.pack(high, np.inf)


def flat_bounds(bounds: Any, unknowns: Unknowns) -> tuple[Float64, Float64]:
    """The bounds as two flat vectors, unchecked, with infinities where there is none."""
    layout = unknowns.layout
    if isinstance(bounds, scipy.optimize.Bounds):
        return _from_scipy(bounds, unknowns)
    if unknowns.is_array:
        return _from_pairs(bounds, layout)
    entries = _entries(bounds, unknowns)
    low, high = np.full(layout.size, -np.inf), np.full(layout.size, np.inf)
    for entry, segment in zip(entries, layout.segments, strict=True):
        if entry is not None:
            low[segment.flat], high[segment.flat] = _low_high(entry, segment)
    return low, high


def symbolic_bounds(bounds: Any, unknowns: Unknowns) -> tuple[tf.Tensor, tf.Tensor]:
    """The same for bounds with symbolic tensors, as float64 tensors; their values cannot be checked here.

    For an array they are ``(low, high)``, each a number, None or a tensor that broadcasts to its shape; or a sequence
    of such pairs, one for each element.
    """
    segments: Sequence[Segment] = unknowns.layout.segments
    pairs = [bounds] if unknowns.is_array else _entries(bounds, unknowns)
    if unknowns.is_array and isinstance(bounds, (list, tuple)) and any(isinstance(b, (list, tuple)) for b in bounds):
        pairs = _checked_length(bounds, unknowns.layout.size, segments[0].name)
        segments = [replace(segments[0], name=f"element {i} of x0", shape=()) for i in range(len(pairs))]
    sides: tuple[list[tf.Tensor], list[tf.Tensor]] = [], []
    for pair, segment in zip(pairs, segments, strict=True):
        if pair is not None and (not isinstance(pair, (list, tuple)) or len(pair) != 2):
            raise ValueError(f"the bounds for {segment.name} are {pair!r}: {_FORM}.")
        for parts, side, infinity in zip(sides, pair or (None, None), (-np.inf, np.inf), strict=True):
            parts.append(_symbolic_side(infinity if side is None else side, segment))
    low, high = (tf.concat(parts, 0) for parts in sides)
    return low, high


def _symbolic_side(side: Any, segment: Segment) -> tf.Tensor:
    try:
        value = tf.convert_to_tensor(side)
    except (TypeError, ValueError):
        value = None
    if value is None or not (value.dtype.is_floating or value.dtype.is_integer):
        raise ValueError(f"a bound for {segment.name} is {side!r}: {_FORM}.")
    try:
        full = tf.broadcast_to(tf.cast(value, segment.dtype), segment.shape)
    except ValueError:
        raise ValueError(
            f"the bounds for {segment.name} have shape {value.shape}, which cannot be broadcast to {segment.shape}: "
            f"{_FORM}."
        ) from None
    return tf.cast(tf.reshape(full, [-1]), tf.float64)


def _from_scipy(bounds: Any, unknowns: Unknowns) -> tuple[Float64, Float64]:
    layout = unknowns.layout
    shape = layout.segments[0].shape if unknowns.is_array else (layout.size,)
    low, high = (
        _broadcast(side, shape, f"Bounds.{name}").ravel() for side, name in ((bounds.lb, "lb"), (bounds.ub, "ub"))
    )
    return low, high


def _from_pairs(bounds: Any, layout: Layout) -> tuple[Float64, Float64]:
    """SciPy's sequence of pairs, or one pair of numbers for all elements."""
    segment = layout.segments[0]
    if not hasattr(bounds, "__len__"):
        try:
            bounds = list(bounds)
        except TypeError:
            raise ValueError(
                f"bounds is {bounds!r}: give scipy.optimize.Bounds or a sequence of (low, high) pairs."
            ) from None
    if isinstance(bounds, Mapping):
        raise ValueError("bounds is a dict, but x0 is one array: give one (low, high) pair for each of its elements.")
    if len(bounds) == 2 and all(side is None or np.ndim(side) == 0 for side in bounds):
        return _low_high(bounds, segment)
    if len(bounds) != layout.size:
        raise ValueError(
            f"bounds has {len(bounds)} entries, but x0 has {layout.size} elements: "
            "give one (low, high) pair for each element."
        )
    for i, pair in enumerate(bounds):
        if not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(f"bounds[{i}] is {pair!r}: give a pair (low, high), with None where there is no bound.")
    low = [-np.inf if pair[0] is None else pair[0] for pair in bounds]
    high = [np.inf if pair[1] is None else pair[1] for pair in bounds]
    shape = (layout.size,)
    return _broadcast(low, shape, "the lower bounds"), _broadcast(high, shape, "the upper bounds")


def _entries(bounds: Any, unknowns: Unknowns) -> list[Any]:
    """One (low, high) or None for each leaf."""
    if unknowns.variables:
        if isinstance(bounds, Mapping) and (not bounds or _keyed_by_reference(bounds)):
            return _by_reference(bounds, unknowns)
        if unknowns.template is None:
            parallel = isinstance(bounds, (list, tuple)) and len(bounds) == 1
            return [bounds[0] if parallel else bounds]
    template = unknowns.template
    if isinstance(template, Mapping) and isinstance(bounds, (list, tuple)):
        return _checked_length(bounds, len(unknowns.layout.segments), "x0")
    return _matched(bounds, template, "x0")


def _keyed_by_reference(bounds: Mapping[Any, Any]) -> bool:
    return any(_variable_of(key) is not None for key in bounds)


def _variable_of(key: Any) -> Any:
    """The variable that a key of the bounds stands for; None for any other key."""
    return as_variable(key.deref() if hasattr(key, "deref") else key)


def _by_reference(bounds: Mapping[Any, Any], unknowns: Unknowns) -> list[Any]:
    found: dict[Any, Any] = {}
    for key, entry in bounds.items():
        variable = _variable_of(key)
        if variable is None:
            raise ValueError(f"bounds has the key {key!r}, which is no variable: use variable.ref() as key.")
        found[variable.ref()] = entry
    known = {v.ref() for v in unknowns.variables}
    for reference in found:
        if reference not in known:
            raise ValueError(
                f"bounds has an entry for variable '{reference.deref().name}', which is not among the variables of x0: "
                "remove it, or optimise the variable."
            )
    return [found.get(v.ref()) for v in unknowns.variables]


def _matched(bounds: Any, template: Any, path: str) -> list[Any]:
    """Walk down the bounds beside the structure of x0, in the order of `tf.nest`."""
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
    if not isinstance(bounds, (list, tuple)) or len(bounds) != length:
        count = f"{len(bounds)} entries" if isinstance(bounds, (list, tuple)) else repr(bounds)
        raise ValueError(
            f"the bounds for {path} are {count}, but {path} has {length} parts: give one (low, high) or None for each."
        )
    return list(bounds)


def _low_high(entry: Any, segment: Segment) -> tuple[Float64, Float64]:
    if not isinstance(entry, (list, tuple, np.ndarray)) or len(entry) != 2:
        raise ValueError(f"the bounds for {segment.name} are {entry!r}: {_FORM}.")
    sides = []
    for side, infinity, word in ((entry[0], -np.inf, "lower"), (entry[1], np.inf, "upper")):
        values = np.asarray(side, dtype=object) if _may_hold_none(side) else np.asarray(side)
        if values.dtype == object:
            values = np.array([infinity if v is None else v for v in values.flat]).reshape(values.shape)
        sides.append(_broadcast(values, segment.shape, f"the {word} bound for {segment.name}").ravel())
    return sides[0], sides[1]


def _may_hold_none(side: Any) -> bool:
    return side is None or isinstance(side, (list, tuple))


def _broadcast(values: Any, shape: tuple[int, ...], name: str) -> Float64:
    try:
        full: Float64 = np.broadcast_to(np.asarray(values, dtype=np.float64), shape).copy()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}, {values!r}, cannot be broadcast to the shape {shape}: {error}.") from None
    return full


def _check(low: Float64, high: Float64, layout: Layout) -> None:
    wrong = np.flatnonzero(~(low <= high) | (low == np.inf) | (high == -np.inf))
    if not wrong.size:
        return
    i = int(wrong[0])
    name = layout.name_of(i)
    if np.isnan(low[i]) or np.isnan(high[i]):
        raise ValueError(f"the bounds for {name} are ({low[i]}, {high[i]}): use None where there is no bound, not NaN.")
    if low[i] <= high[i]:
        raise ValueError(f"the bounds for {name} are ({low[i]}, {high[i]}), which no finite value satisfies.")
    raise ValueError(
        f"the lower bound for {name} is greater than the upper bound ({low[i]} > {high[i]}): exchange or correct them."
    )


def _rounded_inwards(low: Float64, high: Float64) -> tuple[Float64, Float64]:
    """The smallest float32 not below ``low``, the largest not above ``high``; the nearest where none lies between."""
    with np.errstate(over="ignore"):  # beyond float32 is no bound
        low32, high32 = low.astype(np.float32), high.astype(np.float32)
        inner_low = np.where(low32 < low, np.nextafter(low32, np.float32(np.inf)), low32).astype(np.float64)
        inner_high = np.where(high32 > high, np.nextafter(high32, np.float32(-np.inf)), high32).astype(np.float64)
    empty = inner_low > inner_high
    nearest = low32.astype(np.float64)
    return np.where(empty, nearest, inner_low), np.where(empty, nearest, inner_high)
