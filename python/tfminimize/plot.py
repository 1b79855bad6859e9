"""Plots of solves, fits and benchmarks. They need matplotlib, the extra ``plot``, and import it when they are used."""

from __future__ import annotations

from tfminimize._plot.convergence import convergence
from tfminimize._plot.fit import fit
from tfminimize._plot.profiles import data_profile, performance_profile
from tfminimize._plot.trajectory import trajectory

__all__ = ["convergence", "data_profile", "fit", "performance_profile", "trajectory"]
