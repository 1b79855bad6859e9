"""Machine code multiplies tall matrices by small ones with kernels of our own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_program

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

HAS_KERNELS = {"avx2", "fma"} <= set(Path("/proc/cpuinfo").read_text().split())
DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


def at_start(fun: Any, x0: Any, *args: Any, jit_compile: bool) -> Any:
    """Return the loss and the gradient at the start."""
    return tfm.minimize(fun, x0, args=args, jit_compile=jit_compile, options={"maxiter": 0})


def network(weights: list[Any], x: Any) -> Any:
    for weight in weights[:-1]:
        x = tf.tanh(x @ weight)
    return tf.reduce_sum((x @ weights[-1]) ** 2)


def transposed(weights: list[Any], x: Any) -> Any:
    """The same with columns for rows, as far as kernels of rows can see it."""
    for weight in weights[:-1]:
        x = tf.tanh(tf.matmul(tf.transpose(x), tf.transpose(weight), transpose_a=True, transpose_b=True))
    return tf.reduce_sum(tf.transpose(tf.matmul(weights[-1], x, transpose_a=True, transpose_b=True)) ** 2)


@DTYPES
@pytest.mark.parametrize("loss", [network, transposed])
@pytest.mark.parametrize(
    ("rows", "units"),
    [
        (31, [5, 4, 3]),
        (32, [5, 4, 3]),
        (625, [2, 20, 20, 20, 1]),
        (500, [64, 64, 32, 10]),
        (77, [128, 32, 129, 7]),
        (6000, [32, 32, 2]),  # in part too large
    ],
)
def test_derivatives_are_those_of_the_graph(loss: Any, rows: int, units: list[int], dtype: str) -> None:
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(rows, units[0])), dtype)
    shapes = itertools.pairwise(units)
    weights = [(random.normal(size=shape) / np.sqrt(shape[0])).astype(dtype) for shape in shapes]
    ours, graph = (at_start(loss, weights, x, jit_compile=jit) for jit in (True, False))
    assert (ours.backend, graph.backend) == ("xla", "tfe")
    rtol = 1e-10 if dtype == "float64" else 1e-3
    assert ours.fun == pytest.approx(graph.fun, rel=rtol)
    for one, other in zip(ours.jac, graph.jac, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())


@pytest.mark.skipif(not HAS_KERNELS, reason="This processor has no AVX2 and FMA; XLA's own products are used.")
@DTYPES
def test_kernels_make_the_products(dtype: str) -> None:
    """A kernel adds 64 rows, then the sums of these: here the ones are lost in the first 64 only."""
    large = 2.0**53 if dtype == "float64" else 2.0**24
    ones, first = tf.ones([64 * 3, 2], dtype), np.ones([64 * 3, 4], dtype)
    first[0] = large
    result = at_start(
        lambda x, a, b: tf.reduce_sum(tf.matmul(a, x) * b), np.zeros([2, 4], dtype), ones, first, jit_compile=True
    )
    assert result.backend == "xla"
    np.testing.assert_array_equal(result.jac, np.full([2, 4], large + 128))


def test_number_that_is_not_finite_stays_in_its_row() -> None:
    rows = np.ones([40, 3])
    rows[7, 1] = np.inf
    result = at_start(
        lambda x, a: tf.reduce_sum(tf.where(tf.range(40)[:, None] == 7, tf.zeros_like(a @ x), a @ x)),
        np.ones([3, 5]),
        rows,
        jit_compile=True,
    )
    assert result.backend == "xla"
    assert result.fun == 39 * 5 * 3.0


def test_number_of_rows_may_be_known_at_run_time_only() -> None:
    """XLA's own products stay, since XLA refuses other calls for such rows."""
    x, weight = np.linspace(-1, 1, 40 * 3).reshape(40, 3), np.ones([3, 5])

    def loss(weight: Any, x: Any) -> Any:
        return tf.reduce_sum(tf.tanh(tf.boolean_mask(x, x[:, 0] > 0) @ weight))

    result = at_start(loss, weight, x, jit_compile=True)
    assert result.backend == "xla", result.backend_reason
    assert result.fun == pytest.approx(5 * np.tanh(x[x[:, 0] > 0].sum(axis=1)).sum(), rel=1e-12)


@pytest.mark.subprocess
def test_two_copies_of_the_library_in_one_process(tmp_path: Path) -> None:
    """A served model may bring its own, and XLA ends the process if both give a kernel the same name."""
    rows = tf.reshape(tf.linspace(tf.constant(-1.0, tf.float64), 1.0, 40 * 3), [40, 3])

    @tf.function(input_signature=[tf.TensorSpec([3, 2], tf.float64)])
    def solve(x0: tf.Tensor) -> dict[str, tf.Tensor]:
        result = tfm.ops.minimize(lambda x: tf.reduce_sum((rows @ x) ** 2), x0, jit_compile=True)
        return {"fun": result.fun, "backend": result.backend}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), signatures=solve)
    program = """
        import importlib.util, shutil, sys
        from pathlib import Path
        import numpy as np
        import tensorflow as tf
        package = Path(importlib.util.find_spec("tfminimize").submodule_search_locations[0])
        folder = Path(sys.argv[1])
        for library in package.glob("_xla*.so"):
            shutil.copy(library, folder)
        tf.load_op_library(shutil.copy(package / "_ops.so", folder))
        served = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
        print(served(x0=tf.ones([3, 2], tf.float64))["backend"].numpy().decode())
        import tfminimize as tfm
        rows = np.linspace(-1, 1, 40 * 3).reshape(40, 3)
        print(tfm.minimize(lambda x: tf.reduce_sum((rows @ x) ** 2), np.ones([3, 2]), jit_compile=True).backend)
    """
    assert run_program(program, tmp_path) == "xla\nxla\n"
