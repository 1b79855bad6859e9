"""The native solvers as methods of `scipy.optimize.minimize`, for functions of NumPy arrays.

`private` is the only place that names what is private in SciPy.
"""
