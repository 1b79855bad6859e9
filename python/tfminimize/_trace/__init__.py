"""From a Python function to TensorFlow functions of loss, gradient, constraints and Jacobian, each traced once."""
