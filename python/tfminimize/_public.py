"""The names of `tfminimize` that are no modules."""

from __future__ import annotations

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
from tfminimize._tf.build_info import __version__, build_info
from tfminimize._tf.threads import get_num_threads, set_num_threads
from tfminimize._tf1.external_interface import ExternalOptimizerInterface
from tfminimize._tf1.scipy_interface import ScipyOptimizerInterface
from tfminimize._trace.dataset_loss import DatasetLoss

# Editors and type checkers read this list. That of `tfminimize` names these too, as it must not import them.
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
    "get_num_threads",
    "hessian",
    "minimize",
    "set_num_threads",
]
