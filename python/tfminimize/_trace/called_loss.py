"""Calls a loss over a data set outside of a solve, such that a tape takes its gradient batch by batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._tf import private
from tfminimize._trace.checks import dense, scalar
from tfminimize._trace.recent import Recent
from tfminimize._trace.user_function import inside_trace, takes

__all__ = ["call", "clear"]


def call(batch_sum: Any, args: tuple[Any, ...]) -> tf.Tensor:
    """Evaluate a `BatchSum`, whose data come first in ``args``."""
    arguments = Arguments(args, None)
    if not tf.executing_eagerly():  # what it captures may belong to this graph
        return _CalledLoss(batch_sum, arguments)(arguments.tensors)
    key = (batch_sum, arguments.key)
    try:
        hash(key)
    except TypeError:
        return _CalledLoss(batch_sum, arguments)(arguments.tensors)
    return _recent.get(key, lambda: _CalledLoss(batch_sum, arguments))(arguments.tensors)


def clear() -> None:
    """Drop the functions that calls have traced."""
    _recent.clear()


class _CalledLoss:
    """A loss over a data set as a TensorFlow function, with a gradient that keeps no batch.

    TensorFlow's own gradient of a loop keeps what every round has computed. Here a tape gets the gradient from a second
    loop over the batches, which adds up their gradients. It is by all inputs of floats but the data: the arguments, and
    the variables and tensors that the functions capture.
    """

    def __init__(self, batch_sum: Any, arguments: Arguments) -> None:
        called = inside_trace(batch_sum.fun, True)
        self._sum = batch_sum._replace(
            fun=lambda *args: batch_sum.parted(called(*args))[0],
            penalty=_penalty(batch_sum, arguments),
            has_sums=False,
        )
        self._rebuild = arguments.rebuilder()
        self._num_data = len(tf.nest.flatten(arguments.first, expand_composites=True))
        self._specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in arguments.tensors]
        self._value = self._traced(self._values)
        self._variables = {id(v.handle): v for v in self._value.graph.variables}
        self._derivatives: tuple[Any, list[bool]] | None = None

    def __call__(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        def gradient(upstream: tf.Tensor) -> list[tf.Tensor | None]:
            return self._gradient(inputs, upstream)

        for variable in self._variables.values():
            private.variable_accessed(variable)
        captured = self._value.captured_inputs
        return private.with_gradient(lambda: self._value(*inputs), gradient, [*inputs, *captured], in_graphs=True)

    def _gradient(self, inputs: list[tf.Tensor], upstream: tf.Tensor) -> list[tf.Tensor | None]:
        """Return the gradients by the inputs and by the captured tensors; None for those without."""
        if self._derivatives is None:
            is_used: list[bool] = []
            self._derivatives = (self._traced(lambda *inputs: self._sums_of_gradients(inputs, is_used)), is_used)
        function, is_used = self._derivatives
        found = zip(function(*inputs), is_used, strict=True)
        gradients: list[tf.Tensor | None] = []
        for source in self._sources(inputs):
            total, used = (None, False) if source is None else next(found)
            gradients.append(tf.cast(upstream * total, source.dtype) if used else None)
        return gradients

    def _traced(self, function: Callable[..., Any]) -> Any:
        with private.recording():
            return tf.function(function, autograph=False).get_concrete_function(*self._specs)

    def _values(self, *inputs: tf.Tensor) -> tf.Tensor:
        data, *args = self._rebuild(inputs)

        def term(fun: Callable[..., Any], batch: tuple[Any, ...]) -> list[tf.Tensor]:
            return [self._scalar(fun, (*args, *batch))]

        (value,) = self._sum.evaluate(data, term, (), [tf.TensorShape([])])
        return value

    def _scalar(self, fun: Callable[..., Any], args: tuple[Any, ...]) -> tf.Tensor:
        return scalar(fun(*args)) if fun is self._sum.fun else scalar(fun(*args), "the penalty", "penalty")

    def _sums_of_gradients(self, inputs: Sequence[tf.Tensor], is_used: list[bool]) -> list[tf.Tensor]:
        """Return the gradients by all sources in float64; ``is_used`` becomes whether the loss depends on each."""
        data, *_ = self._rebuild(inputs)
        shapes = [
            s.shape if s.shape.is_fully_defined() else tf.shape(s) for s in self._sources(inputs) if s is not None
        ]
        is_used[:] = [False] * len(shapes)

        def term(fun: Callable[..., Any], batch: tuple[Any, ...]) -> list[tf.Tensor]:
            # A tape in the body of a loop sees tensors of the body only.
            inside = [tf.identity(tensor) for tensor in inputs[self._num_data :]]
            _, *args = self._rebuild([*inputs[: self._num_data], *inside])
            found = self._sources([*inputs[: self._num_data], *inside], tf.compat.v1.get_default_graph().capture)
            sources = [source for source in found if source is not None]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(sources)
                loss = self._scalar(fun, (*args, *batch))
            gradients = tape.gradient(loss, sources)
            is_used[:] = [used or g is not None for used, g in zip(is_used, gradients, strict=True)]
            return [
                tf.zeros_like(source) if gradient is None else dense(gradient, source, "an input")
                for gradient, source in zip(gradients, sources, strict=True)
            ]

        totals: list[tf.Tensor] = self._sum.evaluate(data, term, (), shapes)
        return totals

    def _sources(
        self, inputs: Sequence[tf.Tensor], inside: Callable[[tf.Tensor], tf.Tensor] = lambda tensor: tensor
    ) -> list[Any]:
        """Return what the gradient is by for each input and captured tensor, itself or its variable; or None."""
        captured = [self._variables.get(id(t), t) for t in self._value.captured_inputs]
        captured = [inside(t) if isinstance(t, tf.Tensor) and t.dtype.is_floating else t for t in captured]
        everything = [*(None for _ in range(self._num_data)), *inputs[self._num_data :], *captured]
        return [one if one is not None and one.dtype.is_floating else None for one in everything]


def _penalty(batch_sum: Any, arguments: Arguments) -> Callable[..., Any] | None:
    """The penalty as a function of all arguments."""
    penalty = batch_sum.penalty
    if penalty is None:
        return None
    called = inside_trace(penalty, True, "penalty")
    takes_x = arguments.count > 1 and _takes_x(penalty)
    return lambda *args: called(*args[: int(takes_x)])


def _takes_x(penalty: Callable[..., Any]) -> bool:
    """Whether a penalty is one in functional use, which gets x; for variables it gets nothing."""
    try:
        signature = inspect.signature(penalty)
    except (TypeError, ValueError):  # a builtin without a signature
        return True
    can_do_without, can_take_x = takes(signature, 0), takes(signature, 1)
    if can_do_without and can_take_x:
        name = getattr(penalty, "__name__", type(penalty).__name__)
        raise TypeError(
            f"penalty is {name}{signature}, which can be called with x and without: a call of the loss with arguments "
            "cannot know which is meant. Let it need x (or, for variables, take no arguments)."
        )
    return not can_do_without


_recent: Recent[_CalledLoss] = Recent(8)
