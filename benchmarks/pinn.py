"""How low do the solvers bring the loss of a physics-informed network, and how fast?

Burgers' equation with the network of Urbán, Stefanou & Pons, J. Comput. Phys. 523 (2025) 113656, as in
`examples/pinn_burgers.py`: float64, three hidden layers of 20 units, 10,000 points. All solvers start from the same
weights, which Adam has found, and work in legs. Before each leg, points are drawn anew, and the solver keeps its pairs
or its matrix. The losses in the first table are those at 20,000 other points, the same for all; the errors are those of
u on a grid, in the 2-norm, relative to the exact solution. The seconds are those of the solves, and the ratio is
the loss of L-BFGS-B divided by that of the solver.

The second table has the time of an iteration in the first leg: BFGS with a batch of points in each thread, as in the
first table; BFGS on one function of all points; and SciPy's BFGS on the same function, compiled by XLA, from Python.
SciPy runs with one thread of BLAS, and with as many as it is installed with. It makes fewer iterations, which is enough
to measure one. All start from the same weights and take the same path, up to rounding.

    python benchmarks/pinn.py [--iterations 1000] [--plot pinn.png] [--small] [--json]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import pinn_burgers
import scipy.optimize
import tensorflow as tf
from burgers import inner_points, reference_grid, relative_error
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import tfminimize as tfm

# The legs end with their iterations only.
SOLVERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "L-BFGS-B": ("L-BFGS-B", {"maxcor": 50, "ftol": 0.0, "gtol": 0.0, "maxfun": 10**9}),
    "BFGS": ("BFGS", {"update": "bfgs", "gtol": 0.0}),
    "SSBFGS": ("BFGS", {"update": "ssbfgs", "gtol": 0.0}),
    "SSBroyden": ("BFGS", {"update": "ssbroyden", "gtol": 0.0}),
}


class Problem:
    """The network after Adam, and what is measured of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.network = pinn_burgers.make_network(options.units, options.layers)
        self.variables = self.network.trainable_variables
        self.generator = np.random.default_rng(0)
        self.points = inner_points(options.points, self.generator)
        grid, self._exact = reference_grid()
        self._test_points = inner_points(20_000, np.random.default_rng(1))
        self.residual = tf.function(lambda points: pinn_burgers.residual(self.network, points), jit_compile=True)
        x, t = tf.split(tf.constant(grid), 2, axis=1)
        self._u = tf.function(lambda: pinn_burgers.solution(self.network, x, t), jit_compile=True)
        points = tf.constant(self.points)
        pinn_burgers.fit_by_adam(lambda: self.loss(points), self.network, options.adam)
        self._start = [variable.numpy() for variable in self.variables]

    @property
    def n(self) -> int:
        return int(self.network.count_params())

    def loss(self, points: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(pinn_burgers.residual(self.network, points) ** 2)

    def reset(self) -> None:
        """Go back to the weights that Adam has found, and to the same random numbers."""
        for variable, value in zip(self.variables, self._start, strict=True):
            variable.assign(value)
        self.generator = np.random.default_rng(2)

    def draw_points(self) -> np.ndarray:
        return pinn_burgers.draw_points(self.residual, self.options.points, self.generator)

    def test_loss(self) -> float:
        return float(np.mean(np.square(self.residual(tf.constant(self._test_points)))))

    def error(self) -> float:
        return relative_error(self._u().numpy(), self._exact)

    def batched(self, method: str) -> tfm.Minimizer:
        """Make a solver whose evaluations take a batch of points in each thread."""
        loss = tfm.DatasetLoss(self.loss, self.points, batch_size=500)
        return tfm.Minimizer(loss, self.variables, method=method, jit_compile=True)


def run_legs(problem: Problem, name: str) -> dict[str, Any]:
    """Fit in legs. The result has the losses over iterations and seconds, and test losses and errors after each leg."""
    method, solver_options = SOLVERS[name]
    options = problem.options
    problem.reset()
    minimizer = problem.batched(method)
    result = None
    legs = [{"iterations": 0, "seconds": 0.0, "test_loss": problem.test_loss(), "error": problem.error()}]
    losses: list[float] = []
    seconds: list[float] = []
    evaluations, messages = 0, []
    for begun in range(0, options.iterations, options.leg):
        result = minimizer.minimize(
            data=problem.draw_points(),
            options={**solver_options, "maxiter": min(options.leg, options.iterations - begun)},
            history=True,
            warm_start=result,
        )
        losses += result.history["fun"][1:].tolist()
        seconds += (legs[-1]["seconds"] + result.history["seconds"][1:]).tolist()
        evaluations += result.nfev
        messages.append(result.message)
        legs.append(
            {
                "iterations": legs[-1]["iterations"] + result.nit,
                "seconds": legs[-1]["seconds"] + result.history["seconds"][-1],
                "test_loss": problem.test_loss(),
                "error": problem.error(),
            }
        )
    return {
        "solver": name,
        "messages": messages,
        "evaluations": evaluations,
        "legs": legs,
        "losses": losses,
        "seconds": seconds,
    }


def compare_legs(problem: Problem) -> list[dict[str, Any]]:
    """Measure an iteration of BFGS and of SciPy's, in the same leg."""
    options = problem.options
    problem.reset()
    points = problem.draw_points()

    def measured(way: str, solve: Callable[[int], Any], iterations: int) -> dict[str, Any]:
        solve(2)  # traces, compiles and warms up
        begin = time.perf_counter()
        result, evaluating = solve(iterations)
        seconds = time.perf_counter() - begin
        return {
            "way": way,
            "iterations": result.nit,
            "evaluations": result.nfev,
            "fun": result.fun,
            "ms": seconds / result.nit * 1e3,
            "evaluation_ms": evaluating / result.nit * 1e3,
        }

    minimizers = {
        "tfminimize, batches": (problem.batched("BFGS"), {"data": points}),
        "tfminimize": (
            tfm.Minimizer(problem.loss, problem.variables, args=(points,), method="BFGS", jit_compile=True),
            {},
        ),
    }

    def ours(way: str) -> Callable[[int], tuple[Any, float]]:
        minimizer, given = minimizers[way]

        def solve(iterations: int) -> tuple[Any, float]:
            problem.reset()
            result = minimizer.minimize(options={"gtol": 0.0, "maxiter": iterations}, **given)
            return result, result.timing["evaluate"]

        return solve

    value_and_gradient = compiled_for_scipy(problem, tf.constant(points))

    def scipys(iterations: int) -> tuple[Any, float]:
        problem.reset()
        clock = 0.0

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal clock
            begin = time.perf_counter()
            loss, gradient = value_and_gradient(tf.constant(x))
            evaluated = float(loss), gradient.numpy()
            clock += time.perf_counter() - begin
            return evaluated

        start = np.concatenate([variable.numpy().ravel() for variable in problem.variables])
        settings = {"gtol": 0.0, "maxiter": iterations}
        result = scipy.optimize.minimize(evaluate, start, jac=True, method="BFGS", options=settings)
        return result, clock

    rows = [measured(way, ours(way), options.leg) for way in minimizers]
    for threads in (1, None):
        with threadpool_limits(threads, "blas"):
            way = "SciPy, BLAS: 1 thread" if threads else "SciPy, BLAS: default"
            rows.append(measured(way, scipys, options.scipy_iterations))
    for row in rows:
        row["ratio"] = row["ms"] / rows[0]["ms"]
    return rows


def compiled_for_scipy(problem: Problem, points: tf.Tensor) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Compile loss and gradient as functions of one vector."""
    variables = problem.variables
    sizes = [int(np.prod(variable.shape)) for variable in variables]

    @tf.function(jit_compile=True)
    def value_and_gradient(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for variable, part in zip(variables, tf.split(x, sizes), strict=True):
            variable.assign(tf.reshape(part, variable.shape))
        with tf.GradientTape() as tape:
            loss = problem.loss(points)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        return loss, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], 0)

    return value_and_gradient


def print_tables(report: Mapping[str, Any]) -> None:
    console = Console(width=100)

    def show(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        table = Table(title=title, title_justify="left")
        for number, name in enumerate(columns):
            table.add_column(name, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)

    runs = report["runs"]
    legs = len(runs[0]["legs"]) - 1
    shown = sorted({1, (legs + 1) // 2, legs})
    last_of_lbfgsb = runs[0]["legs"][-1]["test_loss"]
    after_adam = runs[0]["legs"][0]
    title = f"Adam: loss {after_adam['test_loss']:.1e}, error {after_adam['error']:.1e}; n = {report['n']:,}"
    show(
        f"Loss at other points and error of u after some legs. {title}",
        ["solver", *(f"leg {k}" for k in shown), "iterations", "seconds", "ratio"],
        (
            [
                run["solver"],
                *(f"{run['legs'][k]['test_loss']:.1e} {run['legs'][k]['error']:.1e}" for k in shown),
                f"{run['legs'][-1]['iterations']:,}",
                f"{run['legs'][-1]['seconds']:.1f}",
                f"{last_of_lbfgsb / run['legs'][-1]['test_loss']:.1f}",
            ]
            for run in runs
        ),
    )
    show(
        "One iteration of BFGS, milliseconds",
        ["", "iterations", "ms", "in evaluations", "in the solver", "ratio"],
        (
            [
                row["way"],
                str(row["iterations"]),
                f"{row['ms']:.2f}",
                f"{row['evaluation_ms']:.2f}",
                f"{row['ms'] - row['evaluation_ms']:.2f}",
                f"{row['ratio']:.1f}",
            ]
            for row in report["first_leg"]
        ),
    )


def plot(report: Mapping[str, Any], path: str) -> None:
    """Draw losses and errors over iterations and over seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), sharey="row", constrained_layout=True)
    for run in report["runs"]:
        over = {"iterations": range(1, len(run["losses"]) + 1), "seconds": run["seconds"]}
        for column, (name, values) in enumerate(over.items()):
            axes[0, column].semilogy(values, run["losses"], label=run["solver"], linewidth=1)
            legs = [leg[name] for leg in run["legs"]]
            axes[1, column].semilogy(legs, [leg["error"] for leg in run["legs"]], ".-", label=run["solver"])
            axes[1, column].set_xlabel(name)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("relative error of u")
    axes[0, 0].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=5000)
    parser.add_argument("--leg", type=int, default=500, help="iterations between two sets of points")
    parser.add_argument("--adam", type=int, default=1000, help="steps of Adam")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--scipy-iterations", type=int, default=100)
    parser.add_argument("--plot", metavar="FILE", help="draw it into a file; needs matplotlib")
    parser.add_argument("--small", action="store_true", help="a small network, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document and no tables")
    options = parser.parse_args()
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib, which is not installed: pip install matplotlib")
    if options.small:
        options.iterations, options.leg, options.adam, options.points, options.units = 40, 20, 20, 1000, 5
        options.scipy_iterations = 20

    problem = Problem(options)
    report = {
        "n": problem.n,
        "runs": [run_legs(problem, name) for name in SOLVERS],
        "first_leg": compare_legs(problem),
    }
    if options.plot:
        plot(report, options.plot)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print_tables(report)


if __name__ == "__main__":
    main()
