"""Profiles of solvers, checked against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
from problems import rosenbrock

import tfminimize as tfm

STARTS = np.array([[-1.2, 1.0], [2.0, -1.0], [0.0, 0.0]])
COSTS = {"a": [1.0, 2.0, 3.0, np.inf], "b": [2.0, 2.0, 1.5, np.nan]}


def share(line: Any, x: float) -> float:
    """The height of a line of steps at x."""
    xs, ys = line.get_xdata(), line.get_ydata()
    return float(ys[np.flatnonzero(xs <= x)[-1]])


def recorded(fun: list[float], nfev: list[int] | None = None, violation: float = 0.0) -> Any:
    """A result with this history."""
    rows = len(fun)
    history = {
        "fun": np.array(fun),
        "gradient_norm": np.ones(rows),
        "step": np.ones(rows),
        "nfev": np.array(nfev or range(1, rows + 1)),
        "seconds": np.arange(rows) / 10,
        "constr_violation": np.full(rows, violation),
    }
    return tfm.OptimizeResult(x=np.zeros(3), history=history, success=True, nfev=rows)


def test_performance_profile_is_the_share_of_problems_within_a_multiple_of_the_best() -> None:
    ax = tfm.plot.performance_profile(COSTS)
    a, b = ax.lines
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    assert [share(a, tau) for tau in (1.0, 1.9, 2.0)] == [0.5, 0.5, 0.75]
    assert [share(b, tau) for tau in (1.0, 1.9, 2.0)] == [0.5, 0.5, 0.75]
    assert {line.get_drawstyle() for line in ax.lines} == {"steps-post"}
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "evaluations, as a multiple of the best solver's",
        "share of problems solved",
    )


def test_performance_profile_of_results_counts_failures_as_unsolved() -> None:
    solvers = {
        m: [
            tfm.minimize(rosenbrock, x0, method=m, options={"maxiter": n})
            for x0, n in zip(STARTS, (50, 50, 3), strict=True)
        ]
        for m in ("BFGS", "L-BFGS-B")
    }
    solvers["SciPy"] = [scipy.optimize.minimize(scipy.optimize.rosen, x0, method="Powell") for x0 in STARTS]
    ax = tfm.plot.performance_profile(solvers)
    assert [share(line, 1e9) for line in ax.lines] == pytest.approx([2 / 3, 2 / 3, 1.0])
    best = min(solvers[m][0].nfev for m in solvers)
    for line, results in zip(ax.lines, solvers.values(), strict=True):
        assert results[0].nfev / best in line.get_xdata()


def test_performance_profile_of_seconds_is_without_tracing() -> None:
    results = [tfm.minimize(rosenbrock, x0) for x0 in STARTS]
    slower = [2 * (r.timing["evaluate"] + r.timing["solver"]) for r in results]
    ax = tfm.plot.performance_profile({"ours": results, "slower": slower}, "seconds")
    assert share(ax.lines[0], 1.0) == 1.0
    assert share(ax.lines[1], 1.99) == 0.0
    assert share(ax.lines[1], 2.01) == 1.0
    assert ax.get_xlabel() == "time, as a multiple of the best solver's"


def test_batches_are_results() -> None:
    batch = tfm.Minimizer(rosenbrock, STARTS[0]).minimize_batch(STARTS, history=True)
    alone = [tfm.minimize(rosenbrock, x0, history=True) for x0 in STARTS]
    for profile in (tfm.plot.performance_profile, tfm.plot.data_profile):
        first, second = profile({"batch": batch, "alone": alone}).lines
        np.testing.assert_array_equal(first.get_xydata(), second.get_xydata())


def test_data_profile_is_the_share_of_problems_solved_after_so_many_evaluations() -> None:
    # The best loss is 0 and the start 100: at a tolerance of 0.1 a problem is solved at a loss of 10.
    results = {
        "a": [recorded([100.0, 50.0, 9.0, 0.0]), recorded([100.0, 10.0, 10.0])],
        "b": [recorded([100.0, 10.5]), recorded([100.0, 0.0], nfev=[1, 7])],
    }
    ax = tfm.plot.data_profile(results, tol=0.1)
    a, b = ax.lines
    assert [share(a, x) for x in (0.0, 2 / 4, 3 / 4)] == [0.0, 0.5, 1.0]  # n + 1 = 4
    assert [share(b, x) for x in (0.0, 6 / 4, 7 / 4)] == [0.0, 0.0, 0.5]
    assert ax.get_xlabel() == "evaluations / (n + 1)"


def test_data_profile_of_seconds() -> None:
    ax = tfm.plot.data_profile({"a": [recorded([100.0, 50.0, 0.0])]}, "seconds")
    assert share(ax.lines[0], 0.19) == 0.0
    assert share(ax.lines[0], 0.2) == 1.0
    assert ax.get_xlabel() == "time in s"


def test_infeasible_iterates_solve_nothing_in_a_data_profile() -> None:
    results = {"a": [recorded([100.0, -50.0], violation=1e-3)], "b": [recorded([100.0, 0.0])]}
    a, b = tfm.plot.data_profile(results).lines
    assert share(a, 1e9) == 0.0
    assert share(b, 1e9) == 1.0
    a, b = tfm.plot.data_profile(results, feasible=1e-2).lines
    assert share(a, 1e9) == 1.0
    assert share(b, 1e9) == 0.0


@pytest.mark.parametrize("metric", ["nfev", "seconds"])
def test_profiles_of_failures_only_are_flat(metric: str) -> None:
    ax = tfm.plot.performance_profile({"a": [np.inf, np.nan]}, metric)
    assert share(ax.lines[0], 1e9) == 0.0
    ax = tfm.plot.data_profile({"a": [recorded([np.nan, np.nan])]}, metric)
    assert share(ax.lines[0], 1e9) == 0.0


@pytest.mark.parametrize("profile", [tfm.plot.performance_profile, tfm.plot.data_profile])
@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ({}, "results is a dict: give a dict with a sequence for each solver"),
        ([1, 2], "results is a list: give a dict"),
        ({"a": [], "b": []}, "results\\['a'\\] has no problems"),
        ({"a": [recorded([1.0])], "b": [recorded([1.0])] * 2}, "'a' has 1 problems and 'b' has 2"),
        ({"a": recorded([1.0])}, "results\\['a'\\] is a OptimizeResult: give a sequence"),
        ({"a": iter([1.0])}, "results\\['a'\\] is a list_iterator: give a sequence"),
        ({"a": ["fast"]}, "results\\['a'\\]\\[0\\] is a str"),
    ],
)
def test_wrong_results_are_refused(profile: Any, results: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        profile(results)


def test_what_a_profile_needs_is_said() -> None:
    with pytest.raises(ValueError, match=r"results\['a'\]\[1\] is 0: a cost is greater than 0"):
        tfm.plot.performance_profile({"a": [1, 0]})
    scipys = scipy.optimize.minimize(scipy.optimize.rosen, STARTS[0])
    with pytest.raises(ValueError, match=r"results\['a'\]\[0\] has no timing, as results of SciPy: give the seconds"):
        tfm.plot.performance_profile({"a": [scipys]}, "seconds")
    with pytest.raises(ValueError, match=r"results\['a'\]\[0\] is a OptimizeResult without a history"):
        tfm.plot.data_profile({"a": [scipys]})
    batch = tfm.Minimizer(rosenbrock, STARTS[0]).minimize_batch(STARTS)
    with pytest.raises(ValueError, match="whose problems share their time"):
        tfm.plot.performance_profile({"a": batch}, "seconds")
    with pytest.raises(ValueError, match=r"has no history: call minimize_batch\(..., history=True\)"):
        tfm.plot.data_profile({"a": batch})
    with pytest.raises(ValueError, match=r"tol is 1\.0: give a number between 0 and 1"):
        tfm.plot.data_profile({"a": [recorded([1.0])]}, tol=1.0)
    with pytest.raises(ValueError, match="metric is 'nit'"):
        tfm.plot.performance_profile(COSTS, "nit")
