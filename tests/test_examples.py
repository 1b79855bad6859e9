"""The examples, the user guide and the benchmarks run as they are written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


def run(script: Path, *arguments: str) -> str:
    """What the script prints; its errors are shown if it fails."""
    process = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("example", sorted(ROOT.glob("examples/*.py")), ids=lambda path: path.stem)
def test_example_runs(example: Path) -> None:
    assert run(example)


def run_blocks(page: str, text: str, start: int = 0, end: int | None = None) -> dict[str, Any]:
    """The names that the blocks of Python define, of which the earlier ones are known to the later ones."""
    names: dict[str, Any] = {}
    for block in re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE).finditer(text, start, end or len(text)):
        lines_before = text.count("\n", 0, block.start(1))  # AutoGraph reads the source at its place in the page
        exec(compile("\n" * lines_before + block[1], f"docs/{page}", "exec"), names)
    return names


def run_section(heading: str) -> dict[str, Any]:
    """The names that a section of the migration page defines."""
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    start = page.index(f"\n## {heading}\n")
    end = page.find("\n## ", start + 1)
    names = run_blocks("migration.md", page, start, end if end >= 0 else None)
    assert names
    return names


def test_user_guide_runs_from_top_to_bottom() -> None:
    guide = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
    names = run_blocks("user-guide.md", guide)
    np.testing.assert_allclose(names["matrix"], [[1.0, 2.0]] * 3)
    portfolio, reserve = names["portfolio"].numpy(), names["reserve"].numpy()
    np.testing.assert_allclose(names["gains"].numpy() @ portfolio, 0.05, atol=1e-5)
    np.testing.assert_allclose(portfolio.sum() + reserve, 1.0, atol=1e-5)


def test_serving_page_runs_from_top_to_bottom() -> None:
    names = run_blocks("serving.md", (ROOT / "docs" / "serving.md").read_text(encoding="utf-8"))
    assert names["answer"]["success"]
    weights = names["answer"]["weights"].numpy()
    np.testing.assert_allclose([weights.sum(), weights @ [0.02, 0.05, 0.09]], [1.0, 0.06], atol=1e-6)
    np.testing.assert_array_equal(names["again"]["weights"], weights)


def test_page_about_graphs_runs_from_top_to_bottom() -> None:
    names = run_blocks("in-graph.md", (ROOT / "docs" / "in-graph.md").read_text(encoding="utf-8"))
    result = names["result"]
    assert result.success
    np.testing.assert_allclose(result.x, [0.72, 0.14, 0.0], atol=1e-6)
    np.testing.assert_allclose(names["nearest"].numpy() @ [1.0, 2.0, 2.0], 1.0, atol=1e-6)
    np.testing.assert_allclose([names["slope"], names["offset"]], [2.0, 1.0], atol=1e-3)
    np.testing.assert_allclose(names["fun"], names["loss_at_the_solution"], atol=1e-6)
    np.testing.assert_allclose(names["by_point"], np.array([0.18, 0.36, -0.4]) / np.sqrt(0.322), atol=1e-6)
    assert names["tuned"].success
    assert names["losses"].shape == (100,)
    np.testing.assert_allclose(names["trace"]["x"][-1], [3.0, 4.0], atol=1e-4)


def test_migration_from_contrib() -> None:
    names = run_section("From `tf.contrib.opt`")
    np.testing.assert_allclose(names["fitted"], [2.0, 1.5], atol=1e-3)
    assert names["result"].backend == "tfe"
    assert names["result"].success


def test_migration_from_a_loop_around_scipy() -> None:
    names = run_section("From a loop around `scipy.optimize.minimize`")
    assert names["by_hand"].fun < 0.02
    assert names["result"].fun == pytest.approx(names["by_hand"].fun, rel=0.05)


@pytest.mark.usefixtures("gpflow")
def test_migration_from_gpflow() -> None:
    names = run_section("From `gpflow.optimizers.Scipy`")
    assert names["result"].fun == pytest.approx(names["before"].fun, rel=1e-6)
    assert names["losses"]


@pytest.mark.usefixtures("tensorflow_probability")
def test_migration_from_tensorflow_probability() -> None:
    names = run_section("From `tfp.optimizer.lbfgs_minimize`")
    assert names["before"].converged
    assert names["result"].success
    np.testing.assert_allclose(names["before"].position, 1.0, rtol=1e-6)
    np.testing.assert_allclose(names["result"].x, 1.0, rtol=1e-6)
    np.testing.assert_allclose([result.x for result in names["results"]], 1.0, rtol=1e-3)


def test_overhead_benchmark_reports_every_size_and_mode() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "overhead.py", "--sizes", "2", "3", "--repetitions", "1", "--json"))
    modes = ["graph", "tfe-jit", "xla"]
    assert [(row["n"], row["mode"]) for row in report["rows"]] == [(n, mode) for n in (2, 3) for mode in modes]
    assert all(row["ratio"] > 0 and abs(row["fun"]) < 1e-8 for row in report["rows"])
    assert report["machine"]["build"]["tensorflow"] == report["machine"]["tensorflow"]


def test_solver_benchmark_reports_every_size_with_and_without_bounds() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "solver.py", "--sizes", "10", "--repetitions", "3", "--json"))
    assert [(row["n"], row["bounds"]) for row in report] == [(10, False), (10, True)]
    assert all(row["tfminimize_ns"] > 0 and row["scipy_1_thread_ns"] > 0 for row in report)


def test_slsqp_benchmark_reports_every_problem() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "slsqp.py", "--small", "--json"))
    assert [(row["n"], row["rows"]) for row in report["iterations"]] == [(16, 8), (32, 16), (32, 0)]
    assert [(row["n"], row["rows"]) for row in report["memory"]] == [(64, 32), (64, 0)]
    assert [row["mode"] for row in report["example"]] == ["graph", "jit"]
    assert all(row["seconds"] > 0 and row["scipy_seconds"] > 0 for row in report["iterations"] + report["example"])


@pytest.mark.resident_memory
def test_leaks_benchmark_reports_constant_memory() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "leaks.py", "--small", "--json"))
    assert [row["count"] for row in report] == [100_000, 100_000, 20]
    bare, solves, _ = report
    assert bare["bytes_each"] < 1
    assert solves["bytes_each"] < 1


def test_interface_benchmark_reports_every_problem() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "interface.py", "--small", "--json"))
    assert [row["problem"] for row in report[:2]] == ["Rosenbrock, n = 4", "Burgers, 1 x 5, 50 points"]
    assert {row["backend"] for row in report} == {"tfe"}
    for row in report:
        assert row["other"]["fun"] == pytest.approx(row["tfminimize"]["fun"], rel=1e-3)
        assert row["ratio"] > 0
        assert 0 < row["tfminimize"]["outside"] < 1


def test_batch_benchmark_reports_every_solver() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "batch.py", "--small", "--json"))
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


@pytest.mark.usefixtures("tensorflow_probability")
def test_in_graph_benchmark_reports_every_way_and_mode() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "in_graph.py", "--small", "--json"))
    ways = [(row["solver"], row["mode"]) for row in report["rows"]]
    assert ways == [(way, mode) for way in ("operation", "outside", "tfp") for mode in ("graph", "XLA")]
    assert all(row["fun"] < 1e-9 and row["seconds"] > 0 for row in report["rows"])
    assert [row["mode"] for row in report["ratios"]] == ["graph", "XLA"]


def test_evaluation_benchmark_reports_every_way() -> None:
    (row,) = json.loads(run(ROOT / "benchmarks" / "evaluation.py", "--small", "--json"))
    assert all(row[way] > 0 for way in ("xla", "tfe-jit", "graph", "python", "ratio"))
