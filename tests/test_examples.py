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


def test_user_guide_runs_from_top_to_bottom() -> None:
    guide = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.finditer(r"^```python\n(.*?)^```", guide, re.DOTALL | re.MULTILINE):
        lines_before = guide.count("\n", 0, block.start(1))  # AutoGraph reads the source at its place in the guide
        exec(compile("\n" * lines_before + block[1], "docs/user-guide.md", "exec"), names)
    np.testing.assert_allclose(names["matrix"], [[1.0, 2.0]] * 3)
    portfolio, reserve = names["portfolio"].numpy(), names["reserve"].numpy()
    np.testing.assert_allclose(names["gains"].numpy() @ portfolio, 0.05, atol=1e-5)
    np.testing.assert_allclose(portfolio.sum() + reserve, 1.0, atol=1e-5)


def test_overhead_benchmark_reports_every_size_and_mode() -> None:
    report = json.loads(run(ROOT / "benchmarks" / "overhead.py", "--sizes", "2", "3", "--repetitions", "1", "--json"))
    assert [(row["n"], row["mode"]) for row in report["rows"]] == [(2, "graph"), (2, "jit"), (3, "graph"), (3, "jit")]
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
