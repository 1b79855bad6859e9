"""`scipy.optimize.minimize` for TensorFlow functions, at machine speed."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any

from tfminimize._tf import imports  # noqa: F401  before anything imports TensorFlow

# isort: split
from tfminimize import distribute, math, ops, plot, scipy, testing
from tfminimize._api.checkpoint import Checkpoint
from tfminimize._api.hessian import hessian
from tfminimize._api.minimize import clear_cache, minimize
from tfminimize._api.minimizer import Minimizer
from tfminimize._api.tensorboard import TensorBoard
from tfminimize._compare.benchmark import Benchmark
from tfminimize._compare.compare import Comparison, compare
from tfminimize._graph.optimizers import BFGS, LBFGSB, SLSQP
from tfminimize._problem.bounds import Bounds
from tfminimize._problem.result import BatchResult, OptimizeResult
from tfminimize._problem.state import State
from tfminimize._tf import binding
from tfminimize._tf.build_info import __version__, build_info
from tfminimize._tf.threads import get_num_threads, set_num_threads
from tfminimize._tf1.interface import ExternalOptimizerInterface, ScipyOptimizerInterface
from tfminimize._trace.dataset_loss import DatasetLoss

if TYPE_CHECKING:
    from tfminimize import keras

# A SavedModel that holds the operation can be loaded from now on. If the operation cannot, what needs it says why.
with contextlib.suppress(ImportError):
    binding.ops()
# Saved models that are ours can be loaded from now on. TensorFlow has imported Keras, unless it was asked not to.
if "keras" in sys.modules:
    with contextlib.suppress(ImportError):
        from tfminimize import keras

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
    """Import `tfminimize.keras`, and so Keras, when it is first used."""
    if name == "keras":
        return importlib.import_module("tfminimize.keras")
    raise AttributeError(f"module 'tfminimize' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the names for users."""
    return sorted(__all__)
