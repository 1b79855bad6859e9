"""Constrained CUTEst problems with at most 30 variables, written in NumPy by S2MPJ, and SciPy's solutions.

S. Gratton, Ph. L. Toint, "S2MPJ and CUTEst optimization problems for Matlab, Python and Julia", Optim. Methods Softw.
40 (2025). Those called HS are from W. Hock, K. Schittkowski, "Test Examples for Nonlinear Programming Codes", Springer
1981. As a program, it solves them all by SciPy's SLSQP and prints the results as JSON, so that one can try SciPy with
the BLAS kernel that the environment chooses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._testing.s2mpj import ArrayProblem, load

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


def violation(problem: ArrayProblem, x: Vector) -> float:
    """The greatest violation of a constraint or bound."""
    violations = [0.0]
    for constraint in problem.constraints:
        values = constraint["fun"](x)
        violations.append((np.abs(values) if constraint["type"] == "eq" else -values).max())
    if problem.bounds is not None:
        violations += [(problem.bounds.lb - x).max(), (x - problem.bounds.ub).max()]
    return float(np.max(violations))


def solve(problem: ArrayProblem, method: object) -> Outcome:
    """Solve with default options and exact derivatives."""
    result = scipy.optimize.minimize(
        problem.fun,
        problem.x0,
        jac=problem.jac,
        method=method,
        bounds=problem.bounds,
        constraints=problem.constraints,
    )
    return Outcome(int(result.status), float(result.fun), int(result.nit), violation(problem, result.x))


if __name__ == "__main__":
    print(json.dumps({name: vars(solve(load(name), "SLSQP")) for name in NAMES}))
