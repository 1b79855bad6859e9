"""Imports TensorFlow without changing the user's random numbers, and without its start-up lines if that is wanted.

Packages that TensorFlow imports draw from the global generators: JAX, if it is installed, from NumPy's, and rich from
Python's. A user who has seeded these would get different numbers, depending on whether they were imported before.
"""

from __future__ import annotations

import random

import numpy as np

from tfminimize._tf.quiet import start_up_lines_hidden

_states = np.random.get_state(), random.getstate()  # noqa: NPY002  it is the global generator
with start_up_lines_hidden():
    import tensorflow as tf  # noqa: F401

np.random.set_state(_states[0])  # noqa: NPY002
random.setstate(_states[1])
