"""Fits of Keras models by the native solvers. It imports Keras, which `import tfminimize` does not."""

from __future__ import annotations

from tfminimize._keras.fit import fit
from tfminimize._keras.models import Model, Sequential

__all__ = ["Model", "Sequential", "fit"]
