"""`ops.minimize_batch`: many problems as one operation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interpreter import run_program
from problems import rosenbrock

import tfminimize as tfm

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(7, 3))


def squared(x: Any, point: Any) -> Any:
    return tf.reduce_sum((x - point) ** 2)


def solved(fun: Any, *args: Any, **options: Any) -> Any:
    return tf.function(lambda: tfm.ops.minimize_batch(fun, *args, **options), autograph=False)()


def shifted(x: Any, scale: Any, shift: Any) -> Any:
    return scale * rosenbrock(x - shift["by"])


SHIFTS = ({"by": RNG.normal(size=(7, 3))},)
METHODS: dict[str, dict[str, Any]] = {
    "L-BFGS-B": {"bounds": (-0.5, 2.0)},
    "BFGS": {},
    "SLSQP": {
        "bounds": [(None, 1.0)] * 3,
        "constraints": [
            {"type": "eq", "fun": lambda x: x[0] + x[1] - 0.5},
            {"type": "ineq", "fun": lambda x, r: r - tf.reduce_sum(x**2), "args": (np.float64(2.0),)},
            scipy.optimize.LinearConstraint([[0.0, 1.0, 1.0]], -1.0, 1.0),
        ],
    },
}


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("method", METHODS)
def test_each_row_is_what_minimize_finds(method: str, jit_compile: bool) -> None:
    starts = RNG.normal(size=(7, 3))
    options = {"method": method, "jit_compile": jit_compile, **METHODS[method]}
    batch = solved(shifted, starts, (np.float64(2.0),), SHIFTS, **options)
    one = tf.function(lambda x0, by: tfm.ops.minimize(shifted, x0, (np.float64(2.0), {"by": by}), **options))
    assert batch.backend == (b"xla" if jit_compile else b"tensorflow")
    for i, start in enumerate(starts):
        expected = one(tf.constant(start), tf.constant(SHIFTS[0]["by"][i]))
        for name in ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "constr_violation"):
            np.testing.assert_array_equal(getattr(batch, name)[i], getattr(expected, name), err_msg=name)
        if method == "SLSQP":
            np.testing.assert_array_equal(batch.multipliers[i], expected.multipliers)
    assert (batch.multipliers is None) == (method != "SLSQP")


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    starts = RNG.normal(size=(20, 4))
    by_threads = [solved(rosenbrock, starts, num_threads=k, jit_compile=True).x for k in (1, 3, 64)]
    for x in by_threads[1:]:
        np.testing.assert_array_equal(x, by_threads[0])


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_structures_float32_and_one_start_for_all(jit_compile: bool) -> None:
    x0s = {"a": np.zeros((1, 2, 2), np.float32), "b": np.zeros((1,), np.float32)}
    data = {"m": RNG.normal(size=(5, 2, 2)).astype(np.float32), "s": np.arange(5, dtype=np.int32)}

    def fun(x: Any, shared: Any, data: Any) -> Any:
        s = tf.cast(data["s"], tf.float32)
        return tf.reduce_sum((x["a"] - shared * data["m"]) ** 2) + (x["b"] - s) ** 2

    result = solved(fun, x0s, (2.0,), (data,), jit_compile=jit_compile)
    assert {leaf.dtype for leaf in tf.nest.flatten((result.x, result.jac))} == {tf.float32}
    assert result.x["a"].shape == (5, 2, 2)
    np.testing.assert_allclose(result.x["a"], 2 * data["m"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.x["b"], data["s"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.fun, np.zeros(5), atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("count", [0, pytest.param(1, marks=pytest.mark.weekly), 6])
def test_number_of_problems_that_only_the_graph_knows(count: int, jit_compile: bool) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float64)])
    def project(points: Any) -> Any:
        constraint = {"type": "eq", "fun": lambda x, k, p: x[0] - k * p[0], "args": (1.0,)}
        result = tfm.ops.minimize_batch(
            squared,
            np.zeros((1, 3)),
            batched_args=(points,),
            method="SLSQP",
            constraints=constraint,
            batched_constraints_args=(points,),
            bounds=(-0.5, 9.0),
            options={"ftol": 1e-16},
            jit_compile=jit_compile,
        )
        return result, tf.gradients(result.x, points)

    assert project.get_concrete_function().structured_outputs[0].x.shape.as_list() == [None, 3]
    points = np.abs(RNG.normal(size=(count, 3)))
    result, (by_points,) = project(points)
    np.testing.assert_allclose(result.x, points, atol=1e-7)
    np.testing.assert_allclose(by_points, np.ones((count, 3)), atol=1e-9)
    assert result.status.shape == result.fun.shape == result.nit.shape == (count,)
    assert result.multipliers.shape == (count, 1)
    assert result.backend == (b"none" if count == 0 else b"xla" if jit_compile else b"tensorflow")
    if count == 0:
        assert result.backend_reason == b"there are no problems"


def test_new_numbers_of_problems_do_not_compile_again() -> None:
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float64)])
    def project(points: Any) -> Any:
        def fun(x: Any, point: Any) -> Any:
            traces.append(1)
            return squared(x, point)

        return tfm.ops.minimize_batch(fun, np.zeros((1, 3)), batched_args=(points,), jit_compile=True).x

    project(POINTS)
    count = len(traces)
    for k in (1, 3, 6):
        np.testing.assert_allclose(project(POINTS[:k]), POINTS[:k], atol=1e-7)
    assert len(traces) == count


LOW, HIGH = np.array([-1.0, 0.0, -np.inf]), np.array([0.0, 0.5, np.inf])
ROWS = RNG.uniform(0, 1, size=(7, 3))
BOUNDS: dict[str, tuple[Any, Any, Any]] = {
    "shared pair": ((-0.1, 0.1), -0.1, 0.1),
    "shared vectors": (scipy.optimize.Bounds(LOW, HIGH), LOW, HIGH),
    "shared tensors": (tfm.Bounds(tf.constant(LOW), tf.constant(HIGH)), LOW, HIGH),
    "rows": ((-ROWS, ROWS), -ROWS, ROWS),
    "tensor rows": (tfm.Bounds(tf.constant(-ROWS), 0.1), -ROWS, 0.1),
    "rows on one side": ((None, ROWS), -np.inf, ROWS),
    "rows of one number": ((-ROWS[:, :1], None), -ROWS[:, :1], np.inf),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_all_or_of_each_problem(name: str) -> None:
    bounds, low, high = BOUNDS[name]
    result = solved(squared, np.zeros((1, 3)), batched_args=POINTS, bounds=bounds)
    np.testing.assert_allclose(result.x, np.clip(POINTS, low, high), atol=1e-7)


def test_rows_of_bounds_or_starts_alone_give_the_number_of_problems() -> None:
    result = solved(lambda x: tf.reduce_sum((x - 2.0) ** 2), np.zeros((1, 3)), bounds=(None, ROWS))
    np.testing.assert_allclose(result.x, ROWS, atol=1e-7)
    result = solved(lambda x: tf.reduce_sum((x - 2.0) ** 2), [[0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(result.x, np.full((2, 2), 2.0), atol=1e-6)


def test_float32_bounds_are_respected_exactly() -> None:
    high = np.full((4, 2), 0.1)
    x = solved(lambda x: -tf.reduce_sum(x), np.zeros((4, 2), np.float32), bounds=(-np.ones((4, 2)), high)).x
    assert (x.numpy().astype(np.float64) <= high).all()


def test_problem_that_fails_leaves_the_others() -> None:
    steep = np.array([1.0, np.nan, 2.0])
    result = solved(lambda x, a: a * tf.reduce_sum((x - 1.0) ** 2), np.zeros((3, 2)), batched_args=steep)
    assert result.success.numpy().tolist() == [True, False, True]
    assert result.status.numpy()[1] != 0
    np.testing.assert_allclose(result.x.numpy()[::2], 1.0, atol=1e-6)
    one = solved(lambda x: tf.reduce_sum((x - 1.0) ** 4), np.zeros((3, 2)), options={"maxiter": 1})
    assert one.status.numpy().tolist() == [1, 1, 1]


def test_problem_whose_turn_comes_after_the_time_limit_keeps_its_start() -> None:
    result = solved(rosenbrock, np.zeros((50, 3)), options={"maxtime": 1e-9}, num_threads=1)
    assert set(result.status.numpy()) == {1}
    np.testing.assert_array_equal(result.x[-1], np.zeros(3))
    assert np.isnan(result.fun[-1])
    assert np.isnan(result.jac[-1]).all()


@pytest.mark.parametrize("num_threads", [1, 4])
def test_error_in_the_function_names_the_first_problem(num_threads: int) -> None:
    def fun(x: Any, a: Any) -> Any:
        with tf.control_dependencies(
            [tf.debugging.assert_less(a, tf.constant(3.0, a.dtype), message="a is too large")]
        ):
            return tf.reduce_sum((x - a) ** 2)

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"problem 3 of the batch: .*a is too large"):
        solved(fun, np.zeros((1, 2)), batched_args=np.arange(30.0), num_threads=num_threads)


def test_function_that_xla_cannot_compile_runs_in_tensorflow() -> None:
    def fun(x: Any, k: Any) -> Any:
        return tf.reduce_sum(tf.tile((x - 1.0) ** 2, [k]))

    result = solved(fun, np.zeros((3, 2)), batched_args=np.array([1, 2, 3], np.int32), jit_compile=True)
    assert result.backend == b"tensorflow"
    assert b"XLA must know a tensor that varies" in result.backend_reason.numpy()
    np.testing.assert_allclose(result.x, np.ones((3, 2)), atol=1e-6)


def test_threads_of_a_program_share_the_machine_code() -> None:
    solve = tf.function(
        lambda points: tfm.ops.minimize_batch(squared, np.zeros((1, 3)), batched_args=points, jit_compile=True).x,
        autograph=False,
    )
    batches = [tf.constant(RNG.normal(size=(7, 3))) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        for points, x in zip(batches, pool.map(solve, batches), strict=True):
            np.testing.assert_allclose(x, points, atol=1e-7)


def test_batch_in_the_function_of_a_batch() -> None:
    def outer(y: Any, target: Any) -> Any:
        inner = tfm.ops.minimize_batch(
            lambda x, t: tf.reduce_sum((x - y * t) ** 2),
            np.zeros((1, 1)),
            batched_args=tf.constant([[1.0], [2.0]], tf.float64),
            options={"ftol": 0.0, "gtol": 1e-10},
        )
        return tf.reduce_sum((inner.x - target) ** 2)

    y = solved(outer, np.zeros((3, 1)), batched_args=np.arange(3.0)).x
    np.testing.assert_allclose(y[:, 0], np.arange(3.0) * 3 / 5, atol=1e-5)


def test_eager_mode_and_variables_that_the_function_reads() -> None:
    shift = tf.Variable([1.0, 2.0, 3.0], dtype=tf.float64)
    with tf.GradientTape() as tape:
        result = tfm.ops.minimize_batch(lambda x, p: squared(x, p + shift), np.zeros((1, 3)), batched_args=POINTS)
        value = tf.reduce_sum(result.x * tf.constant(POINTS))
    np.testing.assert_allclose(result.x, POINTS + shift.numpy(), atol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, shift), POINTS.sum(axis=0), atol=1e-8)


REFUSED: dict[str, tuple[Any, str]] = {
    "scalar start": ((squared, 0.0, (), POINTS), r"x0s has no dimensions: give it a leading dimension"),
    "variable": ((squared, tf.Variable(POINTS), (), POINTS), r"x0s holds variable '.*', but each problem has an x"),
    "other number of starts": ((squared, np.zeros((2, 3)), (), POINTS), r"x0s has 2 starts and batched_args have 7"),
    "starts of other lengths": (
        (squared, (np.zeros((2, 3)), np.zeros((4, 3))), (), ()),
        r"x0s\[0\] has 2 slices and x0s\[1\] has 4",
    ),
    "other number of slices": (
        (squared, np.zeros((1, 3)), (), (POINTS, POINTS[:2])),
        r"batched_args\[0\] has 7 slices and batched_args\[1\] has 2",
    ),
    "float": ((squared, np.zeros((1, 3)), (), 2.0), r"batched_args\[0\] holds 2.0, which has no slices"),
    "scalar": ((squared, np.zeros((1, 3)), (), tf.constant(2.0)), r"batched_args\[0\] has no dimensions"),
    "words": ((squared, np.zeros((1, 3)), (), tf.constant(["a"])), r"batched_args\[0\] has dtype string"),
    "method": ((squared, np.zeros((1, 3)), (), POINTS, "COBYLA"), "runs in SciPy, not in a graph"),
    "no function": ((None, np.zeros((1, 3)), (), POINTS), "give a function that returns the loss"),
    "bounds": ((squared, np.zeros((1, 3)), (), POINTS, "L-BFGS-B", (np.zeros((7, 2)), 1.0)), "cannot be broadcast"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_with_a_sentence(name: str) -> None:
    args, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        tfm.ops.minimize_batch(*args)


EQUAL = {"type": "eq", "fun": lambda x, p: x[0] - p}
REFUSED_OF_CONSTRAINTS: dict[str, tuple[Any, Any, str]] = {
    "other number of slices": ([EQUAL], [(np.zeros(3),)], "batched_args has 7 slices and batched_constraints_args"),
    "too few": ([EQUAL, EQUAL], [(np.zeros(7),)], "has 1 items, and there are 2 constraints"),
    "float": (EQUAL, (1.0,), r"batched_constraints_args\[0\] holds 1.0, which has no slices"),
    "matrix": (
        [scipy.optimize.LinearConstraint(np.ones((1, 3)), 0, 1)],
        [(np.zeros(7),)],
        "takes no args: give it as a dict",
    ),
}


@pytest.mark.parametrize("name", REFUSED_OF_CONSTRAINTS)
def test_batched_arguments_of_constraints_are_checked(name: str) -> None:
    constraints, own, message = REFUSED_OF_CONSTRAINTS[name]
    with pytest.raises(ValueError, match=message):
        tfm.ops.minimize_batch(
            squared, np.zeros((1, 3)), (), POINTS, "SLSQP", None, constraints, batched_constraints_args=own
        )


RUNTIME: dict[str, tuple[Any, Any, Any, str]] = {
    "start": (np.zeros((3, 2)), np.zeros((4, 2)), (-1.0, 1.0), "x0 has 3 rows, and there are 4 problems"),
    "NaN": (np.array([[0.0, 0.0], [0.0, np.nan]]), np.zeros((2, 2)), (-1.0, 1.0), r"x0\[1, 1\] is nan"),
    "crossed": (
        np.zeros((2, 2)),
        np.zeros((2, 2)),
        (np.array([[0.0, 0.0], [0.0, 2.0]]), np.ones((2, 2))),
        r"element 1 of x in problem 1 are \(2, 1\)",
    ),
    "rows of bounds": (np.zeros((2, 2)), np.zeros((2, 2)), (np.zeros((3, 2)), np.ones((3, 2))), "lower has 3 rows"),
}


@pytest.mark.parametrize("name", RUNTIME)
def test_what_only_the_graph_knows_is_checked_when_it_runs(name: str) -> None:
    *given, message = RUNTIME[name]
    x0s, points, (low, high) = given
    unknown = tf.TensorSpec([None, 2], tf.float64)
    low, high = (np.broadcast_to(side, x0s.shape if np.ndim(side) == 0 else side.shape) for side in (low, high))

    @tf.function(input_signature=[unknown] * 4)
    def solve(x0s: Any, points: Any, low: Any, high: Any) -> Any:
        return tfm.ops.minimize_batch(squared, x0s, batched_args=points, bounds=(low, high)).x

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        solve(x0s, points, low, high)


class Projection(tf.keras.layers.Layer):
    """Projects each row to a halfspace with a normal that is trained."""

    def __init__(self) -> None:
        super().__init__(dtype="float64")
        self.supports_jit = False

    def build(self, shape: Any) -> None:
        self.normal = self.add_weight(shape=(shape[-1],), initializer="ones", name="normal")

    def call(self, points: Any) -> Any:
        normal = tf.convert_to_tensor(self.normal)
        return tfm.ops.minimize_batch(
            squared,
            tf.zeros([1, points.shape[-1]], tf.float64),
            batched_args=(points,),
            method="SLSQP",
            constraints={"type": "ineq", "fun": lambda x: 1 - tf.tensordot(normal, x, 1)},
            options={"ftol": 1e-14},
            jit_compile=True,
        ).x


def test_layer_of_a_network_trains() -> None:
    true = np.array([0.5, 1.5])
    points = np.random.default_rng(1).normal(size=(32, 2)) * 2
    targets = points - np.maximum(points @ true - 1, 0)[:, None] * true / (true @ true)
    model = tf.keras.Sequential([tf.keras.Input((2,), dtype="float64"), Projection()])
    model.compile(optimizer=tf.keras.optimizers.Adam(0.05), loss="mse")
    losses = model.fit(points, targets, batch_size=12, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.subprocess
def test_saved_model_compiles_where_it_is_loaded(tmp_path: Path) -> None:
    module = tf.Module()
    module.shift = tf.Variable(2.0, dtype=tf.float64)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float64)])
    def solve(points: tf.Tensor) -> dict[str, tf.Tensor]:
        result = tfm.ops.minimize_batch(
            lambda x, p: squared(x, p + module.shift), np.zeros((1, 2)), batched_args=points, jit_compile=True
        )
        return {"x": result.x, "backend": result.backend}

    module.solve = solve
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=solve)
    program = """
        import sys
        import numpy as np
        import tensorflow as tf
        import tfminimize
        model = tf.saved_model.load(sys.argv[1])
        for count in (0, 3):
            points = tf.ones([count, 2], tf.float64)
            with tf.GradientTape() as tape:
                tape.watch(points)
                found = model.solve(points)
            np.testing.assert_allclose(found["x"], np.full((count, 2), 3.0), atol=1e-6)
            by_points, by_shift = tape.gradient(found["x"], [points, model.shift])
            np.testing.assert_allclose(by_points, np.ones((count, 2)), atol=1e-6)
            np.testing.assert_allclose(by_shift, 2.0 * count, atol=1e-6)
            print(found["backend"].numpy().decode())
    """
    assert run_program(program, tmp_path / "model") == "none\nxla\n"
