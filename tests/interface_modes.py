"""The ways to use the interface, so that one test runs in sessions and in TensorFlow 2."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

import tfminimize as tfm

MODES = ("v1", "v1-reference", "tf2")
"""A graph with resource variables, one with reference variables, and eager mode."""


class Mode:
    """Hides the differences between a session and TensorFlow 2."""

    def __init__(self, name: str, dtype: str, session: Any = None) -> None:
        self.name = name
        self.dtype = dtype
        self.session = session

    def variable(self, value: Any, name: str | None = None) -> Any:
        value = np.asarray(value, self.dtype)
        if self.session is None:
            return tf.Variable(value, name=name)
        return tf.compat.v1.Variable(value, name=name, use_resource=self.name == "v1")

    def expression(self, function: Callable[[], tf.Tensor]) -> Any:
        """Return what the interface takes: a tensor of the graph, or the function that computes one."""
        return function if self.session is None else function()

    def key(self, variable: Any) -> Any:
        """Return the variable as a key for a dict."""
        return variable.ref() if self.session is None else variable

    def initialize(self) -> None:
        if self.session is not None:
            self.session.run(tf.compat.v1.global_variables_initializer())

    def minimize(self, optimizer: tfm.ExternalOptimizerInterface, **arguments: Any) -> Any:
        """Solve from the initial values of the variables."""
        self.initialize()
        return (
            optimizer.minimize(**arguments) if self.session is None else optimizer.minimize(self.session, **arguments)
        )

    def value(self, expression: Any) -> Any:
        """Return the value of a variable or an expression."""
        if self.session is not None:
            return self.session.run(expression)
        return (expression() if callable(expression) else expression).numpy()


@contextlib.contextmanager
def entered(name: str, dtype: str = "float64") -> Iterator[Mode]:
    if name == "tf2":
        yield Mode(name, dtype)
        return
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        yield Mode(name, dtype, session)
