"""Importing the package has no side effects on other packages."""

from __future__ import annotations

import pytest
from interpreter import run_program

pytestmark = pytest.mark.subprocess

PROGRAM = """
import random
import numpy as np
{before}
np.random.seed(5)
random.seed(5)
import tfminimize
drawn = np.random.rand(), random.random()
np.random.seed(5)
random.seed(5)
assert drawn == (np.random.rand(), random.random()), drawn
"""


@pytest.mark.parametrize("before", ["", "import tensorflow", "import keras"])
def test_import_leaves_the_random_numbers_of_numpy_and_python(before: str) -> None:
    run_program(PROGRAM.format(before=before))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_first_solve_leaves_the_random_numbers_of_numpy_and_python(jit_compile: bool) -> None:
    solve = f"tfminimize.minimize(lambda x: (x - 1.0) ** 2, 0.0, jit_compile={jit_compile})"
    program = PROGRAM.format(before="").replace("import tfminimize\n", f"import tfminimize\n{solve}\n")
    run_program(program)
