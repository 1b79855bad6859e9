from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interpreter import run_program
from problems import rosenbrock

import tfminimize as tfm
from tfminimize._tf import binding

X0 = np.array([-1.2, 1.0])


def in_graph(*args: Any, **keywords: Any) -> Any:
    return tf.function(lambda: tfm.ops.minimize(*args, **keywords), autograph=False)()


def test_error_in_the_loss_names_both_nodes() -> None:
    def loss(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x[0], tf.constant(-1.1, tf.float64), name="is_left")]):
            return rosenbrock(x)

    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        in_graph(loss, X0, name="my_solve")
    assert "is_left" in str(error.value)
    assert "my_solve/solve" in str(error.value)


def test_exception_of_python_code_in_the_loss() -> None:
    def fails(x: Any) -> Any:
        raise ZeroDivisionError("from Python")

    def loss(x: Any) -> Any:
        return rosenbrock(x) + tf.reshape(tf.numpy_function(fails, [x], tf.float64), [])

    with pytest.raises(tf.errors.UnknownError, match="ZeroDivisionError: from Python"):
        in_graph(loss, X0)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, r"x0\[1\] is nan at the start"), (np.inf, r"x0\[1\] is inf at the start")]
)
def test_start_that_is_not_finite(value: float, message: str) -> None:
    solve = tf.function(lambda x0: tfm.ops.minimize(rosenbrock, x0).x)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        solve(tf.constant([0.0, value], tf.float64))


def test_symbolic_bounds_that_are_crossed() -> None:
    solve = tf.function(lambda low: tfm.ops.minimize(rosenbrock, X0, bounds=(low, 1)).x)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"bounds for element 1 of x are \(2, 1\)"):
        solve(tf.constant([0.0, 2.0], tf.float64))


def test_loss_that_is_not_finite_at_the_start_ends_with_a_status() -> None:
    result = in_graph(lambda x: tf.reduce_sum(tf.math.log(x)), np.array([-1.0, 1.0]))
    eager = tfm.minimize(lambda x: tf.reduce_sum(tf.math.log(x)), np.array([-1.0, 1.0]))
    assert result.status == eager.status != 0


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"fun": 3}, ValueError, "fun is 3: give a function"),
        ({"method": "CG"}, ValueError, "method 'CG' runs in SciPy, not in a graph: use 'L-BFGS-B', 'SLSQP' or 'BFGS'"),
        ({"method": "BFGS", "bounds": (0, 1)}, ValueError, "method 'bfgs' cannot handle bounds"),
        ({"method": "BFGS", "bounds": (tf.constant(0.0), 1)}, ValueError, "method 'bfgs' cannot handle bounds"),
        (
            {"method": "BFGS", "options": {"hess_inv0": np.eye(3)}},
            ValueError,
            r"hess_inv0 has shape \(3, 3\), but x0 has",
        ),
        ({"method": "BFGS", "options": {"hess_inv0": -np.eye(2)}}, ValueError, "matrix isn't positive definite"),
        ({"method": "BFGS", "options": {"update": "sr1"}}, ValueError, "update is 'sr1': give one of 'bfgs', 'dfp'"),
        ({"method": "nonsense"}, ValueError, "is not known"),
        ({"options": {"maxitre": 3}}, ValueError, "has no option 'maxitre'"),
        ({"bounds": [(0, 1)]}, ValueError, "the bounds for x0 have 1 entries, but x0 has 2 elements"),
        ({"constraints": {"type": "eq", "fun": rosenbrock}}, ValueError, "cannot handle constraints"),
        ({"fun": lambda x: x}, ValueError, "not that of a scalar"),
        ({"fun": lambda x: tf.constant(1.0)}, ValueError, "does not depend on x0"),
        ({"x0": []}, ValueError, "x0 is empty"),
    ],
)
def test_bad_arguments_are_refused_while_the_graph_is_built(
    keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        in_graph(**({"fun": rosenbrock, "x0": X0} | keywords))


def test_start_of_unknown_shape_is_refused() -> None:
    solve = tf.function(
        lambda x0: tfm.ops.minimize(rosenbrock, x0).x,
        input_signature=[tf.TensorSpec([None], tf.float64)],
        autograph=False,
    )
    with pytest.raises(ValueError, match=r"shape \(None,\), which is not static: fix it by tf\.ensure_shape"):
        solve(tf.constant(X0))


def test_symbolic_bounds_that_do_not_fit() -> None:
    solve = tf.function(lambda low: tfm.ops.minimize(rosenbrock, X0, bounds=(low, 1)).x, autograph=False)
    with pytest.raises(ValueError, match="cannot be broadcast to the shape \\(2,\\)"):
        solve(tf.zeros(3, tf.float64))
    pair = tf.function(lambda low: tfm.ops.minimize(rosenbrock, X0, bounds=low).x, autograph=False)
    with pytest.raises(ValueError, match="give \\(low, high\\)"):
        pair(tf.zeros(3, tf.float64))
    pairs = tf.function(lambda low: tfm.ops.minimize(rosenbrock, X0, bounds=[(low, 1)] * 3).x, autograph=False)
    with pytest.raises(ValueError, match="have 3 entries, but x0 has 2"):
        pairs(tf.constant(0.0))
    words = tf.function(lambda low: tfm.ops.minimize(rosenbrock, X0, bounds=(low, "one")).x, autograph=False)
    with pytest.raises(ValueError, match="the upper bound for x0, 'one', cannot be broadcast"):
        words(tf.constant(0.0))


@pytest.mark.parametrize("solve", [tfm.minimize, tfm.ops.minimize])
def test_solve_inside_a_function_compiled_by_xla_is_refused(solve: Any) -> None:
    compiled = tf.function(lambda: solve(rosenbrock, X0).x, jit_compile=True)
    for call in (compiled, compiled.get_concrete_function, tf.function(lambda: compiled(), autograph=False)):
        with pytest.raises(ValueError, match="remove jit_compile=True from the function around it"):
            call()


@pytest.mark.slow
def test_loss_with_a_solve_is_not_compiled() -> None:
    def loss(a: Any) -> Any:
        return tf.reduce_sum((tfm.ops.minimize(lambda x: tf.reduce_sum((x - a) ** 2), X0).x - 1) ** 2)

    with pytest.raises(ValueError, match="remove jit_compile=True"):
        in_graph(loss, X0, jit_compile=True)
    for fun in (loss, tf.function(loss, jit_compile=True)):
        result = tfm.minimize(fun, X0, jit_compile=True)
        np.testing.assert_allclose(result.x, [1, 1], atol=1e-5)
        assert result.backend == "tfe"
        assert "TfminimizeMinimize" in result.backend_reason


def test_symbolic_limits_of_a_constraint_are_refused() -> None:
    def solve(low: Any) -> Any:
        constraint = scipy.optimize.NonlinearConstraint(rosenbrock, low, 9)
        return tfm.ops.minimize(rosenbrock, X0, method="SLSQP", constraints=constraint).x

    with pytest.raises(ValueError, match=r"has the lb .*: give a real number"):
        tf.function(solve, autograph=False)(tf.constant(0.0))


def test_start_of_words_is_refused() -> None:
    solve = tf.function(lambda x0: tfm.ops.minimize(rosenbrock, x0).x, autograph=False)
    with pytest.raises(ValueError, match="x0 holds a tensor of dtype string: give numbers"):
        solve(tf.constant(["one", "two"]))


def test_callback_in_a_graph_is_refused() -> None:
    solve = tf.function(lambda: tfm.minimize(rosenbrock, X0, callback=print).x, autograph=False)
    with pytest.raises(ValueError, match="callback cannot be called from inside a graph: remove it"):
        solve()


def test_minimizer_in_a_graph_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"tfminimize\.minimize inside"):
        tf.function(lambda: tfm.Minimizer(rosenbrock, X0), autograph=False)()


def test_loss_that_writes_an_optimised_variable_is_refused() -> None:
    v = tf.Variable(X0)

    def loss() -> Any:
        v.assign_add([1.0, 1.0])
        return rosenbrock(v)

    with pytest.raises(ValueError, match="writes to variable"):
        in_graph(loss, v)


@pytest.mark.usefixtures("fresh_binding")
def test_library_for_another_tensorflow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built = {**tfm.build_info(), "tensorflow": "2.1.0"}
    monkeypatch.setattr(binding, "build_info", lambda: built)
    with pytest.raises(ImportError, match=r"graph operations was built for TensorFlow 2\.1\.0, and TensorFlow 2\."):
        tfm.ops.minimize(rosenbrock, X0)


@pytest.mark.subprocess
def test_missing_library_leaves_the_rest_usable(tmp_path: Any) -> None:
    program = """
import sys, importlib.util, pathlib
import numpy as np, tensorflow as tf
real = tf.load_op_library
def missing(path):
    raise tf.errors.NotFoundError(None, None, f"{path}: no such file")
tf.load_op_library = missing
import tfminimize as tfm
print(tfm.minimize(lambda x: tf.reduce_sum(x**2), np.ones(2)).success)
try:
    tfm.ops.minimize(lambda x: tf.reduce_sum(x**2), np.ones(2))
except ImportError as error:
    print(error)
"""
    printed = run_program(program)
    assert printed.splitlines()[0] == "True"
    assert "library of graph operations could not be loaded" in printed
    assert "--force-reinstall" in printed


def test_operation_is_documented() -> None:
    doc = binding.ops().tfminimize_minimize.__doc__
    assert "Minimises a function, with bounds and constraints." in doc
    assert json.dumps("l-bfgs-b") in doc
