from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from problems import bowl_at_3

import tfminimize as tfm
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.stand_ins import scratch_handle

pytestmark = pytest.mark.usefixtures("empty_cache")

X0 = np.array([-1.2, 1.0, -1.2, 1.0])


def test_cache_traces_once_for_the_same_function() -> None:
    traces = 0

    def fun(x: tf.Tensor) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return bowl_at_3(x)

    for start in (0.0, 1.0, 2.0):
        tfm.minimize(fun, np.full(3, start), options={"maxiter": 5}, bounds=[(start, None)] * 3)
    assert traces == 1
    tfm.minimize(fun, np.zeros(4))
    tfm.minimize(fun, np.zeros(3, np.float32))
    tfm.minimize(fun, {"x": np.zeros(3)}["x"])
    assert traces == 3


def test_cache_knows_variables_by_identity() -> None:
    traces = 0
    v, w = tf.Variable(0.0), tf.Variable(0.0)

    def fun() -> tf.Tensor:
        nonlocal traces
        traces += 1
        return (v - 1.0) ** 2 + (w - 2.0) ** 2

    for _ in range(2):
        tfm.minimize(fun, v)
        tfm.minimize(fun, w)
    assert traces == 2
    assert (v.numpy(), w.numpy()) == pytest.approx((1.0, 2.0))


def test_bound_methods_are_cached() -> None:
    class Model:
        traces = 0

        def loss(self, x: tf.Tensor) -> tf.Tensor:
            self.traces += 1
            return bowl_at_3(x)

    model = Model()
    for _ in range(3):
        tfm.minimize(model.loss, np.zeros(2))
    assert model.traces == 1


def test_unhashable_function_is_not_cached() -> None:
    class Loss:
        __hash__ = None  # type: ignore[assignment]
        traces = 0

        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            self.traces += 1
            return bowl_at_3(x)

    loss = Loss()
    for _ in range(2):
        assert tfm.minimize(loss, np.zeros(2)).success
    assert loss.traces == 2


def test_cache_is_bounded_and_can_be_cleared() -> None:
    from tfminimize._api import minimize

    for _ in range(minimize.MAX_PROGRAMS + 2):
        tfm.minimize(lambda x: bowl_at_3(x), np.zeros(2))
    assert len(minimize._programs) == minimize.MAX_PROGRAMS
    tfm.clear_cache()
    assert len(minimize._programs) == 0


def test_a_failed_trace_is_not_cached() -> None:
    fail = True

    def fun(x: tf.Tensor) -> tf.Tensor:
        if fail:
            raise ZeroDivisionError("mine")
        return bowl_at_3(x)

    with pytest.raises(ZeroDivisionError):
        tfm.minimize(fun, np.zeros(2))
    fail = False
    assert tfm.minimize(fun, np.zeros(2)).success


def test_cleared_cache_lets_go_of_the_function() -> None:
    class Loss:
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return bowl_at_3(x)

    loss = Loss()
    dead = weakref.ref(loss)
    tfm.minimize(loss, np.zeros(2))
    del loss
    tfm.clear_cache()
    gc.collect()
    assert dead() is None


@pytest.mark.resident_memory
def test_stand_ins_of_variables_leave_nothing_behind() -> None:
    segment = Parameters(np.zeros(3)).layout.segments[0]

    def resident_bytes() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def make_and_destroy(count: int) -> None:
        for _ in range(count):
            tf.raw_ops.DestroyResourceOp(resource=scratch_handle("CPU:0", segment), ignore_lookup_error=True)

    make_and_destroy(100)
    before = resident_bytes()
    make_and_destroy(1000)
    assert resident_bytes() - before < 8_000_000  # 37 kB each if each had its own name
