"""A solve that needs more memory than there is is refused with a sentence, before anything is copied."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interpreter import run_program

import tfminimize as tfm

MANY = np.zeros(1_000_000)
PAIRS = {"maxcor": 1 << 20}
LBFGSB = r"^L-BFGS-B with 1000000 variables and maxcor = 1048576 needs .* GB.* has .* GB free: give maxcor="
SLSQP = r"^SLSQP with 1000000 variables and 0 constraints needs .* GB.* has .* GB free: use L-BFGS-B"
BFGS = r"^BFGS with 1000000 variables needs .* GB.* has .* GB free: use L-BFGS-B, which needs a few vectors, or [0-9]+ "
SOLVERS = pytest.mark.parametrize(
    ("method", "options", "sentence"), [("L-BFGS-B", PAIRS, LBFGSB), ("SLSQP", {}, SLSQP), ("BFGS", {}, BFGS)]
)


def loss(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x**2)


def fun(x: Any) -> tuple[float, Any]:
    return float(x @ x), 2 * x


@SOLVERS
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_minimize(method: str, options: dict[str, int], sentence: str, dtype: str) -> None:
    with pytest.raises(MemoryError, match=sentence):
        tfm.minimize(loss, MANY.astype(dtype), method=method, options=options)


@SOLVERS
def test_variables(method: str, options: dict[str, int], sentence: str) -> None:
    variable = tf.Variable(MANY)
    with pytest.raises(MemoryError, match=sentence):
        tfm.minimize(lambda: loss(variable), variable, method=method, options=options)


def test_minimizer() -> None:
    solver = tfm.Minimizer(loss, MANY)
    with pytest.raises(MemoryError, match=LBFGSB):
        solver.minimize(options=PAIRS)
    with pytest.raises(MemoryError, match=SLSQP):
        tfm.Minimizer(loss, MANY, method="SLSQP")
    with pytest.raises(MemoryError, match=BFGS):
        tfm.Minimizer(loss, MANY, method="BFGS")


@SOLVERS
def test_in_scipys_hands(method: str, options: dict[str, int], sentence: str) -> None:
    native = {"L-BFGS-B": tfm.scipy.lbfgsb, "SLSQP": tfm.scipy.slsqp, "BFGS": tfm.scipy.bfgs}[method]
    with pytest.raises(MemoryError, match=sentence):
        scipy.optimize.minimize(fun, MANY, jac=True, method=native, options=options)


@pytest.mark.slow
@pytest.mark.parametrize("in_graph", [False, True])
def test_operation(in_graph: bool) -> None:
    def solve() -> Any:
        return tfm.ops.minimize(loss, tf.zeros(100_000, tf.float64), options=PAIRS).x

    with pytest.raises(tf.errors.ResourceExhaustedError, match="L-BFGS-B with 100000 variables and maxcor = 1048576"):
        tf.function(solve)() if in_graph else solve()


def test_solvers_of_a_batch_are_added_up() -> None:
    n = 100
    solver = tfm.Minimizer(loss, np.zeros(n))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    count = memory // (8 * n * (2 * PAIRS["maxcor"] + 5)) + 1
    with pytest.raises(MemoryError, match=f"^L-BFGS-B, in {count} threads, .*: give a smaller num_threads, "):
        solver.minimize_batch(np.zeros((count, n)), num_threads=count, options=PAIRS)


@pytest.mark.subprocess
def test_memory_that_the_system_refuses() -> None:
    script = """
import resource
import numpy as np, tensorflow as tf
import tfminimize as tfm
solver = tfm.Minimizer(lambda x: tf.reduce_sum(x**2), np.zeros(50_000))
assert solver.minimize().success
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))
try:
    solver.minimize(options={"maxcor": 5000})
except MemoryError as error:
    print(error)
assert solver.minimize(np.ones(50_000)).success
"""
    assert run_program(script).startswith("The system has no 4 GB of memory more for the solver: give fewer variables")


@pytest.mark.slow
def test_few_of_many_free_workspaces_are_kept() -> None:
    for n, kept in ((2, 30), (50_000, 20)):
        solver = tfm.Minimizer(loss, np.zeros(n))
        solver.minimize_batch(np.ones((30, n)), num_threads=30)
        (pool,) = solver._program._pools.values()
        assert len(pool.free) == kept
        assert solver.minimize().success


def test_one_free_workspace_is_kept_however_large() -> None:
    solver = tfm.Minimizer(loss, np.zeros(3_000_000), jit_compile=True)
    solver.minimize()
    (pool,) = solver._program._pools.values()
    workspace = pool.free[0]
    solver.minimize()
    assert pool.free == [workspace]
