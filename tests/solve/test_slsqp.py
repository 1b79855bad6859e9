"""The native SLSQP through `minimize`: SciPy's results, options, callbacks, threads and faults."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm
from tfminimize._testing.hock_schittkowski import CASES, Case, constraints_of

pytestmark = pytest.mark.usefixtures("empty_cache")


def by_scipy(case: Case, **kwargs: Any) -> scipy.optimize.OptimizeResult:
    """SciPy's SLSQP on the same functions, with TensorFlow's derivatives."""

    def derivative(fun: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
        def of(x: np.ndarray) -> np.ndarray:
            variable = tf.constant(x)
            with tf.GradientTape() as tape:
                tape.watch(variable)
                value = fun(variable)
            return np.asarray(tape.gradient(value, variable))

        return of

    constraints = [
        {"type": c["type"], "fun": lambda x, f=c["fun"]: np.asarray(f(x)), "jac": derivative(c["fun"])}
        for c in constraints_of(case)
    ]
    return scipy.optimize.minimize(
        lambda x: float(case.fun(x)),
        np.array(case.x0, float),
        jac=derivative(case.fun),
        method="SLSQP",
        bounds=case.bounds,
        constraints=constraints,
        **kwargs,
    )


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_takes_the_path_of_scipy_to_the_published_optimum(name: str, jit_compile: bool) -> None:
    case = CASES[name]
    ours = tfm.minimize(
        case.fun,
        case.x0,
        method="SLSQP",
        bounds=case.bounds,
        constraints=constraints_of(case),
        jit_compile=jit_compile,
    )
    theirs = by_scipy(case)
    assert ours.success
    assert ours.fun == pytest.approx(case.optimum, abs=2e-4)
    assert (ours.status, ours.nit, ours.nfev, ours.njev) == (theirs.status, theirs.nit, theirs.nfev, theirs.njev)
    assert ours.message == theirs.message
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ours.jac, theirs.jac, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.multipliers, theirs.multipliers, rtol=1e-3, atol=1e-5)
    assert ours.constr_violation < 1e-6


def test_variables_and_arrays_give_the_same_solve() -> None:
    case = CASES["HS71"]
    of_array = tfm.minimize(case.fun, case.x0, method="SLSQP", bounds=case.bounds, constraints=constraints_of(case))
    v, w = tf.Variable(np.array(case.x0[:1], float)), tf.Variable(np.array(case.x0[1:], float))
    x = lambda: tf.concat([v, w], 0)  # noqa: E731
    constraints = [c | {"fun": lambda f=c["fun"]: f(x())} for c in constraints_of(case)]
    of_variables = tfm.minimize(
        lambda: case.fun(x()), [v, w], method="slsqp", bounds=[(1, 5), (1, 5)], constraints=constraints
    )
    np.testing.assert_allclose(of_variables.x, of_array.x, rtol=1e-12)
    np.testing.assert_allclose(of_variables.jac, of_array.jac, rtol=1e-12)
    assert of_variables.nit == of_array.nit
    np.testing.assert_array_equal(np.concatenate([v.numpy(), w.numpy()]), of_variables.x)


def test_linear_constraints_take_the_same_path_as_functions() -> None:
    random = np.random.default_rng(0)
    matrix, centre = random.normal(size=(4, 12)), random.normal(size=(3, 4))
    x0 = random.normal(size=(3, 4))

    def fun(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((x - centre) ** 2 + 0.25 * (x - centre) ** 4)

    low, high = np.array([1.0, -np.inf, 0.5, -1.0]), np.array([1.0, 0.0, np.inf, 1.0])
    linear = scipy.optimize.LinearConstraint(matrix, low, high)
    function = scipy.optimize.NonlinearConstraint(lambda x: tf.linalg.matvec(matrix, tf.reshape(x, [-1])), low, high)
    first, second = (tfm.minimize(fun, x0, method="SLSQP", constraints=c) for c in (linear, function))
    assert first.nit == second.nit
    np.testing.assert_allclose(first.x, second.x, rtol=1e-9)
    np.testing.assert_allclose(first.multipliers, second.multipliers, rtol=1e-6, atol=1e-9)


def test_result_has_scipys_fields_and_ours() -> None:
    case = CASES["HS71"]
    ours = tfm.minimize(case.fun, case.x0, method="SLSQP", bounds=case.bounds, constraints=constraints_of(case))
    assert set(by_scipy(case)) <= set(ours)
    assert set(ours) - set(by_scipy(case)) == {"constr_violation", "backend", "backend_reason", "timing"}
    assert ours.backend == "tfe"
    assert set(ours.timing) == {"trace", "compile", "evaluate", "solver"}


@pytest.mark.parametrize("maxiter", [0, 1, 2])
def test_derivatives_belong_to_x_however_the_solve_ends(maxiter: int) -> None:
    case = CASES["HS71"]
    result = tfm.minimize(
        case.fun,
        case.x0,
        method="SLSQP",
        bounds=case.bounds,
        constraints=constraints_of(case),
        options={"maxiter": maxiter},
    )
    assert (result.status, result.success, result.nit) == (9, False, maxiter)
    a, b, c, d = result.x
    assert result.fun == pytest.approx(case.fun(result.x), rel=1e-12)
    np.testing.assert_allclose(result.jac, [d * (2 * a + b + c), a * d, a * d + 1, a * (a + b + c)], rtol=1e-12)


def test_violation_is_that_of_x() -> None:
    case = CASES["HS71"]
    result = tfm.minimize(case.fun, case.x0, method="SLSQP", constraints=constraints_of(case), options={"maxiter": 2})
    assert not result.success
    violations = [abs(case.equalities(result.x)), max(-case.inequalities(result.x), 0.0)]
    assert result.constr_violation == pytest.approx(max(violations), rel=1e-9)


def test_float32_rounds_to_what_the_function_saw() -> None:
    case = CASES["HS71"]
    x0 = np.array(case.x0, np.float32)
    result = tfm.minimize(
        case.fun, x0, method="SLSQP", bounds=case.bounds, constraints=constraints_of(case), options={"ftol": 1e-4}
    )
    assert result.x.dtype == np.float32
    assert result.success
    assert result.fun == pytest.approx(case.optimum, abs=1e-2)


# Options and callbacks


def test_tol_sets_ftol() -> None:
    case = CASES["HS71"]
    common: dict[str, Any] = {"method": "SLSQP", "bounds": case.bounds, "constraints": constraints_of(case)}
    by_tol = tfm.minimize(case.fun, case.x0, tol=1e-2, **common)
    by_option = tfm.minimize(case.fun, case.x0, options={"ftol": 1e-2}, **common)
    assert by_tol.nit == by_option.nit < tfm.minimize(case.fun, case.x0, **common).nit


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gtol": 1e-3}, "SLSQP has no option 'gtol': it knows ftol, maxiter"),
        ({"ftol": -1.0}, "ftol is -1.0: give a number that is 0 or greater"),
        ({"ftol": np.nan}, "ftol is nan"),
        ({"maxiter": -1}, "maxiter is -1"),
        ({"maxiter": "many"}, "maxiter is 'many'"),
        ({"eps": 1e-8}, "the option 'eps' has no meaning here: it is a step of finite differences"),
        ({"disp": True}, "the option 'disp' has no meaning here: nothing is printed"),
        ({"iprint": 2}, "the option 'iprint' has no meaning here"),
        ([("ftol", 1)], "options is .*: give a dict"),
    ],
)
def test_unusable_option_is_an_error(options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.minimize(tf.reduce_sum, np.zeros(2), method="SLSQP", options=options)


@pytest.mark.parametrize("method", ["SLSQP", "slsqp", "Slsqp"])
def test_method_in_any_case(method: str) -> None:
    assert tfm.minimize(lambda x: tf.reduce_sum((x - 1.0) ** 2), np.zeros(2), method=method).success


def test_callback_sees_every_accepted_point_as_a_copy() -> None:
    case = CASES["HS71"]
    seen: list[Any] = []

    def callback(intermediate_result: Any) -> None:
        seen.append(intermediate_result)

    result = tfm.minimize(
        case.fun, case.x0, method="SLSQP", bounds=case.bounds, constraints=constraints_of(case), callback=callback
    )
    for point in seen:
        assert point.fun == pytest.approx(float(case.fun(point.x)), rel=1e-12)
    assert len(seen) == result.nit
    assert not any(np.shares_memory(a.x, b.x) for a, b in itertools.combinations(seen, 2))
    np.testing.assert_array_equal(seen[-1].x, result.x)


def test_stop_iteration_ends_the_solve() -> None:
    case = CASES["HS71"]
    seen: list[np.ndarray] = []

    def callback(xk: np.ndarray) -> None:
        seen.append(xk)
        if len(seen) == 2:
            raise StopIteration

    v = tf.Variable(np.array(case.x0, float))
    result = tfm.minimize(
        lambda: case.fun(v),
        v,
        method="SLSQP",
        bounds=(1, 5),
        constraints={"type": "eq", "fun": lambda: case.equalities(v)},
        callback=callback,
    )
    assert (result.status, result.success, result.message) == (99, False, "`callback` raised `StopIteration`.")
    np.testing.assert_array_equal(result.x, seen[-1])
    np.testing.assert_array_equal(v.numpy(), seen[-1])


def test_exception_in_a_callback_leaves_variables_untouched() -> None:
    v = tf.Variable([3.0, 4.0])

    def callback(xk: np.ndarray) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tfm.minimize(
            lambda: tf.reduce_sum(v**2),
            v,
            method="SLSQP",
            constraints={"type": "ineq", "fun": lambda: v[0] - 1.0},
            callback=callback,
        )
    np.testing.assert_array_equal(v.numpy(), [3.0, 4.0])


# Many solves


def test_minimizer_traces_once_and_gives_the_same_bits() -> None:
    traces = 0

    def fun(x: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        nonlocal traces
        traces += 1
        return tf.reduce_sum((x - a) ** 4)

    solver = tfm.Minimizer(
        fun,
        np.zeros(3),
        args=(np.ones(3),),
        method="SLSQP",
        constraints=[
            {"type": "ineq", "fun": lambda x, r: r - tf.reduce_sum(x**2), "args": (1.5,)},
            scipy.optimize.LinearConstraint([1, -1, 0], 0.25, 0.25),
        ],
    )
    assert traces == 2
    first, other, again = solver.minimize(), solver.minimize([1.0, 2.0, 3.0], (np.zeros(3),)), solver.minimize()
    assert traces == 2
    assert other.fun < first.fun
    assert first.nit == again.nit
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.multipliers, again.multipliers)


def test_minimizer_refuses_limits_that_do_not_fit_when_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"lb of shape \(3,\), but its function returns 2 values"):
        tfm.Minimizer(
            tf.reduce_sum,
            np.zeros(2),
            method="SLSQP",
            constraints=scipy.optimize.NonlinearConstraint(lambda x: x, [0, 0, 0], 1),
        )


def test_result_is_kept_when_the_next_solve_uses_the_same_memory() -> None:
    solver = tfm.Minimizer(
        lambda x: tf.reduce_sum(x**2),
        np.ones(2),
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: x[0] - 1.0},
    )
    first = solver.minimize()
    kept = first.x.copy(), first.jac.copy(), first.multipliers.copy()
    solver.minimize([30.0, 40.0])
    for array, before in zip((first.x, first.jac, first.multipliers), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_threads_share_a_minimizer() -> None:
    case = CASES["HS71"]
    solver = tfm.Minimizer(case.fun, case.x0, method="SLSQP", bounds=case.bounds, constraints=constraints_of(case))
    expected = solver.minimize().x
    found: list[np.ndarray] = []

    def run() -> None:
        for _ in range(20):
            found.append(solver.minimize().x)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for x in found:
        np.testing.assert_array_equal(x, expected)


# Problems without a solution, or with one that cannot be found


def minimize_bowl(constraints: Any, **kwargs: Any) -> scipy.optimize.OptimizeResult:
    return tfm.minimize(
        lambda x: tf.reduce_sum((x - 1.0) ** 2), np.zeros(2), method="SLSQP", constraints=constraints, **kwargs
    )


def test_more_equalities_than_variables() -> None:
    result = minimize_bowl({"type": "eq", "fun": lambda x: tf.stack([x[0], x[1], x[0] + x[1] - 1.0])})
    assert (result.status, result.success) == (2, False)
    assert result.message == "More equality constraints than independent variables"
    assert result.constr_violation == 1.0


def test_equalities_that_contradict_each_other() -> None:
    result = minimize_bowl([{"type": "eq", "fun": lambda x: x[0] - 1.0}, {"type": "eq", "fun": lambda x: x[0] + 1.0}])
    assert not result.success
    assert result.status in (4, 6, 8)
    assert result.constr_violation >= 1.0


def test_inequalities_that_contradict_each_other() -> None:
    result = minimize_bowl(
        [{"type": "ineq", "fun": lambda x: x[0] - 1.0}, {"type": "ineq", "fun": lambda x: -x[0] - 1.0}]
    )
    assert not result.success
    assert result.constr_violation >= 1.0 - 1e-9


def test_constraint_against_the_bounds() -> None:
    result = minimize_bowl({"type": "eq", "fun": lambda x: x[0] - 2.0}, bounds=[(0, 1), (0, 1)])
    assert not result.success
    assert result.constr_violation >= 1.0 - 1e-9
    assert np.all((result.x >= 0) & (result.x <= 1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_constraint_that_is_not_finite_at_the_start(value: float) -> None:
    result = minimize_bowl({"type": "ineq", "fun": lambda x: x[0] + tf.constant(value, tf.float64)})
    assert (result.success, result.nfev) == (False, 1)
    assert "finite" in result.message


def test_constraint_that_is_not_finite_everywhere() -> None:
    # log(x0) >= 0 from a start where full steps leave the logarithm's domain.
    result = tfm.minimize(
        lambda x: (x[0] + 3.0) ** 2 + x[1] ** 2,
        [20.0, 1.0],
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: tf.math.log(x[0])},
    )
    np.testing.assert_allclose(result.x, [1.0, 0.0], atol=1e-5)
    assert result.success


# Their derivatives are not finite at x = 0. The minimum within [0, 2] x [0, 2], and where.
WALLS = {
    "roots": (lambda x: tf.sqrt(x[1]) - tf.sqrt(x[0]), [2.0, 0.0]),
    "root and parabola": (lambda x: tf.sqrt(x[1]) + 5.0 * (x[0] + x[1] - 1.0) ** 2, [1.0, 0.0]),
    "logarithm": (lambda x: x[0] - tf.math.log(x[0]) + tf.sqrt(x[1]), [1.0, 0.0]),
    "entropy": (lambda x: tf.math.xlogy(x[0], x[0]) - x[0] + 1.0 / x[1] + x[1], [1.0, 1.0]),
}


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WALLS)
def test_success_near_a_wall_is_a_minimum(name: str, dtype: type, jit_compile: bool) -> None:
    fun, optimum = WALLS[name]
    starts = np.random.default_rng(1).uniform(0.05, 1.9, (20, 2)).astype(dtype)
    minimizer = tfm.Minimizer(fun, starts[0], method="SLSQP", bounds=[(0.0, 2.0)] * 2, jit_compile=jit_compile)
    lowest = fun(tf.constant(optimum, tf.float64)).numpy()
    for start in starts:
        result = minimizer.minimize(start)
        assert result.success, start
        np.testing.assert_allclose(result.x, optimum, atol=5e-3, err_msg=str(start))
        assert result.fun < lowest + 1e-4, start


def test_iterates_stay_within_the_bounds() -> None:
    low, high = np.array([0.1, -0.7]), np.array([0.3, 0.9])
    outside: list[np.ndarray] = []

    def fun(x: tf.Tensor) -> tf.Tensor:
        def note(x: np.ndarray) -> np.ndarray:
            if np.any(x < low) or np.any(x > high):
                outside.append(x.copy())
            return np.float64(0)

        noted = tf.stop_gradient(tf.ensure_shape(tf.numpy_function(note, [x], tf.float64), []))
        return tf.reduce_sum((x - 3.0) ** 2) + noted

    result = tfm.minimize(
        fun,
        np.array([9.0, 9.0]),
        method="SLSQP",
        bounds=np.stack([low, high], 1),
        constraints={"type": "ineq", "fun": lambda x: 1.0 - tf.reduce_sum(x**2)},
    )
    assert result.success
    assert not outside


def test_fixed_variables_stay() -> None:
    result = minimize_bowl({"type": "ineq", "fun": lambda x: x[1] - 2.0 * x[0]}, bounds=[(3, 3), (None, None)])
    np.testing.assert_allclose(result.x, [3.0, 6.0], atol=1e-6)
    everything = minimize_bowl({"type": "ineq", "fun": lambda x: x[1] - x[0]}, bounds=[(3, 3), (4, 4)])
    assert everything.success
    np.testing.assert_array_equal(everything.x, [3.0, 4.0])


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("others", [[], [scipy.optimize.LinearConstraint([1, 1], 0, 1)]], ids=["alone", "with a line"])
def test_constraint_without_values(others: list[Any], jit_compile: bool) -> None:
    constraints = [{"type": "ineq", "fun": lambda x: x[:0]}, *others]
    result = tfm.minimize(
        lambda x: tf.reduce_sum((x - 1.0) ** 2),
        np.array([0.3, 0.2]),
        method="SLSQP",
        constraints=constraints,
        jit_compile=jit_compile,
    )
    assert result.success
    np.testing.assert_allclose(result.x, 0.5 if others else 1.0, atol=1e-5)
