"""Side effects of the loss: it may read variables anywhere, but not write those that are optimised."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm
from tfminimize._solve.recompilation import warn_if_compiled_anew

v1 = tf.compat.v1
ROWS = tf.data.Dataset.from_tensor_slices(np.arange(6, dtype=np.float32)).batch(2)


def summed(dataset: Any) -> tf.Tensor:
    return dataset.reduce(tf.constant(0.0), lambda total, row: total + tf.reduce_sum(row))


READS: dict[str, Callable[[tf.Variable, tf.Variable], Any]] = {
    "reduce": lambda v, other: ROWS.reduce(tf.constant(0.0), lambda total, row: total + tf.reduce_sum(row * v[0])),
    "map": lambda v, other: summed(ROWS.map(lambda row: row * v[0])),
    "parallel map": lambda v, other: summed(ROWS.map(lambda row: row * v[0], num_parallel_calls=2)),
    "filter": lambda v, other: summed(ROWS.filter(lambda row: tf.reduce_sum(row) > v[0])),
    "flat_map": lambda v, other: summed(ROWS.flat_map(lambda row: ROWS.map(lambda inner: inner * v[0]))),
    "scan": lambda v, other: summed(ROWS.scan(tf.constant(0.0), lambda s, row: (s + v[0], tf.reduce_sum(row)))),
    "take_while": lambda v, other: summed(ROWS.take_while(lambda row: tf.reduce_sum(row) < v[0] + 1.0)),
    "map_fn": lambda v, other: tf.reduce_sum(tf.map_fn(lambda row: row * v[0], tf.constant([1.0, 2.0]))),
    "vectorized_map": lambda v, other: tf.reduce_sum(
        tf.vectorized_map(lambda row: row * v[0], tf.constant([1.0, 2.0]))
    ),
    "while": lambda v, other: tf.while_loop(lambda i: i < v[0] + 9.0, lambda i: i + 1.0 + 0.0 * v[1], [0.0])[0],
    "cond": lambda v, other: tf.cond(v[0] > 0.0, lambda: v[1], lambda: v[0]),
    "switch_case": lambda v, other: tf.switch_case(tf.constant(1), [lambda: v[1], lambda: v[0]]),
    "is initialised": lambda v, other: tf.raw_ops.VarIsInitializedOp(resource=v.handle),
    "tf.function": lambda v, other: tf.function(lambda: summed(ROWS.map(lambda row: row * v[0])))(),
    "beside another that is written": lambda v, other: ROWS.reduce(
        tf.constant(0.0), lambda total, row: total + v[0] + other.assign_add(1.0)
    ),
    "in a solve": lambda v, other: tfm.ops.minimize(lambda: (other - v[0]) ** 2, other).fun,
}

WRITES: dict[str, Callable[[tf.Variable], Any]] = {
    "assign": lambda v: v.assign_add([0.0, 0.0]),
    "scatter": lambda v: v.scatter_nd_add([[0]], [0.0]),
    "reduce": lambda v: ROWS.reduce(tf.constant(0.0), lambda total, row: total + v.assign_add([0.0, 0.0])[0]),
    "map": lambda v: summed(ROWS.map(lambda row: row + v.assign_add([0.0, 0.0]))),
    "cond": lambda v: tf.cond(v[0] > 100.0, lambda: v.assign_add([0.0, 0.0]), lambda: v + 0.0),
    "tf.function in a loop": lambda v: tf.while_loop(
        lambda i: i < 2.0, lambda i: i + 1.0 + tf.function(lambda: v.assign_add([0.0, 0.0]))()[0], [0.0]
    ),
    "a solve": lambda v: tfm.ops.minimize(lambda: tf.reduce_sum(v**2), v).fun,
}

SOLVES: dict[str, Callable[[Any, Any], Any]] = {
    "minimize": tfm.minimize,
    "SLSQP": lambda loss, v: tfm.minimize(loss, v, method="SLSQP"),
    "operation": tfm.ops.minimize,
    "interface": lambda loss, v: tfm.ScipyOptimizerInterface(loss, var_list=[v], method="CG").minimize(),
}
every_solve = pytest.mark.parametrize("solve", SOLVES.values(), ids=SOLVES)


def with_every_solve(parts: dict[str, Any], some: set[str]) -> list[Any]:
    """Return all parts for `minimize`, and some for the other solves; the rest is weekly."""
    return [
        pytest.param(
            part,
            solve,
            id=f"{name}-{entry}",
            marks=() if entry == "minimize" or name in some else pytest.mark.weekly,
        )
        for name, part in parts.items()
        for entry, solve in SOLVES.items()
    ]


def loss_with(part: Callable[[], Any], v: tf.Variable) -> Callable[[], tf.Tensor]:
    def loss() -> tf.Tensor:
        unused = tf.reduce_sum(tf.cast(part(), v.dtype))
        return tf.reduce_sum((v - 1.0) ** 2) + 0.0 * tf.stop_gradient(unused)

    return loss


@pytest.mark.slow
@pytest.mark.parametrize(("part", "solve"), with_every_solve(READS, {"reduce", "while", "cond"}))
def test_variable_may_be_read_anywhere(part: Any, solve: Any) -> None:
    v, other = tf.Variable([0.0, 0.0]), tf.Variable(0.0)
    solve(loss_with(lambda: part(v, other), v), v)
    np.testing.assert_allclose(v.numpy(), 1.0, atol=1e-4)


@pytest.mark.slow
@every_solve
@pytest.mark.parametrize("part", WRITES.values(), ids=WRITES)
def test_optimised_variable_may_not_be_written_anywhere(part: Any, solve: Any) -> None:
    v = tf.Variable([0.0, 0.0], name="optimised")
    with pytest.raises(ValueError, match="writes to variable 'optimised:0', which is being optimised"):
        solve(loss_with(lambda: part(v), v), v)
    np.testing.assert_array_equal(v.numpy(), 0.0)


@pytest.mark.parametrize("use_resource", [True, False])
@pytest.mark.parametrize(
    "write",
    [
        lambda v: v1.scatter_add(v, [0], [0.1]),
        lambda v: v1.scatter_nd_update(v, [[0]], [0.1]),
        lambda v: v1.assign(v, [0.0, 0.0]),
    ],
)
@pytest.mark.parametrize("is_control", [True, False])
def test_graph_that_writes_its_variable_is_refused(
    session: Any, use_resource: bool, write: Any, is_control: bool
) -> None:
    v = v1.get_variable("v", initializer=[0.0, 0.0], use_resource=use_resource)
    with tf.control_dependencies([write(v)] if is_control else []):
        loss = tf.reduce_sum((v - 1.0) ** 2) + (0.0 if is_control else 0.0 * tf.reduce_sum(write(v)))
    optimizer = tfm.ScipyOptimizerInterface(loss, var_list=[v])
    session.run(v1.global_variables_initializer())
    with pytest.raises(ValueError, match="writes to variable 'v', which is being optimised"):
        optimizer.minimize(session)


@pytest.mark.parametrize("use_resource", [True, False])
def test_graph_that_writes_another_variable_is_solved(session: Any, use_resource: bool) -> None:
    v = v1.get_variable("v", initializer=[0.0, 0.0], use_resource=use_resource)
    count = v1.get_variable("count", initializer=0.0, trainable=False, use_resource=use_resource)
    with tf.control_dependencies([v1.assign_add(count, 1.0)]):
        loss = tf.reduce_sum((v - 1.0) ** 2)
    optimizer = tfm.ScipyOptimizerInterface(loss)
    session.run(v1.global_variables_initializer())
    optimizer.minimize(session)
    np.testing.assert_allclose(session.run(v), 1.0, atol=1e-5)


GENERATOR = tf.random.Generator.from_seed(3)
COUNTER = tf.Variable(0, dtype=tf.int64)
DROPOUT = tf.keras.layers.Dropout(0.5)


def counted(seed: Callable[[], Any]) -> tf.Tensor:
    COUNTER.assign_add(1)
    return tf.random.stateless_normal([], seed())


RANDOM: dict[str, tuple[Callable[[], Any], str]] = {
    "normal": (lambda: tf.random.normal([]), "RandomStandardNormal"),
    "with a seed": (lambda: tf.random.uniform([], seed=3), "RandomUniform"),
    "shuffle": (lambda: tf.random.shuffle([1.0, 2.0]), "RandomShuffle"),
    "generator": (lambda: GENERATOR.normal([]), "RngReadAndSkip"),
    "in a function": (lambda: tf.function(lambda: tf.random.normal([]))(), "RandomStandardNormal"),
    "in a loop": (
        lambda: tf.while_loop(lambda i: i < 2.0, lambda i: i + 1.0 + tf.random.uniform([]), [0.0])[0],
        "RandomUniform",
    ),
    "in a data set": (lambda: summed(ROWS.map(lambda row: row + tf.random.uniform([]))), "RandomUniform"),
    "dropout": (lambda: DROPOUT(tf.ones([3]), training=True), "Stateless"),
    "dropout in a function": (lambda: tf.function(lambda: DROPOUT(tf.ones([3]), training=True))(), "Stateless"),
    "seed that moves": (lambda: counted(lambda: tf.stack([COUNTER, COUNTER])), "Stateless"),
}

NOT_RANDOM: dict[str, Callable[[], Any]] = {
    "stateless": lambda: tf.random.stateless_normal([], [1, 2]),
    "stateless with a counter beside it": lambda: counted(lambda: [1, 2]),
    "dropout while not training": lambda: DROPOUT(tf.ones([3]), training=False),
}


@pytest.fixture(autouse=True)
def no_global_seed() -> None:
    """Unset the global seed: other tests set one, and TensorFlow then warns in data sets."""
    tf.random.set_seed(None)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "solve"), with_every_solve(RANDOM, {"normal", "generator", "in a loop"}))
def test_random_numbers_in_the_loss_give_one_warning(part: tuple[Callable[[], Any], str], solve: Any) -> None:
    draw, operation = part
    v = tf.Variable([0.0, 0.0])
    with pytest.warns(UserWarning, match=f"draws random numbers, in operation '.*' \\({operation}") as caught:
        solve(loss_with(draw, v), v)
    assert len(caught) == 1


@every_solve
@pytest.mark.parametrize("part", NOT_RANDOM.values(), ids=NOT_RANDOM)
def test_numbers_that_stay_the_same_are_no_random_ones(part: Any, solve: Any) -> None:
    v = tf.Variable([0.0, 0.0])
    solve(loss_with(part, v), v)
    np.testing.assert_allclose(v.numpy(), 1.0, atol=1e-4)


def test_random_numbers_in_a_constraint_give_a_warning() -> None:
    constraint = {"type": "ineq", "fun": lambda x: x + 5.0 + 1e-12 * tf.random.normal([2], dtype=tf.float64)}
    with pytest.warns(UserWarning, match="RandomStandardNormal"):
        tfm.minimize(lambda x: tf.reduce_sum(x**2), np.ones(2), method="SLSQP", constraints=constraint)


def test_random_numbers_give_one_warning_for_each_trace() -> None:
    with pytest.warns(UserWarning, match="RandomStandardNormal"):
        solver = tfm.Minimizer(
            lambda x, a: tf.reduce_sum((x - a) ** 2) + 0.0 * tf.random.normal([], dtype=tf.float64),
            np.zeros(2),
            args=(1.0,),
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solver.minimize(args=(2.0,))
        solver.minimize_batch(np.zeros((2, 2)))


def sized_by_x(x: tf.Tensor) -> tf.Tensor:
    size = 3 + 0 * tf.cast(tf.reduce_max(x), tf.int32)
    return tf.reduce_sum((x - 1.0) ** 4 + x**2) * tf.reduce_sum(tf.ones([size], tf.float64))


def compiled_for_each_x() -> Any:
    """A new function for each test, because TensorFlow keeps compiled functions."""
    return tf.function(lambda x: sized_by_x(x), jit_compile=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
def test_function_that_is_compiled_again_for_every_x_gives_one_warning(method: str) -> None:
    compiled = compiled_for_each_x()
    solver = tfm.Minimizer(lambda x: compiled(x), np.array([3.0, 2.0, 5.0]), method=method)
    with pytest.warns(UserWarning, match="XLA compiles the function anew for every x.*jit_compile=False"):
        solver.minimize()
    solver.minimize()


@pytest.mark.slow
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_batch_warns_once_of_a_function_compiled_again_for_every_x(method: str, num_threads: int) -> None:
    compiled = compiled_for_each_x()
    solver = tfm.Minimizer(lambda x, a: compiled(x) + a, np.zeros(3), args=(0.0,), method=method)
    starts, shifts = np.array([[3.0, 2.0, 5.0], [1.0, 2.0, 4.0]]), np.zeros(2)
    with pytest.warns(UserWarning, match="XLA compiles the function anew for every x.*jit_compile=False"):
        solver.minimize_batch(starts, batched_args=shifts, num_threads=num_threads)
    solver.minimize_batch(starts, batched_args=shifts, num_threads=num_threads)


class Evaluations:
    """A workspace whose evaluations at a new x wait or compute for 20 ms."""

    compiles = True

    def __init__(self, work: Callable[[], None]) -> None:
        self.x, self.gradient = np.ones(3), np.zeros(3)
        self._work, self._known = work, {self.x.tobytes()}

    def evaluate(self) -> None:
        if self.x.tobytes() not in self._known:
            self._known.add(self.x.tobytes())
            self._work()


def wait() -> None:
    time.sleep(0.02)


def compute() -> None:
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass


def test_evaluations_that_wait_are_not_taken_for_compilations() -> None:
    waiting: Any = Evaluations(wait)
    computing: Any = Evaluations(compute)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_compiled_anew(waiting, 0.2, 10)
    with pytest.warns(UserWarning, match="XLA compiles the function anew for every x"):
        warn_if_compiled_anew(computing, 0.2, 10)
    np.testing.assert_array_equal(computing.x, np.ones(3))


PROGRAMS = {
    "L-BFGS-B": "solve('L-BFGS-B')",
    "SLSQP": "solve('SLSQP')",
    "BFGS": "solve('BFGS')",
    "L-BFGS-B twice": "f = tf.function(lambda: solve('L-BFGS-B'), autograph=False); f(); f()",
    "SLSQP twice": "f = tf.function(lambda: solve('SLSQP'), autograph=False); f(); f()",
    "BFGS twice": "f = tf.function(lambda: solve('BFGS'), autograph=False); f(); f()",
    "compiled once": "solve('L-BFGS-B', lambda x: tf.reduce_sum((x - 1.0) ** 4))",
}


@pytest.fixture(scope="module")
def logs() -> dict[str, str]:
    """Return what each program logs, all in one process that shows warnings."""
    script = f"""
import sys
import numpy as np, tensorflow as tf, tfminimize as tfm
def sized_by_x(x):
    size = 3 + 0 * tf.cast(tf.reduce_max(x), tf.int32)
    return tf.reduce_sum((x - 1.0) ** 4 + x**2) * tf.reduce_sum(tf.ones([size], tf.float64))
def solve(method, fun=sized_by_x):
    return tfm.ops.minimize(fun, np.array([3.0, 2.0, 5.0]), method=method, jit_compile=True).fun
for program in {list(PROGRAMS.values())!r}:
    exec(program)
    print({END!r}, file=sys.stderr, flush=True)
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return dict(zip(PROGRAMS, done.stderr.split(END)[:-1], strict=True))


ANEW = "minimize/solve: XLA compiles the function anew for every x"
END = "end of a program"


@pytest.mark.subprocess
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_operation_logs_once_that_its_function_is_compiled_again_for_every_x(logs: dict[str, str], method: str) -> None:
    assert logs[method].count(ANEW) == 1
    assert "Use jit_compile=False" in logs[method]
    assert logs[f"{method} twice"].count(ANEW) == 1


@pytest.mark.subprocess
def test_operation_whose_function_is_compiled_once_logs_nothing(logs: dict[str, str]) -> None:
    assert ANEW not in logs["compiled once"]


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
def test_function_that_is_compiled_once_is_not_said(method: str) -> None:
    compiled = tf.function(lambda x: tf.reduce_sum((x - 1.0) ** 4), jit_compile=True)
    tfm.minimize(lambda x: compiled(x), np.array([3.0, 2.0, 5.0]), method=method)
    if method != "CG":
        tfm.Minimizer(lambda x: compiled(x), np.zeros(3), method=method).minimize_batch(np.eye(3))
