"""With XLA's machine code, L-BFGS-B and SLSQP take the path of SciPy on the same XLA function.

XLA rounds differently from the graph, which the other parity tests use.
"""

from __future__ import annotations

import numpy as np
import pytest

import tfminimize as tfm
from tfminimize import Comparison
from tfminimize._testing.hock_schittkowski import CASES, constraints_of

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def comparisons() -> dict[str, Comparison]:
    """Return each problem solved both ways; "method" is L-BFGS-B."""
    return {
        problem.name: tfm.compare(problem.fun, problem.x0, bounds=problem.bounds, jit_compile=True, repeats=1)
        for problem in tfm.testing.more_garbow_hillstrom()
        if problem.name != "Jennrich-Sampson"  # its loss is so steep that rounding decides where a solve ends
    }


def test_machine_code_evaluates_all(comparisons: dict[str, Comparison]) -> None:
    assert {name: c.ours.backend_reason for name, c in comparisons.items() if c.ours.backend != "xla"} == {}


def test_status_is_that_of_scipy(comparisons: dict[str, Comparison]) -> None:
    assert [name for name, c in comparisons.items() if not c.same_status] == []


def test_fun_is_that_of_scipy(comparisons: dict[str, Comparison]) -> None:
    # Convergence itself leaves ftol = 2.2e-9, or more if f is flat and gtol = 1e-5 ends the solve.
    differing = {n: c for n, c in comparisons.items() if abs(c.fun_difference) > 1e-7 * max(1.0, abs(c.scipy.fun))}
    assert differing == {}


def test_counts_are_those_of_scipy_on_nine_of_ten_problems(comparisons: dict[str, Comparison]) -> None:
    equal = [name for name, c in comparisons.items() if c.nit_difference == c.nfev_difference == 0]
    print(f"nit and nfev equal on {len(equal)} of {len(comparisons)}; not on {set(comparisons) - set(equal)}")
    assert len(equal) >= 0.9 * len(comparisons)


@pytest.mark.parametrize("name", CASES)
def test_slsqp_takes_the_path_of_scipy(name: str) -> None:
    case = CASES[name]
    comparison = tfm.compare(
        case.fun,
        np.array(case.x0, float),
        method="SLSQP",
        bounds=case.bounds,
        constraints=constraints_of(case),
        jit_compile=True,
        repeats=1,
    )
    assert comparison.ours.backend == "xla"
    assert comparison.same_status
    assert (comparison.nit_difference, comparison.nfev_difference) == (0, 0)
    assert comparison.x_difference < 1e-6
    assert comparison.ours.fun == pytest.approx(case.optimum, abs=2e-4)
