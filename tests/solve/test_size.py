"""Long vectors: in several threads, with pairs in float32, in memory that can be counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interpreter import run_program

import tfminimize as tfm

LARGE = 120_000
"""Enough for the pool."""

IN_FLOAT32 = {"storage": "float32"}


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    yield
    tfm.set_num_threads(None)


def loss(x: tf.Tensor) -> tf.Tensor:
    weights = tf.linspace(tf.constant(1.0, x.dtype), 30.0, tf.size(x))
    return tf.reduce_sum(weights * (x - 1.0) ** 2 + (x - 1.0) ** 4)


def start(n: int, dtype: str = "float64") -> Any:
    return np.resize([3.0, -1.0, 0.5], n).astype(dtype)


def native(bounds: Any) -> Any:
    return tfm.minimize(loss, start(LARGE), bounds=bounds, jit_compile=True, options={"maxiter": 12})


def in_graph(bounds: Any) -> Any:
    return tfm.ops.minimize(loss, tf.constant(start(LARGE)), bounds=bounds, options={"maxiter": 12})


@pytest.mark.parametrize("bounds", [None, (0.0, 0.9)])
@pytest.mark.parametrize("solve", [native, in_graph])
def test_any_number_of_threads_gives_the_same_bits(solve: Callable[[Any], Any], bounds: Any) -> None:
    tfm.set_num_threads(1)
    expected = np.asarray(solve(bounds).x)
    for threads in (2, 5):
        tfm.set_num_threads(threads)
        np.testing.assert_array_equal(np.asarray(solve(bounds).x), expected)


def test_solves_of_many_threads_share_the_pool() -> None:
    tfm.set_num_threads(3)
    expected = native(None).x
    with ThreadPoolExecutor(4) as executor:
        for result in executor.map(native, [None] * 4):
            np.testing.assert_array_equal(result.x, expected)


@pytest.mark.subprocess
def test_forked_process_solves_with_threads_of_its_own() -> None:
    script = """
import os, signal
import numpy as np, scipy.optimize
import tfminimize as tfm
tfm.set_num_threads(2)
solve = lambda: scipy.optimize.minimize(
    lambda x: (x @ x, 2 * x), np.ones(200_000), jac=True, method=tfm.scipy.lbfgsb)
assert solve().success
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if solve().success else 1)
print(os.waitpid(child, 0)[1], solve().success)
"""
    assert run_program(script).split() == ["0", "True"]


@pytest.mark.parametrize("num_threads", [0, -1, 1.5, True, "2"])
def test_number_of_threads_that_makes_no_sense_is_refused(num_threads: Any) -> None:
    before = tfm.get_num_threads()
    with pytest.raises(ValueError, match=re.escape(f"num_threads is {num_threads!r}: give an integer, 1 or greater")):
        tfm.set_num_threads(num_threads)
    assert tfm.get_num_threads() == before


def test_none_is_the_number_of_cores() -> None:
    cores = tfm.get_num_threads()
    tfm.set_num_threads(cores + 3)
    assert tfm.get_num_threads() == cores + 3
    tfm.set_num_threads(None)
    assert tfm.get_num_threads() == cores


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bounds", [None, (0.0, 0.9)])
def test_float32_pairs_lead_to_the_minimum(jit_compile: bool, dtype: str, bounds: Any) -> None:
    result = tfm.minimize(
        loss, start(50, dtype), bounds=bounds, jit_compile=jit_compile, options={**IN_FLOAT32, "maxcor": 5}
    )
    np.testing.assert_allclose(result.x, 1.0 if bounds is None else 0.9, atol=1e-3)


def test_float32_pairs_are_float32() -> None:
    pairs = tfm.minimize(loss, start(50), options=IN_FLOAT32).hess_inv
    for values in (pairs.sk, pairs.yk):
        np.testing.assert_array_equal(values, values.astype(np.float32))


def test_kept_solver_is_not_that_of_another_storage() -> None:
    solver = tfm.Minimizer(loss, start(50))
    expected = solver.minimize().x
    solver.minimize(options=IN_FLOAT32)
    np.testing.assert_array_equal(solver.minimize().x, expected)


def test_float32_pairs_everywhere() -> None:
    expected = tfm.minimize(loss, start(50), options=IN_FLOAT32)
    batch = tfm.Minimizer(loss, start(50)).minimize_batch(start(50)[np.newaxis], options=IN_FLOAT32)
    np.testing.assert_array_equal(batch.x[0], expected.x)
    operation = tfm.ops.minimize(loss, tf.constant(start(50)), options=IN_FLOAT32)
    np.testing.assert_array_equal(operation.x, expected.x)
    variable = tf.Variable(start(50))
    tfm.math.minimize(lambda: loss(variable), 50, tfm.LBFGSB(storage="float32"))
    np.testing.assert_allclose(variable.numpy(), 1.0, atol=1e-3)
    in_scipy = scipy.optimize.minimize(
        scipy.optimize.rosen, [-1.2, 1.0], jac=scipy.optimize.rosen_der, method=tfm.scipy.lbfgsb, options=IN_FLOAT32
    )
    np.testing.assert_allclose(in_scipy.x, 1.0, atol=1e-3)


def test_compare_gives_scipy_its_own_options() -> None:
    assert tfm.compare(loss, start(5), options=IN_FLOAT32) is not None


@pytest.mark.parametrize("storage", ["float16", 32, None, tf.float32])
def test_storage_that_there_is_not_is_refused(storage: Any) -> None:
    with pytest.raises(ValueError, match=r"^storage is .*: give 'float64', or 'float32'"):
        tfm.minimize(loss, start(5), options={"storage": storage})
    with pytest.raises(ValueError, match=r"^storage is"):
        tfm.LBFGSB(storage=storage)


def test_refusal_names_a_maxcor_that_fits() -> None:
    with pytest.raises(MemoryError, match=r"needs .* GB of memory, and this machine has .* GB free") as raised:
        tfm.minimize(loss, np.zeros(1_000_000), options={"maxcor": 1 << 20})
    found = re.search(r"give maxcor=(\d+) or less", str(raised.value))
    assert found is not None
    assert int(found[1]) >= 1
