"""Losses whose kernels are the work: regressions, networks, Gaussian processes, a variational fit."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import _quiet  # noqa: F401  before TensorFlow
import numpy as np
import tensorflow as tf


@dataclass
class Case:
    """A loss of variables: ``loss(*data)``, a mean or a sum over their rows, plus ``penalty()``."""

    name: str
    variables: list[tf.Variable]
    loss: Callable[..., tf.Tensor]
    data: tuple[Any, ...] = ()
    penalty: Callable[[], tf.Tensor] | None = None
    iterations: int = 50
    reduction: str = "mean"
    own: Callable[[int], Any] | None = None
    """The model's own optimiser, for a number of iterations."""

    def whole(self, *data: tf.Tensor) -> tf.Tensor:
        loss = self.loss(*data)
        return loss if self.penalty is None else loss + self.penalty()


def layers(units: Sequence[int], dtype: str) -> list[tf.Variable]:
    """Weights and biases, as Glorot and Bengio draw them."""
    random = np.random.default_rng(0)
    shapes = itertools.pairwise(units)
    drawn = [(random.normal(scale=np.sqrt(2 / (a + b)), size=(a, b)), np.zeros(b)) for a, b in shapes]
    return [tf.Variable(value, dtype=dtype) for pair in drawn for value in pair]


def digits(dtype: str, times: int, *, in_closure: bool = False) -> Case:
    """The loss of `examples/digits.py`, which has the data in a closure."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    data = tf.constant(np.tile(images / 16.0, (times, 1)), dtype), tf.constant(np.tile(labels, times))
    weights, bias = tf.Variable(tf.zeros((64, 10), dtype)), tf.Variable(tf.zeros(10, dtype))

    def loss(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, x @ weights + bias))

    penalty = lambda: tf.constant(1e-4, dtype) * tf.reduce_sum(weights**2)  # noqa: E731
    if in_closure:
        return Case(f"the demo's digits, {dtype}", [weights, bias], lambda: loss(*data), (), penalty, 100)
    return Case(f"digits × {times}, {dtype}", [weights, bias], loss, data, penalty, 100)


def burgers(depth: int, dtype: str, points: int) -> Case:
    parameters = layers([2, *[20] * depth, 1], dtype)
    random = np.random.default_rng(0)
    places = tf.constant(random.uniform([-1, 0], [1, 1], (points, 2)), dtype)
    known = tf.constant(random.uniform([-1, 0], [1, 0], (100, 2)), dtype)
    values = -tf.sin(np.pi * known[:, :1])

    def network(x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        hidden = tf.concat([x, 2 * t - 1], 1)
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            hidden = tf.tanh(hidden @ weight + bias)
        return hidden @ parameters[-2] + parameters[-1]

    def residual(places: tf.Tensor) -> tf.Tensor:
        x, t = places[:, :1], places[:, 1:]
        with tf.GradientTape() as second:
            second.watch(x)
            with tf.GradientTape() as first:
                first.watch([x, t])
                u = network(x, t)
            u_x, u_t = first.gradient(u, [x, t])
        u_xx = second.gradient(u_x, x)
        return tf.reduce_mean((u_t + u * u_x - 0.01 / np.pi * u_xx) ** 2)

    penalty = lambda: tf.reduce_mean((network(known[:, :1], known[:, 1:]) - values) ** 2)  # noqa: E731
    return Case(f"Burgers {depth} × 20, {dtype}", parameters, residual, (places,), penalty)


def keras_network(rows: int) -> Case:
    import keras

    keras.utils.set_random_seed(0)
    dense = [keras.layers.Dense(64, "tanh"), keras.layers.Dense(32, "tanh"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((64,)), *dense])
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 64)).astype("float32")
    data = tf.constant(x), tf.constant((x @ random.normal(size=(64, 10))).argmax(1))
    variables = [variable.value for variable in model.trainable_variables]
    return Case("Keras network, float32", variables, lambda x, y: cross_entropy(y, model(x)), data)


def variational(rows: int) -> Case:
    """A logistic regression by mean-field variational inference, with 8 draws of noise that stay the same."""
    random = np.random.default_rng(0)
    features, draws = 20, 8
    x = random.normal(size=(rows, features))
    labels = (random.uniform(size=rows) < 1 / (1 + np.exp(-x @ np.linspace(-1, 1, features)))).astype(float)
    noise = tf.constant(random.normal(size=(features, draws)))
    mean, log_scale = tf.Variable(tf.zeros(features, tf.float64)), tf.Variable(tf.zeros(features, tf.float64) - 2)

    def loss(x: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        logits = x @ (mean[:, None] + tf.exp(log_scale)[:, None] * noise)
        label = tf.broadcast_to(label[:, None], tf.shape(logits))
        return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(label, logits)) / draws

    def divergence() -> tf.Tensor:
        return 0.5 * tf.reduce_sum(tf.exp(2 * log_scale) + mean**2 - 1 - 2 * log_scale)

    data = tf.constant(x), tf.constant(labels)
    return Case(f"variational fit, {rows}", [mean, log_scale], loss, data, divergence, 30, "sum")


def gaussian_process(kind: str, points: int, inducing: int) -> Case:
    """A model of GPflow: GPR and SGPR for a regression, VGP and SVGP for a classification."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gpflow

    random = np.random.default_rng(0)
    x = np.sort(random.uniform(0, 10, (points, 1)), axis=0)
    y = np.sin(2 * x) + 0.3 * x + 0.1 * random.normal(size=(points, 1))
    labels = (y > 1.5).astype(float)
    kernel, places = gpflow.kernels.SquaredExponential(), np.linspace(0, 10, inducing)[:, None]
    data: tuple[Any, ...] = ()
    penalty, reduction = None, "mean"
    if kind == "GPR":
        model = gpflow.models.GPR((x, y), kernel, noise_variance=0.5)
    elif kind == "SGPR":
        model = gpflow.models.SGPR((x, y), kernel, places, noise_variance=0.5)
    elif kind == "VGP":
        model = gpflow.models.VGP((x, labels), kernel, gpflow.likelihoods.Bernoulli())
    else:
        model = gpflow.models.SVGP(kernel, gpflow.likelihoods.Bernoulli(), places, num_data=points)
        data, penalty, reduction = (tf.constant(x), tf.constant(labels)), model.prior_kl, "sum"

    def sum_over(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        mean, variance = model.predict_f(x, full_cov=False, full_output_cov=False)
        return -tf.reduce_sum(model.likelihood.variational_expectations(x, mean, variance, y))

    # Their closure takes the data as one argument; the compiled function of a closure is kept by both optimisers.
    closure = functools.partial(model.training_loss, data) if data else model.training_loss
    variables = list(model.trainable_variables)
    optimizer = gpflow.optimizers.Scipy()

    def own(iterations: int) -> Any:
        return optimizer.minimize(closure, variables, options={"maxiter": iterations, "maxfun": 100 * iterations})

    name = f"{kind}, {points}" + ("" if kind in ("GPR", "VGP") else f" with {inducing}")
    return Case(name, variables, sum_over if data else closure, data, penalty, 15, reduction, own)
