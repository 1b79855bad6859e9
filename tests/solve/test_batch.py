from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm

B = 23
T = np.linspace(0.0, 4.0, 30)


def decay(x: tf.Tensor, t: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x[0] * tf.exp(-x[1] * t) + x[2] + x[3] * t - y) ** 2)


@pytest.fixture
def curves() -> np.ndarray:
    rng = np.random.default_rng(0)
    a, b, c, d = rng.uniform([1.0, 0.5, 0.0, 0.1], [3.0, 2.0, 1.0, 1.0], (B, 4)).T[:, :, np.newaxis]
    return a * np.exp(-b * T) + c + d * T + 0.01 * rng.normal(size=(B, len(T)))


def assert_rows(batch: Any, results: list[Any]) -> None:
    """Check that the rows equal, bit for bit, the results of single solves."""
    for name in ("x", "jac", "fun", "nit", "nfev", "njev", "status", "success", "constr_violation"):
        np.testing.assert_array_equal(batch[name], np.array([result[name] for result in results]), err_msg=name)
    assert batch.message == [result.message for result in results]
    assert batch.errors == {}


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_batch_is_what_solves_in_turn_give(curves: np.ndarray, jit_compile: bool, num_threads: int) -> None:
    solver = tfm.Minimizer(decay, np.ones(4), args=(T, curves[0]), bounds=(0.0, 2.5), jit_compile=jit_compile)
    batch = solver.minimize_batch(batched_args=curves, num_threads=num_threads)
    assert batch.success.all()
    assert batch.x.shape == batch.jac.shape == (B, 4)
    assert (batch.x == 2.5).any()
    assert_rows(batch, [solver.minimize(args=(T, y)) for y in curves])


@pytest.mark.slow
def test_batch_finds_what_scipy_finds(curves: np.ndarray) -> None:
    def value(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.sum((x[0] * np.exp(-x[1] * T) + x[2] + x[3] * T - y) ** 2))

    solver = tfm.Minimizer(decay, np.ones(4), args=(T, curves[0]), bounds=(0.0, 10.0), jit_compile=True)
    batch = solver.minimize_batch(batched_args=curves, tol=1e-12)
    for fun, y in zip(batch.fun, curves, strict=True):
        theirs = scipy.optimize.minimize(value, np.ones(4), (y,), bounds=[(0.0, 10.0)] * 4, tol=1e-14)
        assert fun <= theirs.fun * (1 + 1e-6)


def test_starts_of_their_own() -> None:
    problem = tfm.testing.rosenbrock(6)
    solver = tfm.Minimizer(problem.fun, problem.x0)
    starts = np.random.default_rng(0).normal(size=(B, 6))
    batch = solver.minimize_batch(starts)
    assert_rows(batch, [solver.minimize(x0) for x0 in starts])


def test_starts_and_arguments_of_their_own() -> None:
    solver = tfm.Minimizer(lambda x, a, b: tf.reduce_sum((x - a) ** 4 + b * x), np.zeros(2), args=(0.0, np.zeros(2)))
    rng = np.random.default_rng(0)
    starts, offsets, slopes = rng.normal(size=(B, 2)), rng.normal(size=B), rng.normal(size=(B, 2))
    batch = solver.minimize_batch(starts, batched_args=(offsets, slopes))
    problems = list(zip(starts, offsets, slopes, strict=True))
    assert_rows(batch, [solver.minimize(x0, (offset, slope)) for x0, offset, slope in problems])
    some = solver.minimize_batch(starts, (0.5,), (slopes,))
    assert_rows(some, [solver.minimize(x0, (0.5, slope)) for x0, slope in zip(starts, slopes, strict=True)])


def test_start_that_all_share() -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 4), [3.0, 4.0], args=(1.0,))
    offsets = np.arange(3.0)
    default = solver.minimize_batch(batched_args=offsets)
    assert_rows(default, [solver.minimize(args=(a,)) for a in offsets])
    given = solver.minimize_batch([0.5, 0.5], batched_args=offsets)
    assert_rows(given, [solver.minimize([0.5, 0.5], (a,)) for a in offsets])


def test_structure_of_starts_and_results() -> None:
    x0 = {"w": np.zeros((2, 3)), "b": np.float32(0.0)}
    target = tf.reshape(tf.range(6, dtype=tf.float64), (2, 3))

    def fun(x: Any, scale: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((x["w"] - scale * target) ** 2) + tf.cast((x["b"] - 1.5) ** 2, tf.float64)

    solver = tfm.Minimizer(fun, x0, args=(1.0,), bounds={"b": (0.0, 1.0)})
    scales = np.array([1.0, 2.0, 3.0])
    starts = {"w": np.ones((3, 2, 3)), "b": np.array([0.1, 0.2, 0.3], np.float32)}
    batch = solver.minimize_batch(starts, batched_args=scales)
    assert batch.x["w"].shape == batch.jac["w"].shape == (3, 2, 3)
    assert batch.x["b"].dtype == batch.jac["b"].dtype == np.float32
    np.testing.assert_array_equal(batch.x["b"], np.ones(3, np.float32))
    for i, scale in enumerate(scales):
        result = solver.minimize({"w": np.ones((2, 3)), "b": starts["b"][i]}, (scale,))
        np.testing.assert_array_equal(batch.x["w"][i], result.x["w"])
        np.testing.assert_array_equal(batch.x["b"][i], result.x["b"])
        np.testing.assert_array_equal(batch.jac["w"][i], result.jac["w"])


def test_nested_arguments_of_any_dtype() -> None:
    def fun(x: tf.Tensor, data: Any) -> tf.Tensor:
        index, (mask, phase, half) = data["index"], data["rest"]
        a = tf.gather(tf.constant([1.0, 2.0, 4.0], tf.float64), index)
        a = tf.where(mask, a, -a) + tf.cast(tf.math.real(phase), tf.float64) + tf.cast(half, tf.float64)
        return tf.reduce_sum((x - a) ** 2)

    rng = np.random.default_rng(0)
    data = {
        "index": tf.constant(rng.integers(0, 3, (B, 2)), tf.int32),
        "rest": (rng.random((B, 2)) < 0.5, rng.normal(size=(B, 2)).astype(np.complex64), np.ones((B, 1), np.float16)),
    }
    expected = np.array([1.0, 2.0, 4.0])[data["index"]] * np.where(data["rest"][0], 1, -1) + data["rest"][1].real + 1
    first = tf.nest.map_structure(lambda a: a[0], data)
    for jit_compile in (False, True):
        solver = tfm.Minimizer(fun, np.zeros(2), args=(first,), jit_compile=jit_compile)
        batch = solver.minimize_batch(batched_args=(data,))
        np.testing.assert_allclose(batch.x, expected, atol=1e-6)


def test_rows_that_are_not_contiguous() -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(3), args=np.zeros(3))
    targets = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(solver.minimize_batch(batched_args=targets.T).x, targets.T, atol=1e-6)
    np.testing.assert_allclose(solver.minimize_batch(batched_args=targets.T.astype(">f8")).x, targets.T, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_constraints(jit_compile: bool) -> None:
    def in_disc(x: tf.Tensor) -> tf.Tensor:
        return 1.0 - tf.reduce_sum(x**2)

    constraints = [{"type": "ineq", "fun": in_disc}, scipy.optimize.LinearConstraint([[1.0, 1.0]], -np.inf, 1.2)]
    solver = tfm.Minimizer(
        lambda x, a: tf.reduce_sum((x - a) ** 2),
        np.zeros(2),
        args=np.zeros(2),
        method="SLSQP",
        bounds=(-0.8, 0.9),
        constraints=constraints,
        jit_compile=jit_compile,
    )
    targets = np.random.default_rng(0).normal(size=(B, 2))
    for num_threads in (1, 3):
        batch = solver.minimize_batch(batched_args=targets, num_threads=num_threads)
        results = [solver.minimize(args=a) for a in targets]
        assert_rows(batch, results)
        np.testing.assert_array_equal(batch.multipliers, [result.multipliers for result in results])
    assert batch.success.all()
    assert batch.constr_violation.max() < 1e-6


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("update", ["bfgs", "ssbroyden"])
def test_bfgs(curves: np.ndarray, update: str, num_threads: int) -> None:
    solver = tfm.Minimizer(decay, np.ones(4), args=(T, curves[0]), method="BFGS", jit_compile=True)
    options = {"update": update, "hess_inv0": np.diag([1.0, 0.5, 1.0, 0.1])}
    batch = solver.minimize_batch(batched_args=curves, num_threads=num_threads, options=options)
    assert_rows(batch, [solver.minimize(args=(T, y), options=options) for y in curves])


def test_slsqp_without_constraints() -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=0.0, method="SLSQP")
    batch = solver.minimize_batch(batched_args=np.arange(3.0))
    assert batch.multipliers.shape == (3, 0)
    np.testing.assert_allclose(batch.x, [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_variables_keep_their_values(jit_compile: bool, dtype: str) -> None:
    v, w = tf.Variable([1.0, 2.0], dtype=dtype), tf.Variable(3.0, dtype=dtype)
    other = tf.Variable(2.0, dtype=dtype)

    def fun(a: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((v - other * a) ** 2) + (w - a) ** 4

    solver = tfm.Minimizer(fun, [v, w], args=(0.5,), jit_compile=jit_compile)
    targets = np.arange(4).astype(dtype)
    batch = solver.minimize_batch(batched_args=targets, num_threads=2)
    np.testing.assert_array_equal(v, [1.0, 2.0])
    np.testing.assert_array_equal(w, 3.0)
    assert batch.x[0].shape == (4, 2)
    assert batch.x[1].shape == (4,)
    assert batch.x[0].dtype == dtype
    np.testing.assert_allclose(batch.x[0], 2 * np.column_stack([targets, targets]), atol=1e-3)
    for i, a in enumerate(targets):
        result = solver.minimize(args=(a,))
        np.testing.assert_array_equal(np.append(batch.x[0][i], batch.x[1][i]), result.x)
        v.assign([1.0, 2.0])
        w.assign(3.0)
    other.assign(3.0)
    starts = [np.zeros((4, 2)), np.zeros(4)]
    np.testing.assert_allclose(solver.minimize_batch(starts, batched_args=targets).x[0][:, 0], 3 * targets, atol=1e-3)


def test_present_values_of_variables_are_the_start() -> None:
    v = tf.Variable([0.0, 0.0])
    solver = tfm.Minimizer(lambda a: tf.reduce_sum((v - a) ** 2), v, args=(0.0,))
    v.assign([5.0, 5.0])
    batch = solver.minimize_batch(v, batched_args=np.array([5.0, 6.0], np.float32))
    assert batch.nit[0] == 0
    assert batch.nit[1] > 0


def test_problem_that_fails_does_not_stop_the_others() -> None:
    def fun(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies(
            [tf.debugging.assert_none_equal(a, tf.constant(3.0, a.dtype), message="it is three")]
        ):
            return tf.reduce_sum((x - a) ** 2)

    solver = tfm.Minimizer(fun, np.full(2, 9.0), args=(0.0,))
    targets = np.array([0.0, 3.0, 1.0, np.nan, 2.0, 3.0])
    for num_threads in (1, 2):
        batch = solver.minimize_batch(batched_args=targets, num_threads=num_threads)
        assert sorted(batch.errors) == [1, 5]
        assert isinstance(batch.errors[5], tf.errors.InvalidArgumentError)
        assert "it is three" in str(batch.errors[5])
        np.testing.assert_array_equal(batch.status[[1, 5]], -1)
        np.testing.assert_array_equal(batch.success, [True, False, True, False, True, False])
        np.testing.assert_array_equal(batch.x[1], 9.0)
        assert np.isnan(batch.fun[[1, 3, 5]]).all()
        assert np.isnan(batch.jac[1]).all()
        assert "it is three" in batch.message[1]
        assert "finite" in batch.message[3]
        np.testing.assert_allclose(batch.x[[0, 2, 4], 0], [0.0, 1.0, 2.0], atol=1e-6)


def test_exception_of_python_stays_with_its_problem() -> None:
    class OwnError(Exception):
        pass

    def refuse(a: Any) -> Any:
        if a == 1.0:
            raise OwnError("not one")
        return a

    def fun(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((x - tf.py_function(refuse, [a], tf.float64)) ** 2)

    solver = tfm.Minimizer(fun, np.zeros(2), args=(0.0,))
    batch = solver.minimize_batch(batched_args=np.arange(3.0), num_threads=2)
    assert list(batch.errors) == [1]
    assert "not one" in str(batch.errors[1])
    np.testing.assert_array_equal(batch.success, [True, False, True])


def test_solves_after_a_batch_take_their_own_arguments() -> None:
    data = np.ones(2)
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=tf.constant(data))
    before = solver.minimize().x
    solver.minimize_batch(batched_args=np.full((4, 2), 7.0))
    np.testing.assert_array_equal(solver.minimize().x, before)


def test_earlier_results_stay_as_they_are() -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 4), np.zeros(2), args=(1.0,))
    result = solver.minimize()
    expected = result.x.copy()
    batch = solver.minimize_batch(batched_args=np.arange(5.0))
    kept = batch.x.copy()
    pairs = result.hess_inv.sk.copy()
    solver.minimize_batch(batched_args=np.arange(5.0) - 9.0)
    np.testing.assert_array_equal(result.x, expected)
    np.testing.assert_array_equal(batch.x, kept)
    fresh = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 4), np.zeros(2), args=(1.0,)).minimize()
    np.testing.assert_array_equal(pairs, fresh.hess_inv.sk)


def test_options_and_limits() -> None:
    problem = tfm.testing.rosenbrock(4)
    solver = tfm.Minimizer(problem.fun, problem.x0)
    starts = np.random.default_rng(0).normal(size=(3, 4))
    batch = solver.minimize_batch(starts, options={"maxiter": 2})
    np.testing.assert_array_equal(batch.nit, 2)
    np.testing.assert_array_equal(batch.status, 1)
    assert set(batch.message) == {solver.minimize(starts[0], options={"maxiter": 2}).message}


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_result_is_printed(method: str) -> None:
    problem = tfm.testing.rosenbrock(4)
    starts = np.stack([np.ones(4), *np.random.default_rng(0).normal(size=(30, 4))])  # the first is the solution
    batch = tfm.Minimizer(problem.fun, problem.x0, method=method).minimize_batch(starts, options={"maxiter": 2})
    printed = repr(batch)
    assert max(map(len, printed.splitlines())) <= 100
    assert f"1 of: {batch.message[0]}" in printed
    assert f"30 of: {batch.message[1]}" in printed


def test_backend_and_timing() -> None:
    for jit_compile in (False, True):
        solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=0.0, jit_compile=jit_compile)
        batch = solver.minimize_batch(batched_args=np.arange(3.0))
        one = solver.minimize()
        assert (batch.backend, batch.backend_reason) == (one.backend, one.backend_reason)
        assert batch.timing["total"] > 0
        assert set(batch.timing) == {"trace", "compile", "evaluate", "solver", "total"}


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=0.0)
    batch = solver.minimize_batch(batched_args=np.arange(12.0), progress=True)
    assert batch.success.all()
    assert "12/12" in capsys.readouterr().out


def test_batches_in_several_threads_at_once(curves: np.ndarray) -> None:
    from concurrent.futures import ThreadPoolExecutor

    solver = tfm.Minimizer(decay, np.ones(4), args=(T, curves[0]), bounds=(0.0, 10.0), jit_compile=True)
    expected = solver.minimize_batch(batched_args=curves).x
    with ThreadPoolExecutor(4) as pool:
        for batch in pool.map(lambda _: solver.minimize_batch(batched_args=curves, num_threads=2), range(8)):
            np.testing.assert_array_equal(batch.x, expected)
