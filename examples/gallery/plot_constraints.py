"""
A hanging chain
===============

Between two nails hangs a chain of links. Its shape has the lowest potential energy
under one equality constraint for each link: its length. An inequality keeps it above a
ramp. SLSQP gets the Jacobian of all of them from TensorFlow.
"""

import os

os.environ["TFMINIMIZE_QUIET"] = "1"  # hide TensorFlow's start-up lines
import tfminimize as tfm  # before TensorFlow

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

LINKS = 24
LENGTH = 1.6 / LINKS
nails = np.array([[0.0, 0.0], [1.0, 0.2]])


def joints(inner):
    return tf.concat([nails[:1], tf.reshape(inner, (LINKS - 1, 2)), nails[1:]], axis=0)


def energy(inner):
    height = joints(inner)[:, 1]
    return tf.reduce_sum(height[1:] + height[:-1]) / 2


def lengths(inner):
    links = joints(inner)[1:] - joints(inner)[:-1]
    return tf.reduce_sum(links**2, axis=1) / LENGTH**2 - 1.0


def above_ramp(inner):
    places = joints(inner)
    return places[:, 1] - (-0.55 + 0.5 * places[:, 0])


start = np.linspace(nails[0], nails[1], LINKS + 1)[1:-1]
start[:, 1] -= 0.5 * np.sin(np.pi * np.linspace(0, 1, LINKS + 1)[1:-1])

free, held = (
    tfm.minimize(
        energy,
        start.ravel(),
        method="SLSQP",
        constraints=[{"type": "eq", "fun": lengths}, *ramp],
        options={"maxiter": 500, "ftol": 1e-10},
    )
    for ramp in ([], [{"type": "ineq", "fun": above_ramp}])
)
for result in (free, held):
    print(result.message, result.nit, f"violation {result.constr_violation:.1e}")

# %%
# The multipliers of the ramp are the forces with which it carries the joints.

forces = held.multipliers[LINKS:]
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(
    *joints(free.x).numpy().T, "o-", color="0.6", markersize=3, label="without the ramp"
)
axes.plot(
    *joints(held.x).numpy().T, "o-", color="#0072B2", markersize=3, label="on the ramp"
)
ramp = np.array([0.0, 1.0])
axes.plot(ramp, -0.55 + 0.5 * ramp, color="#D55E00")
touching = forces > 1e-6
places = joints(held.x).numpy()[touching]
axes.quiver(
    *places.T,
    -0.5 * forces[touching],
    forces[touching],
    color="#D55E00",
    scale=8,
    width=0.004,
    label="force",
)
axes.plot(*nails.T, "ks", markersize=5)
axes.set(xlabel="x (m)", ylabel="height (m)", aspect="equal", xlim=(-0.1, 1.1))
axes.legend(loc="upper center")
plt.show()
