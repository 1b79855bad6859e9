"""How this installation was built."""

from __future__ import annotations

import importlib.metadata
import json
from importlib import resources
from typing import Any

__all__ = ["__version__", "build_info"]


def build_info() -> dict[str, Any]:
    """Versions, compiler and flags of this installation, as the build recorded them.

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        If the package was not built and has only its Python files.

    Examples
    --------
    >>> build_info()["version"] == __version__
    True
    """
    text = resources.files("tfminimize").joinpath("_build_info.json").read_text(encoding="utf-8")
    info: dict[str, Any] = json.loads(text)
    return info


def _version() -> str:
    try:
        return str(build_info()["version"])
    except FileNotFoundError:
        return importlib.metadata.version("tfminimize")


__version__: str = _version()
