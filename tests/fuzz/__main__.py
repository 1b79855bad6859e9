"""Fuzzes the public interface and the operation: `python tests/fuzz [--seconds 120] [--seed N] [api] [graphs]`.

Each target has a process of its own, so that a crash is a failure with the input that caused it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def fuzz(target: str, seed: int, seconds: float) -> bool:
    print(f"{target}: seed {seed}, {seconds:.0f} s", flush=True)
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "last"
        command = [sys.executable, "-X", "faulthandler", str(HERE / f"{target}.py"), str(seed), str(seconds), str(log)]
        try:
            # One input may take long; one that never ends is a failure.
            code = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, timeout=2 * seconds + 900).returncode
        except subprocess.TimeoutExpired:
            code = -1
        if code:
            last = log.read_text() if log.exists() else "none"
            print(f"{target}: failed with {code}, seed {seed}; the last input was\n{last}", flush=True)
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=["api", "graphs"])
    parser.add_argument("--seconds", type=float, default=120, help="of all targets together")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    given = parser.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed
    kept = [fuzz(target, seed, given.seconds / len(given.targets)) for target in given.targets]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
