"""A Keras model that several ranks fit, each with its share of the rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import assert_same, regression, rows, weights_of
from ranks import on_ranks, results

import tfminimize as tfm
from tfminimize._keras.precision import Precision
from tfminimize.distribute import PeerError

pytestmark = pytest.mark.slow

X, Y = rows(count=61)
VX, VY = rows(seed=3, count=21)


def compiled(seed: int = 1, **options: Any) -> Any:
    model = regression(seed=seed)
    model.layers[0].trainable = options.pop("trainable", True)
    model.compile(**{"loss": "mse", "metrics": ["mae"], **options})
    return model


def part(arrays: Sequence[Any], counts: Sequence[int], rank: int) -> tuple[Any, ...]:
    begin = sum(counts[:rank])
    return tuple(array[begin : begin + counts[rank]] for array in arrays)


def fit(
    models: Sequence[Any],
    counts: Sequence[int] = (40, 21),
    validation: Sequence[int] | None = None,
    by_rank: Any = None,
    **options: Any,
) -> list[Any]:
    """Fit by so many ranks; ``by_rank(rank)`` has further options of a rank. Returns histories and errors."""

    def work(comm: Any) -> Any:
        mine = {} if by_rank is None else by_rank(comm.rank)
        if validation is not None:
            mine = {"validation_data": part((VX, VY), validation, comm.rank), **mine}
        x, y = part((X, Y), counts, comm.rank)
        mine = {"epochs": 5, "verbose": 0, "jit_compile": False, **options, **mine}
        return tfm.keras.fit(models[comm.rank], x, y, communicator=comm, **mine)

    return on_ranks(len(models), work)


EVENTS = ("on_train_begin", "on_epoch_begin", "on_test_end", "on_epoch_end", "on_train_end")


class At(keras.callbacks.Callback):
    """Does something when it is told of the event for the third time, or of a rare one."""

    def __init__(self, event: str, act: Any) -> None:
        super().__init__()
        self.count = 0

        def told(*args: Any, **kwargs: Any) -> None:
            self.count += 1
            if self.count == (1 if "train_begin" in event or "train_end" in event else 3):
                act()

        setattr(self, event, told)


def throw(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="mean"),
        pytest.param({"loss": keras.losses.MeanSquaredError(reduction="sum")}, id="sum", marks=pytest.mark.weekly),
    ],
)
def test_loss_and_metrics_are_those_of_all_rows_and_weights_end_alike(options: Any) -> None:
    alone = compiled(trainable=False, **options)
    expected = tfm.keras.fit(alone, X, Y, epochs=5, verbose=0, jit_compile=False, validation_data=(VX, VY)).history
    assert set(expected) == {"loss", "mae", "val_loss", "val_mae"}
    models = [compiled(seed=1 + rank, trainable=False, **options) for rank in range(3)]  # begin apart
    histories = results(fit(models, [40, 0, 21], [0, 1, 20]))
    if options:
        del expected["val_loss"]  # Keras's mean of the sums of batches, so it depends on the shares
    for model, history in zip(models, histories, strict=True):
        assert history.history == histories[0].history
        assert history.history.keys() >= expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(history.history[name], values, rtol=2e-4, err_msg=name)
        assert_same(weights_of(model), weights_of(models[0]))


def test_shares_may_be_datasets_and_empty() -> None:
    def dataset(rank: int) -> Any:
        x, y = part((X, Y), [0, 61], rank)
        return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(17), "y": None}

    def work(comm: Any) -> Any:
        options = {"epochs": 3, "verbose": 0, "communicator": comm, "optimizer": tfm.BFGS()}
        return tfm.keras.fit(models[comm.rank], **dataset(comm.rank), **options).history

    models = [compiled(seed=7 * rank) for rank in range(2)]
    first, second = results(on_ranks(2, work))
    expected = tfm.keras.fit(compiled(seed=0), X, Y, epochs=3, verbose=0, optimizer=tfm.BFGS()).history
    assert first == second
    np.testing.assert_allclose(first["mae"], expected["mae"], rtol=1e-3)


def test_fit_of_float32_to_its_precision_ends_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    is_flat, calls = Precision.is_flat, []

    def noted(*args: Any) -> bool:
        calls.append(is_flat(*args))
        return calls[-1]

    monkeypatch.setattr(Precision, "is_flat", noted)  # it evaluates the loss after the solve
    models = [keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)]) for _ in range(2)]
    for model in models:
        model.compile(loss="mse")
    first, second = results(fit(models, optimizer=tfm.BFGS(gtol=0.0), epochs=300))
    assert calls == [True, True]
    assert first.result.message == second.result.message
    assert first.result.message.startswith("CONVERGENCE: the precision of float32")
    assert_same(weights_of(models[0]), weights_of(models[1]))


def test_stop_training_of_one_rank_stops_all_after_the_same_epoch() -> None:
    models = [compiled() for _ in range(2)]

    def stop() -> None:
        models[1].stop_training = True

    histories = results(
        fit(models, by_rank=lambda rank: {"callbacks": [At("on_epoch_end", stop)] if rank else None}, epochs=20)
    )
    assert [len(history.epoch) for history in histories] == [3, 3]
    assert [history.result.message for history in histories] == [
        "STOP: stop_training or a callback ended the fit after epoch 3."
    ] * 2
    assert_same(weights_of(models[0]), weights_of(models[1]))


def test_exception_of_a_callback_of_one_rank_ends_all_with_their_old_weights() -> None:
    models = [compiled(seed=1 + rank) for rank in range(2)]
    before = [weights_of(model) for model in models]
    for event in EVENTS:
        ends = [At("on_epoch_end", lambda: None) for _ in range(2)]

        def callbacks(rank: int, event: str = event, ends: Any = ends) -> Any:
            failing = [At(event, lambda: throw(OSError("disk full")))] if rank else []
            return {"callbacks": [*failing, ends[rank]]}

        first, second = fit(models, validation=[10, 11], by_rank=callbacks)
        assert isinstance(second, OSError), event
        assert isinstance(first, PeerError), event
        assert (first.rank, first.error_type, first.text) == (1, "OSError", "disk full")
        for model, weights in zip(models, before, strict=True):
            assert_same(weights_of(model), weights)
        if event == "on_test_end":  # before the metrics of the validation are there
            assert ends[0].count == 2
    assert all(len(history.epoch) == 5 for history in results(fit(models)))  # they can go on


def test_only_rank_0_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def callbacks(rank: int) -> Any:
        folder = tmp_path / str(rank)
        folder.mkdir()
        writers = [
            keras.callbacks.CSVLogger(folder / "log.csv"),
            keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True),
            tfm.Checkpoint(folder / "fit.npz"),
        ]
        return {"callbacks": writers, "verbose": 2}

    histories = results(fit([compiled() for _ in range(2)], by_rank=callbacks))
    assert not list((tmp_path / "1").iterdir())
    assert len(list((tmp_path / "0").glob("*.weights.h5"))) == 5
    assert tfm.State.load(tmp_path / "0" / "fit.npz").nit == 5
    with (tmp_path / "0" / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses == histories[1].history["loss"]
    assert capsys.readouterr().out.count("Epoch 5/5") == 1


def test_backup_of_rank_0_is_restored_everywhere(tmp_path: Path) -> None:
    def backup(rank: int) -> Any:
        return keras.callbacks.BackupAndRestore(tmp_path / str(rank))

    def failing(rank: int) -> Any:
        return {"callbacks": [backup(rank), *([At("on_epoch_begin", lambda: throw(OSError()))] if rank else [])]}

    fit([compiled(seed=1 + rank) for rank in range(2)], by_rank=failing)
    models = [compiled(seed=5 + rank) for rank in range(2)]
    first, second = results(fit(models, by_rank=lambda rank: {"callbacks": [backup(rank)]}))
    assert first.epoch == second.epoch == [2, 3, 4]
    assert first.history == second.history
    assert_same(weights_of(models[0]), weights_of(models[1]))


def test_weights_that_a_callback_of_rank_0_restores_are_taken_by_all() -> None:
    models = [compiled() for _ in range(2)]
    stopping = keras.callbacks.EarlyStopping("loss", patience=0, start_from_epoch=1, mode="max")
    stopping.restore_best_weights = True
    results(fit(models, by_rank=lambda rank: {"callbacks": [] if rank else [stopping]}))
    assert_same(weights_of(models[0]), weights_of(models[1]))
    assert_same(weights_of(models[0]), stopping.best_weights)


@pytest.mark.weekly
def test_saved_state_goes_on_in_all_ranks() -> None:
    models = [compiled() for _ in range(2)]
    state = results(fit(models, epochs=3))[0].result.state
    histories = results(fit(models, epochs=6, state=state))
    assert [history.epoch for history in histories] == [[3, 4, 5]] * 2
    straight = [compiled() for _ in range(2)]
    results(fit(straight, epochs=6))
    assert_same(weights_of(models[1]), weights_of(straight[0]))


@pytest.mark.parametrize(
    ("by_rank", "sentence"),
    [
        (lambda rank: {"epochs": 5 + rank}, r"process 1 has epochs \(0, 6, 0\), and process 0 has \(0, 5, 0\)"),
        (lambda rank: {"validation_split": 0.2 * rank}, "process 1 has validation after 1, and process 0 has no"),
    ],
    ids=["epochs", "validation"],
)
def test_different_fits_are_refused(by_rank: Any, sentence: str) -> None:
    for error in fit([compiled() for _ in range(2)], by_rank=by_rank):
        with pytest.raises(ValueError, match=sentence):
            raise error


def test_different_models_are_refused() -> None:
    models = [regression(units=4 + rank) for rank in range(2)]
    for model in models:
        model.compile(loss="mse")
    for error in fit(models):
        assert isinstance(error, ValueError)
        assert str(error).startswith("process 1 has weights [((3, 5), 'float32')")


def test_layers_that_normalise_in_another_way_are_refused() -> None:
    models = []
    for rank in range(2):
        layer = keras.layers.Normalization()
        layer.adapt(part((X, Y), [40, 21], rank)[0])
        models.append(keras.Sequential([keras.layers.Input((3,)), layer, keras.layers.Dense(1)]))
        models[-1].compile(loss="mse")
    for error in fit(models):
        assert str(error).startswith("process 1 has normalization of its own, and process 0 has of its own")


def test_bad_input_of_one_rank_is_told_to_all() -> None:
    first, second = fit([compiled() for _ in range(2)], by_rank=lambda rank: {"epochs": 5 - 7 * rank})
    assert isinstance(second, ValueError)
    assert isinstance(first, PeerError)
    assert first.text == str(second)


def test_statistics_of_a_share_are_refused() -> None:
    models = []
    for _ in range(2):
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
        model.compile(loss="mse")
        models.append(model)
    for error in fit(models):
        assert "normalises each batch by its own statistics" in str(error)
        assert "one batch" not in str(error)


def test_communicator_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="communicator is 'all': give what"):
        tfm.keras.fit(compiled(), X, Y, communicator="all")


def test_model_of_tfminimize_passes_the_communicator_on() -> None:
    models = [regression(tfm.keras.Sequential, seed=1 + rank) for rank in range(2)]

    def work(comm: Any) -> Any:
        model = models[comm.rank]
        model.compile(optimizer=tfm.LBFGSB(), loss="mse")
        x, y = part((X, Y), [40, 21], comm.rank)
        model.fit(x, y, epochs=3, verbose=0, communicator=comm)
        return weights_of(model)

    assert_same(*results(on_ranks(2, work)))
