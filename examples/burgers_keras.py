"""A physics-informed network for Burgers' equation in Keras 3, fitted by L-BFGS-B.

This is `burgers_session.py` as you would write it today. It has no callback at each evaluation, so the whole solve runs
without Python.

    python examples/burgers_keras.py [--iterations 5000]
"""

from __future__ import annotations

import argparse
import time

import _quiet  # noqa: F401  before TensorFlow
import keras
import numpy as np
import tensorflow as tf
from burgers import KNOWN_WEIGHT, VISCOSITY, inner_points, known_points, reference_grid, relative_error

import tfminimize as tfm


def make_network() -> keras.Model:
    """Make a network that computes u(x, t) for points [..., 2]."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.layers.Input((2,)),
            keras.layers.Rescaling([1.0, 2.0], [0.0, -1.0]),  # scales both inputs to [-1, 1]
            *(keras.layers.Dense(20, activation="tanh") for _ in range(3)),
            keras.layers.Dense(1),
        ]
    )


def residual(network: keras.Model, points: tf.Tensor) -> tf.Tensor:
    """Compute the residual of the equation at the points, [count, 1]."""
    with tf.GradientTape() as outer:
        outer.watch(points)
        with tf.GradientTape() as inner:
            inner.watch(points)
            u = network(points)
        slopes = inner.gradient(u, points)
        u_x, u_t = slopes[:, :1], slopes[:, 1:]
    u_xx = outer.gradient(u_x, points)[:, :1]
    return u_t + u * u_x - VISCOSITY * u_xx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=1000)
    iterations = parser.parse_args().iterations

    generator = np.random.default_rng(0)
    known, values = (tf.constant(array, tf.float32) for array in known_points(200, generator))
    inner = tf.constant(inner_points(2000, generator), tf.float32)
    points, exact = reference_grid()

    network = make_network()

    def loss() -> tf.Tensor:
        at_known_points = tf.reduce_mean(tf.square(network(known) - values))
        return KNOWN_WEIGHT * at_known_points + tf.reduce_mean(tf.square(residual(network, inner)))

    optimizer = tfm.ScipyOptimizerInterface(
        loss,
        network.trainable_variables,
        options={
            "maxiter": iterations,
            "maxfun": 2 * iterations,
            "maxcor": 50,
            "maxls": 50,
            "ftol": float(np.finfo(float).eps),
        },
    )
    print(f"error of u before: {relative_error(network(points).numpy(), exact):.1%}")
    start = time.perf_counter()
    result = optimizer.minimize()
    seconds = time.perf_counter() - start
    print(f"error of u after {result.nit} iterations: {relative_error(network(points).numpy(), exact):.1%}")
    print(f"{result.message}: loss {result.fun:.2e}, {result.nfev} evaluations, {seconds:.1f} s")
    print(f"TensorFlow evaluates loss and gradient in {result.timing['evaluate'] / seconds:.0%} of the time.")


if __name__ == "__main__":
    main()
