"""Minimizer uses XLA's machine code, leaves the rest to TensorFlow, and shares x with either."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from interpreter import run_program
from problems import rosenbrock

import tfminimize as tfm
from tfminimize._tf import binding, xla

pytestmark = pytest.mark.usefixtures("empty_cache")


def both(fun: Callable[..., Any], x0: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Return the results by machine code and by the graph."""
    ours = tfm.minimize(fun, x0, jit_compile=True, **kwargs)
    assert (ours.backend, ours.backend_reason) == ("xla", xla.COMPILED)
    theirs = tfm.minimize(fun, x0, jit_compile=False, **kwargs)
    assert theirs.backend == "tfe"
    assert "jit_compile is not True" in theirs.backend_reason
    return ours, theirs


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [2, 7, 100])
def test_answer_is_that_of_the_graph(n: int, dtype: str) -> None:
    ours, theirs = both(rosenbrock, np.full(n, 0.7, dtype), bounds=(-0.5, 1.5))
    tolerance = 1e-4 if dtype == "float64" else 2e-2
    np.testing.assert_allclose(ours.x, theirs.x, atol=tolerance)
    assert ours.x.dtype == dtype
    assert ours.success


def test_first_evaluation_agrees_to_rounding() -> None:
    start = np.linspace(-1.0, 1.0, 9)
    ours, theirs = both(rosenbrock, start, options={"maxiter": 1})
    np.testing.assert_allclose(ours.jac, theirs.jac, rtol=1e-9)
    assert ours.fun == pytest.approx(theirs.fun, rel=1e-12)


def test_function_that_asks_for_xla_gets_machine_code() -> None:
    assert tfm.minimize(tf.function(rosenbrock, jit_compile=True), np.zeros(2)).backend == "xla"
    assert tfm.minimize(tf.function(rosenbrock), np.zeros(2)).backend == "tfe"
    assert tfm.minimize(tf.function(rosenbrock, jit_compile=True), np.zeros(2), jit_compile=False).backend == "tfe"


def test_x_and_data_are_read_in_place() -> None:
    data = tf.constant(np.random.default_rng(0).normal(size=(50, 3)))
    solver = tfm.Minimizer(
        lambda x: tf.reduce_sum((tf.linalg.matvec(data, x) - 1.0) ** 2), np.zeros(3), jit_compile=True
    )
    lease = solver._program.lease(solver.arguments)
    memory, objective = lease.workspace, lease.workspace.objective
    assert objective.input_address(memory.x, 0) == (memory.x.ctypes.data,)
    address = data.__dlpack__()  # pins the tensor's memory
    assert objective.input_address(memory.x, 1) == (np.from_dlpack(_Exported(address)).ctypes.data,)


class _Exported:
    """A DLPack capsule in the form that NumPy takes."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def test_variables_are_not_touched_before_the_end() -> None:
    v, w = tf.Variable(np.zeros(3)), tf.Variable(np.zeros((2, 2), np.float32))
    seen = []

    def loss() -> tf.Tensor:
        return tf.reduce_sum((v - 2.0) ** 2) + tf.cast(tf.reduce_sum((w + 1.0) ** 2), tf.float64)

    result = tfm.minimize(loss, [v, w], jit_compile=True, callback=lambda x: seen.append(v.numpy().tolist()))
    assert result.backend == "xla"
    assert seen
    assert all(values == [0.0, 0.0, 0.0] for values in seen)
    np.testing.assert_allclose(v.numpy(), 2.0, atol=1e-5)
    np.testing.assert_allclose(w.numpy(), -1.0, atol=1e-5)


def test_other_variables_have_the_values_of_the_start_of_each_solve() -> None:
    target, weight = tf.Variable(1.0, dtype=tf.float64), tf.Variable([2.0])
    solver = tfm.Minimizer(
        lambda x: tf.cast(weight[0], tf.float64) * tf.reduce_sum((x - target) ** 2), np.zeros(3), jit_compile=True
    )
    for value in (1.0, 5.0, -3.0):
        target.assign(value)
        result = solver.minimize()
        assert result.backend == "xla"
        np.testing.assert_allclose(result.x, value, atol=1e-6)


def test_other_variables_of_constraints_likewise() -> None:
    radius, centre = tf.Variable(1.0, dtype=tf.float64), tf.Variable(np.zeros(2))
    solver = tfm.Minimizer(
        lambda x: tf.reduce_sum(x - centre),
        [0.1, 0.1],
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: radius**2 - tf.reduce_sum((x - centre) ** 2)},
        jit_compile=True,
    )
    for size, middle in ((1.0, 0.0), (2.0, 3.0)):
        radius.assign(size)
        centre.assign([middle, middle])
        result = solver.minimize()
        assert result.backend == "xla"
        np.testing.assert_allclose(result.x, middle - size / np.sqrt(2), atol=1e-5)


def test_arguments_change_from_solve_to_solve() -> None:
    solver = tfm.Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(3), args=(np.ones(3),), jit_compile=True)
    for value in (1.0, 4.0):
        result = solver.minimize(args=(np.full(3, value),))
        assert (result.backend, result.timing["trace"]) == ("xla", 0.0 if value > 1 else result.timing["trace"])
        np.testing.assert_allclose(result.x, value, atol=1e-6)


def test_captured_paddings_become_a_constant() -> None:
    paddings = tf.constant([[1, 1]])
    result = tfm.minimize(lambda x: tf.reduce_sum((tf.pad(x, paddings) - 2.0) ** 2), np.ones(3), jit_compile=True)
    assert result.backend == "xla"
    np.testing.assert_allclose(result.x, 2.0, atol=1e-6)


def test_a_captured_shape_becomes_a_constant() -> None:
    shape = tf.constant([2, 3])
    result = tfm.minimize(lambda x: tf.reduce_sum(tf.reshape(x, shape)[1] ** 2), np.ones(6), jit_compile=True)
    assert result.backend == "xla"
    assert result.fun < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(
    "fun",
    [
        lambda x: tf.reduce_sum(tf.zeros_like(x)) + x[0] ** 2,
        lambda x: tf.reduce_sum(x * x) / 2.0,  # the gradient is x itself
        lambda x: tf.reduce_sum(x) + 0.0 * x[0] ** 2,  # the gradient is a constant
        lambda x: tf.reduce_sum(tf.linalg.cholesky(tf.linalg.diag(x * x + 1.0))),
        lambda x: tf.reduce_sum(tf.linalg.solve(tf.linalg.diag(x * x + 1.0), x[:, None])),
        lambda x: tf.reduce_max(tf.linalg.eigvalsh(tf.linalg.diag(x * x + 1.0))),
        lambda x: tf.reduce_sum(tf.sort(x) * [1.0, 2.0, 3.0]) ** 2,
        lambda x: tf.cond(x[0] > 1.0, lambda: tf.reduce_sum(x**2), lambda: tf.reduce_sum(x**4)),
        lambda x: tf.reduce_sum(tf.abs(tf.signal.fft(tf.cast(x, tf.complex128))) ** 2),
        lambda x: tf.reduce_sum(tf.gather(x, [0, 0, 2]) ** 2),
        lambda x: tf.reduce_sum(tf.matmul(tf.ones((300, 3), tf.float64) * x, tf.ones((3, 400), tf.float64)) ** 2),
    ],
    ids=lambda fun: "",
)
def test_xla_gives_the_values_of_the_graph(fun: Callable[..., Any]) -> None:
    solvers = [tfm.Minimizer(fun, np.zeros(3), jit_compile=jit_compile) for jit_compile in (True, False)]
    leases = [solver._program.lease(solver.arguments) for solver in solvers]
    assert [lease.workspace.present_backend().name for lease in leases] == ["xla", "tfe"]
    for start in ([1.5, -0.5, 0.25], [0.75, 0.5, -2.0]):
        losses, gradients = [], []
        for lease in leases:
            lease.workspace.start([np.array(start)])
            losses.append(lease.workspace.objective.evaluate(lease.workspace.x, lease.workspace.gradient))
            gradients.append(lease.workspace.gradient.copy())
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)
        np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-12)


def refused(fun: Callable[..., Any], x0: Any = (1.0, 2.0), **kwargs: Any) -> str:
    """Return why TensorFlow runs a function, after checking that the solve works anyway."""
    result = tfm.minimize(fun, x0, jit_compile=True, **kwargs)
    assert result.backend == "tfe"
    assert result.fun < 1e-6
    return str(result.backend_reason)


def test_function_that_xla_cannot_compile_runs_as_a_graph() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**2) + tf.reduce_sum(tf.numpy_function(lambda a: 0.0 * a, [x], tf.float64))

    reason = refused(fun)
    assert reason.startswith("XLA cannot compile it: ")
    assert "PyFunc" in reason
    assert "\n" not in reason


def test_constraint_that_xla_cannot_compile_runs_as_a_graph() -> None:
    def constraint(x: tf.Tensor) -> tf.Tensor:
        tf.print("x", x, output_stream="file:///dev/null")
        return 4.0 - x[0]

    constraints = {"type": "ineq", "fun": constraint}
    assert "XLA cannot compile it" in refused(rosenbrock, method="SLSQP", constraints=constraints)


def test_table_stays_with_tensorflow() -> None:
    values = tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2]), tf.constant([0.0, 3.0], tf.float64))
    table = tf.lookup.StaticHashTable(values, 0.0)
    reason = refused(lambda x: tf.reduce_sum((x - table.lookup(tf.constant(1))) ** 2))
    assert reason == "XLA cannot compile it: the function uses a table, a queue or another such resource"


@pytest.mark.parametrize("prints", [False, True])
def test_variable_without_static_shape_stays_with_tensorflow(prints: bool) -> None:
    w = tf.Variable([0.0, 0.0], shape=tf.TensorShape(None), dtype=tf.float64, name="w")

    def fun(x: tf.Tensor) -> tf.Tensor:
        if prints:
            tf.print("x", x, output_stream="file:///dev/null")
        return tf.reduce_sum((x - tf.ensure_shape(w, [2])) ** 2)

    expected = "XLA cannot compile it: " if prints else "the function uses variable 'w:0', which has no static shape"
    assert refused(fun).startswith(expected)


def test_list_that_grows_stays_with_tensorflow() -> None:
    # XLA treats the first as a sum of one value, and the gradient of the second makes it end the process.
    def two(x: tf.Tensor) -> tf.Tensor:
        squares = tf.TensorArray(tf.float64, 1, dynamic_size=True)
        return tf.reduce_sum(squares.write(0, x[0] ** 2).write(1, x[1] ** 2).stack())

    def loop(x: tf.Tensor) -> tf.Tensor:
        squares = tf.TensorArray(tf.float64, 0, dynamic_size=True)
        for i in tf.range(2):
            squares = squares.write(i, x[i] ** 2)
        return tf.reduce_sum(squares.stack())

    for fun in (two, loop):
        assert refused(fun).endswith("(TensorListSetItem) lets a tf.TensorArray grow")


def test_a_function_that_writes_to_a_variable_stays_with_tensorflow() -> None:
    count = tf.Variable(0.0, dtype=tf.float64, name="count")

    def fun(x: tf.Tensor) -> tf.Tensor:
        count.assign_add(1.0)
        return tf.reduce_sum(x**2)

    assert refused(fun) == "the function writes to variable 'count:0'"
    assert count.numpy() > 0


def test_random_numbers_stay_with_tensorflow() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x**2) + 1e-9 * tf.random.uniform([], dtype=tf.float64)

    with pytest.warns(UserWarning, match="random numbers"):
        assert "(RandomUniform) of the function keeps its own state" in refused(fun)


def test_loop_with_a_gradient_that_xla_cannot_compile_runs() -> None:
    def fun(x: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0, tf.float64)
        i = tf.constant(0)
        while tf.reduce_sum(x**2) * 0.0 + tf.cast(i, tf.float64) < 3.0:
            total += tf.reduce_sum(x**2)
            i += 1
        return total

    assert "XLA cannot compile it" in refused(fun)


@pytest.mark.subprocess
def test_other_devices_stay_with_tensorflow() -> None:
    program = """
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import tfminimize as tfm
        fun = lambda x: tf.reduce_sum((x - 3.0) ** 2)
        with tf.device("CPU:1"):
            v = tf.Variable([7.0, 7.0])
            result = tfm.minimize(fun, [0.0], jit_compile=True)
        assert result.backend_reason == "the function runs on device CPU:1", result.backend_reason
        assert result.success and abs(result.x - 3).max() < 1e-6, result
        result = tfm.minimize(lambda: fun(v), v, jit_compile=True)
        assert result.backend_reason == "the function runs on device CPU:1", result.backend_reason
        assert tfm.minimize(lambda x: fun(x), [1.0], jit_compile=True).backend == "xla"
    """
    run_program(program)


@pytest.mark.subprocess
def test_another_tensorflow_version_leaves_all_the_rest() -> None:
    program = """
        import sys
        import tensorflow as tf
        import tfminimize as tfm
        from tfminimize._tf import binding
        from tfminimize.__main__ import main
        built = binding.build_info()
        binding.build_info = lambda: built | {"tensorflow": "2.20.0"}
        fun = lambda x: tf.reduce_sum((x - 3.0) ** 2)
        result = tfm.minimize(fun, [0.0], jit_compile=True)
        assert result.success and result.backend == "tfe", result
        for part in ("_xla was built for TensorFlow 2.20.0", tf.__version__, "pip install"):
            assert part in result.backend_reason, result.backend_reason
        try:
            binding.xla()
        except ImportError as error:
            assert str(error) == result.backend_reason
        else:
            raise AssertionError("no error")
        assert "tfminimize._xla" not in sys.modules
        result = tfm.minimize(lambda x: tf.reduce_sum(tf.numpy_function(abs, [x], tf.float64)) * 0.0 + fun(x), [0.0],
                              jit_compile=True)
        assert result.success and "XLA cannot compile it" in result.backend_reason, result
        assert tfm.minimize(fun, [0.0]).success
        assert main(["info"]) == 1
    """
    output = run_program(program)
    assert "built for TensorFlow 2.20.0" in " ".join(output.split())


def test_compile_time_is_reported_once() -> None:
    solver = tfm.Minimizer(rosenbrock, np.zeros(2), jit_compile=True)
    first, second = solver.minimize(), solver.minimize()
    assert first.timing["compile"] > 0
    assert second.timing["compile"] == 0


@pytest.mark.parametrize("method", ["BFGS", "trust-constr"])
def test_methods_of_scipy_call_machine_code(method: str) -> None:
    result = tfm.minimize(rosenbrock, [0.5, 0.5], method=method, jit_compile=True)
    assert result.backend == "xla"
    assert result.backend_reason
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


@pytest.mark.resident_memory
def test_memory_is_constant() -> None:
    def pages() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1])

    def compile_new(count: int) -> None:
        for _ in range(count):
            tfm.Minimizer(lambda x: rosenbrock(x), np.zeros(3), jit_compile=True).minimize()

    compile_new(10)
    before = pages()
    compile_new(20)
    # TensorFlow's own interface keeps half a megabyte for each, 2,500 pages in all.
    assert pages() - before < 1000
    solver = tfm.Minimizer(rosenbrock, np.zeros(3), jit_compile=True)
    solver.minimize()
    before = pages()
    for _ in range(2000):
        solver.minimize()
    assert pages() - before < 200


def test_binding_is_loaded_once() -> None:
    assert binding.xla() is binding.xla()
