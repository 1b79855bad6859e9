from __future__ import annotations

import json
import sys

import pytest
import tensorflow as tf

import tfminimize._api.cli as cli
from tfminimize.__main__ import main


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
    graph, xla = json.loads(capsys.readouterr().out)
    assert (graph["backend"], xla["backend"]) == ("tfe", "xla")
    for comparison in (graph, xla):
        assert comparison["size"] == 2
        assert comparison["same_status"]


def test_compare_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "rosenbrock-2", "--repeats", "1", "--jit"]) == 0
    output = capsys.readouterr().out
    assert "Rosenbrock, n = 2, XLA" in output
    assert "backend xla" in output
    assert "tfe" not in output


def test_compare_by_another_method(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("rosenbrock-2", "bounded-rosenbrock-100")
    monkeypatch.setattr(cli, "PROBLEMS", {name: cli.PROBLEMS[name] for name in names})
    assert main(["compare", "--method", "BFGS", "--repeats", "1", "--no-jit", "--json"]) == 0
    (comparison,) = json.loads(capsys.readouterr().out)
    assert (comparison["name"], comparison["method"]) == ("Rosenbrock, n = 2", "BFGS")
    assert comparison["nit_difference"] == 0
    with pytest.raises(SystemExit):
        main(["compare", "bounded-rosenbrock-100", "--method", "BFGS"])
    assert "BFGS takes no bounds" in capsys.readouterr().err


def test_repeats_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "rosenbrock-2", "--repeats", "0"])
    assert "--repeats is 0: give 1 or more" in capsys.readouterr().err


def test_unknown_problem_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "himmelblau"])
    assert "there is no problem himmelblau" in capsys.readouterr().err


def test_problem_without_scikit_learn_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit):
        main(["compare", "digits"])
    error = capsys.readouterr().err
    assert error.splitlines()[-1].endswith(
        "the problem 'digits' needs scikit-learn: run `pip install scikit-learn`, or choose another."
    )


def test_problem_that_needs_scikit_learn_is_left_out_of_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setattr(cli, "PROBLEMS", {name: cli.PROBLEMS[name] for name in ("rosenbrock-2", "digits")})
    assert main(["compare", "--repeats", "1", "--no-jit", "--json"]) == 0
    output = capsys.readouterr()
    assert [c["name"] for c in json.loads(output.out)] == ["Rosenbrock, n = 2"]
    assert "left out" in output.err
