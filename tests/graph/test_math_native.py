"""`tfm.math.minimize` with the native solvers as optimizers: a step is an iteration."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm

tf1 = tf.compat.v1

START = np.array([-1.2, 1.0])


def everything(q: tfm.math.MinimizeTraceableQuantities) -> Any:
    return q._asdict()


def way(method: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss and the iterate of each iteration of `tfm.minimize`."""
    losses, iterates = [], []

    def callback(intermediate_result: Any) -> None:
        losses.append(intermediate_result.fun)
        iterates.append(intermediate_result.x)

    tfm.minimize(rosenbrock, START, method=method, callback=callback, **options)
    return np.array(losses), np.array(iterates)


def disc(x: Any) -> tf.Tensor:
    return 1.0 - tf.reduce_sum(x**2)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("full_length", [True, False])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_steps_are_the_iterations_of_the_solver(method: str, full_length: bool, jit_compile: bool) -> None:
    x = tf.Variable(START)
    if method == "SLSQP":
        optimizer: Any = tfm.SLSQP(constraints={"type": "ineq", "fun": lambda: disc(x)})
        losses, iterates = way(method, constraints={"type": "ineq", "fun": disc})
    else:
        optimizer = tfm.BFGS() if method == "BFGS" else tfm.LBFGSB()
        losses, iterates = way(method)
    trace = tfm.math.minimize(
        lambda: rosenbrock(x),
        60,
        optimizer,
        trace_fn=lambda q: (everything(q), x),
        return_full_length_trace=full_length,
        jit_compile=jit_compile,
    )
    quantities, captured = trace
    nit = len(losses)
    assert quantities["loss"].shape == ((60,) if full_length else (nit,))
    kept = np.minimum(np.arange(60 if full_length else nit), nit - 1)
    np.testing.assert_array_equal(quantities["step"], kept)
    tolerance = 1e-6 if jit_compile else 1e-9  # XLA rounds differently
    np.testing.assert_allclose(quantities["loss"], losses[kept], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(captured, iterates[kept], rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(quantities["parameters"][0], captured)
    with tf.GradientTape() as tape:
        point = tf.constant(iterates[5])
        tape.watch(point)
        loss = rosenbrock(point)
    np.testing.assert_allclose(quantities["gradients"][0][5], tape.gradient(loss, point), rtol=1e-3)
    np.testing.assert_array_equal(x, captured[-1])
    assert not np.any(quantities["has_converged"])


def test_number_of_steps_is_the_limit() -> None:
    x = tf.Variable(START)
    losses = tfm.math.minimize(lambda: rosenbrock(x), 7, tfm.LBFGSB(), return_full_length_trace=False)
    np.testing.assert_allclose(losses, way("L-BFGS-B")[0][:7], rtol=1e-9)
    more = tfm.math.minimize(lambda: rosenbrock(x), 100, tfm.LBFGSB(), return_full_length_trace=False)
    assert more[0] < losses[-1]
    np.testing.assert_allclose(x, 1.0, rtol=1e-3)


def test_start_without_a_lower_loss_is_one_step() -> None:
    x = tf.Variable([1.0, 1.0])
    for full_length in (True, False):
        trace = tfm.math.minimize(
            lambda: rosenbrock(x), 3, tfm.LBFGSB(), trace_fn=everything, return_full_length_trace=full_length
        )
        np.testing.assert_array_equal(trace["loss"], np.zeros(3 if full_length else 1))
        np.testing.assert_array_equal(trace["parameters"][0][0], [1.0, 1.0])
        assert not np.any(trace["step"])


@pytest.mark.slow
@pytest.mark.parametrize("full_length", [True, False])
@pytest.mark.parametrize("optimizer", [tfm.LBFGSB(bounds=[(10, 11)]), tfm.SLSQP(bounds=[(10, 11)])])
def test_start_that_bounds_make_optimal_is_one_step(optimizer: Any, full_length: bool) -> None:
    x = tf.Variable(0.0)
    losses, path = tfm.math.minimize(
        lambda: (x - 4.0) ** 2,
        3,
        optimizer,
        trace_fn=lambda q: (q.loss, q.parameters[0]),
        return_full_length_trace=full_length,
    )
    np.testing.assert_array_equal(losses, np.full(3 if full_length else 1, 36.0))
    np.testing.assert_array_equal(path, np.full(losses.shape, 10.0))
    assert float(x) == 10.0


def steps_and_end(x: tf.Variable) -> Any:
    losses = tfm.math.minimize(lambda: rosenbrock(x), 50, tfm.LBFGSB())
    with tf.control_dependencies([losses]):
        return losses, tf.identity(x)


def test_graphs_and_sessions_give_what_eager_mode_gives() -> None:
    eager, inside = tf.Variable(START), tf.Variable(START)
    results = [steps_and_end(eager), tf.function(steps_and_end)(inside)]
    with tf.Graph().as_default(), tf1.Session() as session:
        fetches = steps_and_end(tf.Variable(START))
        session.run(tf1.global_variables_initializer())
        results.append(session.run(fetches))
    for losses, x in results:
        np.testing.assert_array_equal(losses, results[0][0])
        np.testing.assert_array_equal(x, eager)


def test_fetching_a_tensor_that_depends_on_the_trace_runs_the_steps() -> None:
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf.Variable(0.0)
        losses = tfm.math.minimize(lambda: (x - 5.0) ** 2, 10, tfm.LBFGSB())
        last = losses[-1] + 1.0
        session.run(tf1.global_variables_initializer())
        assert session.run(x) == 0.0
        assert session.run(last) == 1.0
        assert session.run(x) == 5.0


def test_criterion_ends_the_steps(tensorflow_probability: ModuleType) -> None:
    x = tf.Variable(START)
    criterion = tensorflow_probability.optimizer.convergence_criteria.LossNotDecreasing(atol=0.5, min_num_steps=5)
    trace = tfm.math.minimize(
        lambda: rosenbrock(x),
        60,
        tfm.LBFGSB(),
        convergence_criterion=criterion,
        trace_fn=everything,
        return_full_length_trace=False,
    )
    losses, iterates = way("L-BFGS-B")
    taken = len(trace["loss"])
    assert 5 <= taken < len(losses)
    np.testing.assert_array_equal(trace["has_converged"], [*[False] * (taken - 1), True])
    np.testing.assert_allclose(x, iterates[taken - 1], rtol=1e-9)

    # Apply the criterion to the losses, from the start.
    start = tf.constant(float(rosenbrock(tf.constant(START))), tf.float64)
    state = criterion.bootstrap(start, None, [])
    for i, loss in enumerate(losses[:taken], start=1):
        converged, state = criterion.one_step(tf.constant(i), tf.constant(loss, tf.float64), None, [], state)
        np.testing.assert_allclose(trace["convergence_criterion_state"][0][i - 1], state[0], rtol=1e-9)
        assert bool(converged) == (i == taken)


def test_reduction_is_called_after_each_step() -> None:
    x = tf.Variable(START)
    losses = tfm.math.minimize(
        lambda: rosenbrock(x),
        60,
        tfm.LBFGSB(),
        batch_convergence_reduce_fn=lambda _: x[0] > 0.0,
        return_full_length_trace=False,
    )
    losses_there, iterates = way("L-BFGS-B")
    first = int(np.argmax(iterates[:, 0] > 0.0))
    np.testing.assert_allclose(losses, losses_there[: first + 1], rtol=1e-9)


def test_bounds_of_several_variables() -> None:
    a, b = tf.Variable([3.0, 3.0]), tf.Variable(2.0, dtype=tf.float64)

    def loss_fn() -> tf.Tensor:
        return tf.cast(tf.reduce_sum(a**2), tf.float64) + b**2

    _, path = tfm.math.minimize(
        loss_fn,
        20,
        tfm.LBFGSB(bounds={a.ref(): ([1.0, 2.0], None)}),
        trainable_variables=[b, a],
        trace_fn=lambda loss, grads, variables: (grads, variables[1]),
    )
    assert np.all(path.numpy() >= [1.0, 2.0])
    np.testing.assert_allclose(a, [1.0, 2.0])
    np.testing.assert_allclose(b, 0.0, atol=1e-5)


def test_traces_have_the_dtypes_of_the_loss_and_the_variables() -> None:
    single, double = tf.Variable([1.0, 2.0]), tf.Variable([1.0], dtype=tf.float64)
    trace = tfm.math.minimize(
        lambda: tf.reduce_sum(single**2) + tf.cast(tf.reduce_sum(double**2), tf.float32),
        3,
        tfm.LBFGSB(),
        trace_fn=lambda q: (q.loss, q.gradients, q.parameters),
    )
    assert [t.dtype for t in tf.nest.flatten(trace)] == [tf.float32, *[tf.float32, tf.float64] * 2]


def test_only_the_given_variables_move() -> None:
    x, y = tf.Variable(1.0), tf.Variable(2.0)
    tfm.math.minimize(lambda: (x - y) ** 2, 10, tfm.LBFGSB(), trainable_variables=[x])
    assert (float(x), float(y)) == (2.0, 2.0)


def test_keras_model_is_trained() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    inputs = tf.constant(np.random.default_rng(0).normal(size=(50, 2)), tf.float32)
    targets = tf.sin(inputs[:, :1]) * inputs[:, 1:]
    losses = tfm.math.minimize(
        lambda: tf.reduce_mean((model(inputs) - targets) ** 2),
        100,
        tfm.LBFGSB(),
        trainable_variables=model.trainable_variables,
    )
    assert np.all(np.diff(losses) <= 0.0)
    assert losses[-1] < 0.1 * losses[0]


def test_two_runs_in_one_function() -> None:
    x = tf.Variable(START)

    @tf.function
    def run() -> Any:
        first = tfm.math.minimize(lambda: rosenbrock(x), 5, tfm.LBFGSB())
        second = tfm.math.minimize(lambda: rosenbrock(x), 60, tfm.LBFGSB())
        return first, second, x.read_value()

    for _ in range(2):
        x.assign(START)
        first, second, end = run()
        np.testing.assert_allclose(first, way("L-BFGS-B")[0][:5], rtol=1e-9)
        assert second[0] < first[-1]
        np.testing.assert_array_equal(end, x)


def test_loop_in_a_graph_with_its_tensors() -> None:
    x = tf.Variable([0.0, 0.0], dtype=tf.float64)

    @tf.function
    def run(targets: tf.Tensor) -> tf.Tensor:
        ends = tf.TensorArray(tf.float64, 3)
        for i in tf.range(3):
            x.assign([9.0, 9.0])
            losses = tfm.math.minimize(
                lambda i=i: tf.reduce_sum((x - targets[i]) ** 2), 20, tfm.LBFGSB(), trace_fn=lambda q: q.loss + x[0]
            )
            ends = ends.write(i, losses[-1])
        return ends.stack()

    np.testing.assert_allclose(run(tf.constant([1.0, 2.0, 3.0], tf.float64)), [1.0, 2.0, 3.0], rtol=1e-6)


@pytest.mark.usefixtures("functions_run_eagerly")
def test_run_functions_eagerly_changes_nothing() -> None:
    x = tf.Variable(START)
    losses = tfm.math.minimize(lambda: rosenbrock(x), 50, tfm.LBFGSB())
    assert losses.shape == (50,)
    np.testing.assert_allclose(x, 1.0, rtol=1e-4)


def test_error_in_the_trace_function_leaves_the_variables() -> None:
    x = tf.Variable(START)

    def trace_fn(q: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(q.step, 3, message="three steps are enough")]):
            return tf.identity(q.loss)

    with pytest.raises(tf.errors.InvalidArgumentError, match="three steps are enough"):
        tfm.math.minimize(lambda: rosenbrock(x), 50, tfm.LBFGSB(), trace_fn=trace_fn)
    np.testing.assert_array_equal(x, START)


def test_repr_of_an_optimizer_shows_its_arguments() -> None:
    assert repr(tfm.LBFGSB(bounds=(0, 1), maxcor=5)).startswith(
        "LBFGSB(bounds=(0, 1), maxcor=5, storage='float64', ftol="
    )
    assert repr(tfm.LBFGSB(bounds=np.array([[0, 1], [2, 3]]))).startswith("LBFGSB(bounds=array([[0, 1],")
    assert repr(tfm.LBFGSB(maxfun=9)).endswith("maxls=20, maxfun=9)")
    assert repr(tfm.SLSQP()) == "SLSQP(ftol=1e-06)"
    shown = "BFGS(update='dfp', gtol=1e-05, xrtol=0.0, c1=0.0001, c2=0.9, initial_scale=False)"
    assert repr(tfm.BFGS(update="dfp")) == shown


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfm.LBFGSB(maxcor=0), "maxcor is 0: give an integer"),
        (lambda: tfm.LBFGSB(ftol=-1.0), "ftol is -1.0"),
        (lambda: tfm.LBFGSB(maxfun=float("nan")), "maxfun is nan"),
        (lambda: tfm.SLSQP(ftol="small"), "ftol is 'small'"),
        (lambda: tfm.BFGS(update="sr1"), "update is 'sr1': give one of 'bfgs', 'dfp'"),
        (lambda: tfm.BFGS(c1=0.5, c2=0.1), "'c1' and 'c2' are 0.5 and 0.1: give numbers with 0 < c1 < c2 < 1"),
        (lambda: tfm.BFGS(norm=0), "norm is 0: give the order of a norm"),
    ],
)
def test_options_are_checked_by_the_constructor(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": tfm.LBFGSB}, "optimizer is the class LBFGSB: give tfminimize.LBFGSB()"),
        ({"loss_fn": lambda: None}, "loss_fn returned None"),
        ({"loss_fn": lambda: tf.zeros(3)}, r"the loss has shape \(3,\), not that of a scalar"),
        ({"loss_fn": lambda: tf.constant(1.0), "trainable_variables": None}, "does not depend on a variable"),
        ({"loss_fn": lambda: tf.constant(1.0)}, "does not depend on variable 'x:0'"),
        ({"optimizer": tfm.LBFGSB(bounds=[(0, 1), (0, 1)])}, "bounds"),
        ({"trainable_variables": [tf.Variable(1)]}, "leave it out of trainable_variables"),
        ({"trace_fn": lambda q: (q.loss, None)}, r"trace_fn returned \(<tf.Tensor.*, None\): return tensors"),
        ({"trace_fn": lambda q: tf.range(q.step)}, r"shape \(None,\), which is not static"),
        ({"batch_convergence_reduce_fn": lambda t: tf.stack([t, t])}, r"of shape \(2,\): return a scalar"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    x = tf.Variable(START, name="x")
    arguments: dict[str, Any] = {
        "loss_fn": lambda: rosenbrock(x),
        "num_steps": 3,
        "optimizer": tfm.LBFGSB(),
        "trainable_variables": [x],
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        tfm.math.minimize(**arguments)
    np.testing.assert_array_equal(x, START)


def test_half_precision_variables_are_refused() -> None:
    x = tf.Variable([1.0], dtype=tf.float16, name="x")
    with pytest.raises(ValueError, match="variable 'x:0' has dtype float16"):
        tfm.math.minimize(lambda: tf.reduce_sum(tf.cast(x, tf.float32) ** 2), 3, tfm.LBFGSB())
