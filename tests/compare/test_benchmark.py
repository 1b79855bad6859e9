"""Benchmarks: many problems, methods and solvers."""

from __future__ import annotations

import html.parser
import json
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import bowl, rosenbrock

import tfminimize as tfm
from tfminimize._compare import figures
from tfminimize._compare.results import Run
from tfminimize.testing import TestProblem

START = np.array([-1.2, 1.0])
FOUR = ["tfminimize", "scipy", "tfp", "nlopt"]
THREE = ["tfminimize", "scipy", "nlopt"]
"""Without TensorFlow Probability, whose solvers take seconds to trace."""
DISC = {"type": "ineq", "fun": lambda x: 1.5 - tf.reduce_sum(x**2)}


@pytest.fixture
def _peers() -> None:
    for package in ("tensorflow_probability", "nlopt"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip(package)


def solve(fun: Any = rosenbrock, x0: Any = START, **options: Any) -> dict[str, Run]:
    """The runs of one problem, by their labels."""
    options = {"solvers": ["tfminimize", "scipy"], "repeats": 1, **options}
    return {run.label: run for run in tfm.compare(fun, x0, **options).runs}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jit", "methods", "count"),
    [(False, ["L-BFGS-B", "SLSQP"], 7), pytest.param(True, ["BFGS"], 3, marks=pytest.mark.weekly)],
)
@pytest.mark.usefixtures("_peers")
def test_all_solvers_find_the_minimum_with_a_record(jit: bool, methods: list[str], count: int) -> None:
    runs = solve(solvers=FOUR, method=methods, jit_compile=jit)
    assert len(runs) == count  # TensorFlow Probability has no SLSQP, and NLopt no BFGS
    for label, run in runs.items():
        assert run.marks == [], (label, run.message)
        np.testing.assert_allclose(run.x, 1.0, atol=1e-2, err_msg=label)
        assert run.seconds > 0
        assert run.history["fun"][0] == pytest.approx(24.2)
        assert run.history["fun"].min() == pytest.approx(run.fun, abs=1e-7)
        assert run.nfev == pytest.approx(run.history["nfev"][-1], rel=0.5), label


@pytest.mark.slow
@pytest.mark.usefixtures("_peers")
def test_variables_have_their_old_values_and_are_the_start_of_all() -> None:
    v, w = tf.Variable(START.astype(np.float32)), tf.Variable(3.0, dtype=tf.float64)

    def loss() -> tf.Tensor:
        return tf.cast(rosenbrock(v), tf.float64) + (w - 1.0) ** 2

    runs = solve(loss, [v, w], solvers=FOUR, method="L-BFGS-B")
    assert [run.right for run in runs.values()] == [True] * 4
    assert [run.history["fun"][0] for run in runs.values()] == pytest.approx([28.2] * 4)
    assert v.numpy().tolist() == START.astype(np.float32).tolist()
    assert float(w) == 3.0


@pytest.mark.usefixtures("_peers")
def test_bounds_and_constraints_of_every_form_are_those_of_all() -> None:
    constraints = [
        DISC,
        scipy.optimize.NonlinearConstraint(lambda x: x[0] * x[1], 0.1, 0.4),
        scipy.optimize.LinearConstraint([[1.0, -1.0, 0.0]], 0.2, 0.2),
    ]
    problem = TestProblem("p", bowl, np.array([0.3, 0.1, 3.0]), (0.0, [9.0, 9.0, 0.5]), None, constraints)
    benchmark = tfm.compare(problem, solvers=FOUR, repeats=1)
    assert [run.label for run in benchmark.runs] == ["tfminimize SLSQP", "scipy SLSQP", "nlopt SLSQP"]
    assert [run.marks for run in benchmark.runs] == [[]] * 3
    assert benchmark.left_out == ["TensorFlow Probability has no SLSQP: left out for p."]
    expected = scipy.optimize.brentq(lambda t: t * (t - 0.2) - 0.4, 0, 2)
    for run in benchmark.runs:
        np.testing.assert_allclose(run.x, [expected, expected - 0.2, 0.5], atol=1e-4)


def test_options_reach_each_method_that_has_them() -> None:
    problem = TestProblem("p", rosenbrock, START, minimum=0.0)
    runs = solve(problem, None, method=["L-BFGS-B", "BFGS"], options={"maxiter": 3, "maxcor": 5})
    assert [run.nit for run in runs.values()] == [3] * 4
    assert [run.marks for run in runs.values()] == [["unconverged", "higher f"]] * 4
    assert all("3 iterations" in run.stops for run in runs.values())
    with pytest.raises(ValueError, match="none of L-BFGS-B, BFGS has an option 'maxcore'"):
        solve(method=["L-BFGS-B", "BFGS"], options={"maxcore": 5})


def test_slow_solves_are_repeated_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfminimize._compare.plan.MOST_SECONDS", 1e-9)
    runs = solve(repeats=12)
    assert [len(run.all_seconds) for run in runs.values()] == [1, 1]


@pytest.mark.usefixtures("_peers")
def test_tol_means_the_same_for_all() -> None:
    loose, tight = (solve(solvers=THREE, method="L-BFGS-B", tol=tol) for tol in (1e-1, 1e-10))
    for label, run in loose.items():
        assert "0.1" in run.stops, label
        assert "1e-10" in tight[label].stops
        assert run.nfev < tight[label].nfev


@pytest.mark.usefixtures("_peers")
def test_what_one_solver_raises_is_a_run_that_failed() -> None:
    def only_once(x: np.ndarray) -> np.ndarray:
        raise ValueError("not today")

    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**2) + 0.0 * tf.ensure_shape(tf.numpy_function(only_once, [x], tf.float64), [])

    problem = TestProblem("raises", fun, START)
    good = TestProblem("good", rosenbrock, START)
    benchmark = tfm.compare([problem, good], solvers=THREE, repeats=1)
    failed, solved = benchmark.problems
    assert [run.marks for run in failed.runs] == [["failed"]] * 3
    assert all("not today" in run.message for run in failed.runs)
    assert all(run.right for run in solved.runs)
    assert "all: InvalidArgumentError: ValueError: not today" in str(benchmark)
    assert json.loads(json.dumps(benchmark.to_dict(), allow_nan=False))["problems"][0]["runs"][0]["fun"] is None


def test_function_that_cannot_be_traced_fails_in_all_ways() -> None:
    runs = solve(lambda x: x[7], method=["L-BFGS-B", "BFGS"])
    assert [run.marks for run in runs.values()] == [["failed"]] * 4


def test_xla_that_fails_leaves_the_graph() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**2) + 0.0 * tf.strings.to_number(tf.strings.as_string(x[0]), tf.float64)

    problem = TestProblem("strings", fun, START)
    plan = tfm._compare.plan.Plan([problem], jits=(False, True), repeats=1)
    found = {run.label: run.failed for run in plan.solve(*plan.entries[0]).runs}
    assert found["scipy L-BFGS-B XLA"]
    assert not found["scipy L-BFGS-B"]
    assert not found["tfminimize L-BFGS-B"]


@pytest.mark.parametrize(
    ("fun", "minimum", "marks"),
    [
        (lambda x: tf.reduce_sum(x**2), None, []),
        (lambda x: tf.reduce_sum(x**2), -1.0, ["higher f"]),
        (lambda x: tf.reduce_sum(tf.sqrt(-x - 5.0)), None, ["unconverged", "not finite"]),
    ],
    ids=["right", "other minimum", "NaN"],
)
def test_wrong_results_are_marked(fun: Callable[..., Any], minimum: float | None, marks: list[str]) -> None:
    problem = TestProblem("p", fun, np.array([1.0, 2.0]), minimum=minimum)
    (run,) = tfm.compare(problem, solvers="TFminimize", repeats=1).runs
    assert run.marks == marks


def test_infeasible_point_is_marked_whatever_its_loss() -> None:
    constraint = {"type": "ineq", "fun": lambda x: tf.stack([x[0] - 1.0, -x[0]])}
    problem = TestProblem("p", lambda x: tf.reduce_sum(x**2), np.array([0.3]), constraints=constraint)
    (run,) = tfm.compare(problem, solvers="tfminimize", repeats=1).runs
    assert run.marks == ["unconverged", "infeasible"]
    assert run.violation > 0.1


def test_scale_of_the_loss_does_not_change_the_marks() -> None:
    for factor in (1e-9, 1.0, 1e9):
        problem = TestProblem("p", lambda x, c=factor: c * rosenbrock(x), START, minimum=0.0)
        (run,) = tfm.compare(problem, solvers="tfminimize", repeats=1, options={"maxiter": 3}).runs
        assert run.marks[-1] == "higher f"


def test_equal_names_get_numbers_and_warnings_become_notes() -> None:
    def noisy(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**2) + 1e-12 * tf.random.normal([], dtype=tf.float64)

    benchmark = tfm.compare(
        [TestProblem("p", noisy, START), TestProblem("p", bowl, START)], solvers="tfminimize", repeats=1
    )
    assert [problem.name for problem in benchmark.problems] == ["p", "p (2)"]
    assert "random" in benchmark.problems[0].notes[0]
    assert benchmark.problems[1].notes == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"fun": []}, "there is no problem to solve"),
        ({"fun": [3]}, "fun is .3.: give a function, a tfminimize.testing.TestProblem or a list"),
        ({"fun": TestProblem("p", bowl, START), "bounds": (0, 1)}, "bounds is .* but each TestProblem has its own"),
        ({"fun": bowl, "solvers": ["scipy"]}, "x0 is None"),
        ({"fun": bowl, "x0": START, "solvers": []}, "there is no solver"),
        ({"fun": bowl, "x0": START, "solvers": "ipopt"}, "there is no solver 'ipopt'"),
        ({"fun": bowl, "x0": START, "method": ["L-BFGS-B", print]}, "has no name"),
        ({"fun": bowl, "x0": START, "method": ["L-BFGS-B"], "repeats": 0}, "repeats is 0"),
        ({"fun": bowl, "x0": START, "method": ["BFGS"], "bounds": (0, 1)}, "L-BFGS-B and SLSQP take bounds"),
        ({"fun": bowl, "x0": START, "method": ["L-BFGS-B"], "constraints": DISC}, "SLSQP takes constraints"),
    ],
)
def test_wrong_arguments_are_an_error_before_anything_runs(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        tfm.compare(**arguments)


@pytest.fixture(scope="module")
def both() -> tfm.Benchmark:
    """A problem with constraints, one without, and one that no solver solves."""
    problems = [
        TestProblem("<valley> & co", rosenbrock, START, minimum=0.0),
        TestProblem("A name of a problem that is rather long, longer than a terminal is wide, so " * 2, bowl, START),
        TestProblem("disc", bowl, START / 2, constraints=DISC),
    ]
    return tfm.compare(problems, method=["L-BFGS-B", "SLSQP", "trust-constr"], repeats=1, options={"maxiter": 20})


def test_tables_fit_80_columns_and_say_all(both: tfm.Benchmark) -> None:
    text = str(both)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    words = " ".join(text.split())
    for expected in (
        "<valley> & co: 2 parameters",
        "unconverged, higher f",
        "All 3 problems",
        "20 iterations",
        "left out",
    ):
        assert expected in words
    disc = text[text.index("disc:") :]
    assert "violation" in disc[: disc.index("───")]


def test_page_stands_alone(both: tfm.Benchmark, tmp_path: Path) -> None:
    both.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;valley&gt; &amp; co" in page
    assert "<valley>" not in page
    assert not re.search(r"<(script|link|img|iframe)\b|url\((?!#)|@import", page)
    opened: list[str] = []

    class Checker(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "br", "link"):
                opened.append(tag)

        def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None: ...

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed(page)
    assert opened == []
    assert page.count("<svg") == 3 + 1 + 1 + 2  # profiles, and the losses and the violations


def test_profiles_count_what_is_not_solved(both: tfm.Benchmark) -> None:
    costs = figures._costs(both.problems, "nfev", ["tfminimize L-BFGS-B", "scipy trust-constr"])
    valley, plain, disc = costs["tfminimize L-BFGS-B"]
    assert math.isinf(valley)  # the iterations are used up
    assert plain == both.problems[1].runs[0].nfev
    assert math.isinf(disc)  # it takes no constraints
    assert len(costs["scipy trust-constr"]) == 3
