"""The share of one process in data that all have."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfminimize._distribute.communicator import Communicator

__all__ = ["shard"]


def shard(data: Any, communicator: Communicator) -> Any:
    """Return this process's share of data that are the same in all processes.

    Parameters
    ----------
    data : array, tensor, nested structure of them, or tf.data.Dataset
        Arrays with one leading dimension, or a data set.
    communicator : Communicator

    Returns
    -------
    same as data
        Contiguous rows: as many for each process, but one more for the first ones if that does not go evenly. Of a data
        set every ``size``-th element, by `tf.data.Dataset.shard`; if these are batches, this process's batches.

    Examples
    --------
    >>> import numpy as np, types
    >>> comm = types.SimpleNamespace(rank=1, size=3)  # as a communicator says
    >>> tfm.distribute.shard(np.arange(7), comm)
    array([3, 4])
    """
    rank, size = communicator.rank, communicator.size
    if isinstance(data, tf.data.Dataset):
        return data.shard(size, rank)
    leaves = tf.nest.flatten(data)
    counts = {len(leaf) for leaf in leaves}
    if len(counts) != 1:
        raise ValueError(f"the items of data have {sorted(counts)} rows: all need the same leading dimension.")
    count = counts.pop()
    begin, end = (count // size * r + min(r, count % size) for r in (rank, rank + 1))
    return tf.nest.map_structure(lambda leaf: leaf[begin:end], data)
