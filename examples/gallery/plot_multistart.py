"""
The best of many starts
=======================

A function with many local minima. `Minimizer.minimize_batch` solves from many starts at
once, in C++ threads: here from a grid, to show where each start ends.
"""

import os

os.environ["TFMINIMIZE_QUIET"] = "1"  # hide TensorFlow's start-up lines
import tfminimize as tfm  # before TensorFlow

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf


def himmelblau(x):
    """Himmelblau's function, tilted so that one of its four minima is the lowest."""
    return (x[0] ** 2 + x[1] - 11.0) ** 2 + (x[0] + x[1] ** 2 - 7.0) ** 2 + 3.0 * x[0]


solver = tfm.Minimizer(
    himmelblau, np.zeros(2), bounds=[(-5.0, 5.0)] * 2, jit_compile=True
)
axis = np.linspace(-5, 5, 100)
starts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
batch = solver.minimize_batch(starts)
print(f"{len(starts)} solves in {batch.timing['total']:.2f} s")

# %%
# The minima, and how many starts lead to each:

minima, counts = np.unique(batch.x.round(2)[batch.success], axis=0, return_counts=True)
for minimum, count in zip(minima[counts > 10], counts[counts > 10], strict=True):
    print(minimum, count, float(himmelblau(tf.constant(minimum))).__round__(2))

# %%
# Each start has the colour of the loss where it ends.

figure, axes = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
image = axes.pcolormesh(
    axis,
    axis,
    batch.fun.reshape(100, 100),
    cmap="cividis",
    shading="nearest",
    vmax=11.0,  # one start ends early and much higher, as it does in SciPy
)
axes.plot(*minima[counts > 10].T, "o", color="white", markeredgecolor="black")
axes.set(xlabel="$x_0$ of the start", ylabel="$x_1$ of the start", aspect="equal")
figure.colorbar(image, label="the loss where the solve ends")
plt.show()

# %%
# If only the best matters, ``n_starts`` draws the starts and keeps it:

best = solver.minimize_batch(np.zeros(2), n_starts=20, seed=0)
print(best.x[0].round(3), best.fun[0].round(3))
