"""Graph lifting: computes tensors of a TensorFlow 1 graph in functions, without its session.

The operations that compute the tensors are copied, as a GraphDef, into the function that is being traced. Variables and
fed tensors are replaced::

    graph of the session                          function
    VarHandleOp, VariableV2                  ->   an eager stand-in variable: its handle, or its value
    a placeholder, or any tensor that is fed ->   an argument

All other operations keep their attributes, and so compute the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._tf import private
from tfminimize._tf.effects import READS, called_functions

__all__ = ["LiftedGraph", "NotLiftable", "ancestors", "is_variable_op"]

_HANDLES = frozenset({"VarHandleOp"})
_REFERENCES = frozenset({"Variable", "VariableV2"})
_FRAMES = ("Switch", "Merge", "Enter", "Exit", "NextIteration")
_CONTROL_FLOW = frozenset({"LoopCond", *_FRAMES, *(f"Ref{op}" for op in _FRAMES)})
_ALLOWED = frozenset(
    {
        "Assert",
        "Case",
        "CheckNumerics",
        "If",
        "Placeholder",
        "PlaceholderWithDefault",
        "ReadVariableOp",
        "ResourceGather",
        "ResourceGatherNd",
        "StatefulPartitionedCall",
        "VarIsInitializedOp",
        "VariableShape",
        "While",
        *_HANDLES,
        *_REFERENCES,
    }
)
"""Operations that count as stateful, but only read variables, check values, or call functions, which we check too."""


class NotLiftable(Exception):
    """Says which operation cannot be lifted, and why."""


def is_variable_op(op: Any) -> bool:
    """Whether an operation makes a variable's handle or reference."""
    return op.type in _HANDLES or op.type in _REFERENCES


def ancestors(tensors: Iterable[Any], known: Container[str]) -> list[Any]:
    """The operations that compute the tensors, back to tensors and operations whose names are known."""
    found: dict[str, Any] = {}
    waiting = [t if isinstance(t, tf.Operation) else t.op for t in tensors if t.name not in known]
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found[op.name] = op
            waiting += [tensor.op for tensor in op.inputs if tensor.name not in known]
            waiting += [control for control in op.control_inputs if control.name not in known]
    return list(found.values())


class LiftedGraph:
    """A part of a graph, with some tensors fed, that functions can compute.

    Parameters
    ----------
    graph : tf.Graph
    tensors : sequence of tf.Tensor
        The tensors that functions will compute.
    fed : sequence of tf.Tensor
        The fed tensors, in the order in which `feed` takes their values. Operations that only these need are not
        lifted.
    given : sequence of tf.Tensor
        Further tensors, whose values each call of `tensors` gets.
    variable : callable
        ``variable(op) -> tf.Variable``, the stand-in for a variable of the graph.

    Raises
    ------
    NotLiftable
        If one of the operations cannot be lifted.
    ValueError
        If a placeholder is not fed.

    Attributes
    ----------
    variable_ops : list of tf.Operation
        The variables that are read.
    used : list of int
        Which of the fed tensors are needed.
    """

    def __init__(
        self,
        graph: Any,
        tensors: Sequence[Any],
        fed: Sequence[Any],
        given: Sequence[Any],
        variable: Callable[[Any], tf.Variable],
    ) -> None:
        names = {tensor.name for tensor in (*fed, *given)}
        ops = ancestors(tensors, names)
        check_placeholders(ops)
        reached = {tensor.name for op in ops for tensor in op.inputs} | {tensor.name for tensor in tensors}
        self.used = [i for i, tensor in enumerate(fed) if tensor.name in reached]
        self._fed = [fed[i] for i in self.used]
        self._library = _library(graph, ops)
        _check(ops, self._library)
        self.variable_ops = [op for op in ops if is_variable_op(op)]
        self._variable = variable
        self._versions = graph.graph_def_versions

    def feed(self, values: Sequence[tf.Tensor]) -> None:
        """In the function that is being traced, take these values for the fed tensors that are used."""
        self._computed_in(tf.compat.v1.get_default_graph()).update(
            (tensor.name, value) for tensor, value in zip(self._fed, values, strict=True)
        )

    def tensors(self, wanted: Sequence[Any], given: Mapping[str, Any] | None = None) -> list[tf.Tensor]:
        """The tensors, in the function that is being traced.

        Parameters
        ----------
        wanted : sequence of tf.Tensor
        given : dict of str to tf.Tensor, optional
            More values, by the name of the tensor, for this call only.
        """
        graph = tf.compat.v1.get_default_graph()
        known = self._known(graph)
        if given:
            known.update(given)
        ops = [op for op in ancestors(wanted, known) if not is_variable_op(op)]
        inputs = {tensor.name: tensor for op in ops for tensor in op.inputs}
        for name, tensor in (inputs | {tensor.name: tensor for tensor in wanted}).items():
            if name not in known and is_variable_op(tensor.op):
                known[name] = self._value_or_handle(graph, tensor)
        computed = [tensor for op in ops for tensor in op.outputs]
        if ops:
            found = tf.graph_util.import_graph_def(
                self._graph_def(ops),
                input_map={name: _captured(graph, known[name]) for name in inputs if name in known},
                return_elements=[tensor.name for tensor in computed],
                name="lifted",
            )
            lifted = {tensor.name: value for tensor, value in zip(computed, found, strict=True)}
            known.update(lifted)
            if not given:
                self._computed_in(graph).update(lifted | {op.name: None for op in ops})
        return [_captured(graph, known[tensor.name]) for tensor in wanted]

    def _known(self, graph: Any) -> dict[str, Any]:
        """The tensors computed so far, in this function and in the functions around it."""
        known: dict[str, Any] = {}
        while graph is not None:
            known = self._computed_in(graph) | known
            graph = getattr(graph, "outer_graph", None)
        return known

    def _computed_in(self, graph: Any) -> dict[str, Any]:
        """The tensors computed so far in one function. Its graph holds them, because they hold the graph."""
        if not hasattr(graph, "_tfminimize_lifted"):
            graph._tfminimize_lifted = {}
        found: dict[str, Any] = graph._tfminimize_lifted.setdefault(self, {})
        return found

    def _value_or_handle(self, graph: Any, tensor: Any) -> tf.Tensor:
        variable = self._variable(tensor.op)
        handle = graph.capture(variable.handle)
        if tensor.op.type in _HANDLES:
            return handle
        # Not variable.read_value(): the graph's own gradient accounts for this read, so no tape may record it.
        return tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable.dtype)

    def _graph_def(self, ops: Sequence[Any]) -> Any:
        new = {op.name for op in ops}
        graph_def = tf.compat.v1.GraphDef()
        graph_def.versions.CopyFrom(self._versions)
        for op in ops:
            node = graph_def.node.add()
            node.CopyFrom(op.node_def)
            node.attr.pop("_class", None)  # colocates it with an operation that may not be lifted
            kept = [name for name in node.input if not name.startswith("^") or name[1:] in new]
            del node.input[:]
            node.input.extend(kept)
        if self._library is not None:
            graph_def.library.CopyFrom(self._library)
        return graph_def


def _captured(graph: Any, tensor: tf.Tensor) -> tf.Tensor:
    return tensor if tensor.graph is graph else graph.capture(tensor)


def check_placeholders(ops: Iterable[Any]) -> None:
    """Raise ValueError if one of the operations is a placeholder, since it is not fed."""
    for op in ops:
        if op.type in ("Placeholder", "PlaceholderV2"):
            raise ValueError(
                f"placeholder '{op.name}' (dtype {op.outputs[0].dtype.name}, shape {op.outputs[0].shape}) has no "
                "value: give it one in feed_dict."
            )


def _library(graph: Any, ops: Sequence[Any]) -> Any:
    """The functions of the graph; None if no operation calls one."""
    if any(called_functions(op.node_def) for op in ops):
        return graph.as_graph_def().library
    return None


def _check(ops: Sequence[Any], library: Any) -> None:
    functions = {f.signature.name: f for f in library.function} if library is not None else {}
    checked: set[str] = set()
    waiting = []
    for op in ops:
        _check_type(op.type, f"operation '{op.name}'", _is_stateful(op.type, functions))
        if any(argument.is_ref for argument in op.op_def.input_arg):
            what = "asks for a variable that only the session has" if op.type in READS else "may change a variable"
            raise NotLiftable(f"operation '{op.name}' is a {op.type}, which {what}")
        waiting += called_functions(op.node_def)
    while waiting:
        name = waiting.pop()
        if name in checked or name not in functions:
            continue
        checked.add(name)
        for node in functions[name].node_def:
            _check_type(node.op, f"operation '{node.name}' of function '{name}'", _is_stateful(node.op, functions))
            waiting += called_functions(node)


def _is_stateful(op_type: str, functions: Mapping[str, Any]) -> bool:
    definition = private.op_def(op_type)
    if definition is None:
        return op_type not in functions  # a function is as stateful as its operations, which are checked too
    return bool(definition.is_stateful)


def _check_type(op_type: str, name: str, is_stateful: bool) -> None:
    if op_type in _CONTROL_FLOW:
        raise NotLiftable(f"{name} is a {op_type}, control flow of TensorFlow 1")
    if is_stateful and op_type not in _ALLOWED:
        raise NotLiftable(f"{name} is a {op_type}, which has a state or an effect")
