"""Blocks: how the rows of a loss over data are cut for several threads if the caller has not said how."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.parameters import Parameters
from tfminimize._tf import private
from tfminimize._trace.dataset_loss import BatchSum
from tfminimize._trace.objective_graph import ObjectiveGraph

__all__ = ["block_rows", "why_at_once"]

FEWEST, MOST = 256, 1024
"""Rows of a block. Fewer, and the calls of the program's parts cost more than their work; with more, the intermediate
values of most losses leave the cache of a core. From 512 to 1024 rows, the time for a row was within 15 % of the best
of all powers of two, for networks of 3 to 8 layers with 20 to 100 units and a regression, in float32 and float64."""

BLOCKS = 16
"""How many blocks there are at least, if they have enough rows: work for so many threads."""

MANY_ROWS = 8192
"""So many rows are always cut."""

LITTLE_WORK = 1 << 20
"""Fewer rows are not cut if rows · (parameters + numbers in a row) is less: that takes a core some ten microseconds,
hardly more than waking a thread."""

SAMPLE = 32
"""How many rows tell whether the loss adds up."""


def block_rows(rows: int, numbers: int) -> int | None:
    """The rows of a block, by the shapes alone, so that the same problem has the same bits on every machine.

    If possible they divide ``rows``: a smaller last block is a program of its own to compile.

    Parameters
    ----------
    rows : int
        Of all data.
    numbers : int
        Elements of x and of one row.

    Returns
    -------
    int or None
        None if all rows are one block.
    """
    if rows < 2 * FEWEST or (rows < MANY_ROWS and rows * numbers < LITTLE_WORK):
        return None
    wanted = min(max(rows // BLOCKS, FEWEST), MOST)
    near = range(wanted * 2 // 3, wanted * 3 // 2 + 1)
    divisors = [size for size in near if rows % size == 0]
    if divisors:
        return min(divisors, key=lambda size: abs(size - wanted))
    return math.ceil(rows / math.ceil(rows / wanted))


def why_at_once(fun: BatchSum, parameters: Parameters, arguments: Arguments, num_tensors: int) -> str:
    """Say why the loss of all rows is not that of its blocks; nothing if it is.

    It is evaluated for a few rows and for both halves of them: at the present values of variables, else at random
    numbers. A loss with ``reduction="mean"`` that is no mean over rows, such as one with the statistics of a batch, is
    found out by this, unless all rows are alike.
    """
    graph = ObjectiveGraph(fun, parameters, arguments, jit=False, takes_sums=True, part="batch")
    values = tf.function(graph.values, autograph=False)
    tensors = list(map(tf.convert_to_tensor, arguments.tensors))
    data, rest = tensors[:num_tensors], tensors[num_tensors:]
    chosen = np.linspace(0, data[0].shape[0] - 1, SAMPLE).astype(int)

    def value(x: list[Any], rows: Any) -> float:
        inputs = [*x, *(tf.gather(tensor, rows) for tensor in data), *rest]
        return float(values.get_concrete_function(*inputs)(*inputs)[0])

    try:
        with private.recording():
            for x in _points(parameters):
                both, first, second = (value(x, rows) for rows in (chosen, *np.split(chosen, 2)))
                if all(map(math.isfinite, (both, first, second))):
                    break
            else:
                return "the loss of a few rows is not finite"
    except Exception as error:  # the function may raise anything; if it is wrong for all rows too, that is raised then
        return f"the loss of a few rows raises {type(error).__name__}"
    parts = first + second if fun.reduction == "sum" else (first + second) / 2.0
    digits = math.sqrt(np.finfo(graph.dtype).eps)  # half of them
    if abs(parts - both) <= digits * max(abs(first), abs(second), abs(both)):
        return ""
    return f"the loss of a few rows is not the {fun.reduction} of that of their halves"


def _points(parameters: Parameters) -> list[list[Any]]:
    """Where to evaluate: the components that functions take."""
    if parameters.variables:
        return [[]]
    random = np.random.default_rng(0)
    segments = parameters.layout.segments
    draws: list[Callable[[Any], Any]] = [
        lambda shape: random.uniform(0.1, 1.0, shape),
        lambda shape: 0.1 * random.normal(size=shape),
    ]
    return [[tf.constant(draw(s.shape), s.dtype) for s in segments] for draw in draws]
