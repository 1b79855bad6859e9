"""jit_compile="auto": the graph begins, XLA compiles in the background, and the faster of both goes on."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_python
from problems import bowl, rosenbrock

import tfminimize as tfm
from tfminimize._solve import ways
from tfminimize._solve.ways import Ways
from tfminimize._tf import xla

X0 = np.tile([-1.2, 1.0], 10)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions are traced again as soon as they have been evaluated."""
    monkeypatch.setattr(ways, "_PATIENCE", 0.0)


def ways_of(solver: tfm.Minimizer) -> Ways:
    """The ways of the only function that was traced."""
    (pool,) = solver._program._pools.values()
    assert pool.ways is not None
    return pool.ways


def wait(solver: tfm.Minimizer) -> None:
    """Wait until XLA has compiled the function, which a solve has evaluated."""
    ways = ways_of(solver)
    while not ways.is_complete and (ways._job is None or not ways._job.has_ended):
        ways.attend()
        time.sleep(0.001)


def solve_until_settled(solver: tfm.Minimizer, **kwargs: Any) -> Any:
    """The result of the first solve by the way that has won."""
    while True:
        solver.minimize(**kwargs)
        if ways_of(solver).is_settled():
            return solver.minimize(**kwargs)
        wait(solver)


def losing_to_the_graph(x: tf.Tensor) -> tf.Tensor:
    """A loss with an inverse, which XLA computes many times slower."""
    distances = tf.square(x[:, tf.newaxis] - x)
    matrix = tf.exp(-distances) + 10.0 * tf.eye(len(x), dtype=x.dtype)
    return bowl(x) + 1e-3 * tf.linalg.trace(tf.linalg.inv(matrix))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["arrays", "variables"])
def test_machine_code_goes_on_where_it_is_faster(kind: str, dtype: str) -> None:
    if kind == "arrays":
        solver = tfm.Minimizer(rosenbrock, X0.astype(dtype), jit_compile="auto")
    else:
        v, w = tf.Variable(X0[:10], dtype=dtype), tf.Variable(X0[10:], dtype=dtype)
        solver = tfm.Minimizer(lambda: rosenbrock(tf.concat([v, w], 0)), [v, w], jit_compile="auto")
    first = solver.minimize()
    assert first.backend == "tfe"
    if kind == "variables":
        v.assign(X0[:10])
        w.assign(X0[10:])
    result = solve_until_settled(solver)
    assert result.backend == "xla"
    assert result.backend_reason.startswith("jit_compile is 'auto', and this was the fastest: machine code")
    assert "TensorFlow's graph" in result.backend_reason
    assert " µs" in result.backend_reason
    np.testing.assert_allclose(result.x, np.ones(20), atol=1e-4 if dtype == "float64" else 0.1)


def test_graph_goes_on_where_it_is_faster() -> None:
    solver = tfm.Minimizer(losing_to_the_graph, np.linspace(-1.0, 1.0, 150), jit_compile="auto")
    result = solve_until_settled(solver)
    assert result.backend == "tfe"
    assert "this was the fastest: TensorFlow's graph" in result.backend_reason
    assert "machine code in one thread" in result.backend_reason


def test_machine_code_takes_over_within_a_solve() -> None:
    solver = tfm.Minimizer(rosenbrock, X0, jit_compile="auto")
    evaluations = []

    def slow(intermediate_result: Any) -> None:
        evaluations.append(intermediate_result.fun)
        if len(evaluations) < 20:
            time.sleep(0.06)  # longer than the time between two polls
            if len(evaluations) > 3:
                wait(solver)

    result = solver.minimize(callback=slow)
    assert result.backend == "xla"
    assert result.timing["trace"] > 0.0
    np.testing.assert_allclose(result.x, np.ones(20), atol=1e-4)
    reference = tfm.minimize(rosenbrock, X0)
    assert abs(result.nit - reference.nit) <= 0.1 * reference.nit


def test_short_solve_is_that_of_the_graph() -> None:
    options = {"maxiter": 3}
    result = tfm.Minimizer(rosenbrock, X0, jit_compile="auto").minimize(options=options)
    reference = tfm.Minimizer(rosenbrock, X0, jit_compile=False).minimize(options=options)
    np.testing.assert_array_equal(result.x, reference.x)
    assert result.backend_reason.startswith("jit_compile is 'auto': TensorFlow's graph; XLA ")


CONSTRAINTS = [
    {"type": "ineq", "fun": lambda x: 4.0 - tf.reduce_sum(x**2)},
    {"type": "eq", "fun": lambda x: x[0] - x[1]},
]


@pytest.mark.parametrize(
    ("method", "constraints"),
    [("L-BFGS-B", ()), ("BFGS", ()), ("SLSQP", ()), ("SLSQP", CONSTRAINTS), ("trust-ncg", ()), ("Nelder-Mead", ())],
)
def test_each_method_takes_the_faster_way(method: str, constraints: Any) -> None:
    x0 = np.array([-1.2, 1.0, 0.5])
    solver = tfm.Minimizer(rosenbrock, x0, method=method, constraints=constraints, jit_compile="auto")
    reference = tfm.minimize(rosenbrock, x0, method=method, constraints=constraints)
    solver.minimize()
    for pool in solver._program._pools.values():
        while not pool.ways.is_complete:
            pool.ways.attend()
            time.sleep(0.001)
    result = [solver.minimize() for _ in range(10)][-1]
    assert result.backend == "xla"
    np.testing.assert_allclose(result.x, reference.x, atol=1e-3)
    assert result.success == reference.success


def test_batch_takes_the_faster_way() -> None:
    solver = tfm.Minimizer(lambda x, a: rosenbrock(x) + bowl(a * x), X0[:4], args=(1.0,), jit_compile="auto")
    starts, scales = np.random.default_rng(0).uniform(-2.0, 2.0, (50, 4)), np.linspace(0.5, 1.5, 50)
    reference = tfm.Minimizer(lambda x, a: rosenbrock(x) + bowl(a * x), X0[:4], args=(1.0,)).minimize_batch(
        starts, batched_args=scales
    )
    for _ in range(3):
        batch = solver.minimize_batch(starts, batched_args=scales, num_threads=2)
        np.testing.assert_allclose(batch.fun, reference.fun, rtol=1e-6, atol=1e-8)
        wait(solver)
    assert batch.backend == "xla"
    assert "jit_compile is 'auto'" in batch.backend_reason


def test_new_arguments_reach_all_ways() -> None:
    solver = tfm.Minimizer(lambda x, a: bowl(x - a), np.zeros(3), args=(np.zeros(3),), jit_compile="auto")
    for i in range(60):
        if i > 3:
            wait(solver)
        a = np.array([i, 2.0 * i, -i])
        np.testing.assert_allclose(solver.minimize(args=(a,)).x, a + 1.0, atol=1e-6)
    assert solver.minimize(args=(a,)).backend == "xla"


def test_other_variables_are_read_at_the_start_of_each_solve() -> None:
    target = tf.Variable(np.zeros(3))
    solver = tfm.Minimizer(lambda x: bowl(x - target), np.zeros(3), jit_compile="auto")
    for i in range(60):
        if i > 3:
            wait(solver)
        target.assign(np.full(3, float(i)))
        np.testing.assert_allclose(solver.minimize().x, np.full(3, i + 1.0), atol=1e-6)


def test_going_on_from_a_state() -> None:
    solver = tfm.Minimizer(rosenbrock, X0, jit_compile="auto")
    half = solver.minimize(options={"maxiter": 10})
    wait(solver)
    result = solver.minimize(state=half.state)
    assert result.success
    assert result.nit > 10
    np.testing.assert_allclose(result.x, np.ones(20), atol=1e-4)


def uses_python(x: tf.Tensor) -> tf.Tensor:
    return bowl(x) + tf.ensure_shape(tf.py_function(lambda y: 0.0 * y, [tf.stop_gradient(x[0])], x.dtype), [])


def prints(x: tf.Tensor) -> tf.Tensor:
    tf.print(x[0], output_stream="file:///dev/null")
    return bowl(x)


def draws_numbers(x: tf.Tensor) -> tf.Tensor:
    return bowl(x) + 0.0 * tf.random.uniform([], dtype=x.dtype)


def checks(x: tf.Tensor) -> tf.Tensor:
    tf.debugging.assert_less(x[0], tf.constant(100.0, x.dtype), "x is too large")
    return bowl(x)


def has_strings(x: tf.Tensor) -> tf.Tensor:
    return bowl(x) + 0.0 * tf.cast(tf.strings.length(tf.strings.as_string(x[0])), x.dtype)


@pytest.mark.filterwarnings("ignore:The loss or a constraint draws random numbers")
@pytest.mark.parametrize(
    ("fun", "reason"),
    [
        (uses_python, "(EagerPyFunc) of the function keeps its own state"),
        (prints, "(PrintV2) of the function keeps its own state"),
        (draws_numbers, "(RandomUniform) of the function keeps its own state"),
        (checks, "XLA would leave out the check"),
        (has_strings, "XLA cannot compile it"),
    ],
)
def test_function_that_xla_cannot_serve_stays_in_the_graph(fun: Any, reason: str) -> None:
    solver = tfm.Minimizer(fun, np.zeros(3), jit_compile="auto")
    result = solve_until_settled(solver)
    assert result.backend == "tfe"
    assert reason in result.backend_reason
    np.testing.assert_allclose(result.x, np.ones(3), atol=1e-6)


def test_failure_in_the_background_leaves_the_graph() -> None:
    solver = tfm.Minimizer(rosenbrock, X0, jit_compile="auto")
    with mock.patch.object(xla, "compile_functions", side_effect=OSError("the disk is full")):
        solver.minimize()
        result = solve_until_settled(solver)
    assert result.backend == "tfe"
    assert "OSError: the disk is full" in result.backend_reason


@pytest.mark.usefixtures("impatient")
def test_xla_through_tensorflow_is_a_way_without_machine_code() -> None:
    solver = tfm.Minimizer(rosenbrock, X0, jit_compile="auto")
    with mock.patch.object(xla, "compile_functions", side_effect=xla.NotCompiled("there is no _xla")):
        solver.minimize()
        result = solve_until_settled(solver)
    assert result.backend == "tfe"
    assert "XLA through TensorFlow (there is no _xla)" in result.backend_reason
    np.testing.assert_allclose(result.x, np.ones(20), atol=1e-4)


def powers(x: tf.Tensor) -> tf.Tensor:
    y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * x), [0, tf.ones_like(x)], maximum_iterations=3)[1]
    return bowl(x) + tf.reduce_sum(y**2)


def draws_noise(x: tf.Tensor) -> tf.Tensor:
    return bowl(x) + tf.random.uniform([], dtype=x.dtype)


@pytest.mark.usefixtures("impatient")
@pytest.mark.filterwarnings("ignore:The loss or a constraint draws random numbers")
@pytest.mark.parametrize(
    ("fun", "reason"),
    [
        (uses_python, "XLA cannot compile it"),
        (checks, "XLA would leave out the check"),
        (draws_noise, "XLA through TensorFlow (there is no _xla) is not used, because its results do not agree"),
    ],
)
def test_function_that_xla_cannot_serve_without_machine_code(
    monkeypatch: pytest.MonkeyPatch, fun: Any, reason: str
) -> None:
    monkeypatch.setattr(xla.binding, "xla", mock.Mock(side_effect=ImportError("there is no _xla")))
    result = solve_until_settled(tfm.Minimizer(fun, np.zeros(3), jit_compile="auto"))
    assert result.backend == "tfe"
    assert reason in result.backend_reason


@pytest.mark.usefixtures("impatient")
def test_function_with_a_loop_is_traced_again() -> None:
    solver = tfm.Minimizer(powers, np.full(3, 2.0), jit_compile="auto")
    solver.minimize()
    result = solve_until_settled(solver)
    assert "machine code" in result.backend_reason
    np.testing.assert_allclose(result.x, tfm.minimize(powers, np.full(3, 2.0)).x, atol=1e-6)


def test_tracing_again_waits_until_it_is_worth_it() -> None:
    solver = tfm.Minimizer(powers, np.full(3, 2.0), jit_compile="auto")
    for _ in range(3):
        result = solver.minimize()
    assert "XLA has not been tried yet" in result.backend_reason


@pytest.mark.usefixtures("impatient")
def test_function_that_has_changed_meanwhile_is_refused() -> None:
    shift = 0.0

    def fun(x: tf.Tensor) -> tf.Tensor:
        return powers(x - shift)

    solver = tfm.Minimizer(fun, np.full(3, 2.0), jit_compile="auto")
    expected = solver.minimize()
    shift = 5.0
    result = solve_until_settled(solver)
    assert result.backend == "tfe"
    assert "is not used, because its results do not agree with those of the graph" in result.backend_reason
    np.testing.assert_array_equal(result.x, expected.x)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("batch_size", [None, 300])
def test_loss_over_data_takes_blocks_or_batches(batch_size: int | None) -> None:
    random = np.random.default_rng(0)
    x, best = random.normal(size=(9000, 4)), np.array([1.0, -2.0, 0.5, 3.0])
    loss = tfm.DatasetLoss(
        lambda w, x, y: tf.reduce_mean((tf.linalg.matvec(x, w) - y) ** 2), (x, x @ best), batch_size=batch_size
    )
    solver = tfm.Minimizer(loss, np.zeros(4), jit_compile="auto")
    solver.minimize()
    result = solve_until_settled(solver)
    assert ("machine code for blocks of " if batch_size is None else "machine code for each batch") in (
        result.backend_reason
    )
    np.testing.assert_allclose(result.x, best, atol=1e-6)


def test_data_set_of_tensorflow_stays_in_the_graph() -> None:
    data = tf.data.Dataset.from_tensor_slices(np.arange(6.0)).batch(2)
    solver = tfm.Minimizer(tfm.DatasetLoss(lambda x, a: tf.reduce_mean((x - a) ** 2), data), 0.0, jit_compile="auto")
    result = solve_until_settled(solver)
    assert (result.backend, result.success) == ("tfe", True)
    assert "TensorFlow reads the tf.data.Dataset" in result.backend_reason


def test_many_threads_decide_once() -> None:
    solver = tfm.Minimizer(rosenbrock, X0, jit_compile="auto")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: solver.minimize(), range(100)))
        wait(solver)
        results += list(pool.map(lambda _: solver.minimize(), range(100)))
    for result in results:
        np.testing.assert_allclose(result.x, np.ones(20), atol=1e-4)
    assert results[-1].backend == "xla"
    assert len(ways_of(solver).ways) == 3


def test_a_solver_that_is_gone_leaves_nothing_behind() -> None:
    solver = tfm.Minimizer(lambda x: rosenbrock(x), X0, jit_compile="auto")
    for _ in range(3):
        solver.minimize()
    kept = weakref.ref(ways_of(solver))
    wait(solver)
    workspace = weakref.ref(next(iter(solver._program._pools.values())).free[0])
    del solver
    gc.collect()
    while kept() is not None:  # the thread in the background may still hold it
        time.sleep(0.001)
        gc.collect()
    assert workspace() is None


EXIT = """
import numpy as np, tensorflow as tf, tfminimize as tfm
from tfminimize._tf import xla
def fun(x):
    for i in range(30):
        x = tf.sin(x + float(i)) * tf.cumsum(x)
    return tf.reduce_sum(x ** 2)
solver = tfm.Minimizer(fun, np.ones(50), jit_compile="auto")
for _ in range(2):
    solver.minimize(options={"maxiter": 1})
(pool,) = solver._program._pools.values()
assert pool.ways._job is not None and not pool.ways._job.has_ended
print("compiling")
"""


def test_process_ends_while_xla_compiles() -> None:
    assert run_python("-c", EXIT) == "compiling\n"


@pytest.mark.parametrize(
    "call",
    [
        lambda: tfm.ops.minimize(bowl, np.zeros(2), jit_compile="auto"),
        lambda: tfm.math.minimize(lambda: bowl(tf.Variable([0.0])), 3, keras.optimizers.SGD(), jit_compile="auto"),
        lambda: tf.function(lambda x: tfm.minimize(bowl, x, jit_compile="auto").x)(tf.zeros(2)),
        lambda: tfm.hessian(bowl, np.zeros(2), jit_compile="auto"),
        lambda: tfm.compare(bowl, np.zeros(2), jit_compile="auto"),
    ],
)
def test_auto_is_refused_where_it_has_no_meaning(call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"jit_compile is 'auto', and .*: give True, False or None\."):
        call()
