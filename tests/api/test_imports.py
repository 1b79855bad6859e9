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


@pytest.mark.parametrize("before", ["", pytest.param("import tensorflow", marks=pytest.mark.weekly), "import keras"])
def test_import_leaves_the_random_numbers_of_numpy_and_python(before: str) -> None:
    run_program(PROGRAM.format(before=before))


def test_first_solve_leaves_the_random_numbers_of_numpy_and_python() -> None:
    solves = [f"tfminimize.minimize(lambda x: (x - 1.0) ** 2, 0.0, jit_compile={jit})" for jit in (False, True)]
    run_program(PROGRAM.format(before="").replace("import tfminimize\n", "\n".join(["import tfminimize", *solves, ""])))
