"""From Python functions to TensorFlow functions."""
