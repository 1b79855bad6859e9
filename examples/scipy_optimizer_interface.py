"""The examples in the documentation of TensorFlow 1's ScipyOptimizerInterface, as they are written today.

Each leaves the solution in the variable, as the old interface did. `tfm.minimize` also returns SciPy's result, which
the old one did not.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import tfminimize as tfm


def unconstrained() -> tf.Variable:
    """Make a vector's norm as small as possible."""
    vector = tf.Variable([7.0, 7.0], name="vector")

    tfm.minimize(lambda: tf.reduce_sum(tf.square(vector)), vector, options={"maxiter": 100})

    return vector  # [0, 0]


def bounded() -> tf.Variable:
    """The same, with x at least 1 and y at least 2."""
    vector = tf.Variable([7.0, 7.0], name="vector")

    tfm.minimize(lambda: tf.reduce_sum(tf.square(vector)), vector, bounds={vector.ref(): ([1.0, 2.0], np.inf)})

    return vector  # [1, 2]


def constrained() -> tf.Variable:
    """The same, with y equal to 1 and x at least 1."""
    vector = tf.Variable([7.0, 7.0], name="vector")

    tfm.minimize(
        lambda: tf.reduce_sum(tf.square(vector)),
        vector,
        method="SLSQP",
        constraints=[
            {"type": "eq", "fun": lambda: vector[1] - 1.0},
            {"type": "ineq", "fun": lambda: vector[0] - 1.0},
        ],
    )

    return vector  # [1, 1]


def bounded_by_column() -> tf.Variable:
    """A matrix whose bounds are broadcast: the first column at most 1, the second at most 2."""
    matrix = tf.Variable(tf.zeros([3, 2]), name="matrix")

    tfm.minimize(lambda: tf.reduce_sum(tf.square(matrix - 7.0)), matrix, bounds={matrix.ref(): (-np.inf, [1.0, 2.0])})

    return matrix  # [[1, 2], [1, 2], [1, 2]]


def main() -> None:
    for example in (unconstrained, constrained, bounded, bounded_by_column):
        variable = example()
        print(f"{example.__name__:20} {np.array2string(variable.numpy(), precision=6, suppress_small=True)!s}")


if __name__ == "__main__":
    main()
