"""The native solvers as methods of `scipy.optimize.minimize`, for functions of NumPy arrays.

Only `private` uses SciPy's private names.
"""
