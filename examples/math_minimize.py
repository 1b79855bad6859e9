"""The examples of TensorFlow Probability's `math.minimize`, as its documentation has them: eagerly, and in a graph.

They are what they were, except that `tfp.math.minimize` is `tfm.math.minimize`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

import tfminimize as tfm

tf1 = tf.compat.v1


# 1. To minimise the scalar function (x - 5)**2.


def in_eager_mode() -> tuple[tf.Variable, tf.Tensor]:
    x = tf.Variable(0.0)
    loss_fn = lambda: (x - 5.0) ** 2  # noqa: E731
    losses = tfm.math.minimize(loss_fn, num_steps=100, optimizer=tf.keras.optimizers.Adam(learning_rate=0.1))

    # In TF2/eager mode, the optimization runs immediately.
    print(f"optimized value is {x.numpy()} with loss {losses[-1]}")
    return x, losses


# 2. In graph mode, retrieving any tensor that depends on the minimization triggers the optimization.


def in_function() -> tf.Tensor:
    x = tf.Variable(0.0)
    optimizer = tf.keras.optimizers.Adam(learning_rate=0.1)

    @tf.function
    def optimize() -> tf.Tensor:
        losses = tfm.math.minimize(lambda: (x - 5.0) ** 2, num_steps=100, optimizer=optimizer)
        with tf.control_dependencies([losses]):
            return tf.identity(x)  # Use a dummy op to attach the dependency.

    optimized_x = optimize()
    print(f"in a tf.function: {optimized_x}")
    return optimized_x


def in_session() -> Any:
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf.Variable(0.0)
        optimizer = tf1.train.AdamOptimizer(learning_rate=0.1)
        losses = tfm.math.minimize(lambda: (x - 5.0) ** 2, num_steps=100, optimizer=optimizer)
        with tf.control_dependencies([losses]):
            optimized_x = tf.identity(x)  # Use a dummy op to attach the dependency.

        session.run(tf1.global_variables_initializer())
        value = session.run(optimized_x)
        print(f"in a session: {value}")
        return value


# 3. To track additional context, define a trace function.


def traced() -> dict[str, tf.Tensor]:
    x = tf.Variable(0.0)
    loss_fn = lambda: (x - 5.0) ** 2  # noqa: E731

    # `x` is the tf.Variable instance defined above.
    trace_fn = lambda loss, grads, variables: {"loss": loss, "x": x}  # noqa: E731
    trace = tfm.math.minimize(
        loss_fn, num_steps=100, optimizer=tf.keras.optimizers.Adam(learning_rate=0.1), trace_fn=trace_fn
    )
    print(
        trace["loss"].shape,  # => [100]
        trace["x"].shape,  # => [100]
    )
    return trace


def traced_in_function() -> dict[str, tf.Tensor]:
    x = tf.Variable(0.0)
    optimizer = tf.keras.optimizers.Adam(learning_rate=0.1)

    @tf.function
    def optimize() -> dict[str, tf.Tensor]:
        trace_fn = lambda loss, grads, variables: {"loss": loss, "x": x}  # noqa: E731
        return tfm.math.minimize(lambda: (x - 5.0) ** 2, num_steps=100, optimizer=optimizer, trace_fn=trace_fn)

    trace = optimize()
    print(trace["loss"].shape, trace["x"].shape)
    return trace


def main() -> None:
    for example in (in_eager_mode, in_function, in_session, traced, traced_in_function):
        example()


if __name__ == "__main__":
    main()
