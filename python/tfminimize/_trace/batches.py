"""Batches: how data are cut so that the solver can call the loss of a batch, batch after batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._trace.blocks import block_rows
from tfminimize._trace.dataset_loss import BatchSum, Loss

__all__ = ["NO_ROWS", "WHOLE", "Batches", "Part", "cut"]


class Part(NamedTuple):
    """A part of a loss over data that is a function of its own."""

    kind: Literal["whole", "batch", "penalty"]
    rows: int | None = None
    """How many rows of the data it takes; None for as many as there are."""


WHOLE = Part("whole")
"""The sum over all batches, and the penalty."""

NO_ROWS = Part("penalty")
"""What data without rows leave of a loss: the penalty, or zero."""


class Batches(NamedTuple):
    """How data are cut into batches."""

    rows: int
    """Of all data."""
    size: int
    """Rows of a batch; the last one has the remainder, if there is any."""
    is_mean: bool
    num_tensors: int
    """How many of the first tensors in the arguments are data."""
    has_penalty: bool
    are_blocks: bool = False
    """Whether the size is our choice, and not the caller's."""

    @property
    def parts(self) -> list[Part]:
        """A batch, the smaller last batch if there is one, and the penalty if there is one.

        All take the same inputs, apart from the rows of the data; the penalty ignores the data.
        """
        last = [Part("batch", self.rows % self.size)] if self.rows % self.size else []
        return [Part("batch", self.size), *last, *([Part("penalty", self.size)] if self.has_penalty else [])]

    def specs(self, specs: Sequence[tf.TensorSpec], first: int, part: Part) -> list[tf.TensorSpec]:
        """The inputs of a part; ``specs`` are those of the whole, and the data begin with number ``first``."""
        if part.rows is None:
            return list(specs)
        end = first + self.num_tensors
        data = [tf.TensorSpec([part.rows, *spec.shape[1:]], spec.dtype) for spec in specs[first:end]]
        return [*specs[:first], *data, *specs[end:]]


def cut(fun: Loss, arguments: Arguments, num_parameters: int) -> Batches | None:
    """How the data of ``fun`` are cut, by its wish or into blocks; None if not at all, or if they are no tensors."""
    if not isinstance(fun, BatchSum) or isinstance(arguments.first, tf.data.Dataset):
        return None
    leaves = tf.nest.flatten(arguments.first)
    rows = leaves[0].shape[0]
    if rows is None:
        return None
    size = fun.batch_size
    if size is None:
        row = [leaf.shape[1:].num_elements() for leaf in leaves]
        size = None if None in row else block_rows(rows, num_parameters + sum(row))
    if size is None or rows <= size:
        return None
    is_mean, has_penalty = fun.reduction == "mean", fun.penalty is not None
    return Batches(rows, size, is_mean, len(leaves), has_penalty, are_blocks=fun.batch_size is None)
