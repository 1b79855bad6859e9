"""A physics-informed network for Burgers' equation, accurate to a few 1e-4: Adam, then SSBroyden.

Network and method are those of Urbán, Stefanou & Pons, J. Comput. Phys. 523 (2025) 113656. The network has the initial
condition and the period 2 built in, so that only the equation is left to fit:

    u(x, t) = -sin(πx) + t N(t, cos πx, sin πx)

The solver works in legs. Before each of them, new points are drawn where the residual is large, and the solver goes on
with the inverse Hessian that it has learned. `burgers_keras.py` has the same equation with fixed points, in float32.

    python examples/pinn_burgers.py [--points 10000 --adam 5000 --legs 20 --iterations 500] [--method L-BFGS-B]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import _quiet  # noqa: F401  before TensorFlow
import keras
import numpy as np
import tensorflow as tf
from burgers import VISCOSITY, inner_points, reference_grid, relative_error
from numpy.typing import NDArray

import tfminimize as tfm

Points = NDArray[np.float64]


class Jet(NamedTuple):
    """A function of x and t at some points, and its derivatives there, each [count, 1]."""

    u: tf.Tensor
    x: tf.Tensor
    xx: tf.Tensor
    t: tf.Tensor


def make_network(units: int = 20, layers: int = 3) -> keras.Sequential:
    """Make the network N, in float64."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(2)
    hidden = [keras.layers.Dense(units, activation="tanh") for _ in range(layers)]
    return keras.Sequential([keras.layers.Input((3,)), *hidden, keras.layers.Dense(1)])


def periodic(network: keras.Sequential, x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """Compute N(t, cos πx, sin πx), which has the period 2 in x, [count, 1]."""
    return network(tf.concat([t, tf.cos(np.pi * x), tf.sin(np.pi * x)], axis=1))


def solution(network: keras.Sequential, x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """Compute u, [count, 1]."""
    return -tf.sin(np.pi * x) + t * periodic(network, x, t)


def derivatives(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], points: tf.Tensor) -> Jet:
    """Compute a function of x and t and its derivatives at the points (x, t)."""
    x, t = points[:, :1], points[:, 1:]
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch([x, t])
            u = function(x, t)
        u_x, u_t = inner.gradient(u, [x, t])
    return Jet(u, u_x, outer.gradient(u_x, x), u_t)


def residual(network: keras.Sequential, points: tf.Tensor) -> tf.Tensor:
    """Compute the residual of the equation at the points, [count, 1]."""
    at = derivatives(lambda x, t: solution(network, x, t), points)
    return at.t + at.u * at.x - VISCOSITY * at.xx


def draw_points(residual: Callable[[Points], tf.Tensor], count: int, generator: np.random.Generator) -> Points:
    """Draw points (x, t), [count, 2], more where the residual is large.

    Of ten times as many, each is taken with a probability that grows with |residual| / mean |residual| + 1 (Wu et al.,
    Comput. Methods Appl. Mech. Eng. 403 (2023) 115671).
    """
    candidates = inner_points(10 * count, generator)
    size = np.abs(residual(candidates)).ravel()
    weight = size / size.mean() + 1.0
    return candidates[generator.choice(len(candidates), count, replace=False, p=weight / weight.sum())]


def fit_by_adam(loss: Callable[[], tf.Tensor], network: keras.Sequential, steps: int) -> None:
    """Make steps of Adam, compiled into one function."""
    variables = network.trainable_variables
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(5e-3, 1000, 0.98))
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def step() -> None:
        with tf.GradientTape() as tape:
            value = loss()
        optimizer.apply(tape.gradient(value, variables), variables)

    for _ in range(steps):
        step()


def fit(
    network: keras.Sequential,
    residual: Callable[[tf.Tensor], tf.Tensor],
    error: Callable[[], float],
    options: argparse.Namespace,
    penalty: Callable[[], tf.Tensor] | None = None,
) -> None:
    """Fit the network by Adam and then in legs, and print the losses and errors.

    The loss is the mean square of the residual, and the penalty.
    """
    generator = np.random.default_rng(0)
    compiled_residual = tf.function(residual, jit_compile=True)
    start = time.perf_counter()

    def report(stage: str, loss: float, evaluations: int) -> None:
        seconds = time.perf_counter() - start
        print(f"{stage:<9} {loss:10.2e} {error():12.2e} {evaluations:12} {seconds:8.1f}", flush=True)

    print(f"{network.count_params():,} weights, {options.points:,} points")
    print("                loss  error of u  evaluations  seconds")

    def mean_square(points: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(residual(points) ** 2)

    points = inner_points(options.points, generator)
    loss = tfm.DatasetLoss(mean_square, points, batch_size=500, penalty=penalty)  # machine code, on all cores
    fit_by_adam(lambda: mean_square(tf.constant(points)) + (penalty() if penalty else 0.0), network, options.adam)
    report("Adam", float(loss()), options.adam)

    # A leg ends with its iterations, not because the gradient or the progress is small.
    only_iterations = {
        "BFGS": {"update": options.update, "gtol": 0.0},
        "L-BFGS-B": {"maxcor": 50, "gtol": 0.0, "ftol": 0.0, "maxfun": 10 * options.iterations},
    }
    minimizer = tfm.Minimizer(loss, network.trainable_variables, method=options.method, jit_compile=True)
    result = None
    for leg in range(1, options.legs + 1):
        result = minimizer.minimize(
            data=draw_points(compiled_residual, options.points, generator),
            warm_start=result,
            options={"maxiter": options.iterations, **only_iterations[options.method]},
        )
        report(f"leg {leg}", result.fun, result.nfev)
    if result is not None:
        print(result.message)


def parse_options(description: str | None, legs: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=3000)
    parser.add_argument("--adam", type=int, default=500, help="steps of Adam")
    parser.add_argument("--legs", type=int, default=legs)
    parser.add_argument("--iterations", type=int, default=100, help="iterations of a leg")
    parser.add_argument("--method", choices=["BFGS", "L-BFGS-B"], default="BFGS")
    parser.add_argument("--update", default="ssbroyden", help="of BFGS: bfgs, dfp, ssbfgs or ssbroyden")
    return parser.parse_args()


def main() -> None:
    options = parse_options(__doc__, legs=15)
    network = make_network()
    points, exact = reference_grid()

    @tf.function(jit_compile=True)
    def predict() -> tf.Tensor:
        return solution(network, *tf.split(tf.constant(points), 2, axis=1))

    fit(network, lambda points: residual(network, points), lambda: relative_error(predict().numpy(), exact), options)


if __name__ == "__main__":
    main()
