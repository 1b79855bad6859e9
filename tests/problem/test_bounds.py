from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from problems import rosenbrock, squared_distance

import tfminimize as tfm
from tfminimize._problem.bounds import as_packed, pack_bounds
from tfminimize._problem.parameters import Parameters

INF = np.inf


def flat(bounds: Any, x0: Any) -> tuple[list[float], list[float]]:
    parameters = Parameters(x0)
    low, high = as_packed(bounds, parameters).flat(parameters.layout)
    return low.tolist(), high.tolist()


@pytest.mark.parametrize(
    "bounds",
    [
        scipy.optimize.Bounds([0, -INF], [INF, 1]),
        [(0, None), (None, 1)],
        ((0, INF), (-INF, 1)),
        np.array([(0, INF), (-INF, 1)]),
        zip([0, None], [None, 1], strict=True),
    ],
    ids=["Bounds", "list", "tuple", "array", "iterator"],
)
def test_every_form_of_scipy_is_accepted_for_an_array(bounds: Any) -> None:
    assert flat(bounds, np.zeros(2)) == ([0, -INF], [INF, 1])


def test_bounds_object_with_scalars_is_broadcast() -> None:
    assert flat(scipy.optimize.Bounds(0, 1), np.zeros(2)) == ([0, 0], [1, 1])


def test_two_numbers_hold_for_all_elements_of_an_array() -> None:
    assert flat((0, None), np.zeros((2, 2))) == ([0] * 4, [INF] * 4)


def test_pairs_for_a_matrix_are_in_c_order() -> None:
    low, _ = flat([(i, None) for i in range(4)], np.zeros((2, 2)))
    assert low == [0, 1, 2, 3]


def test_two_pairs_for_two_elements_are_read_as_scipy_reads_them() -> None:
    assert flat(([0, 1], [2, 3]), np.zeros(2)) == ([0, 2], [1, 3])


def test_two_vectors_are_low_and_high() -> None:
    for x0 in (np.zeros(3), tf.Variable([0.0, 0.0, 0.0])):
        assert flat(([0, 1, 2], [3, 4, 5]), x0) == ([0, 1, 2], [3, 4, 5])


@pytest.mark.parametrize("x0", [tf.Variable([0.0, 0.0]), [np.zeros(2)], {"a": np.zeros(2)}], ids=str)
def test_two_pairs_for_two_elements_are_pairs_for_every_leaf(x0: Any) -> None:
    entry = [(0, 1), (2, 3)]
    structured = {"a": entry} if isinstance(x0, dict) else [entry]
    assert flat(structured, x0) == ([0, 2], [1, 3])


def test_a_list_of_one_pair_is_accepted_for_a_single_variable() -> None:
    assert flat([(0, 1)], tf.Variable([0.0, 0.0])) == ([0, 0], [1, 1])


def test_list_parallel_to_variables() -> None:
    variables = [tf.Variable(0.0), tf.Variable([0.0, 0.0])]
    assert flat([None, ([None, 2.0], None)], variables) == ([-INF, -INF, 2], [INF] * 3)


def test_dict_by_reference_leaves_other_variables_free() -> None:
    v, w = tf.Variable(0.0), tf.Variable(0.0)
    assert flat({w.ref(): (0, 1)}, [v, w]) == ([-INF, 0], [INF, 1])


def test_dict_by_reference_takes_keras_variables() -> None:
    k = keras.Variable([0.0, 0.0])
    assert flat({k.value.ref(): (0, 1)}, [k]) == ([0, 0], [1, 1])


def test_dict_with_an_unknown_variable_is_an_error_that_names_it() -> None:
    v, other = tf.Variable(0.0), tf.Variable(0.0, name="stranger")
    with pytest.raises(ValueError, match="'stranger:0', which is not among the variables"):
        flat({other.ref(): (0, 1)}, [v])


def test_structure_like_x0_with_missing_keys() -> None:
    x0 = {"b": 0.0, "w": np.zeros(2)}
    assert flat({"w": (0, [1, None])}, x0) == ([-INF, 0, 0], [INF, 1, INF])


def test_nested_structure_like_x0() -> None:
    x0 = [{"a": np.zeros(1)}, (np.zeros(1), np.zeros(1))]
    assert flat([{"a": (0, 1)}, ((2, 3), None)], x0) == ([0, 2, -INF], [1, 3, INF])


def test_list_parallel_to_the_leaves_of_a_dict() -> None:
    assert flat([(0, 1), None], {"a": np.zeros(1), "b": np.zeros(1)}) == ([0, -INF], [1, INF])


def test_key_that_x0_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="the key 'c', which x0 does not have"):
        flat({"c": (0, 1)}, {"a": np.zeros(1)})


@given(
    low=hnp.arrays(np.float64, st.sampled_from([(), (3,), (2, 1), (2, 3)]), elements=st.floats(-5, 0)),
    high=hnp.arrays(np.float64, st.sampled_from([(), (3,), (2, 1), (2, 3)]), elements=st.floats(0, 5)),
)
def test_bounds_of_a_leaf_are_broadcast(low: np.ndarray, high: np.ndarray) -> None:
    lower, upper = flat({"w": (low, high)}, {"w": np.zeros((2, 3))})
    np.testing.assert_array_equal(lower, np.broadcast_to(low, (2, 3)).ravel())
    np.testing.assert_array_equal(upper, np.broadcast_to(high, (2, 3)).ravel())


@pytest.mark.parametrize("bounds", [None, [(None, None)] * 3, (-INF, INF), scipy.optimize.Bounds()])
def test_no_finite_bound_is_no_bound(bounds: Any) -> None:
    assert pack_bounds(bounds, Parameters(np.zeros(3))) == (None, None)


def test_padding_lies_inside_of_a_box() -> None:
    low, high = pack_bounds([(0, 1), (0, 1)], Parameters([tf.Variable(0.0), tf.Variable(0.0)]))
    assert low is not None
    assert (np.isfinite(low[1:8]) & (low[1:8] < 0)).all()
    assert (np.isfinite(high[1:8]) & (high[1:8] > 0)).all()


@given(st.floats(-1e30, 1e30), st.floats(0, 1e30))
def test_float32_bounds_are_rounded_inwards(low: float, width: float) -> None:
    high = low + width
    lower, upper = pack_bounds((low, high), Parameters(np.zeros(1, np.float32)))
    assert lower is not None
    assert lower[0] <= upper[0]
    assert lower[0] == np.float32(lower[0])
    assert upper[0] == np.float32(upper[0])
    if lower[0] < upper[0]:
        assert low <= lower[0]
        assert upper[0] <= high


def test_low_above_high_names_element_and_values() -> None:
    with pytest.raises(ValueError, match=r"x0\[1\] is greater than the upper bound \(2.0 > 1.0\)"):
        pack_bounds([(0, 1), (2, 1)], Parameters(np.zeros(2)))


def test_low_above_high_names_the_variable() -> None:
    v = tf.Variable(np.zeros((2, 2)), name="weights")
    with pytest.raises(ValueError, match=r"variable 'weights:0'\[1, 0\] is greater"):
        pack_bounds(([[0, 0], [5, 0]], 1), Parameters([v, tf.Variable(0.0)][0]))


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        ([(0, 1)], "1 entries, but x0 has 3 elements"),
        ([(0, 1), (0, 1), 3], "entry 2 of the bounds for x0 is 3"),
        ([(0, 1), (0, 1), (np.nan, 1)], "not NaN"),
        ([(0, 1), (0, 1), (INF, INF)], "no finite value satisfies"),
        ([(0, 1), (0, 1), ("a", 1)], "cannot be broadcast"),
        (scipy.optimize.Bounds([0, 1], [1, 2]), "cannot be broadcast to the shape"),
        (3, "bounds for x0 are 3"),
        ({"a": 1}, "bounds is a dict"),
    ],
)
def test_malformed_bounds_of_an_array_are_errors(bounds: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        pack_bounds(bounds, Parameters(np.zeros(3)))


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        ([(0, 1)], "1 entries, but x0 has 2 parts"),
        (5, "x0 has 2 parts"),
        ([(0, 1), 3], "are 3: give"),
        ([(0, 1), (0, [1, 2, 3])], r"cannot be broadcast to the shape \(2,\)"),
        ({"w": (0, 1)}, "which is not a variable|are .* but x0 has 2 parts"),
    ],
)
def test_malformed_bounds_of_variables_are_errors(bounds: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        pack_bounds(bounds, Parameters([tf.Variable(0.0), tf.Variable([0.0, 0.0])]))


def test_start_outside_is_projected() -> None:
    result = tfm.minimize(lambda x: tf.reduce_sum((x - 3.0) ** 2), np.array([-10.0, 10.0]), bounds=[(0, 2), (None, 5)])
    np.testing.assert_allclose(result.x, [2.0, 3.0], atol=1e-6)


def test_bounds_are_respected_in_every_evaluation() -> None:
    seen: list[np.ndarray] = []

    def record(x: np.ndarray) -> np.ndarray:
        seen.append(x.copy())
        return np.float64(0)

    def fun(x: tf.Tensor) -> tf.Tensor:
        tf.numpy_function(record, [x], tf.float64)
        return rosenbrock(x)

    tfm.minimize(fun, np.full(4, -0.5), bounds=(-1.0, 0.6))
    assert seen
    assert all(((x >= -1.0) & (x <= 0.6)).all() for x in seen)


def test_float32_variable_respects_a_bound_that_float32_cannot_hold() -> None:
    v = tf.Variable([1.0])
    tfm.minimize(lambda: tf.reduce_sum(v**2), v, bounds=(0.1, None))
    assert np.float64(v.numpy()[0]) >= 0.1


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_separable_problem_ends_at_the_clipped_minimum(data: st.DataObject) -> None:
    size = 5
    target = data.draw(hnp.arrays(np.float64, size, elements=st.floats(-3, 3)))
    low = data.draw(hnp.arrays(np.float64, size, elements=st.floats(-2, 1)))
    high = low + data.draw(hnp.arrays(np.float64, size, elements=st.floats(0, 3)))
    low[data.draw(hnp.arrays(bool, size))] = -np.inf
    high[data.draw(hnp.arrays(bool, size))] = np.inf
    bounds = scipy.optimize.Bounds(low, high)
    result = tfm.minimize(squared_distance, np.zeros(size), args=(target,), bounds=bounds)
    assert result.success
    assert ((low <= result.x) & (result.x <= high)).all()
    np.testing.assert_allclose(result.x, np.clip(target, low, high), atol=1e-5)


def _form(name: str, upper: Any) -> Any:
    return {
        "pair": (None, upper),
        "pairs": [(None, b) for b in tf.unstack(upper)],
        "table": tf.stack([tf.fill([3], tf.constant(-INF, tf.float64)), tf.cast(upper, tf.float64)], 1),
        "Bounds": tfm.Bounds(ub=upper),
        "mixed": (-5.0, [upper[0], np.float64(5.0), upper[2]]),
    }[name]


@pytest.mark.slow
@pytest.mark.parametrize("in_graph", [pytest.param(False, marks=pytest.mark.weekly), True])
@pytest.mark.parametrize(
    ("form", "use", "dtype"),
    [
        *((form, "array", "float64") for form in ("pair", "pairs", "table", "Bounds", "mixed")),
        *(("pairs", use, "float32") for use in ("array", "leaf", "variable", "reference")),
    ],
)
def test_bounds_of_tensors_have_a_gradient_in_every_form(form: str, in_graph: bool, use: str, dtype: str) -> None:
    v = tf.Variable(np.zeros(3, dtype))

    def loss(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((x - 3.0) ** 2)

    def solution(upper: tf.Tensor) -> tf.Tensor:
        bounds = _form(form, upper)
        if use == "array":
            found = tfm.ops.minimize(loss, np.zeros(3, dtype), bounds=bounds).x
        elif use == "leaf":
            found = tfm.ops.minimize(lambda x: loss(x["a"]), {"a": np.zeros(3, dtype)}, bounds={"a": bounds}).x["a"]
        else:
            entry = {v.ref(): bounds} if use == "reference" else [bounds]
            found = tfm.ops.minimize(lambda: loss(v), [v], bounds=entry).x
        return tf.cast(found, tf.float64)

    upper = tf.constant([1.0, 5.0, 2.0], dtype)
    with tf.GradientTape() as tape:
        tape.watch(upper)
        x = (tf.function(solution, autograph=False) if in_graph else solution)(upper)
    np.testing.assert_allclose(x, [1.0, 3.0, 2.0], atol=1e-4)
    np.testing.assert_allclose(tape.gradient(x, upper), [1.0, 0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("bound", [1j, np.array([1.0, 2j, 3.0]), [0.0, 1j, None], tf.constant(1j)])
def test_complex_bound_is_an_error(bound: Any) -> None:
    with pytest.raises(ValueError, match=r"the upper bound for x0, .* cannot be broadcast .*it has dtype complex128"):
        pack_bounds((None, bound), Parameters(np.zeros(3)))


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ({1, 2}, r"the bounds for x0 are \{1, 2\}, which has no order: give \(low, high\)"),
        (frozenset({(0, 1), (0, 2), (0, 3)}), "the bounds for x0 are frozenset.*which has no order"),
        ([(0, 1), {1, 2}, (0, 1)], r"entry 1 of the bounds for x0 is \{1, 2\}, which has no order: give a pair"),
        (({0, 1}, None), r"the lower bound for x0, \{0, 1\}, which has no order, cannot be broadcast"),
        ("012", "the bounds for x0 are '012': give"),
        (b"01", "the bounds for x0 are b'01': give"),
        (("0", "1"), "the lower bound for x0, '0', cannot be broadcast .*it has dtype <U1"),
        (tf.ragged.constant([[0.0, 1.0], [2.0]]), "the bounds for x0 are of type RaggedTensor: give"),
        (tf.sparse.eye(3, 2), "the bounds for x0 are of type SparseTensor: give"),
        (
            (None, tf.sparse.eye(3, 2)),
            "the upper bound for x0, of type SparseTensor, cannot .*it is not a dense tensor",
        ),
        (tfm.Bounds(ub=tf.ragged.constant([[1.0], [2.0]])), "the upper bound for x0, of type RaggedTensor, cannot"),
        ((object(), None), "the lower bound for x0, <object .* cannot be broadcast"),
    ],
)
@pytest.mark.parametrize("entry", [tfm.minimize, pytest.param(tfm.ops.minimize, marks=pytest.mark.linked)])
def test_bounds_without_order_or_dense_numbers_are_an_error(entry: Any, bounds: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        entry(lambda x: tf.reduce_sum(x**2), np.zeros(3), bounds=bounds)


@pytest.mark.parametrize("bounds", [{(0, 1), (0, 2)}, "ab", tf.ragged.constant([[0.0, 1.0], [2.0]])], ids=str)
def test_bounds_of_a_structure_without_order_are_an_error(bounds: Any) -> None:
    with pytest.raises(ValueError, match=r"the bounds for x0 are .*, but x0 has 2 parts: give one"):
        pack_bounds(bounds, Parameters([np.zeros(1), np.zeros(1)]))


def test_numbers_of_python_are_bounds() -> None:
    assert flat((Decimal("0.5"), Fraction(5, 2)), np.zeros(1)) == ([0.5], [2.5])


@pytest.mark.linked
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP"])
def test_tensors_that_are_infinite_bounds_leave_the_path_as_it_is(method: str) -> None:
    @tf.function(autograph=False)
    def solved(infinity: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x0 = np.array([-4.0, 3.0, 7.0, -1.0, 2.0])
        bounded = tfm.ops.minimize(rosenbrock, x0, bounds=(-infinity, infinity), method=method)
        return bounded.history["fun"], tfm.ops.minimize(rosenbrock, x0, method=method).history["fun"]

    bounded, free = solved(tf.constant(np.inf, tf.float64))
    np.testing.assert_array_equal(bounded, free)


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [scipy.optimize.Bounds(-0.5, INF), tfm.Bounds(tf.constant(-0.5)), [(-0.5, None)]])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "TNC"])
@pytest.mark.parametrize("x0", [0.5, np.float32(0.5)])
def test_bounds_of_a_scalar(bounds: Any, method: str, x0: Any) -> None:
    assert tfm.minimize(lambda x: (x + 2.0) ** 2, x0, bounds=bounds, method=method).x == -0.5


def test_minimize_takes_the_values_of_tensors_in_every_form() -> None:
    upper = tf.constant([1.0, 5.0, 2.0])
    for form in ("pair", "pairs", "table", "Bounds", "mixed"):
        for x0 in (np.zeros(3), np.zeros(3, np.float32)):
            result = tfm.minimize(lambda x: tf.reduce_sum((x - 3.0) ** 2), x0, bounds=_form(form, upper))
            np.testing.assert_allclose(result.x, [1.0, 3.0, 2.0], atol=1e-4)


@pytest.mark.linked
def test_bound_of_a_tensor_that_float32_cannot_hold_is_rounded_inwards_in_a_graph() -> None:
    bound = tf.constant(0.1, tf.float64)
    x = tfm.ops.minimize(lambda x: tf.reduce_sum(x**2), np.ones(1, np.float32), bounds=(bound, None)).x
    assert np.float64(x.numpy()[0]) >= 0.1


def test_bound_that_no_float32_satisfies_is_an_error() -> None:
    with pytest.raises(ValueError, match="which no float32 satisfies"):
        pack_bounds((1e300, None), Parameters(np.zeros(1, np.float32)))


@pytest.mark.linked
def test_crossed_bounds_of_tensors_are_an_error_with_the_name_in_eager_mode() -> None:
    with pytest.raises(ValueError, match=r"lower bound for x0\[0\] is greater"):
        tfm.ops.minimize(lambda x: tf.reduce_sum(x**2), np.ones(2), bounds=(tf.constant(2.0), tf.constant(1.0)))
