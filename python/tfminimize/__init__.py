"""`scipy.optimize.minimize` for TensorFlow functions, at machine speed."""

from __future__ import annotations

import contextlib

from tfminimize._tf import imports  # noqa: F401  before anything imports TensorFlow

# isort: split
from tfminimize import math, ops, scipy, testing
from tfminimize._api.compare import Comparison, compare
from tfminimize._api.minimize import clear_cache, minimize
from tfminimize._api.minimizer import Minimizer
from tfminimize._graph.optimizers import LBFGSB, SLSQP
from tfminimize._problem.bounds import Bounds
from tfminimize._problem.result import BatchResult, OptimizeResult
from tfminimize._tf import binding
from tfminimize._tf.build_info import __version__, build_info
from tfminimize._tf.threads import get_num_threads, set_num_threads
from tfminimize._tf1.interface import ExternalOptimizerInterface, ScipyOptimizerInterface

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
    "get_num_threads",
    "math",
    "minimize",
    "ops",
    "scipy",
    "set_num_threads",
    "testing",
]


def __dir__() -> list[str]:
    """What is for users; the modules are there too."""
    return sorted(__all__)
