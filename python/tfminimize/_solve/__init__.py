"""Solves of compiled functions, one or a batch, by native solvers or in SciPy, and the memory they work on."""
