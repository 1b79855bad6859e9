"""
A Keras model, fitted to all data
=================================

A small network learns a function of one variable. `tfminimize.keras.fit` takes a
compiled model, and an epoch is an iteration of L-BFGS-B. For comparison, Adam takes the
same number of evaluations.
"""

import os

os.environ["TFMINIMIZE_QUIET"] = "1"  # hide TensorFlow's start-up lines
import tfminimize as tfm  # before TensorFlow

import keras
import matplotlib.pyplot as plt
import numpy as np

random = np.random.default_rng(0)
x = np.sort(random.uniform(-1, 1, (400, 1)), axis=0)
y = np.sin(6 * x) * np.exp(-x) + 0.05 * random.normal(size=x.shape)


def model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(20, "tanh"),
        keras.layers.Dense(20, "tanh"),
        keras.layers.Dense(1),
    ]
    made = keras.Sequential([keras.Input((1,)), *layers])
    made.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    return made


# %%
# Both see all rows in each step.

ours = model()
history = tfm.keras.fit(ours, x, y, epochs=300, verbose=0)
adams = model()
adam_history = adams.fit(
    x, y, epochs=int(history.result.nfev), batch_size=len(x), verbose=0
)
print(
    history.result.message,
    f"after {history.result.nit} iterations, {history.result.nfev} evaluations",
)

# %%
figure, axes = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
axes.semilogy(
    adam_history.history["loss"], color="#D55E00", linestyle="--", label="Adam"
)
axes.semilogy(
    history.result.history["nfev"][1:],
    history.history["loss"],
    color="#0072B2",
    label="L-BFGS-B",
)
axes.set(xlabel="evaluations of all data", ylabel="mean squared error")
axes.legend()
plt.show()

# %%
figure, axes = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
axes.plot(x, y, ".", color="0.7", markersize=3, label="data")
axes.plot(x, adams.predict(x, verbose=0), color="#D55E00", linestyle="--", label="Adam")
axes.plot(x, ours.predict(x, verbose=0), color="#0072B2", label="L-BFGS-B")
axes.set(xlabel="x", ylabel="y")
axes.legend()
plt.show()
