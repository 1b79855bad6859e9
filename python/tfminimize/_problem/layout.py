"""Packing: several arrays as aligned segments of one float64 vector.

Users see the *flat* vector, the components one after the other. The solver works on the *packed* vector, in which each
component starts at a multiple of 64 bytes, because TensorFlow can then read it in place::

    flat      w w w w w b b
    packed    w w w w w . . . b b         (. is padding: x = 0, g = 0, never moves)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNMENT", "Layout", "Segment"]

ALIGNMENT = 8
"""Segments start at a multiple of this many doubles: 64 bytes."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Segment:
    """One component: its name in messages, and its place.

    ``offset`` counts doubles in the packed vector, ``start`` in the flat one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    start: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def packed(self) -> slice:
        """Its place in the packed vector."""
        return slice(self.offset, self.offset + self.size)

    @property
    def flat(self) -> slice:
        """Its place in the flat vector."""
        return slice(self.start, self.start + self.size)


class Layout:
    """The place of every component in the packed and in the flat vector.

    Parameters
    ----------
    components : iterable of (name, shape, dtype)
        ``dtype`` is ``"float64"`` or ``"float32"``.

    Examples
    --------
    >>> layout = Layout([("w", (5,), "float64"), ("b", (2,), "float64")])
    >>> layout.size, layout.packed_size
    (7, 10)
    >>> layout.flatten(np.arange(10.0))
    array([0., 1., 2., 3., 4., 8., 9.])
    """

    def __init__(self, components: Iterable[tuple[str, Sequence[int], str]]) -> None:
        segments = []
        offset = start = 0
        for name, shape, dtype in components:
            offset = -(-offset // ALIGNMENT) * ALIGNMENT
            segment = Segment(name, tuple(int(k) for k in shape), dtype, offset, start)
            segments.append(segment)
            offset += segment.size
            start += segment.size
        self.segments = tuple(segments)
        self.packed_size = offset
        self.size = start
        self.is_contiguous = offset == start
        """Whether the packed vector has no padding, and so is the flat one."""

    @property
    def names(self) -> list[str]:
        """The names of the components in messages."""
        return [segment.name for segment in self.segments]

    def least_precise(self, dtypes: Iterable[str] = ()) -> str:
        """The least precise dtype of the components and of these."""
        return max([*(s.dtype for s in self.segments), *dtypes], key=lambda dtype: np.finfo(dtype).eps)

    def views(self, packed: Array) -> list[Array]:
        """The components as shaped views of the packed vector, which must be contiguous."""
        return [packed[s.packed].reshape(s.shape) for s in self.segments]

    def pack(self, flat: Array, fill: float = 0.0) -> Array:
        """A packed copy of a flat vector, with ``fill`` in the padding."""
        packed = np.full(self.packed_size, fill)
        for s in self.segments:
            packed[s.packed] = flat[s.flat]
        return packed

    def pack_rows(self, flat: Array, fill: float = 0.0) -> Array:
        """A packed copy of each row of a flat matrix ``[k, size]``, with ``fill`` in the padding."""
        packed = np.full((len(flat), self.packed_size), fill)
        for s in self.segments:
            packed[:, s.packed] = flat[:, s.flat]
        return packed

    def flatten(self, packed: Array) -> Array:
        """A flat copy of a packed vector, or of each row of ``[k, packed_size]``."""
        flat: Array = packed
        if self.is_contiguous:
            flat = packed.copy()
        else:
            flat = np.concatenate([packed[..., s.packed] for s in self.segments], axis=-1)
        return flat

    def pack_matrix(self, flat: Array) -> Array:
        """A matrix ``[size, size]`` as one for packed vectors, with the identity for the padding."""
        if self.is_contiguous:
            return flat
        packed = np.eye(self.packed_size)
        packed[np.ix_(self._places, self._places)] = flat
        return packed

    def flatten_matrix(self, packed: Array) -> Array:
        """A matrix ``[packed_size, packed_size]`` as one for flat vectors."""
        return packed if self.is_contiguous else packed[np.ix_(self._places, self._places)]

    @property
    def _places(self) -> Array:
        """The place of each element of the flat vector in the packed one."""
        return self.flatten(np.arange(self.packed_size))

    def split(self, flat: Array) -> list[Array]:
        """The components of a flat vector, as copies in their own shape and dtype."""
        return [flat[s.flat].reshape(s.shape).astype(s.dtype) for s in self.segments]

    def split_rows(self, rows: Array) -> list[Array]:
        """The components of each flat vector in ``[k, size]``, as arrays ``[k, *shape]`` in their own dtype."""
        return [rows[:, s.flat].reshape(len(rows), *s.shape).astype(s.dtype) for s in self.segments]

    def rounded(self, flat: Array) -> Array:
        """A copy of a flat vector with its float32 components rounded to float32."""
        return np.concatenate([part.ravel().astype(np.float64) for part in self.split(flat)])

    def name_of(self, index: int) -> str:
        """The name of an element of the flat vector in messages, such as ``x0['w'][1, 2]``.

        Examples
        --------
        >>> Layout([("w", (2, 2), "float64"), ("b", (), "float64")]).name_of(2)
        'w[1, 0]'
        """
        for s in self.segments:
            if index < s.start + s.size:
                place = np.unravel_index(index - s.start, s.shape)
                return f"{s.name}[{', '.join(map(str, place))}]" if s.shape else s.name
        raise IndexError(index)
