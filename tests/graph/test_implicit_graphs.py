"""Gradients of a solution in eager mode, in graphs and in loops, and the cases that are refused."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_program

import tfminimize as tfm

pytestmark = pytest.mark.slow

A = np.array([1.0, 2.0, 0.5])
WEIGHTS = np.array([1.0, 2.0, 3.0])
TIGHT = {"ftol": 0.0, "gtol": 1e-12}


def fun(x: Any, a: Any) -> Any:
    return tf.reduce_sum(tf.exp(x * a)) + tf.reduce_sum((x - a) ** 2)


def solve(a: Any) -> tf.Tensor:
    bounds = [(None, 0.1), (None, None), (None, None)]
    return tfm.ops.minimize(fun, np.zeros(3), args=(a,), bounds=bounds, options=TIGHT).x


def value(a: Any) -> tf.Tensor:
    return tf.reduce_sum(solve(a) * WEIGHTS)


def slope(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The exact gradient: the problem is separable, so dx/da = -∂²f/∂x∂a / ∂²f/∂x² where x is free."""
    e = np.exp(x * a)
    return -(e * (1 + x * a) - 2) / (e * a**2 + 2)


def expected_jacobian(a: np.ndarray = A) -> np.ndarray:
    x = solve(tf.constant(a)).numpy()
    return np.diag(np.where(x == 0.1, 0.0, slope(x, a)))


def expected(a: np.ndarray = A) -> np.ndarray:
    return WEIGHTS @ expected_jacobian(a)


def test_eager_mode() -> None:
    a = tf.constant(A)
    with tf.GradientTape() as tape:
        tape.watch(a)
        found = value(a)
    np.testing.assert_allclose(tape.gradient(found, a), expected(), atol=1e-6)


def test_eager_mode_with_a_variable_that_the_loss_reads() -> None:
    a = tf.Variable(A)
    with tf.GradientTape() as tape:
        found = tf.reduce_sum(tfm.ops.minimize(lambda x: fun(x, a), np.zeros(3), options=TIGHT).x[1:] * WEIGHTS[1:])
    np.testing.assert_allclose(tape.gradient(found, a)[1:], expected()[1:], atol=1e-6)


@pytest.mark.parametrize("in_function", [False, True])
def test_jacobian(in_function: bool) -> None:
    solved = tf.function(solve)

    def jacobian(a: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(a)
            x = solved(a)
        return tape.jacobian(x, a)

    compute = tf.function(jacobian) if in_function else jacobian
    np.testing.assert_allclose(compute(tf.constant(A)), expected_jacobian(), atol=1e-6)


def test_tape_around_a_function_and_persistent_tape() -> None:
    a = tf.constant(A)
    solved = tf.function(solve)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(a)
        x = solved(a)
        first, second = tf.reduce_sum(x * WEIGHTS), tf.reduce_sum(x**2)
    np.testing.assert_allclose(tape.gradient(first, a), expected(), atol=1e-6)
    np.testing.assert_allclose(tape.gradient(second, a), 2 * x.numpy() @ expected_jacobian(), atol=1e-6)


def test_map_fn() -> None:
    both = np.stack([A, A + 0.1])

    @tf.function
    def gradient(both: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(both)
            found = tf.reduce_sum(tf.map_fn(value, both))
        return tape.gradient(found, both)

    np.testing.assert_allclose(gradient(tf.constant(both)), [expected(a) for a in both], atol=1e-6)


def test_while_loop_and_cond() -> None:
    @tf.function
    def gradient(a: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(a)
            total = tf.zeros([], tf.float64)
            for i in tf.range(4):
                if i % 2 == 0:
                    total += value(a + 0.1 * tf.cast(i, tf.float64))
        return tape.gradient(total, a)

    np.testing.assert_allclose(gradient(tf.constant(A)), expected(A) + expected(A + 0.2), atol=1e-6)


LIMITED: dict[str, dict[str, Any]] = {
    "L-BFGS-B": {"bounds": [(None, 0.1), (None, None), (None, None)], "options": TIGHT},
    "SLSQP": {"constraints": {"type": "ineq", "fun": lambda x: 0.1 - x[0]}, "options": {"ftol": 1e-16}},
    "BFGS": {"options": {"gtol": 1e-12}},
}


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("method", LIMITED)
def test_session_of_tensorflow_1(method: str, jit_compile: bool) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        a = tf.compat.v1.placeholder(tf.float64, [3])
        scale = tf.compat.v1.get_variable("scale", initializer=np.float64(1.0), use_resource=True)
        result = tfm.ops.minimize(
            lambda x, a: scale * fun(x, a), np.zeros(3), (a,), method, jit_compile=jit_compile, **LIMITED[method]
        )
        gradients = tf.gradients(tf.reduce_sum(result.x * WEIGHTS), [a, scale])
        session.run(tf.compat.v1.global_variables_initializer())
        for present in (A, A + 0.1):
            x, backend, (by_a, by_scale) = session.run([result.x, result.backend, gradients], {a: present})
            assert backend == (b"xla" if jit_compile else b"tensorflow")
            is_limited = (method != "BFGS") & np.isclose(x, 0.1)
            np.testing.assert_array_equal(is_limited, [method != "BFGS", False, False])
            np.testing.assert_allclose(by_a, WEIGHTS * np.where(is_limited, 0.0, slope(x, present)), atol=1e-6)
            np.testing.assert_allclose(by_scale, 0.0, atol=1e-6)


@pytest.mark.subprocess
def test_saved_model_in_another_process(tmp_path: pathlib.Path) -> None:
    module = tf.Module()
    module.value = tf.function(value, input_signature=[tf.TensorSpec([3], tf.float64)])
    tf.saved_model.save(module, str(tmp_path))
    program = f"""
import tensorflow as tf, tfminimize
module = tf.saved_model.load({str(tmp_path)!r})
a = tf.constant({A.tolist()}, tf.float64)
with tf.GradientTape() as tape:
    tape.watch(a)
    found = module.value(a)
print(*tape.gradient(found, a).numpy())
"""
    np.testing.assert_allclose([float(word) for word in run_program(program).split()], expected(), atol=1e-6)


def test_two_levels() -> None:
    """The outer problem optimises the parameter of the inner one."""
    target = np.array([0.1, 0.2, 0.25])

    def outer(a: Any) -> Any:
        return tf.reduce_sum((solve(a) - target) ** 2) + 0.01 * tf.reduce_sum((a - A) ** 2)

    result = tfm.minimize(outer, A, options={"ftol": 1e-15, "gtol": 1e-9})
    reference = tfm.minimize(
        lambda a: outer(a), A, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14, "maxiter": 4000}
    )
    assert result.fun <= reference.fun + 1e-10
    assert np.abs(result.jac).max() < 1e-6


@pytest.mark.parametrize("in_function", [False, True])
@pytest.mark.parametrize("solved", [value, tf.function(value)], ids=["value", "function"])
def test_second_derivative_is_refused(solved: Callable[..., Any], in_function: bool) -> None:
    a = tf.constant(A)

    def second_derivative() -> Any:
        with tf.GradientTape() as outer:
            outer.watch(a)
            with tf.GradientTape() as inner:
                inner.watch(a)
                found = solved(a)
            gradient = inner.gradient(found, a)
        return outer.gradient(gradient, a)

    compute = tf.function(second_derivative, autograph=False) if in_function else second_derivative
    with pytest.raises(LookupError, match=r"can be differentiated only once.*stop_gradient"):
        compute()


@pytest.mark.parametrize("name", ["history", "constr_violation"])
def test_results_without_a_derivative_have_no_gradient(name: str) -> None:
    @tf.function
    def gradient(a: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(a)
            found = getattr(tfm.ops.minimize(fun, np.zeros(3), args=(a,)), name)
        return tape.gradient(found, a)

    assert gradient(tf.constant(A)) is None


def test_an_operation_without_a_second_derivative_is_named() -> None:
    @tf.custom_gradient
    def once(x: tf.Tensor) -> Any:
        return x**2, lambda upstream: tf.raw_ops.PreventGradient(input=2 * x * upstream, message="only once")

    def gradient(a: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(a)
            x = tfm.ops.minimize(lambda x: tf.reduce_sum(once(x - a)), np.zeros(3)).x
        return tape.gradient(x, a)

    with pytest.raises(LookupError, match=r"second derivatives of the loss.*only once.*outside the tape"):
        tf.function(gradient, autograph=False)(tf.constant(A))
