"""The problem: parameters, bounds, constraints, arguments and options, checked and packed; and the result."""
