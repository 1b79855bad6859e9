"""Python functions as constrained objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_constrained import START, circle_host_function, circle_solver, memory, solve_circle

from tfminimize import _native

Host = _native.ConstrainedHostFunction


def make(result: Any = None, derivatives: Any = None) -> _native.ConstrainedHostFunction:
    """Functions of three variables and two constraints that return what they are given."""
    good = 1.5, [1.0, 2.0]
    good_derivatives = [1.0, 2.0, 3.0], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    return Host(
        lambda x: good if result is None else result, lambda x: good_derivatives if derivatives is None else derivatives
    )


def test_evaluation() -> None:
    arrays = memory(3, 2)
    arrays.jacobian[:] = -7.0
    assert make().evaluate(*arrays) == 1.5
    np.testing.assert_array_equal(arrays.gradient, [1, 2, 3])
    np.testing.assert_array_equal(arrays.constraints, [1, 2])
    np.testing.assert_array_equal(arrays.jacobian[:, :3], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(arrays.jacobian[:, 3:], -7.0)


def test_values_and_derivatives_are_evaluated_apart() -> None:
    calls: list[str] = []

    def values(x: Any) -> Any:
        calls.append("values")
        return 1.5, [1.0, 2.0]

    def derivatives(x: Any) -> Any:
        calls.append("derivatives")
        return x, np.ones((2, 3))

    function, arrays = Host(values, derivatives), memory(3, 2)
    assert function.evaluate_values(arrays.x, arrays.constraints) == 1.5
    assert calls == ["values"]
    function.evaluate_derivatives(arrays.x, arrays.gradient, arrays.jacobian)
    assert calls == ["values", "derivatives"]


def test_functions_see_x_itself_read_only() -> None:
    arrays, seen = memory(5, 0, 3.0), []

    def see(x: Any) -> Any:
        seen.append((x.ctypes.data, x.flags.writeable))
        return x

    Host(lambda x: (float(see(x) @ x), ()), lambda x: (2 * see(x), ())).evaluate(*arrays)
    assert seen == [(arrays.x.ctypes.data, False)] * 2
    np.testing.assert_array_equal(arrays.gradient, 6.0)


def test_solve_counts_as_the_solver_does() -> None:
    inner, counts = circle_host_function(), {"values": 0, "derivatives": 0}
    arrays = memory(2, 2)

    def values(x: Any) -> Any:
        counts["values"] += 1
        arrays.x[:] = x
        return inner.evaluate_values(arrays.x, arrays.constraints), arrays.constraints

    def derivatives(x: Any) -> Any:
        counts["derivatives"] += 1
        arrays.x[:] = x
        inner.evaluate_derivatives(arrays.x, arrays.gradient, arrays.jacobian)
        return arrays.gradient, arrays.jacobian[:, :2]

    solver = circle_solver()
    timing = _native.drive(solver, Host(values, derivatives))
    assert solver.status_code == 0
    assert counts == {"values": solver.nfev, "derivatives": solver.njev}
    assert timing.evaluations == solver.nfev + solver.njev


@pytest.mark.parametrize(
    "jacobian", [[[1, 2, 3], [4, 5, 6]], np.asfortranarray([[1.0, 2, 3], [4, 5, 6]]), np.arange(1, 7).reshape(2, 3)]
)
@pytest.mark.parametrize("constraints", [(1, 2), np.array([1.0, 2.0], np.float32), np.array([[1], [2]]), [True, 2.0]])
def test_results_that_fit(jacobian: Any, constraints: Any) -> None:
    arrays = memory(3, 2)
    make((np.float32(1.5), constraints), ([1, 2, 3], jacobian)).evaluate(*arrays)
    np.testing.assert_array_equal(arrays.constraints, [1, 2])
    np.testing.assert_array_equal(arrays.jacobian[:, :3], [[1, 2, 3], [4, 5, 6]])


def test_jacobian_of_one_constraint_may_be_a_vector() -> None:
    arrays = memory(3, 1)
    make((0.0, 5.0), (np.zeros(3), [1, 2, 3])).evaluate(*arrays)
    assert arrays.constraints == [5.0]
    np.testing.assert_array_equal(arrays.jacobian[0, :3], [1, 2, 3])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (1.0, TypeError, "function of values must return a tuple of its value and the constraints"),
        ((1.0, [1, 2], 3), TypeError, "must return a tuple of its value and the constraints"),
        ((1.0, [1, 2, 3]), ValueError, "vector of constraints has 3 elements, and the solver has 2"),
        ((1.0, [1, 2j]), TypeError, "vector of constraints has dtype complex128; it must be real"),
        ((1.0, "abc"), TypeError, "must be real"),
        (([1.0, 2.0], [1, 2]), ValueError, "has 2 elements; it must be a scalar"),
        ((1j, [1, 2]), TypeError, "must be real"),
        ((None, [1, 2]), TypeError, "must be real"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(values).evaluate(*memory(3, 2))


@pytest.mark.parametrize(
    ("derivatives", "error", "message"),
    [
        (1.0, TypeError, "function of derivatives must return a tuple of the gradient and the Jacobian"),
        (([1, 2], np.zeros((2, 3))), ValueError, "gradient has 2 elements, and x has 3"),
        (([1, 2, 3], np.zeros((3, 2))), ValueError, r"Jacobian has the shape \(3, 2\).*it must be \(2, 3\)"),
        (([1, 2, 3], np.zeros(6)), ValueError, r"Jacobian has the shape \(6,\).*it must be \(2, 3\)"),
        (([1, 2, 3], np.zeros((2, 8))), ValueError, r"Jacobian has the shape \(2, 8\)"),
        (([1, 2, 3], np.zeros((2, 3), complex)), TypeError, "Jacobian has dtype complex128; it must be real"),
        (([1, 2, 3], [[1, 2, 3], [4, 5]]), TypeError, "Jacobian is a list, which is not a number or an array"),
        (([1, 2, 3], None), TypeError, "must be real"),
    ],
)
def test_derivatives_that_do_not_fit_are_refused(derivatives: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(None, derivatives).evaluate(*memory(3, 2))


@pytest.mark.parametrize("which", [0, 1])
def test_exception_comes_through_unchanged(which: int) -> None:
    mine = KeyError("mine")

    def fail(x: Any) -> Any:
        raise mine

    functions = [lambda x: (0.0, [0.0, 0.0]), lambda x: (x, np.zeros((2, 2)))]
    functions[which] = fail
    with pytest.raises(KeyError) as caught:
        _native.drive(circle_solver(), Host(*functions))
    assert caught.value is mine


def test_solve() -> None:
    np.testing.assert_allclose(solve_circle(circle_host_function()), 1.0, atol=1e-5)


def test_constraint_that_the_solver_computes_is_refused() -> None:
    solver = circle_solver(offsets=np.array([np.nan, -1.0]))
    with pytest.raises(ValueError, match="Constraint 1 is linear for the solver"):
        _native.drive(solver, circle_host_function())
    np.testing.assert_array_equal(solver.x, START)
    _native.drive(circle_solver(offsets=np.full(2, np.nan)), circle_host_function())


def test_functions_must_be_callable() -> None:
    for functions in ((3, len), (len, None), (len,)):
        with pytest.raises(TypeError):
            Host(*functions)
