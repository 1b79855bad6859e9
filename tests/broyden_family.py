"""The updates of the inverse Hessian, as their papers have them: dense, in NumPy, one line for each formula.

M. Al-Baali, "Numerical Experience with a Class of Self-Scaling Quasi-Newton Algorithms", J. Optim. Theory Appl. 96
(1998); J. F. Urbán, P. Stefanou, J. A. Pons, "Unveiling the optimization process of physics informed neural networks",
J. Comput. Phys. 523 (2025).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

UPDATES = ("bfgs", "dfp", "ssbfgs", "ssbfgs-ol", "ssbroyden", "ssbroyden1")


def updated(inverse: Matrix, s: Vector, y: Vector, update: str, scales_identity: bool = False) -> Matrix:
    """Return the inverse Hessian after a step s that changed the gradient by y.

    ``scales_identity``: ``inverse`` is the identity, and is to be scaled by the pair first.
    """
    sy = s @ y
    b = s @ np.linalg.solve(inverse, s) / sy
    image = inverse @ y
    h = y @ image / sy
    a = max(b * h - 1, 0.0)
    theta = _theta(update, a, b, h)
    phi = 1.0 if theta == 0 else (1 - theta) / (1 + a * theta)
    tau = _tau(update, a, b, theta, len(s))
    if scales_identity:
        tau = h / (1 + a * theta) if update.startswith("ssbroyden") else y @ y / sy
    v = s / sy - image / (y @ image)
    rank_two = phi * (y @ image) * np.outer(v, v) - np.outer(image, image) / (y @ image)
    return (inverse + rank_two) / tau + np.outer(s, s) / sy


def _theta(update: str, a: float, b: float, h: float) -> float:
    """Return θ of Broyden's family: 0 is BFGS and 1 is DFP."""
    if update == "dfp":
        return 1.0
    if not update.startswith("ssbroyden") or a == 0:
        return 0.0
    c = np.sqrt(a / (1 + a))
    rho = min(1.0, h * (1 - c))
    lowest, highest = (rho - 1) / a, 1 / rho
    if update == "ssbroyden":
        return max(lowest, min(highest, (1 - b) / b))
    highest = max(1.0, b * (1 + c))
    if b == 1:
        return lowest
    symmetric_rank_one = 1 / (1 - b)
    return max(lowest, symmetric_rank_one) if b > 1 else min(highest, symmetric_rank_one)


def _tau(update: str, a: float, b: float, theta: float, n: int) -> float:
    """Return τ, by which the old matrix is divided."""
    if update in ("bfgs", "dfp") or n == 1:
        return 1.0
    if update == "ssbfgs-ol":
        return 1 / b
    least = min(1.0, 1 / b)
    if update == "ssbfgs":
        return least
    sigma = 1 + a * theta
    root = abs(sigma) ** (1 / (1 - n))
    return min(least * root, sigma) if theta <= 0 else least * min(root, 1 / theta)
