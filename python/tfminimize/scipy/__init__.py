"""The native solvers for functions of NumPy arrays, with SciPy's signatures."""

from __future__ import annotations

from tfminimize._scipy.bfgs import bfgs, fmin_bfgs
from tfminimize._scipy.lbfgsb import fmin_l_bfgs_b, lbfgsb
from tfminimize._scipy.patched import patched
from tfminimize._scipy.slsqp import fmin_slsqp, slsqp

__all__ = ["bfgs", "fmin_bfgs", "fmin_l_bfgs_b", "fmin_slsqp", "lbfgsb", "patched", "slsqp"]
