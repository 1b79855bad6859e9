"""Runs programs in a new Python process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parent
KERNELS = ("Haswell", "Prescott")
"""BLAS kernels that round differently."""


def run_python(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run Python, which can import the modules of this folder, and return what it prints; show its errors.

    The limit only ends programs that would wait forever.
    """
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,  # the longest list of problems takes ten minutes on a busy machine
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-5000:]}{done.stderr[-5000:]}"
    return done.stdout


def run_program(program: str, *arguments: str | Path) -> str:
    """Run the text of a program and return what it prints."""
    return run_python("-c", textwrap.dedent(program), *arguments)


def run_parts(setup: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Run parts of a program one after the other in one process, and return the error of each, or ""."""
    output = run_program(f"""
import json, sys, traceback
{setup}
for name, part in {dict(parts)!r}.items():
    print(name, file=sys.stderr, flush=True)  # the last one, if the process ends here
    error = ""
    try:
        exec(part, dict(globals()))
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps([name, error]), flush=True)
""")
    errors = dict(json.loads(line) for line in output.splitlines() if line.startswith("["))
    assert errors.keys() == parts.keys(), output
    return errors


def run_with_each_kernel(script: str, *arguments: str) -> dict[str, Future[str]]:
    """Run a script of this folder with each BLAS kernel, all in parallel, and return what each prints."""
    pool = ThreadPoolExecutor(len(KERNELS))
    return {
        kernel: pool.submit(run_python, TESTS / script, *arguments, OPENBLAS_CORETYPE=kernel, OPENBLAS_NUM_THREADS="1")
        for kernel in KERNELS
    }
