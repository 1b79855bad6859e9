"""The side effects of a graph and of the functions that it calls: writes, random numbers and state.

Graphs are GraphDefs here, because functions that are being traced and TensorFlow 1 graphs look alike in them.
"""

from __future__ import annotations

import collections
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._tf import private
from tfminimize._tf.warning import warn

__all__ = ["CHECKS", "READS", "GraphEffects", "called_functions", "is_read_only", "warn_of_random_numbers"]

READS = frozenset(
    {
        "IsVariableInitialized",
        "ReadVariableOp",
        "ResourceGather",
        "ResourceGatherNd",
        "VarIsInitializedOp",
        "VariableShape",
        "_ReadVariablesOp",
    }
)
"""Operations that take a variable and only read it."""
CHECKS = frozenset({"Assert", "CheckNumerics", "CheckNumericsV2"})
"""Operations that only check values; XLA leaves them out."""
_FRAMES = ("Identity", "Switch", "Merge", "Enter", "Exit", "NextIteration", "Select")
_PASS_HANDLES = frozenset({"IdentityN", *_FRAMES})
_PASS_REFERENCES = frozenset(f"Ref{op}" for op in _FRAMES)
_RESOURCE = tf.resource.as_datatype_enum


class GraphEffects:
    """Finds the side effects of one graph.

    Parameters
    ----------
    nodes : iterable of NodeDef
    library : FunctionDefLibrary
    """

    def __init__(self, nodes: Iterable[Any], library: Any) -> None:
        self._nodes = list(nodes)
        self._functions = {f.signature.name: f for f in library.function}
        self._written: dict[tuple[str, int], bool] = {}
        self._consumers_of: dict[str, Mapping[str, list[tuple[Any, int]]]] = {}

    def writes(self, name: str) -> bool:
        """Whether anything writes to the variable whose handle or reference this operation returns.

        An operation counts as writing unless it is known only to read.
        """
        return self._writes(self._consumers("", self._nodes), name)

    def random_operation(self) -> str | None:
        """The name and type of an operation that draws new random numbers whenever it runs; None without one.

        It has its own state or a generator's, or it takes its seed from a variable that the graph also writes, as in
        Keras.
        """
        for node in self._reachable():
            if _draws(node):
                return _named(node)
        for node in self._nodes:
            if node.op == "Placeholder" and node.attr["dtype"].type == _RESOURCE and self.writes(node.name):
                seeded = self._seeded(self._consumers("", self._nodes), node.name, set())
                if seeded is not None:
                    return _named(seeded)
        return None

    def has_datasets(self) -> bool:
        """Whether the graph reads a `tf.data.Dataset`."""
        return any("Dataset" in node.op or node.op.startswith("IteratorGet") for node in self._reachable())

    def has(self, types: Container[str]) -> bool:
        """Whether the graph has an operation of one of these types."""
        return any(node.op in types for node in self._reachable())

    def has_compiled_parts(self) -> bool:
        """Whether the graph calls a function that XLA compiles."""
        return any(node.attr["_XlaMustCompile"].b for node in self._reachable() if "_XlaMustCompile" in node.attr)

    def warn_of_random_numbers(self) -> bool:
        """Warn if an operation draws random numbers; return whether there is one."""
        found = self.random_operation()
        if found is not None:
            warn(
                f"The loss or a constraint draws random numbers, in operation {found}: they differ in each evaluation, "
                "and the solver may stop anywhere and report success. Draw them before the solve, use "
                "tf.random.stateless_* with a fixed seed, or call the model with training=False.",
                UserWarning,
            )
        return found is not None

    def _writes(self, consumers: Mapping[str, list[tuple[Any, int]]], name: str) -> bool:
        seen, waiting = {name}, [name]
        while waiting:
            for node, i in consumers.get(waiting.pop(), ()):
                definition = private.op_def(node.op)
                if definition is not None and node.op in (_PASS_REFERENCES | _PASS_HANDLES):
                    if _is_passed(node, i, definition) and node.name not in seen:
                        seen.add(node.name)
                        waiting.append(node.name)
                elif self._node_writes(node, i, definition):
                    return True
        return False

    def _node_writes(self, node: Any, i: int, definition: Any) -> bool:
        if node.op in READS or i in node.attr["_read_only_resource_inputs"].list.i:
            return False
        if definition is not None:
            argument, _ = _argument(node, i, definition)
            is_value = not argument.is_ref and _type_of(node, i, definition) != _RESOURCE
            if argument.is_ref or is_value:
                return bool(argument.is_ref)
        called = self._called_with(node, i, definition)
        return not called or any(self._function_writes(name, place) for name, place in called)

    def _function_writes(self, name: str, place: int) -> bool:
        function = self._functions.get(name)
        if function is None or not 0 <= place < len(function.signature.input_arg):
            return True
        if (name, place) not in self._written:
            self._written[name, place] = False  # for a function that calls itself
            argument = function.signature.input_arg[place].name
            self._written[name, place] = self._writes(self._consumers(name, function.node_def), argument)
        return self._written[name, place]

    def _called_with(self, node: Any, i: int, definition: Any) -> list[tuple[str, int]]:
        """The functions that get a node's input, each with the place of that argument."""
        if definition is None:
            return [(node.op, i)]
        argument, from_end = _argument(node, i, definition)
        by_attribute = _functions_by_attribute(node)
        # An operation with several functions often has inputs for each, such as key_func_other_arguments.
        own = [key for key, names in by_attribute.items() if names and argument.name.startswith(f"{key}_")]
        names = [name for key, names in by_attribute.items() if not own or key in own for name in names]
        # A function's captured inputs come last.
        return [
            (name, len(self._functions[name].signature.input_arg) - from_end if name in self._functions else -1)
            for name in names
        ]

    def _seeded(self, consumers: Mapping[str, list[tuple[Any, int]]], name: str, done: set[Any]) -> Any:
        """An operation whose random numbers depend on this tensor or variable; None without one."""
        seen, waiting = {name}, [name]
        while waiting:
            for node, i in consumers.get(waiting.pop(), ()):
                if node.op.startswith("Stateless") and ("Random" in node.op or "Normal" in node.op):
                    return node
                for function, place in self._called_with(node, i, private.op_def(node.op)):
                    inner = self._functions.get(function)
                    if inner is None or place < 0 or (function, place) in done:
                        continue
                    done.add((function, place))
                    inside = self._consumers(function, inner.node_def)
                    found = self._seeded(inside, inner.signature.input_arg[place].name, done)
                    if found is not None:
                        return found
                if node.name not in seen:
                    seen.add(node.name)
                    waiting.append(node.name)
        return None

    def _reachable(self) -> Iterator[Any]:
        """All operations in the graph and in the functions that it calls."""
        seen: set[str] = set()
        waiting: list[Sequence[Any]] = [self._nodes]
        while waiting:
            for node in waiting.pop():
                yield node
                for name in called_functions(node):
                    if name in self._functions and name not in seen:
                        seen.add(name)
                        waiting.append(self._functions[name].node_def)

    def _consumers(self, function: str, nodes: Iterable[Any]) -> Mapping[str, list[tuple[Any, int]]]:
        """For each operation or argument the operations that take it as an input, with the place of that input."""
        if function not in self._consumers_of:
            found: dict[str, list[tuple[Any, int]]] = collections.defaultdict(list)
            for node in nodes:
                for i, tensor in enumerate(node.input):
                    if not tensor.startswith("^"):
                        found[tensor.split(":")[0]].append((node, i))
            self._consumers_of[function] = found
        return self._consumers_of[function]


def is_read_only(graph: Any, captured: Any) -> bool:
    """Whether a function's graph only reads a captured resource, itself and in every function that it calls.

    Parameters
    ----------
    graph : FuncGraph
    captured : tf.Tensor
        The handle of a variable. A handle that is not captured counts as only read.
    """
    if private.is_marked_read_only(graph, captured):
        return True
    # TensorFlow assumes a write if it does not know, for example for a data set whose functions read the variable.
    graph_def = graph.as_graph_def()
    effects = GraphEffects(graph_def.node, graph_def.library)
    return not any(effects.writes(inner.op.name) for outer, inner in graph.captures if outer is captured)


def called_functions(node: Any) -> list[str]:
    """The functions that a node calls."""
    own = [] if private.op_def(node.op) is not None else [node.op]
    return own + [name for names in _functions_by_attribute(node).values() for name in names if name]


def _functions_by_attribute(node: Any) -> dict[str, list[str]]:
    return {
        key: [f.name for f in ([value.func] if value.HasField("func") else value.list.func)]
        for key, value in node.attr.items()
    }


def warn_of_random_numbers(graph_defs: Iterable[Any]) -> None:
    """Warn once if an operation in one of the graphs draws random numbers."""
    any(GraphEffects(graph.node, graph.library).warn_of_random_numbers() for graph in graph_defs)


def _draws(node: Any) -> bool:
    """Whether an operation draws random numbers from a state."""
    definition = private.op_def(node.op)
    if definition is None or not definition.is_stateful or node.op.startswith("Cudnn"):
        return False
    inputs = {argument.name for argument in definition.input_arg}
    has_seeds = {"seed", "seed2"} <= {attribute.name for attribute in definition.attr}
    has_generator = "resource" in inputs and not inputs.isdisjoint({"alg", "algorithm"})
    return has_seeds or has_generator or node.op == "NonDeterministicInts"


def _named(node: Any) -> str:
    return f"'{node.name}' ({node.op})"


def _is_passed(node: Any, i: int, definition: Any) -> bool:
    """Whether an operation that passes on its input passes on a handle or a reference."""
    argument, _ = _argument(node, i, definition)
    return bool(argument.is_ref) or _type_of(node, i, definition) == _RESOURCE


def _argument(node: Any, i: int, definition: Any) -> tuple[Any, int]:
    """The argument to which an operation's input belongs, and the input's place in it, counted from the end."""
    first = 0
    for argument in definition.input_arg:
        first += _length(node, argument)
        if i < first:
            return argument, first - i
    raise AssertionError(f"operation '{node.name}' ({node.op}) has no input {i}")


def _length(node: Any, argument: Any) -> int:
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type)
    return int(node.attr[argument.number_attr].i) if argument.number_attr else 1


def _type_of(node: Any, i: int, definition: Any) -> int:
    argument, from_end = _argument(node, i, definition)
    if argument.type_list_attr:
        return int(node.attr[argument.type_list_attr].list.type[-from_end])
    return int(node.attr[argument.type_attr].type if argument.type_attr else argument.type)
