"""A logistic regression on data that are never in memory at once: a tf.data.Dataset reads them from files.

`tfm.DatasetLoss` adds up loss and gradient file by file, so L-BFGS-B sees the loss over all rows. The first fit stops
early, as a program does that dies; `tfm.Checkpoint` has saved its state, and the second fit goes on from there.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow as tf

import tfminimize as tfm

FILES, ROWS, FEATURES = 24, 20_000, 20  # 480,000 rows in all
PENALTY = 1e-4

TRUE_WEIGHTS = np.linspace(-1.0, 1.0, FEATURES)
START = {"weights": np.zeros(FEATURES, np.float32), "bias": np.float32(0.0)}


def write_files(folder: Path) -> list[str]:
    """Write rows of features and a label, in float32."""
    random = np.random.default_rng(0)
    paths = [str(folder / f"rows-{i:02}.bin") for i in range(FILES)]
    for path in paths:
        x = random.normal(size=(ROWS, FEATURES)) * np.linspace(0.2, 2.0, FEATURES)
        probability = 1.0 / (1.0 + np.exp(-(x @ TRUE_WEIGHTS + 0.5)))
        label = random.random(ROWS) < probability
        np.column_stack([x, label]).astype(np.float32).tofile(path)
    return paths


def read(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Read one batch: the features and the labels of a file."""
    rows = tf.reshape(tf.io.decode_raw(tf.io.read_file(path), tf.float32), [-1, FEATURES + 1])
    return rows[:, :-1], rows[:, -1]


def cross_entropy(state: Any, x: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    logits = tf.linalg.matvec(x, state["weights"]) + state["bias"]
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=logits))


def penalty(state: Any) -> tf.Tensor:
    return PENALTY * tf.reduce_sum(state["weights"] ** 2)


def fit(loss: tfm.DatasetLoss, path: Path, **options: Any) -> tfm.OptimizeResult:
    """Go on from the state that is saved at a path, if there is one."""
    state = tfm.State.load(path) if path.exists() else None
    begin = time.perf_counter()
    result = tfm.minimize(loss, START, state=state, callback=tfm.Checkpoint(path, every=5), options=options)
    said = f"{result.nit} iterations, {result.nfev} evaluations, {time.perf_counter() - begin:.1f} s"
    print(f"loss {result.fun:.6f}: {said} ({result.message})")
    return result


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = tf.data.Dataset.from_tensor_slices(write_files(Path(folder)))
        batches = files.map(read, num_parallel_calls=2).prefetch(2)
        loss = tfm.DatasetLoss(cross_entropy, batches, penalty=penalty)

        saved = Path(folder) / "fit.npz"
        print(f"{FILES * ROWS:,} rows in {FILES} batches")
        fit(loss, saved, maxiter=6)
        result = fit(loss, saved)

        error = np.abs(result.x["weights"] - TRUE_WEIGHTS).max()
        print(f"the weights differ from those that made the data by at most {error:.3f}")


if __name__ == "__main__":
    main()
