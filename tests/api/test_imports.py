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


def test_import_warns_of_nothing_and_loads_no_package_that_few_users_need() -> None:
    # Keras loads all of these, if they are installed.
    run_program("""
        import sys, warnings
        import tensorflow
        warnings.simplefilter("error")
        packages = "matplotlib", "rich", "sklearn", "tensorboard"
        for name in [n for n in sys.modules if n.split(".")[0] in packages]:
            del sys.modules[name]
        import tfminimize
        loaded = {n.split(".")[0] for n in sys.modules}
        assert not loaded & set(packages), loaded & set(packages)
    """)


def test_import_does_not_load_what_takes_long() -> None:
    # Keras loads scikit-learn, if it is installed, and with it SciPy's optimizers.
    run_program("""
        import sys
        sys.modules["sklearn"] = None
        import tensorflow
        import tfminimize
        assert "scipy.optimize" not in sys.modules
        assert tfminimize.minimize(lambda x: (x - 1.0) ** 2, 0.0).success
        assert "scipy.optimize" in sys.modules
    """)


def test_first_solve_leaves_the_random_numbers_of_numpy_and_python() -> None:
    solves = [f"tfminimize.minimize(lambda x: (x - 1.0) ** 2, 0.0, jit_compile={jit})" for jit in (False, True)]
    run_program(PROGRAM.format(before="").replace("import tfminimize\n", "\n".join(["import tfminimize", *solves, ""])))
