"""Every copy of a variable mirrored by a distribution strategy gets the solution."""

from __future__ import annotations

import pytest
from interpreter import run_parts

pytestmark = pytest.mark.subprocess

SETUP = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfminimize as tfm
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
target = [1.0, 2.0, 3.0]
with strategy.scope():
    w = tf.Variable(tf.zeros([3]))
    b = tf.Variable(np.zeros(1))
def loss():
    return tf.reduce_sum((w - target) ** 2) + tf.cast(tf.reduce_sum((b - 4.0) ** 2), tf.float32)
def reset():
    w.assign(tf.zeros([3])); b.assign([0.0])
def check(w_target=target):
    for copy in w.values:
        np.testing.assert_allclose(copy.numpy(), w_target, atol=1e-3)
    for copy in b.values:
        np.testing.assert_allclose(copy.numpy(), 4.0, atol=1e-3)
"""


SOLVE = """
with {scope}:
    for call in [
        lambda: tfm.minimize(loss, [w, b]),
        lambda: tfm.minimize(loss, [w, b], method="SLSQP", constraints={"type": "ineq", "fun": lambda: w[0]}),
        lambda: tfm.minimize(loss, [w, b], method="BFGS"),
        lambda: tfm.minimize(loss, [w, b], jit_compile=True),
        lambda: tfm.Minimizer(loss, [w, b]).minimize(),
        lambda: tfm.ops.minimize(loss, [w, b]),
        lambda: tf.function(lambda: tfm.minimize(loss, [w, b]).fun, autograph=False)(),
        lambda: tfm.ScipyOptimizerInterface(loss, [w, b]).minimize(),
        lambda: tfm.math.minimize(loss, 50, tfm.LBFGSB(), trainable_variables=[w, b]),
    ]:
        reset()
        call()
        check()
"""

PARTS = {
    "every copy gets the solution": SOLVE.replace("{scope}", "tf.name_scope('outside')"),
    "every copy gets the solution in the scope of the strategy": SOLVE.replace("{scope}", "strategy.scope()"),
    "bounds by reference": """
reset()
tfm.minimize(loss, [w, b], bounds={w.ref(): (None, 2.5)})
check([1.0, 2.0, 2.5])
""",
    "a variable with a value on each replica is refused by name": """
with strategy.scope():
    on_read = tf.Variable(
        1.0, name="sums", synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )
try:
    tfm.minimize(lambda: on_read**2, [on_read])
except ValueError as error:
    assert "'sums" in str(error) and "ON_READ" in str(error), error
else:
    raise AssertionError
""",
    "a solve on one replica is refused": """
def solve():
    return tfm.minimize(loss, [w, b]).fun
try:
    strategy.run(tf.function(solve, autograph=False))
except ValueError as error:
    assert "outside of strategy.run" in str(error), error
else:
    raise AssertionError
""",
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return run_parts(SETUP, PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_mirrored_variables(errors: dict[str, str], part: str) -> None:
    assert errors[part] == ""
