"""The notebooks are those of the gallery's examples, and run."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

pytestmark = pytest.mark.slow


def test_notebooks_are_made_of_the_gallery() -> None:
    pytest.importorskip("sphinx_gallery")
    spec = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert sorted(make.NAMES) == NOTEBOOKS
    for name in make.NAMES:
        text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
        assert text == make.notebook(name), f"run `python examples/notebooks/make.py`: {name} has changed"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFMINIMIZE_QUIET", "1")  # as the notebook does, but only until the test ends
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    script = tmp_path / f"{name}.py"
    script.write_text("\n\n".join(code), encoding="utf-8")
    matplotlib.use("Agg")
    try:
        runpy.run_path(str(script))
        assert plt.get_fignums()
    finally:
        plt.close("all")
