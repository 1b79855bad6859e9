"""ScipyOptimizerInterface in a session of TensorFlow 1, compared with the design that TensorFlow 1 had.

That design is rewritten here: `scipy.optimize.minimize` calls `session.run` for each evaluation, which feeds the
optimised variables and fetches the loss and the packed gradient. The problems:

- Rosenbrock's function of n float64 variables from (-1.2, 1, -1.2, 1, ...). Nearly all the time is overhead.
- A physics-informed network for Burgers' equation in float32, with the options that such programs use. Nearly all the
  time goes into TensorFlow's kernels.
- Both with a ``loss_callback`` that gets the loss and a matrix of weights in each evaluation, as programs print them.
- If GPflow is installed, Gaussian process regression on 200 points without a session: `tfm.minimize` compared with
  `gpflow.optimizers.Scipy`.

The times are medians of whole calls of `minimize`, with everything traced before; the first call of each design is
reported separately. The two designs take turns. "Outside" is the share of a call that is not spent in evaluating the
compiled function. For the session, that is everything except `session.run`, which has an overhead of its own. "Outside
kernels" also counts TensorFlow's overhead in each evaluation. We measure that as the time of an evaluation for a
handful of points, which runs the same kernels with hardly any work.

SciPy's linear algebra is limited to one thread. `--blas-threads 0` leaves it as it is installed, which makes the old
design slower.

    python benchmarks/interface.py [--small] [--json]
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import scipy.optimize
import tensorflow.compat.v1 as tf
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import OptimizeResult
from threadpoolctl import threadpool_limits

import tfminimize as tfm

LBFGSB_OF_NETWORKS = {"maxcor": 50, "maxls": 50, "ftol": float(np.finfo(float).eps)}


class OneRunAnEvaluation:
    """The old design: each evaluation feeds the variables and fetches the loss and the packed gradient."""

    def __init__(self, loss: tf.Tensor, options: Mapping[str, Any]) -> None:
        self._variables = tf.trainable_variables()
        gradients = tf.gradients(loss, self._variables)
        self._fetches = [loss, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)]
        self._shapes = [variable.shape.as_list() for variable in self._variables]
        self._ends = np.cumsum([np.prod(shape, dtype=int) for shape in self._shapes])[:-1]
        self._assigned = [tf.placeholder(variable.dtype.base_dtype, variable.shape) for variable in self._variables]
        self._assign = [v.assign(value) for v, value in zip(self._variables, self._assigned, strict=True)]
        self._options = options

    def _unpack(self, x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return [part.reshape(shape) for part, shape in zip(np.split(x, self._ends), self._shapes, strict=True)]

    def minimize(
        self,
        session: tf.Session,
        feed_dict: Mapping[Any, Any],
        fetches: Sequence[Any] = (),
        loss_callback: Callable[..., Any] | None = None,
    ) -> OptimizeResult:
        seconds = 0.0

        def loss_and_gradient(x: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64]]:
            nonlocal seconds
            fed = dict(zip(self._variables, self._unpack(x), strict=True))
            begin = time.perf_counter()
            loss, gradient, *fetched = session.run([*self._fetches, *fetches], {**feed_dict, **fed})
            seconds += time.perf_counter() - begin
            if loss_callback is not None:
                loss_callback(*fetched)
            return loss, gradient.astype(np.float64)

        x0 = np.concatenate([value.ravel() for value in session.run(self._variables)]).astype(np.float64)
        result = scipy.optimize.minimize(
            loss_and_gradient, x0, jac=True, method="L-BFGS-B", options=dict(self._options)
        )
        session.run(self._assign, dict(zip(self._assigned, self._unpack(result.x), strict=True)))
        result.timing = {"evaluate": seconds}
        return result


@dataclass
class Problem:
    """A loss in a graph, and its data."""

    name: str
    build: Callable[[], tuple[tf.Tensor, Callable[[int], dict[Any, Any]]]]
    """Makes the loss, and a function that makes the data for a number of points."""
    points: int
    options: dict[str, Any]
    is_watched: bool = False
    """Whether a ``loss_callback`` gets the loss and a layer of weights in each evaluation."""

    def watched(self) -> Problem:
        return replace(self, name=f"{self.name}, with loss_callback", is_watched=True)


def rosenbrock(n: int) -> Problem:
    def build() -> tuple[tf.Tensor, Callable[[int], dict[Any, Any]]]:
        x = tf.Variable(np.resize([-1.2, 1.0], n), use_resource=False)
        loss = tf.reduce_sum(100.0 * tf.square(x[1:] - tf.square(x[:-1])) + tf.square(1.0 - x[:-1]))
        return loss, lambda points: {}

    return Problem(f"Rosenbrock, n = {n}", build, 0, {})


def burgers(layers: list[int], points: int, iterations: int) -> Problem:
    """Make the loss: the mean squares of the residual, and of u minus its known values at t = 0 and at the ends."""

    def build() -> tuple[tf.Tensor, Callable[[int], dict[Any, Any]]]:
        generator = np.random.default_rng(0)
        pairs = list(itertools.pairwise(layers))
        weights = [generator.normal(scale=np.sqrt(2.0 / sum(pair)), size=pair).astype(np.float32) for pair in pairs]
        parameters = [
            (tf.Variable(w, use_resource=False), tf.Variable(tf.zeros([1, w.shape[1]]), use_resource=False))
            for w in weights
        ]

        def network(x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
            hidden = tf.concat([x, 2.0 * t - 1.0], axis=1)
            for weight, bias in parameters[:-1]:
                hidden = tf.tanh(hidden @ weight + bias)
            return hidden @ parameters[-1][0] + parameters[-1][1]

        x, t, x_known, t_known, u_known = (tf.placeholder(tf.float32, [None, 1]) for _ in range(5))
        u = network(x, t)
        u_x, u_t = tf.gradients(u, [x, t])
        (u_xx,) = tf.gradients(u_x, [x])
        residual = u_t + u * u_x - 0.01 / np.pi * u_xx
        loss = tf.reduce_mean(tf.square(residual)) + tf.reduce_mean(tf.square(network(x_known, t_known) - u_known))

        def data(count: int) -> dict[Any, Any]:
            places = generator.uniform([-1.0, 0.0], [1.0, 1.0], (count, 2)).astype(np.float32)
            known = generator.uniform([-1.0, 0.0], [1.0, 0.0], (min(count, 100), 2)).astype(np.float32)
            values = -np.sin(np.pi * known[:, :1])
            return {
                x: places[:, :1],
                t: places[:, 1:],
                x_known: known[:, :1],
                t_known: known[:, 1:],
                u_known: values,
            }

        return loss, data

    name = f"Burgers, {len(layers) - 2} x {layers[1]}, {points:,} points"
    options = {**LBFGSB_OF_NETWORKS, "maxiter": iterations, "maxfun": 2 * iterations}
    return Problem(name, build, points, options)


@dataclass
class Solves:
    """Solves by one of the two designs, each from the initial values."""

    minimize: Callable[[dict[Any, Any]], OptimizeResult]
    initialize: Callable[[], Any]
    seconds: list[float] = field(default_factory=list)
    evaluating: list[float] = field(default_factory=list)

    def run(self, data: dict[Any, Any]) -> float:
        """Solve once and return the seconds per evaluation."""
        self.initialize()
        begin = time.perf_counter()
        self.result = self.minimize(data)
        self.seconds.append(time.perf_counter() - begin)
        self.evaluating.append(self.result.timing["evaluate"] if "timing" in self.result else np.nan)
        return float(self.evaluating[-1] / self.result.nfev)

    def report(self, overhead: float | None) -> dict[str, Any]:
        """Summarise all solves but the first. `overhead` is the time of an evaluation for a handful of points."""
        seconds = statistics.median(self.seconds[1:])
        outside = statistics.median(1 - e / s for e, s in zip(self.evaluating[1:], self.seconds[1:], strict=True))
        return {
            "seconds": seconds,
            "first_seconds": self.seconds[0],
            "outside": None if np.isnan(outside) else outside,
            "outside_kernels": None if overhead is None else outside + overhead * self.result.nfev / seconds,
            "nit": int(self.result.nit),
            "nfev": int(self.result.nfev),
            "fun": float(self.result.fun),
        }


def compare(problem: Problem, repetitions: int) -> dict[str, Any]:
    with tf.Graph().as_default(), tf.Session() as session:
        loss, make_data = problem.build()
        initialize = tf.global_variables_initializer()
        old = OneRunAnEvaluation(loss, problem.options)
        new = tfm.ScipyOptimizerInterface(loss, options=problem.options)
        designs = {
            "other": Solves(lambda data: old.minimize(session, data, **watch), lambda: session.run(initialize)),
            "tfminimize": Solves(lambda data: new.minimize(session, data, **watch), lambda: session.run(initialize)),
        }
        watch: dict[str, Any] = {}
        if problem.is_watched:
            watch = {"fetches": [loss, tf.trainable_variables()[0]], "loss_callback": lambda loss, weights: None}
        data = make_data(problem.points)
        for _ in range(repetitions + 1):
            for design in designs.values():
                design.run(data)
        # Data of another shape comes last, because it traces again. We take the fastest solve, which no longer traces.
        small = make_data(4)
        overheads = {
            name: None if not problem.points else min(_repeated(design, small)) for name, design in designs.items()
        }
    return row(problem.name, "one session.run each", designs, overheads)


def compare_gpflow(repetitions: int) -> dict[str, Any]:
    """Compare both designs, each on its own model."""
    for solve in gpflow_designs().values():
        solve.run({})  # loads and warms up what both need
    designs = gpflow_designs()
    for _ in range(repetitions + 1):
        for design in designs.values():
            design.run({})
    return row("GPflow, regression on 200 points", "gpflow.optimizers.Scipy", designs, {})


def gpflow_designs() -> dict[str, Solves]:
    """Make both designs. GPflow's optimiser keeps its compiled function, and so does `tfm.minimize`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gpflow

    generator = np.random.default_rng(0)
    x = np.sort(generator.uniform(0.0, 10.0, (200, 1)), axis=0)
    y = np.sin(2.0 * x) + 0.3 * x + 0.1 * generator.normal(size=(200, 1))
    designs = {}
    for name, minimize in (("other", gpflow.optimizers.Scipy().minimize), ("tfminimize", tfm.minimize)):
        model = gpflow.models.GPR((x, y), gpflow.kernels.SquaredExponential(), noise_variance=0.5)
        variables = model.trainable_variables
        solve = functools.partial(minimize, model.training_loss, variables)
        values = [variable.numpy() for variable in variables]
        designs[name] = Solves(lambda _, solve=solve: solve(), functools.partial(assign, variables, values))
    return designs


def assign(variables: Any, values: Any) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def row(
    problem: str, other: str, designs: Mapping[str, Solves], overheads: Mapping[str, float | None]
) -> dict[str, Any]:
    reports = {name: design.report(overheads.get(name)) for name, design in designs.items()}
    return {
        "problem": problem,
        "other_design": other,
        "backend": designs["tfminimize"].result.backend,
        **reports,
        "ratio": reports["other"]["seconds"] / reports["tfminimize"]["seconds"],
        "first_ratio": reports["other"]["first_seconds"] / reports["tfminimize"]["first_seconds"],
    }


def _repeated(design: Solves, data: dict[Any, Any]) -> list[float]:
    """Return the seconds per evaluation of three solves, which the report does not include."""
    other = Solves(design.minimize, design.initialize)
    return [other.run(data) for _ in range(3)]


def print_report(rows: list[dict[str, Any]]) -> None:
    table = Table(title="Whole solves, medians", title_justify="left")
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "evaluations": lambda r: str(r["nfev"]),
        "loss": lambda r: f"{r['fun']:.2e}",
        "first call, ms": lambda r: f"{r['first_seconds'] * 1e3:.0f}",
        "ms": lambda r: f"{r['seconds'] * 1e3:.1f}",
        "µs per evaluation": lambda r: f"{r['seconds'] / r['nfev'] * 1e6:.0f}",
        "outside": lambda r: "" if r["outside"] is None else f"{r['outside']:.1%}",
        "outside kernels": lambda r: "" if r["outside_kernels"] is None else f"{r['outside_kernels']:.1%}",
    }
    table.add_column("", no_wrap=True)
    for column in (*columns, "times faster"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_section()
        table.add_row(row["problem"])
        table.add_row(f"  {row['other_design']}", *(show(row["other"]) for show in columns.values()))
        ours = (show(row["tfminimize"]) for show in columns.values())
        table.add_row(f"  tfminimize ({row['backend']})", *ours, f"{row['ratio']:.1f}")
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small problems, once each")
    parser.add_argument("--repetitions", type=int, default=0, help="solves of each problem (default: 15; network: 3)")
    parser.add_argument("--blas-threads", type=int, default=1, help="SciPy's threads; 0: as installed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.small:
        network = burgers([2, 5, 1], 50, 5)
        sizes = [(rosenbrock(4), 1), (network, 1), (network.watched(), 1)]
    else:
        sizes = [
            (rosenbrock(100), 15),
            (rosenbrock(100).watched(), 15),
            (burgers([2, *[20] * 3, 1], 100, 100).watched(), 5),
            (burgers([2, *[20] * 8, 1], 10_000, 100), 3),
        ]
    with threadpool_limits(arguments.blas_threads or None, "blas"):
        compare(rosenbrock(2), 1)  # loads and warms up what both designs need
        rows = [compare(problem, arguments.repetitions or repetitions) for problem, repetitions in sizes]
        if importlib.util.find_spec("gpflow"):
            rows.append(compare_gpflow(1 if arguments.small else arguments.repetitions or 15))
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print_report(rows)


if __name__ == "__main__":
    main()
