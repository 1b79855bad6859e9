"""Errors about the user's functions name the function, the variable or the constraint, and the remedy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm


def loss_of_two(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - a) ** 2)


class Loss:
    def __call__(self, x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        return loss_of_two(x, a)


@pytest.mark.parametrize(
    ("fun", "name"),
    [
        (loss_of_two, r"loss_of_two\(x: .*, a: .*\)"),
        (tf.function(loss_of_two), r"loss_of_two\(x: .*, a: .*\)"),
        (tf.function(loss_of_two, jit_compile=True), r"loss_of_two\(x: .*, a: .*\)"),
        (lambda x, a: loss_of_two(x, a), r"<lambda>\(x, a\)"),
        (Loss(), r"Loss\(x: .*, a: .*\)"),
        (functools.partial(loss_of_two), r"partial\(x: .*, a: .*\)"),
    ],
)
def test_wrong_number_of_arguments_shows_the_signature(fun: Any, name: str) -> None:
    for solve in (tfm.minimize, tfm.ops.minimize):
        with pytest.raises(TypeError, match=f"fun is {name}.*, but is called as .*float64 tensor of shape .3,.*'a'"):
            solve(fun, np.ones(3))


def test_wrong_number_of_arguments_of_a_constraint_shows_its_signature() -> None:
    with pytest.raises(TypeError, match=r"constraint is loss_of_two\(x"):
        tfm.minimize(
            lambda x: tf.reduce_sum(x**2), np.ones(3), method="SLSQP", constraints={"type": "eq", "fun": loss_of_two}
        )


def test_wrong_number_of_arguments_of_an_inner_call_names_the_inner_function() -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:
        return loss_of_two(x)  # type: ignore[call-arg]

    with pytest.raises(TypeError, match=r"^loss_of_two\(\) missing 1 required positional argument: 'a'") as caught:
        tfm.minimize(loss, np.ones(3))
    assert "outer_factory" not in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_type_error_of_the_function_itself_comes_through() -> None:
    def loss(x: tf.Tensor) -> tf.Tensor:
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine\b"):
        tfm.minimize(loss, np.ones(3))


@pytest.mark.parametrize(
    "solve",
    [
        tfm.minimize,
        tfm.ops.minimize,
        lambda loss, v: tfm.minimize(loss, v, method="SLSQP"),
        lambda loss, v: tfm.minimize(
            lambda: tf.reduce_sum(v**2), v, method="SLSQP", constraints={"type": "ineq", "fun": loss}
        ),
        lambda loss, v: tfm.ScipyOptimizerInterface(loss, var_list=[v], method="CG").minimize(),
        lambda loss, v: tfm.math.minimize(loss, 3, tfm.LBFGSB(), trainable_variables=[v]),
        lambda loss, v: tfm.math.minimize(loss, 3, tf.keras.optimizers.SGD(0.1), trainable_variables=[v]),
    ],
)
def test_custom_gradient_of_a_wrong_shape_names_the_variable_and_both_shapes(solve: Callable[..., Any]) -> None:
    v = tf.Variable([1.0, 2.0, 3.0], name="weights")

    @tf.custom_gradient
    def loss() -> Any:
        return tf.reduce_sum(v**2), lambda upstream, variables: ([], [upstream * 2.0 * v[:2]])

    with pytest.raises(ValueError, match=r"by variable 'weights:0' has shape \(2,\), but .* has shape \(3,\)"):
        solve(loss, v)


def test_custom_gradient_of_a_wrong_shape_names_the_leaf() -> None:
    @tf.custom_gradient
    def part(x: tf.Tensor) -> Any:
        return tf.reduce_sum(x**2), lambda upstream: upstream * 2.0 * x[:2]

    with pytest.raises(ValueError, match=r"by x0\['a'\] has shape \(2,\), but x0\['a'\] has shape \(3,\)"):
        tfm.minimize(lambda x: part(x["a"]) + x["b"], {"a": np.ones(3), "b": 1.0})


def test_loop_over_a_data_set_has_no_gradient_and_a_remedy() -> None:
    rows = tf.data.Dataset.from_tensor_slices(np.arange(6.0)).batch(2)
    batches = list(rows)

    def loss_over(data: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        def loss(x: tf.Tensor) -> tf.Tensor:
            total = tf.constant(0.0, tf.float64)
            for row in data:
                total += tf.reduce_sum((row - x) ** 2)
            return total

        return loss

    with pytest.raises(ValueError, match=r"no gradient of a loop over a tf.data.Dataset: make batches = list"):
        tfm.minimize(loss_over(rows), 0.0)
    assert tfm.minimize(loss_over(batches), 0.0).x == pytest.approx(2.5)
    with pytest.raises(ValueError, match=r"integer casts\.$"):
        tfm.minimize(lambda x: tf.constant(1.0), 0.0)


def growing(after: int) -> Callable[[Any], Any]:
    """A constraint that has one more value from a certain call on."""
    calls = []

    def constraint(x: Any) -> Any:
        calls.append(None)
        return np.ones(2 + (len(calls) > after)) * x[0]

    return constraint


@pytest.mark.parametrize("after", [1, 2, 3, 5])
@pytest.mark.parametrize("form", ["dict", "NonlinearConstraint"])
def test_constraint_that_changes_its_size_is_named(after: int, form: str) -> None:
    fun = growing(after)
    constraint: Any = {"type": "ineq", "fun": fun}
    if form == "NonlinearConstraint":
        constraint = scipy.optimize.NonlinearConstraint(fun, 0.0, np.inf)
    with pytest.raises(ValueError, match="constraint 0 returned 3 values, but 2 at the start"):
        scipy.optimize.minimize(lambda x: np.sum(x**2), np.ones(2), method=tfm.scipy.slsqp, constraints=[constraint])
