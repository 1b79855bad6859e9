"""The few private names of `scipy.optimize` that we need, and why. No other module imports them."""

from __future__ import annotations

from tfminimize._tf.lazy import PrivateModule

__all__ = ["SOLVERS", "constraints", "lbfgsb", "minimize", "numdiff", "optimize", "slsqp"]

# SciPy's own reading of bounds and of constraints.
constraints = PrivateModule("scipy.optimize._constraints", "old_bound_to_new")
_SOLVER_NAMES = "_minimize_bfgs", "_minimize_lbfgsb", "_minimize_slsqp"
minimize = PrivateModule("scipy.optimize._minimize", "standardize_constraints", *_SOLVER_NAMES)
# SciPy's finite differences, and how it keeps their steps within the bounds.
numdiff = PrivateModule("scipy.optimize._numdiff", "_adjust_scheme_to_bounds", "approx_derivative")
# SciPy's own evaluation: finite differences, a cache for the last x, and the counts for nfev and njev.
optimize = PrivateModule("scipy.optimize._optimize", "MemoizeJac", "_minimize_bfgs", "_prepare_scalar_function")
lbfgsb = PrivateModule("scipy.optimize._lbfgsb_py", "_minimize_lbfgsb")
slsqp = PrivateModule("scipy.optimize._slsqp_py", "_minimize_slsqp")

SOLVERS = (
    *((minimize, name) for name in _SOLVER_NAMES),
    (optimize, "_minimize_bfgs"),
    (lbfgsb, "_minimize_lbfgsb"),
    (slsqp, "_minimize_slsqp"),
)
"""SciPy's solvers in each module that calls them, which `patched` replaces."""
