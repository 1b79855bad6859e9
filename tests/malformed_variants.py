"""Malformed operations, and what must be said about each.

As a program, it tries the variants named by its arguments in turn, and prints a line before and after each, so that
the reader knows which one ended the process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from malformed_graphs import (
    FIRST_CAPTURE,
    HUGE,
    INPUTS,
    MEMORY,
    OPS,
    SCALAR,
    Mutation,
    Variant,
    X,
    all_of,
    attribute,
    base,
    called,
    calls_itself,
    d,
    given,
    given_unknown,
    loss_of,
    mutated,
    outcome,
    vector,
    without,
    without_input,
)


def _counts() -> Iterator[tuple[str, Variant]]:
    refused = {
        "maxcor": [0, -1, -(2**63), 2**20 + 1, 2**63 - 1],
        "maxfun": [-1, -(2**63)],
        "maxiter": [-1, -(2**63)],
        "maxls": [0, -1, -(2**63)],
        "num_constraints": [-1, -(2**63), 1, 2**63 - 1],
        "num_equalities": [-1, 1, 2**63 - 1],
    }
    for name, values in refused.items():
        for value in values:
            yield f"{name} {value}", Variant("plain", attribute(name, value), name)
    for name in ("maxfun", "maxiter", "maxls"):
        for value in (1, 2**63 - 1):
            yield f"{name} {value}", Variant("plain", attribute(name, value), "")
    for value in (0, 1, 2**63 - 1):
        yield f"bfgs: maxiter {value}", Variant("bfgs", attribute("maxiter", value), "")
    yield "bfgs: num_constraints 1", Variant("bfgs", attribute("num_constraints", 1), "since method is bfgs")
    for value in (0, 1, 2, 4, 10**6):
        yield f"slsqp: num_constraints {value}", Variant("slsqp", attribute("num_constraints", value), "functions[1]")
    for value in (10**17, 2**60, 2**61, 2**63 - 1):
        yield f"slsqp: num_constraints {value}", Variant("slsqp", attribute("num_constraints", value), "of memory")
    for value in (4, -1, 2**63 - 1):
        yield f"slsqp: num_equalities {value}", Variant("slsqp", attribute("num_equalities", value), "num_equalities")


def _kinds() -> Iterator[tuple[str, Variant]]:
    """Return variants with each attribute left out, or of another kind."""
    values: list[Any] = [7, True, "text", 0.5, tf.float32, [3], [tf.float32], [HUGE], ["no_such_function"], []]
    for name in _attribute_names():
        for value in values:
            yield f"{name} as {value}", Variant("trace", attribute(name, value), "")
        yield f"{name} left out", Variant("trace", without(name), "")


def _attribute_names() -> list[str]:
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(base("plain")), name="")
        (op,) = (op for op in graph.get_operations() if op.type in OPS)
        return [attr.name for attr in op.op_def.attr]


def _variables() -> Iterator[tuple[str, Variant]]:
    right = [tf.TensorShape([2]), tf.TensorShape([1, 3])]
    shapes = {
        "larger": [tf.TensorShape([1000000]), right[1]],
        "a little larger": [tf.TensorShape([3]), right[1]],
        "smaller": [tf.TensorShape([1]), right[1]],
        "too few": right[:1],
        "too many": [*right, right[0]],
        "none": [],
        "that overflow": [HUGE, HUGE],
        "that overflow to x0": [tf.TensorShape([2**62, 1]), tf.TensorShape([2**62, 2])],
        "unknown": [tf.TensorShape([None]), right[1]],
        "of unknown rank": [tf.TensorShape(None), right[1]],
        "exchanged": right[::-1],
        "of other rank": [tf.TensorShape([2, 1]), right[1]],
    }
    for name, value in shapes.items():
        yield f"variable_shapes {name}", Variant("variables", attribute("variable_shapes", value), "variable_shapes")
    both = [tf.float64, tf.float32]
    dtypes = {"too few": both[:1], "too many": [*both, tf.float64], "exchanged": both[::-1], "one": [both[0]] * 2}
    for name, value in dtypes.items():
        yield f"variable_dtypes {name}", Variant("variables", attribute("variable_dtypes", value), "variable_dtypes")
    yield "variable_dtypes int32", Variant("variables", attribute("variable_dtypes", [tf.int32] * 2), "variable_dtypes")
    for value in ([0], [0, 1, 2], [0, 0], [0, 2], [-1, 0], [0, 3], [0, 2**63 - 1], [-(2**63), 1]):
        yield f"variables {value}", Variant("variables", attribute("variables", value), "variable")
    yield "variables exchanged", Variant("variables", attribute("variables", [1, 0]), "captures[1]")
    yield "variables of a tensor", Variant("plain", attribute("variables", [0]), "variable_dtypes")


def _inputs() -> Iterator[tuple[str, Variant]]:
    nan, inf = np.nan, np.inf
    vectors = {
        "x0": [np.zeros(0), np.zeros(()), np.zeros((2, 1)), [nan, 1.0], [1.0, inf], [1.0], [1.0, 2.0, 3.0]],
        "lower": [np.zeros(()), np.zeros((2, 1)), [nan, 0.0], [1.0, 0.0], [-1.0], [-1.0] * 3, [-inf, inf], np.zeros(0)],
        "upper": [np.zeros(()), np.zeros((2, 1)), [0.0, nan], [-1.0, 0.0], [1.0], [1.0] * 3, [-inf, inf], np.zeros(0)],
        "ftol": [nan, -1.0, -inf, [0.0], np.zeros((1, 1))],
        "gtol": [nan, [0.0], np.zeros((1, 1))],
    }
    for name, values in vectors.items():
        for value in values:
            index = INPUTS.index(name)
            expected = "bound" if name in ("lower", "upper") and np.shape(value) == (2,) else name
            if np.shape(value) in ((1,), (3,)) and not name.endswith("tol"):
                expected = "elements, but x0 has" if name != "x0" else "but x0 has"
            yield f"{name} {np.asarray(value).tolist()}", Variant("bounds", given(index, value), expected)
        for dtype in (np.float32, np.int64, np.bool_):
            variant = Variant("bounds", given(INPUTS.index(name), np.zeros(2, dtype)), "expected")
            yield f"{name} {np.dtype(dtype)}", variant
    yield "lower alone", Variant("plain", given(1, np.zeros(2)), "lower has 2 elements and upper 0")
    yield "upper alone", Variant("plain", given(2, np.ones(2)), "lower has 0 elements and upper 2")
    for name, values in _numbers_of_bfgs().items():
        for value in values:
            variant = Variant("bfgs", given(INPUTS.index(name), value), name)
            yield f"bfgs: {name} {np.asarray(value).tolist()}", variant
    for name in ("lower", "upper"):
        yield f"bfgs: {name}", Variant("bfgs", given(INPUTS.index(name), np.ones(2)), name)
    both = all_of(given(1, np.zeros(2)), given(2, np.ones(2)))
    yield "bfgs: bounds", Variant("bfgs", both, "BFGS takes no bounds")
    for i in range(FIRST_CAPTURE + 1):
        yield f"input {i} missing", Variant("plain", without_input(i), "nputs")
    yield "capture of another dtype", Variant("plain", given(FIRST_CAPTURE, np.zeros(2, np.float32)), "expected")
    retyped = all_of(given(FIRST_CAPTURE, np.zeros(2, np.int32)), attribute("Tcaptures", [tf.int32]))
    yield "Tcaptures that the functions do not take", Variant("plain", retyped, "functions[0]")
    twice = all_of(
        lambda graph_def, node: node.input.append(node.input[FIRST_CAPTURE]), attribute("Tcaptures", [tf.float64] * 2)
    )
    yield "more captures than the functions take", Variant("plain", twice, "functions[0]")
    handles = all_of(given(FIRST_CAPTURE, np.zeros(2)), attribute("Tcaptures", [tf.float64, tf.resource, tf.float64]))
    yield "variable that is a tensor", Variant("variables", handles, "variables[0]")
    unused = all_of(
        lambda graph_def, node: node.input.insert(FIRST_CAPTURE, node.input[0]), attribute("Tstate", [tf.float64])
    )
    yield "state without a trace function", Variant("plain", unused, "Tstate")


def _numbers_of_bfgs() -> dict[str, list[Any]]:
    """Values that are refused for each input that only BFGS has."""
    nan, inf = np.nan, np.inf
    return {
        "gtol": [nan, [0.0]],
        "norm": [nan, 0.0, [2.0]],
        "xrtol": [nan, -1.0, [0.0]],
        "c1": [nan, 0.0, 0.95, -inf, inf, [1e-4]],
        "c2": [nan, 1.0, 1e-5, -inf, inf, [0.9]],
        "hess_inv0": [
            [[1.0, 0.5], [0.0, 1.0]],
            [[1.0, 2.0], [2.0, 1.0]],
            [[nan, 0.0], [0.0, 1.0]],
            [[inf, 0.0], [0.0, 1.0]],
            np.eye(3),
            np.ones((2, 3)),
            np.zeros((2, 2)),
            np.ones(2),
            np.zeros(()),
        ],
    }


def _functions() -> Iterator[tuple[str, Variant]]:
    wrong: dict[str, tuple[Any, ...]] = {
        "returns nothing": (lambda x, a: None, X, X),
        "returns the value only": (lambda x, a: loss_of(x, a), X, X),
        "returns three": (lambda x, a: (d(), d(2), d(2)), X, X),
        "returns float32": (lambda x, a: (tf.zeros([]), tf.zeros([2])), X, X),
        "returns words": (lambda x, a: (tf.constant("f"), tf.constant(["g", "h"])), X, X),
        "takes nothing": (lambda: (d(), d(2)),),
        "takes x only": (lambda x: (d(), x), X),
        "takes three": (lambda x, a, b: (d(), x), X, X, X),
        "takes float32": (lambda x, a: (d(), d(2)), vector(2, dtype=tf.float32), X),
        "takes words": (lambda x, a: (d(), d(2)), vector(2, dtype=tf.string), X),
    }
    for name, given_function in wrong.items():
        yield f"function {name}", Variant("plain", called("functions", 0, *given_function), "functions[0]")
    for shapes in ([(1,), (2,)], [(), ()], [(), (1,)], [(), (3,)], [(), (2, 1)], [(0,), (2,)], [(), (0,)]):
        function = lambda x, a, shapes=shapes: tuple(d(*s) for s in shapes)  # noqa: E731
        yield f"function of shapes {shapes}", Variant("plain", called("functions", 0, function, X, X), "functions[0]")
    right = [(), (3,), (2,), (3, 2)]
    for i, shape in enumerate([(1,), (2,), (3,), (2, 3)]):
        shapes = [*right[:i], shape, *right[i + 1 :]]
        function = lambda x, a, shapes=shapes: tuple(d(*s) for s in shapes)  # noqa: E731
        variant = Variant("slsqp", called("functions", 1, function, X, X), "functions[1]")
        yield f"derivatives of shapes {shapes}", variant
    values = lambda x, a: (d(), d(2))  # noqa: E731
    yield "constraints too few", Variant("slsqp", called("functions", 0, values, X, X), "")
    for name in ("plain", "slsqp", "jit"):
        for value in ([], ["no_such_function"], ["no_such_function"] * 2, [""], ["MatMul"] * 2):
            yield f"{name}: functions {value}", Variant(name, attribute("functions", value), "functions")
    yield "method slsqp with one function", Variant("plain", attribute("method", "slsqp"), "functions")
    yield "method l-bfgs-b with two", Variant("slsqp", attribute("method", "l-bfgs-b"), "functions")
    yield "method bfgs", Variant("plain", attribute("method", "bfgs"), "")
    yield "method bfgs with two", Variant("slsqp", attribute("method", "bfgs"), "functions")
    yield "method bfgs with bounds", Variant("bounds", attribute("method", "bfgs"), "BFGS takes no bounds")
    yield "method cg", Variant("plain", attribute("method", "cg"), "method")
    for update in ("dfp", "ssbroyden1"):
        yield f"update {update}", Variant("bfgs", attribute("update", update), "")
    yield "update sr1", Variant("bfgs", attribute("update", "sr1"), "update")
    yield "function that calls itself", Variant("plain", calls_itself, "nested")
    for dtype in (tf.float32, tf.float64):
        for name in ("plain", "slsqp", "jit"):
            yield f"{name}: precision {dtype.name}", Variant(name, attribute("precision", dtype), "")
    for dtype in (tf.float16, tf.bfloat16, tf.int32, tf.string, tf.resource):
        yield f"precision {dtype.name}", Variant("plain", attribute("precision", dtype), "precision")
    yield "jit_compile of what is not compiled", Variant("plain", attribute("jit_compile", True), "")


def _assigned_shape() -> Iterator[tuple[str, Variant]]:
    def shrinks(x: Any, v: Any, w: Any, a: Any) -> Any:
        for handle, value in ((v, tf.zeros([1], tf.float64)), (w, tf.zeros([1]))):
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        return tf.reduce_sum(x**2), 2 * x

    handle = tf.TensorSpec([], tf.resource)
    mutation = called("functions", 0, shrinks, vector(5), handle, handle, X)
    yield "function that assigns other shapes to the variables", Variant("variables", mutation, "")


def _traces() -> Iterator[tuple[str, Variant]]:
    inputs = (X, SCALAR, X, vector(dtype=tf.int32), X)
    outputs: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "the end only": lambda: tf.constant(False),
        "no state": lambda: (tf.constant(False), d(2), d()),
        "too little": lambda: (tf.constant(False), tf.constant(0), d(2)),
        "too much": lambda: (tf.constant(False), tf.constant(0), d(2), d(), d()),
        "a number for the end": lambda: (tf.constant(0), tf.constant(0), d(2), d()),
        "words for the end": lambda: (tf.constant("no"), tf.constant(0), d(2), d()),
        "a vector for the end": lambda: (tf.constant([False]), tf.constant(0), d(2), d()),
        "nothing in the end": lambda: (tf.zeros([0], tf.bool), tf.constant(0), d(2), d()),
        "a state of another dtype": lambda: (tf.constant(False), d(), d(2), d()),
        "a state of another shape": lambda: (tf.constant(False), tf.constant([0]), d(2), d()),
        "words": lambda: (tf.constant(False), tf.constant(0), tf.constant(["a", "b"]), d()),
        "float32": lambda: (tf.constant(False), tf.constant(0), tf.zeros([2]), d()),
        "larger tensors": lambda: (tf.constant(False), tf.constant(0), d(3), d()),
        "empty tensors": lambda: (tf.constant(False), tf.constant(0), d(0), d()),
        "another rank": lambda: (tf.constant(False), tf.constant(0), d(2, 1), d()),
    }
    for name, output in outputs.items():
        function = lambda *inputs, output=output: output()  # noqa: E731
        variant = Variant("trace", called("trace_functions", 0, function, *inputs), "trace_functions[0]")
        yield f"trace function that returns {name}", variant
    for i in range(len(inputs)):
        fewer = inputs[:i] + inputs[i + 1 :]
        function = lambda *inputs: (tf.constant(False), tf.constant(0), d(2), d())  # noqa: E731
        variant = Variant("trace", called("trace_functions", 0, function, *fewer), "trace_functions[0]")
        yield f"trace function without argument {i}", variant
    right = [tf.TensorShape([2]), tf.TensorShape([])]
    shapes = {
        "none": [],
        "too few": right[:1],
        "too many": [*right, right[0]],
        "many too many": right * 50,
        "unknown": [tf.TensorShape([None]), right[1]],
        "of unknown rank": [tf.TensorShape(None), right[1]],
        "of too many dimensions": [tf.TensorShape([1] * 254), right[1]],
    }
    for name, value in shapes.items():
        yield f"trace_shapes {name}", Variant("trace", attribute("trace_shapes", value), "trace_shapes")
    for name, value in {"larger": [HUGE, right[1]], "exchanged": right[::-1]}.items():
        yield f"trace_shapes {name}", Variant("trace", attribute("trace_shapes", value), "trace_functions[0]")
    both = [tf.float64, tf.float64]
    for dtypes in ([], both[:1], [*both, tf.float64]):
        yield f"Ttrace {dtypes}", Variant("trace", attribute("Ttrace", dtypes), "T")
    for dtype in (tf.string, tf.float32, tf.int64, tf.resource, tf.variant, tf.bool):
        yield f"Ttrace {dtype.name}", Variant("trace", attribute("Ttrace", [dtype, tf.float64]), "trace_functions[0]")
    for value in (["no_such_function"], ["no_such_function"] * 2, []):
        yield f"trace_functions {value}", Variant("trace", attribute("trace_functions", value), "")


def _batches() -> Iterator[tuple[str, Variant]]:
    def batch(mutation: Mutation, expected: str) -> Variant:
        return Variant("batch", mutation, expected)

    for value in ([-1], [2], [0, 0], [0, 2], [2**62]):
        yield f"batch: batched {value}", batch(attribute("batched", value), "batched")
    for value in ([], [0], [0, 1], [1, 0]):  # others than those that the function takes slices of
        yield f"batch: batched {value}", batch(attribute("batched", value), "")
    for value in (-1, -(2**63)):
        yield f"batch: num_threads {value}", batch(attribute("num_threads", value), "num_threads")
    yield "batch: num_threads 100000", batch(attribute("num_threads", 100_000), "")
    for value in (1, 2**60, 2**63 - 1):
        yield f"batch: num_constraints {value}", batch(attribute("num_constraints", value), "num_constraints")
    nan = np.nan
    odd = [np.ones(2), np.ones((2, 2)), np.ones((0, 2)), [[nan, 1.0]]]
    for value in (*odd, np.ones((1, 0)), np.ones(()), np.ones((1, 1, 2))):
        yield f"batch: x0 {np.shape(value)} {np.ravel(value)}", batch(given(0, value), "x0")
    for name in ("lower", "upper"):
        for value in (*odd, np.ones((1, 3)), np.ones((0, 0)), np.ones((3, 2))):
            variant = batch(given(INPUTS.index(name), value), "upper" if np.shape(value) in ((0, 0), (3, 2)) else "")
            yield f"batch: {name} {np.shape(value)} {np.ravel(value)}", variant
    for value in (np.ones(()), np.ones((2, 2)), np.ones((3, 3)), np.ones((0, 2)), np.ones(3)):
        place = FIRST_CAPTURE + 1
        yield f"batch: capture {np.shape(value)}", batch(given_unknown(place, value), "")
    for shapes in ([(1,), (2,)], [(), (1,)], [(), (3, 2)]):
        function = lambda x, a, p, shapes=shapes: tuple(d(*s) for s in shapes)  # noqa: E731
        yield f"batch: function of shapes {shapes}", batch(called("functions", 0, function, X, X, X), "functions[0]")
    words = all_of(given(FIRST_CAPTURE + 1, [["a", "b"]] * 3), attribute("Tcaptures", [tf.float64, tf.string]))
    yield "batch: words", batch(words, "must hold numbers")


@cache
def variants() -> dict[str, Variant]:
    """All variants by name."""
    parts = (_counts, _variables, _inputs, _functions, _assigned_shape, _traces, _kinds, _batches)
    return {name: variant for part in parts for name, variant in part()}


def run_variants(names: Iterable[str]) -> dict[str, str]:
    """Return the outcome of each variant, run in a process that is started again whenever a variant ends it."""
    left, found = list(names), {}
    while left:
        child = subprocess.run(
            [sys.executable, str(Path(__file__)), json.dumps(left)], capture_output=True, text=True, check=False
        )
        lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("[")]
        done = {line[1]: line[2] for line in lines if line[0] == "end"}
        found.update(done)
        left = [name for name in left if name not in done]
        if left:
            begun = [line[1] for line in lines if line[0] == "begin"]
            if not begun or begun[-1] in done:
                raise RuntimeError(f"the process ended before {left[0]!r}: {child.stderr[-2000:]}")
            found[begun[-1]] = f"UNEXPECTED end of the process, {child.returncode}: {child.stderr[-1000:]}"
            left.remove(begun[-1])
    return found


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for variant_name in json.loads(sys.argv[1]):
        print(json.dumps(["begin", variant_name]), flush=True)
        text = outcome(mutated(variants()[variant_name]))
        print(json.dumps(["end", variant_name, text]), flush=True)
