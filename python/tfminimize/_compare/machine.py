"""What a benchmark ran on."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
from typing import Any

import tensorflow as tf

from tfminimize._compare.solvers import SOLVERS
from tfminimize._tf.build_info import __version__

__all__ = ["machine"]


def machine() -> dict[str, Any]:
    """Versions, and the machine."""
    peers = {solver.package: solver.version for name, solver in SOLVERS.items() if name not in ("tfminimize", "scipy")}
    return {
        "tfminimize": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        **{name: importlib.metadata.version(name) for name in ("numpy", "scipy", "keras")},
        **{package: version for package, version in peers.items() if version is not None},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
