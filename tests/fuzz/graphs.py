"""Fuzzes the operation's attributes and inputs: it must run, or say what is wrong, and never crash."""

from __future__ import annotations

import random
import resource
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import malformed_graphs as graphs
import numpy as np
import tensorflow as tf

BASES = ("plain", "bounds", "variables", "slsqp", "bfgs", "trace", "jit")
NUMBERS = (0, 1, 2, 3, 5, 100, -1, 2**31, 2**61, 2**63 - 1, -(2**63))
DTYPES = (tf.float64, tf.float32, tf.int32, tf.bool, tf.string, tf.resource, tf.variant, tf.complex64)
SHAPES = tuple(
    tf.TensorShape(s) for s in ([], [0], [1], [2], [5], [2, 1], [3, 2], [None], None, [2**62], [2**31, 2**31])
)


def random_attribute(random: random.Random, graph_def: Any, node: Any) -> None:
    """Changes one attribute: to a value of its kind, in one entry of its list, or to the value of another attribute."""
    name = random.choice(sorted(node.attr))
    attr = node.attr[name]
    functions = [f.signature.name for f in graph_def.library.function]
    pools = {"i": NUMBERS, "type": DTYPES, "shape": SHAPES, "func": functions, "b": (False, True)}
    kind = next((k for k in pools if getattr(attr.list, k, None)), None) or attr.WhichOneof("value")
    if random.random() < 0.1:
        attr.CopyFrom(node.attr[random.choice(sorted(node.attr))])
    elif kind == "list" or getattr(attr.list, kind, None):
        kind = kind if kind != "list" else random.choice(["i", "type", "shape", "func"])
        entries = [random.choice(pools[kind]) for _ in range(random.randrange(4))]
        graphs.attribute(name, entries)(graph_def, node)
    else:
        graphs.attribute(name, random.choice(pools.get(kind, ("slsqp", "l-bfgs-b", "bfgs", "ssbroyden"))))(
            graph_def, node
        )


def random_input(random: random.Random, graph_def: Any, node: Any) -> None:
    """Swaps two inputs, or changes the value, shape or dtype of one."""
    if random.random() < 0.3:
        i, j = random.randrange(len(node.input)), random.randrange(len(node.input))
        node.input[i], node.input[j] = node.input[j], node.input[i]
        return
    shape = random.choice([(), (0,), (1,), (2,), (3,), (5,), (2, 1), (2, 2)])
    value = random.choice([0.0, 1.0, -1.0, 1e300, np.nan, np.inf, -np.inf])
    dtype = random.choices([np.float64, np.float32, np.int64], [8, 1, 1])[0]
    with np.errstate(all="ignore"):
        graphs.given(random.randrange(len(node.input)), np.full(shape, value).astype(dtype))(graph_def, node)


def main(seed: int, end: float, inputs: int, log: Path) -> None:
    count = 0
    while not count or (time.time() < end and count < inputs):
        generator = random.Random(seed + count)
        mutations = [generator.choice([random_attribute, random_input]) for _ in range(generator.randint(1, 3))]
        base = generator.choice(BASES)

        def mutate(graph_def: Any, node: Any, generator: Any = generator, mutations: Any = mutations) -> None:
            for mutation in mutations:
                mutation(generator, graph_def, node)

        graph_def = graphs.mutated(graphs.Variant(base, mutate, ""))
        node = next(node for node in graph_def.node if node.op == graphs.OP)
        log.write_text(f"seed {seed + count}, from {base!r}:\n{node}")
        found = graphs.outcome(graph_def)
        if "UNEXPECTED" in found:
            sys.exit(textwrap.fill(f"seed {seed + count}: {found}", 80))
        count += 1
    print(f"{count} graphs, seeds {seed} to {seed + count - 1}")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (graphs.MEMORY, graphs.MEMORY))
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
