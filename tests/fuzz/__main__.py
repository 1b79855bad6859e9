"""Fuzzes the public interface and the operation: `python tests/fuzz [--seconds 120] [--seed N] [--inputs N]`.

Each target runs in its own process, so that a crash is reported with the input that caused it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def fuzz(target: str, seed: int, seconds: float, inputs: int) -> bool:
    print(f"{target}: seed {seed}, at most {seconds:.0f} s", flush=True)
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "last"
        given = [seed, time.time() + seconds, inputs, log]
        command = [sys.executable, "-X", "faulthandler", str(HERE / f"{target}.py"), *map(str, given)]
        try:
            # An input may take long, but one that never ends is a failure.
            code = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, timeout=seconds + 600).returncode
        except subprocess.TimeoutExpired:
            code = -1
        if code:
            last = log.read_text() if log.exists() else "none"
            print(f"{target}: failed with {code}, seed {seed}; the last input was\n{last}", flush=True)
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=["api", "graphs"])
    parser.add_argument("--seconds", type=float, default=120, help="of all targets together, their start included")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--inputs", type=int, default=10**9, help="at most, of each target")
    given = parser.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed
    kept = [fuzz(target, seed, given.seconds / len(given.targets), given.inputs) for target in given.targets]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
