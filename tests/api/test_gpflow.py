"""Trains a GPflow model with tfminimize and with GPflow's own optimiser."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

pytestmark = pytest.mark.slow


def make_model(gpflow: ModuleType) -> Any:
    """A model of 200 points of a noisy sine with a trend."""
    generator = np.random.default_rng(0)
    x = np.sort(generator.uniform(0.0, 10.0, (200, 1)), axis=0)
    y = np.sin(2.0 * x) + 0.3 * x + 0.1 * generator.normal(size=(200, 1))
    return gpflow.models.GPR((x, y), gpflow.kernels.SquaredExponential(), noise_variance=0.5)


@pytest.fixture
def model(gpflow: ModuleType) -> Any:
    return make_model(gpflow)


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS"])
def test_objective_is_that_of_gpflows_optimiser(gpflow: ModuleType, model: Any, method: str) -> None:
    theirs = make_model(gpflow)
    expected = gpflow.optimizers.Scipy().minimize(theirs.training_loss, theirs.trainable_variables, method=method)

    result = tfm.minimize(model.training_loss, model.trainable_variables, method=method)

    assert result.success
    assert result.fun == pytest.approx(expected.fun, abs=1e-6)
    assert model.training_loss().numpy() == pytest.approx(result.fun, abs=1e-9)
    for ours, other in zip(model.trainable_variables, theirs.trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), other.numpy(), rtol=1e-3)


def test_parameters_stay_in_their_ranges(model: Any) -> None:
    """The variables are unconstrained; GPflow transforms them to positive parameters."""
    tfm.minimize(model.training_loss, model.trainable_variables)
    for parameter in model.trainable_parameters:
        assert parameter.numpy() > 0


def test_interface_finds_the_variables_of_the_model(gpflow: ModuleType, model: Any) -> None:
    theirs = make_model(gpflow)
    expected = gpflow.optimizers.Scipy().minimize(theirs.training_loss, theirs.trainable_variables)

    result = tfm.ScipyOptimizerInterface(model.training_loss).minimize()

    assert result.fun == pytest.approx(expected.fun, abs=1e-6)
    np.testing.assert_allclose(model.predict_f(tf.zeros([1, 1], tf.float64))[0], [[0.0]], atol=0.2)


def test_model_without_gradient_with_respect_to_a_parameter_warns(gpflow: ModuleType, model: Any) -> None:
    unused = gpflow.Parameter(1.0)
    variables = [*model.trainable_variables, unused.unconstrained_variable]
    with pytest.warns(UserWarning, match="its gradient is taken as zero"):
        tfm.minimize(model.training_loss, variables)
    np.testing.assert_allclose(unused.numpy(), 1.0)
