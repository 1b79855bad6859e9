"""Decorated, bound and partial functions: `minimize` treats them as `tf.function` does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm

TARGET = 3.0


@tf.custom_gradient
def custom(x: tf.Tensor) -> Any:
    """A decorated loss; undecorated, it also returns a function and has no gradient."""
    rest = tf.stop_gradient(x) - TARGET
    return tf.reduce_sum(rest**2), lambda upstream: upstream * 2.0 * rest


def plain(x: tf.Tensor) -> tf.Tensor:
    if tf.reduce_sum(x) > 1e6:  # for AutoGraph
        return tf.reduce_sum(x)
    return tf.reduce_sum((x - TARGET) ** 2)


def pulled_down(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Adds a term that moves the minimum by -1."""

    @functools.wraps(fun)
    def wrapper(x: tf.Tensor) -> tf.Tensor:
        return fun(x) + 2.0 * tf.reduce_sum(x)

    return wrapper


class Model(tf.Module):
    def __init__(self) -> None:
        super().__init__(name="named_model")
        self.scopes: list[str] = []

    @tf.Module.with_name_scope
    def scoped(self, x: tf.Tensor) -> tf.Tensor:
        self.scopes.append(tf.compat.v1.get_default_graph().get_name_scope())
        return plain_without_branch(x)

    @tf.Module.with_name_scope
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return plain_without_branch(x)

    def method(self, x: tf.Tensor) -> tf.Tensor:
        return plain(x)

    @tf.function(jit_compile=True)
    def compiled(self, x: tf.Tensor) -> tf.Tensor:
        if tf.reduce_sum(x) > 1e6:
            return tf.reduce_sum(x)
        return tf.reduce_sum((x - TARGET) ** 2)


def plain_without_branch(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - TARGET) ** 2)


def shifted(target: float, x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - target) ** 2)


model = Model()
unconverted = tf.autograph.experimental.do_not_convert
LOSSES: dict[str, tuple[Callable[..., Any], float]] = {
    "custom_gradient": (custom, TARGET),
    "with_name_scope": (model.scoped, TARGET),
    "an object whose call has a name scope": (model, TARGET),
    "a method": (model.method, TARGET),
    "a method that XLA compiles": (model.compiled, TARGET),
    "partial": (functools.partial(shifted, TARGET), TARGET),
    "partial of custom_gradient": (functools.partial(custom), TARGET),
    "recompute_grad": (tf.recompute_grad(plain_without_branch), TARGET),
    "do_not_convert of custom_gradient": (unconverted(custom), TARGET),
    "wraps": (pulled_down(plain), TARGET - 1),
    "wraps of custom_gradient": (pulled_down(custom), TARGET - 1),
    "wraps of with_name_scope": (pulled_down(model.scoped), TARGET - 1),
    "wraps of what XLA compiles": (pulled_down(model.compiled), TARGET - 1),
    "wraps of wraps of do_not_convert": (pulled_down(pulled_down(unconverted(custom))), TARGET - 2),
    "tf.function of custom_gradient": (tf.function(custom), TARGET),
}
every_loss = pytest.mark.parametrize(("loss", "solution"), LOSSES.values(), ids=LOSSES)


@pytest.mark.slow
@every_loss
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("jit_compile", [None, True, False])
def test_decorated_loss_keeps_its_meaning(loss: Any, solution: float, dtype: str, jit_compile: bool | None) -> None:
    result = tfm.minimize(loss, np.zeros(3, dtype), jit_compile=jit_compile)
    np.testing.assert_allclose(result.x, solution, rtol=1e-4)


@pytest.mark.slow
@every_loss
def test_decorated_loss_in_a_graph(loss: Any, solution: float) -> None:
    found = tf.function(lambda: tfm.ops.minimize(loss, tf.zeros(3, tf.float64)).x)()
    np.testing.assert_allclose(found, solution, rtol=1e-6)


@pytest.mark.slow
@every_loss
def test_decorated_constraint(loss: Any, solution: float) -> None:
    fun = float(loss(tf.constant([solution], tf.float64)))
    constraint = {"type": "ineq", "fun": pulled_up(loss, 1.0 + fun)}
    result = tfm.minimize(lambda x: -tf.reduce_sum(x), np.zeros(1), method="SLSQP", constraints=constraint)
    np.testing.assert_allclose(result.x, solution + 1, rtol=1e-5)


def pulled_up(fun: Callable[..., Any], limit: float) -> Callable[..., Any]:
    @functools.wraps(fun)
    def wrapper(x: tf.Tensor) -> tf.Tensor:
        return limit - fun(x)

    return wrapper


def decorated_closures() -> tuple[tf.Variable, list[Callable[[], Any]]]:
    v = tf.Variable([0.0, 0.0])

    @tf.custom_gradient
    def inner() -> Any:
        return tf.reduce_sum((v - TARGET) ** 2), lambda upstream, variables: ([], [upstream * 2.0 * (v - TARGET)])

    @functools.wraps(inner)
    def outer() -> tf.Tensor:
        return inner() * 2.0

    return v, [inner, outer, functools.partial(inner), unconverted(outer)]


@pytest.mark.slow
@pytest.mark.parametrize("i", range(4))
def test_decorated_loss_of_variables_in_every_entry_point(i: int) -> None:
    v, losses = decorated_closures()
    loss = losses[i]
    solves: list[Callable[[], Any]] = [
        lambda: tfm.minimize(loss, v),
        lambda: tfm.Minimizer(loss, v).minimize(),
        lambda: tfm.minimize(loss, v, method="CG"),
        lambda: tfm.ops.minimize(loss, v),
        lambda: tfm.ScipyOptimizerInterface(loss, var_list=[v]).minimize(),
        lambda: tfm.ScipyOptimizerInterface(loss).minimize(),
        lambda: tfm.math.minimize(loss, 20, tfm.LBFGSB(), trainable_variables=[v]),
        lambda: tfm.math.minimize(loss, 50, tf.keras.optimizers.SGD(0.2), trainable_variables=[v]),
    ]
    for solve in solves:
        v.assign([0.0, 0.0])
        solve()
        np.testing.assert_allclose(v.numpy(), TARGET, rtol=1e-3)


def test_name_scope_is_kept() -> None:
    model.scopes.clear()
    tfm.minimize(model.scoped, np.zeros(2))
    assert all("named_model" in name for name in model.scopes)
    assert model.scopes


def test_decorated_functions_stay_as_they_are() -> None:
    before = custom.__wrapped__
    tfm.minimize(pulled_down(custom), np.zeros(2))
    assert custom.__wrapped__ is before


def test_decorator_in_a_batch() -> None:
    batch = tfm.Minimizer(pulled_down(custom), np.zeros(2)).minimize_batch(np.zeros((3, 2)))
    np.testing.assert_allclose(batch.x, TARGET - 1, rtol=1e-6)
