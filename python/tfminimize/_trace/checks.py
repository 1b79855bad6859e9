"""What the user's functions may return and do: checks while they are traced, each with a sentence of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.parameters import Parameters
from tfminimize._tf.effects import GraphEffects, is_read_only

__all__ = [
    "about_datasets",
    "check_connected",
    "check_writes",
    "constraint_values",
    "dense",
    "scalar",
    "writes_error",
]


def scalar(loss: Any, name: str = "the loss") -> tf.Tensor:
    """The loss as a scalar tensor; a single element of any rank counts, as in SciPy."""
    if isinstance(loss, (tuple, list, dict)):
        raise ValueError(
            f"fun returned a {type(loss).__name__}: return the loss only, a real scalar tensor; "
            "the gradient is made by TensorFlow."
        )
    loss = _tensor(loss, "fun", "the loss, a real scalar tensor")
    if loss.dtype not in (tf.float64, tf.float32):
        raise ValueError(f"the loss has dtype {loss.dtype.name}: return a real scalar of dtype float64 or float32.")
    if not loss.shape.is_fully_defined():
        raise ValueError(
            f"{name} has shape {loss.shape}, which is not static: reduce it to a scalar, for example by "
            "tf.reduce_sum, or fix its shape by tf.ensure_shape(loss, [])."
        )
    if loss.shape.num_elements() != 1:
        shape = tuple(loss.shape.as_list())
        raise ValueError(f"{name} has shape {shape}, not that of a scalar: reduce it, for example by tf.reduce_sum.")
    return tf.reshape(loss, [])


def constraint_values(name: str, fun: Callable[..., Any], args: tuple[Any, ...]) -> tf.Tensor:
    """What a constraint function returns, as a real tensor of static shape."""
    try:
        value = fun(*args)
    except (AttributeError, NotImplementedError) as error:
        if not _is_numpy_on_a_tensor(error):
            raise
        raise ValueError(
            f"{name} has a function for NumPy arrays, but it gets tensors ({error}): write it with TensorFlow, such as "
            "tf.reduce_sum(x); or use scipy.optimize.minimize(..., method=tfminimize.scipy.slsqp) for NumPy functions."
        ) from error
    value = _tensor(value, f"the function of {name}", "the values, a real tensor")
    if value.dtype == tf.bool:
        raise ValueError(
            f"the function of {name} returned a comparison (dtype bool): return c(x) itself, which is to be zero, or "
            "zero or greater."
        )
    if value.dtype not in (tf.float64, tf.float32):
        raise ValueError(f"{name} has values of dtype {value.dtype.name}: return real ones, float64 or float32.")
    if not value.shape.is_fully_defined():
        raise ValueError(
            f"{name} has values of shape {value.shape}, which is not static: fix it by tf.ensure_shape, or return as "
            "many values in every call."
        )
    return value


def _tensor(value: Any, function: str, wanted: str) -> tf.Tensor:
    """What a function returned, as a tensor."""
    if value is None:
        raise ValueError(f"{function} returned None: return {wanted}.")
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{function} returned {value!r}, which is no tensor: return {wanted}.") from error


def dense(gradient: Any, source: Any, name: str, rows: tuple[int, ...] = ()) -> tf.Tensor:
    """A gradient by what has this name, or a Jacobian of so many rows, as one tensor; zeros for None."""
    shape = tf.TensorShape([*rows, *source.shape])
    if gradient is None:
        return tf.zeros(shape, source.dtype)
    gradient = tf.convert_to_tensor(gradient)
    if not gradient.shape.is_compatible_with(shape):
        raise ValueError(
            f"the gradient by {name} has shape {gradient.shape[len(rows) :]}, but {name} has shape {source.shape}: let "
            "the tf.custom_gradient in the function return one of the same shape."
        )
    return tf.ensure_shape(gradient, shape)


def check_connected(
    gradients: Sequence[Any],
    names: Sequence[str],
    subject: str = "the loss does not depend",
    *,
    may_be_unused: bool = False,
) -> None:
    """Raise ValueError if none of the gradients by what has these names is there; warn if one is not."""
    missing = [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]
    if len(missing) == len(gradients):
        them = "them" if len(missing) > 1 else "it"
        raise ValueError(
            f"{subject} on {' or '.join(missing) or 'a variable'} in a way that TensorFlow can differentiate: compute "
            f"it from {them} with TensorFlow operations, without .numpy() or integer casts.{about_datasets()}"
        )
    for name in () if may_be_unused else missing:
        warnings.warn(
            f"{subject[0].upper()}{subject[1:]} on {name}: its gradient is taken as zero, and it keeps its value."
            f"{about_datasets()}",
            UserWarning,
            stacklevel=2,
        )


def about_datasets() -> str:
    """What to say about a missing gradient if the function that is being traced reads a `tf.data.Dataset`."""
    graph = tf.compat.v1.get_default_graph().as_graph_def()
    if not GraphEffects(graph.node, graph.library).has_datasets():
        return ""
    return (
        " TensorFlow has no gradient of a loop over a tf.data.Dataset: make batches = list(dataset) before the solve "
        "and loop over them, or join them to one tensor."
    )


def check_writes(concrete: Any, parameters: Parameters) -> None:
    """Raise ValueError if a function writes to a variable that is optimised."""
    for variable in parameters.variables:
        if not is_read_only(concrete.graph, variable.handle):
            raise writes_error(variable.name, parameters.name)


def writes_error(variable: str, parameters: str) -> ValueError:
    """What to raise where a variable that is optimised is written."""
    return ValueError(
        f"the loss or a constraint writes to variable '{variable}', which is being optimised: remove the assignment "
        f"from the function, or leave the variable out of {parameters}."
    )


def _is_numpy_on_a_tensor(error: Exception) -> bool:
    """Whether NumPy, or a method that only arrays have, was tried on a tensor of the trace."""
    if isinstance(error, AttributeError):
        return bool(tf.is_tensor(getattr(error, "obj", None)))
    return "symbolic tf.Tensor" in str(error)
