from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfminimize._problem.layout import ALIGNMENT, Layout

shapes = st.lists(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=5), min_size=1, max_size=6)


def layout_of(shapes: list[tuple[int, ...]], dtype: str = "float64") -> Layout:
    return Layout((f"x{i}", shape, dtype) for i, shape in enumerate(shapes))


@given(shapes)
def test_segments_are_aligned_and_do_not_overlap(shapes: list[tuple[int, ...]]) -> None:
    end = 0
    for segment in layout_of(shapes).segments:
        assert segment.offset % ALIGNMENT == 0
        assert end <= segment.offset < end + ALIGNMENT
        end = segment.offset + segment.size


@given(shapes, st.data())
def test_flatten_undoes_pack(shapes: list[tuple[int, ...]], data: st.DataObject) -> None:
    layout = layout_of(shapes)
    flat = data.draw(hnp.arrays(np.float64, layout.size, elements=st.floats(-1e3, 1e3)))
    np.testing.assert_array_equal(layout.flatten(layout.pack(flat)), flat)


@given(shapes)
def test_padding_holds_the_fill(shapes: list[tuple[int, ...]]) -> None:
    layout = layout_of(shapes)
    packed = layout.pack(np.ones(layout.size), fill=np.inf)
    assert np.isinf(packed).sum() == layout.packed_size - layout.size


@given(shapes)
def test_views_share_memory_with_the_packed_vector(shapes: list[tuple[int, ...]]) -> None:
    layout = layout_of(shapes)
    packed = np.zeros(layout.packed_size)
    for i, view in enumerate(layout.views(packed)):
        view[...] = i + 1
    expected = np.concatenate([np.full(s.size, i + 1.0) for i, s in enumerate(layout.segments)])
    np.testing.assert_array_equal(layout.flatten(packed), expected)


def test_flatten_takes_rows() -> None:
    layout = layout_of([(3,), (2,)])
    rows = np.arange(20.0).reshape(2, 10)
    np.testing.assert_array_equal(layout.flatten(rows), rows[:, [0, 1, 2, 8, 9]])


def test_flatten_copies() -> None:
    layout = layout_of([(3,)])
    packed = np.zeros(3)
    layout.flatten(packed)[0] = 1.0
    assert packed[0] == 0.0


def test_split_keeps_shape_and_dtype() -> None:
    layout = Layout([("a", (2, 2), "float32"), ("b", (), "float64")])
    a, b = layout.split(np.arange(5.0))
    assert (a.shape, a.dtype.name, b.shape, b.dtype.name) == ((2, 2), "float32", (), "float64")


def test_a_single_component_has_no_padding() -> None:
    assert layout_of([(5,)]).packed_size == 5


@pytest.mark.parametrize(("index", "name"), [(0, "w[0, 0]"), (3, "w[1, 1]"), (4, "b"), (5, "c[0]")])
def test_elements_are_named(index: int, name: str) -> None:
    layout = Layout([("w", (2, 2), "float64"), ("b", (), "float64"), ("c", (1,), "float64")])
    assert layout.name_of(index) == name
