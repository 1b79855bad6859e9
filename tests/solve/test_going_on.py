"""Solves that go on from a state have the bits of one that was not interrupted."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock
from results import assert_same

import tfminimize as tfm
from tfminimize._solve import native

X0 = np.array([-1.2, 1.0, 0.5, -0.3, 0.8])
LINEAR = scipy.optimize.LinearConstraint([[1.0, 1.0, 0.0, 0.0, 1.0]], -5.0, 5.0)
CONSTRAINTS = [
    {"type": "eq", "fun": lambda x: x[0] * x[1] - x[2]},
    {"type": "ineq", "fun": lambda x: 3.0 - tf.reduce_sum(x**2)},
    LINEAR,
]
BOUNDS = [(-2.0, 0.9)] * 5
PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "L-BFGS-B": {"options": {"maxcor": 3}},
    "L-BFGS-B, bounds": {"bounds": BOUNDS, "options": {"maxcor": 3}},
    "BFGS": {"method": "BFGS"},
    "SSBroyden": {"method": "BFGS", "options": {"update": "ssbroyden", "initial_scale": True}},
    "SLSQP": {"method": "SLSQP"},
    "SLSQP, constraints": {"method": "SLSQP", "constraints": CONSTRAINTS, "bounds": BOUNDS},
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())
each_backend = pytest.mark.parametrize("jit_compile", [False, True], ids=["tfe", "xla"])
Solve = Callable[..., tfm.OptimizeResult]


def solve_with(
    problem: Mapping[str, Any], jit_compile: bool = False, dtype: str = "float64", fun: Any = rosenbrock
) -> Solve:
    """A function that solves from the start, with further options and arguments."""
    given = dict(problem)
    options = given.pop("options", {})
    minimizer = tfm.Minimizer(fun, X0.astype(dtype), jit_compile=jit_compile, **given)

    def solve(**kwargs: Any) -> tfm.OptimizeResult:
        return minimizer.minimize(options=options | kwargs.pop("options", {}), **kwargs)

    return solve


def states_of(solve: Solve, **kwargs: Any) -> tuple[tfm.OptimizeResult, list[tfm.State]]:
    """The result of a solve, and its states after each iteration."""
    states = []

    def keep(intermediate_result: tfm.OptimizeResult) -> None:
        states.append(intermediate_result.state)

    return solve(callback=keep, **kwargs), states


@each_backend
@each_problem
def test_solve_goes_on_from_the_state_after_any_iteration(problem: Mapping[str, Any], jit_compile: bool) -> None:
    solve = solve_with(problem, jit_compile)
    whole, states = states_of(solve)
    assert len(states) == whole.nit > 8
    for state in states:
        assert_same(solve(x0=X0 + 1.0, state=state), whole)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@each_problem
def test_solve_that_ended_at_its_limit_goes_on_with_another(problem: Mapping[str, Any], dtype: str) -> None:
    solve = solve_with(problem, dtype=dtype)
    whole = solve()
    part = solve(options={"maxiter": 0})
    for maxiter in range(1, whole.nit + 1):
        part = solve(state=part.state, options={"maxiter": maxiter})
        assert part.nit == maxiter or part.status != 1
        assert_same(part, solve(options={"maxiter": maxiter}))
    assert_same(solve(state=part.state), whole)


@each_problem
def test_solve_that_has_converged_ends_at_once_with_the_same_result(problem: Mapping[str, Any]) -> None:
    solve = solve_with(problem)
    whole = solve()
    calls: list[Any] = []
    again = solve(state=whole.state, callback=calls.append)
    assert_same(again, whole)
    assert not calls


@each_problem
def test_solve_that_has_converged_goes_on_with_a_smaller_tolerance(problem: Mapping[str, Any]) -> None:
    solve = solve_with(problem)
    rough = solve(tol=1e-2)
    fine = solve(tol=1e-12, state=rough.state)
    assert rough.success
    assert fine.success
    assert fine.nit > rough.nit
    assert abs(fine.fun - solve(tol=1e-12).fun) < 1e-9
    assert abs(rough.fun - fine.fun) > 1e-9


@each_problem
def test_solve_that_a_callback_has_stopped_goes_on(problem: Mapping[str, Any]) -> None:
    solve = solve_with(problem)
    whole = solve()
    count = 0

    def stop(_: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise StopIteration

    stopped = solve(callback=stop)
    assert stopped.status == 99
    assert_same(solve(state=stopped.state), whole)


def test_evaluations_that_were_made_are_not_made_again() -> None:
    seen: list[float] = []

    def loss(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.py_function(lambda v: seen.append(float(v[0])), [x], [])]):
            return rosenbrock(x)

    minimizer = tfm.Minimizer(loss, X0)
    minimizer.minimize()
    whole = len(seen)
    part = minimizer.minimize(options={"maxiter": 6})
    seen.clear()
    minimizer.minimize(state=part.state)
    assert len(seen) == whole - part.nfev


def test_maxfun_goes_on() -> None:
    solve = solve_with({})
    part = solve(options={"maxfun": 10})
    assert part.message == "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"
    assert_same(solve(state=part.state), solve())


@each_backend
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_variables_get_the_solution_of_the_state(method: str, jit_compile: bool, dtype: str) -> None:
    a, b = tf.Variable(X0[:3], dtype=dtype), tf.Variable([[0.5], [-1.0]], dtype=dtype)

    def loss() -> tf.Tensor:
        return rosenbrock(tf.concat([a, tf.reshape(b, [-1])], 0))

    minimizer = tfm.Minimizer(loss, [a, b], method=method, jit_compile=jit_compile)
    start = a.numpy()
    whole = minimizer.minimize()
    solution = a.numpy()
    a.assign(start)
    b.assign([[0.5], [-1.0]])
    part = minimizer.minimize(options={"maxiter": 7})
    a.assign([5.0, 6.0, 7.0])
    assert_same(minimizer.minimize(state=part.state), whole)
    np.testing.assert_array_equal(a.numpy(), solution)


def test_state_is_that_of_its_own_solve_after_others() -> None:
    minimizer = tfm.Minimizer(rosenbrock, X0)
    part = minimizer.minimize(options={"maxiter": 6})
    minimizer.minimize(X0 + 0.1)
    minimizer.minimize(X0 - 0.1, options={"maxiter": 3})
    assert_same(minimizer.minimize(state=part.state), minimizer.minimize())


@pytest.mark.parametrize(
    "problem", [{"bounds": BOUNDS}, {"method": "SLSQP", "constraints": CONSTRAINTS}, {"method": "BFGS"}]
)
def test_state_of_a_large_solver_outlives_the_next_solve(
    problem: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "MAX_DOUBLES_KEPT", 0)
    solve = solve_with(problem)
    part = solve(options={"maxiter": 6})
    other = solve(x0=X0 + 0.1)
    assert_same(solve(state=part.state), solve())
    assert other.state.nit == other.nit


def test_state_that_nobody_can_ask_for_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    minimizer = tfm.Minimizer(rosenbrock, X0)
    minimizer.minimize()
    gc.collect()
    (pool,) = minimizer._program._pools.values()
    assert pool.free[0].latest() is None
    kept = minimizer.minimize()
    source = pool.free[0].latest()
    assert source is not None
    assert source._saved is None
    minimizer.minimize()
    assert source._saved is not None
    assert source.state() is kept.state


def test_state_of_an_intermediate_result_is_asked_for_while_the_callback_runs() -> None:
    results: list[tfm.OptimizeResult] = []

    def keep(intermediate_result: tfm.OptimizeResult) -> None:
        results.append(intermediate_result)

    tfm.minimize(rosenbrock, X0, callback=keep)
    with pytest.raises(ValueError, match="has gone on: ask for intermediate_result"):
        _ = results[0].state


def test_results_of_scipys_methods_have_no_state() -> None:
    result = tfm.minimize(rosenbrock, X0, method="CG")
    assert not hasattr(result, "state")
    with pytest.raises(AttributeError, match="only L-BFGS-B, SLSQP and BFGS have one"):
        _ = result.state


def test_copies_of_a_result_have_its_state_and_pickles_do_not() -> None:
    result = tfm.minimize(rosenbrock, X0)
    assert copy.copy(result).state is result.state
    assert copy.deepcopy(result).state is result.state
    assert not hasattr(pickle.loads(pickle.dumps(result)), "state")
    assert "state" not in result


def test_state_can_be_pickled_itself() -> None:
    part = tfm.minimize(rosenbrock, X0, options={"maxiter": 5})
    copied = pickle.loads(pickle.dumps(part.state))
    assert_same(tfm.minimize(rosenbrock, X0, state=copied), tfm.minimize(rosenbrock, X0))
    assert repr(pickle.loads(pickle.dumps(tfm.State()))) == "State()"


def failing_after(count: int, error: BaseException) -> tuple[Callable[..., Any], list[Any]]:
    calls: list[Any] = []

    def loss(x: tf.Tensor) -> tf.Tensor:
        def check(_: Any) -> None:
            calls.append(None)
            if len(calls) == count:
                raise error

        with tf.control_dependencies([tf.py_function(check, [x], [])]):
            return rosenbrock(x)

    return loss, calls


class KeepsTheEnd:
    def __init__(self) -> None:
        self.ends: list[Any] = []

    def __call__(self, intermediate_result: tfm.OptimizeResult) -> None: ...

    def on_end(self, state: tfm.State, error: BaseException | None) -> None:
        self.ends.append((state, error))


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_solve_in_which_the_loss_fails_goes_on_from_that_evaluation(method: str) -> None:
    loss, _ = failing_after(12, ValueError("the data are gone"))
    minimizer = tfm.Minimizer(loss, X0, method=method)
    end = KeepsTheEnd()
    with pytest.raises(tf.errors.OpError, match="the data are gone"):
        minimizer.minimize(callback=end)
    ((state, error),) = end.ends
    assert "the data are gone" in str(error)
    assert_same(minimizer.minimize(state=state), minimizer.minimize())


def test_callback_is_told_once_of_the_end() -> None:
    end = KeepsTheEnd()
    result = tfm.minimize(rosenbrock, X0, callback=end)
    ((state, error),) = end.ends
    assert error is None
    assert state is result.state


@pytest.mark.parametrize(
    ("here", "difference"),
    [
        ({"method": "SLSQP"}, "comes from L-BFGS-B, but this solve uses SLSQP"),
        ({"method": "BFGS"}, "comes from L-BFGS-B, but this solve uses BFGS"),
        ({"x0": np.zeros(4)}, r"float64 of shape \(5,\)\), but x0 has .*float64 of shape \(4,\)"),
        ({"x0": np.zeros(5, np.float32)}, r"float64 of shape .*float32 of shape"),
        ({"x0": [tf.zeros(2), tf.zeros(3)], "fun": lambda x: rosenbrock(tf.concat(x, 0))}, "1 leaf .* 2 leaves"),
        ({"options": {"maxcor": 7}}, "maxcor = 10, but this solve has 7"),
        ({"bounds": [(0.0, None)] * 5}, "no bounds, but this solve has bounds"),
        ({"fun": lambda x: tf.cast(rosenbrock(x), "float32")}, "functions in float64, but these have float32"),
    ],
)
def test_state_of_another_problem_is_refused(here: dict[str, Any], difference: str) -> None:
    state = tfm.minimize(rosenbrock, X0, options={"maxiter": 3}).state
    problem = {"fun": rosenbrock, "x0": X0} | here
    with pytest.raises(ValueError, match=difference):
        tfm.minimize(**problem, state=state)


@pytest.mark.parametrize(
    ("here", "difference"),
    [
        ({"bounds": [*BOUNDS[:3], (-2.0, 0.8), (-2.0, 0.9)]}, r"\(-2.0, 0.9\) for .*\[3\], .* \(-2.0, 0.8\)"),
        ({"bounds": None}, "bounds, but this solve has no bounds"),
        ({"constraints": CONSTRAINTS[1:]}, "1 equality and 3 inequality .* has 0 and 3"),
        (
            {"constraints": [*CONSTRAINTS[:2], scipy.optimize.LinearConstraint(LINEAR.A, -5.0, 4.0)]},
            "other limits or coefficients",
        ),
        (
            {"constraints": [*CONSTRAINTS[:2], scipy.optimize.LinearConstraint(2.0 * LINEAR.A, -5.0, 5.0)]},
            "other limits or coefficients",
        ),
    ],
)
def test_state_of_other_bounds_or_constraints_is_refused(here: dict[str, Any], difference: str) -> None:
    problem = {"method": "SLSQP", "bounds": BOUNDS, "constraints": CONSTRAINTS}
    state = tfm.minimize(rosenbrock, X0, **problem, options={"maxiter": 3}).state
    with pytest.raises(ValueError, match=difference):
        tfm.minimize(rosenbrock, X0, **(problem | here), state=state)


def test_what_is_no_state_is_refused() -> None:
    result = tfm.minimize(rosenbrock, X0)
    for given, sentence in [
        ({"state": result}, "state is a OptimizeResult: give result.state"),
        ({"state": tfm.State()}, "the state is empty"),
        ({"warm_start": X0}, "warm_start is a ndarray"),
        ({"state": result.state, "warm_start": result}, "both state and warm_start are given"),
        ({"state": result.state, "method": "CG"}, "runs in SciPy and has no state"),
        ({"callback": KeepsTheEnd(), "method": "CG"}, "callback has a method on_end"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            tfm.minimize(rosenbrock, X0, **given)


def test_graph_takes_no_state() -> None:
    state = tfm.minimize(rosenbrock, X0).state
    with pytest.raises(ValueError, match="an operation of a graph has no state"):
        tf.function(lambda: tfm.minimize(rosenbrock, X0, state=state).x)()
