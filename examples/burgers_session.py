"""A physics-informed network for Burgers' equation, written for TensorFlow 1 with a graph, a session and placeholders.

Such programs used `tf.contrib.opt.ScipyOptimizerInterface`, which TensorFlow 2 removed. To run one today, import
`tensorflow.compat.v1`, call `disable_v2_behavior`, and take the class from `tfminimize`. The rest stays.

    python examples/burgers_session.py [--iterations 5000]
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow.compat.v1 as tf
from burgers import KNOWN_WEIGHT, VISCOSITY, inner_points, known_points, reference_grid, relative_error

import tfminimize as tfm

tf.disable_v2_behavior()


class PhysicsInformedNetwork:
    """A network for u(x, t), fitted to the known values and to the equation.

    Parameters
    ----------
    layers : list of int
        The widths of the layers, from 2 (x and t) to 1 (u).
    iterations : int
        The most iterations that L-BFGS-B may take.
    """

    def __init__(self, layers: list[int], iterations: int) -> None:
        self.weights = [self._xavier(rows, columns) for rows, columns in itertools.pairwise(layers)]
        self.biases = [tf.Variable(tf.zeros([1, width])) for width in layers[1:]]

        self.x_known = tf.placeholder(tf.float32, [None, 1])
        self.t_known = tf.placeholder(tf.float32, [None, 1])
        self.u_known = tf.placeholder(tf.float32, [None, 1])
        self.x_inner = tf.placeholder(tf.float32, [None, 1])
        self.t_inner = tf.placeholder(tf.float32, [None, 1])

        self.u = self._network(self.x_known, self.t_known)
        self.known_loss = tf.reduce_mean(tf.square(self.u_known - self.u))
        self.equation_loss = tf.reduce_mean(tf.square(self._residual(self.x_inner, self.t_inner)))
        self.loss = KNOWN_WEIGHT * self.known_loss + self.equation_loss

        self.optimizer = tfm.ScipyOptimizerInterface(
            self.loss,
            method="L-BFGS-B",
            options={
                "maxiter": iterations,
                "maxfun": 2 * iterations,
                "maxcor": 50,
                "maxls": 50,
                "ftol": float(np.finfo(float).eps),
            },
        )
        self.losses: list[float] = []
        self.session = tf.Session()
        self.session.run(tf.global_variables_initializer())

    @staticmethod
    def _xavier(rows: int, columns: int) -> tf.Variable:
        return tf.Variable(tf.truncated_normal([rows, columns], stddev=np.sqrt(2.0 / (rows + columns))))

    def _network(self, x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        hidden = tf.concat([x, 2.0 * t - 1.0], axis=1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = tf.tanh(hidden @ weight + bias)
        return hidden @ self.weights[-1] + self.biases[-1]

    def _residual(self, x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """Compute the residual of the equation."""
        u = self._network(x, t)
        u_x, u_t = tf.gradients(u, [x, t])
        (u_xx,) = tf.gradients(u_x, [x])
        return u_t + u * u_x - VISCOSITY * u_xx

    def _report(self, known_loss: np.float32, equation_loss: np.float32) -> None:
        """Print the fetches now and then; called at every evaluation."""
        self.losses.append(float(KNOWN_WEIGHT * known_loss + equation_loss))
        if len(self.losses) % 200 == 0:
            print(f"{len(self.losses):5} evaluations: {known_loss:.2e} where u is known, {equation_loss:.2e} inside")

    def train(self, known: np.ndarray, values: np.ndarray, inner: np.ndarray) -> Any:
        data = {
            self.x_known: known[:, :1],
            self.t_known: known[:, 1:],
            self.u_known: values,
            self.x_inner: inner[:, :1],
            self.t_inner: inner[:, 1:],
        }
        return self.optimizer.minimize(
            self.session,
            feed_dict=data,
            fetches=[self.known_loss, self.equation_loss],
            loss_callback=self._report,
        )

    def predict(self, points: np.ndarray) -> np.ndarray:
        return self.session.run(self.u, {self.x_known: points[:, :1], self.t_known: points[:, 1:]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=1000)
    iterations = parser.parse_args().iterations

    tf.set_random_seed(1)
    generator = np.random.default_rng(0)
    known, values = known_points(200, generator)
    inner = inner_points(2000, generator)
    points, exact = reference_grid()

    network = PhysicsInformedNetwork([2, 20, 20, 20, 1], iterations)
    print(f"error of u before: {relative_error(network.predict(points), exact):.1%}")
    start = time.perf_counter()
    result = network.train(known, values, inner)
    seconds = time.perf_counter() - start
    print(f"error of u after {result.nit} iterations: {relative_error(network.predict(points), exact):.1%}")
    print(f"{result.message}: loss {result.fun:.2e}, {result.nfev} evaluations, {seconds:.1f} s")


if __name__ == "__main__":
    main()
