from __future__ import annotations

import csv
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

import tfminimize._compare.cli as cli
from tfminimize.__main__ import main
from tfminimize._compare import problems
from tfminimize._compare.plan import Plan


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line that a wrong command prints; it ends with the code 2, and prints no results."""
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments])
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.splitlines()[-1]


def test_info_names_the_build_and_the_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    information = json.loads(capsys.readouterr().out)
    assert information["found"]["tensorflow"] == tf.__version__
    assert [information["found"][binary] for binary in ("binding", "xla", "ops")] == ["ok"] * 3
    assert information["built"]["compiler"]


def test_info_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert tf.__version__ in capsys.readouterr().out


@pytest.mark.slow
def test_compare_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "rosenbrock-2", "--repeats", "1", "--json"]) == 0
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["size"] == 2
    found = {(run["solver"], run["jit_compile"]): run for run in problem["runs"]}
    assert set(found) == {("tfminimize", False), ("tfminimize", True), ("scipy", False), ("scipy", True)}
    assert [found["tfminimize", jit]["backend"] for jit in (False, True)] == ["tfe", "xla"]
    assert {run["nfev"] for run in problem["runs"]} == {44}
    assert all(run["right"] and run["converged"] and run["marks"] == [] for run in problem["runs"])


def test_compare_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "rosenbrock-2", "--repeats", "1", "--jit"]) == 0
    output = capsys.readouterr().out
    for text in ("Rosenbrock, n = 2", "tfminimize L-BFGS-B XLA", "scipy L-BFGS-B XLA", "projected gradient ≤ 1e-05"):
        assert text in output


def test_compare_by_another_method(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "DEFAULT_PROBLEMS", ("rosenbrock-2", "bounded-rosenbrock-100"))
    assert main(["compare", "--method", "BFGS", "--repeats", "1", "--no-jit", "--json"]) == 0
    output = capsys.readouterr()
    (problem,) = json.loads(output.out)["problems"]
    assert problem["name"] == "Rosenbrock, n = 2"
    assert [run["method"] for run in problem["runs"]] == ["BFGS", "BFGS"]
    assert "BFGS of SciPy takes no bounds: left out for Rosenbrock within bounds, n = 100." in output.err
    assert "BFGS of tfminimize takes no bounds" in error_of(["bounded-rosenbrock-100", "--method", "BFGS"], capsys)


def test_reports_are_written_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("report.html", "runs.json", "runs.csv")]
    flags = [text for file in files for text in (f"--{file.suffix[1:]}", str(file))]
    assert main(["compare", "rosenbrock-2", "--repeats", "1", "--no-jit", *flags]) == 0
    assert "Rosenbrock" in capsys.readouterr().out
    page, json_text, csv_text = (file.read_text(encoding="utf-8") for file in files)
    assert page.startswith("<!doctype html>")
    (problem,) = json.loads(json_text)["problems"]
    rows = list(csv.DictReader(csv_text.splitlines()))
    assert [row["nfev"] for row in rows] == [str(run["nfev"]) for run in problem["runs"]]


def test_problems_of_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "beside.py").write_text("target = 3.0\n")
    (tmp_path / "mine.py").write_text(
        "import numpy as np, tensorflow as tf\n"
        "from beside import target\n"
        "from tfminimize.testing import TestProblem\n"
        "def bowl(x):\n"
        "    return tf.reduce_sum((x - target) ** 2)\n"
        "def make():\n"
        "    ring = {'type': 'eq', 'fun': lambda x: tf.reduce_sum(x**2) - 2.0}\n"
        "    return [TestProblem('bowl', bowl, np.zeros(2)), TestProblem('ring', bowl, np.ones(2), constraints=ring)]\n"
    )
    arguments = [f"{tmp_path / 'mine.py'}:make", "--methods", "L-BFGS-B,SLSQP", "--repeats", "1", "--no-jit", "--json"]
    assert main(["compare", *arguments]) == 0
    output = capsys.readouterr()
    found = {
        (problem["name"], run["solver"], run["method"]): run
        for problem in json.loads(output.out)["problems"]
        for run in problem["runs"]
    }
    assert len(found) == 6
    assert all(run["right"] for run in found.values())
    assert found["ring", "scipy", "SLSQP"]["fun"] == pytest.approx(8.0)
    assert "L-BFGS-B of SciPy takes no constraints: left out for ring." in output.err


def test_peer_that_is_not_installed_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name == "nlopt":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    arguments = ["rosenbrock-2", "--solvers", "tfminimize,nlopt", "--repeats", "1", "--no-jit", "--json"]
    assert main(["compare", *arguments]) == 0
    output = capsys.readouterr()
    assert [run["solver"] for run in json.loads(output.out)["problems"][0]["runs"]] == ["tfminimize"]
    assert "NLopt is not installed (pip install nlopt): left out." in output.err
    assert "no solver is left: NLopt is not installed" in error_of(["rosenbrock-2", "--solvers", "nlopt"], capsys)


def test_ctrl_c_keeps_the_problems_that_are_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    solve = Plan.solve

    def interrupted(self: Plan, problem: problems.TestProblem, ways: list[object]) -> object:
        if problem.name == "HS7":
            raise KeyboardInterrupt
        return solve(self, problem, ways)  # type: ignore[arg-type]

    monkeypatch.setattr(Plan, "solve", interrupted)
    assert main(["compare", "hock-schittkowski", "--repeats", "1", "--no-jit", "--json"]) == 130
    output = capsys.readouterr()
    assert [problem["name"] for problem in json.loads(output.out)["problems"]] == ["HS6"]
    assert "Interrupted after 1 of 8 problems." in output.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rosenbrock-2", "--repeats", "0"], "--repeats is 0: give 1 or more"),
        (["rosenbrock-2", "--solvers", "cplex"], "no solver 'cplex': choose from tfminimize, scipy, tfp, nlopt"),
        (["rosenbrock-2", "--solvers", ","], "there is no solver: give one or more of tfminimize, scipy"),
        (["rosenbrock-2", "--methods", "SQP"], "method 'SQP' is not known: use one of"),
        (["rosenbrock-2", "--methods", ","], "there is no method: give one or more"),
        (["rosenbrock-2", "--tol", "-1"], "tol is -1.0"),
        (["rosenbrock-2", "--maxiter", "-1"], "maxiter is -1"),
        (["rosenbrock-2", "--csv", "nowhere/runs.csv"], "--csv nowhere/runs.csv cannot be written"),
        (["--json", "rosenbrock-2"], "--json rosenbrock-2 is a problem, not a file"),
        (["rosenbrock-2", "--methods", "BFGS", "--solvers", "nlopt"], "NLopt has no BFGS"),
        (["hock-schittkowski", "--methods", "L-BFGS-B"], "L-BFGS-B of tfminimize takes no constraints"),
        (["hock-schittkowski", "--methods", "L-BFGS-B"], "SLSQP takes constraints and bounds"),
    ],
)
def test_wrong_arguments_are_an_error_of_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in error_of(arguments, capsys)


def test_page_without_its_packages_is_an_error_before_anything_runs(
    uninstall: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    uninstall("jinja2")
    error = error_of(["rosenbrock-2", "--html", "report.html"], capsys)
    assert "needs jinja2 and matplotlib" in error
    assert "pip install jinja2 matplotlib" in error


def test_problem_without_scikit_learn_is_an_error_of_one_line(
    uninstall: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    uninstall("sklearn")
    assert error_of(["digits"], capsys).endswith(
        "the problem 'digits' needs scikit-learn: run `pip install scikit-learn`, or choose another."
    )


def test_problem_that_needs_scikit_learn_is_left_out_of_all(
    uninstall: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uninstall("sklearn")
    monkeypatch.setattr(cli, "DEFAULT_PROBLEMS", ("rosenbrock-2", "digits"))
    assert main(["compare", "--repeats", "1", "--no-jit", "--json"]) == 0
    output = capsys.readouterr()
    assert [problem["name"] for problem in json.loads(output.out)["problems"]] == ["Rosenbrock, n = 2"]
    assert "left out" in output.err
