"""The way to TensorFlow and to the compiled extension."""
