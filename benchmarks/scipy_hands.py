"""Our methods in SciPy's hands, on NumPy functions, compared with SciPy's: small problems, and packages that name one.

- *Set-up*: a solve that ends at its start, with a gradient, with both as one function, and with finite differences;
  without and with bounds.
- *Evaluation*: a whole solve of a loss that costs next to nothing. It shows what the methods take beside the function.
- *Packages*, as far as they are installed: a fit of scikit-learn's PoissonRegressor, of statsmodels' ARIMA, and pyhf's
  hypothesis test, each within `tfminimize.scipy.patched` and without.

Both take turns, in one thread; the times are medians of the thread's own time, so other processes hardly count.

    python benchmarks/scipy_hands.py [--small] [--json]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import tfminimize as tfm

METHODS = {"L-BFGS-B": tfm.scipy.lbfgsb, "SLSQP": tfm.scipy.slsqp, "BFGS": tfm.scipy.bfgs}
Float64 = NDArray[np.float64]


def flat(x: Float64) -> float:
    return 0.0


def flat_gradient(x: Float64) -> Float64:
    return np.zeros(len(x))


def quartic(x: Float64) -> tuple[float, Float64]:
    distance = x - 1.0
    square = distance * distance
    return float(square @ square), 4.0 * square * distance


PROBLEMS: dict[str, tuple[Callable[..., Any], Float64, dict[str, Any]]] = {
    "set-up, jac": (flat, np.ones(3), {"jac": flat_gradient}),
    "set-up, jac=True": (lambda x: (flat(x), flat_gradient(x)), np.ones(3), {"jac": True}),
    "set-up, differences": (flat, np.ones(3), {}),
    "set-up, jac, bounds": (flat, np.ones(3), {"jac": flat_gradient, "bounds": [(0.0, 2.0)] * 3}),
    "set-up, jac, Bounds": (
        flat,
        np.ones(3),
        {"jac": flat_gradient, "bounds": scipy.optimize.Bounds([0] * 3, [2] * 3)},
    ),
    "set-up, differences, bounds": (flat, np.ones(3), {"bounds": [(0.0, 2.0)] * 3}),
    "quartic, jac=True": (quartic, np.linspace(3.0, 9.0, 6), {"jac": True, "tol": 1e-10}),
    "quartic, differences": (lambda x: quartic(x)[0], np.linspace(3.0, 9.0, 6), {"tol": 1e-10}),
}


def small_problems(repetitions: int) -> Iterator[dict[str, Any]]:
    for problem, (fun, x0, options) in PROBLEMS.items():
        for name, method in METHODS.items():
            if name == "BFGS" and "bounds" in options:
                continue
            count = repetitions if problem.startswith("set-up") else max(repetitions // 10, 1)

            def solve(chosen: Any, fun: Any = fun, x0: Float64 = x0, options: Any = options) -> Any:
                return scipy.optimize.minimize(fun, x0, method=chosen, **options)

            yield row(f"{problem}, {name}", lambda s=solve, n=name: s(n), lambda s=solve, m=method: s(m), count)


def packages(repetitions: int) -> Iterator[dict[str, Any]]:
    makers = {"sklearn": poisson_regressor, "statsmodels": arima, "pyhf": hypothesis_test}
    for package, make in makers.items():
        if importlib.util.find_spec(package) is None:
            yield {"problem": f"{package} is not installed"}
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name, solve = make()

            def ours(solve: Callable[[], Any] = solve) -> Any:
                with tfm.scipy.patched():
                    return solve()

            yield row(name, solve, ours, max(repetitions // 10, 1))


def poisson_regressor() -> tuple[str, Callable[[], Any]]:
    from sklearn.linear_model import PoissonRegressor

    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 10))
    y = generator.poisson(np.exp(0.1 * x @ generator.normal(size=10)))
    return "scikit-learn, PoissonRegressor, 500 x 10", lambda: PoissonRegressor(alpha=1e-3).fit(x, y).coef_


def arima() -> tuple[str, Callable[[], Any]]:
    from statsmodels.tsa.arima.model import ARIMA

    generator = np.random.default_rng(0)
    y = np.cumsum(generator.normal(size=200))
    return "statsmodels, ARIMA(1, 1, 1), 200 values", lambda: ARIMA(y, order=(1, 1, 1)).fit().params


def hypothesis_test() -> tuple[str, Callable[[], Any]]:
    import pyhf

    model = pyhf.simplemodels.uncorrelated_background([5.0, 10.0], [50.0, 60.0], [7.0, 8.0])
    data = [52.0, 63.0, *model.config.auxdata]
    return "pyhf, hypotest, 2 bins", lambda: pyhf.infer.hypotest(1.0, data, model)


def row(problem: str, theirs: Callable[[], Any], ours: Callable[[], Any], repetitions: int) -> dict[str, Any]:
    """Compare the two in turn; the first solve of each does not count."""
    solves = {"scipy": theirs, "tfminimize": ours}
    seconds: dict[str, list[float]] = {name: [] for name in solves}
    for i in range(repetitions + 1):
        for name, solve in sorted(solves.items(), reverse=bool(i % 2)):
            begin = time.thread_time()
            solve()
            seconds[name].append(time.thread_time() - begin)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return {"problem": problem, **medians, "ratio": medians["scipy"] / medians["tfminimize"]}


def print_report(rows: list[dict[str, Any]]) -> None:
    table = Table(title="Thread time of one call, medians", title_justify="left")
    table.add_column("")
    for name in ("SciPy, µs", "tfminimize, µs", "times faster"):
        table.add_column(name, justify="right")
    for one in rows:
        if "ratio" not in one:
            table.add_row(one["problem"])
            continue
        micros = (f"{one[name] * 1e6:,.0f}" for name in ("scipy", "tfminimize"))
        table.add_row(one["problem"], *micros, f"{one['ratio']:.2f}")
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="each solve twice")
    parser.add_argument("--repetitions", type=int, default=300, help="set-ups of each kind")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    repetitions = 1 if arguments.small else arguments.repetitions
    with threadpool_limits(1):
        rows = [*small_problems(repetitions), *packages(repetitions)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print_report(rows)


if __name__ == "__main__":
    main()
