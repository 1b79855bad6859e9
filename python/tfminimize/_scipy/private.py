"""The few private names of `scipy.optimize` that we need, and why. No other module imports them."""

from __future__ import annotations

from tfminimize._tf.lazy import PrivateModule

__all__ = ["constraints", "minimize", "numdiff", "optimize"]

# SciPy's own reading of bounds and of constraints.
constraints = PrivateModule("scipy.optimize._constraints", "old_bound_to_new")
minimize = PrivateModule("scipy.optimize._minimize", "standardize_constraints")
# SciPy's finite differences.
numdiff = PrivateModule("scipy.optimize._numdiff", "approx_derivative")
# SciPy's own evaluation: finite differences, a cache for the last x, and the counts for nfev and njev.
optimize = PrivateModule("scipy.optimize._optimize", "MemoizeJac", "_prepare_scalar_function")
