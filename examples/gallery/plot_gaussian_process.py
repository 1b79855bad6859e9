"""
Hyperparameters of a Gaussian process
=====================================

The length scale, the amplitude and the noise maximise the marginal likelihood of the
data. They are positive, so their logarithms are the variables. The Hessian at the
solution says how well the data determine them.
"""

import os

os.environ["TFMINIMIZE_QUIET"] = "1"  # hide TensorFlow's start-up lines
import tfminimize as tfm  # before TensorFlow

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

random = np.random.default_rng(1)
x = np.sort(random.uniform(0, 10, 60))
y = np.sin(1.5 * x) + 0.4 * np.cos(4.0 * x) + 0.2 * random.normal(size=x.size)


def covariance(a, b, length, amplitude):
    return amplitude**2 * tf.exp(-0.5 * ((a[:, None] - b[None, :]) / length) ** 2)


def negative_log_likelihood(logs):
    length, amplitude, noise = tf.unstack(tf.exp(logs))
    k = covariance(x, x, length, amplitude) + (noise**2 + 1e-10) * tf.eye(
        x.size, dtype=tf.float64
    )
    factor = tf.linalg.cholesky(k)
    alpha = tf.linalg.triangular_solve(factor, y[:, None])
    return 0.5 * tf.reduce_sum(alpha**2) + tf.reduce_sum(
        tf.math.log(tf.linalg.diag_part(factor))
    )


# %%
# The method with exact second derivatives needs few evaluations here; L-BFGS-B would
# do as well.

result = tfm.minimize(negative_log_likelihood, np.zeros(3), method="trust-exact")
errors = np.sqrt(np.diag(np.linalg.inv(tfm.hessian(negative_log_likelihood, result.x))))
for name, log, error in zip(
    ("length scale", "amplitude", "noise"), result.x, errors, strict=True
):
    print(f"{name:12s} {np.exp(log):.3f}   (factor {np.exp(error):.2f})")

# %%
length, amplitude, noise = np.exp(result.x)
grid = np.linspace(-1, 11, 300)
k = covariance(x, x, length, amplitude) + noise**2 * np.eye(x.size)
cross = covariance(grid, x, length, amplitude).numpy()
mean = cross @ np.linalg.solve(k, y)
spread = 2 * np.sqrt(
    amplitude**2 - np.sum(cross * np.linalg.solve(k, cross.T).T, axis=1)
)

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.fill_between(
    grid,
    mean - spread,
    mean + spread,
    color="#56B4E9",
    alpha=0.4,
    label="± 2 standard deviations",
)
axes.plot(grid, mean, color="#0072B2", label="mean")
axes.plot(x, y, "k.", label="data")
axes.set(xlabel="x", ylabel="y", xlim=(grid[0], grid[-1]), ylim=(-2, 2.4))
axes.legend(ncols=3, loc="upper center")
plt.show()
