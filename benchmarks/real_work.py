"""How long do losses take whose kernels are the work, from the start to the loss at which SciPy stops?

SciPy's L-BFGS-B runs for a given number of iterations on the better of `tf.function` and
`tf.function(jit_compile=True)`. Then `tfm.Minimizer`, with the better of the same two, starts from the same point and
ends when its loss is at most SciPy's. The better way is the one with the fastest of some evaluations, in which all ways
take turns. Everything was traced and compiled before. Solves take turns too, and the table has their medians: read the
ratios, not the times. On a machine that others use, the ratio of the fastest evaluations says most.

- digits: a multinomial regression on the digits of scikit-learn, 20 times over (35,940 images);
- Burgers: a network whose residual of Burgers' equation is small at 10,000 points, and its values at 100 known ones;
- Keras: a network 64-64-32-10 on 36,000 rows;
- GPflow, if it is installed: regression on 500 points. It is no sum over rows.

    python benchmarks/real_work.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import scipy.optimize
import tensorflow as tf
from threadpoolctl import threadpool_limits

import tfminimize as tfm

TURNS = 2
EVALUATIONS = 25
LIMITS = {"ftol": 0.0, "gtol": 0.0}


@dataclass
class Case:
    """A loss of variables: ``loss(*data)``, plus ``penalty()``."""

    name: str
    variables: list[tf.Variable]
    loss: Callable[..., tf.Tensor]
    data: tuple[Any, ...] = ()
    penalty: Callable[[], tf.Tensor] | None = None
    iterations: int = 50

    def whole(self, *data: tf.Tensor) -> tf.Tensor:
        loss = self.loss(*data)
        return loss if self.penalty is None else loss + self.penalty()


def layers(units: Sequence[int], dtype: str) -> list[tf.Variable]:
    """Weights and biases, as Glorot and Bengio draw them."""
    random = np.random.default_rng(0)
    shapes = itertools.pairwise(units)
    drawn = [(random.normal(scale=np.sqrt(2 / (a + b)), size=(a, b)), np.zeros(b)) for a, b in shapes]
    return [tf.Variable(value, dtype=dtype) for pair in drawn for value in pair]


def digits(dtype: str, times: int) -> Case:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    data = tf.constant(np.tile(images / 16.0, (times, 1)), dtype), tf.constant(np.tile(labels, times))
    weights, bias = tf.Variable(tf.zeros((64, 10), dtype)), tf.Variable(tf.zeros(10, dtype))

    def loss(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, x @ weights + bias))

    penalty = lambda: tf.constant(1e-4, dtype) * tf.reduce_sum(weights**2)  # noqa: E731
    return Case(f"digits × {times}, {dtype}", [weights, bias], loss, data, penalty, 100)


def burgers(depth: int, dtype: str, points: int) -> Case:
    parameters = layers([2, *[20] * depth, 1], dtype)
    random = np.random.default_rng(0)
    places = tf.constant(random.uniform([-1, 0], [1, 1], (points, 2)), dtype)
    known = tf.constant(random.uniform([-1, 0], [1, 0], (100, 2)), dtype)
    values = -tf.sin(np.pi * known[:, :1])

    def network(x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        hidden = tf.concat([x, 2 * t - 1], 1)
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            hidden = tf.tanh(hidden @ weight + bias)
        return hidden @ parameters[-2] + parameters[-1]

    def residual(places: tf.Tensor) -> tf.Tensor:
        x, t = places[:, :1], places[:, 1:]
        with tf.GradientTape() as second:
            second.watch(x)
            with tf.GradientTape() as first:
                first.watch([x, t])
                u = network(x, t)
            u_x, u_t = first.gradient(u, [x, t])
        u_xx = second.gradient(u_x, x)
        return tf.reduce_mean((u_t + u * u_x - 0.01 / np.pi * u_xx) ** 2)

    penalty = lambda: tf.reduce_mean((network(known[:, :1], known[:, 1:]) - values) ** 2)  # noqa: E731
    return Case(f"Burgers {depth} × 20, {dtype}", parameters, residual, (places,), penalty)


def keras_network(rows: int) -> Case:
    import keras

    keras.utils.set_random_seed(0)
    dense = [keras.layers.Dense(64, "tanh"), keras.layers.Dense(32, "tanh"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((64,)), *dense])
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 64)).astype("float32")
    data = tf.constant(x), tf.constant((x @ random.normal(size=(64, 10))).argmax(1))
    variables = [variable.value for variable in model.trainable_variables]
    return Case("Keras network, float32", variables, lambda x, y: cross_entropy(y, model(x)), data)


def gaussian_process(points: int) -> Case:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gpflow

    random = np.random.default_rng(0)
    x = np.sort(random.uniform(0, 10, (points, 1)), axis=0)
    y = np.sin(2 * x) + 0.3 * x + 0.1 * random.normal(size=(points, 1))
    model = gpflow.models.GPR((x, y), gpflow.kernels.SquaredExponential(), noise_variance=0.5)
    return Case(f"GPflow GPR, {points}", list(model.trainable_variables), model.training_loss, iterations=15)


def cases(quick: bool) -> list[Callable[[], Case]]:
    """Makers, since each case takes memory."""
    times, points, rows = (1, 300, 600) if quick else (20, 10_000, 36_000)
    dtypes = ("float64", "float32")
    makers: list[Callable[[], Case]] = [lambda dtype=dtype: digits(dtype, times) for dtype in dtypes]
    for depth in (3,) if quick else (3, 8):
        makers += [lambda depth=depth, dtype=dtype: burgers(depth, dtype, points) for dtype in dtypes]
    makers.append(lambda: keras_network(rows))
    if importlib.util.find_spec("gpflow"):
        makers.append(lambda: gaussian_process(50 if quick else 500))
    return makers


class SciPy:
    """SciPy's L-BFGS-B on a `tf.function`."""

    def __init__(self, case: Case, jit: bool) -> None:
        self.name = "jit" if jit else "graph"
        self._variables = case.variables
        self._data = case.data
        self._shapes = [tuple(v.shape) for v in case.variables]
        self._cuts = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]

        @tf.function(jit_compile=jit)
        def value_and_gradient(*data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss = case.whole(*data)
            gradients = tape.gradient(loss, case.variables)
            return loss, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], 0)

        self._function = value_and_gradient

    def evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        for variable, part, shape in zip(self._variables, np.split(x, self._cuts), self._shapes, strict=True):
            variable.assign(part.reshape(shape))
        loss, gradient = self._function(*self._data)
        return float(loss), gradient.numpy().astype(np.float64)

    def solve(self, x0: np.ndarray, iterations: int) -> Any:
        options = {"maxiter": iterations, "maxfun": 100 * iterations, **LIMITS}
        return scipy.optimize.minimize(self.evaluate, x0, jac=True, method="L-BFGS-B", options=options)


class Ours:
    """`tfm.Minimizer`, over a `DatasetLoss` if there are data."""

    def __init__(self, case: Case, jit: bool) -> None:
        self.name = "jit" if jit else "graph"
        fun = tfm.DatasetLoss(case.loss, case.data, penalty=case.penalty) if case.data else case.whole
        self._solver = tfm.Minimizer(fun, case.variables, jit_compile=jit)

    def evaluate(self, x0: np.ndarray) -> None:
        """Evaluate at the present values of the variables, by a solve without an iteration."""
        self._solver.minimize(options={"maxiter": 0})

    def solve(self, iterations: int, target: float) -> Any:
        def stop(intermediate_result: Any) -> None:
            if intermediate_result.fun <= target:
                raise StopIteration

        options = {"maxiter": iterations, "maxfun": 100 * iterations, **LIMITS}
        return self._solver.minimize(callback=stop, options=options)


def timed(call: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call(*args)
    return time.perf_counter() - begin, result


def measure(case: Case, quick: bool) -> dict[str, Any]:
    iterations, turns, evaluations = (3, 1, 2) if quick else (case.iterations, TURNS, EVALUATIONS)
    start = [variable.numpy() for variable in case.variables]
    x0 = np.concatenate([value.ravel() for value in start]).astype(np.float64)

    def reset() -> None:
        for variable, value in zip(case.variables, start, strict=True):
            variable.assign(value)

    ways = [kind(case, jit) for kind in (SciPy, Ours) for jit in (False, True)]
    for way in ways:
        way.evaluate(x0)  # traces and compiles
    each = np.array([[timed(way.evaluate, x0)[0] for way in ways] for _ in range(evaluations)]).min(0).tolist()
    scipys, ours = ways[0 if each[0] < each[1] else 1], ways[2 if each[2] < each[3] else 3]
    reset()
    found = []
    for _ in range(turns):
        their_seconds, theirs = timed(scipys.solve, x0, iterations)
        reset()
        our_seconds, our = timed(ours.solve, 2 * iterations, theirs.fun)
        reset()
        found.append((their_seconds, our_seconds))
    their_seconds, our_seconds = (statistics.median(column) for column in zip(*found, strict=True))
    return {
        "case": case.name,
        "loss": float(theirs.fun),
        "scipy": {"on": scipys.name, "seconds": their_seconds, "nfev": int(theirs.nfev), "evaluation": min(each[:2])},
        "ours": {"on": ours.name, "seconds": our_seconds, "nfev": int(our.nfev), "evaluation": min(each[2:])},
        "is_reached": bool(our.fun <= theirs.fun),
        "reason": our.backend_reason,
        "ratio": their_seconds / our_seconds,
        "evaluation_ratio": min(each[:2]) / min(each[2:]),
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title="From the start to the loss at which SciPy stops; ms: the fastest evaluation", title_justify="left"
    )
    table.add_column("", no_wrap=True)
    for name in ("SciPy on", "calls", "s", "ms", "we on", "calls", "s", "ms", "s / s", "ms / ms"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = [
            cell
            for side in (row["scipy"], row["ours"])
            for cell in (side["on"], str(side["nfev"]), f"{side['seconds']:.2f}", f"{side['evaluation'] * 1e3:.1f}")
        ]
        ratio = f"{row['ratio']:.2f}" if row["is_reached"] else "missed"
        table.add_row(row["case"], *cells, ratio, f"{row['evaluation_ratio']:.2f}")
    Console(width=100).print(table)
    for row in rows:
        print(f"{row['case']}: {row['reason']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small data and few iterations, to see that it runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with threadpool_limits(1, "blas"):
        rows = [measure(make(), arguments.quick) for make in cases(arguments.quick)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
