from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm


class Counted:
    """A least-squares loss that counts its traces."""

    def __init__(self) -> None:
        self.traces = 0

    def __call__(self, x: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        self.traces += 1
        return tf.reduce_sum((tf.linalg.matvec(a, x) - b) ** 2)


def data(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, 3)), random.normal(size=rows)


def solution(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(a, b, rcond=None)[0]


def test_traces_in_the_constructor_only() -> None:
    fun = Counted()
    solver = tfm.Minimizer(fun, np.zeros(3), args=data(20))
    assert fun.traces == 1
    for start in range(3):
        solver.minimize(np.full(3, float(start)))
    assert fun.traces == 1


def test_new_data_of_the_same_shape_does_not_retrace() -> None:
    fun = Counted()
    solver = tfm.Minimizer(fun, np.zeros(3), args=data(20))
    for seed in range(4):
        a, b = data(20, seed)
        np.testing.assert_allclose(solver.minimize(args=(a, b)).x, solution(a, b), atol=1e-5)
    assert fun.traces == 1


def test_arguments_of_the_constructor_are_the_default() -> None:
    a, b = data(20)
    solver = tfm.Minimizer(Counted(), np.zeros(3), args=(a, b))
    solver.minimize(args=data(20, 1))
    np.testing.assert_allclose(solver.minimize().x, solution(a, b), atol=1e-5)


def test_other_shapes_trace_once_more_and_are_kept() -> None:
    fun = Counted()
    solver = tfm.Minimizer(fun, np.zeros(3), args=data(20))
    for rows in (30, 20, 30, 20):
        a, b = data(rows)
        np.testing.assert_allclose(solver.minimize(args=(a, b)).x, solution(a, b), atol=1e-5)
    assert fun.traces == 2


def test_start_defaults_to_that_of_the_constructor_even_if_the_array_changed() -> None:
    x0 = np.array([-1.2, 1.0])
    solver = tfm.Minimizer(tfm.testing.rosenbrock(2).fun, x0)
    nfev = solver.minimize().nfev
    x0[:] = 1.0
    assert solver.minimize().nfev == nfev


def test_start_may_be_a_list_or_tensor() -> None:
    solver = tfm.Minimizer(tfm.testing.rosenbrock(2).fun, np.zeros(2))
    expected = solver.minimize(np.array([-1.2, 1.0])).nfev
    assert solver.minimize([-1.2, 1.0]).nfev == expected
    assert solver.minimize(tf.constant([-1.2, 1.0], tf.float64)).nfev == expected


def test_same_solve_gives_the_same_bits() -> None:
    problem = tfm.testing.rosenbrock(50)
    solver = tfm.Minimizer(problem.fun, problem.x0)
    first, second = solver.minimize(), solver.minimize()
    np.testing.assert_array_equal(first.x, second.x)
    assert first.nfev == second.nfev


def test_bounds_of_the_constructor_hold_for_every_solve() -> None:
    solver = tfm.Minimizer(lambda x: tf.reduce_sum((x - 3.0) ** 2), np.zeros(2), bounds=[(None, 1.0), (None, 5.0)])
    for start in (0.0, 9.0):
        np.testing.assert_allclose(solver.minimize(np.full(2, start)).x, [1.0, 3.0], atol=1e-6)


def test_variables_start_from_their_present_values() -> None:
    v = tf.Variable([0.0])
    solver = tfm.Minimizer(lambda: tf.reduce_sum((v - 1.0) ** 2), v)
    assert solver.minimize().nit > 0
    assert solver.minimize().nit == 0
    v.assign([7.0])
    assert solver.minimize(v).nit > 0
    np.testing.assert_allclose(v.numpy(), 1.0, atol=1e-5)


def test_values_for_variables_are_an_error() -> None:
    v = tf.Variable([0.0])
    solver = tfm.Minimizer(lambda: tf.reduce_sum((v - 1.0) ** 2), v)
    with pytest.raises(ValueError, match="assign to them before it"):
        solver.minimize([1.0])


@pytest.mark.parametrize(
    ("x0", "sentence"),
    [
        (np.zeros(3), r"shape \(3,\), but the function was compiled for \(2,\)"),
        ({"a": np.zeros(2)}, "must be one array"),
        ([np.zeros(2), 1.0], "must be one array"),
        (np.array([np.nan, 0.0]), r"x0\[0\] is nan"),
        (np.zeros(2, complex), "complex128"),
    ],
)
def test_other_starts_are_errors(x0: Any, sentence: str) -> None:
    solver = tfm.Minimizer(lambda x: tf.reduce_sum(x**2), np.zeros(2))
    with pytest.raises(ValueError, match=sentence):
        solver.minimize(x0)
    assert solver.minimize().success


@pytest.mark.parametrize(
    "x0", [{"a": 1.0, "c": 1.0}, [1.0, 1.0], np.ones(2), {"a": 1.0}, {"a": 1.0, "b": [{}]}], ids=str
)
def test_start_of_another_structure_is_an_error(x0: Any) -> None:
    solver = tfm.Minimizer(lambda x: x["a"] ** 2 + x["b"] ** 2, {"a": 0.0, "b": 0.0})
    with pytest.raises(ValueError, match=r"x0 must be a structure like \{'a': None, 'b': None\}"):
        solver.minimize(x0)


def test_memory_is_reused_from_solve_to_solve() -> None:
    solver = tfm.Minimizer(lambda x: tf.reduce_sum(x**2), np.zeros(2))
    solver.minimize()
    (pool,) = solver._program._pools.values()
    (workspace,) = pool.free
    solver.minimize()
    assert pool.free == [workspace]


def test_tensorflow_reads_x_in_place() -> None:
    v, w = tf.Variable(np.zeros(5)), tf.Variable(np.zeros((2, 2)))
    solver = tfm.Minimizer(lambda: tf.reduce_sum(v**2) + tf.reduce_sum(w**2), [v, w])
    lease = solver._program.lease(solver.arguments)
    workspace = lease.workspace
    workspace.x[0] = 3.0
    workspace.x[8] = 4.0
    assert workspace.objective.evaluate(workspace.x, workspace.gradient) == 25.0
    assert workspace.gradient[[0, 8]].tolist() == [6.0, 8.0]
    lease.release()


def test_memory_and_variables_go_with_the_minimizer() -> None:
    v = tf.Variable(np.zeros(3))
    solver = tfm.Minimizer(lambda: tf.reduce_sum((v - 1.0) ** 2), v)
    solver.minimize()
    (pool,) = solver._program._pools.values()
    dead = weakref.ref(pool.free[0])
    del solver, pool
    gc.collect()
    assert dead() is None


def test_all_kinds_of_args_reach_the_function() -> None:
    scale = tf.Variable(2.0, dtype=tf.float64)

    def fun(x: tf.Tensor, options: dict[str, Any], power: int, weight: float, scale: tf.Variable) -> tf.Tensor:
        assert isinstance(power, int)
        assert isinstance(scale, tf.Variable)
        assert options["mode"] == "square"
        ragged = tf.reduce_sum(options["ragged"])
        return weight * tf.reduce_sum((scale * x - ragged) ** power)

    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]], dtype=tf.float64)
    args = ({"mode": "square", "ragged": ragged, "nothing": None}, 2, 0.5, scale)
    solver = tfm.Minimizer(fun, np.zeros(2), args=args)
    np.testing.assert_allclose(solver.minimize().x, 3.0, atol=1e-5)
    scale.assign(1.0)
    np.testing.assert_allclose(solver.minimize().x, 6.0, atol=1e-5)


def test_data_set_as_argument() -> None:
    def fun(x: tf.Tensor, data: tf.data.Dataset) -> tf.Tensor:
        return tf.reduce_sum((x - data.reduce(tf.constant(0.0, tf.float64), tf.add)) ** 2)

    solver = tfm.Minimizer(fun, np.zeros(2), args=tf.data.Dataset.from_tensor_slices([1.0, 2.0]).map(_double))
    np.testing.assert_allclose(solver.minimize().x, 3.0, atol=1e-5)


def _double(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, tf.float64)


def test_python_floats_do_not_retrace_and_python_integers_do() -> None:
    traces = 0

    def fun(x: tf.Tensor, a: tf.Tensor, n: int) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return tf.reduce_sum((x - a) ** n)

    solver = tfm.Minimizer(fun, np.zeros(2, np.float32), args=(1.0, 2))
    np.testing.assert_allclose(solver.minimize(args=(5.0, 2)).x, 5.0, atol=1e-3)
    assert traces == 1
    solver.minimize(args=(1.0, 4))
    assert traces == 2


def test_variables_tracked_by_a_module() -> None:
    module = tf.Module()
    module.parts = [tf.Variable(0.0), {"deep": tf.Variable([0.0])}]
    fun = lambda: (module.parts[0] - 1.0) ** 2 + tf.reduce_sum((module.parts[1]["deep"] - 2.0) ** 2)  # noqa: E731
    np.testing.assert_allclose(tfm.Minimizer(fun, module.parts).minimize().x, [1.0, 2.0], atol=1e-4)
    np.testing.assert_allclose(tfm.Minimizer(fun, module.trainable_variables).minimize().x, [1.0, 2.0], atol=1e-4)


def test_single_argument_needs_no_tuple() -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=np.ones(2))
    np.testing.assert_allclose(solver.minimize().x, 1.0, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copying_a_minimizer_is_an_error(copied: Any) -> None:
    with pytest.raises(TypeError, match="holds a compiled function and cannot be copied"):
        copied(tfm.Minimizer(tf.reduce_sum, np.zeros(2)))


def test_traces_are_bounded() -> None:
    from tfminimize._solve.program import MAX_TRACES

    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum(x**2) + tf.reduce_sum(a), np.zeros(2), args=np.ones(1))
    for size in range(1, MAX_TRACES + 3):
        solver.minimize(args=np.ones(size))
    assert len(solver._program._pools) == MAX_TRACES
