"""Imports TensorFlow without its start-up lines, which would drown what is printed here."""

from __future__ import annotations

import os

os.environ.setdefault("TFMINIMIZE_QUIET", "1")
import tfminimize  # noqa: F401  before TensorFlow
