"""What does one evaluation of a loss with data cost, through machine code and through TensorFlow?

The losses are a multinomial logistic regression on the digits (1,797 images of 64 pixels, and the same 20 times over)
and a Keras network on the same data. The table has the median time of one evaluation of loss and gradient in µs. The
ways to evaluate take turns:

- xla: the solver calls XLA's machine code directly, as with `jit_compile=True`;
- tfe-jit: XLA compiles the same function, but C++ calls it through TensorFlow;
- graph: C++ calls TensorFlow's graph;
- auto: what `jit_compile="auto"` has chosen, after its race;
- python: Python calls a `tf.function(jit_compile=True)`.

The last columns compare "auto" with the fastest of xla, tfe-jit and graph, and its time from a new `Minimizer` to the
first loss and gradient with that of the graph.

    python benchmarks/evaluation.py [--small] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import keras
import numpy as np
import tensorflow as tf
from peers import without_machine_code
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import tfminimize as tfm

WAYS = ("xla", "tfe-jit", "graph", "auto", "python")


def data(dtype: str, times: int) -> tuple[tf.Tensor, tf.Tensor]:
    images, labels = load_digits(return_X_y=True)
    return tf.constant(np.tile(images / 16, (times, 1)), dtype), tf.constant(np.tile(labels, times))


def regression(dtype: str, times: int) -> tuple[Callable[[], tf.Tensor], list[tf.Variable]]:
    images, labels = data(dtype, times)
    weights, bias = tf.Variable(tf.zeros([64, 10], dtype)), tf.Variable(tf.zeros([10], dtype))

    def loss() -> tf.Tensor:
        logits = images @ weights + bias
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    return loss, [weights, bias]


def network() -> tuple[Callable[[], tf.Tensor], list[tf.Variable]]:
    images, labels = data("float32", 1)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64, "tanh"), layers.Dense(32, "relu"), layers.Dense(10)])

    def loss() -> tf.Tensor:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images)))

    return loss, [variable.value for variable in model.trainable_variables]


def evaluation(way: str, loss: Callable[[], tf.Tensor], variables: list[tf.Variable]) -> Callable[[], Any]:
    """Return a function that evaluates the compiled loss and its gradient once."""
    if way == "python":

        @tf.function(jit_compile=True)
        def value_and_gradient() -> Any:
            with tf.GradientTape() as tape:
                value = loss()
            return value, tape.gradient(value, variables)

        return lambda: value_and_gradient()[0].numpy()
    with without_machine_code() if way == "tfe-jit" else contextlib.nullcontext():
        jit = {"graph": False, "auto": "auto"}.get(way, True)
        minimizer = tfm.Minimizer(loss, variables, jit_compile=jit)
        workspace = minimizer._program.lease(minimizer.arguments).workspace

    def evaluate() -> float:
        return workspace.objective.evaluate(workspace.x, workspace.gradient)

    while way == "auto" and not workspace.is_settled:
        evaluate()
    return evaluate


def seconds_to_first_result(jit_compile: Any, loss: Callable[[], tf.Tensor], variables: list[tf.Variable]) -> float:
    """Return the time from a new Minimizer to the first loss and gradient."""
    begin = time.perf_counter()
    minimizer = tfm.Minimizer(lambda: loss(), variables, jit_compile=jit_compile)
    workspace = minimizer._program.lease(minimizer.arguments).workspace
    workspace.objective.evaluate(workspace.x, workspace.gradient)
    seconds = time.perf_counter() - begin
    while jit_compile == "auto" and not workspace.is_settled:  # XLA must not compile while the next one is timed
        workspace.objective.evaluate(workspace.x, workspace.gradient)
    return seconds


def measure(name: str, problem: tuple[Any, list[tf.Variable]], repetitions: int) -> dict[str, Any]:
    evaluations = {way: evaluation(way, *problem) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for repetition in range(repetitions + 3):
        for way, evaluate in evaluations.items():
            for _ in range(5):  # in a row, as in a solve
                begin = time.perf_counter()
                evaluate()
                if repetition >= 3:
                    seconds[way].append(time.perf_counter() - begin)
    medians = {way: statistics.median(taken) for way, taken in seconds.items()}
    best = min(medians["tfe-jit"], medians["graph"], medians["python"])
    ours = min(medians["xla"], medians["tfe-jit"], medians["graph"])
    first: dict[Any, list[float]] = {False: [], "auto": []}
    for _ in range(2 if repetitions < 10 else 10):
        for jit, taken in first.items():
            taken.append(seconds_to_first_result(jit, *problem))
    return {
        "problem": name,
        **medians,
        "ratio": medians["xla"] / best,
        "auto_ratio": medians["auto"] / ours,
        "first_ratio": statistics.median(first["auto"]) / statistics.median(first[False]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="one problem, few evaluations")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no table")
    options = parser.parse_args()
    problems = {"digits float64": lambda: regression("float64", 1)}
    if not options.small:
        problems |= {
            "digits float32": lambda: regression("float32", 1),
            "digits float64, 20 times": lambda: regression("float64", 20),
            "digits float32, 20 times": lambda: regression("float32", 20),
            "Keras 64-64-32-10 float32": network,
        }
    rows = [measure(name, make(), 2 if options.small else 40) for name, make in problems.items()]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title="One evaluation of loss and gradient, µs")
    table.add_column("problem", no_wrap=True)
    for heading in (*WAYS, "xla / other", "auto / best", "first / graph"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["problem"],
            *(f"{row[way] * 1e6:,.0f}" for way in WAYS),
            f"{row['ratio']:.2f}",
            f"{row['auto_ratio']:.2f}",
            f"{row['first_ratio']:.2f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
