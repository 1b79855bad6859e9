"""The record of a solve, and a time limit."""

from __future__ import annotations

import operator
import time
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm

START = np.array([-1.2, 1.0])
DISC = {"type": "ineq", "fun": lambda x: 1.5 - tf.reduce_sum(x**2)}
KEYS = ["fun", "gradient_norm", "step", "nfev", "seconds", "constr_violation"]


def solve(method: str, jit: bool = False, **kwargs: Any) -> Any:
    constraints = DISC if method == "SLSQP" else ()
    return tfm.minimize(rosenbrock, START, method=method, constraints=constraints, jit_compile=jit, **kwargs)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "machine code"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
class TestHistory:
    def test_has_the_start_and_every_iteration(self, method: str, jit: bool) -> None:
        seen: list[Any] = []
        result = solve(method, jit, history=True, callback=lambda intermediate_result: seen.append(intermediate_result))
        history = result.history
        assert list(history) == KEYS
        assert {len(column) for column in history.values()} == {len(seen) + 1}
        np.testing.assert_array_equal(history["fun"][1:], [r.fun for r in seen])
        assert history["fun"][0] == pytest.approx(scipy.optimize.rosen(START), rel=1e-14)
        points = np.array([START, *(r.x for r in seen)])
        np.testing.assert_allclose(
            history["step"][1:], np.linalg.norm(np.diff(points, axis=0), axis=1), rtol=1e-6, atol=1e-15
        )
        assert history["step"][0] == 0

    def test_ends_with_the_result(self, method: str, jit: bool) -> None:
        result = solve(method, jit, history=True)
        last = {name: column[-1] for name, column in result.history.items()}
        assert last["fun"] == result.fun
        assert last["nfev"] == result.nfev
        assert last["constr_violation"] == result.constr_violation
        assert (np.diff(result.history["nfev"]) >= (0 if method == "SLSQP" else 1)).all()
        assert (np.diff(result.history["seconds"]) >= 0).all()

    def test_does_not_change_the_solve(self, method: str, jit: bool) -> None:
        plain, recorded = solve(method, jit), solve(method, jit, history=True)
        assert "history" not in plain
        assert (plain.nit, plain.nfev, plain.njev, plain.fun) == (
            recorded.nit,
            recorded.nfev,
            recorded.njev,
            recorded.fun,
        )

    def test_of_a_batch(self, method: str, jit: bool) -> None:
        constraints = DISC if method == "SLSQP" else ()
        solver = tfm.Minimizer(rosenbrock, START, method=method, constraints=constraints, jit_compile=jit)
        starts = np.array([[-1.2, 1.0], [0.5, 0.5]])
        batch = solver.minimize_batch(starts, history=True)
        for start, history, fun in zip(starts, batch.history, batch.fun, strict=True):
            alone = solver.minimize(start, history=True).history
            np.testing.assert_array_equal(history["fun"], alone["fun"])
            np.testing.assert_array_equal(history["gradient_norm"], alone["gradient_norm"])
            assert history["fun"][-1] == fun
        np.testing.assert_equal(batch.history[-2:], list(batch.history))
        assert set(batch.history[-1]) == set(solver.minimize(history=True).history)
        with pytest.raises(IndexError):
            batch.history[2]
        assert "history" not in solver.minimize_batch(starts)


def test_gradient_norm_is_that_of_the_projected_gradient() -> None:
    result = tfm.minimize(rosenbrock, START, bounds=[(-2.0, 0.5), (0.0, 2.0)], history=True)
    for i, x, g in ((0, START, scipy.optimize.rosen_der(START)), (-1, result.x, result.jac)):
        projected = np.clip(x - g, [-2.0, 0.0], [0.5, 2.0]) - x
        assert result.history["gradient_norm"][i] == pytest.approx(np.abs(projected).max(), rel=1e-12, abs=1e-15)


def test_gradient_norm_of_slsqp_is_that_of_the_lagrangian() -> None:
    history = solve("SLSQP", history=True).history
    assert history["gradient_norm"][-1] < 1e-3
    assert history["gradient_norm"][0] == pytest.approx(np.abs(scipy.optimize.rosen_der(START)).max())


def test_history_of_float32_variables() -> None:
    variable = tf.Variable(START.astype("f"))
    result = tfm.minimize(lambda: rosenbrock(variable), variable, history=True)
    assert len(result.history["fun"]) == result.nit + 1
    assert result.history["fun"][-1] == result.fun


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.weekly)], ids=["graph", "machine code"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_history_of_x_has_the_start_and_every_iterate(method: str, jit: bool) -> None:
    seen: list[Any] = [START]
    result = solve(method, jit, history="x", callback=seen.append)
    np.testing.assert_array_equal(result.history["x"], seen)
    assert list(result.history) == [*KEYS, "x"]
    np.testing.assert_array_equal(solve(method, jit, history="x").history["x"], seen)
    assert (result.nit, result.nfev, result.fun) == operator.attrgetter("nit", "nfev", "fun")(solve(method, jit))


def test_history_of_x_begins_within_the_bounds() -> None:
    result = tfm.minimize(rosenbrock, [3.0, 3.0], bounds=(-1, 2), history="x")
    assert list(result.history["x"][0]) == [2, 2]


def test_history_of_x_is_flat() -> None:
    variables = [tf.Variable([[7.0], [8.0]]), tf.Variable(9.0, dtype=tf.float64)]
    result = tfm.minimize(
        lambda: tf.reduce_sum(variables[0] ** 2) + tf.cast(variables[1], "float32") ** 2, variables, history="x"
    )
    assert list(result.history["x"][0]) == [7, 8, 9]
    np.testing.assert_array_equal(result.history["x"][-1], result.x)
    assert result.history["x"].shape == (result.nit + 1, 3)


def test_history_of_x_needs_the_whole_solve() -> None:
    state = solve("BFGS", options={"maxiter": 3}).state
    with pytest.raises(ValueError, match="history='x' keeps the iterates of a solve from its start"):
        solve("BFGS", history="x", state=state)
    with pytest.raises(ValueError, match="history is 'all': give True, False, or 'x'"):
        solve("BFGS", history="all")


def test_state_of_a_solve_with_history_of_x_goes_on() -> None:
    state = solve("BFGS", options={"maxiter": 3}, history="x").state
    assert len(solve("BFGS", history=True, state=state).history["fun"]) == solve("BFGS").nit + 1


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_intermediate_result_has_the_values_of_the_record(method: str) -> None:
    seen: list[Any] = []
    history = solve(method, history=True, callback=lambda intermediate_result: seen.append(intermediate_result)).history
    alone: list[Any] = []
    solve(method, callback=lambda intermediate_result: alone.append(intermediate_result))
    for results in (seen, alone):
        np.testing.assert_array_equal([r.gradient_norm for r in results], history["gradient_norm"][1:])
        np.testing.assert_array_equal([r.nfev for r in results], history["nfev"][1:])
        assert [r.nit for r in results] == list(range(1, len(results) + 1))


def test_method_of_scipy_has_no_history() -> None:
    with pytest.raises(
        ValueError, match="history=True is for 'L-BFGS-B', 'SLSQP' or 'BFGS', and method 'cg' runs in SciPy"
    ):
        tfm.minimize(rosenbrock, START, method="CG", history=True)


def slow(x: Any) -> tf.Tensor:
    """Rosenbrock's function, and about a millisecond."""
    busy = tf.while_loop(lambda i, _: i < 20, lambda i, m: (i + 1, tf.sin(m @ m)), (0, tf.eye(150, dtype=x.dtype)))[1]
    return rosenbrock(x) + 0.0 * tf.reduce_sum(busy)


STARTS = np.tile(START, 50)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_maxtime_ends_at_the_last_iterate(method: str) -> None:
    options = {"maxtime": 0.2, "maxiter": 10**9, "gtol" if method == "BFGS" else "ftol": 0.0}
    seen: list[Any] = [STARTS]
    constraints = {"type": "ineq", "fun": lambda x: 1e4 - tf.reduce_sum(x**2)} if method == "SLSQP" else ()
    result = tfm.minimize(
        slow, STARTS, method=method, constraints=constraints, options=options, history=True, callback=seen.append
    )
    assert (result.status, result.message) == (9 if method == "SLSQP" else 1, "Time limit reached")
    assert not result.success
    np.testing.assert_array_equal(result.x, seen[-1])
    assert result.fun == result.history["fun"][-1]
    np.testing.assert_allclose(result.fun, scipy.optimize.rosen(result.x), rtol=1e-9)
    np.testing.assert_allclose(result.jac, scipy.optimize.rosen_der(result.x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_maxtime_that_is_over_at_once_keeps_the_start(method: str) -> None:
    result = solve(method, options={"maxtime": 1e-9})
    assert result.message == "Time limit reached"
    np.testing.assert_array_equal(result.x, START)
    assert result.fun == rosenbrock(START).numpy()
    np.testing.assert_allclose(result.jac, scipy.optimize.rosen_der(START))


def test_maxtime_counts_the_callback() -> None:
    result = solve("L-BFGS-B", options={"maxtime": 0.05}, callback=lambda xk: time.sleep(0.06))
    assert (result.nit, result.message) == (1, "Time limit reached")


@pytest.mark.parametrize("jit", [False, True])
def test_maxtime_far_away_changes_nothing(jit: bool) -> None:
    plain, limited = (solve("L-BFGS-B", jit, options=o) for o in (None, {"maxtime": 1e6}))
    assert (plain.nit, plain.nfev, plain.fun) == (limited.nit, limited.nfev, limited.fun)


def test_maxtime_limits_a_whole_batch() -> None:
    solver = tfm.Minimizer(slow, STARTS)
    batch = solver.minimize_batch(np.tile(STARTS, (50, 1)), num_threads=2, options={"maxtime": 0.3, "ftol": 0.0})
    assert set(batch.message) == {"Time limit reached"}
    np.testing.assert_array_equal(batch.x[-1], STARTS)
    assert np.isnan(batch.fun[-1])
    assert batch.nfev[-1] == 0
    assert np.isnan(batch.jac[-1]).all()


def test_maxtime_in_a_graph() -> None:
    result = tfm.ops.minimize(slow, STARTS, options={"maxtime": 0.2, "ftol": 0.0})
    assert result.status == 1
    assert result.nit < 2000


@pytest.mark.parametrize("method", [tfm.scipy.lbfgsb, tfm.scipy.slsqp, tfm.scipy.bfgs])
def test_maxtime_in_scipys_hands(method: Any) -> None:
    def fun(x: Any) -> tuple[float, Any]:
        time.sleep(0.002)
        return scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)

    never = {"gtol": 0.0} if method is tfm.scipy.bfgs else {"ftol": 0.0}
    result = scipy.optimize.minimize(fun, STARTS, jac=True, method=method, options={"maxtime": 0.05, **never})
    assert result.message == "Time limit reached"
    assert result.fun == scipy.optimize.rosen(result.x)


def test_maxtime_of_the_optimizers() -> None:
    variable = tf.Variable(STARTS)
    losses = tfm.math.minimize(lambda: slow(variable), 10_000, tfm.LBFGSB(maxtime=0.2, ftol=0.0, gtol=0.0))
    assert losses[-1] < losses[0]
    assert "maxtime" not in repr(tfm.LBFGSB())
    assert repr(tfm.SLSQP(maxtime=3.0)) == "SLSQP(ftol=1e-06, maxtime=3.0)"


@pytest.mark.parametrize("value", [0, -1.0, np.nan, "1", True, None])
def test_maxtime_that_is_no_time_is_explained(value: Any) -> None:
    with pytest.raises(ValueError, match=r"maxtime is .*: give the seconds that the solve may take"):
        solve("L-BFGS-B", options={"maxtime": value})


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_history_and_time_go_on_with_a_state(method: str) -> None:
    whole = solve(method, history=True)
    begun = solve(method, history=True, options={"maxiter": 7})
    ended = solve(method, history=True, state=begun.state)
    for name in ("fun", "gradient_norm", "step", "nfev", "constr_violation"):
        np.testing.assert_array_equal(ended.history[name], whole.history[name])
    assert (np.diff(ended.history["seconds"]) >= 0).all()
    assert ended.history["seconds"][8] >= begun.state.seconds > 0
    assert len(begun.state.history["fun"]) == 8


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_solve_that_ran_out_of_time_goes_on(method: str) -> None:
    constraints = {"type": "ineq", "fun": lambda x: 1e4 - tf.reduce_sum(x**2)} if method == "SLSQP" else ()
    start = np.tile(START, 5)

    def run(**kwargs: Any) -> Any:
        return tfm.minimize(slow, start, method=method, constraints=constraints, **kwargs)

    result = run(options={"maxtime": 0.03})
    assert result.message == "Time limit reached"
    used = result.state.seconds
    ended = run(state=result.state, options={"maxtime": used + 60.0})
    assert ended.success
    assert ended.fun == pytest.approx(run().fun, abs=1e-4)
    assert run(state=result.state, options={"maxtime": used / 2}).nit == result.nit
