"""Every Python block in the README and the docs runs as written and gives the results that the text states."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES_THAT_RUN = [
    "README.md",
    "docs/choose-a-method.md",
    "docs/compare.md",
    "docs/going-on.md",
    "docs/in-graph.md",
    "docs/index.md",
    "docs/keras.md",
    "docs/large-data.md",
    "docs/many-solves.md",
    "docs/migration.md",
    "docs/pinn.md",
    "docs/plots.md",
    "docs/second-derivatives.md",
    "docs/serving.md",
    "docs/user-guide.md",
]


def run_page(page: str, section: str | None = None) -> dict[str, Any]:
    """Run the blocks of a page, or of one section, from top to bottom, and return the names that they define."""
    text = (ROOT / page).read_text(encoding="utf-8")
    start = text.index(f"\n## {section}\n") if section else 0
    end = text.find("\n## ", start + 1) if section else -1
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(text, start, end if end >= 0 else len(text)):
        lines_before = text.count("\n", 0, block.start(1))  # AutoGraph reads the source at its place in the page
        exec(compile("\n" * lines_before + block[1], page, "exec"), names)
    assert names, f"{page} has no block of Python there"
    return names


def test_every_page_with_python_is_run() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [page.relative_to(ROOT).as_posix() for page in pages if BLOCK.search(page.read_text(encoding="utf-8"))]
    assert found == PAGES_THAT_RUN


@pytest.mark.parametrize("page", ["docs/index.md", "docs/choose-a-method.md"])
def test_page_without_figures_to_check_runs(page: str) -> None:
    assert run_page(page)["result"].success


def test_readme_runs_from_top_to_bottom(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names = run_page("README.md")
    plt.close("all")
    assert names["result"].backend == "xla"
    np.testing.assert_allclose(names["result"].x, [2.0, -4.0, 6.0], atol=0.5)
    assert names["batch"].success.all()
    assert names["batch"].x.shape == (50, 3)
    assert names["best"].success
    np.testing.assert_allclose(names["weights"], [1.0, -1.0, 3.0], atol=0.2)  # under weights >= -1
    assert names["weights"].numpy().min() >= -1.0 - 1e-6
    assert names["history"].history["loss"][-1] < names["history"].history["loss"][0] / 10
    assert "tfminimize" in capsys.readouterr().out


def test_user_guide_runs_from_top_to_bottom() -> None:
    names = run_page("docs/user-guide.md")
    np.testing.assert_allclose(names["matrix"], [[1.0, 2.0]] * 3)
    portfolio, reserve = names["portfolio"].numpy(), names["reserve"].numpy()
    np.testing.assert_allclose(names["gains"].numpy() @ portfolio, 0.05, atol=1e-5)
    np.testing.assert_allclose(portfolio.sum() + reserve, 1.0, atol=1e-5)
    np.testing.assert_allclose(names["standard_errors"], [names["samples"].std() / 20, 1 / np.sqrt(800)], rtol=1e-3)


def test_page_on_many_solves_runs_from_top_to_bottom() -> None:
    names = run_page("docs/many-solves.md")
    np.testing.assert_allclose(names["result"].x, np.clip(names["point"], -1.0, 1.0), atol=1e-6)
    np.testing.assert_allclose(names["moved"].x, 2.0)
    np.testing.assert_allclose(names["inner"].x, 0.125**0.5, atol=1e-6)
    np.testing.assert_allclose(names["discs"].x, np.sqrt([[0.125] * 2, [0.5] * 2]), atol=1e-6)
    np.testing.assert_allclose(names["curve_fits"].x, names["truth"], atol=1e-2)
    np.testing.assert_allclose(names["camel"](names["best"]), -1.031628453, atol=1e-6)  # Dixon & Szegö, 1978
    np.testing.assert_allclose(names["nearest_peaks"].x, names["centers"], atol=1e-4)


def test_page_on_second_derivatives_runs_from_top_to_bottom() -> None:
    names = run_page("docs/second-derivatives.md")
    np.testing.assert_allclose(names["matrix"], [[802, -400], [-400, 200]])
    samples, t, y = names["samples"], names["t"], names["y"]
    np.testing.assert_allclose(names["standard_errors"], [samples.std() / 20, 1 / np.sqrt(800)], rtol=1e-3)
    np.testing.assert_allclose(names["learned"], np.eye(2))
    assert (names["from_steps"] / names["standard_errors"])[0] == pytest.approx(1.29, abs=0.02)
    _, covariance = scipy.optimize.curve_fit(lambda t, decay, rate: rate * np.exp(-decay * t), t, y, [1.0, 1.0])
    errors = [names["decay_error"], names["rate_error"]]
    np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=0.01)
    first, second = names["first_order"], names["second_order"]
    assert first.nit > 200 > 150 > second.nit
    assert abs(first.x - 1).max() > 1e-7 > 1e-9 > abs(second.x - 1).max()
    assert names["constrained"].success
    assert names["constrained"].x[1] == pytest.approx(0.5, abs=1e-4)


def test_page_on_going_on_runs_from_top_to_bottom() -> None:
    names = run_page("docs/going-on.md")
    assert names["state"].nit == names["result"].nit == names["whole"].nit
    np.testing.assert_array_equal(names["result"].x, names["whole"].x)
    names["folder"].cleanup()


def test_page_on_keras_runs_from_top_to_bottom() -> None:
    names = run_page("docs/keras.md")
    assert names["begun"].epoch[-1] == 29
    assert names["history"].epoch[0] == 30
    assert names["history"].history["loss"][-1] < names["begun"].history["loss"][-1] < 0.1
    names["folder"].cleanup()


def test_page_on_large_data_runs_from_top_to_bottom() -> None:
    names = run_page("docs/large-data.md")
    best = names["from_arrays"]
    assert best.success
    for other in (names["from_dataset"], names["resumed"], names["fitted"]):
        np.testing.assert_allclose(other.fun, best.fun, rtol=1e-5)
    np.testing.assert_array_equal(names["resumed"].x["weights"], best.x["weights"])
    assert names["losses"][-1] < 0.7 * names["losses"][0]


def test_page_on_physics_informed_networks_runs_from_top_to_bottom() -> None:
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        names = run_page("docs/pinn.md")
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
    assert names["result"].backend == "xla"
    assert names["result"].nit == 100
    assert names["error"] < 1e-5


def test_page_on_plots_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    level = logging.getLogger("tfminimize").level
    try:
        names = run_page("docs/plots.md")
    finally:
        logging.getLogger("tfminimize").setLevel(level)
        plt.close("all")
    assert names["result"].success
    assert names["ax"].get_xlabel() == "epoch"
    assert (tmp_path / "gradients.png").exists()
    assert list((tmp_path / "logs" / "rosenbrock").iterdir())
    assert "L-BFGS-B: 2 parameters, backend tfe" in caplog.messages[-2]


def test_page_on_comparing_runs_from_top_to_bottom() -> None:
    benchmark = run_page("docs/compare.md")["benchmark"]
    assert len(benchmark.problems) == 3
    assert len(benchmark.runs) == 2 + 2 * 4
    assert all(run.right and run.converged for run in benchmark.runs)


def test_serving_page_runs_from_top_to_bottom() -> None:
    names = run_page("docs/serving.md")
    assert names["answer"]["success"]
    weights = names["answer"]["weights"].numpy()
    np.testing.assert_allclose([weights.sum(), weights @ [0.02, 0.05, 0.09]], [1.0, 0.06], atol=1e-6)
    np.testing.assert_array_equal(names["again"]["weights"], weights)


def test_page_about_graphs_runs_from_top_to_bottom() -> None:
    names = run_page("docs/in-graph.md")
    result = names["result"]
    assert result.success
    np.testing.assert_allclose(result.x, [0.72, 0.14, 0.0], atol=1e-6)
    assert names["compiled"].backend == b"xla"
    np.testing.assert_allclose(names["nearest"].numpy() @ [1.0, 2.0, 2.0], 1.0, atol=1e-6)
    np.testing.assert_allclose([names["slope"], names["offset"]], [2.0, 1.0], atol=1e-3)
    np.testing.assert_allclose(names["fun"], names["loss_at_the_solution"], atol=1e-6)
    np.testing.assert_allclose(names["by_point"], np.array([0.18, 0.36, -0.4]) / np.sqrt(0.322), atol=1e-6)
    assert names["tuned"].success
    assert names["losses"].shape == (100,)
    np.testing.assert_allclose(names["trace"]["x"][-1], [3.0, 4.0], atol=1e-4)


def test_migration_from_contrib() -> None:
    names = run_page("docs/migration.md", "From `tf.contrib.opt`")
    np.testing.assert_allclose(names["fitted"], [2.0, 1.5], atol=1e-3)
    assert names["result"].backend == "tfe"
    assert names["result"].success


def test_migration_from_a_loop_around_scipy() -> None:
    names = run_page("docs/migration.md", "From a loop around `scipy.optimize.minimize`")
    assert names["by_hand"].fun < 0.02
    assert names["result"].fun == pytest.approx(names["by_hand"].fun, rel=0.05)


@pytest.mark.usefixtures("gpflow")
def test_migration_from_gpflow() -> None:
    names = run_page("docs/migration.md", "From `gpflow.optimizers.Scipy`")
    assert names["result"].fun == pytest.approx(names["before"].fun, rel=1e-6)
    assert len(names["losses"]) > 1


@pytest.mark.usefixtures("tensorflow_probability")
def test_migration_from_tensorflow_probability() -> None:
    names = run_page("docs/migration.md", "From `tfp.optimizer.lbfgs_minimize`")
    assert names["before"].converged
    assert names["result"].success
    np.testing.assert_allclose(names["before"].position, 1.0, rtol=1e-6)
    np.testing.assert_allclose(names["result"].x, 1.0, rtol=1e-6)
    np.testing.assert_allclose(names["batch"].x, 1.0, rtol=1e-3)


@pytest.mark.usefixtures("tensorflow_probability")
def test_migration_from_tensorflow_probability_with_bijectors() -> None:
    names = run_page("docs/migration.md", "From `tfp.math.minimize`, and with bijectors")
    assert names["result"].success
    np.testing.assert_allclose(names["shape"], names["shape_of_math_minimize"], rtol=1e-3)
    np.testing.assert_allclose(names["shape"] / names["rate"], np.mean(names["data"]), rtol=1e-4)


def test_migration_of_a_package_with_models_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_page("docs/migration.md", "A package with models of its own")
    for result in (names["best"], names["without_signal"]):
        assert result.success
    assert names["without_signal"].x[0] == 0.0
    assert names["best"].fun < names["without_signal"].fun
    assert names["free"].success.all()
    assert names["fixed"].success.all()
    significance, chance = (float(line.split(": ")[1]) for line in capsys.readouterr().out.splitlines())
    # Wilks' theorem for one parameter that cannot be negative: half of a chi-squared distribution.
    assert chance == pytest.approx(scipy.stats.norm.sf(significance), abs=0.02)
