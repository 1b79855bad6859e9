"""How long do losses take whose kernels are the work, from the start to the loss at which SciPy stops?

SciPy's L-BFGS-B runs for a given number of iterations on the better of `tf.function` and
`tf.function(jit_compile=True)`. Then `tfm.Minimizer`, with the better of the same two, starts from the same point and
ends when its loss is at most SciPy's. The better way is the one with the fastest of some evaluations, in which all
ways take turns. SciPy's BLAS has one thread in its own turns. Everything was traced and compiled before. Solves take
turns too, and the table has their medians: read the ratios, not the times. On a machine that others use, the ratio of
the fastest evaluations says most.

- digits: a multinomial regression on the digits of scikit-learn, 20 times over (35,940 images), and the one of the demo
  in `examples/digits.py`, with 1,797 images in a closure;
- Burgers: a network whose residual of Burgers' equation is small at 10,000 points, and its values at 100 known ones;
- Keras: a network 64-64-32-10 on 36,000 rows;
- variational: a logistic regression with 36,000 rows, by an evidence lower bound with 8 fixed draws of noise;
- GPflow, if it is installed: GPR, SGPR, SVGP and VGP. SVGP is a sum over rows and the divergence from the prior. These
  are compared with `gpflow.optimizers.Scipy` too, which has SciPy's default tolerances: our solve ends at its loss.

`--limits` prints what an evaluation computes, counted, and how long one thread takes for it if NumPy and LAPACK do one
operation after the other.

    python benchmarks/real_work.py [--only REGEX] [--limits] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import losses
import numpy as np
import scipy.optimize
import tensorflow as tf
from limits import simple_loop
from losses import Case
from threadpoolctl import threadpool_limits

import tfminimize as tfm

TURNS = 2
EVALUATIONS = 25
LIMITS = {"ftol": 0.0, "gtol": 0.0}


def cases(quick: bool) -> dict[str, Callable[[], Case]]:
    """Makers by the names of their rows, since each case takes memory."""
    times, points, rows = (1, 300, 600) if quick else (20, 10_000, 36_000)
    dtypes = ("float64", "float32")
    makers: dict[str, Callable[[], Case]] = {}
    for dtype in dtypes:
        makers[f"digits {dtype}"] = functools.partial(losses.digits, dtype, times)
    makers["demo digits float64"] = functools.partial(losses.digits, "float64", 1, in_closure=True)
    for depth, dtype in itertools.product((3,) if quick else (3, 8), dtypes):
        makers[f"Burgers {depth} {dtype}"] = functools.partial(losses.burgers, depth, dtype, points)
    makers["Keras float32"] = functools.partial(losses.keras_network, rows)
    makers["variational"] = functools.partial(losses.variational, rows)
    if importlib.util.find_spec("gpflow"):
        sizes = {"GPR": ((50,) if quick else (500, 1_000)), "SGPR": (2_000,), "SVGP": (10_000,), "VGP": (300,)}
        for kind, points in [(kind, points) for kind, choices in sizes.items() for points in choices]:
            count, inducing = (50, 5) if quick else (points, 50)
            makers[f"GPflow {kind} {points}"] = functools.partial(losses.gaussian_process, kind, count, inducing)
    return makers


def in_one_blas_thread(call: Callable[..., Any]) -> Callable[..., Any]:
    """More threads only slow down SciPy's solver: those of TensorFlow have the cores."""

    @functools.wraps(call)
    def limited(*args: Any) -> Any:
        with threadpool_limits(1, "blas"):
            return call(*args)

    return limited


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

    @in_one_blas_thread
    def limits(self) -> dict[str, float]:
        """What an evaluation computes, and how long a simple loop takes for it."""
        return simple_loop(self._function.get_concrete_function(*self._data))

    @in_one_blas_thread
    def solve(self, x0: np.ndarray, iterations: int) -> Any:
        options = {"maxiter": iterations, "maxfun": 100 * iterations, **LIMITS}
        return scipy.optimize.minimize(self.evaluate, x0, jac=True, method="L-BFGS-B", options=options)


class Ours:
    """`tfm.Minimizer`, over a `DatasetLoss` if there are data."""

    def __init__(self, case: Case, jit: bool) -> None:
        self.name = "jit" if jit else "graph"
        fun: Any = case.whole
        if case.data:
            fun = tfm.DatasetLoss(case.loss, case.data, reduction=case.reduction, penalty=case.penalty)
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


def measure(case: Case, quick: bool, limits: bool) -> dict[str, Any]:
    iterations, turns, evaluations = (3, 1, 2) if quick else (case.iterations, TURNS, EVALUATIONS)
    start = [variable.numpy() for variable in case.variables]
    x0 = np.concatenate([value.ravel() for value in start]).astype(np.float64)

    def reset() -> None:
        for variable, value in zip(case.variables, start, strict=True):
            variable.assign(value)

    def solved(solve: Callable[..., Any], *args: Any) -> tuple[float, Any]:
        reset()
        return timed(solve, *args)

    ways = [kind(case, jit) for kind in (SciPy, Ours) for jit in (False, True)]
    for way in ways:
        way.evaluate(x0)  # traces and compiles
    each = np.array([[timed(way.evaluate, x0)[0] for way in ways] for _ in range(evaluations)]).min(0).tolist()
    scipys, ours = ways[0 if each[0] < each[1] else 1], ways[2 if each[2] < each[3] else 3]
    own = in_one_blas_thread(case.own) if case.own else None
    if own:
        solved(own, 1)  # traces
    found = []
    for _ in range(turns):
        their_seconds, theirs = solved(scipys.solve, x0, iterations)
        our_seconds, our = solved(ours.solve, 2 * iterations, theirs.fun)
        found.append([their_seconds, our_seconds])
        if own:
            own_seconds, end = solved(own, iterations)
            found[-1] += [own_seconds, solved(ours.solve, 2 * iterations, end.fun)[0]]
    their_seconds, our_seconds, *owns = (statistics.median(column) for column in zip(*found, strict=True))
    return {
        "case": case.name,
        "loss": float(theirs.fun),
        "scipy": {"on": scipys.name, "seconds": their_seconds, "nfev": int(theirs.nfev), "evaluation": min(each[:2])},
        "ours": {"on": ours.name, "seconds": our_seconds, "nfev": int(our.nfev), "evaluation": min(each[2:])},
        "is_reached": bool(our.fun <= theirs.fun),
        "reason": our.backend_reason,
        "ratio": their_seconds / our_seconds,
        "evaluation_ratio": min(each[:2]) / min(each[2:]),
        "own_ratio": owns[0] / owns[1] if owns else None,
        "limits": ways[0].limits() if limits else None,
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    title = "One evaluation in ms, and the seconds from the start to the loss at which SciPy stops"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("SciPy ms", "our ms", "ms / ms", "SciPy s", "our s", "s / s", "own / s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        theirs, ours = row["scipy"], row["ours"]
        table.add_row(
            row["case"],
            f"{theirs['on']} {theirs['evaluation'] * 1e3:.1f}",
            f"{ours['on']} {ours['evaluation'] * 1e3:.1f}",
            f"{row['evaluation_ratio']:.2f}",
            f"{theirs['seconds']:.2f}",
            f"{ours['seconds']:.2f}",
            f"{row['ratio']:.2f}" if row["is_reached"] else "missed",
            f"{row['own_ratio']:.2f}" if row["own_ratio"] else "",
        )
    Console(width=100).print(table)
    print("own / s: the time of the model's own optimiser, divided by ours to the loss where it stops\n")
    for row in rows:
        print(f"{row['case']}: {row['reason']}")
    for row in rows:
        if (limits := row["limits"]) is not None:
            parts = {name: limits[name] * 1e3 for name in ("products", "factorizations", "elements")}
            print(f"{row['case']}: {limits['flops'] / 1e6:.1f} Mflop, {limits['numbers'] / 1e6:.2f} million numbers;")
            times = ", ".join(f"{name} {ms:.1f}" for name, ms in parts.items())
            print(f"    a simple loop takes {sum(parts.values()):.1f} ms: {times}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="rows, by name")
    parser.add_argument("--limits", action="store_true", help="count what an evaluation computes")
    parser.add_argument("--quick", action="store_true", help="small data and few iterations, to see that it runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    makers = cases(arguments.quick)
    chosen = [make for name, make in makers.items() if arguments.only.search(name)]
    if not chosen:
        parser.error(f"--only {arguments.only.pattern!r} matches no row; they are: {', '.join(makers)}")
    rows = [measure(make(), arguments.quick, arguments.limits) for make in chosen]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
