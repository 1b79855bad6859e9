"""The loop over solver and objective: callbacks, interrupts, exceptions, and solves after them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from native_constrained import (
    circle_host_function,
    circle_objective,
    circle_solver,
    constrained_objective,
    memory,
    rosenbrock,
    solve_circle,
    trace_constrained,
)
from native_functions import (
    host_rosenbrock,
    rosenbrock_objective,
    separate_rosenbrock,
    vector_layout,
    vectors,
)

from tfminimize import _native

START = [-1.2, 1.0]


def lbfgsb(n: int, start: Any, **options: Any) -> _native.Lbfgsb:
    x, g = vectors(n, start)
    return _native.Lbfgsb(x, g, **options)


class Kind(NamedTuple):
    """A solver and an objective whose minimum is at (1, 1)."""

    solver: Callable[..., Any]
    """Makes a solver and an objective from ``start`` and options."""
    objective: Callable[[], _native.Objective]
    stopped: Any
    not_finite: tuple[Any, int]


def of_lbfgsb(objective: Callable[[], _native.Objective]) -> Kind:
    status = _native.Status
    return Kind(
        lambda start=START, **options: lbfgsb(2, start, **options),
        objective,
        status.CALLER_STOPPED,
        (status.NON_FINITE_START, 2),
    )


def of_slsqp(objective: Callable[[], _native.Objective]) -> Kind:
    status = _native.SlsqpStatus
    return Kind(circle_solver, objective, status.CALLER_STOPPED, (status.NON_FINITE_START, 10))


def of_bfgs(objective: Callable[[], _native.Objective]) -> Kind:
    status = _native.BfgsStatus
    return Kind(
        lambda start=START, **options: _native.Bfgs(*vectors(2, start), **options),
        objective,
        status.CALLER_STOPPED,
        (status.NAN, 3),
    )


KINDS = {
    "BFGS, TensorFlow": of_bfgs(lambda: rosenbrock_objective(2)),
    "BFGS, two functions of the host": of_bfgs(separate_rosenbrock),
    "L-BFGS-B, TensorFlow": of_lbfgsb(lambda: rosenbrock_objective(2)),
    "L-BFGS-B, host": of_lbfgsb(host_rosenbrock),
    "L-BFGS-B, two functions of the host": of_lbfgsb(separate_rosenbrock),
    "SLSQP, TensorFlow": of_slsqp(circle_objective),
    "SLSQP, host": of_slsqp(circle_host_function),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def solution(kind: Kind, function: _native.Objective | None = None) -> Any:
    solver = kind.solver()
    _native.drive(solver, function or kind.objective())
    return np.array(solver.x)


@every_kind
def test_solve_and_timing(kind: Kind) -> None:
    solver, function = kind.solver(), kind.objective()
    begin = time.perf_counter()
    timing = _native.drive(solver, function)
    seconds = time.perf_counter() - begin
    np.testing.assert_allclose(solver.x, 1.0, atol=1e-4)
    assert (solver.request, solver.status_code) == (_native.Request.STOPPED, 0)
    assert timing.solver > 0
    assert 0 < timing.first < timing.evaluate
    assert timing.solver + timing.evaluate < seconds
    if isinstance(solver, _native.Lbfgsb):
        assert timing.evaluations == solver.nfev == solver.njev
    else:
        np.testing.assert_allclose(solver.x, 1.0, atol=1e-5)
        assert solver.nfev <= timing.evaluations <= solver.nfev + solver.njev + 1


def test_solver_and_objective_must_belong_together() -> None:
    for solver, function, message in (
        (circle_solver(), rosenbrock_objective(2), "Constraint 0 is in no row of the objective"),
        (_native.Lbfgsb(*vectors(2)), circle_objective(), "writes row 0, and the solver has 0 constraints"),
        (circle_solver(), _native.HostObjective(lambda x: (0.0, x)), "has one function only, which returns none"),
    ):
        with pytest.raises(ValueError, match=message):
            _native.drive(solver, function)
    with pytest.raises(ValueError, match="takes no constraints, and was given 2: use SLSQP"):
        _native.Lbfgsb(*memory(2, 2))


def test_every_solver_takes_an_objective_without_constraints() -> None:
    for function in (rosenbrock_objective(2), host_rosenbrock(), separate_rosenbrock()):
        for kind in (_native.Lbfgsb, _native.Slsqp):
            x, g = vectors(2, [-1.2, 1.0])
            solver = kind(x, g, ftol=1e-12)
            _native.drive(solver, function)
            assert solver.status_code == 0
            np.testing.assert_allclose(x, 1.0, atol=1e-4)


@every_kind
def test_callback_sees_every_iteration(kind: Kind) -> None:
    solver, seen = kind.solver(), []
    _native.drive(solver, kind.objective(), lambda: seen.append((solver.nit, solver.fun, solver.x.copy())))
    iterations = [nit for nit, _, _ in seen]
    assert iterations == sorted(set(iterations))
    assert iterations[-1] == solver.nit
    for _, fun, x in seen:  # the accepted iterate, not a trial
        assert fun == pytest.approx(rosenbrock(x), rel=1e-12)
    if isinstance(solver, _native.Lbfgsb):
        assert iterations == list(range(1, solver.nit + 1))
        values = [fun for _, fun, _ in seen]
        assert values == sorted(values, reverse=True)


@every_kind
def test_callback_at_the_start_is_called_once_after_the_first_evaluation(kind: Kind) -> None:
    solver, seen = kind.solver(), []
    start = solver.x.copy()
    _native.drive(solver, kind.objective(), None, lambda: seen.append((solver.nfev, solver.request, solver.x.copy())))
    ((nfev, request, x),) = seen
    assert (nfev, request) == (0, _native.Request.EVALUATE)
    np.testing.assert_array_equal(x, start)
    np.testing.assert_array_equal(solver.x, solution(kind))


@every_kind
def test_callback_stops(kind: Kind) -> None:
    solver = kind.solver()
    _native.drive(solver, kind.objective(), lambda: solver.nit == 3)
    assert (solver.nit, solver.status, solver.status_code) == (3, kind.stopped, 99)
    assert solver.fun == pytest.approx(rosenbrock(solver.x), rel=1e-12)


@every_kind
def test_callback_reads_the_solver_but_does_not_change_it(kind: Kind) -> None:
    solver, states = kind.solver(maxiter=3), []

    def observe() -> None:
        if isinstance(solver, _native.Lbfgsb):
            s, y = solver.corrections()
            assert s.shape == y.shape == (solver.num_corrections, 2)
        elif isinstance(solver, _native.Bfgs):
            assert solver.inverse_hessian().shape == (2, 2)
            assert solver.num_resets == solver.num_skipped_updates == 0
        else:
            assert solver.multipliers().shape == solver.constraints.shape == (2,)
            assert solver.jacobian.shape == (2, 8)
        assert (solver.constr_violation >= 0, solver.njev <= solver.nfev) == (True, True)
        states.append(solver.save())
        for change in (lambda: solver.advance(0.0), solver.stop, lambda: solver.restore(states[-1])):
            with pytest.raises(RuntimeError, match="cannot be changed"):
                change()

    _native.drive(solver, kind.objective(), observe)
    assert len(states) == 3
    solver.restore(states[0])
    assert solver.nit == 1


class Waiting:
    """Holds an evaluation until it is told to go on."""

    def __init__(self) -> None:
        self.inside, self.done = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.inside.set()
        self.done.wait(10)


def waiting_objective(kind: str, waiting: Waiting) -> _native.HostObjective:
    inner, arrays = circle_host_function(), memory(2, 2)
    if kind == "L-BFGS-B":
        return _native.HostObjective(lambda x: (waiting.wait(), (float(x @ x), 2 * x))[1])

    def values(x: Any) -> Any:
        waiting.wait()
        arrays.x[:] = x
        return inner.values(arrays.x, arrays.constraints), arrays.constraints

    def derivatives(x: Any) -> Any:
        arrays.x[:] = x
        inner.derivatives(arrays.x, arrays.gradient, arrays.jacobian)
        return arrays.gradient, arrays.jacobian[:, :2]

    return _native.HostObjective(values, derivatives)


@pytest.mark.parametrize("kind", ["L-BFGS-B", "SLSQP"])
def test_solver_cannot_be_read_while_it_is_driven_in_another_thread(kind: str) -> None:
    solver: Any = lbfgsb(1000, -1.2) if kind == "L-BFGS-B" else circle_solver()
    waiting = Waiting()
    thread = threading.Thread(target=_native.drive, args=(solver, waiting_objective(kind, waiting)))
    thread.start()
    assert waiting.inside.wait(10)
    uses = [lambda: solver.nit, lambda: solver.njev, solver.multipliers, solver.save, lambda: solver.advance(0.0)]
    for use in uses:
        with pytest.raises(RuntimeError, match="is being driven"):
            use()
    waiting.done.set()
    thread.join()
    assert solver.status_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("iteration", [0, 2, 5])
@every_kind
def test_restored_solver_goes_on_to_the_same_bits(kind: Kind, iteration: int) -> None:
    whole, states = kind.solver(), []
    _native.drive(whole, kind.objective(), lambda: states.append(whole.save()))
    rest = kind.solver(start=0.0)
    rest.restore(states[iteration])
    _native.drive(rest, kind.objective())
    names = ["x", "gradient"]
    if not isinstance(whole, _native.Lbfgsb):
        names += ["constraints", "jacobian"]
    for name in names:
        np.testing.assert_array_equal(getattr(rest, name), getattr(whole, name))
    np.testing.assert_array_equal(rest.multipliers(), whole.multipliers())
    assert (rest.nit, rest.nfev, rest.njev, rest.fun) == (whole.nit, whole.nfev, whole.njev, whole.fun)


class MyError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("error", [MyError, StopIteration, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("when", ["on_iteration", "on_start"])
@every_kind
def test_exception_of_a_callback_comes_through_and_the_objective_works_again(
    kind: Kind, when: str, error: type[BaseException]
) -> None:
    function, mine = kind.objective(), error("mine")

    def observe() -> None:
        raise mine

    with pytest.raises(error) as caught:
        _native.drive(kind.solver(), function, **{when: observe})
    assert caught.value is mine
    np.testing.assert_array_equal(solution(kind, function), solution(kind))


def test_callback_result_without_a_truth_value_raises() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        _native.drive(lbfgsb(2, START), rosenbrock_objective(2), lambda: np.zeros(2))


@every_kind
def test_solver_can_be_driven_on_after_an_exception(kind: Kind) -> None:
    solver, function, raised = kind.solver(), kind.objective(), []

    def observe() -> None:
        if len(raised) < 3:
            raised.append(True)
            raise MyError

    for _ in range(3):
        with pytest.raises(MyError):
            _native.drive(solver, function, observe)
    _native.drive(solver, function, observe)
    np.testing.assert_array_equal(solver.x, solution(kind))


@pytest.mark.parametrize("failing", ["values", "derivatives"])
def test_solver_can_be_driven_on_after_an_evaluation_that_failed(failing: str) -> None:
    inner, arrays, count = circle_host_function(), memory(2, 2), {"values": 0, "derivatives": 0}

    def note(which: str, x: Any) -> None:
        count[which] += 1
        if which == failing and count[which] == 3:
            raise MyError
        arrays.x[:] = x

    def values(x: Any) -> Any:
        note("values", x)
        return inner.values(arrays.x, arrays.constraints), arrays.constraints

    def derivatives(x: Any) -> Any:
        note("derivatives", x)
        inner.derivatives(arrays.x, arrays.gradient, arrays.jacobian)
        return arrays.gradient, arrays.jacobian[:, :2]

    solver, function = circle_solver(), _native.HostObjective(values, derivatives)
    with pytest.raises(MyError):
        _native.drive(solver, function)
    _native.drive(solver, function)
    np.testing.assert_array_equal(solver.x, solve_circle(inner))
    assert count[failing] == (solver.nfev if failing == "values" else solver.njev) + 1


@every_kind
def test_nested_solve_in_the_callback(kind: Kind) -> None:
    inner, solutions = kind.objective(), []
    _native.drive(kind.solver(maxiter=2), kind.objective(), lambda: solutions.append(solution(kind, inner)))
    assert len(solutions) == 2
    np.testing.assert_allclose(solutions, 1.0, atol=1e-4)


@pytest.mark.parametrize("kind", ["L-BFGS-B", "SLSQP"])
def test_global_interpreter_lock_is_free_during_a_solve(kind: str) -> None:
    if kind == "L-BFGS-B":
        function, solver = rosenbrock_objective(1000), lbfgsb(1000, -1.2, gtol=0.0, ftol=0.0, maxiter=3000)
    else:
        layout = vector_layout(200)
        traced = trace_constrained(lambda x: tf.reduce_sum(tf.cosh(x - 3.0)), lambda x: 1.0 - x[:100] ** 2, layout)
        function, solver = constrained_objective(traced, layout), _native.Slsqp(*memory(200, 100), 0, ftol=0.0)
    thread = threading.Thread(target=_native.drive, args=(solver, function))
    thread.start()
    count = 0
    while thread.is_alive():
        count += 1
    thread.join()
    assert solver.nit > 1
    assert count > 1000


@every_kind
def test_nan_at_the_start(kind: Kind) -> None:
    solver = kind.solver(start=np.nan)
    timing = _native.drive(solver, kind.objective())
    assert (solver.status, solver.status_code) == kind.not_finite
    assert solver.nfev == 1
    assert timing.evaluations <= 1 + solver.njev  # value and gradient may be two evaluations


@pytest.mark.subprocess
@pytest.mark.parametrize(
    "callback",
    [
        pytest.param("lambda: False", id="quick", marks=pytest.mark.weekly),
        pytest.param("lambda: time.sleep(0.001)", id="without_the_gil"),
    ],
)
@pytest.mark.parametrize("kind", ["L-BFGS-B", "SLSQP"])
def test_interpreter_ends_while_daemon_threads_solve(kind: str, callback: str) -> None:
    if kind == "L-BFGS-B":
        make, arrays = "_native.Lbfgsb(*vectors(8, -1.2))", "vectors(8, -1.2)"
        functions = "_native.HostObjective(lambda x: (float(x @ x), 2 * x)), rosenbrock_objective(8)"
    else:
        make, arrays = "circle_solver()", "memory(2, 2)"
        functions = "circle_host_function(), circle_objective()"
    script = f"""
import sys, threading, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from native_constrained import *
from native_functions import *
from tfminimize import _native
def solve_forever(function):
    while True:
        _native.drive({make}, function, {callback})
        function.evaluate(*{arrays})
for function in ({functions}):
    threading.Thread(target=solve_forever, args=(function,), daemon=True).start()
time.sleep(0.3)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
