"""The fetches of a loss_callback are computed by the compiled functions, between which the solver runs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interface_modes import MODES, Mode, entered

import tfminimize as tfm

METHODS = ("L-BFGS-B", "SLSQP", "BFGS")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Iterator[Mode]:
    with entered(request.param) as mode:
        yield mode


def rosenbrock(x: Any) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def is_native(result: Any) -> bool:
    return hasattr(result, "state")  # only the native solvers have one


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MODES)
def test_loss_callback_sees_each_evaluation_of_a_native_solve(name: str, dtype: str, method: str) -> None:
    with entered(name, dtype) as mode:
        x = mode.variable([-1.2, 1.0, 0.5])
        loss = mode.expression(lambda: rosenbrock(x))
        optimizer = tfm.ScipyOptimizerInterface(loss, [x], method=method, options={"maxiter": 15})
        seen: list[Any] = []
        watched = mode.minimize(optimizer, fetches=[loss, x], loss_callback=lambda *values: seen.append(values))
        if mode.session is None:
            x.assign([-1.2, 1.0, 0.5])
        alone = mode.minimize(optimizer)
    assert is_native(watched)
    assert (watched.backend, watched.backend_reason) == (alone.backend, alone.backend_reason)
    assert (watched.nit, watched.nfev, watched.njev, watched.message) == (
        *(alone.nit, alone.nfev, alone.njev, alone.message),
    )
    np.testing.assert_array_equal(watched.x, alone.x)
    assert len(seen) == watched.nfev
    for value, at in seen:
        assert isinstance(value, np.generic)
        assert at.dtype == dtype
        assert value == pytest.approx(rosenbrock(tf.constant(at)).numpy(), rel=1e-5)
    assert len({at.tobytes() for _, at in seen}) == len(seen)
    assert any(np.array_equal(at, watched.x.astype(dtype)) for _, at in seen)


@pytest.mark.parametrize("method", ["SLSQP"])
def test_fetches_of_a_solve_with_constraints_are_those_of_the_loss(mode: Mode, method: str) -> None:
    x = mode.variable([3.0, 1.0])
    loss = mode.expression(lambda: tf.reduce_sum(x**2))
    optimizer = tfm.ScipyOptimizerInterface(
        loss, [x], [mode.expression(lambda: x[0] - x[1])], [mode.expression(lambda: x - 1.0)], method=method
    )
    seen: list[Any] = []
    result = mode.minimize(optimizer, fetches=[loss], loss_callback=seen.append)
    assert is_native(result)
    assert len(seen) == result.nfev
    assert seen[0] == 10.0
    assert seen[-1] == pytest.approx(2.0)


DTYPES = ["bool", "int8", "uint16", "int32", "int64", "float16", "bfloat16", "float32", "complex64", "complex128"]


def test_fetches_of_any_number_and_shape_are_numpy_arrays(mode: Mode) -> None:
    x = mode.variable([3.0, 1.0])
    functions: list[Callable[[], Any]] = [lambda d=dtype: tf.cast([x[:1], x[1:]], d) for dtype in DTYPES]
    functions += [
        lambda: tf.zeros([0, 3], tf.int32),
        lambda: tf.boolean_mask(x, x > 2.0),  # its size is known only once it is computed
        lambda: tf.size(x),
    ]
    fetches = [mode.expression(function) for function in functions]
    optimizer = tfm.ScipyOptimizerInterface(mode.expression(lambda: tf.reduce_sum(x**2)), [x])
    seen: list[Any] = []
    result = mode.minimize(optimizer, fetches=fetches, loss_callback=lambda *values: seen.append(values))
    assert is_native(result)
    *casts, empty, masked, size = seen[0]
    for value, dtype in zip(casts, DTYPES, strict=True):
        assert value.dtype == tf.as_dtype(dtype).as_numpy_dtype
        np.testing.assert_array_equal(value, np.array([[3.0], [1.0]]).astype(value.dtype))
    assert empty.shape == (0, 3)
    np.testing.assert_array_equal(masked, [3.0])
    assert seen[-1][-2].shape == (0,)
    assert size == 2
    np.testing.assert_array_equal(seen[0][7], [[3.0], [1.0]])  # later evaluations have not changed it


def test_fetches_may_read_fed_tensors_and_other_variables() -> None:
    with entered("v1") as mode:
        x, scale = mode.variable([3.0, 1.0]), tf.compat.v1.Variable(np.float64(2.0), trainable=False)
        data = tf.compat.v1.placeholder(tf.float64, [None])
        only_fetched = tf.compat.v1.placeholder(tf.int32, [])
        loss = tf.reduce_sum((x - data) ** 2)
        optimizer = tfm.ScipyOptimizerInterface(loss, [x])
        seen: list[Any] = []
        result = mode.minimize(
            optimizer,
            feed_dict={data: [1.0, 2.0], only_fetched: 7},
            fetches=[{"scaled": scale * x, "fed": only_fetched + 1}],
            loss_callback=seen.append,
        )
    assert is_native(result)
    np.testing.assert_array_equal(seen[0]["scaled"], [6.0, 2.0])
    np.testing.assert_allclose(seen[-1]["scaled"], [2.0, 4.0], atol=1e-5)
    assert {values["fed"] for values in seen} == {8}


def test_text_is_fetched_from_python(mode: Mode) -> None:
    x = mode.variable([3.0, 1.0])
    loss = mode.expression(lambda: tf.reduce_sum(x**2))
    text = mode.expression(lambda: tf.strings.as_string(x[0], precision=1))
    seen: list[Any] = []
    optimizer = tfm.ScipyOptimizerInterface(loss, [x])
    for _ in range(2):
        result = mode.minimize(optimizer, fetches=[text], loss_callback=seen.append)
        assert not is_native(result)
        assert "is a string, and only numbers" in result.backend_reason
    assert seen[0] == b"3.0"
    assert mode.session is None or is_native(mode.minimize(optimizer, fetches=[loss], loss_callback=seen.append))


@pytest.mark.filterwarnings("ignore:The loss or a constraint draws random numbers")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["EagerPyFunc", "AssignAddVariableOp", "RandomStandardNormal"])
def test_fetches_with_effects_are_computed_once_at_each_x(method: str, kind: str) -> None:
    x, count = tf.Variable([-1.2, 1.0]), tf.Variable(0, trainable=False)
    fetch = {
        "EagerPyFunc": lambda: tf.py_function(lambda: count.assign_add(1), [], tf.int32),
        "AssignAddVariableOp": lambda: count.assign_add(1),
        "RandomStandardNormal": lambda: (count.assign_add(1), tf.random.normal([]))[1],
    }[kind]
    seen: list[Any] = []
    optimizer = tfm.ScipyOptimizerInterface(lambda: rosenbrock(x), [x], method=method, options={"maxiter": 5})
    result = optimizer.minimize(fetches=[fetch], loss_callback=seen.append)
    assert not is_native(result)
    assert "the fetches have an effect or a state" in result.backend_reason
    assert int(count) == len(seen) == result.nfev


@pytest.mark.parametrize("method", METHODS)
def test_machine_code_computes_fetches(method: str) -> None:
    x = tf.Variable([-1.2, 1.0, 0.5])
    loss = tf.function(lambda: rosenbrock(x), jit_compile=True)
    optimizer = tfm.ScipyOptimizerInterface(loss, [x], method=method, options={"maxiter": 10})
    seen: list[Any] = []
    fetches = [loss, x, lambda: x[:2] > 0, lambda: tf.size(x)]
    result = optimizer.minimize(fetches=fetches, loss_callback=lambda *values: seen.append(values))
    assert result.backend == "xla"
    assert len(seen) == result.nfev
    for value, at, positive, size in seen:
        assert value == pytest.approx(rosenbrock(tf.constant(at)).numpy(), rel=1e-5)
        np.testing.assert_array_equal(positive, at[:2] > 0)
        assert (positive.dtype, size) == (bool, 3)


def test_machine_code_leaves_fetches_of_unknown_shape_to_tensorflow() -> None:
    x = tf.Variable([3.0, 1.0])
    loss = tf.function(lambda: tf.reduce_sum(x**2), jit_compile=True)
    seen: list[Any] = []
    fetch = lambda: tf.boolean_mask(x, x > 2.0)  # noqa: E731
    result = tfm.ScipyOptimizerInterface(loss, [x]).minimize(fetches=[fetch], loss_callback=seen.append)
    assert result.backend == "tfe"
    assert "static shape" in result.backend_reason or "XLA" in result.backend_reason
    np.testing.assert_array_equal(seen[0], [3.0])


def test_exception_in_a_loss_callback_leaves_the_variables_and_the_next_solve_alone(mode: Mode) -> None:
    x = mode.variable([3.0, 1.0])
    loss = mode.expression(lambda: tf.reduce_sum(x**2))
    optimizer = tfm.ScipyOptimizerInterface(loss, [x])

    def fail(value: Any) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        mode.minimize(optimizer, fetches=[loss], loss_callback=fail)
    np.testing.assert_array_equal(mode.value(x), [3.0, 1.0])
    seen: list[Any] = []
    assert is_native(mode.minimize(optimizer, fetches=[loss], loss_callback=seen.append))
    assert seen[0] == 10.0


def test_loss_callback_runs_in_the_graph_of_the_caller() -> None:
    with entered("v1") as mode:
        x = mode.variable([3.0, 1.0])
        loss = tf.reduce_sum(x**2)
        optimizer = tfm.ScipyOptimizerInterface(loss, [x])
        graphs: list[Any] = []
        mode.minimize(optimizer, loss_callback=lambda: graphs.append(tf.compat.v1.get_default_graph()))
        assert set(graphs) == {mode.session.graph}


def test_fetches_without_a_callback_are_not_computed() -> None:
    x, count = tf.Variable([3.0, 1.0]), tf.Variable(0, trainable=False)
    optimizer = tfm.ScipyOptimizerInterface(lambda: tf.reduce_sum(x**2), [x])
    assert is_native(optimizer.minimize(fetches=[lambda: count.assign_add(1)]))
    assert int(count) == 0


@pytest.mark.parametrize("fetches", [[], [lambda: tf.constant(5)]], ids=["none", "one"])
@pytest.mark.parametrize("jit_compile", [None, True])
def test_loss_over_data_may_have_a_loss_callback(fetches: list[Any], jit_compile: bool | None) -> None:
    x, seen = tf.Variable([3.0, 1.0]), []
    term = tf.function(lambda row: tf.reduce_sum((x - row) ** 2), jit_compile=jit_compile)
    loss = tfm.DatasetLoss(term, tf.constant([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), batch_size=2, reduction="sum")
    optimizer = tfm.ScipyOptimizerInterface(loss, [x])
    result = optimizer.minimize(fetches=fetches, loss_callback=lambda *values: seen.append(values))
    assert is_native(result)
    assert seen == [(5,) * len(fetches)] * result.nfev
    np.testing.assert_allclose(x.numpy(), [2.0, 3.0], atol=1e-3)
