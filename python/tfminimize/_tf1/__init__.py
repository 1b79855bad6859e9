"""The interface of TensorFlow 1 to optimisers of other libraries, for graphs with sessions and for TensorFlow 2.

A graph is lifted out of its session and compiled; if that is impossible, it is evaluated through the session.
"""
