"""
A crane that plans ten times a second
=====================================

A trolley carries a load on a rope and should put it where it is told, without swinging.
Every 100 ms the controller measures the state, plans the acceleration of the trolley
for the next three seconds, and applies the first of its plan. Each plan is a small
optimisation with bounds: the accelerations are the variables, the state and the target
are the data. One `tfminimize.Minimizer` solves them all, without tracing anew.
"""

import os
import time

os.environ["TFMINIMIZE_QUIET"] = "1"  # hide TensorFlow's start-up lines
import tfminimize as tfm  # before TensorFlow

import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
import scipy.optimize
import tensorflow as tf

STEP = 0.1  # s
HORIZON = 30  # steps of a plan
STRONGEST = 1.0  # m/s²

# The state: position and speed of the trolley, angle of the rope (length 2 m) and its
# rate.
derivative = np.zeros((5, 5))
derivative[0, 1] = derivative[2, 3] = derivative[1, 4] = 1.0
derivative[3, 2], derivative[3, 4] = -9.81 / 2.0, -1.0 / 2.0
step = scipy.linalg.expm(STEP * derivative)
A, B = step[:4, :4], step[:4, 4]
load = np.array([1.0, 0.0, 2.0, 0.0])  # where the load is, as a function of the state

# The positions of the load during a plan: ``free @ state + forced @ accelerations``.
powers = [np.linalg.matrix_power(A, i) for i in range(HORIZON + 1)]
free = np.stack([load @ p for p in powers[1:]])
forced = np.array(
    [
        [load @ powers[i - j] @ B if j <= i else 0.0 for j in range(HORIZON)]
        for i in range(HORIZON)
    ]
)


def cost(accelerations, state, target):
    """How far the load is from the target, and the effort."""
    error = (
        tf.linalg.matvec(free, state) + tf.linalg.matvec(forced, accelerations) - target
    )
    effort = tf.reduce_sum(accelerations**2) + 2.0 * tf.reduce_sum(
        (accelerations[1:] - accelerations[:-1]) ** 2
    )
    return tf.reduce_sum(tf.sqrt(0.01 + error**2)) + 0.02 * effort


# %%
# Trace and compile once. Then each tick starts from the plan before, moved by one step.

bounds = [(-STRONGEST, STRONGEST)] * HORIZON
state, plan = np.zeros(4), np.zeros(HORIZON)
solver = tfm.Minimizer(
    cost, plan, args=(state, np.float64(0)), bounds=bounds, jit_compile=True
)
targets = np.repeat([2.0, -1.0, 1.0], 80)
states, plans, seconds = [state], [plan], []
for target in targets:
    begin = time.perf_counter()
    result = solver.minimize(plan, args=(state, target))
    seconds.append(time.perf_counter() - begin)
    state = A @ state + B * result.x[0]
    plan = np.append(result.x[1:], 0.0)
    states.append(state)
    plans.append(plan)
print(result.backend_reason)

# %%
# SciPy on the same compiled function, for the same states:


@tf.function(jit_compile=True)
def value_and_gradient(x, state, target):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = cost(x, state, target)
    return value, tape.gradient(value, x)


def by_scipy(x, state, target):
    value, gradient = value_and_gradient(tf.constant(x), state, target)
    return float(value), gradient.numpy()


scipy_seconds = []
for i in range(0, len(targets), 10):
    data = tf.constant(states[i]), tf.constant(targets[i])
    begin = time.perf_counter()
    scipy.optimize.minimize(
        by_scipy, plans[i], data, "L-BFGS-B", jac=True, bounds=bounds
    )
    scipy_seconds.append(time.perf_counter() - begin)

# %%
# The load follows the target, and the trolley moves so that it does not swing when it
# arrives.

figure, axes = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
times = STEP * np.arange(len(states))
axes.step(
    times[:-1], targets, color="0.6", linestyle="--", where="post", label="target"
)
axes.plot(
    times, [s[0] for s in states], color="#D55E00", linestyle="-.", label="trolley"
)
axes.plot(times, [load @ s for s in states], color="#0072B2", label="load")
axes.set(xlabel="time (s)", ylabel="position (m)", ylim=(-2, 3.2))
axes.legend(ncols=3, loc="upper right")
plt.show()

# %%
# Both are in time. tfminimize leaves nearly all of the tick to others.

figure, axes = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
axes.boxplot(
    [1e3 * np.array(scipy_seconds[1:]), 1e3 * np.array(seconds[1:])],
    tick_labels=["SciPy", "tfminimize"],
    orientation="horizontal",
    whis=(5, 95),
    showfliers=False,
    widths=0.5,
)
axes.axvline(1e3 * STEP, color="#D55E00", linewidth=1)
axes.text(
    1e3 * STEP, 1.9, "one tick ", color="#D55E00", rotation=90, va="center", ha="right"
)
axes.set(xlabel="milliseconds for a plan", xscale="log", xlim=(0.05, 200))
axes.xaxis.set_major_formatter("{x:g}")
plt.show()
