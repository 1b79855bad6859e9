"""Python functions as objectives: one for value and gradient, or two, for values and for derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_constrained import START, circle_host_function, circle_solver, memory, solve_circle
from native_functions import host_rosenbrock, separate_rosenbrock, solve, vectors

from tfminimize import _native

Host = _native.HostObjective


def one(result: Any) -> Host:
    """Makes an objective of a function that returns these results."""
    return Host(lambda x: result)


def two(result: Any = None, derivatives: Any = None) -> Host:
    """Makes an objective, of three variables and two constraints, of functions that return these results."""
    good = 1.5, [1.0, 2.0]
    good_derivatives = [1.0, 2.0, 3.0], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    return Host(
        lambda x: good if result is None else result, lambda x: good_derivatives if derivatives is None else derivatives
    )


def squares(see: Any, functions: int) -> Host:
    """Makes an objective of x'x, by one function or two, which call ``see(x)``."""
    if functions == 1:
        return Host(lambda x: (float(see(x) @ x), 2 * x))
    return Host(lambda x: (float(see(x) @ x), ()), lambda x: (2 * see(x), ()))


@pytest.mark.parametrize("functions", [1, 2])
def test_functions_see_x_itself_read_only(functions: int) -> None:
    (x, g), seen = vectors(5, 3.0), []

    def see(y: Any) -> Any:
        seen.append((y.ctypes.data, y.flags.writeable, y.copy()))
        return y

    assert squares(see, functions).evaluate(x, g) == 45.0
    np.testing.assert_array_equal(g, 6.0)
    assert len(seen) == functions
    for address, writeable, values in seen:
        assert address == x.ctypes.data
        assert not writeable
        np.testing.assert_array_equal(values, 3.0)


@pytest.mark.parametrize("functions", [1, 2])
def test_array_that_a_function_keeps_stays_valid(functions: int) -> None:
    kept: list[Any] = []
    x, g = vectors(1000, 1.0)
    squares(lambda y: kept.append(y) or y, functions).evaluate(x, g)
    del x
    assert [y.sum() for y in kept] == [1000.0] * functions


def test_evaluation() -> None:
    arrays = memory(3, 2)
    arrays.jacobian[:] = -7.0
    assert two().evaluate(*arrays) == 1.5
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
    assert function.values(arrays.x, arrays.constraints) == 1.5
    assert calls == ["values"]
    function.derivatives(arrays.x, arrays.gradient, arrays.jacobian)
    assert calls == ["values", "derivatives"]


def test_one_function_writes_only_requested_outputs() -> None:
    function, (x, g) = one((1.5, [1.0, 2.0, 3.0])), vectors(3)
    assert function.values(x) == 1.5
    np.testing.assert_array_equal(g, 0.0)
    function.derivatives(x, g)
    np.testing.assert_array_equal(g, [1.0, 2.0, 3.0])


def test_one_function_writes_no_constraints() -> None:
    function, arrays = one((1.5, [1.0, 2.0, 3.0])), memory(3, 2)
    with pytest.raises(ValueError, match="one function only, without constraints"):
        function.evaluate(*arrays)


def test_solve_counts_as_the_solver_does() -> None:
    inner, counts = circle_host_function(), {"values": 0, "derivatives": 0}
    arrays = memory(2, 2)

    def values(x: Any) -> Any:
        counts["values"] += 1
        arrays.x[:] = x
        return inner.values(arrays.x, arrays.constraints), arrays.constraints

    def derivatives(x: Any) -> Any:
        counts["derivatives"] += 1
        arrays.x[:] = x
        inner.derivatives(arrays.x, arrays.gradient, arrays.jacobian)
        return arrays.gradient, arrays.jacobian[:, :2]

    solver = circle_solver()
    timing = _native.drive(solver, Host(values, derivatives))
    assert solver.status_code == 0
    assert counts == {"values": solver.nfev, "derivatives": solver.njev}
    assert timing.evaluations == solver.nfev + solver.njev


@pytest.mark.parametrize("value", [2.0, 2, np.float64(2), np.float32(2), np.array(2.0), np.array([2.0]), [2.0], True])
def test_values_that_are_scalars(value: Any) -> None:
    expected = float(np.ravel(value)[0])
    assert one((value, np.zeros(3))).evaluate(*vectors(3)) == expected
    assert two((value, [1.0, 2.0])).evaluate(*memory(3, 2)) == expected


@pytest.mark.parametrize(
    "gradient", [np.arange(3.0), np.arange(3), np.arange(3.0)[:, None], [0, 1, 2], np.arange(6.0)[::2] / 2]
)
def test_gradients_that_fit(gradient: Any) -> None:
    x, g = vectors(3)
    one((0.0, gradient)).evaluate(x, g)
    np.testing.assert_array_equal(g, [0.0, 1.0, 2.0])
    arrays = memory(3, 2)
    two(None, (gradient, np.zeros((2, 3)))).evaluate(*arrays)
    np.testing.assert_array_equal(arrays.gradient, [0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    "jacobian", [[[1, 2, 3], [4, 5, 6]], np.asfortranarray([[1.0, 2, 3], [4, 5, 6]]), np.arange(1, 7).reshape(2, 3)]
)
@pytest.mark.parametrize("constraints", [(1, 2), np.array([1.0, 2.0], np.float32), np.array([[1], [2]]), [True, 2.0]])
def test_results_that_fit(jacobian: Any, constraints: Any) -> None:
    arrays = memory(3, 2)
    two((np.float32(1.5), constraints), ([1, 2, 3], jacobian)).evaluate(*arrays)
    np.testing.assert_array_equal(arrays.constraints, [1, 2])
    np.testing.assert_array_equal(arrays.jacobian[:, :3], [[1, 2, 3], [4, 5, 6]])


def test_jacobian_of_one_constraint_may_be_a_vector() -> None:
    arrays = memory(3, 1)
    two((0.0, 5.0), (np.zeros(3), [1, 2, 3])).evaluate(*arrays)
    assert arrays.constraints == [5.0]
    np.testing.assert_array_equal(arrays.jacobian[0, :3], [1, 2, 3])


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (1.0, TypeError, "tuple of its value and its gradient"),
        ((1.0, np.zeros(3), 0), TypeError, "tuple of its value and its gradient"),
        ((1.0, np.zeros(4)), ValueError, "gradient has 4 elements, and x has 3"),
        ((np.zeros(2), np.zeros(3)), ValueError, "has 2 elements; it must be a scalar"),
        ((1j, np.zeros(3)), TypeError, "must be real"),
        ((1.0, np.zeros(3, complex)), TypeError, "gradient has dtype complex128; it must be real"),
        ((1.0, "abc"), TypeError, "must be real"),
        ((None, np.zeros(3)), TypeError, "must be real"),
    ],
)
def test_results_that_do_not_fit_are_refused(result: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        one(result).evaluate(*vectors(3))


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
        two(values).evaluate(*memory(3, 2))


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
        two(None, derivatives).evaluate(*memory(3, 2))


@pytest.mark.parametrize("which", ["value and gradient", "values", "derivatives"])
def test_exception_comes_through_unchanged(which: str) -> None:
    mine = KeyError("mine")

    def fail(x: Any) -> Any:
        raise mine

    if which == "value and gradient":
        use = lambda: Host(fail).evaluate(*vectors(3))  # noqa: E731
    elif which == "values":
        use = lambda: _native.drive(circle_solver(), Host(fail, lambda x: (x, np.zeros((2, 2)))))  # noqa: E731
    else:
        use = lambda: _native.drive(circle_solver(), Host(lambda x: (0.0, [0.0, 0.0]), fail))  # noqa: E731
    with pytest.raises(KeyError) as caught:
        use()
    assert caught.value is mine


def test_solve() -> None:
    for function in (host_rosenbrock(), separate_rosenbrock()):
        np.testing.assert_allclose(solve(function, 2, [-1.2, 1.0]), 1.0, atol=1e-4)
    np.testing.assert_allclose(solve_circle(circle_host_function()), 1.0, atol=1e-5)


def test_constraint_that_the_solver_computes_is_refused() -> None:
    solver = circle_solver(offsets=np.array([np.nan, -1.0]))
    with pytest.raises(ValueError, match="Constraint 1 is linear for the solver"):
        _native.drive(solver, circle_host_function())
    np.testing.assert_array_equal(solver.x, START)
    _native.drive(circle_solver(offsets=np.full(2, np.nan)), circle_host_function())


def test_functions_must_be_callable() -> None:
    for functions in ((3,), (3, len), (len, 3), (None, len), ()):
        with pytest.raises(TypeError):
            Host(*functions)
