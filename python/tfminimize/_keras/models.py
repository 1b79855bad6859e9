"""Model and Sequential: Keras's, with fits by L-BFGS-B, SLSQP and BFGS."""

from __future__ import annotations

from typing import Any

import keras

from tfminimize._graph.optimizers import NativeOptimizer
from tfminimize._keras import private

__all__ = ["Model", "Sequential"]

_serializable = keras.saving.register_keras_serializable("tfminimize")

_JIT_COMPILE = 6
"""Its place among the arguments of `keras.Model.compile`, after the optimizer."""

for _kind in NativeOptimizer.__subclasses__():
    _serializable(_kind)


class _Fitted:
    """What `Model` and `Sequential` change about Keras's; nothing unless the optimizer is one of tfminimize."""

    def compile(self, optimizer: Any = "rmsprop", *args: Any, **kwargs: Any) -> None:
        """Configure the model, as in Keras; ``optimizer`` may also be `tfminimize.LBFGSB`, `SLSQP` or `BFGS`."""
        is_native = isinstance(optimizer, NativeOptimizer)
        super().compile(None if is_native else optimizer, *args, **kwargs)  # type: ignore[misc]
        self._given_jit_compile = kwargs.get("jit_compile", args[_JIT_COMPILE] if len(args) > _JIT_COMPILE else "auto")
        if is_native:
            self.optimizer = optimizer
            self._compile_config.config["jit_compile"] = self._given_jit_compile  # type: ignore[attr-defined]
            self._compile_config.config["optimizer"] = optimizer  # type: ignore[attr-defined]

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded model as it was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def make_train_function(self, force: bool = False) -> Any:
        """Refuse steps on single batches, which these optimizers cannot take."""
        if isinstance(self.optimizer, NativeOptimizer):
            raise ValueError(
                f"{type(self.optimizer).__name__} takes its steps on all data, not on single batches: call fit(), or "
                "compile the model with an optimizer of Keras."
            )
        return super().make_train_function(force)  # type: ignore[misc]

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Fit the model: by Keras, or by `tfminimize.keras.fit` if the optimizer is one of tfminimize.

        The arguments are Keras's. With an optimizer of tfminimize, an epoch is an iteration over all data, ``shuffle``
        has no effect, and there is ``state=`` too.
        """
        options = {
            "batch_size": batch_size,
            "epochs": epochs,
            "verbose": verbose,
            "callbacks": callbacks,
            "validation_split": validation_split,
            "validation_data": validation_data,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "initial_epoch": initial_epoch,
            "validation_steps": validation_steps,
            "validation_batch_size": validation_batch_size,
            "validation_freq": validation_freq,
            **kwargs,
        }
        if not self.compiled or not isinstance(self.optimizer, NativeOptimizer):  # type: ignore[attr-defined]
            options |= {"shuffle": shuffle, "steps_per_epoch": steps_per_epoch}
            return super().fit(x, y, **options)  # type: ignore[misc]
        if steps_per_epoch is not None:
            raise ValueError(
                f"steps_per_epoch is {steps_per_epoch}, but {type(self.optimizer).__name__} takes its steps on all "
                "data: leave it out, and end a long tf.data.Dataset by .take(n)."
            )
        from tfminimize._keras.fit import fit  # imports SciPy's optimizers

        return fit(self, x, y, **options)


@_serializable
class Model(_Fitted, keras.Model):  # type: ignore[misc]
    """`keras.Model`, which can be compiled with `tfminimize.LBFGSB`, `SLSQP` or `BFGS`.

    Make it from inputs and outputs, or subclass it, as in Keras. With an optimizer of Keras it is a `keras.Model`.

    Examples
    --------
    >>> import keras
    >>> inputs = keras.Input((2,))
    >>> model = tfm.keras.Model(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile(optimizer=tfm.LBFGSB(), loss="mse")
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> history = model.fit(X, X @ [1.0, 2.0] + 3.0, epochs=100, verbose=0)
    >>> model.layers[-1].bias.numpy().round(3)
    array([3.], dtype=float32)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make a model from inputs and outputs, or an empty one for a subclass."""
        return super().__new__(Functional if cls is Model and _has_inputs_and_outputs(args, kwargs) else cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _has_inputs_and_outputs(args, kwargs):
            _as_functional(type(self))
        super().__init__(*args, **kwargs)


@_serializable
class Functional(Model, private.functional()):  # type: ignore[misc]
    """A `Model` that is made from inputs and outputs."""


def _has_inputs_and_outputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether these are the arguments of a model that is made from inputs and outputs, by Keras's rule."""
    return len(args) == 2 or (len(args) == 1 and "outputs" in kwargs) or {"inputs", "outputs"} <= kwargs.keys()


def _as_functional(kind: type) -> type:
    """Put `Functional` in the place of `Model` among the bases of a subclass, as Keras does with its own."""
    if kind is Model:
        return Functional
    if issubclass(kind, Model) and not issubclass(kind, Functional):
        kind.__bases__ = tuple(map(_as_functional, kind.__bases__))
    return kind


@_serializable
class Sequential(_Fitted, keras.Sequential):  # type: ignore[misc]
    """`keras.Sequential`, which can be compiled with `tfminimize.LBFGSB`, `SLSQP` or `BFGS`.

    Examples
    --------
    >>> import keras
    >>> model = tfm.keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(optimizer=tfm.LBFGSB(maxcor=20), loss="mse")
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> history = model.fit(X, X @ [1.0, 2.0] + 3.0, epochs=100, verbose=0)
    >>> history.result.success
    True
    """
