"""The native solvers in SciPy's hands."""
