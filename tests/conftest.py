"""TensorFlow is imported once, before the tests turn warnings into errors: its own are not ours to fix."""

from __future__ import annotations

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras  # noqa: F401
    import tensorflow as tf

    tf.constant(0.0)
