"""Hides TensorFlow's start-up lines, which would drown what a command prints.

The libraries of TensorFlow 2.21 write them while they are loaded, before they read TF_CPP_MIN_LOG_LEVEL. So this sends
what is written to the error output during the import to a file, and then shows the rest of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["start_up_lines_hidden"]

_START_UP = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")


def _is_wanted() -> bool:
    """Whether the user says so, or `python -m tfminimize` runs: until Python has found the file, "-m" stands for it."""
    is_command = sys.argv[:1] == ["-m"] and "tfminimize" in sys.orig_argv
    return "tensorflow" not in sys.modules and (is_command or os.environ.get("TFMINIMIZE_QUIET", "0") != "0")


@contextlib.contextmanager
def start_up_lines_hidden() -> Iterator[None]:
    """Hide them, if that is wanted, while TensorFlow is imported; later ones too, unless a level is set for them."""
    if not _is_wanted():
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the lines that come later
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        error_output = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(error_output, 2)
            os.close(error_output)
            file.seek(0)
            sys.stderr.write(b"".join(line for line in file if not _START_UP.match(line)).decode(errors="replace"))
