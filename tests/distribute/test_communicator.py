"""What connects processes: how it is chosen, and the shares of data."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ranks import on_ranks, results

import tfminimize as tfm
from tfminimize.distribute import communicator, shard


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "TF_CONFIG is '', which names no workers"),
        ("{", "TF_CONFIG is '{', which names no workers"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "with an index below 1"),
        (
            '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 0}}',
            "must be workers",
        ),
    ],
)
def test_tf_config_that_names_no_workers_is_refused(
    monkeypatch: pytest.MonkeyPatch, config: str | None, sentence: str
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=sentence):
        communicator()


def test_server_is_refused_once_tensorflow_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    tf.constant(0.0)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(ValueError, match="TensorFlow has begun already"):
        communicator()


@pytest.mark.parametrize("source", ["mpi", 3, tf.distribute.get_strategy()], ids=["str", "int", "default strategy"])
def test_source_of_another_kind_is_refused(source: Any) -> None:
    with pytest.raises(ValueError, match="source is "):
        communicator(source)


@pytest.mark.parametrize("timeout", [0, -1.0, float("inf"), float("nan"), "60", True], ids=str)
def test_bad_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout is "):
        communicator(timeout=timeout)
    with pytest.raises(ValueError, match="start_timeout is "):
        communicator(start_timeout=timeout)


def test_exchanges_give_all_ranks_the_same() -> None:
    def work(comm: Any) -> Any:
        total, top, first = (np.array([comm.rank + 1.0, -comm.rank]) for _ in range(3))
        comm.sum(total)
        comm.maximum(top)
        comm.broadcast(first)
        return [total.tolist(), top.tolist(), first.tolist()]

    assert results(on_ranks(3, work)) == [[[6.0, -3.0], [3.0, 0.0], [1.0, 0.0]]] * 3


def test_communicator_is_not_copied() -> None:
    def work(comm: Any) -> None:
        for copied in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="belongs to its process"):
                copied(comm)

    results(on_ranks(2, work))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 12])
def test_shards_are_contiguous_and_hold_each_row_once(size: int, count: int) -> None:
    rows = np.arange(count)
    shares = [shard((rows, {"y": 2 * rows}), SimpleNamespace(rank=rank, size=size)) for rank in range(size)]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in shares]), rows)
    np.testing.assert_array_equal(np.concatenate([y["y"] for _, y in shares]), 2 * rows)
    sizes = [len(x) for x, _ in shares]
    assert max(sizes) - min(sizes) <= 1


def test_shards_of_a_dataset_hold_each_batch_once() -> None:
    data = tf.data.Dataset.range(10).batch(3)
    shares = [shard(data, SimpleNamespace(rank=rank, size=2)) for rank in range(2)]
    assert [[batch.numpy().tolist() for batch in one] for one in shares] == [
        [[0, 1, 2], [6, 7, 8]],
        [[3, 4, 5], [9]],
    ]


def test_rows_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the items of data have \[2, 3\] rows"):
        shard((np.ones(2), np.ones(3)), SimpleNamespace(rank=0, size=2))


def test_peer_error_says_who_and_what() -> None:
    error = tfm.distribute.PeerError(2, "OSError", "disk full")
    assert str(pickle.loads(pickle.dumps(error))) == "process 2 has ended the solve with OSError: disk full"
