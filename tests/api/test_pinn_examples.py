"""What the examples of physics-informed networks compare with, and that they lower the loss."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf
from interpreter import run_python

EXAMPLES = Path(__file__).parents[2] / "examples"


def fourier_solution_of_burgers(times: np.ndarray, viscosity: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the Fourier coefficients in conservative form, with the upper third of them left out."""
    x = np.linspace(-1.0, 1.0, count, endpoint=False)
    frequency = np.pi * np.arange(count // 2 + 1)
    kept = np.arange(count // 2 + 1) < count // 3

    def slope(t: float, u: np.ndarray) -> np.ndarray:
        flux = 0.5j * frequency * kept * np.fft.rfft(u**2)
        return -np.fft.irfft(flux + viscosity * frequency**2 * np.fft.rfft(u), count)

    solved = scipy.integrate.solve_ivp(slope, (0, times[-1]), -np.sin(np.pi * x), "DOP853", times, rtol=1e-9, atol=1e-9)
    return x, solved.y.T


@pytest.mark.parametrize("example", ["burgers"], indirect=True)
def test_reference_of_burgers_equation_is_the_solution(example: ModuleType) -> None:
    times = np.array([0.1, 0.35, 0.5, 1.0])  # before the shock, while it grows, and after
    x, u = fourier_solution_of_burgers(times, example.VISCOSITY, 1024)
    exact = example.exact_solution(*np.meshgrid(x, times))
    assert (np.abs(exact - u).max(axis=1) < [1e-6, 1e-6, 5e-5, 1e-6]).all()  # 1024 points are few at the steepest
    np.testing.assert_allclose(example.exact_solution(-x, np.full_like(x, 0.5)), -exact[2], atol=1e-9)


@pytest.mark.parametrize("example", ["pinn_allen_cahn"], indirect=True)
def test_reference_of_allen_cahn_equation_is_the_solution(example: ModuleType) -> None:
    times = np.linspace(0.0, 1.0, 11)
    x, u = example.reference_solution(times)
    _, coarse = example.reference_solution(times, 1024)
    error, error_of_coarse = (
        np.abs(coarse - u[:, ::2]),
        np.abs(example.reference_solution(times, 512)[1] - coarse[:, ::2]),
    )
    assert error.max() < 1e-4
    assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(coarse)
    assert error.max() < error_of_coarse.max() / 2

    assert np.abs(u).max() <= 1.0 + 1e-9  # the maximum principle
    np.testing.assert_allclose(u[:, 1:], u[:, :0:-1], atol=1e-7)  # u(-x) = u(x)
    slope = np.fft.irfft(1j * np.pi * np.arange(1025) * np.fft.rfft(u[1:]), 2048)
    energy = (example.DIFFUSION / 2 * slope**2 + example.REACTION / 4 * (1 - u[1:] ** 2) ** 2).mean(axis=1)
    assert (np.diff(energy) < 0).all()
    # Far from walls the diffusion hardly counts, and u follows the ordinary equation.
    at = np.argmin(np.abs(x - 0.2))
    growth = u[0, at] ** 2 * np.expm1(2 * example.REACTION * times)
    np.testing.assert_allclose(u[:, at], u[0, at] * np.exp(example.REACTION * times) / np.sqrt(1 + growth), rtol=0.02)


@pytest.mark.parametrize("example", ["pinn_burgers"], indirect=True)
def test_residual_of_a_known_function_is_right(example: ModuleType) -> None:
    # With N = c, u = -sin(πx) + c t.
    layer = keras.layers.Dense(
        1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.75), dtype="float64"
    )
    network = keras.Sequential([keras.layers.Input((3,), dtype="float64"), layer])
    points = np.random.default_rng(0).uniform([-1.0, 0.0], [1.0, 1.0], (20, 2))
    sine, cosine = np.sin(np.pi * points[:, :1]), np.cos(np.pi * points[:, :1])
    transport = (-sine + 0.75 * points[:, 1:]) * -np.pi * cosine
    expected = 0.75 + transport - example.VISCOSITY * np.pi**2 * sine
    np.testing.assert_allclose(example.residual(network, tf.constant(points)), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("example", ["pinn_burgers"], indirect=True)
def test_points_are_drawn_where_the_residual_is_large(example: ModuleType) -> None:
    points = example.draw_points(lambda p: np.where(p[:, :1] > 0.9, 9.0, 1.0), 4000, np.random.default_rng(0))
    assert points.shape == (4000, 2)
    assert (np.abs(points) <= 1.0).all()
    # A twentieth of all points has the weight 9/1.4 + 1, the others 1/1.4 + 1.
    assert np.mean(points[:, 0] > 0.9) == pytest.approx(0.05 * (9 / 1.4 + 1) / 2, rel=0.15)


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param("pinn_burgers", "L-BFGS-B", marks=pytest.mark.weekly),  # `make demo` runs it for each change
        ("pinn_allen_cahn", "BFGS"),
    ],
)
def test_short_fit_lowers_the_loss(name: str, method: str) -> None:
    options = ["--points", "1000", "--adam", "100", "--legs", "3", "--iterations", "80", "--method", method]
    lines = run_python(EXAMPLES / f"{name}.py", *options).splitlines()
    stages = [line.split() for line in lines if line.startswith(("Adam", "leg"))]
    adam, *_, last = (float(stage[-4]) for stage in stages)
    assert last < adam / 3
    assert "ITERATIONS" in lines[-1].upper(), lines[-1]
