"""The command line: ``python -m tfminimize info`` and ``python -m tfminimize compare``."""

from __future__ import annotations

import sys

from tfminimize._compare.cli import main

if __name__ == "__main__":
    sys.exit(main())
