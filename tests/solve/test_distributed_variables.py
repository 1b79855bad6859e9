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

RUN = """
shares = strategy.experimental_distribute_values_from_function(
    lambda context: tf.constant(np.arange(4.0) + 4 * context.replica_id_in_sync_group)
)
with strategy.scope():
    v = tf.Variable(np.zeros(2))
def replica(x):
    return tf.reduce_sum((v[0] - x) ** 2) + 4.0 * (v[1] - v[0] ** 2) ** 2
def loss_of_all():  # on each device with the copy that is there; and with the first one
    parts = strategy.run(replica, args=(shares,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None) + 0.5 * tf.reduce_sum(v**2)
def same_on_one_device(x):
    rows = np.arange(8.0)
    return tf.reduce_sum((x[0] - rows) ** 2) + 8.0 * (x[1] - x[0] ** 2) ** 2 + 0.5 * tf.reduce_sum(x**2)
"""

PARTS = {
    "a loss that runs on each replica": RUN
    + """
for options in [{}, {"jit_compile": True}, {"jit_compile": "auto"}, {"method": "BFGS"}, {"method": "SLSQP"}]:
    v.assign(np.zeros(2))
    found, alone = tfm.minimize(loss_of_all, v, **options), tfm.minimize(same_on_one_device, np.zeros(2), **options)
    np.testing.assert_allclose(found.x, alone.x, rtol=1e-6)
    assert found.nit == alone.nit and found.backend == "tfe", options
    for copy in v.values:
        np.testing.assert_array_equal(copy, found.x)
assert "on several devices" in tfm.minimize(loss_of_all, v, jit_compile=True).backend_reason
v.assign(np.zeros(2))
tfm.ScipyOptimizerInterface(loss_of_all, [v]).minimize()
np.testing.assert_allclose(v.values[1], found.x, rtol=1e-3)
""",
    "a loss that runs on each replica is refused where it cannot be solved": RUN
    + """
for call in [
    lambda: tfm.hessian(loss_of_all, v),
    lambda: tfm.minimize(loss_of_all, v, method="SLSQP", constraints={"type": "ineq", "fun": lambda: v[0]}),
    lambda: tf.function(lambda: tfm.minimize(loss_of_all, v).fun, autograph=False)(),
]:
    try:
        call()
    except ValueError as error:
        assert "as strategy.run does" in str(error), error
    else:
        raise AssertionError("no error")
assert not v.numpy().any()
""",
    "inputs of each call are refused": """
def keyed():
    key = tf.compat.v1.get_default_graph().capture_call_time_value(lambda: tf.constant(1.0), tf.TensorSpec([]))
    return key * tf.reduce_sum(w**2)
try:
    tfm.minimize(keyed, w)
except ValueError as error:
    assert "anew for each call from Python" in str(error), error
else:
    raise AssertionError("no error")
""",
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
