"""What ends a solve on one rank ends it on all, at the same iteration."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ranks import on_ranks, results

import tfminimize as tfm
from tfminimize.distribute import LostError, PeerError

START = [-1.2, 1.0, 1.0]


def hard(v: Any, x: Any) -> tf.Tensor:
    """Rosenbrock's function, which takes some 30 iterations."""
    return tf.reduce_mean(x) * tf.reduce_sum(100.0 * (v[1:] - v[:-1] ** 2) ** 2 + (1.0 - v[:-1]) ** 2)


def solving(
    variables: list[tf.Variable], fun: Callable[..., Any] = hard, **by_rank: Any
) -> Callable[[Any], tfm.OptimizeResult]:
    """The work of a rank; an option that is a function gets the rank."""

    def work(comm: Any) -> Any:
        options = {name: one(comm.rank) if callable(one) else one for name, one in by_rank.items()}
        v = variables[comm.rank]
        loss = tfm.DatasetLoss(lambda x: fun(v, x), np.ones(4), communicator=comm)
        return tfm.minimize(loss, v, **options)

    return work


def fresh(size: int) -> list[tf.Variable]:
    return [tf.Variable(START, dtype=tf.float64) for _ in range(size)]


class Failing:
    """A callback that notes iterations, and raises in one of them."""

    def __init__(self, error: BaseException | None, when: int = 3) -> None:
        self.error = error
        self.when = when
        self.count = 0
        self.end: Any = None

    def __call__(self, xk: Any) -> None:
        self.count += 1
        if self.error is not None and self.count == self.when:
            raise self.error


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("failing", [0, 1])
def test_exception_of_one_callback_ends_all_at_the_same_iteration(method: str, failing: int) -> None:
    variables, callbacks = fresh(3), [Failing(OSError("disk full") if rank == failing else None) for rank in range(3)]
    errors = on_ranks(3, solving(variables, callback=lambda rank: callbacks[rank], method=method))
    assert isinstance(errors[failing], OSError)
    for rank, error in enumerate(errors):
        if rank != failing:
            assert isinstance(error, PeerError), error
            assert (error.rank, error.error_type, error.text) == (failing, "OSError", "disk full")
        assert variables[rank].numpy().tolist() == START
    assert [callback.count for callback in callbacks] == [3] * 3


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_stop_iteration_of_one_callback_stops_all_with_the_same_iterate(method: str) -> None:
    variables, callbacks = fresh(2), [Failing(StopIteration() if rank else None) for rank in range(2)]
    found = results(on_ranks(2, solving(variables, callback=lambda rank: callbacks[rank], method=method)))
    assert [one.status for one in found] == [99, 99]
    assert [one.nit for one in found] == [3, 3]
    assert found[0].x.tobytes() == found[1].x.tobytes() == variables[0].numpy().tobytes()
    assert [callback.count for callback in callbacks] == [3, 3]

    alone = Failing(StopIteration())
    v = fresh(1)[0]
    reference = tfm.minimize(lambda: hard(v, np.ones(4)), v, callback=alone, method=method)
    np.testing.assert_allclose(found[0].x, reference.x, rtol=1e-9)
    assert found[0].nfev == reference.nfev


def test_exception_of_the_loss_of_one_rank_ends_all() -> None:
    def fun(v: Any, x: Any) -> tf.Tensor:
        check = tf.debugging.Assert(tf.logical_or(tf.reduce_all(x > 0), v[0] < -0.5), ["far enough"])
        with tf.control_dependencies([check]):
            return hard(v, tf.abs(x))

    def work(comm: Any) -> Any:
        v = variables[comm.rank]
        data = np.ones(4) * (-1 if comm.rank else 1)
        return tfm.minimize(tfm.DatasetLoss(lambda x: fun(v, x), data, communicator=comm), v)

    variables = fresh(2)
    first, second = on_ranks(2, work)
    assert isinstance(second, tf.errors.InvalidArgumentError)
    assert isinstance(first, PeerError)
    assert "far enough" in first.text
    assert all(v.numpy().tolist() == START for v in variables)


def test_exception_of_the_last_callback_leaves_all_variables_untouched() -> None:
    variables = fresh(2)
    last = tfm.minimize(lambda: hard(variables[0], np.ones(4)), variables[0]).nit
    variables = fresh(2)
    callbacks = [Failing(OSError("too late") if rank else None, last) for rank in range(2)]
    errors = on_ranks(2, solving(variables, callback=lambda rank: callbacks[rank]))
    assert [type(error) for error in errors] == [PeerError, OSError]
    assert all(v.numpy().tolist() == START for v in variables)


def test_ctrl_c_on_one_rank_ends_all() -> None:
    variables = fresh(2)

    def press(rank: int) -> Any:
        return (lambda xk: os.kill(os.getpid(), signal.SIGINT)) if rank == 0 else None

    errors = on_ranks(2, solving(variables, callback=press))
    assert isinstance(errors[0], KeyboardInterrupt)
    assert isinstance(errors[1], PeerError)
    assert errors[1].error_type == "KeyboardInterrupt"
    assert all(v.numpy().tolist() == START for v in variables)


@pytest.fixture
def no_collections() -> Iterator[None]:
    """Without them no callback of the garbage collector, such as JAX's, can swallow a KeyboardInterrupt."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collections")
def test_ctrl_c_at_any_time_never_leaves_a_rank_alone() -> None:
    variables = fresh(2)
    timers: list[threading.Timer] = []

    def endless(comm: Any) -> Any:
        v = variables[comm.rank]
        loss = tfm.DatasetLoss(lambda x: hard(v, x), np.ones(4), communicator=comm)
        solver = tfm.Minimizer(loss, v)  # now, as TensorFlow makes another error of a KeyboardInterrupt in a trace
        solver.minimize()
        if comm.rank == 0:
            timers.append(threading.Timer(0.02 * (1 + len(timers)), os.kill, (os.getpid(), signal.SIGINT)))
            timers[-1].start()
        while True:
            v.assign(START)
            solver.minimize(options={"maxiter": 10**6, "ftol": 0.0, "gtol": 0.0})

    for _ in range(5):
        first, second = on_ranks(2, endless, timeout=1.0)
        assert isinstance(first, KeyboardInterrupt)
        assert isinstance(second, (PeerError, LostError))  # lost only if it was pressed between two solves
        timers[-1].join()


@pytest.mark.parametrize("slow", [0, 1])
def test_maxtime_ends_all_at_the_same_iteration(slow: int) -> None:
    variables = fresh(2)

    def wait(rank: int) -> Any:
        return (lambda xk: time.sleep(0.1)) if rank == slow else None

    found = results(on_ranks(2, solving(variables, callback=wait, options={"maxtime": 0.35})))
    assert found[0].status == found[1].status == 1
    assert "time" in found[0].message.lower()
    assert found[0].nit == found[1].nit
    assert found[0].x.tobytes() == found[1].x.tobytes()


@pytest.mark.parametrize(
    ("name", "by_rank", "sentence"),
    [
        ("method", {"method": lambda rank: ["L-BFGS-B", "BFGS"][rank]}, "process 1 has method BFGS, and process 0 has"),
        ("options", {"options": lambda rank: {"maxiter": 5 + rank}}, "process 1 has options"),
        ("bounds", {"bounds": lambda rank: (-2.0, 2.0 + rank)}, "process 1 has bounds of its own"),
        ("history", {"history": lambda rank: rank == 0}, "process 1 has history False, and process 0 has True"),
    ],
)
def test_different_problems_are_refused_before_the_first_evaluation(name: str, by_rank: Any, sentence: str) -> None:
    variables = fresh(2)
    for error in on_ranks(2, solving(variables, **by_rank)):
        assert isinstance(error, ValueError), error
        assert str(error).startswith(sentence)
    assert all(v.numpy().tolist() == START for v in variables)


def test_different_shapes_and_losses_are_refused() -> None:
    def shapes(comm: Any) -> Any:
        loss = tfm.DatasetLoss(lambda w, x: tf.reduce_sum(w**2) * tf.reduce_mean(x), np.ones(3), communicator=comm)
        return tfm.minimize(loss, np.ones(2 + comm.rank))

    def losses(comm: Any) -> Any:
        reduction = ["mean", "sum"][comm.rank]
        loss = tfm.DatasetLoss(lambda w, x: tf.reduce_sum(w**2), np.ones(3), None, reduction, communicator=comm)
        return tfm.minimize(loss, np.ones(2))

    for error in on_ranks(2, shapes):
        assert "process 1 has x0 " in str(error)
    for error in on_ranks(2, losses):
        assert "process 1 has loss ('sum', 'no penalty'), and process 0 has ('mean', 'no penalty')" in str(error)


@pytest.mark.parametrize("failing", [0, 1])
def test_bad_input_of_one_rank_ends_all(failing: int) -> None:
    def bounds(rank: int) -> Any:
        return [(0.0, 1.0)] * 7 if rank == failing else None

    errors = on_ranks(2, solving(fresh(2), bounds=bounds))
    assert isinstance(errors[failing], ValueError)
    assert isinstance(errors[1 - failing], PeerError)
    assert errors[1 - failing].text == str(errors[failing])


def test_state_that_does_not_fit_on_one_rank_ends_all() -> None:
    other = tfm.minimize(lambda w: tf.reduce_sum((w - 1.0) ** 2), np.zeros(3), options={"maxcor": 5}).state

    def work(comm: Any) -> Any:
        loss = tfm.DatasetLoss(lambda w, x: tf.reduce_mean((w - x) ** 2), np.ones(3), communicator=comm)
        return tfm.minimize(loss, np.zeros(3), state=other)

    assert all(isinstance(error, ValueError) and "maxcor" in str(error) for error in on_ranks(2, work))


def test_rank_that_is_missing_is_lost_within_the_timeout() -> None:
    def work(comm: Any) -> Any:
        if comm.rank == 1:
            return None
        return solving(variables)(comm)

    variables = fresh(2)
    begin = time.monotonic()
    first, _ = on_ranks(2, work, timeout=0.5)
    assert isinstance(first, LostError)
    assert "did not answer for 0.5 seconds" in str(first)
    assert time.monotonic() - begin < 30
    assert variables[0].numpy().tolist() == START


def test_communicator_that_has_lost_others_says_so_again() -> None:
    def work(comm: Any) -> Any:
        if comm.rank == 1:
            return None
        for _ in range(2):
            with pytest.raises(LostError, match="process 0 of 2 has lost the others: another process"):
                comm.sum(np.ones(3))
        return None

    results(on_ranks(2, work, timeout=0.2))


def test_after_a_failure_the_same_ranks_solve_again() -> None:
    variables = fresh(2)

    def work(comm: Any) -> Any:
        failing = Failing(OSError("once") if comm.rank else None)
        with pytest.raises((OSError, PeerError)):
            solving(variables, callback=lambda rank: failing)(comm)
        return solving(variables)(comm)

    assert all(result.success for result in results(on_ranks(2, work)))


@pytest.mark.parametrize(
    "call",
    [
        lambda loss: tfm.minimize(loss, np.zeros(3), method="Nelder-Mead"),
        lambda loss: tfm.hessian(loss, np.zeros(3)),
        lambda loss: tfm.Minimizer(loss, np.zeros(3)).minimize_batch(),
        lambda loss: tfm.compare(loss, np.zeros(3)),
        lambda loss: tf.function(lambda: tfm.minimize(loss, np.zeros(3)))(),
        lambda loss: tfm.math.minimize(lambda: loss(tf.zeros(3, tf.float64)), 3, tfm.LBFGSB()),
        lambda loss: loss(tf.zeros(3, tf.float64)),
        lambda loss: tfm.ScipyOptimizerInterface(loss, [tf.Variable(np.zeros(3))]).minimize(),
    ],
    ids=["scipy", "hessian", "batch", "compare", "graph", "math", "call", "interface"],
)
def test_what_runs_in_one_process_refuses_a_communicator(call: Callable[[Any], Any]) -> None:
    def work(comm: Any) -> Any:
        return call(tfm.DatasetLoss(lambda w, x: tf.reduce_mean((w - x) ** 2), np.ones(3), communicator=comm))

    for error in on_ranks(2, work):
        assert isinstance(error, (ValueError, PeerError))
        assert "the loss has a communicator" in str(error)


def test_communicator_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"communicator is 'all': give what tfminimize\.distribute\.communicator"):
        tfm.DatasetLoss(hard, np.ones(3), communicator="all")
