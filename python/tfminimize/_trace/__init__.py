"""Traces a Python function: makes TensorFlow functions of loss, gradient, constraints and Jacobian."""
