from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import keras
import pytest
import tensorflow as tf

import tfminimize as tfm
from tfminimize._trace.stand_ins import in_host_memory


def test_module_as_start_is_an_error_that_names_trainable_variables(tensorflow_probability: ModuleType) -> None:
    transformed = tensorflow_probability.util.TransformedVariable(1.0, tensorflow_probability.bijectors.Softplus())
    for x0 in (transformed, [transformed], tf.Module(), keras.layers.Dense(1)):
        with pytest.raises(ValueError, match="give its trainable_variables"):
            tfm.minimize(lambda: 0.0, x0)
    with pytest.raises(ValueError, match="of a module or a model its trainable_variables"):
        tfm.minimize(lambda: 0.0, [tf.Variable(1.0), transformed])


def test_keras_tensor_as_start_is_an_error_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="which cannot be optimised"):
        tfm.minimize(lambda x: x, keras.Input((2,)))


def test_mixed_keys_in_args_are_an_error_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="args has a dict whose keys cannot be sorted"):
        tfm.minimize(lambda x, d: x, 1.0, args=({1: 2.0, "a": 3.0},))


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.Variable([2.0], constraint=tf.nn.relu),
        lambda: keras.layers.Dense(1, kernel_constraint="non_neg"),
    ],
    ids=["tf", "keras"],
)
def test_constraint_of_a_variable_is_warned_of_once(make: Any) -> None:
    made = make()
    variable = made
    if isinstance(made, keras.layers.Layer):
        made.build((None, 1))
        variable = made.kernel
    with pytest.warns(UserWarning, match="has a constraint=.*it is ignored"):
        tfm.minimize(lambda: tf.reduce_sum((variable - 1.0) ** 2), [variable])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfm.minimize(lambda: tf.reduce_sum((variable - 1.0) ** 2), [variable])


@pytest.mark.parametrize(
    ("device", "is_host"),
    [
        ("/job:localhost/replica:0/task:0/device:CPU:0", True),
        ("/device:CPU:0", True),
        ("/job:ps/replica:0/task:0/device:CPU:0", False),
        ("/job:localhost/replica:0/task:1/device:CPU:0", False),
        ("/job:localhost/replica:0/task:0/device:CPU:1", False),
        ("", False),
    ],
)
def test_memory_of_another_process_is_not_the_hosts(device: str, is_host: bool) -> None:
    class Variable:
        pass

    variable: Any = Variable()
    variable.device = device
    assert in_host_memory(variable) is is_host
