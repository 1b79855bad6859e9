"""What the processes of a solve tell each other before it begins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfminimize._distribute.together import Alike, Together
from tfminimize._problem.arguments import Arguments
from tfminimize._problem.problem import Problem
from tfminimize._solve.going_on import Begin, Circumstances
from tfminimize._solve.workspace import Workspace
from tfminimize._tf.build_info import __version__
from tfminimize._trace.dataset_loss import BatchSum, Loss

__all__ = ["begin_together"]


def begin_together(
    peers: Together,
    loss: Loss,
    problem: Problem,
    workspace: Workspace,
    arguments: Arguments,
    options: Mapping[str, Any],
    begin: Begin,
    history: bool | str,
) -> None:
    """Check that all processes solve the same problem, and give them the start of process 0."""
    assert isinstance(loss, BatchSum)
    assert problem.native is not None
    bounds = problem.packed_bounds
    conditions = Circumstances(
        problem.native, workspace.layout, bounds, options, workspace.precision, workspace.linear
    ).conditions()
    states = [given for given in begin if given is not None]
    alike = Alike(
        version=__version__,
        method=problem.native.name,
        x0=conditions.components,
        bounds="none" if bounds[0] is None else _digest(*bounds),
        constraints=(conditions.num_equalities, conditions.num_inequalities, conditions.limits),
        options={name: _shown(value) for name, value in sorted(options.items())},
        loss=(loss.reduction, "no penalty" if loss.penalty is None else "a penalty"),
        history=history,
        state=_digest(*(state.solver for state in states)) if states else "none",
    )
    counts_rows = loss.counts_rows(arguments.first)
    workspace.precision = peers.begin(
        workspace.objective,
        workspace.x,
        alike,
        rows=0 if counts_rows else tf.nest.flatten(arguments.first)[0].shape[0],
        is_mean=loss.reduction == "mean",
        counts_rows=counts_rows,
        num_sums=workspace.num_sums,
        precision=workspace.precision,
    )


def _digest(*parts: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.digest()


def _shown(value: Any) -> Any:
    return _digest(value).hex() if isinstance(value, np.ndarray) else value
