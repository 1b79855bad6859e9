"""Makes graphs with malformed operations, which no program of ours writes, and reports what happens when they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import tfminimize as tfm
from tfminimize._graph.call import Solve
from tfminimize._graph.functions import TraceFunction
from tfminimize._graph.operation import traced_minimize

OP = "TfminimizeMinimize"
OPS = (OP, f"{OP}Batch")
INPUTS = ("x0", "lower", "upper", "ftol", "gtol", "norm", "xrtol", "c1", "c2", "hess_inv0")
FIRST_CAPTURE = len(INPUTS)
"""The place of the first capture among the inputs, without a state."""

MEMORY = 24 << 30
"""Bytes that a process may allocate: a variant that wants more fails at once and does not fill the machine."""

Mutation = Callable[[Any, Any], None]
"""Changes a GraphDef, and in it the NodeDef of the operation."""


class Variant(NamedTuple):
    base: str
    mutate: Mutation
    expected: str
    """Part of the sentence; empty if the operation may also run."""


def loss_of(x: Any, a: Any) -> Any:
    return tf.reduce_sum((x - a) ** 2 + x**4)


def _trace(x: Any, loss: Any, gradients: Any, state: Any) -> Any:
    return tf.constant(False), [state[0] + 1], [x[0], loss]


@cache
def base(name: str) -> bytes:
    """A graph that holds a valid operation, serialized."""
    with tf.Graph().as_default() as graph:
        a = tf.compat.v1.placeholder_with_default(tf.constant([1.0, -2.0], tf.float64), [2])
        x0, fun, method, bounds, constraints, trace = np.ones(2), loss_of, "L-BFGS-B", None, (), None
        if name == "variables":
            v = tf.compat.v1.get_variable("v", initializer=np.ones(2), use_resource=True)
            w = tf.compat.v1.get_variable("w", initializer=np.ones((1, 3), np.float32), use_resource=True)
            with tf.control_dependencies([v.initializer, w.initializer]):
                tfm.ops.minimize(
                    lambda a: loss_of(v, a) + tf.cast(tf.reduce_sum((w - 1) ** 2), tf.float64), [v, w], args=(a,)
                )
            return _up_to_the_operation(graph.as_graph_def())
        if name == "batch":
            points = tf.compat.v1.placeholder_with_default(tf.ones([3, 2], tf.float64), [3, 2])
            tfm.ops.minimize_batch(lambda x, a, p: loss_of(x, a + p), np.ones((1, 2)), (a,), points, bounds=(-9.0, 9.0))
            return _up_to_the_operation(graph.as_graph_def())
        if name == "bounds":
            bounds = (-0.5, 0.5)
        elif name == "slsqp":
            method, constraints = (
                "SLSQP",
                {"type": "ineq", "fun": lambda x: tf.stack([x[0] - x[1], 1 - x[0], x[1] + 3])},
            )
        elif name == "bfgs":
            method = "BFGS"
        elif name == "trace":
            trace = TraceFunction(_trace, [tf.constant(0)])
        jit = name == "jit"
        traced_minimize(Solve(fun, x0, (a,), method, bounds, constraints, jit_compile=jit, trace=trace))
        return _up_to_the_operation(graph.as_graph_def())


def _up_to_the_operation(graph_def: Any) -> bytes:
    """Return the graph without the nodes that read the results, which might raise other errors."""
    (solve,) = (node.name for node in graph_def.node if node.op in OPS)
    after = {solve}
    for node in list(graph_def.node):  # in the order of their creation
        if any(name.lstrip("^").split(":")[0] in after for name in node.input):
            after.add(node.name)
            graph_def.node.remove(node)
    return graph_def.SerializeToString()


def mutated(variant: Variant) -> Any:
    graph_def = tf.compat.v1.GraphDef.FromString(base(variant.base))
    (node,) = (node for node in graph_def.node if node.op in OPS)
    variant.mutate(graph_def, node)
    return graph_def


def run_in_session(graph_def: Any) -> None:
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        (op,) = (op for op in graph.get_operations() if op.type in OPS)
        with tf.compat.v1.Session() as session:
            session.run(op.outputs)


def run_in_function(graph_def: Any) -> None:
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    (op,) = (op for op in wrapped.graph.get_operations() if op.type in OPS)
    kept = [tensor for tensor in op.outputs if tensor.dtype not in (tf.resource, tf.variant)]
    wrapped.prune([], kept)()


def outcome(graph_def: Any) -> str:
    """Run a graph in a session and as a function; return its error, or an empty string."""
    errors = []
    for run in (run_in_session, run_in_function):
        try:
            run(graph_def)
            errors.append("")
        except (ValueError, tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError) as error:
            errors.append(str(error))
        except Exception as error:
            errors.append(f"UNEXPECTED {type(error).__name__} in {run.__name__}: {error}")
    if bool(errors[0]) != bool(errors[1]):
        return f"UNEXPECTED difference between a session, {errors[0]!r}, and a function, {errors[1]!r}"
    return errors[0] + errors[1] if "UNEXPECTED" in errors[1] else errors[0]


# Changes to the operation.


def attribute(name: str, value: Any) -> Mutation:
    """Sets an attribute: to an integer, a bool, text, or a list of integers, dtypes, shapes or names of functions."""

    def mutate(graph_def: Any, node: Any) -> None:
        node.attr[name].Clear()
        _set(node.attr[name], value)

    return mutate


def _set(attr: Any, value: Any) -> None:
    if isinstance(value, list):
        attr.list.SetInParent()
        for item in value:
            if isinstance(item, tf.DType):
                attr.list.type.append(item.as_datatype_enum)
            elif isinstance(item, tf.TensorShape):
                attr.list.shape.append(item.as_proto())
            elif isinstance(item, str):
                attr.list.func.add(name=item)
            else:
                attr.list.i.append(item)
    elif isinstance(value, bool):
        attr.b = value
    elif isinstance(value, int):
        attr.i = value
    elif isinstance(value, float):
        attr.f = value
    elif isinstance(value, tf.DType):
        attr.type = value.as_datatype_enum
    else:
        attr.s = value.encode()


def without(name: str) -> Mutation:
    return lambda graph_def, node: node.attr.pop(name)


def given(index: int, value: Any) -> Mutation:
    """Gives the operation another tensor as an input."""

    def mutate(graph_def: Any, node: Any) -> None:
        tensor = np.asarray(value)
        constant = graph_def.node.add(name=f"given_{index}", op="Const")
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(tensor))
        constant.attr["dtype"].type = tf.as_dtype(tensor.dtype).as_datatype_enum
        node.input[index] = constant.name

    return mutate


def given_unknown(index: int, value: Any) -> Mutation:
    """Gives the operation another tensor, whose shape is known only when it runs."""

    def mutate(graph_def: Any, node: Any) -> None:
        given(index, value)(graph_def, node)
        hidden = graph_def.node.add(name=f"hidden_{index}", op="PlaceholderWithDefault")
        hidden.input.append(node.input[index])
        hidden.attr["dtype"].type = tf.float64.as_datatype_enum
        hidden.attr["shape"].shape.unknown_rank = True
        node.input[index] = hidden.name

    return mutate


def without_input(index: int) -> Mutation:
    return lambda graph_def, node: node.input.pop(index)


def called(attribute_name: str, index: int, function: Callable[..., Any], *specs: Any) -> Mutation:
    """Replaces one function by another."""

    def mutate(graph_def: Any, node: Any) -> None:
        concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
        graph_def.library.MergeFrom(concrete.graph.as_graph_def().library)
        graph_def.library.function.append(concrete.function_def)
        node.attr[attribute_name].list.func[index].name = concrete.name.decode()

    return mutate


def all_of(*mutations: Mutation) -> Mutation:
    def mutate(graph_def: Any, node: Any) -> None:
        for one in mutations:
            one(graph_def, node)

    return mutate


def calls_itself(graph_def: Any, node: Any) -> None:
    """Makes the loss solve its own problem."""

    def loss(x: Any, a: Any) -> Any:
        found = tfm.ops.minimize(lambda y, a: loss_of(y, a), x, args=(a,))
        return tf.identity(found.fun), tf.identity(found.x)

    called("functions", 0, loss, vector(2), vector(2))(graph_def, node)
    name = node.attr["functions"].list.func[0].name
    (own,) = (f for f in graph_def.library.function if f.signature.name == name)
    (inner,) = (n for n in own.node_def if n.op == OP)
    inner.attr["functions"].list.func[0].name = name


def vector(*shape: int, dtype: Any = tf.float64) -> Any:
    return tf.TensorSpec(shape, dtype)


X = vector(2)
SCALAR = vector()
HUGE = tf.TensorShape([2**62])


def d(*shape: int) -> Any:
    return tf.zeros(shape, tf.float64)
