"""Tells Keras's callbacks about a solve: an epoch is an iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfminimize._graph.optimizers import NativeOptimizer
from tfminimize._keras import private
from tfminimize._keras.data import ValidationData
from tfminimize._problem.callback import UserCallback, tell_end
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.state import State

__all__ = ["Epochs", "divided"]

NOTHING = np.zeros(0)
"""The sums of a loss without any."""

_RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def divided(callbacks: Any) -> tuple[Any, list[Callable[..., Any]]]:
    """Keras's callbacks, and those of the solver such as `tfminimize.Checkpoint`.

    Raises
    ------
    ValueError
        For one that is neither, or that has no meaning here.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        given = callbacks.callbacks
    else:
        given = [c for c in keras.tree.flatten(callbacks) if c is not None]
    solvers_own = [c for c in given if not isinstance(c, keras.callbacks.Callback)]
    for callback in given:
        if isinstance(callback, _RATES):
            raise ValueError(
                f"{type(callback).__name__} sets the learning rate, and L-BFGS-B, SLSQP and BFGS have none: a line "
                "search finds the step of each iteration. Leave it out."
            )
        if isinstance(callback, keras.callbacks.SwapEMAWeights):
            raise ValueError(
                "SwapEMAWeights needs an optimizer that averages the weights (use_ema=True), and L-BFGS-B, SLSQP and "
                "BFGS do not: leave it out."
            )
    for callback in solvers_own:
        if not callable(callback):
            raise ValueError(
                f"callbacks has a {type(callback).__name__}: give keras.callbacks.Callback objects, or a "
                "tfminimize.Checkpoint."
            )
    if isinstance(callbacks, keras.callbacks.CallbackList) and not solvers_own:
        return callbacks, []
    return [c for c in given if isinstance(c, keras.callbacks.Callback)], solvers_own


class Epochs:
    """The callback of the solve: it ends an epoch and begins the next.

    Parameters
    ----------
    model : keras.Model
        Its weights are those of the iterate.
    callbacks : keras.callbacks.CallbackList
    others : sequence of callable
        Callbacks of the solver.
    epoch : int
        The first epoch.
    last : int
        There are no epochs from this one on.
    measure : callable
        Takes the iterate and the sums of the last evaluation, assigns them, and returns the metrics as a dict.
    is_last : callable
        Takes the loss; returns whether the solve is to end for its sake.

    Attributes
    ----------
    epoch : int
        The present one.
    logs : dict or None
        Those of the last epoch.
    was_stopped : bool
        Whether the model's ``stop_training``, or a callback of the solver, has ended the solve.
    """

    def __init__(
        self,
        model: keras.Model,
        callbacks: keras.callbacks.CallbackList,
        others: Sequence[Callable[..., Any]],
        *,
        epoch: int,
        last: int,
        measure: Callable[[Any, Any], dict[str, Any]],
        is_last: Callable[[float], bool],
        validation: ValidationData | None,
        validation_freq: Any,
    ) -> None:
        self._model = model
        self._callbacks = callbacks
        self._others = [(other, UserCallback(other)) for other in others]
        self.epoch = epoch
        self._last = last
        self._measure = measure
        self._is_last = is_last
        self._validation = validation
        self._validation_freq = validation_freq
        self.logs: dict[str, Any] | None = None
        self.was_stopped = False

    def on_iteration_begin(self) -> None:
        """Begin an epoch. If the solver finds no further iterate, it does not end."""
        if self.epoch < self._last:
            self._callbacks.on_epoch_begin(self.epoch)
            self._callbacks.on_train_batch_begin(0)

    def __call__(self, intermediate_result: OptimizeResult) -> None:
        """End the epoch at the iterate."""
        loss = float(intermediate_result.fun)
        logs = {**self._measure(intermediate_result.x, intermediate_result.get("sums", NOTHING)), "loss": loss}
        self._callbacks.on_train_batch_end(0, dict(logs))
        if self._validation is not None and private.should_validate(self._model, self.epoch, self._validation_freq):
            logs |= self._validate(self._validation)
        self._callbacks.on_epoch_end(self.epoch, logs)
        self.logs = logs
        self.epoch += 1
        if isinstance(self._model.optimizer, NativeOptimizer):
            self._model.optimizer.iterations = self.epoch
        stops = [callback.pass_on(intermediate_result) for _, callback in self._others]
        self.was_stopped = bool(self._model.stop_training) or any(stops)
        if self.was_stopped or self._is_last(loss):
            raise StopIteration

    def on_end(self, state: State, error: BaseException | None) -> None:
        """Tell the callbacks of the solver that want to know it."""
        for other, _ in self._others:
            tell_end(other, lambda: state, error)

    def report_start(self, loss: float) -> None:
        """End the batch of a solve that could not make an iteration, because of its loss there."""
        self._callbacks.on_train_batch_end(0, {"loss": loss})

    def _validate(self, validation: ValidationData) -> dict[str, float]:
        logs = self._model.evaluate(
            validation.batches, steps=validation.steps, callbacks=self._callbacks, verbose=0, return_dict=True
        )
        return {f"val_{name}": value for name, value in logs.items()}
