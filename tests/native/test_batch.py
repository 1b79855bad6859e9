"""The extension's pool of threads, which solves a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from native_functions import objective, rosenbrock_objective, value_and_gradients, vectors

from tfminimize import _native

Solvers = tuple[_native.Lbfgsb, ...]
COMPONENTS = [(0, (2,), "float64")]


def solvers(count: int, n: int = 2) -> Solvers:
    return tuple(_native.Lbfgsb(*vectors(n, 0.0)) for _ in range(count))


def with_target() -> _native.FunctionObjective:
    """Return an objective: the squared distance between x and a vector a, its input 1."""
    specs = [tf.TensorSpec([2], tf.float64)] * 2
    fun = tf.function(lambda x, a: value_and_gradients(lambda y: tf.reduce_sum((y - a) ** 2))(x))
    return objective(fun.get_concrete_function(*specs), COMPONENTS, inputs=[0, tf.zeros(2, tf.float64)])


def run(count: int, x: Any, inputs: Any, **kwargs: Any) -> tuple[dict[str, Any], _native.Timing]:
    return _native.drive_batch(solvers(count), tuple(with_target() for _ in range(count)), x, inputs, **kwargs)


def test_rows_take_their_values() -> None:
    targets = np.arange(20.0).reshape(10, 2)
    x = np.zeros((10, 2))
    fields, timing = run(3, x, [(1, targets)])
    np.testing.assert_allclose(x, targets, atol=1e-6)
    assert fields["nfev"].sum() == timing.evaluations
    assert fields["multipliers"].shape == (10, 0)
    assert fields["errors"] == {}


def test_input_is_as_it_was_before() -> None:
    function = with_target()
    _native.drive_batch(solvers(1), (function,), np.zeros((3, 2)), [(1, np.ones((3, 2)))])
    x, g = vectors(2, 3.0)
    assert function.evaluate(x, g) == 18.0


@pytest.mark.parametrize(
    ("x", "inputs", "sentence"),
    [
        (np.zeros(2), [], "x must be a contiguous, writeable float64 array of at least one row of 2"),
        (np.zeros((0, 2)), [], "x must be"),
        (np.zeros((3, 3)), [], "x must be"),
        (np.zeros((3, 2), np.float32), [], "x must be"),
        (np.zeros((2, 3)).T, [], "x must be"),
        (np.broadcast_to(np.zeros(2), (3, 2)), [], "x must be"),
        (np.zeros((3, 2)), [(1, np.zeros((4, 2)))], "input 1 must be contiguous and have 3 rows"),
        (np.zeros((3, 2)), [(1, np.zeros((2, 3)).T)], "input 1 must be contiguous"),
        (np.zeros((3, 2)), [(1, np.zeros((3, 2), "U1"))], "dtype <U1, which is no number"),
        (np.zeros((3, 2)), [(1, np.zeros((3, 2), np.float32))], "input 1 has another dtype"),
        (np.zeros((3, 2)), [(0, np.zeros((3, 2)))], "Input 0 is not a tensor that can be replaced"),
        (np.zeros((3, 2)), [(7, np.zeros((3, 2)))], "Input 7 is not a tensor that can be replaced"),
    ],
)
def test_unusable_rows_are_an_error(x: Any, inputs: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(2, x, inputs)


def test_values_of_another_shape_are_the_error_of_each_problem() -> None:
    fields, _ = run(2, np.zeros((3, 2)), [(1, np.zeros((3, 5)))])
    assert sorted(fields["errors"]) == [0, 1, 2]
    np.testing.assert_array_equal(fields["status"], -1)
    assert fields["message"] == [str(error) for error in fields["errors"].values()]


def test_solvers_and_objectives_must_match() -> None:
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="as many objectives as solvers, and at least one"):
        _native.drive_batch((), (), x, [])
    with pytest.raises(ValueError, match="as many objectives as solvers"):
        _native.drive_batch(solvers(2), (with_target(),), x, [])
    with pytest.raises(ValueError, match="must have the same size"):
        _native.drive_batch((*solvers(1), *solvers(1, 3)), (with_target(), with_target()), x, [])
    with pytest.raises(TypeError, match="One of the objectives is a NoneType"):
        _native.drive_batch(solvers(1), (None,), x, [])  # type: ignore[arg-type]


def test_no_solver_or_objective_serves_two_threads() -> None:
    x, (solver,), function = np.zeros((3, 2)), solvers(1), with_target()
    with pytest.raises(RuntimeError, match="being driven"):
        _native.drive_batch((solver, solver), (function, with_target()), x, [])
    with pytest.raises(RuntimeError, match="in use by another solve"):
        _native.drive_batch(solvers(2), (function, function), x, [])
    _native.drive_batch((solver,), (function,), x, [])


def test_function_of_python_in_many_threads() -> None:
    def fun(x: Any) -> tuple[float, Any]:
        if x[0] > 5.0:
            raise ValueError("too far")
        return float(x @ x), 2 * x

    x = np.array([[1.0, 1.0], [6.0, 0.0], [-1.0, 2.0]])
    functions = tuple(_native.HostObjective(fun) for _ in range(2))
    fields, _ = _native.drive_batch(solvers(2), functions, x, [])
    np.testing.assert_allclose(x, [[0.0, 0.0], [6.0, 0.0], [0.0, 0.0]], atol=1e-6)
    assert isinstance(fields["errors"][1], ValueError)
    assert fields["errors"][1].args == ("too far",)
    with pytest.raises(ValueError, match="no inputs besides x"):
        _native.drive_batch(solvers(2), functions, x, [(1, np.zeros((3, 2)))])


def test_progress_counts_and_its_exception_ends_the_batch() -> None:
    class Enough(Exception):
        pass

    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            raise Enough

    x = np.full((10**6, 2), -1.2)
    functions = tuple(rosenbrock_objective(2) for _ in range(2))
    batch = solvers(2)
    with pytest.raises(Enough):
        _native.drive_batch(batch, functions, x, [], progress)
    assert 0 <= seen[0] <= seen[1] < len(x)
    fields, _ = _native.drive_batch(batch, functions, x[:3].copy(), [])
    assert (fields["status"] == 0).all()
