"""`ops.minimize` with ``jit_compile=True``: machine code, or TensorFlow with a reason."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_program
from problems import rosenbrock
from scipy.optimize import LinearConstraint

import tfminimize as tfm

X0 = np.array([-1.2, 1.0])
SHIFT = tf.Variable(0.5, dtype=tf.float64)
SHAPE = tf.constant([2, 3])


def solved(fun: Any, x0: Any = X0, **options: Any) -> Any:
    return tf.function(lambda: tfm.ops.minimize(fun, x0, **options), autograph=False)()


PROBLEMS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "float32": (lambda x: tf.reduce_sum((x - 3.0) ** 4), np.array([1.0, 2.0], np.float32), {}),
    "captured variable": (lambda x: rosenbrock(x) + tf.reduce_sum((x - SHIFT) ** 2), X0, {}),
    "captured shape": (lambda x: tf.reduce_sum((tf.reshape(x, SHAPE) - 1.0) ** 4), np.arange(6.0), {}),
    "shape in args": (
        lambda x, shape: tf.reduce_sum((tf.reshape(x, shape) - 1.0) ** 4),
        np.arange(6.0),
        {"args": (tf.constant([3, 2]),)},
    ),
    "structure": (
        lambda x: rosenbrock(tf.concat([x["a"], x["b"]], 0)),
        {"a": X0, "b": np.array([0.5])},
        {"bounds": {"a": (None, 0.8), "b": (None, 0.8)}},
    ),
    "SLSQP with bounds alone": (rosenbrock, X0, {"method": "SLSQP", "bounds": (-2.0, 0.5)}),
    "SLSQP": (
        rosenbrock,
        X0,
        {
            "method": "SLSQP",
            "constraints": [
                {"type": "eq", "fun": lambda x, a: x[0] - a, "args": (tf.constant(0.3, tf.float64),)},
                {"type": "ineq", "fun": lambda x: SHIFT - tf.reduce_sum(x**2)},
                LinearConstraint([[1.0, 2.0]], -1.0, 1.0),
            ],
        },
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_machine_code_finds_what_tensorflow_finds(name: str) -> None:
    fun, x0, options = PROBLEMS[name]
    ours, theirs = (solved(fun, x0, jit_compile=jit, **options) for jit in (True, False))
    assert (ours.backend, theirs.backend) == (b"xla", b"tensorflow")
    assert ours.backend_reason == b"XLA compiled the function to machine code"
    assert theirs.backend_reason == b"jit_compile is not True, so TensorFlow runs the function"
    assert ours.success
    for one, other in zip(tf.nest.flatten(ours.x), tf.nest.flatten(theirs.x), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-3 if one.dtype == tf.float32 else 1e-6)
    np.testing.assert_allclose(ours.fun, theirs.fun, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_variables_of_odd_sizes(dtype: tf.DType) -> None:
    variables = [tf.Variable(value, dtype=dtype) for value in ([1.0, 2.0, 3.0], -1.0, [[0.5]])]
    other = tf.Variable(2.0, dtype=dtype)

    def loss() -> tf.Tensor:
        return tf.add_n([tf.reduce_sum((v - (i + other)) ** 2) for i, v in enumerate(variables)])

    solve = tf.function(lambda: tfm.ops.minimize(loss, variables, jit_compile=True), autograph=False)
    for value in (2.0, -1.0):  # the value at the start of each run
        other.assign(value)
        assert solve().backend == b"xla"
        for i, v in enumerate(variables):
            np.testing.assert_allclose(v, np.full(v.shape, i + value), rtol=1e-5, atol=1e-6)


def test_data_of_new_shapes_and_values() -> None:
    signature = [tf.TensorSpec([None, 2], tf.float64)]

    @tf.function(input_signature=signature)
    def mean(data: tf.Tensor) -> Any:
        return tfm.ops.minimize(lambda x: tf.reduce_sum((x - data) ** 2), X0, jit_compile=True)

    for rows in (1, 5, 5, 3, 1):
        data = np.random.default_rng(rows).normal(size=(rows, 2))
        result = mean(data)
        assert result.backend == b"xla"
        np.testing.assert_allclose(result.x, data.mean(axis=0), atol=1e-6)


def draws(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x**2) + 0.0 * tf.random.uniform([], dtype=x.dtype)


def test_function_that_draws_random_numbers_runs_in_tensorflow() -> None:
    with pytest.warns(UserWarning, match="draws random numbers"):
        result = solved(draws, jit_compile=True)
    assert result.backend == b"tensorflow"
    assert b"(RandomUniform) of the function keeps its own state" in result.backend_reason.numpy()


def test_function_that_writes_to_a_variable_runs_in_tensorflow() -> None:
    count = tf.Variable(0.0, dtype=tf.float64)

    def counts(x: tf.Tensor) -> tf.Tensor:
        count.assign_add(1.0)
        return tf.reduce_sum(x**2)

    result = solved(counts, jit_compile=True)
    assert (result.backend, result.backend_reason) == (b"tensorflow", b"the function writes to a variable")
    assert count.numpy() >= result.nfev.numpy()


def test_trace_function_and_gradient_see_what_machine_code_found() -> None:
    v, other = tf.Variable(X0), tf.Variable(3.0, dtype=tf.float64)

    @tf.function(jit_compile=True)
    def loss() -> tf.Tensor:
        return tf.reduce_sum((v - other) ** 4)

    traced = tfm.math.minimize(
        loss, 5, tfm.LBFGSB(), trainable_variables=[v], trace_fn=lambda step: (step.loss, step.parameters[0])
    )
    np.testing.assert_allclose(traced[0], np.sum((np.asarray(traced[1]) - 3.0) ** 4, axis=1), rtol=1e-12)

    a = tf.constant([1.0, -2.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(a)
        x = tfm.ops.minimize(lambda x: tf.reduce_sum((x - a**2) ** 2), X0, jit_compile=True).x
    np.testing.assert_allclose(tape.gradient(x, a), 2 * a, rtol=1e-6)


def test_loops_and_threads_share_the_machine_code() -> None:
    starts = tf.constant(np.random.default_rng(0).normal(size=(24, 5)))

    def solve(x0: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        result = tfm.ops.minimize(rosenbrock, x0, jit_compile=True)
        return result.x, result.backend

    one = tf.function(solve, autograph=False)
    mapped = tf.function(
        lambda x0s: tf.map_fn(solve, x0s, fn_output_signature=(tf.float64, tf.string)), autograph=False
    )
    in_turn = np.stack([one(x0)[0] for x0 in starts])
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(np.stack(list(pool.map(lambda x0: one(x0)[0], starts))), in_turn)
        for x, backend in pool.map(mapped, [starts] * 4):
            assert set(backend.numpy()) == {b"xla"}
            np.testing.assert_array_equal(x, in_turn)


@pytest.mark.subprocess
def test_saved_model_compiles_where_it_is_loaded(tmp_path: Path) -> None:
    module = tf.Module()
    module.shift = tf.Variable(2.0, dtype=tf.float64)

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float64)])
    def solve(x0: tf.Tensor) -> dict[str, tf.Tensor]:
        result = tfm.ops.minimize(lambda x: tf.reduce_sum((x - module.shift) ** 2), x0, jit_compile=True)
        return {"x": result.x, "backend": result.backend, "backend_reason": result.backend_reason}

    module.solve = solve
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=solve)
    here = solve(X0)
    assert here["backend"] == b"xla"
    program = """
        import os, shutil, sys
        from pathlib import Path
        import numpy as np
        import tensorflow as tf
        model, folder, kind = sys.argv[1:]
        if kind == "whole":
            import tfminimize
        else:  # the operation alone, as a program in C++ loads it
            import importlib.util
            package = Path(importlib.util.find_spec("tfminimize").submodule_search_locations[0])
            tf.load_op_library(shutil.copy(package / "_ops.so", folder))
        found = tf.saved_model.load(model).signatures["serving_default"](x0=tf.constant([-1.2, 1.0], tf.float64))
        print(found["backend"].numpy().decode(), found["backend_reason"].numpy().decode())
        np.testing.assert_allclose(found["x"], 2.0, atol=1e-6)
    """
    output = run_program(program, tmp_path / "model", tmp_path, "whole")
    assert output == "xla XLA compiled the function to machine code\n"
    output = run_program(program, tmp_path / "model", tmp_path, "alone")
    assert output.startswith("tensorflow tfminimize's _xla could not be loaded (")


@pytest.mark.resident_memory
def test_memory_is_constant() -> None:
    solve = tf.function(lambda x0: tfm.ops.minimize(rosenbrock, x0, jit_compile=True).fun, autograph=False)
    x0 = tf.constant(X0)

    def pages(count: int) -> int:
        for _ in range(count):
            solve(x0)
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = pages(500)
    assert pages(3000) - before < 200
