"""The native BFGS takes SciPy's path: the same status, iterations, evaluations and answer, with default options.

SciPy does not reproduce itself to the last bit (see test_parity.py), so we run it with two BLAS kernels and leave out
the problems on which they disagree.
"""

from __future__ import annotations

import json
import math
import warnings
from typing import NamedTuple

import pytest
from interpreter import run_with_each_kernel
from s2mpj import MORE_GARBOW_HILLSTROM, UNCONSTRAINED, all_unconstrained, load, solve

import tfminimize as tfm

pytestmark = pytest.mark.parity

# Here SciPy has defects that we do not have (docs/scipy-parity.md). The function is not finite at a trial point, and
# SciPy ends with NaN, or makes a detour; ours steps back and goes on.
MEETS_NON_FINITE = {"BENNETT5LS", "DANWOODLS", "MGH17LS"}
# SciPy's matrix loses its definiteness, and SciPy ends early.
LOSES_DEFINITENESS = {"INDEF", "SCURLY10"}
DEFECTS = MEETS_NON_FINITE | LOSES_DEFINITENESS

Outcome = tuple[int, int, int, float]
"""status, nit, nfev, fun"""

# These take SciPy minutes, with default options.
TOO_SLOW = {"FBRAIN3LS", "VESUVIALS", "VESUVIOLS", "VESUVIOULS"}

# These take it about a second.
SLOW = {
    *("ARGLINB", "GULF", "INDEF", "LIARWHD", "MANCINO", "MEYER3", "MGH10LS", "MISRA1ALS", "MISRA1BLS", "MISRA1CLS"),
    *("NONDIA", "OSBORNEA", "OSBORNEB", "PENALTY1", "PENALTY2", "POWELLSG", "POWERSUM", "QUARTC", "SPARSQUR", "STREG"),
    "TRIGON2",
}


class Comparison(NamedTuple):
    """Our outcomes, and SciPy's with each kernel."""

    ours: dict[str, Outcome]
    scipys: list[dict[str, Outcome]]

    @property
    def stable(self) -> list[str]:
        """The problems on which SciPy takes the same path with every kernel."""
        first, *others = self.scipys
        return [
            name
            for name in first
            if name not in DEFECTS and all(other[name][:3] == first[name][:3] for other in others)
        ]

    @property
    def equal(self) -> list[str]:
        """Those of them on which we take it too."""
        return [name for name in self.stable if self.ours[name][:3] == self.scipys[0][name][:3]]


@pytest.fixture(
    scope="module",
    params=["fast", pytest.param("all", marks=pytest.mark.weekly)],
)
def comparison(request: pytest.FixtureRequest) -> Comparison:
    names = [name for name in all_unconstrained(50) if name not in TOO_SLOW]
    if request.param == "fast":
        names = [n for n in names if n in (*MORE_GARBOW_HILLSTROM, *UNCONSTRAINED) and n not in SLOW]
    runs = run_with_each_kernel("s2mpj.py", "BFGS", *names).values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what the problems warn of
        ours = {name: solve(load(name), tfm.scipy.bfgs) for name in names}
    return Comparison(ours, [{k: tuple(v) for k, v in json.loads(run.result()).items()} for run in runs])


def test_counts_are_those_of_scipy_on_nine_of_ten_problems(comparison: Comparison) -> None:
    print(
        f"status, nit and nfev equal on {len(comparison.equal)} of {len(comparison.stable)} problems on which SciPy "
        f"is stable, of {len(comparison.ours)} in all"
    )
    assert len(comparison.stable) >= 0.7 * len(comparison.ours)
    assert len(comparison.equal) >= 0.9 * len(comparison.stable)


def test_answer_is_never_worse(comparison: Comparison) -> None:
    worse = {}
    for name in comparison.stable:
        ours, scipys = comparison.ours[name][3], [outcomes[name][3] for outcomes in comparison.scipys]
        worst = max(scipys)
        if not ours <= worst + 1e-8 * max(1.0, abs(worst)):
            worse[name] = (ours, scipys)
    assert worse == {}


def test_answer_is_better_where_scipy_has_a_defect(comparison: Comparison) -> None:
    for name in DEFECTS & comparison.ours.keys():
        ours, scipys = comparison.ours[name][3], comparison.scipys[0][name][3]
        assert math.isfinite(ours)
        assert math.isnan(scipys) or ours <= scipys + 1e-8 * max(1.0, abs(scipys))
