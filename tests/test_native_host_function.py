"""Python functions as objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_functions import solve, vectors

from tfminimize import _native


def test_function_sees_x_itself_read_only() -> None:
    x, g = vectors(5, 3.0)
    seen: list[Any] = []

    def fun(y: Any) -> tuple[float, Any]:
        seen.append((y.ctypes.data, y.flags.writeable, y.copy()))
        return float(y @ y), 2 * y

    assert _native.HostFunction(fun).evaluate(x, g) == 45.0
    np.testing.assert_array_equal(g, 6.0)
    address, writeable, values = seen[0]
    assert address == x.ctypes.data
    assert not writeable
    np.testing.assert_array_equal(values, 3.0)


def test_array_that_the_function_keeps_stays_valid() -> None:
    kept: list[Any] = []
    x, g = vectors(1000, 1.0)
    _native.HostFunction(lambda y: (kept.append(y) or 0.0, y)).evaluate(x, g)
    del x
    assert kept[0].sum() == 1000.0


@pytest.mark.parametrize("value", [2.0, 2, np.float64(2), np.float32(2), np.array(2.0), np.array([2.0]), [2.0], True])
def test_values_that_are_scalars(value: Any) -> None:
    assert _native.HostFunction(lambda x: (value, x)).evaluate(*vectors(3)) == float(np.ravel(value)[0])


@pytest.mark.parametrize(
    "gradient", [np.arange(3.0), np.arange(3), np.arange(3.0)[:, None], [0, 1, 2], np.arange(6.0)[::2] / 2]
)
def test_gradients_that_fit(gradient: Any) -> None:
    x, g = vectors(3)
    _native.HostFunction(lambda x: (0.0, gradient)).evaluate(x, g)
    np.testing.assert_array_equal(g, [0.0, 1.0, 2.0])


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
        _native.HostFunction(lambda x: result).evaluate(*vectors(3))


def test_exception_comes_through_unchanged() -> None:
    mine = KeyError("mine")

    def fun(x: Any) -> tuple[float, Any]:
        raise mine

    with pytest.raises(KeyError) as caught:
        _native.HostFunction(fun).evaluate(*vectors(3))
    assert caught.value is mine


def test_solve() -> None:
    def rosenbrock(x: Any) -> tuple[float, Any]:
        a, b = x
        return 100 * (b - a * a) ** 2 + (1 - a) ** 2, [400 * a * (a * a - b) - 2 * (1 - a), 200 * (b - a * a)]

    np.testing.assert_allclose(solve(_native.HostFunction(rosenbrock), 2, [-1.2, 1.0]), 1.0, atol=1e-4)


def test_function_must_be_callable() -> None:
    with pytest.raises(TypeError):
        _native.HostFunction(3)
