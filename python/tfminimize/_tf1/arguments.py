"""The arguments of the TensorFlow 1 interfaces, checked and converted to one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.bounds import low_then_high, pack_bounds
from tfminimize._problem.parameters import as_variable
from tfminimize._tf.warning import warn
from tfminimize._tf1.eager import EagerFormulation
from tfminimize._tf1.formulation import Formulation
from tfminimize._tf1.graph import GraphFormulation
from tfminimize._trace.user_function import JitCompile

__all__ = [
    "bounds_by_variable",
    "check_kwargs",
    "formulate",
    "listed",
    "meaningful_options",
    "split_method",
]

_WITHOUT_EFFECT = ("disp", "iprint", "eps")


def formulate(
    loss: Any, variables: Any, equalities: Sequence[Any], inequalities: Sequence[Any], jit_compile: JitCompile
) -> Formulation:
    """A loss with its variables and constraints, in a TensorFlow 1 graph or in TensorFlow 2."""
    given = loss, variables, equalities, inequalities, jit_compile
    if isinstance(loss, tf.Variable) or tf.is_tensor(loss):
        graph = None if tf.executing_eagerly() and not tf.is_symbolic_tensor(loss) else getattr(loss, "graph", None)
        if graph is None:
            raise ValueError(
                f"the loss is the value {loss!r}, which cannot be computed again for other x: give a function of no "
                "arguments that returns the loss."
            )
        if hasattr(graph, "outer_graph"):
            raise ValueError(
                f"the loss {loss!r} is a tensor inside of a tf.function: use the interface outside of tf.function."
            )
        return GraphFormulation(*given)
    if callable(loss):
        return EagerFormulation(*given)
    raise ValueError(f"the loss is {loss!r}: give a function of no arguments, or a tensor of a TensorFlow 1 graph.")


def listed(values: Any, name: str) -> list[Any]:
    """The values as a list."""
    if values is None:
        return []
    if isinstance(values, (str, bytes)) or tf.is_tensor(values) or isinstance(values, tf.Variable) or callable(values):
        raise ValueError(f"{name} is {values!r}: give a list, such as [{values!r}].")
    try:
        return list(values)
    except TypeError:
        raise ValueError(f"{name} is {values!r}: give a list.") from None


def bounds_by_variable(var_to_bounds: Any, formulation: Formulation) -> list[Any] | None:
    """The bounds in the order of the variables, checked."""
    if var_to_bounds is None:
        return None
    pairs = var_to_bounds.items() if isinstance(var_to_bounds, Mapping) else _pairs(var_to_bounds)
    places = {id(variable): i for i, variable in enumerate(formulation.variables)}
    found: list[Any] = [None] * len(places)
    for key, bounds in pairs:
        given = key.deref() if hasattr(key, "deref") else key
        variable = as_variable(given)
        if variable is None:
            raise ValueError(f"var_to_bounds has the key {key!r}, not a variable: give a variable, or its ref().")
        if id(variable) not in places:
            raise ValueError(
                f"var_to_bounds has bounds for variable '{variable.name}', which is not optimised: remove the bounds, "
                "or add the variable to var_list."
            )
        # TensorFlow 1 has no pairs for elements: two vectors are always low and high.
        found[places[id(variable)]] = low_then_high(bounds, variable.shape.num_elements())
    pack_bounds(found, formulation.parameters)
    return found


def _pairs(var_to_bounds: Any) -> Sequence[Any]:
    try:
        pairs = [(variable, bounds) for variable, bounds in var_to_bounds]
    except (TypeError, ValueError):
        raise ValueError(
            f"var_to_bounds is {var_to_bounds!r}: give a dict {{variable.ref(): (low, high)}} or a list of "
            "(variable, (low, high))."
        ) from None
    return pairs


def split_method(optimizer_kwargs: Mapping[str, Any], default: str) -> tuple[Any, dict[str, Any]]:
    """The method, and the other keyword arguments."""
    kwargs = dict(optimizer_kwargs)
    return kwargs.pop("method", default), kwargs


def check_kwargs(kwargs: Mapping[str, Any]) -> None:
    """Raise ValueError for an argument that the interface sets itself, and for options that are not a dict."""
    for name, value in kwargs.items():
        if name == "options" and value is not None and not isinstance(value, Mapping):
            raise ValueError(f"options is {value!r}: give a dict such as {{'maxiter': 100}}.")
        if name == "bounds":
            raise ValueError("Bounds must be set using the var_to_bounds argument")
        if name in ("jac", "callback", "method", "constraints"):
            raise ValueError(f"Optimizer keyword arg '{name}' is set automatically and cannot be injected manually")


def meaningful_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options without those that only SciPy's solvers need."""
    options = dict(options or {})
    ignored = [name for name in _WITHOUT_EFFECT if name in options]
    shown = [f"'{name}'" for name in ignored if options[name] not in (None, False)]
    if shown:
        warn(f"the option {', '.join(shown)} has no effect here: remove it.", UserWarning)
    return {name: value for name, value in options.items() if name not in ignored}
