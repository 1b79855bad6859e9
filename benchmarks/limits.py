"""What a graph computes, counted, and how long a simple loop takes for it: each operation by NumPy or LAPACK.

The loop runs in one thread, over arrays of the same shapes and dtype, and fuses nothing: it reads and writes memory in
each operation. Operations inside of functions that the graph calls are not counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

__all__ = ["simple_loop"]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Exp": np.exp, "Expm1": np.expm1, "Log": np.log, "Log1p": np.log1p, "Sqrt": np.sqrt, "Tanh": np.tanh,
    "Softplus": np.log1p, "Sigmoid": np.tanh, "Erf": np.tanh, "Pow": np.square,
}  # fmt: skip
ARITHMETIC = {"Add", "AddN", "AddV2", "Mul", "Neg", "RealDiv", "ReluGrad", "Select", "SelectV2", "Sub", "TanhGrad"}
ARITHMETIC |= {"SigmoidGrad", "SoftplusGrad", "SquaredDifference", "Square", "Xdivy", "Tile", "BroadcastTo"}
REDUCTIONS = {"Sum", "Mean", "Max"}


def simple_loop(concrete: Any) -> dict[str, float]:
    """Count the operations of a concrete function with known shapes, and time a loop over them.

    Returns
    -------
    dict
        ``flops`` of products and factorizations, ``numbers`` that element-wise operations read or write, and seconds:
        ``products``, ``factorizations`` (with triangular solves) and ``elements``.
    """
    kinds: Counter[tuple[Any, ...]] = Counter()
    for op in concrete.graph.get_operations():
        shapes = [t.shape for t in (*op.inputs, *op.outputs)]
        if not op.outputs or not op.outputs[0].dtype.is_floating or not all(s.is_fully_defined() for s in shapes):
            continue
        is_transposed = any(name in op.node_def.attr and op.get_attr(name) for name in ("transpose_a", "adj_x"))
        inputs = tuple(tuple(t.shape) for t in op.inputs)
        kinds[op.type, inputs, tuple(op.outputs[0].shape), op.outputs[0].dtype.as_numpy_dtype, is_transposed] += 1
    found = dict.fromkeys(("flops", "numbers", "products", "factorizations", "elements"), 0.0)
    for kind, count in kinds.items():
        if (one := _part(*kind)) is not None:
            name, amount, run = one
            found["numbers" if name == "elements" else "flops"] += count * amount
            found[name] += count * _seconds(run)
    return found


def _part(
    kind: str, inputs: tuple[Any, ...], output: tuple[int, ...], dtype: Any, is_transposed: bool
) -> tuple[str, float, Callable[[], Any]] | None:
    """The part that an operation belongs to, its flops or numbers, and a call that does it; None if not counted."""
    random = np.random.default_rng(0)
    size = int(np.prod(output))
    if kind in ("MatMul", "BatchMatMulV2"):
        inner = inputs[0][-2 if is_transposed else -1]
        a, b = random.random((size // output[-1], inner), dtype), random.random((inner, output[-1]), dtype)
        return "products", 2.0 * size * inner, lambda: np.matmul(a, b)
    if kind in ("Cholesky", "MatrixTriangularSolve"):
        n = inputs[0][-1]
        triangle = np.tril(random.random((n, n), dtype)) + n * np.eye(n, dtype=dtype)
        if kind == "Cholesky":
            matrix = triangle @ triangle.T
            return "factorizations", n**3 / 3, lambda: scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
        right = random.random((n, output[-1]), dtype)
        return (
            "factorizations",
            float(n**2 * output[-1]),
            lambda: scipy.linalg.solve_triangular(triangle, right, lower=True, check_finite=False),
        )
    if kind not in FUNCTIONS and kind not in ARITHMETIC and kind not in REDUCTIONS:
        return None
    read = max([output, *inputs], key=lambda shape: int(np.prod(shape)))
    x = random.random(read, dtype)
    y = np.empty_like(x)
    if kind in REDUCTIONS:
        return "elements", float(x.size), lambda: np.sum(x, axis=0)
    if kind in FUNCTIONS:
        return "elements", 2.0 * x.size, lambda: FUNCTIONS[kind](x, out=y)
    return "elements", 3.0 * x.size, lambda: np.multiply(x, x, out=y)


def _seconds(run: Callable[[], Any]) -> float:
    """The least time of three calls."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)
