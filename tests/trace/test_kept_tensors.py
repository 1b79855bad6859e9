"""If a function keeps x, it keeps a copy, wherever it does so and however the solver calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_parts

import tfminimize as tfm

N = 3
MOST = 400


class Keeper(NamedTuple):
    """Keeps tensors and returns the first element of each, in order."""

    keep: Callable[[tf.Tensor], Any]
    kept: Callable[[int], list[float]]


def stack(dtype: tf.DType) -> Keeper:
    handle = tf.raw_ops.StackV2(max_size=MOST, elem_type=dtype)

    def pop() -> float:
        return float(tf.raw_ops.StackPopV2(handle=handle, elem_type=dtype)[0])

    return Keeper(
        lambda x: tf.raw_ops.StackPushV2(handle=handle, elem=x), lambda count: [pop() for _ in range(count)][::-1]
    )


def stage(dtype: tf.DType) -> Keeper:
    place = f"stage_{np.random.default_rng().integers(1 << 60)}"

    def take() -> float:
        return float(tf.raw_ops.Unstage(dtypes=[dtype], shared_name=place)[0][0])

    return Keeper(
        lambda x: tf.raw_ops.Stage(values=[x], shared_name=place), lambda count: [take() for _ in range(count)]
    )


def queue(dtype: tf.DType) -> Keeper:
    waiting = tf.queue.FIFOQueue(MOST, [dtype], shapes=[[N]])
    return Keeper(waiting.enqueue, lambda count: [float(waiting.dequeue()[0]) for _ in range(count)])


def list_in_a_variable(dtype: tf.DType) -> Keeper:
    handle = tf.raw_ops.VarHandleOp(dtype=tf.variant, shape=[])
    empty = tf.raw_ops.EmptyTensorList(
        element_shape=tf.constant([N]), max_num_elements=tf.constant(-1), element_dtype=dtype
    )
    tf.raw_ops.AssignVariableOp(resource=handle, value=empty)

    def keep(x: tf.Tensor) -> None:
        elements = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.variant)
        longer = tf.raw_ops.TensorListPushBack(input_handle=elements, tensor=x)
        tf.raw_ops.AssignVariableOp(resource=handle, value=longer)

    def kept(_: int) -> list[float]:
        elements = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.variant)
        stacked = tf.raw_ops.TensorListStack(input_handle=elements, element_shape=tf.constant([N]), element_dtype=dtype)
        return [float(row[0]) for row in stacked]

    return Keeper(keep, kept)


def in_python(call: Callable[..., Any]) -> Callable[[tf.DType], Keeper]:
    def make(dtype: tf.DType) -> Keeper:
        found: list[Any] = []

        def append(x: Any) -> Any:
            found.append(x)
            return x[0]

        return Keeper(lambda x: call(append, x, dtype), lambda _: [float(x[0]) for x in found])

    return make


KEEPERS: dict[str, Callable[[tf.DType], Keeper]] = {
    "stack": stack,
    "stage": stage,
    "queue": queue,
    "list in a variable": list_in_a_variable,
    "py_function": in_python(lambda f, x, dtype: tf.py_function(f, [x], dtype)),
    "numpy_function": in_python(lambda f, x, dtype: tf.numpy_function(f, [x], dtype)),
}


class Recorder:
    """Keeps its arguments, and their sums, which share no memory."""

    def __init__(self, make: Callable[[tf.DType], Keeper] = stack, dtype: Any = tf.float64) -> None:
        self._keeper = make(tf.as_dtype(dtype))
        self._seen = tf.Variable(tf.zeros([MOST], dtype))
        self._count = tf.Variable(0)

    def __call__(self, x: tf.Tensor) -> None:
        x = tf.reshape(x, [N])
        self._keeper.keep(x)
        self._seen.assign_add(tf.one_hot(self._count, MOST, dtype=x.dtype) * x[0])
        self._count.assign_add(1)

    def check(self) -> None:
        count = int(self._count)
        assert 3 < count < MOST
        seen = self._seen.numpy()[:count].tolist()
        assert len(set(seen)) > 3
        assert self._keeper.kept(count) == seen


def bowl(x: Any) -> tf.Tensor:
    return tf.reduce_sum((x - tf.constant([1.0, 2.0, 3.0], x.dtype)) ** 4)


@pytest.mark.slow
@pytest.mark.parametrize("use", ["array", "variable"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("keeper", KEEPERS)
def test_kept_tensors_do_not_change(keeper: str, dtype: str, use: str) -> None:
    record = Recorder(KEEPERS[keeper], dtype)

    def loss(x: Any) -> tf.Tensor:
        record(x)
        return bowl(x)

    start = np.zeros(N, dtype)
    if use == "array":
        tfm.minimize(loss, start)
    else:
        variable = tf.Variable(start)
        tfm.minimize(lambda: loss(tf.convert_to_tensor(variable)), variable)
    record.check()


def in_a_function_of_its_own(keep: Callable[[tf.Tensor], Any], x: tf.Tensor) -> None:
    tf.function(keep, experimental_attributes={"_noinline": True})(x)


def in_a_branch(keep: Callable[[tf.Tensor], Any], x: tf.Tensor) -> None:
    def kept() -> tf.Tensor:
        keep(x)
        return tf.constant(True)

    tf.cond(x[0] < 1e9, kept, lambda: tf.constant(False))


def in_a_loop(keep: Callable[[tf.Tensor], Any], x: tf.Tensor) -> None:
    def body(i: tf.Tensor) -> list[tf.Tensor]:
        keep(x)
        return [i + 1]

    tf.while_loop(lambda i: i < 2, body, [0])


def in_map_fn(keep: Callable[[tf.Tensor], Any], x: tf.Tensor) -> None:
    def one(i: tf.Tensor) -> tf.Tensor:
        keep(x)
        return i

    tf.map_fn(one, tf.range(2))


def in_a_data_set(keep: Callable[[tf.Tensor], Any], x: tf.Tensor) -> None:
    def step(count: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        keep(y)
        return count + 1

    tf.data.Dataset.from_tensors(tf.stop_gradient(x)).reduce(0, step)


PLACES = [in_a_function_of_its_own, in_a_branch, in_a_loop, in_map_fn, in_a_data_set]


@pytest.mark.slow
@pytest.mark.parametrize("use", ["array", "variable"])
@pytest.mark.parametrize("place", PLACES)
def test_tensors_kept_in_inner_functions_do_not_change(place: Callable[..., None], use: str) -> None:
    record = Recorder(queue)

    def loss(x: tf.Tensor) -> tf.Tensor:
        place(record, x)
        return bowl(x)

    if use == "array":
        tfm.minimize(loss, np.zeros(N))
    else:
        variable = tf.Variable(np.zeros(N))
        tfm.minimize(lambda: loss(tf.convert_to_tensor(variable)), variable)
    record.check()


@pytest.mark.parametrize("alias", [tf.identity, lambda x: tf.reshape(x, [1, N]), lambda x: tf.reshape(x, [N])[0:N]])
def test_tensors_that_share_memory_with_x_are_copied(alias: Callable[[tf.Tensor], tf.Tensor]) -> None:
    record = Recorder()

    def loss(x: tf.Tensor) -> tf.Tensor:
        record(alias(x))
        return bowl(x)

    tfm.minimize(loss, np.zeros(N))
    record.check()


def by_minimizer(loss: Callable[[Any], Any], start: Any) -> None:
    solver = tfm.Minimizer(loss, start)
    solver.minimize()
    solver.minimize(start - 2.0)


def by_batch(loss: Callable[[Any], Any], start: Any) -> None:
    tfm.Minimizer(loss, start).minimize_batch(np.stack([start, start + 5.0]), num_threads=1)


def by_slsqp(loss: Callable[[Any], Any], start: Any) -> None:
    tfm.minimize(bowl, start, method="SLSQP", constraints={"type": "ineq", "fun": lambda x: 50.0 - loss(x)})


def in_a_graph(loss: Callable[[Any], Any], start: Any) -> None:
    tf.function(lambda x0: tfm.ops.minimize(loss, x0).x)(tf.constant(start))


def in_a_graph_by_slsqp(loss: Callable[[Any], Any], start: Any) -> None:
    tf.function(lambda x0: tfm.ops.minimize(loss, x0, method="SLSQP").x)(tf.constant(start))


def by_scipy(loss: Callable[[Any], Any], start: Any) -> None:
    tfm.minimize(loss, start, method="CG")


def by_interface(loss: Callable[[Any], Any], start: Any) -> None:
    variable = tf.Variable(start)
    tfm.ScipyOptimizerInterface(lambda: loss(tf.convert_to_tensor(variable)), [variable]).minimize()


def by_interface_and_scipy(loss: Callable[[Any], Any], start: Any) -> None:
    variable = tf.Variable(start)
    tfm.ScipyOptimizerInterface(lambda: loss(tf.convert_to_tensor(variable)), [variable], method="CG").minimize()


def on_variables_in_a_graph(loss: Callable[[Any], Any], start: Any) -> None:
    variable = tf.Variable(start)
    tf.function(lambda: tfm.ops.minimize(lambda: loss(tf.convert_to_tensor(variable)), variable).x)()


ENTRIES = [
    by_minimizer,
    by_batch,
    by_slsqp,
    by_scipy,
    by_interface,
    by_interface_and_scipy,
    in_a_graph,
    in_a_graph_by_slsqp,
    on_variables_in_a_graph,
]


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_kept_tensors_do_not_change_in_any_entry_point(entry: Callable[..., None]) -> None:
    record = Recorder(queue)

    def loss(x: tf.Tensor) -> tf.Tensor:
        record(x)
        return bowl(x)

    entry(loss, np.zeros(N))
    record.check()


@pytest.mark.parametrize("use", ["array", "variable"])
def test_tensors_kept_by_xla_inside_tensorflow_do_not_change(use: str) -> None:
    kept, other = tf.Variable(np.zeros((MOST, N))), tf.Variable(np.full(N, 4.0))
    count = tf.Variable(0)
    start: Any = np.zeros(N) if use == "array" else [tf.Variable(np.zeros(N)), other]

    def loss(x: Any = None) -> tf.Tensor:
        x = tf.convert_to_tensor(start[0]) if x is None else x
        kept.assign(tf.tensor_scatter_nd_update(kept, [[count]], [x]))
        count.assign_add(1)
        return bowl(x) + tf.reduce_sum((other - x) ** 2)

    result = tfm.minimize(loss, start, jit_compile=True)
    assert "may keep" in result.backend_reason
    rows = kept.numpy()[: int(count)]
    assert len(np.unique(rows, axis=0)) == len(rows) > 3
    np.testing.assert_array_equal(rows[0], np.zeros(N))


def test_session_keeps_copies() -> None:
    found: list[Any] = []
    with tf.Graph().as_default():
        variable = tf.compat.v1.get_variable("x", initializer=np.zeros(8), use_resource=True)
        x = tf.convert_to_tensor(variable)
        kept = tf.compat.v1.py_func(lambda v: (found.append((v, v.copy())), v[0])[1], [x], tf.float64)
        with tf.control_dependencies([kept]):
            loss = tf.reduce_sum((tf.identity(x) - 1.0) ** 4)
        optimizer = tfm.ScipyOptimizerInterface(loss, [variable])
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            optimizer.minimize(session)
    assert len(found) > 3
    for kept_array, copy in found:
        np.testing.assert_array_equal(kept_array, copy)


def test_bitcasts_of_x_are_copied() -> None:
    kept = [tf.Variable(np.zeros(N, np.int64)) for _ in range(5)]
    seen, count = tf.Variable(np.zeros((5, N))), tf.Variable(0)

    def loss(x: tf.Tensor) -> tf.Tensor:
        def keep(i: int) -> Callable[[], tf.Tensor]:
            def branch() -> tf.Tensor:
                kept[i].assign(tf.bitcast(x, tf.int64))
                seen.assign_add(tf.one_hot([i], 5, axis=0, dtype=x.dtype) * x)
                return tf.constant(0)

            return branch

        tf.switch_case(tf.identity(count), [*map(keep, range(5)), lambda: tf.constant(0)])
        count.assign_add(1)
        return bowl(x)

    tfm.minimize(loss, np.zeros(N))
    assert len(np.unique(seen, axis=0)) == 5
    np.testing.assert_array_equal([v.numpy().view(np.float64) for v in kept], seen)


def test_reason_names_the_operation_that_may_keep_x() -> None:
    record = Recorder()

    def loss(x: tf.Tensor) -> tf.Tensor:
        record(x)
        return bowl(x)

    assert "StackPushV2" in tfm.minimize(loss, np.zeros(N)).backend_reason
    assert "copies" not in tfm.minimize(bowl, np.zeros(N)).backend_reason


evaluations = tf.Variable(0)


def counted(x: tf.Tensor) -> tf.Tensor:
    evaluations.assign_add(1)
    evaluations.assign(evaluations + 1)
    return bowl(x)


def checked(x: tf.Tensor) -> tf.Tensor:
    tf.debugging.assert_less(x, tf.constant(1e9, x.dtype))
    return bowl(tf.debugging.check_numerics(x, "x"))


@pytest.mark.parametrize(
    "loss", [bowl, counted, checked, lambda x: tf.cond(x[0] > 0, lambda: bowl(x), lambda: bowl(x))]
)
def test_function_that_keeps_nothing_reads_x_itself(loss: Callable[[tf.Tensor], tf.Tensor]) -> None:
    solver = tfm.Minimizer(loss, np.zeros(N))
    workspace = solver._program.lease(solver.arguments).workspace
    assert workspace.objective.input_address(workspace.x, 0) == (workspace.x.ctypes.data,)
    variable = tf.Variable(np.zeros(N))
    solver = tfm.Minimizer(lambda: loss(tf.convert_to_tensor(variable)), variable)
    assert solver._program.lease(solver.arguments).workspace._first._shared


SETUP = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfminimize as tfm
"""

KEEP = """
asynchronous, use = {asynchronous}, {use!r}
tf.config.experimental.set_synchronous_execution(not asynchronous)
with tf.device("CPU:0" if asynchronous else "CPU:1"):
    queue = tf.queue.FIFOQueue(400, [tf.float64], shapes=[[3]])
count = tf.Variable(0)

def loss(x):
    with tf.device("CPU:0" if asynchronous else "CPU:1"):
        queue.enqueue(x)
    count.assign_add(1)
    return tf.reduce_sum((x - [1.0, 2.0, 3.0]) ** 4)

if use == "array":
    tfm.minimize(loss, np.zeros(3))
else:
    v = tf.Variable(np.zeros(3))
    tfm.minimize(lambda: loss(tf.convert_to_tensor(v)), v)
kept = [tuple(queue.dequeue().numpy()) for _ in range(int(count))]
assert sum(kept[0]) == 0.0 and len(kept) == len(set(kept)) > 3, kept
"""

WHERE = ["async", "another device"]
USES = ["array", "variable"]


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    parts = {
        f"{where}, {use}": KEEP.replace("{asynchronous}", str(where == "async")).replace("{use!r}", repr(use))
        for where in WHERE
        for use in USES
    }
    return run_parts(SETUP, parts)


@pytest.mark.subprocess
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("where", WHERE)
def test_tensors_kept_elsewhere_do_not_change(errors: dict[str, str], where: str, use: str) -> None:
    assert errors[f"{where}, {use}"] == ""


def test_asking_whether_a_variable_is_initialised_keeps_nothing() -> None:
    v = tf.Variable([1.0, 2.0])

    def loss() -> tf.Tensor:
        return tf.reduce_sum((v - 3.0) ** 2) / tf.cast(tf.compat.v1.is_variable_initialized(v), tf.float32)

    result = tfm.minimize(loss, v)
    assert "gets copies" not in result.backend_reason
    np.testing.assert_allclose(result.x, [3.0, 3.0], atol=1e-5)
