"""Makes the notebooks from examples of the gallery: `python examples/notebooks/make.py`."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from sphinx_gallery.notebook import python_to_jupyter_cli

HERE = Path(__file__).parent
NAMES = ("constraints", "gaussian_process", "multistart")


def notebook(name: str) -> str:
    """The notebook of an example, as JSON, without what differs from one Python to another."""
    with tempfile.TemporaryDirectory() as folder:
        example = shutil.copy(HERE.parent / "gallery" / f"plot_{name}.py", folder)
        python_to_jupyter_cli([example])
        made = json.loads(Path(example).with_suffix(".ipynb").read_text(encoding="utf-8"))
    del made["metadata"]["language_info"]
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in NAMES:
        (HERE / f"{name}.ipynb").write_text(notebook(name), encoding="utf-8")
