"""The extension's SLSQP: arrays, reverse communication, state, and refused arguments."""

from __future__ import annotations

import gc
import re
from typing import Any

import numpy as np
import pytest
from native_constrained import START, circle_host_function, circle_solver, memory, rosenbrock
from native_functions import vectors

from tfminimize import _native

Request = _native.Request


def evaluate(solver: _native.Slsqp) -> float:
    x = solver.x
    solver.constraints[:] = x @ x - 2, x.sum() - 1
    return rosenbrock(x)


def differentiate(solver: _native.Slsqp) -> None:
    x = solver.x
    residual = x[1] - x[0] ** 2
    solver.gradient[:] = -400 * x[0] * residual - 2 * (1 - x[0]), 200 * residual
    solver.jacobian[:, :2] = 2 * x, np.ones(2)


@pytest.mark.parametrize("joint", [False, True])
def test_reverse_communication(joint: bool) -> None:
    solver, seen, f = circle_solver(), [], 0.0
    assert solver.request is Request.EVALUATE
    assert solver.expects_derivatives
    while solver.request is not Request.STOPPED:
        seen.append(solver.request)
        both = joint and solver.expects_derivatives
        if solver.request is Request.EVALUATE:
            f = evaluate(solver)
        if solver.request is Request.DERIVATIVES or both:
            differentiate(solver)
        assert solver.advance(f, both) is solver.request
    assert solver.status is _native.SlsqpStatus.CONVERGED
    assert (solver.status_code, solver.message) == (0, "Optimization terminated successfully")
    np.testing.assert_allclose(solver.x, 1.0, atol=1e-5)
    assert solver.nfev == seen.count(Request.EVALUATE)
    if not joint:
        assert solver.njev == seen.count(Request.DERIVATIVES)
    assert solver.fun == f
    assert 0 <= solver.constr_violation < 1e-6


def test_multipliers_are_a_copy() -> None:
    solver = circle_solver()
    _native.drive(solver, circle_host_function())
    multipliers = solver.multipliers()
    assert multipliers.shape == (2,)
    multipliers[:] = 7.0
    assert (solver.multipliers() != 7.0).all()


def test_multipliers_satisfy_the_conditions_of_optimality() -> None:
    # min x² + y² on x + 2y = 5, x >= 2: at (2, 3/2), where (4, 3) = λ (1, 2) + μ (1, 0).
    arrays = memory(2, 2)
    solver = _native.Slsqp(*arrays, 1)
    function = _native.HostObjective(
        lambda x: (x @ x, [x[0] + 2 * x[1] - 5, x[0] - 2]), lambda x: (2 * x, [[1, 2], [1, 0]])
    )
    _native.drive(solver, function)
    np.testing.assert_allclose(arrays.x, [2.0, 1.5], atol=1e-6)
    np.testing.assert_allclose(solver.multipliers(), [1.5, 2.5], atol=1e-5)


def test_problem_without_constraints() -> None:
    arrays = memory(3, 0, 5.0)
    solver = _native.Slsqp(*arrays, 0)
    _native.drive(solver, _native.HostObjective(lambda x: (x @ x, []), lambda x: (2 * x, np.zeros((0, 3)))))
    np.testing.assert_allclose(arrays.x, 0.0, atol=1e-6)
    assert solver.multipliers().shape == (0,)
    assert solver.constr_violation == 0.0


def test_empty_jacobian_may_have_any_shape() -> None:
    x, g = vectors(3)
    for empty in (_native.aligned_zeros(0), np.zeros((0, 3)), np.zeros((0, 8))):
        assert _native.Slsqp(x, g, np.zeros(0), empty, 0).multipliers().shape == (0,)


def test_x_is_projected_into_the_bounds() -> None:
    arrays = memory(3, 0, [-5.0, 0.5, 9.0])
    _native.Slsqp(*arrays, 0, lower=np.zeros(3), upper=np.ones(3))
    np.testing.assert_array_equal(arrays.x, [0.0, 0.5, 1.0])


def test_linear_constraint_is_computed_by_the_solver() -> None:
    # min x² + y² on x + y = 2, as a linear constraint that the solver computes.
    arrays = memory(2, 1, [5.0, -1.0])
    arrays.jacobian[0, :2] = 1.0
    solver = _native.Slsqp(*arrays, 1, offsets=np.array([-2.0]))
    while solver.request is not Request.STOPPED:
        expected = arrays.x.sum() - 2
        arrays.gradient[:] = 2 * arrays.x
        solver.advance(float(arrays.x @ arrays.x), solver.request is Request.EVALUATE)
        np.testing.assert_allclose(arrays.constraints, expected, atol=1e-15)
    assert solver.status_code == 0
    np.testing.assert_allclose(arrays.x, 1.0, atol=1e-6)


def test_padding_is_no_variable() -> None:
    # One variable and seven elements of padding: two equalities are one too many.
    arrays = memory(8, 2, 1.0)
    arrays.x[1:] = 0.0
    lower, upper = np.full(8, -1.0), np.full(8, 1.0)
    arrays.jacobian[:, 0] = 1.0
    solver = _native.Slsqp(*arrays, 2, lower=lower, upper=upper, num_variables=1)
    solver.advance(0.0, True)
    while solver.request is Request.ITERATION:
        solver.advance(0.0)
    assert solver.status is _native.SlsqpStatus.TOO_MANY_EQUALITIES
    assert solver.status_code == 2


def test_solver_keeps_its_arrays() -> None:
    arrays = memory(2, 2, START)
    bounds = {"lower": np.full(2, -5.0), "upper": np.full(2, 5.0)}
    solver = _native.Slsqp(*arrays, 1, **bounds, offsets=np.full(2, np.nan))
    for name in arrays._fields:
        assert getattr(solver, name) is getattr(arrays, name)
    del arrays
    gc.collect()
    _native.drive(solver, circle_host_function())
    np.testing.assert_allclose(solver.x, 1.0, atol=1e-5)


def test_maxiter_and_ftol_are_options() -> None:
    solver = circle_solver(maxiter=2)
    _native.drive(solver, circle_host_function())
    assert solver.status is _native.SlsqpStatus.MAX_ITERATIONS
    assert (solver.status_code, solver.nit) == (9, 2)
    rough, fine = circle_solver(ftol=1e-1), circle_solver(ftol=1e-10)
    for either in (rough, fine):
        _native.drive(either, circle_host_function())
        assert either.status_code == 0
    assert rough.nit < fine.nit


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_start_that_is_not_finite(bad: float) -> None:
    solver = circle_solver()
    assert solver.advance(bad) is Request.STOPPED
    assert solver.status is _native.SlsqpStatus.NON_FINITE_START
    assert solver.status_code == 10


def test_stopped_solver_cannot_advance() -> None:
    solver = circle_solver()
    with pytest.raises(RuntimeError, match="iteration is complete"):
        solver.stop()
    solver.advance(np.nan)
    with pytest.raises(RuntimeError, match="has stopped"):
        solver.advance(0.0)
    with pytest.raises(RuntimeError, match="iteration is complete"):
        solver.stop()


def test_restored_solver_goes_on_to_the_same_bits() -> None:
    whole, states = circle_solver(), []
    _native.drive(whole, circle_host_function(), lambda: states.append(whole.save()))
    assert len(states) > 4
    rest = circle_solver(start=0.0)
    rest.restore(states[3])
    _native.drive(rest, circle_host_function())
    np.testing.assert_array_equal(rest.x, whole.x)
    assert (rest.nit, rest.nfev, rest.njev, rest.fun) == (whole.nit, whole.nfev, whole.njev, whole.fun)
    np.testing.assert_array_equal(rest.multipliers(), whole.multipliers())


def test_state_of_another_solver_is_refused() -> None:
    state = circle_solver().save()
    solver = circle_solver()
    for other in (state[:-1], state + b"x", b"", b"nonsense" * 30, _native.Lbfgsb(*vectors(2)).save()):
        with pytest.raises(ValueError):
            solver.restore(other)
    np.testing.assert_array_equal(solver.x, START)
    for n, m, equalities in ((3, 2, 1), (2, 3, 1), (2, 2, 0)):
        with pytest.raises(ValueError):
            _native.Slsqp(*memory(n, m), equalities).restore(state)


def unaligned(*shape: int) -> Any:
    return _native.aligned_zeros(int(np.prod(shape)) + 1)[1:].reshape(shape)


def frozen(*shape: int) -> Any:
    array = _native.aligned_zeros(int(np.prod(shape))).reshape(shape)
    array.flags.writeable = False
    return array


def good() -> dict[str, Any]:
    return dict(zip(("x", "gradient", "constraints", "jacobian"), memory(3, 2), strict=True), num_equalities=1)


WRONG_ARGUMENTS = {
    "x dtype": ("x", np.zeros(3, np.float32), TypeError, "x has dtype float32; it must be float64"),
    "x alignment": ("x", unaligned(3), ValueError, "x must start at a multiple of 64 bytes"),
    "x read-only": ("x", frozen(3), ValueError, "x must be writeable"),
    "x rank": ("x", np.zeros((1, 3)), ValueError, "x must be one-dimensional"),
    "gradient size": ("gradient", _native.aligned_zeros(4), ValueError, "gradient and x must have the same size"),
    "constraints dtype": ("constraints", np.zeros(2, np.int64), TypeError, "constraints has dtype int64"),
    "constraints read-only": ("constraints", frozen(2), ValueError, "constraints must be writeable"),
    "constraints size": ("constraints", np.zeros(3), ValueError, "jacobian has the shape (2, 8); it must be (3, 8)"),
    "jacobian dtype": ("jacobian", np.zeros((2, 8), np.float32), TypeError, "jacobian has dtype float32"),
    "jacobian stride": ("jacobian", np.zeros((2, 3)), ValueError, "jacobian has the shape (2, 3); it must be (2, 8)"),
    "jacobian rank": ("jacobian", np.zeros(16), ValueError, "jacobian has the shape (16,); it must be (2, 8)"),
    "jacobian order": ("jacobian", np.zeros((8, 2)).T, ValueError, "jacobian must be contiguous, row by row"),
    "jacobian alignment": ("jacobian", unaligned(2, 8), ValueError, "jacobian must start at a multiple of 64"),
    "jacobian read-only": ("jacobian", frozen(2, 8), ValueError, "jacobian must be writeable"),
    "jacobian empty": ("jacobian", np.zeros((0, 8)), ValueError, "jacobian has the shape (0, 8); it must be (2, 8)"),
    "negative equalities": ("num_equalities", -1, ValueError, "num_equalities is -1; it must be from 0 to"),
    "equalities": ("num_equalities", 3, ValueError, "num_equalities is 3; it must be from 0 to the number of"),
    "lower size": ("lower", np.zeros(2), ValueError, "lower has 2 elements, and x has 3"),
    "upper dtype": ("upper", np.zeros(3, np.int64), TypeError, "upper has dtype int64"),
    "offsets size": ("offsets", np.zeros(3), ValueError, "offsets has 3 elements, and constraints has 2"),
    "negative variables": ("num_variables", -2, ValueError, "num_variables is -2; it must be from 0 to"),
    "variables": (
        "num_variables",
        4,
        ValueError,
        "num_variables is 4; it must be from 0 to the number of variables, 3",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_ARGUMENTS)
def test_arguments_that_cannot_be_used_are_refused(wrong: str) -> None:
    name, value, error, message = WRONG_ARGUMENTS[wrong]
    _native.Slsqp(**good())
    with pytest.raises(error, match=re.escape(message)):
        _native.Slsqp(**(good() | {name: value}))
