"""Tells Keras's callbacks about a solve: an epoch is an iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfminimize._graph.optimizers import NativeOptimizer
from tfminimize._keras import private
from tfminimize._keras.data import ValidationData
from tfminimize._keras.metrics import flat, plain
from tfminimize._keras.sharing import SharedStates
from tfminimize._problem.callback import UserCallback, tell_end
from tfminimize._problem.result import OptimizeResult
from tfminimize._problem.state import State

__all__ = ["Epochs", "divided"]

NOTHING = np.zeros(0)
"""The sums of a loss without any."""

_WRITERS = tuple(
    getattr(keras.callbacks, name)
    for name in (
        *("BackupAndRestore", "CSVLogger", "ModelCheckpoint", "ProgbarLogger", "TensorBoard"),
        "OrbaxCheckpoint",  # from Keras 3.12 on
    )
    if hasattr(keras.callbacks, name)
)
"""Callbacks that write files, or to the terminal."""

_RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def divided(callbacks: Any, *, may_write: bool = True) -> tuple[Any, list[Callable[..., Any]]]:
    """Keras's callbacks, and those of the solver such as `tfminimize.Checkpoint`.

    Unless one ``may_write``, those that write files or the progress bar are left out.

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
    taken = [c for c in given if may_write or not (isinstance(c, _WRITERS) or getattr(c, "writes_files", False))]
    if isinstance(callbacks, keras.callbacks.CallbackList) and not solvers_own and len(taken) == len(given):
        return callbacks, []
    return [c for c in taken if c not in solvers_own], [c for c in taken if c in solvers_own]


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
    shared : SharedStates, optional
        The metrics of the validation. If given, a call only begins the end of the epoch: `finish` comes once all
        processes have added these up.

    Attributes
    ----------
    epoch : int
        The present one.
    logs : dict or None
        Those of the last epoch.
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
        shared: SharedStates | None = None,
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
        self._shared = shared
        self._ending: dict[str, Any] = {}
        self.logs: dict[str, Any] | None = None
        self._stops = False

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
        self._ending = logs
        if self._validates:
            logs |= self._validate()
        stops = [callback.pass_on(intermediate_result) for _, callback in self._others]
        self._stops = any(stops)
        if self._shared is None and self.finish():
            raise StopIteration

    def finish(self) -> bool:
        """Tell Keras's callbacks that the epoch has ended; return whether the solve is to end."""
        logs = self._ending
        if self._shared is not None and self._validates:
            self._shared.assign()
            logs |= _as_validation(plain(flat(self._model.get_metrics_result())))
        self._callbacks.on_epoch_end(self.epoch, logs)
        self.logs = logs
        self.epoch += 1
        if isinstance(self._model.optimizer, NativeOptimizer):
            self._model.optimizer.iterations = self.epoch
        is_last = self._is_last(logs["loss"])
        return bool(self._model.stop_training) or self._stops or is_last

    def on_end(self, state: State, error: BaseException | None) -> None:
        """Tell the callbacks of the solver that want to know it."""
        for other, _ in self._others:
            tell_end(other, lambda: state, error)

    def report_start(self, loss: float) -> None:
        """End the batch of a solve that could not make an iteration, because of its loss there."""
        self._callbacks.on_train_batch_end(0, {"loss": loss})

    @property
    def _validates(self) -> bool:
        """Whether there is a validation after this epoch."""
        if self._validation is None:
            return False
        return private.should_validate(self._model, self.epoch, self._validation_freq)

    def _validate(self) -> dict[str, float]:
        """The results of the validation; none yet if other processes have a share in it."""
        validation, shared = self._validation, self._shared
        assert validation is not None
        logs: dict[str, float] = {}
        if shared is None or not validation.is_empty:
            logs = self._model.evaluate(
                validation.batches, steps=validation.steps, callbacks=self._callbacks, verbose=0, return_dict=True
            )
        if shared is None:
            return _as_validation(logs)
        if validation.is_empty:
            self._model.reset_metrics()
        shared.take()
        return {}


def _as_validation(logs: dict[str, Any]) -> dict[str, Any]:
    return {f"val_{name}": value for name, value in logs.items()}
