"""`scipy.optimize.minimize` for TensorFlow functions, at machine speed."""

from __future__ import annotations

import contextlib

from tfminimize import _imports, binding, math, ops, scipy, testing  # noqa: F401  _imports comes first
from tfminimize._minimize import clear_cache, minimize
from tfminimize.bounds import Bounds
from tfminimize.build_info import __version__, build_info
from tfminimize.compare import Comparison, compare
from tfminimize.interface import ExternalOptimizerInterface, ScipyOptimizerInterface
from tfminimize.minimizer import Minimizer
from tfminimize.optimizers import LBFGSB, SLSQP
from tfminimize.result import BatchResult, OptimizeResult

# A SavedModel with the operation can be loaded from now on. If that cannot be here, what needs it will say why.
with contextlib.suppress(ImportError):
    binding.ops()

__all__ = [
    "LBFGSB",
    "SLSQP",
    "BatchResult",
    "Bounds",
    "Comparison",
    "ExternalOptimizerInterface",
    "Minimizer",
    "OptimizeResult",
    "ScipyOptimizerInterface",
    "__version__",
    "build_info",
    "clear_cache",
    "compare",
    "math",
    "minimize",
    "ops",
    "scipy",
    "testing",
]


def __dir__() -> list[str]:
    """What is for users; the modules are there too."""
    return sorted(__all__)
