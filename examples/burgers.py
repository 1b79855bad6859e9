"""Burgers' equation, which the networks in `burgers_session.py` and `burgers_keras.py` solve.

    u_t + u u_x = (0.01/π) u_xx,    u(x, 0) = -sin(πx),    u(-1, t) = u(1, t) = 0,    -1 <= x <= 1, 0 <= t <= 1

A shock grows at x = 0. The Cole-Hopf transformation turns the equation into the heat equation, which gives u as a
quotient of two integrals:

    u(x, t) = -∫ sin(π(x - y)) h(x - y) exp(-y²/4νt) dy / ∫ h(x - y) exp(-y²/4νt) dy,    h(y) = exp(-cos(πy) / 2πν)
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.hermite import hermgauss
from numpy.typing import NDArray

VISCOSITY = 0.01 / np.pi
KNOWN_WEIGHT = 20.0  # weight of the known values in the loss; the equation has weight 1


def exact_solution(x: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return u at the points (x, t), by Gauss-Hermite quadrature."""
    nodes, weights = hermgauss(100)
    shifted = np.pi * (x[..., None] - np.sqrt(4.0 * VISCOSITY * t[..., None]) * nodes)
    density = weights * np.exp(-np.cos(shifted) / (2.0 * np.pi * VISCOSITY))
    return -(np.sin(shifted) * density).sum(-1) / density.sum(-1)


def known_points(count: int, generator: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw points (x, t) at t = 0 and at both ends, [count, 2]; return them and u there, [count, 1]."""
    start = np.stack([generator.uniform(-1.0, 1.0, count // 2), np.zeros(count // 2)], axis=1)
    ends = np.stack([generator.choice([-1.0, 1.0], count - count // 2), generator.uniform(size=count - count // 2)], 1)
    values = np.concatenate([-np.sin(np.pi * start[:, :1]), np.zeros((len(ends), 1))])
    return np.concatenate([start, ends]), values


def inner_points(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw points (x, t) for the equation to hold at, [count, 2]."""
    return generator.uniform([-1.0, 0.0], [1.0, 1.0], (count, 2))


def reference_grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid of points (x, t), [10100, 2], and the exact u, [10100, 1]."""
    x, t = np.meshgrid(np.linspace(-1.0, 1.0, 101), np.linspace(0.01, 1.0, 100))
    return np.stack([x.ravel(), t.ravel()], axis=1), exact_solution(x, t).reshape(-1, 1)


def relative_error(predicted: NDArray[np.floating], exact: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(predicted - exact) / np.linalg.norm(exact))


def main() -> None:
    x = np.array([-0.9, -0.5, -0.1, -0.01, 0.0, 0.01, 0.1, 0.5, 0.9])
    print("u(x, t)  x = " + " ".join(f"{value:7.2f}" for value in x))
    for t in (0.01, 0.25, 0.5, 1.0):
        print(f"t = {t:<8} " + " ".join(f"{value:7.4f}" for value in exact_solution(x, np.full_like(x, t))))


if __name__ == "__main__":
    main()
