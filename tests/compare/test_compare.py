from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock
from threadpoolctl import threadpool_info, threadpool_limits

import tfminimize as tfm


def test_both_ways_take_the_same_path() -> None:
    problem = tfm.testing.rosenbrock(2)
    comparison = tfm.compare(problem.fun, problem.x0, repeats=2)
    assert comparison.same_status
    assert (comparison.nit_difference, comparison.nfev_difference) == (0, 0)
    assert comparison.x_difference < 1e-6
    assert abs(comparison.fun_difference) < 1e-10


def test_variables_are_as_before() -> None:
    v, w = tf.Variable([7.0, 7.0]), tf.Variable(np.ones(2))
    comparison = tfm.compare(
        lambda: tf.cast(tf.reduce_sum(v**2), tf.float64) + tf.reduce_sum((w - 2.0) ** 2),
        [v, w],
        bounds=[([1.0, None], None), None],
        repeats=1,
    )
    np.testing.assert_allclose(comparison.scipy.x, [1, 0, 2, 2], atol=1e-4)
    assert comparison.x_difference < 1e-4
    assert v.numpy().tolist() == [7.0, 7.0]
    assert w.numpy().tolist() == [1.0, 1.0]


def test_structure_arguments_and_options() -> None:
    comparison = tfm.compare(
        lambda x, a: tf.reduce_sum((x["w"] - a) ** 4),
        {"w": np.zeros(3)},
        args=(2.0,),
        options={"maxiter": 3},
        jit_compile=True,
        repeats=1,
    )
    assert comparison.ours.nit == comparison.scipy.nit == 3
    assert comparison.jit_compile


def test_constraints_in_every_form_are_the_same_on_both_sides() -> None:
    constraints = [
        {"type": "ineq", "fun": lambda x, a, r: r - tf.reduce_sum((x["w"] - a) ** 2), "args": (0.5, np.float64(2.0))},
        scipy.optimize.NonlinearConstraint(lambda x: x["w"][0] * x["b"], -np.inf, 0.4),
        scipy.optimize.LinearConstraint([[1.0, 1.0, 0.0, 1.0]], 0.5, 1.5),
    ]
    comparison = tfm.compare(
        lambda x, a: tf.reduce_sum((x["w"] - a) ** 4) + x["b"] ** 2,
        {"w": np.array([0.3, 0.4, 1.0]), "b": 0.5},
        args=(2.0,),
        method="SLSQP",
        bounds={"w": (0.0, 1.4)},
        constraints=constraints,
        repeats=1,
    )
    assert comparison.ours.success
    assert comparison.same_status
    assert comparison.nit_difference == 0
    assert comparison.x_difference < 1e-5
    assert max(comparison.our_violation, comparison.scipy_violation) < 1e-6


@pytest.mark.parametrize("jit", [False, True])
def test_bfgs_beside_that_of_scipy(jit: bool) -> None:
    options = {"hess_inv0": np.diag(np.arange(1.0, 6.0)), "c2": 0.5, "update": "bfgs"}  # SciPy does not know the last
    comparison = tfm.compare(rosenbrock, np.zeros(5), method="BFGS", options=options, jit_compile=jit, repeats=1)
    assert comparison.same_status
    assert (comparison.nit_difference, comparison.nfev_difference) == (0, 0)
    assert comparison.x_difference < 1e-6
    assert comparison.ours.backend == ("xla" if jit else "tfe")
    assert comparison.scipy.hess_inv.shape == comparison.ours.hess_inv.shape
    assert "BFGS" in str(comparison)


@pytest.mark.parametrize("jit", [False, True])
def test_constraints_read_variables_in_variable_use(jit: bool) -> None:
    v, w = tf.Variable([1.0, 2.0]), tf.Variable(0.5)  # SciPy's SLSQP takes only float64
    comparison = tfm.compare(
        lambda: tf.reduce_sum((v - 3.0) ** 2) + w**2,
        [v, w],
        method=None,
        constraints={"type": "eq", "fun": lambda: v[0] + w - 1.0},
        jit_compile=jit,
        repeats=1,
    )
    np.testing.assert_allclose(comparison.scipy.x, [2.0, 3.0, -1.0], atol=1e-4)
    assert comparison.x_difference < 1e-4
    assert v.numpy().tolist() == [1.0, 2.0]


@pytest.mark.slow
def test_violation_is_measured_on_both_sides() -> None:
    # x >= 1 and x <= 0
    comparison = tfm.compare(
        lambda x: tf.reduce_sum(x**2),
        [0.3],
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: tf.concat([x - 1.0, -x], 0)},
        repeats=1,
    )
    for side, found in (("scipy", comparison.scipy_violation), ("ours", comparison.our_violation)):
        x = getattr(comparison, side).x[0]
        assert found == pytest.approx(max(1 - x, x))
    assert not comparison.ours.success
    assert "violation" in str(comparison)
    assert comparison.to_dict()["scipy"]["violation"] == comparison.scipy_violation


@pytest.mark.parametrize("threads", [1, 2])
def test_scipy_is_timed_with_one_and_the_default_number_of_blas_threads(threads: int) -> None:
    seen: list[int] = []

    def method(*args: Any, **kwargs: Any) -> scipy.optimize.OptimizeResult:
        seen.append(max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"))
        return tfm.scipy.lbfgsb(*args, **kwargs)

    with threadpool_limits(threads, user_api="blas"):
        comparison = tfm.compare(lambda x: tf.reduce_sum(x**2), np.ones(2), method=method, repeats=1)
        after = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
    assert after == threads
    by_scipy_and_us = [1, 1] + [threads, threads] * (threads > 1) + [1, 1]
    assert seen == by_scipy_and_us
    assert comparison.default_blas_threads == threads
    rows = [line.split()[:2] for line in str(comparison).splitlines() if line.strip().startswith("SciPy")]
    assert rows == [["SciPy", "1"]] + [["SciPy", "2"]] * (threads > 1)
    found = comparison.to_dict()["scipy"]
    assert found["blas_threads"] == 1
    assert found["by_default"] == {"seconds": comparison.scipy_default_seconds, "blas_threads": threads}
    assert (comparison.scipy_default_seconds == comparison.scipy_seconds) is (threads == 1)


@pytest.mark.slow
@pytest.mark.parametrize("constrained", [False, True])
def test_table_fits_the_terminal(constrained: bool) -> None:
    problem = tfm.testing.bounded_rosenbrock(100)
    constraints = {"type": "ineq", "fun": lambda x: 1e6 - tf.reduce_sum(x)} if constrained else ()
    comparison = tfm.compare(
        problem.fun,
        problem.x0,
        method=None,
        bounds=problem.bounds,
        constraints=constraints,
        jit_compile=True,
        repeats=1,
        name=problem.name,
    )
    text = str(comparison)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for word in (problem.name, f"{comparison.scipy.fun:.5g}", str(comparison.scipy.nfev), "faster"):
        assert word in text


def test_table_shows_both() -> None:
    text = str(tfm.compare(lambda x: tf.reduce_sum(x**2), np.ones(2), repeats=1, name="bowl"))
    for word in ("bowl", "SciPy", "tfminimize", "nfev"):
        assert word in text
    assert "violation" not in text


def test_to_dict_is_json() -> None:
    comparison = tfm.compare(lambda x: tf.reduce_sum(x**2), np.ones(2), repeats=1)
    read = json.loads(json.dumps(comparison.to_dict()))
    assert read["ratio"] == comparison.scipy_seconds / comparison.our_seconds
    assert read["tfminimize"]["nfev"] == comparison.ours.nfev


def test_repeats_must_be_positive() -> None:
    with pytest.raises(ValueError, match="repeats is 0"):
        tfm.compare(lambda x: tf.reduce_sum(x**2), np.ones(2), repeats=0)
