"""`tfm.math.minimize` gives the traces of `tfp.math.minimize` with the same optimizers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

tf1 = tf.compat.v1


class Descent:
    """A user-defined optimizer; TensorFlow Probability needs the returned operation."""

    def apply_gradients(self, grads_and_vars: Any) -> tf.Operation:
        return tf.group(*[variable.assign_sub(0.1 * gradient) for gradient, variable in grads_and_vars])


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "keras-adam": lambda: keras.optimizers.Adam(0.1),
    "keras-sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "v1-adam": lambda: tf1.train.AdamOptimizer(0.1),
    "v1-descent": lambda: tf1.train.GradientDescentOptimizer(0.1),
    "own": Descent,
}

Minimize = Callable[..., Any]


def in_eager_mode(minimize: Minimize, build: Callable[[], Any], **options: Any) -> Any:
    loss_fn, trace_fn, optimizer = build()
    return tf.nest.map_structure(np.asarray, minimize(loss_fn, optimizer=optimizer, trace_fn=trace_fn, **options))


def in_function(minimize: Minimize, build: Callable[[], Any], **options: Any) -> Any:
    loss_fn, trace_fn, optimizer = build()
    run = tf.function(lambda: minimize(loss_fn, optimizer=optimizer, trace_fn=trace_fn, **options))
    return tf.nest.map_structure(np.asarray, run())


def in_session(minimize: Minimize, build: Callable[[], Any], **options: Any) -> Any:
    with tf.Graph().as_default(), tf1.Session() as session:
        loss_fn, trace_fn, optimizer = build()
        trace = minimize(loss_fn, optimizer=optimizer, trace_fn=trace_fn, **options)
        session.run(tf1.global_variables_initializer())
        return session.run(trace)


MODES = {"eager": in_eager_mode, "function": in_function, "session": in_session}


def assert_same(actual: Any, expected: Any) -> None:
    tf.nest.assert_same_structure(actual, expected, check_types=False)
    for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_array_equal(a, e)


def two_variables(make_optimizer: Callable[[], Any]) -> Any:
    """Trace every quantity for a loss of a matrix and a vector of different dtypes."""
    a = tf.Variable([[1.0, 2.0], [3.0, -1.0]], name="a")
    b = tf.Variable([0.5, -0.5], dtype=tf.float64, name="b")

    def loss_fn() -> tf.Tensor:
        wide = tf.cast(a, tf.float64)
        return tf.reduce_sum((tf.linalg.matvec(wide, b) - [1.0, 2.0]) ** 2) + 0.1 * tf.reduce_sum(wide**2)

    def trace_fn(q: Any) -> Any:
        return {
            "step": q.step,
            "loss": q.loss,
            "gradients": q.gradients,
            "parameters": q.parameters,
            "converged": q.has_converged,
            "state": q.convergence_criterion_state,
            "captured": (a, tf.reduce_sum(b)),
        }

    return loss_fn, trace_fn, make_optimizer()


# TensorFlow Probability cannot use Keras 3 in a session.
PAIRS = [(name, mode) for name in OPTIMIZERS for mode in MODES if mode != "session" or not name.startswith("keras")]
FEW_STEPS = [
    pytest.param(*pair, n, marks=() if pair[0] == "own" else pytest.mark.weekly) for pair in PAIRS for n in (1, 2)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode", "num_steps"), [*((*pair, 25) for pair in PAIRS), *FEW_STEPS])
def test_traces_are_those_of_tensorflow_probability(
    tensorflow_probability: ModuleType, name: str, mode: str, num_steps: int
) -> None:
    run = MODES[mode]
    actual, expected = (
        run(minimize, lambda: two_variables(OPTIMIZERS[name]), num_steps=num_steps)
        for minimize in (tfm.math.minimize, tensorflow_probability.math.minimize)
    )
    captured, theirs = actual.pop("captured"), expected.pop("captured")
    np.testing.assert_array_equal(captured[0], actual["parameters"][0])
    if mode != "session":  # there it may read a variable before or after its update
        assert_same(captured, theirs)
    assert_same(actual, expected)
    assert actual["loss"].shape == (num_steps,)


def test_keras_optimizer_works_in_a_session() -> None:
    build = lambda: two_variables(OPTIMIZERS["keras-adam"])  # noqa: E731
    assert_same(*[run(tfm.math.minimize, build, num_steps=10) for run in (in_session, in_eager_mode)])


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_traces_under_xla_are_those_of_tensorflow_probability(tensorflow_probability: ModuleType, name: str) -> None:
    actual, expected = (
        in_eager_mode(minimize, lambda: two_variables(OPTIMIZERS[name]), num_steps=10, jit_compile=True)
        for minimize in (tfm.math.minimize, tensorflow_probability.math.minimize)
    )
    for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-6)  # XLA compiles two programs, which round differently


def batch(make_optimizer: Callable[[], Any]) -> Any:
    """A batch of losses that converge at different steps."""
    x = tf.Variable([0.0, 0.0, 0.0])

    def trace_fn(q: Any) -> Any:
        return q.loss, q.has_converged, q.convergence_criterion_state, q.parameters, x

    return lambda: (x - [5.0, 1.0, 2.0]) ** 2, trace_fn, make_optimizer()


REDUCTIONS: dict[str, Callable[[tf.Tensor], Any]] = {
    "all": tf.reduce_all,
    "any": tf.reduce_any,
    "most": lambda x: tf.reduce_mean(tf.cast(x, tf.float32)) > 0.5,
}


CONVERGENCES = list(itertools.product(REDUCTIONS, [True, False], [False, True]))
EACH_ONCE = [("all", True, False), ("any", False, False), ("most", True, True), ("all", False, True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reduction", "full_length", "jit_compile"),
    [pytest.param(*c, marks=() if c in EACH_ONCE else pytest.mark.weekly) for c in CONVERGENCES],
)
def test_convergence_is_that_of_tensorflow_probability(
    tensorflow_probability: ModuleType, reduction: str, full_length: bool, jit_compile: bool
) -> None:
    criterion = tensorflow_probability.optimizer.convergence_criteria.LossNotDecreasing(atol=0.01)
    actual, expected = (
        in_eager_mode(
            minimize,
            lambda: batch(OPTIMIZERS["v1-adam"]),
            num_steps=200,
            convergence_criterion=criterion,
            batch_convergence_reduce_fn=REDUCTIONS[reduction],
            return_full_length_trace=full_length,
            jit_compile=jit_compile,
        )
        for minimize in (tfm.math.minimize, tensorflow_probability.math.minimize)
    )
    if jit_compile:
        for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-7)
    else:
        assert_same(actual, expected)
    assert (len(actual[0]) == 200) is full_length


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_criterion_that_keeps_structured_state(tensorflow_probability: ModuleType, mode: str) -> None:
    def build() -> Any:
        x = tf.Variable([3.0, 3.0])
        noise = tf.constant(np.random.default_rng(0).normal(size=(500, 2)), tf.float32)
        count = tf.Variable(0, trainable=False)

        def loss_fn() -> tf.Tensor:
            return tf.reduce_sum((x - noise[count.assign_add(1) % 500]) ** 2)

        return loss_fn, lambda q: (q.loss, q.convergence_criterion_state, q.has_converged), Descent()

    traces = []
    for minimize in (tfm.math.minimize, tensorflow_probability.math.minimize):

        def run(loss_fn: Any, minimize: Minimize = minimize, **options: Any) -> Any:
            criteria = tensorflow_probability.optimizer.convergence_criteria
            criterion = criteria.SuccessiveGradientsAreUncorrelated(window_size=10, min_num_steps=10)
            return minimize(loss_fn, convergence_criterion=criterion, return_full_length_trace=False, **options)

        traces.append(MODES[mode](run, build, num_steps=300))
    assert_same(*traces)
    assert 10 <= len(traces[0][0]) < 300


def test_reduction_is_called_without_a_criterion(tensorflow_probability: ModuleType) -> None:
    actual, expected = (
        in_eager_mode(
            minimize,
            lambda: batch(Descent),
            num_steps=5,
            batch_convergence_reduce_fn=lambda _: tf.constant(True),
            return_full_length_trace=False,
        )
        for minimize in (tfm.math.minimize, tensorflow_probability.math.minimize)
    )
    assert_same(actual, expected)
    assert len(actual[0]) == 1


def test_trace_function_of_three_arguments() -> None:
    x = tf.Variable([1.0, 2.0])
    y = tf.Variable(3.0)
    loss, grads, variables, captured = tfm.math.minimize(
        lambda: tf.reduce_sum(x**2) + y**2,
        num_steps=4,
        optimizer=Descent(),
        trainable_variables=[y, x],
        trace_fn=lambda loss, grads, variables: (loss, grads, variables, x),
    )
    assert loss.shape == (4,)
    assert [t.shape for t in grads] == [(4,), (4, 2)]
    np.testing.assert_array_equal(variables[1], captured)
    np.testing.assert_allclose(variables[0], 3.0 * 0.8 ** np.arange(1, 5), rtol=1e-6)
    np.testing.assert_allclose(grads[1], 2.0 * np.outer(0.8 ** np.arange(4), [1.0, 2.0]), rtol=1e-6)


@pytest.mark.slow
def test_trace_functions_are_told_apart_by_their_required_arguments() -> None:
    def trace(trace_fn: Any) -> Any:
        x = tf.Variable(1.0)
        return tfm.math.minimize(lambda: x**2, 2, Descent(), trace_fn=trace_fn)

    class Method:
        def old(self, loss: Any, grads: Any, variables: Any) -> Any:
            return loss, grads, variables

        def __call__(self, q: Any, scale: float = 2.0) -> Any:
            return q.loss * scale

    assert len(trace(Method().old)) == 3
    np.testing.assert_allclose(trace(Method()), [2.0, 1.28])
    np.testing.assert_allclose(trace(lambda loss, grads, variables, scale=3.0: loss * scale), [3.0, 1.92])
    np.testing.assert_allclose(trace(lambda *args: args[0].loss), [1.0, 0.64])
    assert set(trace(lambda q: q._asdict())) == set(tfm.math.MinimizeTraceableQuantities._fields)


def test_default_is_the_loss_and_all_variables_that_it_reads() -> None:
    x, y, unread = tf.Variable(1.0), tf.Variable(2.0), tf.Variable(3.0)
    frozen = tf.Variable(4.0, trainable=False)
    losses = tfm.math.minimize(lambda: x**2 + y**2 + frozen, 3, Descent())
    np.testing.assert_allclose(losses, 4.0 + 5.0 * 0.64 ** np.arange(3), rtol=1e-6)
    assert (float(unread), float(frozen)) == (3.0, 4.0)


def test_keras_variables_and_models_are_trained() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    inputs = tf.constant([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    losses, kernels = tfm.math.minimize(
        lambda: tf.reduce_mean((model(inputs) - [[1.0], [2.0], [3.0]]) ** 2),
        200,
        keras.optimizers.Adam(0.1),
        trainable_variables=model.trainable_variables,
        trace_fn=lambda q: (q.loss, q.parameters[0]),
    )
    assert losses[-1] < 1e-3
    np.testing.assert_array_equal(kernels[-1], model.trainable_variables[0])


def test_sparse_gradients_are_traced_dense() -> None:
    table = tf.Variable(tf.ones([5, 2]))
    (gradients,) = tfm.math.minimize(
        lambda: tf.reduce_sum((tf.gather(table, [1, 3]) - 3.0) ** 2),
        5,
        tf1.train.AdamOptimizer(0.1),
        trace_fn=lambda q: q.gradients,
    )
    assert gradients.shape == (5, 5, 2)
    assert not np.any(gradients.numpy()[:, [0, 2, 4]])


def test_loss_function_is_converted_by_autograph() -> None:
    x = tf.Variable(-3.0)

    def loss_fn() -> tf.Tensor:
        if x < 0.0:
            return -x
        return x**2

    assert float(tfm.math.minimize(loss_fn, 100, Descent())[-1]) < 0.2


def test_optimizer_continues_from_its_state() -> None:
    x, y = tf.Variable(1.0), tf.Variable(1.0)
    halves, whole = keras.optimizers.Adam(0.1), keras.optimizers.Adam(0.1)
    first = tfm.math.minimize(lambda: x**2, 5, halves)
    second = tfm.math.minimize(lambda: x**2, 5, halves)
    np.testing.assert_array_equal(np.concatenate([first, second]), tfm.math.minimize(lambda: y**2, 10, whole))


def test_tensors_of_the_function_outside_are_read() -> None:
    x = tf.Variable(0.0)

    @tf.function
    def fit(target: tf.Tensor) -> Any:
        trace = tfm.math.minimize(lambda: (x - target) ** 2, 50, Descent(), trace_fn=lambda q: q.loss * target)
        return trace, x.read_value()

    for target in (3.0, -2.0):
        x.assign(0.0)
        trace, end = fit(tf.constant(target))
        np.testing.assert_allclose(end, target, rtol=1e-3)
        np.testing.assert_allclose(trace[0], target**3)


def test_inside_a_function_compiled_by_xla() -> None:
    x, y = tf.Variable(0.0), tf.Variable(0.0)
    compiled = tf.function(lambda: tfm.math.minimize(lambda: (x - 5.0) ** 2, 20, Descent()), jit_compile=True)
    np.testing.assert_allclose(compiled(), tfm.math.minimize(lambda: (y - 5.0) ** 2, 20, Descent()), rtol=1e-6)
    np.testing.assert_allclose(x, y, rtol=1e-6)


@pytest.mark.usefixtures("functions_run_eagerly")
def test_run_functions_eagerly_lets_all_functions_see_values() -> None:
    x = tf.Variable(1.0)
    seen: list[float] = []
    losses = tfm.math.minimize(
        lambda: x**2, 3, Descent(), trace_fn=lambda q: seen.append(float(q.loss)) or q.loss.numpy()
    )
    np.testing.assert_array_equal(losses, np.float32(seen))


@pytest.mark.slow
def test_calls_in_a_row_do_not_warn_of_retracing(caplog: pytest.LogCaptureFixture) -> None:
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        for optimizer in (*[Descent()] * 8, *[tfm.LBFGSB()] * 8):
            x = tf.Variable(1.0)
            tfm.math.minimize(lambda x=x: x**2, 3, optimizer)
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.records


def test_operations_are_named() -> None:
    with tf.Graph().as_default():
        x = tf.Variable(1.0)
        assert tfm.math.minimize(lambda: x**2, 3, Descent(), name="fit").name.startswith("fit/")


def test_error_in_the_loss_comes_through_and_stops_the_steps() -> None:
    x = tf.Variable(1.0)

    def loss_fn() -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_greater(x, 0.7, message="x has become small")]):
            return x**2

    with pytest.raises(tf.errors.InvalidArgumentError, match="x has become small"):
        tfm.math.minimize(loss_fn, 10, Descent())
    assert float(x) == pytest.approx(0.64)


def test_variable_that_the_loss_does_not_depend_on_keeps_its_value() -> None:
    x, y = tf.Variable(1.0), tf.Variable(2.0, name="y")
    with pytest.warns(UserWarning, match="does not depend on variable 'y:0'"):
        _, zeros = tfm.math.minimize(
            lambda: x**2, 3, Descent(), trainable_variables=[x, y], trace_fn=lambda q: q.gradients
        )
    np.testing.assert_array_equal(zeros, 0.0)
    assert float(y) == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_fn": 3.0}, "loss_fn is 3.0: give a function"),
        ({"loss_fn": lambda: None}, "loss_fn returned None"),
        ({"loss_fn": lambda: tf.constant(1)}, "the loss has dtype int32"),
        ({"loss_fn": lambda: (1.0, "a")}, "which is not a tensor"),
        ({"loss_fn": lambda: tf.constant(1.0)}, "does not depend on a variable"),
        ({"num_steps": 0}, "num_steps is 0: give an integer, 1 or greater"),
        ({"num_steps": 2.5}, "num_steps is 2.5"),
        ({"num_steps": True}, "num_steps is True"),
        ({"optimizer": "adam"}, "optimizer is 'adam': give .* an object with apply_gradients"),
        ({"optimizer": Descent}, "optimizer is the class Descent"),
        ({"trainable_variables": []}, "trainable_variables is empty"),
        ({"trainable_variables": [1.0]}, r"holds 1.0 \(leaf 0\), which is not a variable"),
        ({"trace_fn": None}, "trace_fn is None"),
        ({"trace_fn": lambda q: None}, "trace_fn returned None: return tensors"),
        (
            {"convergence_criterion": 3},
            "convergence_criterion is 3: give None, or an object with bootstrap",
        ),
        ({"batch_convergence_reduce_fn": None}, "batch_convergence_reduce_fn is None: give a function"),
        ({"batch_convergence_reduce_fn": lambda t: tf.stack([t, t])}, r"of shape \(2,\): return a scalar"),
        ({"trace_fn": lambda a, b: a}, r"trace_fn has the arguments \(a, b\)"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    x = tf.Variable(1.0)
    arguments: dict[str, Any] = {"loss_fn": lambda: x**2, "num_steps": 3, "optimizer": Descent(), **changes}
    with pytest.raises(ValueError, match=message):
        tfm.math.minimize(**arguments)
    assert float(x) == 1.0


def test_variable_given_twice_is_refused() -> None:
    x = tf.Variable(1.0, name="x")
    with pytest.raises(ValueError, match="variable 'x:0' is in trainable_variables twice"):
        tfm.math.minimize(lambda: x**2, 3, Descent(), trainable_variables=[x, x])


def test_symbolic_number_of_steps_is_refused() -> None:
    x = tf.Variable(1.0)
    with pytest.raises(ValueError, match="num_steps is the symbolic tensor"):
        tf.function(lambda n: tfm.math.minimize(lambda: x**2, n, Descent()))(tf.constant(3))


@pytest.mark.slow
@pytest.mark.parametrize("example", ["math_minimize"], indirect=True)
@pytest.mark.parametrize(
    "make_optimizer",
    [lambda: keras.optimizers.Adam(0.1), lambda: tf1.train.AdamOptimizer(0.1), tfm.LBFGSB, tfm.SLSQP, tfm.BFGS],
    ids=["keras", "v1", "lbfgsb", "slsqp", "bfgs"],
)
def test_examples_of_tensorflow_probability_give_the_documented_results(
    example: ModuleType, make_optimizer: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    x, losses = example.scalar_function(make_optimizer)
    assert losses.shape == (100,)
    assert float(x) == pytest.approx(5.0, abs=0.05)
    assert losses[-1] < 0.01
    assert f"optimized value is {x.numpy()} with loss {losses[-1]}" in capsys.readouterr().out
    for solve in (example.in_function, example.in_session):
        np.testing.assert_allclose(solve(make_optimizer), x, rtol=1e-6)
    for solve in (example.with_trace, example.with_trace_in_function):
        trace = solve(make_optimizer)
        assert trace["loss"].shape == trace["x"].shape == (100,)
        np.testing.assert_allclose(trace["loss"], losses, rtol=1e-5, atol=1e-10)
        np.testing.assert_allclose(trace["x"][-1], x, rtol=1e-6)
