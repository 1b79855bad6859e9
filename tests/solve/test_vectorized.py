"""Batches of a vectorized function: one call evaluates all problems that are still being solved."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interrupts import ctrl_c

import tfminimize as tfm

B, N = 13, 3
CENTERS = np.random.default_rng(0).normal(size=(B, N))
STARTS = np.random.default_rng(1).normal(size=(B, N))
BACKENDS = pytest.mark.parametrize("jit_compile", [False, True])


def valley(x: Any, a: Any) -> tf.Tensor:
    """Rosenbrock's function around a, of one problem or of all: [..., n], [..., n] -> [...]."""
    z = x - a
    return tf.reduce_sum(10.0 * (z[..., 1:] - z[..., :-1] ** 2) ** 2 + (1.0 - z[..., :-1]) ** 2, axis=-1)


def solver(vectorized: bool, fun: Any = valley, method: str = "L-BFGS-B", dtype: str = "float64", **more: Any) -> Any:
    zero = np.zeros(N, dtype)
    return tfm.Minimizer(fun, zero, (zero,), method, vectorized=vectorized, **more)


def both(method: str = "L-BFGS-B", dtype: str = "float64", made: Any = None, **solved: Any) -> tuple[Any, Any]:
    """A batch in step, and one by one."""
    solved = {"x0s": STARTS.astype(dtype), "batched_args": CENTERS.astype(dtype), **solved}
    return tuple(solver(v, method=method, dtype=dtype, **(made or {})).minimize_batch(**solved) for v in (True, False))


def assert_same(batch: Any, others: Any, tolerance: float = 1e-7) -> None:
    for name in ("nit", "nfev", "njev", "status", "success"):
        np.testing.assert_array_equal(batch[name], others[name], err_msg=name)
    for name in ("x", "fun", "jac"):
        np.testing.assert_allclose(batch[name], others[name], rtol=tolerance, atol=tolerance, err_msg=name)
    assert batch.message == others.message


@BACKENDS
@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "SLSQP"])
def test_results_are_those_of_one_by_one(method: str, jit_compile: bool) -> None:
    batch, others = both(method, made={"jit_compile": jit_compile})
    assert_same(batch, others)
    assert batch.success.all()
    assert len(set(batch.nfev)) > 3  # they have left at different times
    assert batch.x.shape == batch.jac.shape == (B, N)
    assert batch.backend == ("xla" if jit_compile else "tfe")
    assert ("a call evaluates 16 problems" in batch.backend_reason) == jit_compile


@BACKENDS
@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS"])
def test_float32(method: str, jit_compile: bool) -> None:
    batch, others = both(method, "float32", made={"jit_compile": jit_compile}, options={"maxiter": 5})
    assert batch.x.dtype == np.float32
    assert_same(batch, others, 1e-4)


@BACKENDS
def test_flag_of_the_batch_alone(jit_compile: bool) -> None:
    minimizer = solver(False, jit_compile=jit_compile)
    calls = {"x0s": STARTS, "batched_args": CENTERS}
    assert_same(minimizer.minimize_batch(**calls, vectorized=True), minimizer.minimize_batch(**calls))


@BACKENDS
def test_bounds_of_each_problem_several_starts_and_a_seed(jit_compile: bool) -> None:
    low, high = CENTERS - 1.5, CENTERS + 0.7
    more = {"bounds": (low, high), "n_starts": 4, "seed": 3, "x0s": (low + high) / 2}
    batch, others = both(made={"jit_compile": jit_compile}, **more)
    np.testing.assert_array_equal(batch.nfev_total, others.nfev_total)
    np.testing.assert_allclose(batch.fun, others.fun, rtol=1e-7, atol=1e-9)  # several starts may lead to the best
    np.testing.assert_allclose(batch.x, others.x, atol=1e-4)
    assert ((batch.x >= low) & (batch.x <= high)).all()
    assert (batch.x == high).any()


def test_bounds_that_all_share() -> None:
    batch, others = both(made={"bounds": (-0.5, 0.5)})
    assert_same(batch, others)
    assert (np.abs(batch.x) == 0.5).any()


def test_structures_of_x_and_args() -> None:
    x0 = {"w": np.zeros((2, 3)), "b": np.float32(0.0)}
    target = np.arange(6.0).reshape(2, 3)

    def one(x: Any, shift: Any, data: Any) -> tf.Tensor:
        far = tf.reduce_sum((x["w"] - data["scale"] * target - shift) ** 4)
        return far + tf.cast((x["b"] - 1.5) ** 2, tf.float64)

    def many(x: Any, shift: Any, data: Any) -> tf.Tensor:
        far = tf.reduce_sum((x["w"] - data["scale"][:, None, None] * target - shift) ** 4, axis=[1, 2])
        return far + tf.cast((x["b"] - 1.5) ** 2, tf.float64)

    starts = {"w": np.ones((3, 2, 3)), "b": np.array([0.1, 0.2, 0.3], np.float32)}
    data = {"scale": np.array([1.0, 2.0, 3.0])}
    example = {"scale": np.float64(0.0)}
    batches = [
        tfm.Minimizer(fun, x0, (0.5, example), bounds={"b": (0.0, 1.0)}, vectorized=v).minimize_batch(
            starts, args=(0.5,), batched_args=(data,)
        )
        for fun, v in ((one, False), (many, True))
    ]
    np.testing.assert_array_equal(batches[0].nfev, batches[1].nfev)
    np.testing.assert_allclose(batches[0].x["w"], batches[1].x["w"], atol=1e-7)
    np.testing.assert_array_equal(batches[1].x["b"], np.ones(3, np.float32))
    assert batches[1].x["w"].shape == (3, 2, 3)


def in_ball(x: Any, a: Any, radius: Any) -> tf.Tensor:
    return radius**2 - tf.reduce_sum((x - a) ** 2, axis=-1)


def spread(x: Any) -> tf.Tensor:
    return tf.stack([x[..., 0] - x[..., 1], x[..., 1] + 2.0 * x[..., 2]], axis=-1)


def many_products(x: Any) -> tf.Tensor:
    return tf.concat([x**2, tf.sin(x)], axis=-1)


@BACKENDS
def test_constraints(jit_compile: bool) -> None:
    constraints = [
        {"type": "ineq", "fun": in_ball, "args": (np.zeros(N), 1.0)},
        scipy.optimize.NonlinearConstraint(spread, -0.1, [0.4, np.inf]),
        scipy.optimize.LinearConstraint([[1.0, 1.0, 1.0]], -0.5, 2.0),
        scipy.optimize.NonlinearConstraint(many_products, -np.inf, 2.0),
    ]
    radii = np.linspace(0.8, 1.6, B)
    more = {"batched_constraints_args": [(CENTERS, radii), None, None, None], "x0s": CENTERS}
    batch, others = both("SLSQP", made={"constraints": constraints, "jit_compile": jit_compile}, **more)
    assert_same(batch, others, 1e-6)
    np.testing.assert_allclose(batch.multipliers, others.multipliers, atol=1e-5)
    np.testing.assert_allclose(batch.constr_violation, others.constr_violation, atol=1e-9)
    assert batch.success.sum() > B // 2


@BACKENDS
def test_linear_constraints_alone_and_other_ones_later(jit_compile: bool) -> None:
    minimizers = [
        solver(
            v,
            method="SLSQP",
            jit_compile=jit_compile,
            constraints=scipy.optimize.LinearConstraint([[1.0, 1.0, 1.0]], -0.5, 2.0),
        )
        for v in (True, False)
    ]
    for limit in (1.0, 0.5):
        line = scipy.optimize.LinearConstraint([[limit, 1.0, 1.0]], limit, limit)
        assert_same(*(m.minimize_batch(STARTS, batched_args=CENTERS, constraints=line) for m in minimizers), 1e-6)
        assert_same(*(m.minimize_batch(STARTS, batched_args=CENTERS) for m in minimizers), 1e-6)


@BACKENDS
def test_problem_with_nan_does_not_disturb_the_others(jit_compile: bool) -> None:
    centers = CENTERS.copy()
    centers[[0, 5]] = np.nan
    batch, others = both(made={"jit_compile": jit_compile}, batched_args=centers)
    np.testing.assert_array_equal(batch.success, others.success)
    np.testing.assert_array_equal(batch.nfev, others.nfev)
    np.testing.assert_allclose(batch.x, others.x, atol=1e-7)
    assert not batch.success[[0, 5]].any()


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "SLSQP"])
def test_history_is_that_of_one_by_one(method: str) -> None:
    batch, others = both(method, history=True, n_starts=1)
    for mine, theirs in zip(batch.history, others.history, strict=True):
        np.testing.assert_array_equal(mine["nfev"], theirs["nfev"])
        for name in ("fun", "gradient_norm", "step", "constr_violation"):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
        assert (np.diff(mine["seconds"]) >= 0).all()


@pytest.mark.parametrize("num_threads", [2, 5])
def test_groups_in_several_threads(num_threads: int) -> None:
    batch, others = both(num_threads=num_threads, made={"jit_compile": True})
    assert_same(batch, others)


def test_other_problems_take_the_places_of_those_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfminimize._solve import batch_ways

    monkeypatch.setattr(batch_ways, "MOST_IN_STEP", 3)
    for jit_compile in (False, True):
        batch, others = both(made={"jit_compile": jit_compile}, history=True)
        assert_same(batch, others)


def test_call_shrinks_to_the_smaller_sizes() -> None:
    starts = np.random.default_rng(2).normal(size=(40, N)) * np.geomspace(0.01, 3.0, 40)[:, None]
    batches = [
        solver(v, jit_compile=True).minimize_batch(starts, batched_args=np.zeros((40, N))) for v in (True, False)
    ]
    assert_same(*batches)
    assert "16 or 64 problems" in batches[0].backend_reason


def test_function_is_traced_once_for_any_number_of_problems() -> None:
    traces = []

    def counted(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        traces.append(x.shape)
        return valley(x, a)

    minimizer = solver(True, counted)
    for count in (3, 1, 5, 3):
        batch = minimizer.minimize_batch(STARTS[:count], batched_args=CENTERS[:count])
        assert batch.success.all()
        assert batch.x.shape == (count, N)
    assert len(traces) == 1
    assert traces[0].as_list() == [None, N]


def test_shared_args_that_change_between_batches() -> None:
    for jit_compile in (False, True):
        minimizer = solver(True, jit_compile=jit_compile)
        for shift in (0.0, 1.0):
            a = np.full(N, shift)
            batch = minimizer.minimize_batch(STARTS, args=(a,))
            np.testing.assert_allclose(batch.x, np.ones((B, N)) + shift, atol=1e-3)


def test_variable_that_the_function_reads() -> None:
    shift = tf.Variable(0.0, dtype=tf.float64)
    for jit_compile in (False, True):
        minimizer = solver(True, lambda x, a: valley(x, a + shift), jit_compile=jit_compile)
        for value in (0.0, 0.5):
            shift.assign(value)
            np.testing.assert_allclose(minimizer.minimize_batch(STARTS).x, np.full((B, N), 1 + value), atol=1e-3)


def test_losses_may_have_more_dimensions_of_size_one() -> None:
    columns = solver(True, lambda x, a: valley(x, a)[:, None]).minimize_batch(STARTS, batched_args=CENTERS)
    assert_same(columns, solver(True).minimize_batch(STARTS, batched_args=CENTERS))


@pytest.mark.parametrize(
    ("fun", "match"),
    [
        (lambda x, a: tf.reduce_sum((x - a) ** 2), r"of shape \[\], but with vectorized=True"),
        (lambda x, a: (x - a) ** 2, r"of shape \[B, 3\].*shape|of shape \[B, 3\]"),
        (lambda x, a: tf.reduce_sum((x - a) ** 2, axis=0), r"of shape \[3\]"),
        (lambda x, a: tf.cast(valley(x, a), tf.int32), "dtype int32"),
        (lambda x, a: None, "fun returned None"),
        (lambda x, a: tf.reduce_sum(a, axis=-1), "does not depend on x0"),
    ],
)
def test_function_that_is_not_vectorized_is_refused(fun: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        solver(True, fun).minimize_batch(STARTS, batched_args=CENTERS)


def test_constraint_that_is_not_vectorized_is_refused() -> None:
    constraint = {"type": "ineq", "fun": lambda x: 1.0 - tf.reduce_sum(x**2)}
    minimizer = solver(True, method="SLSQP", constraints=constraint)
    with pytest.raises(ValueError, match=r"the constraint has values of shape \[\], but with vectorized=True"):
        minimizer.minimize_batch(STARTS, batched_args=CENTERS)


def test_what_cannot_be_vectorized_is_refused() -> None:
    variable = tf.Variable(np.zeros(2))
    with pytest.raises(ValueError, match="x0 is made of variables"):
        tfm.Minimizer(lambda: tf.reduce_sum(variable**2), variable, vectorized=True)
    with pytest.raises(ValueError, match="not for a DatasetLoss"):
        tfm.Minimizer(tfm.DatasetLoss(valley, np.zeros((4, N))), np.zeros(N), vectorized=True)
    with pytest.raises(ValueError, match="jit_compile is 'auto', and vectorized=True"):
        solver(True, jit_compile="auto")
    minimizer = solver(True)
    with pytest.raises(ValueError, match="call minimize_batch"):
        minimizer.minimize()
    with pytest.raises(ValueError, match="made with vectorized=True"):
        minimizer.minimize_batch(STARTS, vectorized=False)
    with pytest.raises(ValueError, match="runs in SciPy, one problem at a time"):
        solver(True, method="CG").minimize_batch(STARTS)


def test_error_while_running_belongs_to_all_problems_of_the_call() -> None:
    def checked(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_less(a, tf.constant(9.0, a.dtype), message="too far")]):
            return valley(x, a)

    centers = CENTERS.copy()
    centers[3] = 10.0
    batch = solver(True, checked, jit_compile=False).minimize_batch(STARTS, batched_args=centers)
    assert sorted(batch.errors) == list(range(B))
    assert "too far" in str(batch.errors[0])
    np.testing.assert_array_equal(batch.x, STARTS)
    np.testing.assert_array_equal(batch.status, -1)


@BACKENDS
def test_maxtime_ends_the_batch(jit_compile: bool) -> None:
    minimizer = solver(True, jit_compile=jit_compile)
    batch = minimizer.minimize_batch(STARTS, batched_args=CENTERS, options={"maxtime": 1e-9})
    assert not batch.success.any()
    np.testing.assert_array_equal(batch.x, STARTS)
    assert minimizer.minimize_batch(STARTS, batched_args=CENTERS).success.all()


def test_maxtime_that_passes_leaves_the_last_iterate() -> None:
    def slow(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        waited = tf.py_function(lambda z: (time.sleep(0.02), z)[1], [a], a.dtype)
        return valley(x, tf.ensure_shape(waited, [None, N]))

    minimizer = solver(True, slow)
    minimizer.minimize_batch(STARTS, batched_args=CENTERS, options={"maxiter": 1})  # TensorFlow compiles it
    batch = minimizer.minimize_batch(STARTS * 100.0, batched_args=CENTERS, options={"maxtime": 0.15})
    assert not batch.success.any()
    assert set(batch.message) == {"Time limit reached"}
    assert batch.nfev.max() < 10  # no evaluation is shorter than 0.02 s
    expected = solver(False).minimize_batch(batch.x, batched_args=CENTERS, options={"maxiter": 0})
    np.testing.assert_allclose(batch.jac, expected.jac, rtol=1e-9)


def test_ctrl_c_ends_the_batch() -> None:
    def long(x: tf.Tensor, steps: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        y = x
        for _ in tf.range(tf.cast(steps, tf.int64)):
            y = tf.ensure_shape(tf.tanh(y), [None, N])
        return valley(y, a)

    minimizer = tfm.Minimizer(long, np.zeros(N), (1.0, np.zeros(N)), vectorized=True, jit_compile=False)
    minimizer.minimize_batch(STARTS, args=(1.0,), batched_args=CENTERS)
    with ctrl_c():
        minimizer.minimize_batch(STARTS, args=(1e9,), batched_args=CENTERS)
    assert minimizer.minimize_batch(STARTS, args=(0.0,), batched_args=CENTERS).success.all()


def test_progress_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert solver(True).minimize_batch(STARTS, batched_args=CENTERS, progress=True).success.all()
    assert f"{B}/{B}" in capsys.readouterr().out


def test_several_batches_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    minimizer = solver(True, jit_compile=True)
    expected = minimizer.minimize_batch(STARTS, batched_args=CENTERS).x
    with ThreadPoolExecutor(4) as pool:
        for batch in pool.map(lambda _: minimizer.minimize_batch(STARTS, batched_args=CENTERS), range(8)):
            np.testing.assert_array_equal(batch.x, expected)
