"""Fits over all data: what does one evaluation of loss and gradient cost, in time and in peak memory?

The ways are one closure over all data, `tfm.DatasetLoss` over batches, and a loop over batches written by hand for
SciPy's L-BFGS-B, with a `tf.function` for loss and gradient of a batch. Each measurement is a process of its own: a
solve without tolerances, after one that traces and compiles; its seconds are divided by the number of evaluations. The
memory is the peak of the process in the solves, minus what TensorFlow itself takes; data in memory count.

    python benchmarks/fit.py [--repetitions N] [--json]
    python benchmarks/fit.py --memory      # DatasetLoss over 360,000 and 3,600,000 rows that are made on the fly
    python benchmarks/fit.py --batches     # DatasetLoss with small and large batches
    python benchmarks/fit.py --keras       # what the callbacks of tfm.keras.fit cost in an epoch
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow as tf

import tfminimize as tfm

BATCH, BATCHES = 4_000, (100, 1_000, 4_000, 20_000, 100_000)
PIXELS, CLASSES, FEATURES = 64, 10, 50
EVALUATIONS = 12
CASES = {"network": (36_000, 360_000), "logistic regression": (1_000_000,)}
WAYS = {
    "network": ("closure", "DatasetLoss", "DatasetLoss, machine code", "SciPy loop"),
    "logistic regression": ("closure", "DatasetLoss, tf.data", "SciPy loop"),
}


@dataclass(frozen=True)
class Task:
    """What to measure."""

    case: str
    way: str
    rows: int
    folder: str
    """Where the files are."""
    evaluations: int = EVALUATIONS
    batch: int = BATCH


@dataclass(frozen=True)
class Row:
    """What one way took."""

    case: str
    rows: int
    way: str
    batch: int
    seconds: float
    megabytes: float
    """The peak, without what TensorFlow itself takes."""
    whole_megabytes: float
    """The peak with it."""


@dataclass(frozen=True)
class Problem:
    """A loss, its variables and its data in both forms."""

    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    variables: Sequence[tf.Variable]
    whole: Callable[[], tuple[tf.Tensor, tf.Tensor]]
    batches: tf.data.Dataset


def random_images(rows: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Make all rows at once. TensorFlow would keep the memory of what is made on the way."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, PIXELS), np.float32)
    return tf.constant(x), tf.constant(np.argmax(x @ random.standard_normal((PIXELS, CLASSES), np.float32), 1))


def random_rows(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Make features, and labels that follow a logistic regression."""
    x = random.standard_normal((rows, FEATURES), np.float32)
    probability = 1.0 / (1.0 + np.exp(-(x @ np.linspace(-1.0, 1.0, FEATURES, dtype=np.float32))))
    return x, (random.random(rows, np.float32) < probability).astype(np.float32)


def images(index: tf.Tensor, rows: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Make rows that look alike whenever they are asked for, and labels that a linear map gives."""
    seed = tf.stack([tf.cast(index, tf.int32), 0])
    x = tf.random.stateless_normal((rows, PIXELS), seed)
    teacher = tf.random.stateless_normal((PIXELS, CLASSES), (1, 2))
    return x, tf.argmax(x @ teacher, 1)


def classifier() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(64, "tanh"), keras.layers.Dense(32, "tanh"), keras.layers.Dense(CLASSES)]
    return keras.Sequential([keras.Input((PIXELS,)), *layers])


def network(task: Task) -> Problem:
    """A Keras network 64-64-32-10, in float32."""
    import keras

    model = classifier()
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batches = tf.data.Dataset.range(task.rows // task.batch).map(lambda i: images(i, task.batch))
    variables = [variable.value for variable in model.trainable_variables]
    return Problem(lambda x, y: cross_entropy(y, model(x)), variables, lambda: random_images(task.rows), batches)


def write_files(folder: str, rows: int) -> None:
    """Write features and a label, in float32; a file for each batch."""
    random = np.random.default_rng(0)
    for i in range(rows // BATCH):
        np.column_stack(random_rows(random, BATCH)).tofile(f"{folder}/{i}.bin")


def logistic_regression(task: Task) -> Problem:
    """A logistic regression in float32 on files, which a tf.data.Dataset reads."""

    def read(i: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        content = tf.io.read_file(tf.strings.join([task.folder, "/", tf.strings.as_string(i), ".bin"]))
        numbers = tf.reshape(tf.io.decode_raw(content, tf.float32), [BATCH, FEATURES + 1])
        return numbers[:, :-1], numbers[:, -1]

    weights, bias = tf.Variable(tf.zeros(FEATURES)), tf.Variable(0.0)

    def loss(x: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        logits = tf.linalg.matvec(x, weights) + bias
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=logits))

    batches = tf.data.Dataset.range(task.rows // BATCH).map(read, num_parallel_calls=2).prefetch(2)

    def whole() -> tuple[tf.Tensor, tf.Tensor]:
        x, label = random_rows(np.random.default_rng(0), task.rows)
        return tf.constant(x), tf.constant(label)

    return Problem(loss, [weights, bias], whole, batches)


MAKE = {"network": network, "logistic regression": logistic_regression}


def slices(batch: int, x: tf.Tensor, y: tf.Tensor) -> Iterable[tuple[tf.Tensor, tf.Tensor]]:
    return ((x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch))


def by_tfminimize(problem: Problem, task: Task) -> Callable[[int], int]:
    """Return a function that solves for some iterations and returns the number of evaluations."""
    if task.way == "closure":
        data = problem.whole()
        fun: Any = lambda: problem.loss(*data)  # noqa: E731
    elif task.way == "DatasetLoss, tf.data":
        fun = tfm.DatasetLoss(problem.loss, problem.batches)
    else:
        fun = tfm.DatasetLoss(problem.loss, problem.whole(), task.batch)
    solver = tfm.Minimizer(fun, problem.variables, jit_compile=task.way.endswith("machine code"))

    def solve(evaluations: int) -> int:
        return int(solver.minimize(options={"maxfun": evaluations, "ftol": 0, "gtol": 0}).nfev)

    return solve


def by_scipy(problem: Problem, task: Task) -> Callable[[int], int]:
    """Return the same for a loop over batches, written by hand."""
    from scipy.optimize import minimize

    data = None if task.case == "logistic regression" else problem.whole()
    shapes = [variable.shape for variable in problem.variables]
    cuts = np.cumsum([shape.num_elements() for shape in shapes])[:-1]

    @tf.function
    def of_batch(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = problem.loss(x, y)
        gradients = tape.gradient(loss, problem.variables)
        return loss, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], 0)

    def fun(point: np.ndarray) -> tuple[float, np.ndarray]:
        for variable, part, shape in zip(problem.variables, np.split(point, cuts), shapes, strict=True):
            variable.assign(part.reshape(shape))
        value, gradient, rows = 0.0, np.zeros(len(point)), 0
        for x, y in problem.batches if data is None else slices(task.batch, *data):
            loss, slope = of_batch(x, y)
            value += len(x) * float(loss)
            gradient += len(x) * slope.numpy()
            rows += len(x)
        return value / rows, gradient / rows

    def solve(evaluations: int) -> int:
        start = np.concatenate([variable.numpy().ravel() for variable in problem.variables]).astype(np.float64)
        options = {"maxfun": evaluations, "ftol": 0, "gtol": 0}
        return int(minimize(fun, start, jac=True, method="L-BFGS-B", options=options).nfev)

    return solve


def about_kormos() -> str:
    """Say why kormos is not measured: its last release, 0.1.4 of 2022, is for Keras 2."""
    try:
        importlib.import_module("kormos")
    except ImportError as error:
        return f"kormos is not measured: {str(error).split(' (')[0]}."
    return "kormos can be imported here, but this benchmark does not know it."


def measure_keras(rows: int, repetitions: int) -> dict[str, float]:
    """Measure the epochs of `tfm.keras.fit`, with Keras's callbacks and a metric, and bare evaluations of its loss."""
    import keras

    x, y = random_images(rows)
    model = classifier()
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=cross_entropy, metrics=["accuracy"])
    start = model.get_weights()
    loss = tfm.DatasetLoss(lambda x, y: cross_entropy(y, model(x, training=True)), (x, y), BATCH)
    solver = tfm.Minimizer(loss, model.trainable_variables)
    limits = {"ftol": 0.0, "gtol": 0.0}
    found: list[tuple[float, float, float]] = []
    for repetition in range(repetitions + 1):
        model.set_weights(start)
        bare = solver.minimize(options={"maxiter": EVALUATIONS, **limits})
        model.set_weights(start)
        with tempfile.TemporaryDirectory() as folder:
            marks: list[float] = []
            clock = keras.callbacks.LambdaCallback(
                on_train_begin=lambda _, marks=marks: marks.append(time.perf_counter()),
                on_train_end=lambda _, marks=marks: marks.append(time.perf_counter()),
            )
            callbacks = [
                clock,
                keras.callbacks.EarlyStopping(monitor="loss", patience=EVALUATIONS),
                keras.callbacks.CSVLogger(f"{folder}/log.csv"),
                keras.callbacks.TerminateOnNaN(),
            ]
            # In the graph, as the bare loss: with "auto", tracing and compiling for XLA would count.
            result = tfm.keras.fit(
                model, x, y, batch_size=BATCH, epochs=EVALUATIONS, optimizer=tfm.LBFGSB(**limits), verbose=0,
                jit_compile=False, callbacks=callbacks,
            ).result  # fmt: skip
        timing = result.timing
        # The first evaluation, for which TensorFlow compiles the function, counts as compiling.
        rest = marks[1] - marks[0] - timing["compile"] - timing["evaluate"] - timing["solver"]
        if repetition:  # the first fit warms Keras up
            evaluation = timing["evaluate"] / (result.nfev - 1)
            found.append((bare.timing["evaluate"] / bare.nfev, evaluation, rest / result.nit))
    names = ("bare_evaluation", "evaluation", "rest_of_epoch")
    return dict(zip(names, map(statistics.median, zip(*found, strict=True)), strict=True))


def megabytes(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status[status.index(field) :].split()[1]) / 1000


def run_tensorflow() -> None:
    float(tf.reduce_sum(tf.linalg.matmul(tf.ones((64, 64)), tf.ones((64, 64)))))


def measure(task: Task) -> Row:
    """Measure in this process."""
    run_tensorflow()
    before = megabytes("VmRSS:")
    problem = MAKE[task.case](task)
    solve = by_scipy(problem, task) if task.way == "SciPy loop" else by_tfminimize(problem, task)
    run_tensorflow()  # this drops NumPy's data, too
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of the solves, not of making the data
    solve(1)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        count = solve(task.evaluations)
        times.append((time.perf_counter() - begin) / count)
    peak = megabytes("VmHWM:")
    return Row(task.case, task.rows, task.way, task.batch, statistics.median(times), peak - before, peak)


def measure_in_child(task: Task) -> Row:
    command = [sys.executable, __file__, "--child", json.dumps(asdict(task))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task} failed:\n{done.stderr}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def compare(run: Callable[[Task], Row], tasks: Sequence[Task], repetitions: int) -> list[Row]:
    """Measure all in turn, again and again, and take the medians: what else runs disturbs all alike."""
    runs = [[run(task) for task in tasks] for _ in range(repetitions)]
    return [
        replace(
            of_one[0],
            seconds=statistics.median(row.seconds for row in of_one),
            megabytes=statistics.median(row.megabytes for row in of_one),
        )
        for of_one in zip(*runs, strict=True)
    ]


def show(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"One evaluation of loss and gradient in float32, batches of {BATCH:,} rows")
    for name in ("loss", "rows", "way", "ms", "time / closure", "peak MB", "memory / closure"):
        table.add_column(name, justify="left" if name in ("loss", "way") else "right")
    closures = {(row.case, row.rows): row for row in rows if row.way == "closure"}
    for row in rows:
        one = closures[row.case, row.rows]
        cells = (
            f"{row.seconds * 1e3:.1f}",
            f"{row.seconds / one.seconds:.2f}",
            f"{row.megabytes:.0f}",
            f"{row.megabytes / one.megabytes:.2f}",
        )
        table.add_row(row.case, f"{row.rows:,}", row.way, *cells)
    Console(width=100).print(table)
    print(about_kormos())


def show_memory(rows: Sequence[Row]) -> None:
    first = rows[0]
    print("DatasetLoss over a tf.data.Dataset that makes its rows on the fly, network 64-64-32-10:")
    for row in rows:
        grown = row.megabytes / first.megabytes - 1.0, row.whole_megabytes / first.whole_megabytes - 1.0
        print(
            f"{row.rows:>12,} rows: peak {row.megabytes:.1f} MB ({grown[0]:+.1%}), "
            f"with TensorFlow itself {row.whole_megabytes:.0f} MB ({grown[1]:+.1%})"
        )


def show_batches(rows: Sequence[Row]) -> None:
    print(f"DatasetLoss of the network over {rows[0].rows:,} rows, by the rows of a batch:")
    for row in rows:
        print(f"{row.batch:>10,} {row.way:<26} {row.seconds * 1e3:8.1f} ms, peak {row.megabytes:6.0f} MB")


def show_keras(rows: int, found: dict[str, float]) -> None:
    bare, evaluation, rest = (found[name] * 1e3 for name in ("bare_evaluation", "evaluation", "rest_of_epoch"))
    print(f"tfm.keras.fit of the network over {rows:,} rows, with EarlyStopping, CSVLogger, TerminateOnNaN:")
    print(f"    an evaluation {evaluation:.1f} ms with the metric accuracy, {bare:.1f} ms for the bare loss")
    print(f"    the rest of an epoch {rest:.2f} ms, {rest / bare:.2%} of an evaluation of the bare loss")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="processes for each number (the median is shown)")
    parser.add_argument("--memory", action="store_true", help="only the memory of ten times as many rows")
    parser.add_argument("--batches", action="store_true", help="only the rows of a batch")
    parser.add_argument("--keras", action="store_true", help="only the callbacks of tfm.keras.fit")
    parser.add_argument("--small", action="store_true", help="few rows, once, in this process, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no tables")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(asdict(measure(Task(**json.loads(options.child))))))
        return
    run, repetitions, cases, sizes = measure_in_child, options.repetitions, CASES, (360_000, 3_600_000)
    if options.small:
        run, repetitions, cases, sizes = measure, 1, dict.fromkeys(CASES, (2 * BATCH,)), (2 * BATCH, 4 * BATCH)

    if options.keras:
        show_keras(sizes[0], measure_keras(sizes[0], repetitions))
        return
    if options.batches:
        tasks = [Task("network", way, sizes[0], "", batch=n) for n in BATCHES for way in WAYS["network"][1:3]]
        show_batches(compare(run, tasks, repetitions))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        if not options.memory:
            write_files(folder, max(cases["logistic regression"]))
            for case, counts in cases.items():
                for count in counts:
                    rows += compare(run, [Task(case, way, count, folder) for way in WAYS[case]], repetitions)
        memory = [run(Task("network", "DatasetLoss, tf.data", size, folder, evaluations=2)) for size in sizes]
    if options.json:
        found = {"rows": list(map(asdict, rows)), "memory": list(map(asdict, memory)), "kormos": about_kormos()}
        print(json.dumps(found, indent=2))
        return
    if rows:
        show(rows)
    show_memory(memory)


if __name__ == "__main__":
    main(sys.argv[1:])
