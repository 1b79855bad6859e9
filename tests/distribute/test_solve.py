"""One full-batch fit by several processes: all take the same steps, to the solution of all data."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ranks import on_ranks, results

import tfminimize as tfm
from tfminimize._solve import ways

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(103, 3))
Y = np.sign(X @ [1.0, -2.0, 3.0] + RANDOM.normal(size=103))
START = np.array([0.1, 0.2, -0.1])
SHARES = [
    pytest.param([60, 43], id="two", marks=pytest.mark.weekly),
    pytest.param([20, 80, 3], id="three"),
    pytest.param([0, 103], id="first_empty"),
    pytest.param([50, 0, 53], id="one_empty", marks=pytest.mark.weekly),
]


def mean_loss(w: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.softplus(-tf.linalg.matvec(x, w) * y))


def sum_loss(w: Any, x: Any, y: Any) -> tf.Tensor:
    return tf.reduce_sum(tf.nn.softplus(-tf.linalg.matvec(x, w) * y))


def ridge(w: Any) -> tf.Tensor:
    return 0.3 * tf.reduce_sum(w**2)


def cut(rows: Sequence[int], rank: int, dtype: str = "float64") -> tuple[Any, Any]:
    begin = sum(rows[:rank])
    part = slice(begin, begin + rows[rank])
    return X[part].astype(dtype), Y[part].astype(dtype)


def solve(rows: Sequence[int], reduction: str = "mean", kind: str = "array", **options: Any) -> list[Any]:
    """Solve on as many ranks as there are shares; a single one is a solve without a communicator."""
    fun = mean_loss if reduction == "mean" else sum_loss
    batch_size, penalty = options.pop("batch_size", None), options.pop("penalty", ridge)
    start = options.pop("start", START)

    def work(comm: Any) -> Any:
        rank = 0 if comm is None else comm.rank
        data: Any = cut(rows, rank)
        if kind == "dataset":
            data = tf.data.Dataset.from_tensor_slices(data).batch(batch_size or 17)
        loss = tfm.DatasetLoss(fun, data, None if kind == "dataset" else batch_size, reduction, penalty, comm)
        seen: list[bytes] = []

        def note(intermediate_result: Any) -> None:
            seen.append(intermediate_result.x.tobytes() + intermediate_result.fun.tobytes())

        result = tfm.minimize(loss, start + rank, callback=note, **options)
        result.seen = seen
        return result

    return [work(None)] if len(rows) == 1 else results(on_ranks(len(rows), work))


METHODS: dict[str, dict[str, Any]] = {
    "L-BFGS-B": {"bounds": [(-1.0, 0.2)] * 3},
    "SLSQP": {"constraints": {"type": "ineq", "fun": lambda w: 0.05 - tf.reduce_sum(w**2)}},
    "BFGS": {},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", SHARES)
def test_ranks_take_the_same_steps_to_the_solution_of_all_data(method: str, rows: list[int]) -> None:
    options = METHODS[method]
    found = solve(rows, method=method, **options)
    alone = solve([103], method=method, **options)[0]
    assert all(one.seen == found[0].seen and one.seen for one in found)
    assert len({one.x.tobytes() for one in found}) == 1
    for one in found:
        assert one.success
        assert one.nit == alone.nit
        np.testing.assert_allclose(one.fun, alone.fun, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("penalty", [ridge, pytest.param(None, marks=pytest.mark.weekly)], ids=["penalty", "none"])
@pytest.mark.parametrize("rows", [[50, 0, 53], pytest.param([0, 103], marks=pytest.mark.weekly)], ids=str)
def test_loss_counts_each_row_and_the_penalty_once(reduction: str, penalty: Any, rows: list[int]) -> None:
    options = {"reduction": reduction, "penalty": penalty, "options": {"maxiter": 0}}
    alone = solve([103], **options)[0]
    for one in solve(rows, **options):
        np.testing.assert_allclose(one.fun, alone.fun, rtol=1e-13)
        np.testing.assert_allclose(one.jac, alone.jac, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "batch_size", "jit_compile"),
    [("array", 10, True), ("array", 10, False), ("array", None, True), ("dataset", 7, False), ("dataset", 7, True)],
)
@pytest.mark.parametrize(
    ("rows", "reduction"),
    [
        ([60, 43], "mean"),
        ([103, 0], "sum"),
        pytest.param([60, 43], "sum", marks=pytest.mark.weekly),
        pytest.param([103, 0], "mean", marks=pytest.mark.weekly),
    ],
)
def test_every_way_to_evaluate_gives_the_same_solution(
    kind: str, batch_size: int | None, jit_compile: bool, rows: list[int], reduction: str
) -> None:
    options = {"reduction": reduction, "kind": kind, "batch_size": batch_size, "jit_compile": jit_compile}
    found = solve(rows, **options)
    alone = solve([103], **options)[0]
    assert all(one.seen == found[0].seen for one in found)
    np.testing.assert_allclose(found[0].fun, alone.fun, rtol=1e-12)
    assert (found[0].backend == "xla") == (jit_compile and kind == "array")
    assert "sums" not in found[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variables_of_all_ranks_begin_at_those_of_rank_0_and_end_at_the_solution(dtype: str) -> None:
    def work(comm: Any) -> Any:
        w = tf.Variable(START + 7 * comm.rank, dtype=dtype)
        loss = tfm.DatasetLoss(lambda x, y: mean_loss(w, x, y), cut([90, 13], comm.rank, dtype), communicator=comm)
        result = tfm.minimize(loss, w)
        return result.history if "history" in result else w.numpy(), result.fun

    def alone() -> Any:
        w = tf.Variable(START, dtype=dtype)
        return tfm.minimize(tfm.DatasetLoss(lambda x, y: mean_loss(w, x, y), cut([103], 0, dtype)), w).fun

    (first, fun), (second, _) = results(on_ranks(2, work))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(fun, alone(), rtol=1e-12 if dtype == "float64" else 1e-5)


def test_minimizer_takes_other_shares_and_bounds() -> None:
    def work(comm: Any) -> Any:
        loss = tfm.DatasetLoss(mean_loss, cut([60, 43], comm.rank), communicator=comm)
        solver = tfm.Minimizer(loss, START)
        return solver.minimize().fun, solver.minimize(data=cut([60, 43], comm.rank), bounds=(-0.1, 0.1)).fun

    first, second = results(on_ranks(2, work))
    assert first == second
    np.testing.assert_allclose(first[0], solve([103], penalty=None)[0].fun, rtol=1e-12)
    np.testing.assert_allclose(first[1], solve([103], penalty=None, bounds=(-0.1, 0.1))[0].fun, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_callback_and_progress_on_one_rank_change_nothing(method: str) -> None:
    norms: list[float] = []

    def look(intermediate_result: Any) -> None:
        norms.append(intermediate_result.gradient_norm)

    def work(comm: Any) -> Any:
        loss = tfm.DatasetLoss(mean_loss, cut([60, 43], comm.rank), penalty=ridge, communicator=comm)
        looks = {"callback": look, "progress": True} if comm.rank == 1 else {}
        return tfm.minimize(loss, START, method=method, **looks, **METHODS[method])

    first, second = results(on_ranks(2, work))
    assert first.x.tobytes() == second.x.tobytes()
    assert first.nfev == second.nfev
    assert len(norms) == first.nit


def test_ranks_that_find_other_ways_to_be_faster_stay_at_the_same_x(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_PATIENCE", 0.0)  # rank 0 soon tries XLA

    def hard(v: Any, x: Any) -> tf.Tensor:
        return tf.reduce_mean(x**2) * tf.reduce_sum(100.0 * (v[1:] - v[:-1] ** 2) ** 2 + (1.0 - v[:-1]) ** 2)

    def work(comm: Any) -> Any:
        loss = tfm.DatasetLoss(hard, X[comm.rank :], communicator=comm)
        solver = tfm.Minimizer(loss, np.tile([-1.2, 1.0], 5), jit_compile="auto" if comm.rank == 0 else False)
        seen: list[bytes] = []

        def note(intermediate_result: Any) -> None:
            seen.append(intermediate_result.x.tobytes() + intermediate_result.fun.tobytes())
            if comm.rank == 0 and 3 < len(seen) < 20:
                (pool,) = solver._program._pools.values()
                time.sleep(0.06)  # longer than the time between two polls
                while not pool.ways.is_complete and (pool.ways._job is None or not pool.ways._job.has_ended):
                    pool.ways.attend()
                    time.sleep(0.001)

        result = solver.minimize(callback=note)
        return seen, result.nfev, result.backend

    (first, nfev, backend), (second, *others) = results(on_ranks(2, work))
    assert first == second
    assert [nfev, backend, *others] == [nfev, "xla", nfev, "tfe"]


def test_history_is_that_of_all_data() -> None:
    found = solve([60, 43], history=True)
    alone = solve([103], history=True)[0]
    for one in found:
        np.testing.assert_allclose(one.history["fun"], alone.history["fun"], rtol=1e-9)
        np.testing.assert_array_equal(one.history["nfev"], alone.history["nfev"])


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2)], ids=str)
def test_saved_state_goes_on_with_another_number_of_ranks(sizes: tuple[int, int], tmp_path: Any) -> None:
    path = tmp_path / "fit.npz"

    def work(comm: Any, **options: Any) -> Any:
        rows = [40, 63] if comm.size == 2 else [40, 3, 60]
        loss = tfm.DatasetLoss(mean_loss, cut(rows, comm.rank), penalty=ridge, communicator=comm)
        return tfm.minimize(loss, START, **options)

    def first(comm: Any) -> Any:
        return work(comm, callback=tfm.Checkpoint(path) if comm.rank == 0 else None, options={"maxiter": 3})

    assert results(on_ranks(sizes[0], first))[0].nit == 3
    found = results(on_ranks(sizes[1], lambda comm: work(comm, state=tfm.State.load(path))))
    alone = solve([103])[0]
    assert found[0].nit == alone.nit
    np.testing.assert_allclose(found[1].fun, alone.fun, rtol=1e-12)


def test_warm_start_is_taken_by_all() -> None:
    def work(comm: Any) -> Any:
        loss = tfm.DatasetLoss(mean_loss, cut([60, 43], comm.rank), communicator=comm)
        first = tfm.minimize(loss, START)
        return tfm.minimize(loss, START, warm_start=first).x.tobytes()

    assert len(set(results(on_ranks(2, work)))) == 1


def test_data_with_no_rows_at_all_are_refused_everywhere() -> None:
    errors = on_ranks(
        2, lambda comm: tfm.minimize(tfm.DatasetLoss(mean_loss, (X[:0], Y[:0]), communicator=comm), START)
    )
    assert [str(error) for error in errors] == ["The data have no rows in any process: give at least one."] * 2


def test_nan_of_an_empty_share_counts_nothing() -> None:
    def fun(w: Any, x: Any) -> tf.Tensor:
        return tf.reduce_mean((w - x) ** 2)  # NaN for no rows

    def work(comm: Any) -> Any:
        return tfm.minimize(tfm.DatasetLoss(fun, np.ones(5 * comm.rank), communicator=comm), np.zeros(1))

    for result in results(on_ranks(2, work)):
        np.testing.assert_allclose(result.x, 1.0)


def test_nan_at_the_start_of_one_rank_is_that_of_all() -> None:
    def work(comm: Any) -> Any:
        data = np.full(3, math.nan if comm.rank else 1.0)
        return tfm.minimize(tfm.DatasetLoss(lambda w, x: tf.reduce_mean((w - x) ** 2), data, communicator=comm), [0.0])

    first, second = results(on_ranks(2, work))
    assert first.message == second.message
    assert not first.success
    assert math.isnan(first.fun)
    assert math.isnan(second.fun)
