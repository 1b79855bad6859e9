"""Machine code calls SciPy's LAPACK, or kernels of our own, for factorizations, triangular systems and products."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from interpreter import run_program
from scipy.linalg import cython_blas, cython_lapack
from threadpoolctl import threadpool_info, threadpool_limits

import tfminimize as tfm
from tfminimize._tf import binding

pytestmark = pytest.mark.usefixtures("empty_cache")

DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


def at_start(fun: Any, x0: Any, *args: Any, jit_compile: bool = True) -> Any:
    """Return the loss and the gradient at the start."""
    result = tfm.minimize(fun, x0, args=args, jit_compile=jit_compile, options={"maxiter": 0})
    assert result.backend == ("xla" if jit_compile else "tfe")
    return result


def covariances(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Positive definite matrices that are not symmetric in their last bits."""
    a = np.random.default_rng(0).normal(size=shape)
    return (a @ np.swapaxes(a, -1, -2) / shape[-1] + np.eye(shape[-1])).astype(dtype)


def assert_close(ours: Any, expected: Any) -> None:
    tolerance = 1e-10 if ours.dtype == np.float64 else 1e-3
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 50, 129])
def test_factor_has_the_bits_of_lapack(n: int, dtype: str) -> None:
    matrix = covariances((n, n), dtype)
    weights = np.random.default_rng(1).normal(size=(n, n)).astype(dtype)
    factor = at_start(lambda x, a: tf.reduce_sum(x * tf.linalg.cholesky(a)), weights, matrix).jac
    (potrf,) = scipy.linalg.get_lapack_funcs(("potrf",), (matrix,))
    with threadpool_limits(1, "blas"):
        upper, info = potrf(np.asfortranarray(matrix.T), lower=False)
    assert info == 0
    np.testing.assert_array_equal(factor, np.triu(upper).T)


@DTYPES
@pytest.mark.parametrize(
    "shape", [(1, 1), (7, 7), (4, 33, 33), (2, 3, 5, 5), (1, 9, 9), (300, 300), (2, 270, 270)], ids=str
)
def test_derivatives_of_a_factor_are_those_of_the_graph(shape: tuple[int, ...], dtype: str) -> None:
    def loss(x: Any) -> Any:
        return tf.reduce_sum(tf.linalg.cholesky(x) ** 3) + tf.reduce_sum(tf.linalg.logdet(x))

    matrix = covariances(shape, dtype)
    ours, graph = (at_start(loss, matrix, jit_compile=jit) for jit in (True, False))
    assert_close(ours.jac, graph.jac)
    assert ours.fun == pytest.approx(graph.fun, rel=1e-10 if dtype == "float64" else 1e-4)


@DTYPES
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (6, 6, 1), (40, 40, 3), (3, 5, 5, 70), (60, 60, 200), (257, 257, 100)], ids=str
)
def test_triangular_systems_are_those_of_the_graph(shape: tuple[int, ...], dtype: str) -> None:
    """The other triangle holds numbers that are not to be read. The gradient solves with the transposed matrix."""

    def loss(x: Any, b: Any) -> Any:
        kinds = itertools.product([False, True], repeat=2)
        return tf.add_n(
            [tf.reduce_sum(tf.linalg.triangular_solve(x, b, lower=one, adjoint=other) ** 3) for one, other in kinds]
        )

    matrix = covariances(shape[:-1], dtype)
    right = np.random.default_rng(2).normal(size=(*shape[:-3], shape[-2], shape[-1])).astype(dtype)
    ours, graph = (at_start(loss, matrix, right, jit_compile=jit) for jit in (True, False))
    assert_close(ours.jac, graph.jac)


@DTYPES
def test_systems_from_both_sides_and_with_a_unit_diagonal(dtype: str) -> None:
    """TensorFlow's inverse and its solver for square systems are Q R factorizations, which end in such systems."""
    matrix = covariances((9, 9), dtype) + np.triu(np.ones((9, 9), dtype))

    def loss(x: Any) -> Any:
        return tf.reduce_sum(tf.linalg.inv(x) ** 2) + tf.reduce_sum(tf.linalg.solve(x, tf.ones([9, 2], dtype)) ** 3)

    ours, graph = (at_start(loss, matrix, jit_compile=jit) for jit in (True, False))
    assert_close(ours.jac, graph.jac)


@DTYPES
def test_one_matrix_that_is_not_positive_definite_spoils_only_its_own_factor(dtype: str) -> None:
    matrices = covariances((3, 4, 4), dtype)
    matrices[1, 2, 2] = -1.0

    def loss(x: Any, a: Any) -> Any:
        product = x * tf.linalg.cholesky(a)  # its gradient is the factor
        return tf.reduce_sum(tf.where(tf.math.is_nan(product), tf.zeros_like(product), product))

    factors = at_start(loss, np.ones((3, 4, 4), dtype), matrices).jac
    assert_close(factors[[0, 2]], np.linalg.cholesky(matrices[[0, 2]]))
    np.testing.assert_array_equal(np.isnan(factors[1]), np.tril(np.ones((4, 4))) == 1)


def triangles(shape: tuple[int, ...], dtype: str) -> Any:
    """Lower triangles whose inverses are of the size of one."""
    a = np.random.default_rng(4).normal(size=shape) / shape[-1] + np.eye(shape[-1])
    return np.tril(a).astype(dtype)


def identity(a: Any, kind: str) -> Any:
    n = a.shape[-1]
    if kind == "eye":  # TensorFlow makes a constant of it
        return tf.eye(n, batch_shape=a.shape[:-2], dtype=a.dtype)
    zeros = tf.zeros_like(a)
    if kind == "diagonal":
        return tf.linalg.set_diag(zeros, tf.ones_like(zeros[..., 0]))
    if kind == "other diagonal":  # not an identity matrix
        return tf.linalg.set_diag(zeros, tf.ones_like(zeros[..., 0, 1:]), k=1)
    return tf.linalg.set_diag(zeros, tf.fill(zeros[..., 0].shape, tf.constant(2.0, a.dtype)))


@DTYPES
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("eye", (5, 5)),
        ("eye", (3, 6, 6)),
        ("eye", (260, 260)),
        ("diagonal", (1, 4, 4)),
        ("other diagonal", (5, 5)),
        ("twice", (5, 5)),
    ],
    ids=str,
)
def test_products_with_an_inverse_are_those_of_the_graph(kind: str, shape: tuple[int, ...], dtype: str) -> None:
    """The inverse stands on the left and on the right, transposed or not; some of these products become systems."""

    def loss(x: Any, a: Any) -> Any:
        ways = itertools.product([False, True], repeat=3)
        total = tf.zeros([], x.dtype)
        for lower, adjoint, one in ways:
            other = lower != adjoint
            given = a if lower else tf.linalg.matrix_transpose(a)
            inverse = tf.linalg.triangular_solve(given, identity(given, kind), lower=lower, adjoint=adjoint)
            total += tf.reduce_sum(tf.linalg.matmul(inverse, x, transpose_a=one, transpose_b=other) ** 2)
            total += tf.reduce_sum(tf.linalg.matmul(x, inverse, transpose_a=one, transpose_b=other) ** 2)
            total += tf.reduce_sum(inverse * x)
        return total

    x = np.random.default_rng(5).normal(size=shape).astype(dtype)
    ours, graph = (at_start(loss, x, triangles(shape, dtype), jit_compile=jit) for jit in (True, False))
    assert_close(ours.jac, graph.jac)
    assert ours.fun == pytest.approx(graph.fun, rel=1e-10 if dtype == "float64" else 1e-4)


@DTYPES
@pytest.mark.parametrize("kind", ["eye", "diagonal"])
@pytest.mark.parametrize("n", [40, 300])
def test_product_with_an_inverse_is_a_system(n: int, kind: str, dtype: str) -> None:
    def loss(x: Any, a: Any, b: Any, is_system: bool) -> Any:
        if is_system:
            return tf.reduce_sum(x * tf.linalg.triangular_solve(a, b, adjoint=True))
        inverse = tf.linalg.triangular_solve(a, identity(a, kind), adjoint=True)
        return tf.reduce_sum(x * tf.linalg.matmul(inverse, b))

    a, b = triangles((n, n), dtype), np.random.default_rng(9).normal(size=(n, 33)).astype(dtype)
    product, system = (at_start(loss, np.ones_like(b), a, b, is_system).jac for is_system in (False, True))
    np.testing.assert_array_equal(product, system)


@DTYPES
@pytest.mark.parametrize("mask", ["lower", "band", "upper"])
def test_products_with_a_factor_are_those_of_the_graph(mask: str, dtype: str) -> None:
    """What is left of a factor may have other zeros than those above its diagonal."""

    def loss(x: Any, a: Any) -> Any:
        factor = tf.linalg.cholesky(a)
        if mask == "band":
            factor = tf.linalg.band_part(factor, 3, 0)
        if mask == "upper":
            factor = tf.linalg.band_part(factor + tf.ones_like(a), 0, -1)
        total = tf.zeros([], x.dtype)
        for one, other in itertools.product([False, True], repeat=2):
            total += tf.reduce_sum(tf.linalg.matmul(factor, x, transpose_a=one, transpose_b=other) ** 2)
            total += tf.reduce_sum(tf.linalg.matmul(x, factor, transpose_a=one, transpose_b=other) ** 2)
        return total

    x = np.random.default_rng(6).normal(size=(260, 260)).astype(dtype)
    ours, graph = (at_start(loss, x, covariances(x.shape, dtype), jit_compile=jit) for jit in (True, False))
    assert_close(ours.jac, graph.jac)


@DTYPES
@pytest.mark.parametrize(
    "shapes",
    [
        ((300, 280), (280, 310)),
        ((3, 260, 256), (3, 256, 257)),
        ((2, 2, 300, 400), (2, 2, 400, 150)),
        ((5, 9), (9, 4)),
    ],
    ids=str,
)
def test_large_products_are_those_of_the_graph(shapes: Any, dtype: str) -> None:
    def loss(x: Any, b: Any) -> Any:
        swapped = tf.linalg.matrix_transpose(x), tf.linalg.matrix_transpose(b)
        total = tf.reduce_sum(tf.linalg.matmul(x, b) ** 2)
        total += tf.reduce_sum(tf.linalg.matmul(swapped[0], b, transpose_a=True) ** 3)
        total += tf.reduce_sum(tf.linalg.matmul(x, swapped[1], transpose_b=True) ** 3)
        return total + tf.reduce_sum(tf.linalg.matmul(*swapped, transpose_a=True, transpose_b=True))

    random = np.random.default_rng(7)
    x, b = (random.normal(size=shape).astype(dtype) / shape[-1] ** 0.5 for shape in shapes)
    ours, graph = (at_start(loss, x, b, jit_compile=jit) for jit in (True, False))
    assert_close(ours.jac, graph.jac)


def test_sum_over_the_last_of_three_dimensions_is_not_a_product_of_matrices() -> None:
    data = np.random.default_rng(8).normal(size=(130, 130, 1000))

    def loss(x: Any, a: Any) -> Any:
        return tf.reduce_sum(tf.einsum("ijk,k->ij", a, x) ** 2)

    ours, graph = (at_start(loss, np.ones(1000), data, jit_compile=jit) for jit in (True, False))
    assert_close(ours.jac, graph.jac)


def marginal_likelihood(x: Any, distances: Any, values: Any) -> Any:
    covariance = tf.exp(x[0] - distances * tf.exp(x[1])) + tf.exp(x[2]) * tf.eye(len(values), dtype=x.dtype)
    factor = tf.linalg.cholesky(covariance)
    white = tf.linalg.triangular_solve(factor, values[:, None])
    return 0.5 * tf.reduce_sum(white**2) + tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))


def regression() -> tuple[Any, Any]:
    random = np.random.default_rng(3)
    places = random.uniform(size=60)
    return (places[:, None] - places) ** 2 * 50, np.sin(12 * places) + 0.2 * random.normal(size=60)


def test_fit_of_a_gaussian_process_is_that_of_the_graph() -> None:
    fits = [tfm.minimize(marginal_likelihood, np.zeros(3), args=regression(), jit_compile=jit) for jit in (True, False)]
    assert [fit.backend for fit in fits] == ["xla", "tfe"]
    assert all(fit.success for fit in fits)
    assert fits[0].fun == pytest.approx(fits[1].fun, rel=1e-9)


def test_batch_in_threads_finds_what_single_solves_find() -> None:
    distances, values = regression()
    several = np.stack([values, 2 * values, values**2, -values])
    solver = tfm.Minimizer(marginal_likelihood, np.zeros(3), args=(distances, values), jit_compile=True)
    batch = solver.minimize_batch(np.zeros((4, 3)), args=(distances,), batched_args=(several,), num_threads=2)
    assert batch.backend == "xla"
    for x, one in zip(batch.x, several, strict=True):
        np.testing.assert_array_equal(x, solver.minimize(args=(distances, one)).x)


def test_threads_of_the_library_are_as_before() -> None:
    matrix = covariances((400, 400), "float64")
    with threadpool_limits(3, "blas"):
        at_start(lambda x, a: tf.reduce_sum(tf.linalg.matmul(x, tf.linalg.cholesky(a))), matrix, matrix)
        assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {3}


@pytest.mark.parametrize("n", [300, 700])
def test_bits_do_not_depend_on_threads(n: int) -> None:
    """A batch solves in one thread."""

    def loss(x: Any, a: Any) -> Any:
        factor = tf.linalg.cholesky(a + x[0] * tf.eye(n, dtype=a.dtype))
        return tf.reduce_sum(tf.linalg.logdet(factor)) + tf.reduce_sum(tf.linalg.triangular_solve(factor, a) ** 2)

    solver = tfm.Minimizer(loss, np.ones(1), args=(covariances((n, n), "float64"),), jit_compile=True)
    alone = solver.minimize(options={"maxiter": 2})
    batch = solver.minimize_batch(np.ones((2, 1)), options={"maxiter": 2}, num_threads=2)
    assert alone.backend == batch.backend == "xla"
    np.testing.assert_array_equal(batch.x, [alone.x, alone.x])


FORKS = """
import os, signal, threading
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_info, threadpool_limits
import tfminimize as tfm

def loss(x, a):
    factor = tf.linalg.cholesky(a + x[0] ** 2 * tf.eye(600, dtype=a.dtype))
    return tf.reduce_sum(tf.matmul(factor, a) ** 2)

def solver():
    return tfm.Minimizer(loss, np.ones(1), args=(2 * np.eye(600),), jit_compile=True)

def solve(one):
    return one.minimize(options={"maxiter": 2})

def threads():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

def check_child():
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        is_right = np.array_equal(solve(mine).x, expected.x) and threads() == {2}
        os._exit(0 if is_right else 1)
    print(os.waitpid(child, 0)[1])

def go_on():
    while not is_over:
        solve(others)

threadpool_limits(2, "blas")
mine, others, is_over = solver(), solver(), False
expected = solve(mine)
print(expected.backend)
check_child()
thread = threading.Thread(target=go_on)
thread.start()
for _ in range(3):
    check_child()
is_over = True
thread.join()
print(threads())
"""


@pytest.mark.subprocess
def test_forked_process_calls_it_in_its_only_thread() -> None:
    """Threads of the parent may call it meanwhile."""
    assert run_program(FORKS).split() == ["xla", *"0000", "{2}"]


def test_operation_calls_it_too() -> None:
    distances, values = (tf.constant(a) for a in regression())
    options: dict[str, Any] = {"jit_compile": True, "options": {"maxiter": 7}}
    inside = tf.function(
        lambda: tfm.ops.minimize(marginal_likelihood, tf.zeros([3], tf.float64), args=(distances, values), **options)
    )()
    outside = tfm.minimize(marginal_likelihood, np.zeros(3), args=(distances, values), **options)
    np.testing.assert_array_equal(inside.x, outside.x)


OTHERS = {"potrf": "syev", "gemm": "trmv", "trmm": "trmv", "trsm": "trmv"}
OTHERS = {kind + name: kind + other for name, other in OTHERS.items() for kind in "ds"}


@pytest.fixture(params=OTHERS)
def other_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One function is declared in another way, as all are in a SciPy whose integers have 64 bits."""
    name: str = request.param
    functions = (cython_lapack if "potrf" in name else cython_blas).__pyx_capi__
    monkeypatch.setitem(functions, name, functions[OTHERS[name]])
    return name


def test_function_that_is_declared_in_another_way_is_refused(other_library: str) -> None:
    xla = binding.xla()
    with pytest.raises(ImportError, match=rf"SciPy's {other_library} is void \(char \*, char \*.*, and not void "):
        xla.use_lapack(cython_lapack.__pyx_capi__, cython_blas.__pyx_capi__, cython_blas.__file__)


@pytest.mark.usefixtures("fresh_binding", "other_library")
def test_machine_code_does_not_need_the_library() -> None:
    matrix = covariances((3, 3), "float64")
    factor = at_start(lambda x, a: tf.reduce_sum(x * tf.linalg.cholesky(a)), np.ones((3, 3)), matrix).jac
    assert_close(factor, np.linalg.cholesky(matrix))


@DTYPES
@pytest.mark.parametrize(
    "operation", [tf.linalg.cholesky, lambda a: tf.linalg.triangular_solve(a, a), tf.linalg.logdet]
)
def test_matrix_whose_size_is_known_only_later_stays_with_the_graph(operation: Any, dtype: str) -> None:
    """XLA translates these, and fails only when it compiles them."""

    def loss(x: Any) -> Any:
        matrix = tf.linalg.diag(tf.boolean_mask(x, x > 0.5)) + tf.constant(0.1, x.dtype)
        return tf.reduce_sum(operation(matrix) ** 2)

    results = [tfm.minimize(loss, np.full(4, 2.0, dtype), jit_compile=jit) for jit in (True, False)]
    assert [result.backend for result in results] == ["tfe", "tfe"]
    assert "XLA cannot compile it: " in results[0].backend_reason
    np.testing.assert_array_equal(results[0].x, results[1].x)
