"""The way to TensorFlow and to the compiled extension: how a function is called, compiled, and what it may do.

`private` is the only place that names what is private in TensorFlow.
"""
