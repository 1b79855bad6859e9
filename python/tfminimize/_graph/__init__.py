"""Minimisation as an operation of a graph, its gradient by the implicit function theorem, and `tfp.math.minimize`."""
