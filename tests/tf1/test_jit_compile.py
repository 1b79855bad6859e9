"""ScipyOptimizerInterface(jit_compile=...), for functions and for graphs that are lifted."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

START = [7.0, -3.0, 2.0]
TARGET = [1.0, 2.0, 3.0]


def solved(kind: str, solves: int = 1, **kwargs: Any) -> tuple[Any, Any]:
    """The interface and the result of the last solve."""
    if kind == "function":
        v = tf.Variable(START)
        interface = tfm.ScipyOptimizerInterface(lambda: tf.reduce_sum((v - TARGET) ** 4), **kwargs)
        for _ in range(solves):
            v.assign(START)
            result = interface.minimize()
            wait(interface)
        return interface, result
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.compat.v1.get_variable("v", initializer=tf.constant(START))
        target = tf.compat.v1.placeholder(tf.float32, [3])
        interface = tfm.ScipyOptimizerInterface(tf.reduce_sum((v - target) ** 4), **kwargs)
        for _ in range(solves):
            session.run(tf.compat.v1.global_variables_initializer())
            result = interface.minimize(session, feed_dict={target: TARGET})
            wait(interface)
        np.testing.assert_allclose(session.run(v), result.x)
    return interface, result


def wait(interface: Any) -> None:
    """Wait for XLA, if it is compiling."""
    formulation = interface._formulation
    programs = [one.program for ones in getattr(formulation, "_lifted", {}).values() for one in ones]
    for program in programs or [formulation.program]:
        for pool in program._pools.values():
            while pool.ways is not None and pool.ways._job is not None and not pool.ways._job.has_ended:
                time.sleep(0.001)


@pytest.mark.parametrize("kind", ["function", "graph"])
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_xla_compiles_the_loss_if_asked(kind: str, jit_compile: bool | None) -> None:
    _, result = solved(kind, jit_compile=jit_compile)
    assert result.backend == ("xla" if jit_compile else "tfe")
    np.testing.assert_allclose(result.x, TARGET, atol=0.1)


@pytest.mark.parametrize("kind", ["function", "graph"])
def test_auto_takes_the_faster_way(kind: str) -> None:
    _, result = solved(kind, solves=12, jit_compile="auto")
    assert result.backend == "xla"
    assert "this was the fastest" in result.backend_reason
    np.testing.assert_allclose(result.x, TARGET, atol=0.1)


@pytest.mark.parametrize("jit_compile", [True, "auto"])
def test_fetches_of_a_loss_callback_come_from_the_same_function(jit_compile: Any) -> None:
    v = tf.Variable(START)
    interface = tfm.ScipyOptimizerInterface(lambda: tf.reduce_sum((v - TARGET) ** 4), jit_compile=jit_compile)
    fetched: list[Any] = []
    fetches = [lambda: tf.reduce_sum(v)]
    for _ in range(12):
        v.assign(START)
        result = interface.minimize(fetches=fetches, loss_callback=fetched.append)
        program = interface._formulation.fetching(fetches)
        for pool in program._pools.values():
            while pool.ways is not None and pool.ways._job is not None and not pool.ways._job.has_ended:
                time.sleep(0.001)
    assert result.backend == "xla"
    np.testing.assert_allclose(fetched[-1], np.sum(result.x), atol=0.2)


def test_a_loop_in_python_says_that_it_does_without_xla() -> None:
    v = tf.Variable(START)
    interface = tfm.ScipyOptimizerInterface(lambda: tf.reduce_sum((v - TARGET) ** 2), jit_compile=True, method="CG")
    result = interface.minimize(loss_callback=lambda: None)
    assert result.backend == "tfe"
    assert "Python asks for each evaluation" in result.backend_reason


def test_anything_else_is_refused() -> None:
    with pytest.raises(ValueError, match="jit_compile is 'yes': give True, False, 'auto'"):
        tfm.ScipyOptimizerInterface(lambda: 0.0, [tf.Variable(1.0)], jit_compile="yes")
