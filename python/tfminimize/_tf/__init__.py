"""Access to TensorFlow and to the compiled extension: how functions are called and compiled, and their side effects.

Only `private` uses TensorFlow's private names.
"""
