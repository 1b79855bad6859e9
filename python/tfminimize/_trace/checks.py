"""Checks of what the user's functions return and do, made while they are traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.parameters import Parameters, replicas
from tfminimize._tf.effects import GraphEffects, is_read_only
from tfminimize._tf.warning import warn
from tfminimize._trace.copies import reads_copies

__all__ = [
    "NotConnectedError",
    "about_datasets",
    "as_tensor",
    "check_all_connected",
    "check_captured",
    "check_connected",
    "check_inputs",
    "constraint_values",
    "dense",
    "losses",
    "scalar",
    "writes_error",
]


def scalar(loss: Any, name: str = "the loss", function: str = "fun") -> tf.Tensor:
    """Return the loss as a scalar tensor; a single element of any rank counts, as in SciPy."""
    if isinstance(loss, (tuple, list, dict)):
        raise ValueError(
            f"{function} returned a {type(loss).__name__}: return only {name}, a real scalar tensor; "
            "TensorFlow computes the gradient."
        )
    loss = as_tensor(loss, function, f"{name}, a real scalar tensor")
    if loss.dtype not in (tf.float64, tf.float32):
        raise ValueError(f"{name} has dtype {loss.dtype.name}: return a real scalar of dtype float64 or float32.")
    if not loss.shape.is_fully_defined():
        raise ValueError(
            f"{name} has shape {loss.shape}, which is not static: reduce it to a scalar, for example by "
            "tf.reduce_sum, or fix its shape by tf.ensure_shape(loss, [])."
        )
    if loss.shape.num_elements() != 1:
        shape = tuple(loss.shape.as_list())
        raise ValueError(f"{name} has shape {shape}, not that of a scalar: reduce it, for example by tf.reduce_sum.")
    return tf.reshape(loss, [])


def losses(value: Any) -> tf.Tensor:
    """Return the losses of a vectorized function as a vector; they may have more dimensions of size 1."""
    value = as_tensor(value, "fun", "the losses, a real tensor of shape [B]")
    if value.dtype not in (tf.float64, tf.float32):
        raise ValueError(f"the losses have dtype {value.dtype.name}: return float64 or float32.")
    if not _has_rows(value.shape) or any(extent != 1 for extent in value.shape[1:]):
        raise ValueError(
            f"fun returned a tensor of shape {_with_b(value.shape)}, but with vectorized=True it gets x with a leading "
            "dimension of B, the number of problems, and must return the loss of each, [B]: reduce over all other "
            "dimensions, for example by tf.reduce_sum(..., axis=-1)."
        )
    return tf.reshape(value, [-1])


def constraint_values(
    name: str, fun: Callable[..., Any], args: tuple[Any, ...], *, vectorized: bool = False
) -> tf.Tensor:
    """Return the values of a constraint function as a real tensor of static shape, after [B] if vectorized."""
    try:
        value = fun(*args)
    except (AttributeError, NotImplementedError) as error:
        if not _is_numpy_on_a_tensor(error):
            raise
        raise ValueError(
            f"{name} has a function for NumPy arrays, but it gets tensors ({error}): write it with TensorFlow, like "
            "tf.reduce_sum(x); or use scipy.optimize.minimize(..., method=tfminimize.scipy.slsqp) for NumPy functions."
        ) from error
    value = as_tensor(value, f"the function of {name}", "the values, a real tensor")
    if value.dtype == tf.bool:
        raise ValueError(
            f"the function of {name} returned a comparison (dtype bool): return c(x) itself, which the solver keeps "
            "zero, or zero or greater."
        )
    if value.dtype not in (tf.float64, tf.float32):
        raise ValueError(f"{name} has values of dtype {value.dtype.name}: return real ones, float64 or float32.")
    if vectorized:
        if not (_has_rows(value.shape) and value.shape[1:].is_fully_defined()):
            raise ValueError(
                f"{name} has values of shape {_with_b(value.shape)}, but with vectorized=True its function gets x with "
                "a leading dimension of B, the number of problems, and must return the values of each, [B, ...]."
            )
    elif not value.shape.is_fully_defined():
        raise ValueError(
            f"{name} has values of shape {value.shape}, which is not static: fix it by tf.ensure_shape, or return "
            "equally many values in every call."
        )
    return value


def _has_rows(shape: tf.TensorShape) -> bool:
    """Whether a shape has a first dimension of unknown size, that of the problems."""
    return bool(shape.rank) and shape[0] is None


def _with_b(shape: tf.TensorShape) -> str:
    """A shape in a message, with B for the number of problems."""
    if shape.rank is None:
        return "that is not known (fix its rank by tf.ensure_shape)"
    return f"[{', '.join('B' if extent is None else str(extent) for extent in shape)}]"


def as_tensor(value: Any, function: str, wanted: str) -> tf.Tensor:
    """Return a function's result as a tensor."""
    if value is None:
        raise ValueError(f"{function} returned None: return {wanted}.")
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{function} returned {value!r}, which is not a tensor: return {wanted}.") from error


def dense(gradient: Any, source: Any, name: str, rows: tuple[int, ...] = ()) -> tf.Tensor:
    """Return a gradient, or a Jacobian with these rows, as a dense tensor; zeros for None."""
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


class NotConnectedError(ValueError):
    """A function does not depend on any of its variables in a way that TensorFlow can differentiate."""


def check_connected(
    gradients: Sequence[Any],
    names: Sequence[str],
    subject: str = "the loss does not depend",
    *,
    may_be_unused: bool = False,
) -> None:
    """Raise NotConnectedError if all gradients are None; warn about each one that is, by the name of its source."""
    missing = [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]
    if len(missing) == len(gradients):
        them = "them" if len(missing) > 1 else "it"
        raise NotConnectedError(
            f"{subject} on {' or '.join(missing) or 'a variable'} in a way that TensorFlow can differentiate: compute "
            f"it from {them} with TensorFlow operations, without .numpy() or integer casts.{about_datasets()}"
        )
    for name in () if may_be_unused else missing:
        warn(
            f"{subject[0].upper()}{subject[1:]} on {name}: its gradient is taken as zero, and it keeps its value."
            f"{about_datasets()}",
            UserWarning,
        )


def check_all_connected(
    parameters: Parameters,
    gradients: Sequence[Any],
    of_functions: Sequence[tuple[str, tuple[int, ...], Sequence[Any]]],
    *,
    has_others: bool,
) -> None:
    """Check that each component of x is used, unless there are other constraints, which may use any of them.

    ``of_functions`` has the name of each constraint function, the shape that it returns, and its Jacobian by the
    components. A gradient, or a part of a Jacobian, is None if there is no dependence.
    """
    names = parameters.layout.names
    for name, shape, parts in of_functions:
        if 0 not in shape and all(part is None for part in parts):
            warn(
                f"{name} does not depend on {' or '.join(names)} in a way that TensorFlow can differentiate: its "
                "derivatives are taken as zero.",
                UserWarning,
            )
    if not has_others:
        by_source = zip(gradients, *(parts for _, _, parts in of_functions), strict=True)
        found = [next((part for part in parts if part is not None), None) for parts in by_source]
        subject = "neither the loss nor a constraint depends" if of_functions else "the loss does not depend"
        check_connected(found, names, subject, may_be_unused=parameters.may_be_unused)


def about_datasets() -> str:
    """Return an explanation of a missing gradient if the traced function reads a `tf.data.Dataset`, otherwise ""."""
    graph = tf.compat.v1.get_default_graph().as_graph_def()
    if not GraphEffects(graph.node, graph.library).has_datasets():
        return ""
    return (
        " TensorFlow has no gradient of a loop over a tf.data.Dataset: make batches = list(dataset) before the solve "
        "and loop over them, or join them to one tensor."
    )


def check_captured(concrete: Any, parameters: Parameters, *, takes_copies: bool = False) -> None:
    """Raise ValueError if a function captures what a solve cannot give it, or writes to a variable that is optimised.

    With ``takes_copies`` it may read other copies of mirrored variables than the first.
    """
    for variable in parameters.variables:
        if not all(is_read_only(concrete.graph, copy.handle) for copy in replicas(variable)):
            raise writes_error(variable.name, parameters.name)
    check_inputs(concrete.graph)
    if not takes_copies and reads_copies(concrete, parameters):
        raise ValueError(
            "the loss or a constraint reads copies of mirrored variables on other devices, as strategy.run does, which "
            "only tfm.minimize and Minimizer.minimize outside of a graph can let it do, in a loss without constraint "
            "functions: leave strategy.run out."
        )


def check_inputs(graph: Any) -> None:
    """Raise ValueError if the function of a graph has inputs that TensorFlow makes anew for each of Python's calls."""
    if getattr(graph, "deferred_external_captures", None):
        raise ValueError(
            "the loss or a constraint has inputs that TensorFlow makes anew for each call from Python, such as the "
            "keys of the collectives of a MultiWorkerMirroredStrategy, and the solver calls it without Python: leave "
            "strategy.run out, and give each worker its share by "
            "tfm.DatasetLoss(..., communicator=tfm.distribute.communicator(strategy))."
        )


def writes_error(variable: str, parameters: str) -> ValueError:
    """Return the error about a function that writes to a variable that is optimised."""
    return ValueError(
        f"the loss or a constraint writes to variable '{variable}', which is being optimised: remove the assignment "
        f"from the function, or leave the variable out of {parameters}."
    )


def _is_numpy_on_a_tensor(error: Exception) -> bool:
    """Whether the error comes from NumPy, or a method of arrays, used on a symbolic tensor."""
    if isinstance(error, AttributeError):
        return bool(tf.is_tensor(getattr(error, "obj", None)))
    return "symbolic tf.Tensor" in str(error)
