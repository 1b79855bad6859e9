"""The tensors of a TensorFlow 1 graph that a solve needs, with the gradients that we add to the graph."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.parameters import Parameters
from tfminimize._tf import private

__all__ = ["GraphTensors", "VariableFeeds", "stand_in", "variable_op"]

_WITHOUT_VALUE = ("VarIsInitializedOp", "VariableShape")
"""Operations on a handle that do not read the value of the variable."""


class GraphTensors:
    """A loss and constraints that are tensors of a graph; adds their gradients to the graph.

    Attributes
    ----------
    graph : tf.Graph
    loss : tf.Tensor
    constraints : list of (str, str, tf.Tensor)
        For each its name in messages, "eq" or "ineq", and its values.
    counts : (int, int)
        The numbers of equalities and inequalities.
    variables : list
        As the user gave them, in the order of the flat vector.
    variable_ops : list of tf.Operation
        The operation that makes each variable's handle or reference.
    parameters : Parameters
        Eager variables that stand in for them.
    loss_gradients : list of tf.Tensor or None
        One for each variable.
    loss_seed : tf.Tensor
        The tensor from which these gradients start.
    constraint_gradients : list
        For each constraint its gradients and their seed.
    new_values, assignments : list
        Placeholders, and the operations that assign them to the variables.
    feeds : VariableFeeds
    """

    def __init__(self, loss: Any, var_list: Any, equalities: Sequence[Any], inequalities: Sequence[Any]) -> None:
        self.graph = loss.graph
        self.loss = self.tensor(loss, "loss")
        self.constraints = [
            *((f"equalities[{i}]", "eq", self.tensor(c, f"equalities[{i}]")) for i, c in enumerate(equalities)),
            *((f"inequalities[{i}]", "ineq", self.tensor(c, f"inequalities[{i}]")) for i, c in enumerate(inequalities)),
        ]
        for name, tensor in (("the loss", self.loss), *((name, tensor) for name, _, tensor in self.constraints)):
            if tensor.dtype.base_dtype not in (tf.float64, tf.float32):  # a reference variable's is float32_ref
                raise ValueError(
                    f"{name}, '{tensor.name}', has dtype {tensor.dtype.name}: give a real tensor, float64 or float32."
                )
        if self.loss.shape.rank is not None and self.loss.shape.num_elements() not in (None, 1):
            raise ValueError(
                f"the loss '{self.loss.name}' has shape {tuple(self.loss.shape.as_list())}, not that of a scalar: "
                "reduce it, for example by tf.reduce_sum."
            )
        self.counts = len(equalities), len(inequalities)
        if var_list is None:
            var_list = self.graph.get_collection(tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES)
        self.variables = list(var_list)
        if not self.variables:
            raise ValueError("the graph has no trainable variables: give the variables to optimise in var_list.")
        for variable in self.variables:
            if not isinstance(variable, tf.Variable):
                raise ValueError(f"var_list holds {variable!r}, which is not a variable: give tf.Variable objects.")
            if variable.graph is not self.graph:
                raise ValueError(
                    f"variable '{variable.name}' in var_list is not in the graph of the loss '{self.loss.name}': "
                    "give variables of the loss's graph."
                )
        self.variable_ops = [variable_op(v) for v in self.variables]
        with private.eagerly():
            stand_ins = {op.name: stand_in(op) for op in self.variable_ops}
            self.parameters = Parameters(
                [stand_ins[op.name] for op in self.variable_ops], "var_list", may_be_unused=True
            )
        with self.building():
            self.loss_gradients, self.loss_seed = self._gradients(self.loss)
            self.constraint_gradients = [self._gradients(tensor) for _, _, tensor in self.constraints]
            self._add_assignments()
        self._check_connected()
        self.feeds = VariableFeeds(self.graph, self.variable_ops)

    def outputs(self) -> list[Any]:
        """All tensors that a solve needs."""
        tensors = [self.loss, *(g for g in self.loss_gradients if g is not None)]
        for (_, _, tensor), (gradients, _) in zip(self.constraints, self.constraint_gradients, strict=True):
            tensors += [tensor, *(g for g in gradients if g is not None)]
        return tensors

    def seeds(self) -> list[Any]:
        """The tensors from which the gradients start."""
        return [self.loss_seed, *(seed for _, seed in self.constraint_gradients)]

    def tensor(self, value: Any, name: str) -> Any:
        """A tensor of the graph, which may be given by its name."""
        try:
            return self.graph.as_graph_element(value, allow_tensor=True, allow_operation=False)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{name} is {value!r}, which is not a tensor of the loss's graph ({error.args[0]}): give a tensor, or "
                "its name, such as 'x:0'."
            ) from None

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """A context that adds operations to the graph."""
        with self.graph.as_default(), tf.control_dependencies(None), self.graph.device(None):
            yield

    def _gradients(self, tensor: Any) -> tuple[list[Any], Any]:
        """The gradient with respect to each variable, or None, and the tensor from which they start."""
        with tf.name_scope("tfminimize"):
            seed = tf.compat.v1.placeholder_with_default(tf.ones_like(tensor), tensor.shape)
            found = tf.compat.v1.gradients([tensor], list(self.variables), grad_ys=[seed])
            return [_dense(g, v) for g, v in zip(found, self.variables, strict=True)], seed

    def _add_assignments(self) -> None:
        with tf.name_scope("tfminimize"):
            self.new_values = [tf.compat.v1.placeholder(v.dtype.base_dtype) for v in self.variables]
            self.assignments = [
                tf.compat.v1.assign(v, tf.reshape(value, v.shape)).op
                for v, value in zip(self.variables, self.new_values, strict=True)
            ]

    def _check_connected(self) -> None:
        every = [self.loss_gradients, *(gradients for gradients, _ in self.constraint_gradients)]
        if all(g is None for gradients in every for g in gradients):
            subject = "neither the loss nor a constraint depends" if self.constraints else "the loss does not depend"
            names = " or ".join(f"'{v.name}'" for v in self.variables)
            raise ValueError(f"{subject} on {names} in a way that TensorFlow can differentiate: check var_list.")


class VariableFeeds:
    """Finds the tensors that hold the value of a variable, so that feeding them works like assigning to it."""

    def __init__(self, graph: Any, variable_ops: Sequence[Any]) -> None:
        self._graph = graph
        self._values: dict[str, Any] = {}
        for op in variable_ops:
            self.value(op)

    def reads(self, op: Any) -> list[Any]:
        """The tensors that hold the value: a reference, or all plain reads of a handle."""
        if op.type != "VarHandleOp":
            return [op.outputs[0]]
        return [reader.outputs[0] for reader in op.outputs[0].consumers() if _is_plain_read(reader)]

    def tests(self, op: Any) -> list[Any]:
        """The tests whether a reference variable is initialised, which fail if the reference is fed."""
        return [o.outputs[0] for o in op.outputs[0].consumers() if o.type == "IsVariableInitialized"]

    def value(self, op: Any) -> Any:
        """A tensor that holds the value. If the graph has no such tensor, one is added."""
        if op.name not in self._values:
            found = [tensor for tensor in self.reads(op) if not tensor.op.control_inputs]
            if not found:
                with self._graph.as_default(), tf.control_dependencies(None):
                    found = [tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype"))]
            self._values[op.name] = found[0]
        return self._values[op.name]

    def is_complete(self, op: Any, ops: Container[str]) -> bool:
        """Whether the operations with these names get the value only from `reads`, not by the handle."""
        if op.type != "VarHandleOp":
            return True
        readers = {reader.name: reader for reader in op.outputs[0].consumers()}
        return all(
            _is_plain_read(reader) or reader.type in _WITHOUT_VALUE for name, reader in readers.items() if name in ops
        )


def _is_plain_read(op: Any) -> bool:
    # A tensor inside of a loop or a branch of TensorFlow 1 cannot be fed.
    return op.type == "ReadVariableOp" and op._get_control_flow_context() is None


def stand_in(op: Any) -> tf.Variable:
    """An eager variable that stands for a variable of the graph."""
    dtype = tf.as_dtype(op.get_attr("dtype")).base_dtype
    shape = tf.TensorShape(op.get_attr("shape"))
    with private.eagerly():
        value = tf.zeros([n or 0 for n in shape.as_list()] if shape.rank is not None else [0], dtype)
        return tf.Variable(value, shape=shape, dtype=dtype, name=op.name, trainable=True)


def variable_op(variable: tf.Variable) -> Any:
    """The operation that makes a variable's handle or reference."""
    handle = getattr(variable, "handle", None)
    return variable.op if handle is None else handle.op


def _dense(gradient: Any, variable: tf.Variable) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, variable.shape.as_list()[0])
    return gradient
