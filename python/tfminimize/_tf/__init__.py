"""Access to TensorFlow and to the compiled extension: how functions are called and compiled, and their side effects.

`private` is the only place that names what is private in TensorFlow.
"""
