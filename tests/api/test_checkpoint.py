"""States that are saved in the background of a solve."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import dying_solves
import numpy as np
import pytest
import tensorflow as tf
from interpreter import TESTS, run_python
from problems import rosenbrock
from results import assert_same

import tfminimize as tfm

X0 = np.array([-1.2, 1.0, 0.5])


def interrupting_at(count: int, error: type[BaseException]) -> Any:
    """A callback that raises at the iteration with this number."""
    calls: list[None] = []

    def callback(xk: Any) -> None:
        calls.append(None)
        if len(calls) == count:
            raise error

    return callback


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_last_state_is_saved_at_the_end(method: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.npz"
    whole = tfm.minimize(rosenbrock, X0, method=method)
    tfm.minimize(rosenbrock, X0, method=method, callback=tfm.Checkpoint(path), options={"maxiter": 6})
    state = tfm.State.load(path)
    assert state.nit == 6
    assert_same(tfm.minimize(rosenbrock, X0, method=method, state=state), whole)
    assert os.listdir(tmp_path) == ["fit.npz"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_solve_that_is_interrupted_or_fails_can_go_on(method: str, error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "fit.npz"
    checkpoint = tfm.Checkpoint(path, callback=interrupting_at(5, error))
    with pytest.raises(error):
        tfm.minimize(rosenbrock, X0, method=method, callback=checkpoint)
    state = tfm.State.load(path)
    assert_same(tfm.minimize(rosenbrock, X0, method=method, state=state), tfm.minimize(rosenbrock, X0, method=method))


def test_saves_every_so_many_iterations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(tfm.State, "save", lambda self, path: saved.append(self.nit))
    checkpoint = tfm.Checkpoint(tmp_path / "fit.npz", every=5, callback=lambda xk: checkpoint._thread.join())
    checkpoint._thread = threading.Thread()
    checkpoint._thread.start()
    tfm.minimize(rosenbrock, X0, callback=checkpoint, options={"maxiter": 17})
    assert saved == [5, 10, 15, 17]


def test_solve_does_not_wait_for_a_slow_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    goes_on = threading.Event()

    def save(self: tfm.State, path: Any) -> None:
        assert goes_on.wait(60)
        saved.append(self.nit)

    def let_go(xk: Any) -> None:
        calls.append(None)
        if len(calls) == 7:
            goes_on.set()
            checkpoint._thread.join()

    calls: list[None] = []
    monkeypatch.setattr(tfm.State, "save", save)
    checkpoint = tfm.Checkpoint(tmp_path / "fit.npz", every=2, callback=let_go)
    tfm.minimize(rosenbrock, X0, callback=checkpoint, options={"maxiter": 9})
    assert saved == [2, 8, 9]


def test_users_callback_ends_the_solve(tmp_path: Path) -> None:
    checkpoint = tfm.Checkpoint(tmp_path / "fit.npz", callback=interrupting_at(3, StopIteration))
    result = tfm.minimize(rosenbrock, X0, callback=checkpoint)
    assert result.status == 99
    assert tfm.State.load(tmp_path / "fit.npz").nit == 3


def test_error_of_a_save_comes_up_at_the_next_iteration(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def remove(xk: Any) -> None:
        calls.append(None)
        if len(calls) == 1:
            folder.rmdir()
        elif checkpoint._thread is not None:
            checkpoint._thread.join()

    calls: list[None] = []
    checkpoint = tfm.Checkpoint(folder / "fit.npz", every=2, callback=remove)
    with pytest.raises(FileNotFoundError), pytest.warns(RuntimeWarning, match="The state could not be saved"):
        tfm.minimize(rosenbrock, X0, callback=checkpoint)
    assert len(calls) == 2


def test_error_of_the_last_save_comes_up_once_the_variables_have_the_solution(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    v = tf.Variable(X0)
    checkpoint = tfm.Checkpoint(folder / "fit.npz", every=10**6)
    folder.rmdir()
    with pytest.raises(FileNotFoundError):
        tfm.minimize(lambda: rosenbrock(v), v, callback=checkpoint)
    np.testing.assert_allclose(v.numpy(), 1.0, atol=1e-3)


def test_checkpoint_serves_several_solves(tmp_path: Path) -> None:
    checkpoint = tfm.Checkpoint(tmp_path / "fit.npz", every=3)
    for maxiter in (4, 5):
        tfm.minimize(rosenbrock, X0, callback=checkpoint, options={"maxiter": maxiter})
        assert tfm.State.load(tmp_path / "fit.npz").nit == maxiter


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("missing/fit.npz",), "the folder .*missing is not there"),
        ((".",), "a folder: give the name of a file"),
        (("fit.npz", 0), "every is 0"),
        (("fit.npz", 2.5), "every is 2.5"),
        (("fit.npz", 5, "text"), "callback is 'text'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.Checkpoint(tmp_path / arguments[0], *arguments[1:])


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("method", "backend"),
    [
        ("L-BFGS-B", "tfe"),
        ("L-BFGS-B", "xla"),
        ("SLSQP", "tfe"),
        ("SLSQP", "xla"),
        ("BFGS", "xla"),
        pytest.param("BFGS", "tfe", marks=pytest.mark.weekly),
    ],
)
def test_solve_whose_process_was_killed_goes_on_with_the_same_bits(method: str, backend: str, tmp_path: Path) -> None:
    minimizer = dying_solves.minimizer(method, backend)
    whole = minimizer.minimize()
    iterations = np.random.default_rng([len(method), ord(backend[0])]).choice(np.arange(2, whole.nit), 5, replace=False)
    printed = run_python(TESTS / "dying_solves.py", tmp_path, method, backend, *map(str, iterations))
    assert printed.splitlines()[-5:] == [f"{iteration} True" for iteration in iterations]
    for iteration in iterations:
        state = tfm.State.load(tmp_path / f"{iteration}.npz")
        assert 0 < state.nit <= iteration
        assert_same(minimizer.minimize(state=state), whole)
