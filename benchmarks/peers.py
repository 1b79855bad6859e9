"""What several benchmarks need of other packages, and of the ways around machine code."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

from tfminimize._tf import xla


def tensorflow_probability() -> Any | None:
    """TensorFlow Probability with its L-BFGS loaded, which warns; None if it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tfp = importlib.import_module("tensorflow_probability")
            _ = tfp.optimizer.lbfgs_minimize
    except ModuleNotFoundError:
        return None
    return tfp


@contextlib.contextmanager
def without_machine_code() -> Iterator[None]:
    """A Minimizer made meanwhile lets TensorFlow call what XLA compiles."""
    refusal = xla.NotCompiled("the benchmark wants TensorFlow to call it")
    with mock.patch.object(xla, "compile_functions", side_effect=refusal):
        yield
