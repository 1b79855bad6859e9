"""The course of a solve for TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm

START = np.array([-1.2, 1.0])


def written(folder: Path) -> dict[str, dict[int, float]]:
    """The scalars in a folder: for each name the value at each step."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return found


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.weekly)], ids=["graph", "machine code"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_scalars_are_those_of_the_record(method: str, jit: bool, tmp_path: Path) -> None:
    board = tfm.TensorBoard(tmp_path)
    result = tfm.minimize(rosenbrock, START, method=method, jit_compile=jit, callback=board, history=True)
    scalars = written(tmp_path)
    steps = list(range(1, result.nit + 1))
    for name, column in (("loss", "fun"), ("gradient_norm", "gradient_norm"), ("nfev", "nfev")):
        expected = {i: float(v) for i, v in enumerate(result.history[column]) if i > 0 and not np.isnan(v)}
        assert list(scalars[name]) == list(expected)
        np.testing.assert_allclose(list(scalars[name].values()), list(expected.values()), rtol=1e-6, atol=1e-30)
    assert list(scalars["loss"]) == steps


@pytest.mark.parametrize("method", ["CG", "Nelder-Mead", "trust-constr"])
def test_methods_of_scipy_are_written(method: str, tmp_path: Path) -> None:
    result = tfm.minimize(rosenbrock, START, method=method, callback=tfm.TensorBoard(tmp_path))
    losses = list(written(tmp_path)["loss"].values())
    assert len(losses) >= 0.9 * result.nit
    assert losses[-1] == pytest.approx(result.fun, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS", "CG"])
def test_file_is_closed_after_an_error(method: str, error: type[BaseException], tmp_path: Path) -> None:
    count = 0

    def callback(xk: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise error

    board = tfm.TensorBoard(tmp_path, callback=callback)
    with pytest.raises(error):
        tfm.minimize(rosenbrock, START, method=method, callback=board)
    assert list(written(tmp_path)["loss"]) == [1, 2, 3, 4]
    assert board._writer is None


def test_points_can_be_rare_and_each_solve_has_a_file(tmp_path: Path) -> None:
    board = tfm.TensorBoard(tmp_path / "new" / "folder", every=5)
    result = tfm.minimize(rosenbrock, START, callback=board)
    steps = list(range(5, result.nit + 1, 5))
    assert list(written(tmp_path / "new" / "folder")["loss"]) == steps
    tfm.minimize(rosenbrock, START, callback=board)
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2


def test_solve_that_goes_on_counts_on(tmp_path: Path) -> None:
    state = tfm.minimize(rosenbrock, START, options={"maxiter": 6}).state
    result = tfm.minimize(rosenbrock, START, state=state, callback=tfm.TensorBoard(tmp_path))
    assert list(written(tmp_path)["loss"]) == list(range(7, result.nit + 1))


def test_is_told_of_the_end_by_a_checkpoint(tmp_path: Path) -> None:
    board = tfm.TensorBoard(tmp_path / "logs")
    result = tfm.minimize(rosenbrock, START, callback=tfm.Checkpoint(tmp_path / "fit.npz", callback=board))
    assert len(written(tmp_path / "logs")["loss"]) == result.nit
    assert board._writer is None
    assert tfm.State.load(tmp_path / "fit.npz").nit == result.nit


def test_fit_of_keras_is_written(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    inputs = np.random.default_rng(0).normal(size=(20, 2))
    board = tfm.TensorBoard(tmp_path)
    history = tfm.keras.fit(model, inputs, inputs @ [1.0, 2.0], epochs=4, callbacks=[board], verbose=0)
    scalars = written(tmp_path)
    np.testing.assert_allclose(list(scalars["loss"].values()), history.history["loss"], rtol=1e-6)
    assert list(scalars["gradient_norm"]) == list(scalars["loss"])
    assert board._writer is None


def test_stop_iteration_of_its_callback_ends_the_solve(tmp_path: Path) -> None:
    def callback(xk: Any) -> None:
        raise StopIteration

    assert tfm.minimize(rosenbrock, START, callback=tfm.TensorBoard(tmp_path, callback=callback)).status == 99
    assert list(written(tmp_path)["loss"]) == [1]


def test_wrong_arguments_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="a file: give the name of a folder"):
        tfm.TensorBoard(tmp_path / "file")
    with pytest.raises(ValueError, match="every is 0: give the number of iterations"):
        tfm.TensorBoard(tmp_path, every=0)
    with pytest.raises(ValueError, match="turn them round"):
        tfm.TensorBoard(tmp_path, callback=tfm.Checkpoint(tmp_path / "fit.npz"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="`pip install tensorboard`"):
        tfm.TensorBoard(tmp_path)
