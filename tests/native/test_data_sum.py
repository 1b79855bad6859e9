"""DataSum of the extension: machine code of a batch, called batch by batch."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from native_functions import trace, value_and_gradients, vector_layout, vectors

from tfminimize import _native
from tfminimize._tf import private, xla
from tfminimize._tf.dispatch import call_plan

pytestmark = pytest.mark.linked

ROWS, SIZE = 11, 4
POINTS = np.random.default_rng(7).normal(size=(ROWS, 2))
DATA = tf.constant(POINTS)


def mean(x: Any, rows: Any, scale: Any) -> tf.Tensor:
    return scale * tf.reduce_mean(tf.exp(tf.linalg.matvec(rows, x)))


def call(rows: int) -> _native.XlaCall:
    """The function of a batch of so many rows."""

    def derivatives(x: Any, data: Any, scale: Any) -> list[tf.Tensor]:
        return value_and_gradients(lambda y: mean(y, data, scale))(x)

    specs = [tf.TensorSpec(shape, tf.float64) for shape in ([2], [rows, 2], [])]
    (program,) = xla.compile_functions([tf.function(derivatives, jit_compile=True).get_concrete_function(*specs)])
    return _native.XlaCall(program.program, [0, None, tf.constant(2.0, tf.float64)])


def make(**changes: Any) -> _native.DataSum:
    arguments = {
        "batch": [call(SIZE)],
        "last": [call(ROWS % SIZE)],
        "penalty": [],
        "components": [_native.Component(0, (2,), "float64")],
        "data": [DATA],
        "rows": ROWS,
        "batch_size": SIZE,
        "is_mean": True,
    }
    return _native.DataSum(private.context_capsule(), **{**arguments, **changes})


def expected(x: Any, data: Any = POINTS, scale: float = 2.0) -> tuple[float, Any]:
    powers = np.exp(data @ x)
    return scale * powers.mean(), scale * (powers[:, None] * data).mean(0)


def test_value_and_gradient() -> None:
    function = make()
    x, g = vectors(2, [0.3, -0.2])
    value, gradient = expected(x)
    np.testing.assert_allclose(function.evaluate(x, g), value, rtol=1e-14)
    np.testing.assert_allclose(g, gradient, rtol=1e-13)
    np.testing.assert_allclose(function.values(x), value, rtol=1e-14)
    assert function.sums.size == 0


def test_new_inputs() -> None:
    function = make()
    x, g = vectors(2, [0.3, -0.2])
    function.set_input(1, tf.constant(-DATA))
    np.testing.assert_allclose(function.evaluate(x, g), expected(x, -POINTS)[0], rtol=1e-14)
    function.set_input(2, tf.constant(3.0, tf.float64))
    np.testing.assert_allclose(function.evaluate(x, g), expected(x, -POINTS, 3.0)[0], rtol=1e-14)
    for i in (0, 1):
        function.set_input(2, tf.constant(5.0, tf.float64), i)
    np.testing.assert_allclose(function.evaluate(x, g), expected(x, -POINTS, 5.0)[0], rtol=1e-14)
    with pytest.raises(ValueError, match="another dtype or size"):
        function.set_input(1, DATA[:3])
    with pytest.raises(ValueError, match="another dtype or size"):
        function.set_input(2, DATA)
    with pytest.raises(ValueError, match="not a tensor that can be replaced"):
        function.set_input(0, DATA)
    with pytest.raises(ValueError, match="function is 2, and there are 2"):
        function.set_input(2, tf.constant(5.0, tf.float64), 2)
    with pytest.raises(TypeError):
        function.set_input(1, POINTS.tolist())
    function.set_input(1, POINTS)  # a NumPy array is copied
    np.testing.assert_allclose(function.evaluate(x, g), expected(x, POINTS, 5.0)[0], rtol=1e-14)
    function.set_input(1, -POINTS)
    np.testing.assert_allclose(function.evaluate(x, g), expected(x, -POINTS, 5.0)[0], rtol=1e-14)


@pytest.mark.resident_memory
def test_new_data_take_the_place_of_the_old() -> None:
    rows = 5_000_000  # 80 MB

    def megabytes() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    function = make(rows=rows, batch_size=SIZE, last=[], data=[tf.ones([rows, 2], tf.float64)])
    x, g = vectors(2, [0.3, -0.2])
    before = 0.0
    for factor in (2.0, 3.0, 4.0, 5.0):
        function.set_input(1, tf.fill([rows, 2], tf.constant(factor, tf.float64)))
        np.testing.assert_allclose(function.evaluate(x, g), 2.0 * np.exp(0.1 * factor), rtol=1e-9)
        before = before or megabytes()  # TensorFlow keeps what the first data took for the next ones
    assert megabytes() - before < 40


def test_one_user_at_a_time() -> None:
    function = make(rows=200_000, batch_size=1, batch=[call(1)], last=[], data=[tf.zeros([200_000, 2], tf.float64)])
    x, g = vectors(2)
    thread = threading.Thread(target=function.evaluate, args=(x, g))
    thread.start()
    refused = False
    while thread.is_alive() and not refused:
        try:
            function.set_input(2, tf.constant(5.0, tf.float64))
        except RuntimeError as error:
            refused = "in use" in str(error)
    thread.join()
    assert refused


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"batch": []}, ValueError, "batch is empty"),
        ({"batch": [None]}, TypeError, "batch holds None"),
        ({"rows": 0}, ValueError, "rows and batch_size must be at least 1"),
        ({"batch_size": 0}, ValueError, "rows and batch_size must be at least 1"),
        ({"data": []}, ValueError, "has 1 inputs that are None, and there are 0 tensors of data"),
        ({"data": [POINTS.tolist()]}, TypeError, r"data\[0\]"),
        ({"rows": 7}, ValueError, r"data\[0\] does not have 7 rows"),
        ({"last": []}, ValueError, "do not fit batches of 4 of 11 rows"),
        ({"batch_size": 11}, ValueError, "do not fit batches of 11 of 11 rows"),
        ({"batch_size": 5}, ValueError, "Input 1 has 80 bytes, and the program takes 64"),
        ({"num_sums": 1}, ValueError, "The program has 2 results, and 3 were expected"),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        make(**changes)


def test_functions_of_tensorflow_are_refused() -> None:
    concrete = trace(lambda x: tf.reduce_sum(x**2), vector_layout(2))
    function = _native.FunctionCall(call_plan(concrete, False).name, [0, None])
    with pytest.raises(TypeError, match="batch must hold XlaCalls"):
        make(batch=[function])


def test_missing_inputs_are_for_a_data_sum_alone() -> None:
    component = _native.Component(0, (2,), "float64")
    with pytest.raises(TypeError, match="input 1"):
        _native.FunctionObjective(private.context_capsule(), [call(SIZE)], [component])


def test_constraints_with_functions_are_refused() -> None:
    x, g = vectors(2)
    c, jacobian = _native.aligned_zeros(1), _native.aligned_matrix(1, 2)
    solver = _native.Slsqp(x, g, c, jacobian, 0)
    with pytest.raises(ValueError, match="Constraint 0 is in no row of the objective"):
        _native.drive(solver, make())
    with pytest.raises(ValueError, match="is made of value 0, and there are only 0"):
        make().set_rows([_native.Row(0, 0)])
