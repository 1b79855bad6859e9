"""What the operations in the graph that is being traced take: memory, and what TensorFlow vectorises badly."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfminimize._tf.effects import GraphEffects

__all__ = ["CONTROL_FLOW", "Cost", "cost_of_operations", "count_operations"]

CONTROL_FLOW = frozenset({"Case", "For", "If", "StatelessCase", "StatelessIf", "StatelessWhile", "While"})
_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})


class Cost(NamedTuple):
    """What some operations take."""

    num_bytes: int = 0
    """The size of all that they return, as far as the shapes are known."""
    has_control_flow: bool = False
    has_python_functions: bool = False

    def largest(self, other: Cost) -> Cost:
        """The cost of two parts that run one after the other."""
        return Cost(
            max(self.num_bytes, other.num_bytes),
            self.has_control_flow or other.has_control_flow,
            self.has_python_functions or other.has_python_functions,
        )


def count_operations() -> int:
    """The number of operations in the graph that is being traced."""
    return len(tf.compat.v1.get_default_graph().get_operations())


def cost_of_operations(begin: int, begin_of_size: int) -> Cost:
    """The cost of the operations from number ``begin`` on, and of the functions that they call.

    Only operations from ``begin_of_size`` on count for the size, and not what is inside of functions.
    """
    graph = tf.compat.v1.get_default_graph()
    operations = graph.get_operations()
    effects = GraphEffects([op.node_def for op in operations[begin:]], graph.as_graph_def().library)
    outputs = [output for op in operations[begin_of_size:] for output in op.outputs]
    sizes = [(output.shape.num_elements() or 0) * output.dtype.size for output in outputs]
    return Cost(sum(sizes), effects.has(CONTROL_FLOW), effects.has(_PYTHON))
