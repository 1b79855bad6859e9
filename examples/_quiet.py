"""Imports TensorFlow without its start-up lines, which would drown what an example prints.

The libraries of TensorFlow 2.21 write them while they are loaded, before they read TF_CPP_MIN_LOG_LEVEL. So this sends
what is written to the error output during the import to a file, and then shows the rest of it.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the lines that come later

START_UP = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")

with tempfile.TemporaryFile() as file:
    sys.stderr.flush()
    error_output = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        import tensorflow as tf  # noqa: F401
    finally:
        os.dup2(error_output, 2)
        os.close(error_output)
        file.seek(0)
        sys.stderr.write(b"".join(line for line in file if not START_UP.match(line)).decode(errors="replace"))
