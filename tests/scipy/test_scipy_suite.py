from __future__ import annotations

import os
import pathlib
import re

import pytest
import scipy
from interpreter import run_python
from packaging.version import Version

pytestmark = pytest.mark.parity

EXCEPTIONS = {
    "::TestOptimizeSimple::test_bfgs_nan_return": "It expects a NaN in the result after a NaN at a trial point: ours "
    "stays at the last point where the function is finite.",
}
"""SciPy's tests of behaviour that deliberately differs here, each with the reason."""

if Version(scipy.__version__) < Version("1.16"):
    EXCEPTIONS["::TestSLSQP::test_parameters_stay_within_bounds"] = (
        "It expects the warning that x has left the bounds: ours never does."
    )

SUITE = [
    "scipy.optimize.tests.test_optimize",
    "scipy.optimize.tests.test_lbfgsb_hessinv",
    "scipy.optimize.tests.test_lbfgsb_setulb",
    "scipy.optimize.tests.test_slsqp",
    "scipy.optimize.tests.test_minimize_constrained",
    "scipy.optimize.tests.test_constraint_conversion",
    "scipy.optimize.tests.test__shgo",
]


def test_scipys_own_tests_pass_with_our_methods(tmp_path: pathlib.Path) -> None:
    deselected = [f"--deselect={name}" for name in EXCEPTIONS]
    options = ["-q", "-c", os.devnull, "--rootdir", tmp_path, "-p", "no:cacheprovider", "-p", "scipy_suite_plugin"]
    printed = run_python("-m", "pytest", *options, *deselected, "--pyargs", *SUITE, cwd=tmp_path)
    # The methods were really replaced.
    solves = {name: int(calls) for name, calls in re.findall(r"solves by (\S+) of tfminimize: (\d+)", printed)}
    assert solves["L-BFGS-B"] > 100
    assert solves["SLSQP"] > 400
    assert solves["BFGS"] > 50
    assert solves["fmin_slsqp"] > 10
    assert solves["fmin_bfgs"] > 5
