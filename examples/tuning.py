"""How strongly to regularise: each evaluation of the outer loss fits a model, which is a minimisation itself.

We fit a polynomial of degree 14 to 30 noisy points. Each coefficient has its own penalty and lies between -5 and 5. We
look for the penalties with the least error on 30 other points, and use their gradient to find them: `tf.GradientTape`
differentiates the fitted coefficients through the inner minimisation.
"""

from __future__ import annotations

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow as tf

import tfminimize as tfm

DEGREE = 14

rng = np.random.default_rng(1)


def powers(x: np.ndarray) -> tf.Tensor:
    return tf.constant(np.polynomial.legendre.legvander(x, DEGREE))


def sample(size: int) -> tuple[tf.Tensor, tf.Tensor]:
    x = rng.uniform(-1, 1, size)
    return powers(x), tf.constant(np.sin(4 * x) + 0.3 * rng.normal(size=size))


inputs, values = sample(30)
other_inputs, other_values = sample(30)


def error(coefficients: tf.Tensor, inputs: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean((tf.linalg.matvec(inputs, coefficients) - values) ** 2)


def fit(log_penalties: tf.Tensor) -> tfm.ops.MinimizeResult:
    return tfm.ops.minimize(
        lambda c: error(c, inputs, values) + tf.reduce_sum(tf.exp(log_penalties) * c**2),
        tf.zeros(DEGREE + 1, tf.float64),
        bounds=(-5, 5),
        options={"ftol": 1e-15, "gtol": 1e-9},
    )


def other_error(log_penalties: tf.Tensor) -> tf.Tensor:
    return error(fit(log_penalties).x, other_inputs, other_values)


start = np.full(DEGREE + 1, -6.0)
tuned = tfm.minimize(other_error, start, bounds=(-12, 5))

grid = np.linspace(-1, 1, 201)
for name, log_penalties in (("the same for all", start), ("tuned", tuned.x)):
    coefficients = fit(tf.constant(log_penalties)).x
    print(
        f"penalties {name:16}: error {float(error(coefficients, inputs, values)):.4f} on the fitted points, "
        f"{float(other_error(tf.constant(log_penalties))):.4f} on the other points, "
        f"{float(error(coefficients, powers(grid), tf.constant(np.sin(4 * grid)))):.4f} from the truth"
    )
print(f"{tuned.nfev} gradients of the whole fit with respect to {DEGREE + 1} penalties; {tuned.message}")
