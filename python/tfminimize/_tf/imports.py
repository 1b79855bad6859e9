"""Imports TensorFlow and leaves the random numbers of the user as they were.

Packages that TensorFlow imports draw from the generators that everybody shares: JAX, if it is there, from NumPy's, and
rich from Python's. Who has seeded them would get other numbers, depending on whether somebody imported it before.
"""

from __future__ import annotations

import random

import numpy as np

_states = np.random.get_state(), random.getstate()  # noqa: NPY002  it is the shared generator
import tensorflow as tf  # noqa: E402, F401

np.random.set_state(_states[0])  # noqa: NPY002
random.setstate(_states[1])
