"""The examples run, and the benchmarks report the rows of their tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from interpreter import run_python

pytestmark = pytest.mark.subprocess

ROOT = Path(__file__).parents[2]


def reported_by(benchmark: str, *options: str) -> Any:
    return json.loads(run_python(ROOT / "benchmarks" / benchmark, *options, "--json"))


def errors_of(*arguments: str, cwd: Path | None = None, **environment: str) -> str:
    """What Python writes to its error output, if no level is set for TensorFlow's lines."""
    unset = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=unset | environment, capture_output=True, text=True, check=True
    )
    return done.stderr


@pytest.mark.weekly  # `make demo` runs them for each change
@pytest.mark.parametrize("example", sorted(ROOT.glob("examples/[!_]*.py")), ids=lambda path: path.stem)
def test_example_runs(example: Path) -> None:
    assert run_python(example)


@pytest.mark.parametrize("folder", ["examples", "benchmarks"])
def test_scripts_do_not_print_the_start_up_lines_of_tensorflow(folder: str) -> None:
    program = "import _quiet, sys, tensorflow as tf; tf.constant(1.0) + 1.0; print('told', file=sys.stderr)"
    assert errors_of("-c", program, cwd=ROOT / folder) == "told\n"


def test_examples_of_the_gallery_do_not_print_the_start_up_lines_of_tensorflow(tmp_path: Path) -> None:
    heads = set()
    for example in (ROOT / "examples" / "gallery").glob("plot_*.py"):
        lines = example.read_text(encoding="utf-8").splitlines()
        first = lines.index("import os")
        last = max(i for i, line in enumerate(lines) if line.startswith(("import ", "from ")))
        head = lines[first : last + 1]
        ours = head.index("import tfminimize as tfm  # before TensorFlow")
        assert not {"import keras", "import tensorflow as tf"}.intersection(head[:ours]), example
        heads.add(tuple(head[: ours + 1]))
    for head in heads:
        program = "\n".join([*head, "import keras, sys, tensorflow as tf", "tf.constant(1.0) + 1.0"])
        program += "\nprint('told', file=sys.stderr)"
        assert errors_of("-c", program, cwd=tmp_path) == "told\n"


def test_command_line_does_not_print_the_start_up_lines_of_tensorflow() -> None:
    assert errors_of("-m", "tfminimize", "info") == ""


def test_user_chooses_whether_tensorflow_prints_its_start_up_lines() -> None:
    assert "oneDNN" in errors_of("-c", "import tfminimize")
    assert errors_of("-c", "import tfminimize", TFMINIMIZE_QUIET="1") == ""


def test_overhead_benchmark_reports_every_size_and_mode() -> None:
    report = reported_by("overhead.py", "--sizes", "2", "3", "--repetitions", "1")
    modes = ["graph", "tfe-jit", "xla"]
    assert [(row["n"], row["mode"]) for row in report["rows"]] == [(n, mode) for n in (2, 3) for mode in modes]
    assert all(row["ratio"] > 0 and abs(row["fun"]) < 1e-8 for row in report["rows"])
    assert report["machine"]["build"]["tensorflow"] == report["machine"]["tensorflow"]


@pytest.mark.weekly  # others like it run for each change
def test_solver_benchmark_reports_every_size_with_and_without_bounds() -> None:
    report = reported_by("solver.py", "--sizes", "10", "--repetitions", "3")
    assert [(row["n"], row["bounds"]) for row in report] == [(10, False), (10, True)]
    assert all(row["tfminimize_ns"] > 0 and row["scipy_1_thread_ns"] > 0 for row in report)


@pytest.mark.weekly  # others like it run for each change
def test_slsqp_benchmark_reports_every_problem() -> None:
    report = reported_by("slsqp.py", "--small")
    assert [(row["n"], row["rows"]) for row in report["iterations"]] == [(16, 8), (32, 16), (32, 0)]
    assert [(row["n"], row["rows"]) for row in report["memory"]] == [(64, 32), (64, 0)]
    assert [row["mode"] for row in report["example"]] == ["graph", "jit"]
    assert all(row["seconds"] > 0 and row["scipy_seconds"] > 0 for row in report["iterations"] + report["example"])


@pytest.mark.weekly  # others like it run for each change
def test_bfgs_benchmark_reports_every_size() -> None:
    report = reported_by("bfgs.py", "--sizes", "10,2100", "--repetitions", "1", "--update", "ssbroyden")
    assert [row["n"] for row in report] == [10, 2100]
    assert all(row["seconds"] > 0 and row["bandwidth_all_threads"] > 0 for row in report)
    assert report[0]["ratio"] > 0
    assert "ratio" not in report[1]
    assert 0.4 < report[1]["squares"] <= 0.55


@pytest.mark.weekly  # others like it run for each change
def test_leaks_benchmark_reports_constant_memory() -> None:
    report = reported_by("leaks.py", "--small")
    assert [row["count"] for row in report] == [100_000, 100_000, 20]
    bare, solves, _ = report
    assert bare["bytes_each"] < 1
    assert solves["bytes_each"] < 1


@pytest.mark.weekly  # others like it run for each change
def test_interface_benchmark_reports_every_problem() -> None:
    report = reported_by("interface.py", "--small")
    network = "Burgers, 1 x 5, 50 points"
    assert [row["problem"] for row in report[:3]] == ["Rosenbrock, n = 4", network, f"{network}, with loss_callback"]
    assert {row["backend"] for row in report} == {"tfe"}
    for row in report:
        assert row["other"]["fun"] == pytest.approx(row["tfminimize"]["fun"], rel=1e-3)
        assert row["ratio"] > 0
        assert 0 < row["tfminimize"]["outside"] < 1


@pytest.mark.weekly  # others like it run for each change
def test_benchmark_of_scipys_hands_reports_every_problem() -> None:
    report = reported_by("scipy_hands.py", "--small")
    assert [row["problem"].split(",")[0] for row in report[:3]] == ["set-up"] * 3
    assert all(row["ratio"] > 0 for row in report if "ratio" in row)
    assert all("is not installed" in row["problem"] for row in report if "ratio" not in row)


@pytest.mark.weekly  # others like it run for each change
def test_batch_benchmark_reports_every_solver() -> None:
    report = reported_by("batch.py", "--small")
    ours = [(row["solver"], row["bounds"], row["threads"]) for row in report if row["solver"].startswith("tfminimize")]
    assert ours == [
        *(("tfminimize, XLA", True, threads) for threads in "12"),
        *(("tfminimize, graph", True, threads) for threads in "12"),
        *(("tfminimize, XLA", False, threads) for threads in "12"),
    ]
    assert [row["fits"] for row in report if row["solver"].startswith("SciPy")] == [3, 3]
    for row in report:
        assert row["per_fit"] > 0
        assert set(row["ratios"]) == {"1", "2"}


@pytest.mark.weekly  # others like it run for each change
def test_acquisition_benchmark_reports_every_solver() -> None:
    report = reported_by("acquisition.py", "--small")
    ours = [(row["solver"], row["backend"]) for row in report if row["solver"].startswith("tfminimize")]
    ways = tuple(
        f"tfminimize, {w}" for w in ("vectorized", "vectorized, a group for each core", "one by one in threads")
    )
    assert ours == [(way, backend) for backend in ("graph", "XLA") for way in ways]
    assert [row["solved"] for row in report if row["solver"].startswith("SciPy")] == [2, 8]
    assert all(row["per_start"] > 0 and 0 <= row["best"] <= 1 for row in report)


@pytest.mark.weekly  # others like it run for each change
@pytest.mark.usefixtures("tensorflow_probability")
def test_in_graph_benchmark_reports_every_way_and_mode() -> None:
    report = reported_by("in_graph.py", "--small")
    ways = [(row["solver"], row["mode"]) for row in report["rows"]]
    all_ways = ("operation", "in a loop", "outside", "tfp", "empty")
    assert ways == [(way, mode) for way in all_ways for mode in ("graph", "XLA")]
    assert all(row["fun"] < 1e-9 or row["solver"] == "empty" for row in report["rows"])
    assert all(row["seconds"] > 0 for row in report["rows"])
    assert [row["mode"] for row in report["ratios"]] == ["graph", "XLA"]


@pytest.mark.weekly  # others like it run for each change
def test_evaluation_benchmark_reports_every_way() -> None:
    (row,) = reported_by("evaluation.py", "--small")
    assert all(
        row[way] > 0 for way in ("xla", "tfe-jit", "graph", "auto", "python", "ratio", "auto_ratio", "first_ratio")
    )


@pytest.mark.weekly  # others like it run for each change
def test_pinn_benchmark_reports_every_solver_and_way() -> None:
    report = reported_by("pinn.py", "--small")
    assert [run["solver"] for run in report["runs"]] == ["L-BFGS-B", "BFGS", "SSBFGS", "SSBroyden"]
    for run in report["runs"]:
        assert [leg["iterations"] for leg in run["legs"]] == [0, 20, 40]
        assert len(run["losses"]) == len(run["seconds"]) == 40
        assert run["legs"][-1]["test_loss"] < run["legs"][0]["test_loss"]
        assert run["seconds"] == sorted(run["seconds"])
    batches, whole, *scipys = report["first_leg"]
    assert [row["iterations"] for row in (batches, whole, *scipys)] == [20] * 4
    assert all(row["fun"] == pytest.approx(whole["fun"], rel=1e-3) for row in (batches, *scipys))
    assert all(0 < row["evaluation_ms"] < row["ms"] for row in (batches, whole, *scipys))


@pytest.mark.weekly
def test_real_work_benchmark_reports_every_loss() -> None:
    rows = reported_by("real_work.py", "--quick", "--limits")
    assert len(rows) >= 7
    assert all(row["limits"]["flops"] > 0 and row["limits"]["products"] > 0 for row in rows)
    assert all(row["ratio"] > 0 and row["evaluation_ratio"] > 0 for row in rows)
    assert all(
        row[side]["nfev"] > 0 and row[side]["on"] in ("graph", "jit") for row in rows for side in ("scipy", "ours")
    )


@pytest.mark.weekly  # others like it run for each change
def test_inner_loop_benchmark_reports_every_solver() -> None:
    report = reported_by("inner_loop.py", "--ticks", "20", "--peer-ticks", "3", "--warm-ticks", "10")
    rows = report["ticks"]
    assert {(row["n"], row["constraint"]) for row in rows} == {(n, c) for n in (2, 5, 10, 20) for c in (False, True)}
    assert {row["solver"] for row in rows} >= {"tfminimize", "SciPy"}
    assert all(0 < row["p50"] <= row["p99"] <= row["p999"] <= row["longest"] for row in rows)


@pytest.mark.weekly  # others like it run for each change
def test_fit_benchmark_reports_every_way() -> None:
    report = reported_by("fit.py", "--small")
    ways = [row["way"] for row in report["rows"]]
    assert ways == [
        *("closure", "DatasetLoss", "DatasetLoss, machine code", "SciPy loop"),
        *("closure", "DatasetLoss, tf.data", "SciPy loop"),
    ]
    assert all(row["seconds"] > 0 for row in report["rows"] + report["memory"])
    assert "kormos" in report["kormos"]
    said = run_python(ROOT / "benchmarks" / "fit.py", "--keras", "--small")
    assert "of an evaluation of the bare loss" in said
