"""Solves inside tf.py_function, where TensorFlow deletes the executor of each call when it ends."""

from __future__ import annotations

import os

import pytest
from interpreter import run_parts

pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.skipif(
        len(os.sched_getaffinity(0)) == 1,
        reason="tf.py_function holds a thread of TensorFlow's pool, so what it calls needs a second core",
    ),
]

SCRIPT = """
import threading
import numpy as np
import tensorflow as tf
import tfminimize as tfm

def junk():
    return [np.random.default_rng(i).normal(size=1000) for i in range(100)]

def loss(y, a):
    return tf.reduce_sum((y - a) ** 2)

def make(dtype="float64", **kwargs):
    return tfm.Minimizer(loss, np.zeros(2, dtype), args=(np.zeros(2, dtype),), **kwargs)

def check(solver, k, dtype="float64"):
    a = np.array([k, 1.0], dtype)
    assert np.allclose(solver.minimize(args=(a,)).x, a, atol=1e-3)

def inside(solver, dtype=tf.float64):
    return tf.function(lambda a: tf.py_function(lambda a: solver.minimize(args=(a,)).x, [a], dtype))
"""

CASES = {
    "in a py_function first": """
for dtype in ("float64", "float32"):
    m = make(dtype); f = inside(m, dtype)
    for k in range(10):
        a = tf.constant([1.0 * k, 2.0], dtype)
        assert np.allclose(f(a), a, atol=1e-3)
        junk()
        check(m, k, dtype)
""",
    "in SLSQP": """
m = make(method="SLSQP", constraints={"type": "ineq", "fun": lambda x: 100.0 - x[0]}); f = inside(m)
for k in range(10):
    f(tf.constant([1.0 * k, 2.0], tf.float64)); junk(); check(m, k)
""",
    "as machine code": """
m = make(jit_compile=True); f = inside(m)
for k in range(10):
    f(tf.constant([1.0 * k, 2.0], tf.float64)); junk(); check(m, k)
""",
    "in Dataset.map": """
m = make()
for k in range(3):
    data = tf.data.Dataset.range(20).map(
        lambda i: tf.py_function(lambda i: m.minimize(args=(np.array([float(i), 2.0]),)).x, [i], tf.float64))
    for i, x in enumerate(data):
        assert np.allclose(x, [i, 2.0], atol=1e-3)
    junk(); check(m, k)
""",
    "nested": """
inner = make()
@tf.custom_gradient
def outer_loss(y):
    def solve(y):
        x = inner.minimize(args=(y,)).x
        return np.sum((x - 3) ** 2), 2 * (x - 3)
    f, g = tf.py_function(solve, [y], [tf.float64, tf.float64])
    f.set_shape([]); g.set_shape([2])
    return f, lambda u: u * g
outer = tfm.Minimizer(lambda y: outer_loss(y), np.zeros(2))
for k in range(5):
    assert np.allclose(outer.minimize().x, 3, atol=1e-3); junk(); check(inner, k)
""",
    "in an executor of the caller's": """
from tensorflow.python.eager import context, executor
m = make()
for is_async in (False, True):
    for k in range(5):
        own = executor.new_executor(is_async)
        with context.executor_scope(own):
            check(m, k)
        own.wait()
        del own
        junk(); check(m, k)
""",
    "a variable that is assigned later": """
from tensorflow.python.eager import context, executor
a = tf.Variable(np.zeros(2)); m = tfm.Minimizer(lambda y: tf.reduce_sum((y - a) ** 2), np.zeros(2))
own = executor.new_executor(True)
with context.executor_scope(own):
    for k in range(30):
        for _ in range(100):
            a.assign(tf.constant([1.0 * k, 2.0], tf.float64))
        assert np.allclose(m.minimize().x, [k, 2.0], atol=1e-3)
own.wait()
""",
    "in threads": """
m = make(); f = inside(m)
def work():
    for k in range(20):
        f(tf.constant([1.0 * k, 2.0], tf.float64)); check(m, k)
# One at a time in tf.py_function: it takes a thread of TensorFlow's pool, and what it calls may need another.
def plain():
    for k in range(20):
        check(m, k)
threads = [threading.Thread(target=target) for target in (work, plain, plain)]
for t in threads: t.start()
for t in threads: t.join()
check(m, 1)
""",
    "in a batch": """
m = make()
starts = np.zeros((20, 2))
args = np.arange(40.0).reshape(20, 2)
f = tf.function(lambda: tf.py_function(lambda: m.minimize_batch(batched_args=(args,)).x, [], tf.float64))
for k in range(5):
    assert np.allclose(f(), args, atol=1e-3); junk(); check(m, k)
    assert np.allclose(m.minimize_batch(batched_args=(args,)).x, args, atol=1e-3)
""",
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return run_parts(SCRIPT, CASES)


@pytest.mark.parametrize("case", CASES)
def test_solves_and_those_that_follow_are_right(errors: dict[str, str], case: str) -> None:
    assert errors[case] == ""
