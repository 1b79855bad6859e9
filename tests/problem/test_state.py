"""Files of states: whole or refused, each with a sentence."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm
from tfminimize._problem import state_file

X0 = np.array([-1.2, 1.0])


@pytest.fixture(scope="module")
def state() -> tfm.State:
    return tfm.minimize(rosenbrock, X0, bounds=[(-2.0, 2.0)] * 2, options={"maxcor": 2, "maxiter": 5}).state


def assert_same_state(ours: tfm.State, theirs: tfm.State) -> None:
    assert ours.solver == theirs.solver
    assert (ours.method, ours.n, ours.options, ours.nit, ours.nfev, ours.fun) == (
        theirs.method,
        theirs.n,
        theirs.options,
        theirs.nit,
        theirs.nfev,
        theirs.fun,
    )
    ours.conditions.check_same(theirs.conditions)


def test_loaded_state_is_the_one_that_was_saved(state: tfm.State, tmp_path: Path) -> None:
    state.save(tmp_path / "fit.npz")
    assert_same_state(tfm.State.load(tmp_path / "fit.npz"), state)
    assert os.listdir(tmp_path) == ["fit.npz"]


def test_state_of_constraints_is_loaded(tmp_path: Path) -> None:
    constraint = {"type": "ineq", "fun": lambda x: 1.5 - tf.reduce_sum(x**2)}
    problem: dict[str, Any] = {"method": "SLSQP", "constraints": constraint}
    part = tfm.minimize(rosenbrock, X0, **problem, options={"maxiter": 4})
    part.state.save(tmp_path / "fit")
    loaded = tfm.State.load(str(tmp_path / "fit"))
    assert_same_state(loaded, part.state)
    whole = tfm.minimize(rosenbrock, X0, **problem)
    np.testing.assert_array_equal(tfm.minimize(rosenbrock, X0, **problem, state=loaded).x, whole.x)


def test_numpy_reads_the_file(state: tfm.State, tmp_path: Path) -> None:
    state.save(tmp_path / "fit.npz")
    with np.load(tmp_path / "fit.npz") as arrays:
        np.testing.assert_array_equal(arrays["lower"], [-2.0, -2.0])


def test_file_cut_short_anywhere_is_refused(state: tfm.State) -> None:
    whole = state.serialize()
    for size in range(len(whole)):
        with pytest.raises(ValueError, match=r"not a state of tfminimize|damaged"):
            tfm.State().deserialize(whole[:size])


def test_file_with_any_byte_changed_is_refused(state: tfm.State) -> None:
    whole = bytearray(state.serialize())
    for i in range(len(whole)):
        for bit in (1, 128):
            whole[i] ^= bit
            with pytest.raises(ValueError, match=r"not a state of tfminimize|damaged"):
                tfm.State().deserialize(bytes(whole))
            whole[i] ^= bit


def sealed(content: bytes, version: int = 1) -> bytes:
    """Bytes with a right checksum at their end."""
    file = io.BytesIO(content + f"tfminimize state, version {version}, blake2b ".encode() + b"0" * 64)
    end = len(file.getvalue()) - 64
    return file.getvalue()[:end] + state_file._digest(file, end)


def test_forged_file_is_refused() -> None:
    random = np.random.default_rng(0)
    archive = io.BytesIO()
    np.savez(archive, description=np.array("{}"), solver=np.zeros(3))
    pickled = io.BytesIO()
    np.savez(pickled, description=np.array([None], object))
    for content in (b"", b"PK", random.bytes(500), archive.getvalue(), pickled.getvalue()):
        with pytest.raises(ValueError, match="the state in the checkpoint is damaged"):
            tfm.State().deserialize(sealed(content))


@pytest.mark.parametrize(
    ("name", "forged"),
    [
        ("description", np.array("[]")),
        ("description", np.array('{"method": 1}')),
        ("description", np.zeros(3)),
        ("lower", np.zeros(1)),
        ("solver", np.array("text")),
    ],
)
def test_forged_array_is_refused(state: tfm.State, name: str, forged: Any) -> None:
    file = io.BytesIO()
    state_file.write(file, state._arrays() | {name: forged})
    with pytest.raises(ValueError, match="is damaged"):
        tfm.State().deserialize(file.getvalue())


def test_forged_solver_is_refused(state: tfm.State) -> None:
    for solver in (b"", b"nonsense" * 30, state.solver[:-1]):
        file = io.BytesIO()
        state_file.write(file, state._arrays() | {"solver": np.frombuffer(solver, np.uint8)})
        forged = tfm.State()
        forged.deserialize(file.getvalue())
        for begin in ({"state": forged}, {"warm_start": forged}):
            with pytest.raises(ValueError, match="saved state"):
                tfm.minimize(rosenbrock, X0, bounds=[(-2.0, 2.0)] * 2, options={"maxcor": 2}, **begin)


def test_file_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="has version 7 of the format, and this tfminimize reads version 1"):
        tfm.State().deserialize(sealed(b"of the future", 7))


def test_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    for write in (lambda: path.write_bytes(b""), lambda: path.write_text("text"), lambda: np.savez(path, x=X0)):
        write()
        with pytest.raises(ValueError, match=r"other\.npz .*is not a state of tfminimize"):
            tfm.State.load(path)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(ValueError, match="is not a state of tfminimize"):
        tfm.State.load(path)


def test_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tfm.State.load(tmp_path / "none.npz")


def test_save_that_fails_leaves_the_old_file(state: tfm.State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fit.npz"
    state.save(path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        state.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["fit.npz"]


def test_checkpoint_of_tensorflow_has_the_state(state: tfm.State, tmp_path: Path) -> None:
    weight = tf.Variable(3.0)
    path = tf.train.Checkpoint(weight=weight, fit=state).save(tmp_path / "all")
    weight.assign(0.0)
    restored = tfm.State()
    tf.train.Checkpoint(weight=weight, fit=restored).restore(path).assert_consumed()
    assert weight.numpy() == 3.0
    assert_same_state(restored, state)


def test_empty_state_says_so_and_survives_a_checkpoint(tmp_path: Path) -> None:
    path = tf.train.Checkpoint(fit=tfm.State()).save(tmp_path / "all")
    restored = tfm.minimize(rosenbrock, X0).state
    tf.train.Checkpoint(fit=restored).restore(path)
    for use in (lambda: restored.nit, lambda: restored.save(tmp_path / "fit.npz")):
        with pytest.raises(ValueError, match="the state is empty"):
            use()
