"""Tracing runs the user's code, which may solve other problems: no thread waits forever or in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_parts
from problems import bowl

import tfminimize as tfm
from tfminimize._trace.recent import Recent

LONG = 60.0

SOLVE = {
    "minimize": "tfm.minimize(loss, np.zeros(2))",
    "Minimizer": "tfm.Minimizer(loss, np.zeros(2)).minimize()",
    "SLSQP": "tfm.minimize(loss, np.zeros(2), method='SLSQP', constraints={'type': 'ineq', 'fun': lambda x: x})",
    "constraint": "tfm.minimize(bowl, np.zeros(2), method='SLSQP', constraints={'type': 'ineq', 'fun': loss})",
    "BFGS": "tfm.minimize(loss, np.zeros(2), method='BFGS')",
    "interface": "tfm.ScipyOptimizerInterface(loss_of_variable, [variable]).minimize()",
    "interface, CG": "tfm.ScipyOptimizerInterface(loss_of_variable, [variable], method='CG').minimize()",
}

ITSELF = """
depth = 0
variable = tf.Variable(np.zeros(2))
def bowl(x):
    return tf.reduce_sum((x - 1.0) ** 2)
def loss(x):
    global depth
    depth += 1
    if depth < 3:
        with tf.init_scope():
            solve()
    return bowl(x)
loss_of_variable = lambda: loss(variable)
solve = lambda: {solve}
solve()
assert depth >= 3, depth
"""


EACH_OTHER = """
both = threading.Barrier(2, timeout=200)
local = threading.local()
variables = [tf.Variable(np.zeros(2)) for _ in range(2)]

def make(i):
    def loss(x):
        if not getattr(local, "inside", False):
            local.inside = True
            both.wait()  # each thread is in the midst of its own trace
            with tf.init_scope():
                solve(1 - i)
        return tf.reduce_sum((x - 1.0 - i) ** 2)
    return loss

losses = [make(0), make(1)]
of_variables = [lambda i=i: losses[i](variables[i]) for i in range(2)]
interfaces, interfaces_cg = (
    [tfm.ScipyOptimizerInterface(f, [v], method=m) for f, v in zip(of_variables, variables)] for m in ("L-BFGS-B", "CG")
)

def solve(i):
    return {solve}

with ThreadPoolExecutor(2) as pool:
    found = list(pool.map(solve, range(2)))
assert found == [[1.0, 1.0], [2.0, 2.0]], found
"""

SOLVE_ONE_OF_TWO = {
    "L-BFGS-B": "tfm.minimize(losses[i], np.zeros(2)).x.round(3).tolist()",
    "SLSQP": "tfm.minimize(losses[i], np.zeros(2), method='SLSQP').x.round(3).tolist()",
    "interface": "(interfaces[i].minimize(), variables[i].numpy().round(3).tolist())[1]",
    "interface, CG": "(interfaces_cg[i].minimize(), variables[i].numpy().round(3).tolist())[1]",
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    setup = """
import threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np, tensorflow as tf, tfminimize as tfm
"""
    parts = {name: ITSELF.replace("{solve}", solve) for name, solve in SOLVE.items()}
    others = {f"each other, {name}": EACH_OTHER.replace("{solve}", solve) for name, solve in SOLVE_ONE_OF_TWO.items()}
    return run_parts(setup, parts | others)


@pytest.mark.subprocess
@pytest.mark.parametrize("solve", SOLVE)
def test_loss_may_minimise_itself_while_it_is_traced(errors: dict[str, str], solve: str) -> None:
    assert errors[solve] == ""


@pytest.mark.subprocess
@pytest.mark.parametrize("solve", SOLVE_ONE_OF_TWO)
def test_losses_that_solve_each_other_in_two_threads(errors: dict[str, str], solve: str) -> None:
    assert errors[f"each other, {solve}"] == ""


class SlowLoss:
    """A loss whose trace for a certain shape waits until it may go on."""

    def __init__(self, slow_size: int) -> None:
        self.traces: list[int] = []
        self.is_tracing = threading.Event()
        self.may_go_on = threading.Event()
        self._slow_size = slow_size

    def __call__(self, x: Any, a: Any = 0.0) -> tf.Tensor:
        size = x.shape[0] if a is None or not tf.is_tensor(a) or a.shape.rank == 0 else a.shape[0]
        self.traces.append(size)
        if size == self._slow_size:
            self.is_tracing.set()
            assert self.may_go_on.wait(LONG)
        return bowl(x) + tf.reduce_sum(tf.cast(a, x.dtype)) * 0.0


def in_background(call: Callable[[], Any]) -> Any:
    return ThreadPoolExecutor(1).submit(call)


def test_trace_does_not_block_other_shapes() -> None:
    loss = SlowLoss(3)
    slow = in_background(lambda: tfm.minimize(loss, np.zeros(3)))
    assert loss.is_tracing.wait(LONG)
    assert in_background(lambda: tfm.minimize(loss, np.zeros(2))).result(LONG).success
    assert not slow.done()
    loss.may_go_on.set()
    assert slow.result(LONG).success


def test_trace_does_not_block_solves_of_the_same_minimizer() -> None:
    loss = SlowLoss(3)
    solver = tfm.Minimizer(loss, np.zeros(2), args=(np.zeros(2),))
    slow = in_background(lambda: solver.minimize(args=(np.zeros(3),)))
    assert loss.is_tracing.wait(LONG)
    for args in [(np.zeros(2),), (np.zeros(4),), (np.zeros(2),)]:
        assert in_background(lambda args=args: solver.minimize(args=args)).result(LONG).success
    assert not slow.done()
    loss.may_go_on.set()
    assert slow.result(LONG).success
    assert sorted(loss.traces) == [2, 3, 4]


def test_function_is_traced_once_for_many_threads() -> None:
    loss = SlowLoss(3)
    loss_traces_of = loss.traces.count
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(tfm.minimize, loss, np.zeros(3)) for _ in range(6)]
        assert loss.is_tracing.wait(LONG)
        loss.may_go_on.set()
        assert all(f.result(LONG).success for f in found)
    assert loss_traces_of(3) == 1


@pytest.mark.slow
def test_thread_that_traces_a_tf_function_does_not_wait() -> None:
    loss = SlowLoss(3)
    slow = in_background(lambda: tfm.minimize(loss, np.zeros(3)))
    assert loss.is_tracing.wait(LONG)
    second = threading.Event()

    def traced() -> tf.Tensor:
        loss.is_tracing.clear()
        with tf.init_scope():
            wants = in_this_thread()
        return tf.constant(wants)

    def in_this_thread() -> float:
        second.set()
        return float(tfm.minimize(loss, np.zeros(3)).fun)

    other = in_background(tf.function(traced))
    assert second.wait(LONG)
    assert loss.is_tracing.wait(LONG)  # it has begun its own trace
    assert not slow.done()
    loss.may_go_on.set()
    assert other.result(LONG).numpy() < 1e-9
    assert slow.result(LONG).success


def test_waiting_thread_retries_a_failed_trace() -> None:
    calls: list[int] = []
    begun, may_fail = threading.Event(), threading.Event()

    def loss(x: Any) -> tf.Tensor:
        calls.append(1)
        if len(calls) == 1:
            begun.set()
            assert may_fail.wait(LONG)
            raise KeyError("the first")
        return bowl(x)

    first = in_background(lambda: tfm.minimize(loss, np.zeros(2)))
    assert begun.wait(LONG)
    second = in_background(lambda: tfm.minimize(loss, np.zeros(2)))
    may_fail.set()
    with pytest.raises(KeyError, match="the first"):
        first.result(LONG)
    assert second.result(LONG).success


def test_cache_can_be_cleared_while_it_is_used() -> None:
    def work(i: int) -> bool:
        for _ in range(5):
            if i == 0:
                tfm.clear_cache()
            else:
                assert tfm.minimize(bowl, np.zeros(i)).success
        return True

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(3)))


def test_recent_keeps_the_most_recently_used() -> None:
    made: list[int] = []
    recent: Recent[int] = Recent(2)

    def value(key: int) -> int:
        return recent.get(key, lambda: made.append(key) or key + 100)

    assert [value(k) for k in (1, 2, 1, 3, 1, 2)] == [101, 102, 101, 103, 101, 102]
    assert made == [1, 2, 3, 2]
    assert len(recent) == 2


def test_destructor_of_a_dropped_value_may_use_the_cache() -> None:
    recent: Recent[Any] = Recent(1)

    class Forgotten:
        def __del__(self) -> None:
            assert in_background(lambda: recent.get("other", lambda: 3)).result(LONG) == 3

    recent.get("first", Forgotten)
    recent.get("second", lambda: 2)
    assert recent.get("other", lambda: 4) == 3


def test_evaluation_that_solves_the_same_problem() -> None:
    variable = tf.Variable(np.zeros(2))
    inner: list[float] = []

    def solve_inside(x: Any) -> Any:
        if not inner:
            inner.append(np.nan)
            interface.minimize()
            inner[0] = 1.0
        return x

    def loss() -> tf.Tensor:
        x = tf.convert_to_tensor(variable)
        return bowl(tf.ensure_shape(tf.py_function(solve_inside, [x], tf.float64), [2]))

    interface = tfm.ScipyOptimizerInterface(loss, [variable], method="CG")
    in_background(interface.minimize).result(LONG)
    assert inner == [1.0]
    np.testing.assert_allclose(variable, 1.0, atol=1e-5)


@pytest.mark.parametrize("scope", [tf.init_scope, "custom gradient"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
def test_solve_while_tapes_do_not_record(scope: Any, method: str) -> None:
    found: list[Any] = []

    def solve(x: Any) -> tf.Tensor:
        found.append(tfm.minimize(bowl, np.zeros(2), method=method).x)
        return tf.identity(x)

    with tf.GradientTape() as tape:
        x = tf.Variable(3.0)
        if scope == "custom gradient":
            tf.custom_gradient(lambda v: (solve(v), lambda upstream: upstream))(x)
        else:
            with scope():
                solve(x)
        y = x * x
    assert tape.gradient(y, x).numpy() == 6.0
    np.testing.assert_allclose(found, 1.0, atol=1e-4)
