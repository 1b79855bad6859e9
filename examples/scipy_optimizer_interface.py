"""The examples in the documentation of TensorFlow 1's ScipyOptimizerInterface, with a session and without.

In a session they are unchanged, except that `tf` is `tensorflow.compat.v1` and the class comes from `tfminimize`.
Without a session, functions that read the variable replace the tensors. `minimize` leaves the solution in the variable.
It also returns SciPy's result, which the old interface did not.
"""

from __future__ import annotations

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow as tf

import tfminimize as tfm

tf1 = tf.compat.v1


# 1. In a session, as in TensorFlow 1.


def unconstrained_in_session(session: tf1.Session) -> np.ndarray:
    """Make a vector's norm as small as possible."""
    vector = tf1.Variable([7.0, 7.0], name="vector")
    loss = tf1.reduce_sum(tf1.square(vector))

    optimizer = tfm.ScipyOptimizerInterface(loss, options={"maxiter": 100})

    session.run(tf1.global_variables_initializer())
    optimizer.minimize(session)
    return session.run(vector)  # [0, 0]


def bounded_in_session(session: tf1.Session) -> np.ndarray:
    """The same, with x at least 1 and y at least 2."""
    vector = tf1.Variable([7.0, 7.0], name="vector")
    loss = tf1.reduce_sum(tf1.square(vector))

    optimizer = tfm.ScipyOptimizerInterface(loss, var_to_bounds={vector: ([1, 2], np.inf)})

    session.run(tf1.global_variables_initializer())
    optimizer.minimize(session)
    return session.run(vector)  # [1, 2]


def constrained_in_session(session: tf1.Session) -> np.ndarray:
    """The same, with y equal to 1 and x at least 1."""
    vector = tf1.Variable([7.0, 7.0], name="vector")
    loss = tf1.reduce_sum(tf1.square(vector))
    equalities = [vector[1] - 1.0]
    inequalities = [vector[0] - 1.0]

    # L-BFGS-B, the default, takes bounds but no other constraints.
    optimizer = tfm.ScipyOptimizerInterface(loss, equalities=equalities, inequalities=inequalities, method="SLSQP")

    session.run(tf1.global_variables_initializer())
    optimizer.minimize(session)
    return session.run(vector)  # [1, 1]


# 2. The same class without a session.


def unconstrained() -> np.ndarray:
    vector = tf.Variable([7.0, 7.0], name="vector")

    tfm.ScipyOptimizerInterface(lambda: tf.reduce_sum(tf.square(vector)), options={"maxiter": 100}).minimize()

    return vector.numpy()


def bounded() -> np.ndarray:
    vector = tf.Variable([7.0, 7.0], name="vector")

    tfm.ScipyOptimizerInterface(
        lambda: tf.reduce_sum(tf.square(vector)), var_to_bounds={vector.ref(): ([1, 2], np.inf)}
    ).minimize()

    return vector.numpy()


def constrained() -> np.ndarray:
    vector = tf.Variable([7.0, 7.0], name="vector")

    tfm.ScipyOptimizerInterface(
        lambda: tf.reduce_sum(tf.square(vector)),
        equalities=[lambda: vector[1] - 1.0],
        inequalities=[lambda: vector[0] - 1.0],
        method="SLSQP",
    ).minimize()

    return vector.numpy()


# 3. In new code.


def constrained_in_one_call() -> np.ndarray:
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

    return vector.numpy()


def bounded_by_column() -> np.ndarray:
    """Broadcast the bounds of a matrix: the first column is at most 1, the second at most 2."""
    matrix = tf.Variable(tf.zeros([3, 2]), name="matrix")

    tfm.minimize(lambda: tf.reduce_sum(tf.square(matrix - 7.0)), matrix, bounds={matrix.ref(): (-np.inf, [1.0, 2.0])})

    return matrix.numpy()  # [[1, 2], [1, 2], [1, 2]]


def show(name: str, value: np.ndarray) -> None:
    print(f"{name:25} {np.array2string(value, precision=6, suppress_small=True)}")


def main() -> None:
    for example in (unconstrained_in_session, bounded_in_session, constrained_in_session):
        with tf.Graph().as_default(), tf1.Session() as session:
            show(example.__name__, example(session))
    for example in (unconstrained, bounded, constrained, constrained_in_one_call, bounded_by_column):
        show(example.__name__, example())


if __name__ == "__main__":
    main()
