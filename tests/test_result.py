from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult

import tfminimize as tfm

X0 = np.array([-1.2, 1.0, -1.2, 1.0])


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def bowl(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((x - 3.0) ** 2)


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    tfm.clear_cache()


def test_result_has_scipys_fields_and_its_own() -> None:
    result = tfm.minimize(rosenbrock, X0)
    assert isinstance(result, OptimizeResult)
    theirs = scipy.optimize.minimize(scipy.optimize.rosen, X0, method="L-BFGS-B")
    assert set(result) == {*theirs, "constr_violation", "backend", "backend_reason", "timing"}
    assert result.backend == "tfe"
    assert set(result.timing) == {"trace", "compile", "evaluate", "solver"}
    assert all(seconds > 0 for seconds in result.timing.values())


def test_second_solve_neither_traces_nor_compiles() -> None:
    tfm.minimize(rosenbrock, X0)
    timing = tfm.minimize(rosenbrock, X0).timing
    assert (timing["trace"], timing["compile"]) == (0.0, 0.0)


def test_result_does_not_share_memory_with_the_variable() -> None:
    v = tf.Variable(np.zeros(64))
    result = tfm.minimize(lambda: bowl(v), v)
    before = v.numpy()
    result.x[:] = -1.0
    np.testing.assert_array_equal(v.numpy(), before)


def test_next_solve_does_not_touch_the_last_result() -> None:
    first = tfm.minimize(rosenbrock, X0)
    kept = first.x.copy(), first.jac.copy()
    tfm.minimize(rosenbrock, X0 + 1.0, options={"maxiter": 2})
    np.testing.assert_array_equal(first.x, kept[0])
    np.testing.assert_array_equal(first.jac, kept[1])


def test_hess_inv_is_scipys_operator_with_the_pairs_in_order_of_age() -> None:
    x0 = np.resize([-1.2, 1.0], 20)
    result = tfm.minimize(rosenbrock, x0, options={"maxcor": 4})
    assert isinstance(result.hess_inv, LbfgsInvHessProduct)
    assert result.hess_inv.n_corrs == 4
    sk, yk = result.hess_inv.sk, result.hess_inv.yk
    np.testing.assert_allclose(result.hess_inv @ yk[-1], sk[-1], rtol=1e-8, atol=1e-12)
    dense = LbfgsInvHessProduct(sk, yk).todense()
    np.testing.assert_array_equal(result.hess_inv.todense(), dense)


def test_hess_inv_knows_nothing_of_padding() -> None:
    variables = [tf.Variable(X0), tf.Variable(X0[:3])]
    result = tfm.minimize(lambda: rosenbrock(variables[0]) + rosenbrock(variables[1]), variables)
    assert result.hess_inv.shape == (7, 7)
    assert result.hess_inv.sk.shape[1] == 7
    # The padding of the packed vector lies between the two: no step is all zero there.
    assert (np.abs(result.hess_inv.sk).max(axis=0) > 0).all()


def test_hess_inv_outlives_later_solves() -> None:
    result = tfm.minimize(rosenbrock, X0)
    again = tfm.minimize(rosenbrock, X0)
    tfm.minimize(rosenbrock, X0 + 3.0)
    np.testing.assert_array_equal(result.hess_inv.todense(), again.hess_inv.todense())


def test_result_can_be_pickled() -> None:
    result = tfm.minimize(rosenbrock, X0)
    copy = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(copy.hess_inv.todense(), result.hess_inv.todense())
    np.testing.assert_array_equal(copy.x, result.x)


def test_start_at_the_solution_makes_no_iteration() -> None:
    result = tfm.minimize(bowl, np.full(3, 3.0))
    assert (result.nit, result.nfev, result.status) == (0, 1, 0)
    np.testing.assert_array_equal(result.hess_inv @ np.ones(3), np.ones(3))
