"""
How solves went
===============

`tfminimize.plot` draws what solves have recorded. These are the three native methods on
Rosenbrock's function; :doc:`/plots` has all functions.
"""

import os

os.environ["TFMINIMIZE_QUIET"] = "1"  # hide TensorFlow's start-up lines
import tfminimize as tfm  # before TensorFlow

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf


def rosenbrock(x):
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


start = np.array([-1.2, 1.0])
methods = ["L-BFGS-B", "BFGS", "SLSQP"]
results = [
    tfm.minimize(rosenbrock, start, method=method, history=True) for method in methods
]
tfm.plot.convergence(*results, labels=methods)
plt.show()

# %%
# ``history="x"`` keeps the iterates too. The circle is the start, the star the
# solution. Grey is what the bounds and the constraint forbid.

disc = {"type": "ineq", "fun": lambda x: 1.5 - tf.reduce_sum(x**2)}
limits = {"bounds": (-1.0, 0.9), "constraints": disc}
result = tfm.minimize(rosenbrock, start / 2, method="SLSQP", history="x", **limits)
tfm.plot.trajectory(rosenbrock, result, limits=((-1.5, 1.5), (-1.5, 1.5)), **limits)
plt.show()

# %%
# With many problems, a data profile shows which share of them each method has solved
# after how many evaluations.

problems = [tfm.testing.rosenbrock(n) for n in (2, 5, 10, 20)] + [
    tfm.testing.quadratic(n) for n in (2, 5, 10, 20)
]
solves = {
    method: [tfm.minimize(p.fun, p.x0, method=method, history=True) for p in problems]
    for method in methods
}
tfm.plot.data_profile(solves)
plt.show()
