"""The native SLSQP takes SciPy's path: the same status, iterations and answer, with default options.

SciPy does not reproduce itself to the last bit (see test_parity.py), so we run it with two BLAS kernels and leave out
the problems on which they disagree, also with the kernel that SciPy chooses for this machine.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable

import pytest
import scipy
from interpreter import KERNELS, run_with_each_kernel
from packaging.version import Version
from s2mpj_constrained import HOCK_SCHITTKOWSKI, NAMES, Outcome, load, solve

import tfminimize as tfm

# The SciPy for Python 3.10. Its solver is another program, which rounds differently and does not use BLAS, so kernels
# do not show there which problems depend on rounding.
pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(
        Version(scipy.__version__) < Version("1.16"),
        reason="SciPy 1.15 has SLSQP in Fortran, with its own linear algebra.",
    ),
]

# SciPy's quadratic subproblem loses its digits where the gradient is large, and returns an ascent direction; after five
# resets SciPy reports success at the start, which is feasible (docs/scipy-parity.md).
FALSE_SUCCESS = {"HS84"}

Outcomes = dict[str, Outcome]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcomes]:
    """Return our results, and SciPy's with each kernel."""
    runs = run_with_each_kernel("s2mpj_constrained.py")
    found = {"ours": {name: solve(load(name), tfm.scipy.slsqp) for name in NAMES}}
    for kernel, run in runs.items():
        found[kernel] = {name: Outcome(**values) for name, values in json.loads(run.result()).items()}
    return found


@pytest.fixture(scope="module")
def stable(outcomes: dict[str, Outcomes]) -> list[str]:
    """Return the problems that SciPy solves on the same path with every kernel."""
    first, *others = (outcomes[kernel] for kernel in KERNELS)
    return [
        name
        for name in NAMES
        if name not in FALSE_SUCCESS
        and first[name].solved
        and all((first[name].status, first[name].nit) == (other[name].status, other[name].nit) for other in others)
        and all(close(first[name].fun, other[name].fun) for other in others)
    ]


def close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(1.0, abs(b))


def differing(outcomes: dict[str, Outcomes], names: Iterable[str], field: str) -> dict[str, tuple[Outcome, Outcome]]:
    ours, scipys = outcomes["ours"], outcomes[KERNELS[0]]
    is_same = close if field == "fun" else operator.eq

    def same(one: Outcome, other: Outcome) -> bool:
        return is_same(getattr(one, field), getattr(other, field))

    return {
        name: (ours[name], scipys[name])
        for name in names
        if not same(ours[name], scipys[name]) and same(solve(load(name), "SLSQP"), scipys[name])
    }


def test_hock_schittkowski_problems_are_enough(stable: list[str]) -> None:
    assert len(set(stable) & set(HOCK_SCHITTKOWSKI)) >= 70


def test_status_is_that_of_scipy(outcomes: dict[str, Outcomes], stable: list[str]) -> None:
    assert differing(outcomes, stable, "status") == {}


def test_fun_is_that_of_scipy(outcomes: dict[str, Outcomes], stable: list[str]) -> None:
    assert differing(outcomes, stable, "fun") == {}


@pytest.mark.parametrize("names", [HOCK_SCHITTKOWSKI, NAMES], ids=["Hock-Schittkowski", "all"])
def test_iterations_are_those_of_scipy_on_most_problems(
    outcomes: dict[str, Outcomes], stable: list[str], names: list[str]
) -> None:
    compared = [name for name in names if name in stable]
    other = differing(outcomes, compared, "nit")
    print(f"nit equal on {len(compared) - len(other)} of {len(compared)}; not on {', '.join(other)}")
    assert len(other) <= 0.15 * len(compared)


@pytest.mark.parametrize("name", NAMES)
def test_answer_is_never_worse(outcomes: dict[str, Outcomes], name: str) -> None:
    ours = outcomes["ours"][name]
    scipys = [outcomes[kernel][name] for kernel in KERNELS]
    if all(outcome.solved for outcome in scipys):
        assert ours.solved
        worst = max(outcome.fun for outcome in scipys)
        # If SciPy's kernels disagree, two of them show only part of its spread.
        assert ours.fun <= worst + 1e-4 * max(1.0, abs(worst))


@pytest.mark.parametrize("name", sorted(FALSE_SUCCESS))
def test_problem_that_scipy_ends_too_early_is_solved(outcomes: dict[str, Outcomes], name: str) -> None:
    scipys, ours = outcomes[KERNELS[0]][name], outcomes["ours"][name]
    assert scipys.solved
    assert ours.solved
    assert ours.fun < scipys.fun - 1


# Each with its status in SciPy.
FAILED_BY_SCIPY = {
    "HS61": 6,
    "HS99": 8,
    "S316m322": 6,
    "CLUSTER": 6,
    "EIGENA": 6,
    "LSNNODOC": 6,
    "MINPERM": 6,
    "EQC": 4,
}


@pytest.mark.parametrize("name", FAILED_BY_SCIPY)
def test_problem_that_scipy_fails_is_solved(name: str) -> None:
    problem = load(name)
    assert solve(problem, "SLSQP").status == FAILED_BY_SCIPY[name]
    assert solve(problem, tfm.scipy.slsqp).solved


def test_success_is_feasible(outcomes: dict[str, Outcomes]) -> None:
    ours = outcomes["ours"]
    assert {name: o for name, o in ours.items() if o.status == 0 and not o.violation <= 1e-6} == {}
