"""The examples from the documentation of TensorFlow Probability's `math.minimize`, in eager mode and in a graph.

They are unchanged, except that `tfp.math.minimize` is `tfm.math.minimize`. Each takes a function that makes its
optimizer, so `main` can solve the same problems with Adam and with our L-BFGS-B, where a step is an iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import tensorflow as tf

import tfminimize as tfm

tf1 = tf.compat.v1


# 1. To minimize the scalar function (x - 5)**2:


def scalar_function(make_optimizer: Callable[[], Any]) -> tuple[tf.Variable, tf.Tensor]:
    x = tf.Variable(0.0)
    loss_fn = lambda: (x - 5.0) ** 2  # noqa: E731
    losses = tfm.math.minimize(loss_fn, num_steps=100, optimizer=make_optimizer())

    # In TF2/eager mode, the optimization runs immediately.
    print(f"optimized value is {x.numpy()} with loss {losses[-1]}")
    return x, losses


# 2. In graph mode (e.g., inside of tf.function wrapping), retrieving any Tensor that depends on the minimization op
# will trigger the optimization:


def in_function(make_optimizer: Callable[[], Any]) -> tf.Tensor:
    x = tf.Variable(0.0)
    optimizer = make_optimizer()

    @tf.function
    def optimize() -> tf.Tensor:
        losses = tfm.math.minimize(lambda: (x - 5.0) ** 2, num_steps=100, optimizer=optimizer)
        with tf.control_dependencies([losses]):
            return tf.identity(x)  # Use a dummy op to attach the dependency.

    optimized_x = optimize()
    print(f"optimized value in a tf.function is {optimized_x}")
    return optimized_x


def in_session(make_optimizer: Callable[[], Any]) -> Any:
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf.Variable(0.0)
        losses = tfm.math.minimize(lambda: (x - 5.0) ** 2, num_steps=100, optimizer=make_optimizer())
        with tf.control_dependencies([losses]):
            optimized_x = tf.identity(x)  # Use a dummy op to attach the dependency.

        session.run(tf1.global_variables_initializer())
        value = session.run(optimized_x)
        print(f"optimized value in a session is {value}")
        return value


# 3. To track additional context inside the optimization, define a custom trace_fn. For example, capture `x` and track
# its value over the optimization:


def with_trace(make_optimizer: Callable[[], Any]) -> dict[str, tf.Tensor]:
    x = tf.Variable(0.0)
    loss_fn = lambda: (x - 5.0) ** 2  # noqa: E731

    # `x` is the tf.Variable instance defined above.
    trace_fn = lambda loss, grads, variables: {"loss": loss, "x": x}  # noqa: E731
    trace = tfm.math.minimize(loss_fn, num_steps=100, optimizer=make_optimizer(), trace_fn=trace_fn)
    print(
        trace["loss"].shape,  # => [100]
        trace["x"].shape,  # => [100]
    )
    return trace


def with_trace_in_function(make_optimizer: Callable[[], Any]) -> dict[str, tf.Tensor]:
    x = tf.Variable(0.0)
    loss_fn = lambda: (x - 5.0) ** 2  # noqa: E731
    trace_fn = lambda loss, grads, variables: {"loss": loss, "x": x}  # noqa: E731
    optimizer = make_optimizer()

    @tf.function
    def optimize() -> dict[str, tf.Tensor]:
        return tfm.math.minimize(loss_fn, num_steps=100, optimizer=optimizer, trace_fn=trace_fn)

    trace = optimize()
    print(trace["loss"].shape, trace["x"].shape)
    return trace


EXAMPLES = (scalar_function, in_function, in_session, with_trace, with_trace_in_function)


def main() -> None:
    for make_optimizer in (lambda: tf.keras.optimizers.Adam(learning_rate=0.1), tfm.LBFGSB):
        for example in EXAMPLES:
            example(make_optimizer)


if __name__ == "__main__":
    main()
