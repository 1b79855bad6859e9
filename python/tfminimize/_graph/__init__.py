"""Minimisation as a graph operation, its gradient by the implicit function theorem, and `tfp.math.minimize`."""
