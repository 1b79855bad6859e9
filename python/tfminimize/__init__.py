"""`scipy.optimize.minimize` for TensorFlow functions, at machine speed.

What users name is imported when they first name it: SciPy's optimizers alone take a quarter of a second to load.
"""

# ruff: noqa: F403, F405  the names stand in _public

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any

from tfminimize._tf import imports  # noqa: F401  before anything imports TensorFlow

# isort: split
from tfminimize._graph import gradients  # noqa: F401
from tfminimize._tf import binding

if TYPE_CHECKING:
    from tfminimize import distribute, keras, math, ops, plot, scipy, testing
    from tfminimize._public import *

# A SavedModel that holds the operation can be loaded, and has its gradient, from now on. If the operation cannot, what
# needs it says why.
with contextlib.suppress(ImportError):
    binding.ops()
# Saved models that are ours can be loaded from now on. TensorFlow has imported Keras, unless it was asked not to.
if "keras" in sys.modules:
    with contextlib.suppress(ImportError):
        from tfminimize._keras import models  # noqa: F401

_MODULES = "distribute", "keras", "math", "ops", "plot", "scipy", "testing"
__all__ = [
    "BFGS",
    "LBFGSB",
    "SLSQP",
    "BatchResult",
    "Benchmark",
    "Bounds",
    "Checkpoint",
    "Comparison",
    "DatasetLoss",
    "ExternalOptimizerInterface",
    "Minimizer",
    "OptimizeResult",
    "ScipyOptimizerInterface",
    "State",
    "TensorBoard",
    "__version__",
    "build_info",
    "clear_cache",
    "compare",
    "distribute",
    "get_num_threads",
    "hessian",
    "keras",
    "math",
    "minimize",
    "ops",
    "plot",
    "scipy",
    "set_num_threads",
    "testing",
]


def __getattr__(name: str) -> Any:
    """Import what the user names for the first time."""
    if name in _MODULES:
        return importlib.import_module(f"tfminimize.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'tfminimize' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module("tfminimize._public"), name)
    return value


def __dir__() -> list[str]:
    """List the names for users."""
    return sorted(__all__)
