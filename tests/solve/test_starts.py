"""Batches whose problems have bounds of their own, or several starts; and other bounds for one solve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm


def wells(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    """Many local minima; the global one is at a."""
    z = x - tf.cast(a, x.dtype)
    return tf.reduce_sum(z**2 / 20 + 1 - tf.cos(3 * z))


def bowl(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - tf.cast(a, x.dtype)) ** 2)


CENTERS = np.array([[0.5, -0.3], [2.0, 1.0], [-1.0, 0.0], [0.1, 3.0]])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP"])
def test_each_problem_has_its_own_bounds(method: str, jit: bool) -> None:
    solver = tfm.Minimizer(bowl, np.zeros(2), (np.zeros(2),), method, jit_compile=jit)
    low = np.array([[-1.0, -1], [0, 0], [-2, -2], [0, 0]])
    high = low + 1.5
    batch = solver.minimize_batch(batched_args=(CENTERS,), bounds=(low, high), num_threads=2)
    np.testing.assert_allclose(batch.x, np.clip(CENTERS, low, high), atol=1e-6)
    for i, center in enumerate(CENTERS):
        single = solver.minimize(args=(center,), bounds=tfm.Bounds(low[i], high[i]))
        np.testing.assert_array_equal(batch.x[i], single.x)
        assert batch.nfev[i] == single.nfev
    np.testing.assert_allclose(solver.minimize(args=(CENTERS[1],)).x, CENTERS[1], atol=1e-6)  # nothing has stayed
    np.testing.assert_allclose(solver.minimize_batch(batched_args=(CENTERS,)).x, CENTERS, atol=1e-6)


def test_bounds_of_a_batch_broadcast() -> None:
    solver = tfm.Minimizer(bowl, np.zeros(2), (np.zeros(2),), bounds=(-9, 9))
    upper = np.array([[0.0], [1.0], [2.0], [3.0]])
    batch = solver.minimize_batch(batched_args=(CENTERS,), bounds=(None, upper))
    np.testing.assert_allclose(batch.x, np.minimum(CENTERS, upper), atol=1e-6)
    for for_all in (tfm.Bounds(-0.5, np.array([0.25, 1.0])), [(-0.5, 0.25), (-0.5, 1.0)]):
        batch = solver.minimize_batch(batched_args=(CENTERS,), bounds=for_all)
        np.testing.assert_allclose(batch.x, np.clip(CENTERS, -0.5, [0.25, 1.0]), atol=1e-6)


def test_bounds_of_float32_and_of_several_leaves() -> None:
    x0 = {"a": np.zeros((1, 3), np.float32), "b": np.float64(0.0)}

    def fun(x: Any) -> tf.Tensor:
        return tf.reduce_sum((tf.cast(x["a"], tf.float64) - 5) ** 2) + (x["b"] - 5) ** 2

    high = np.array([[0.1, 0.2, 0.3, 0.4], [1.1, 1.2, 1.3, 9.0]])
    batch = tfm.Minimizer(fun, x0).minimize_batch({"a": np.zeros((2, 1, 3)), "b": np.zeros(2)}, bounds=(-1.0, high))
    assert (batch.x["a"].reshape(2, 3).astype(np.float64) <= high[:, :3]).all()
    np.testing.assert_allclose(batch.x["a"].reshape(2, 3), high[:, :3], rtol=1e-6)
    np.testing.assert_allclose(batch.x["b"], [0.4, 5.0], atol=1e-6)


def test_best_of_several_starts() -> None:
    solver = tfm.Minimizer(wells, np.zeros(2), (np.zeros(2),), bounds=[(-9, 9)] * 2)
    start = np.full(2, 8.0)
    alone = solver.minimize_batch(start, batched_args=(CENTERS,))
    many = solver.minimize_batch(start, batched_args=(CENTERS,), n_starts=300, seed=1, history=True)
    again = solver.minimize_batch(start, batched_args=(CENTERS,), n_starts=300, seed=1, num_threads=1)
    assert (alone.fun > 0.1).all()
    np.testing.assert_allclose(many.x, CENTERS, atol=1e-5)
    assert many.success.all()
    assert (many.x.shape, len(many.message), many.best_start.shape) == ((4, 2), 4, (4,))
    np.testing.assert_array_equal(many.x, again.x)
    assert (many.nfev_total > many.nfev).all()
    for i in range(4):
        assert many.history[i]["fun"][-1] == many.fun[i]
        assert len(many.history[i]["fun"]) == many.nit[i] + 1


def test_one_problem_with_several_starts() -> None:
    solver = tfm.Minimizer(wells, np.full(2, 8.0), (CENTERS[0],), bounds=[(-9, 9)] * 2)
    best = solver.minimize_batch(n_starts=300, seed=2)
    np.testing.assert_allclose(best.x, CENTERS[:1], atol=1e-5)


def test_given_starts_need_no_bounds() -> None:
    solver = tfm.Minimizer(wells, np.zeros(2), (np.zeros(2),))
    starts = np.stack([CENTERS + 7, CENTERS + 0.1, CENTERS - 6], axis=1)
    best = solver.minimize_batch(starts, batched_args=(CENTERS,), n_starts=3)
    np.testing.assert_array_equal(best.best_start, [1, 1, 1, 1])
    np.testing.assert_allclose(best.x, CENTERS, atol=1e-5)


def test_starts_of_a_structure_and_of_variables() -> None:
    x0 = {"a": np.full((1, 2), 5.0), "b": np.float64(5.0)}

    def fun(x: Any) -> tf.Tensor:
        return wells(tf.concat([x["a"][0], [x["b"]]], 0), tf.constant([1.0, 2.0, 0.5], tf.float64))

    best = tfm.Minimizer(fun, x0, bounds={"a": (-7, 7), "b": (-7, 7)}).minimize_batch(n_starts=400, seed=0)
    np.testing.assert_allclose(best.x["a"], [[[1.0, 2.0]]], atol=1e-5)
    variable = tf.Variable([5.0, 5.0])
    solver = tfm.Minimizer(lambda a: wells(variable, a), variable, (CENTERS[0],), bounds=(-7, 7))
    best = solver.minimize_batch(n_starts=300, seed=0)
    np.testing.assert_allclose(best.x, CENTERS[:1], atol=1e-3)
    np.testing.assert_array_equal(variable.numpy(), [5.0, 5.0])


def test_start_that_fails_does_not_win() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.where(x[0] < 0, tf.constant(np.nan, x.dtype), (x[0] - 1) ** 2)

    best = tfm.Minimizer(fun, np.zeros(1)).minimize_batch(np.array([[[-1.0], [3.0], [-2.0]]]), n_starts=3)
    assert (best.success[0], best.best_start[0]) == (True, 1)
    none = tfm.Minimizer(fun, np.zeros(1)).minimize_batch(np.array([[[-1.0], [-3.0]]]), n_starts=2)
    assert not none.success[0]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"n_starts": 0}, "n_starts is 0: give the number of starts"),
        ({"n_starts": 2.0}, "n_starts is 2.0"),
        ({"n_starts": True}, "n_starts is True"),
        ({"n_starts": 3}, r"n_starts is 3, but x0\[0\] has no two finite bounds"),
        ({"n_starts": 3, "bounds": (0, [1.0, np.inf])}, r"x0\[1\] has no two finite bounds"),
        ({"bounds": (np.zeros((3, 2)), 1)}, r"the lower bounds cannot be broadcast to \(4, 2\)"),
        ({"bounds": (np.zeros((4, 1)), "a")}, "the upper bounds cannot be broadcast"),
        ({"bounds": np.zeros((3, 2))}, "the bounds for x0 have 3 entries"),
        ({"bounds": (np.array([[0.0], [0], [2], [0]]), 1)}, r"problem 2 for x0\[0\] are \(2.0, 1.0\)"),
        ({"bounds": (np.full((4, 1), np.nan), 1)}, "problem 0 for .* which no value satisfies"),
        ({"bounds": (np.nan, 1)}, "use None where there is no bound, not NaN"),
        ({"x0s": np.zeros((4, 3, 2)), "n_starts": 2}, r"x0s has shape \(4, 3, 2\)"),
    ],
)
def test_what_no_batch_can_use_is_refused(given: dict[str, Any], sentence: str) -> None:
    solver = tfm.Minimizer(bowl, np.zeros(2), (np.zeros(2),))
    with pytest.raises(ValueError, match=sentence):
        solver.minimize_batch(batched_args=(CENTERS,), **given)


def test_method_without_bounds_refuses_them() -> None:
    solver = tfm.Minimizer(bowl, np.zeros(2), (np.zeros(2),), "BFGS")
    for solve in (lambda: solver.minimize(bounds=(0, 1)), lambda: solver.minimize_batch(CENTERS, bounds=(0, 1))):
        with pytest.raises(ValueError, match="cannot handle bounds"):
            solve()


def test_bounds_of_one_solve_stay_with_its_state() -> None:
    solver = tfm.Minimizer(bowl, np.zeros(2), (np.full(2, 5.0),))
    first = solver.minimize(bounds=(0, np.array([1.0, 2.0])))
    second = solver.minimize(bounds=(0, np.array([3.0, 4.0])))
    np.testing.assert_allclose([first.x, second.x], [[1, 2], [3, 4]], atol=1e-6)
    assert solver.minimize(state=first.state, bounds=(0, np.array([1.0, 2.0]))).nit == first.nit
    with pytest.raises(ValueError, match="the state has the bounds"):
        solver.minimize(state=first.state, bounds=(0, np.array([3.0, 4.0])))


def test_arrays_as_arguments_are_read_anew() -> None:
    target = np.zeros(2)
    solver = tfm.Minimizer(bowl, np.ones(2), (target,), jit_compile=True)
    for value in (1.0, 2.0):
        target[:] = value
        np.testing.assert_allclose(solver.minimize().x, target, atol=1e-6)
    np.testing.assert_allclose(solver.minimize(args=(np.array([[9.0, 8], [7, 6]])[:, 0],)).x, [9, 7], atol=1e-6)
    for dtype in (np.float32, np.int64, np.float16, ">f8"):
        np.testing.assert_allclose(solver.minimize(args=(np.array([3, 4], dtype),)).x, [3, 4], atol=1e-6)
