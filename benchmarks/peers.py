"""Functions that several benchmarks share."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

from tfminimize._tf import xla


def tensorflow_probability() -> Any | None:
    """Return TensorFlow Probability, with its L-BFGS loaded and the warnings of that ignored; None if not installed."""
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
    """While this is active, a new Minimizer lets TensorFlow call the functions that XLA compiles."""
    refusal = xla.NotCompiled("the benchmark wants TensorFlow to call it")
    with mock.patch.object(xla, "compile_functions", side_effect=refusal):
        yield
