from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import bowl_at_3, rosenbrock
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult
from scipy.sparse.linalg import aslinearoperator

import tfminimize as tfm

pytestmark = pytest.mark.usefixtures("empty_cache")

X0 = np.array([-1.2, 1.0, -1.2, 1.0])


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
    result = tfm.minimize(lambda: bowl_at_3(v), v)
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


def test_matrix_of_bfgs_can_be_changed_in_place_as_an_array() -> None:
    result = tfm.minimize(rosenbrock, X0, method="BFGS")
    found, kept = result.hess_inv, np.array(result.hess_inv)
    np.multiply(found, 2.0, out=found)
    np.testing.assert_array_equal(found, 2.0 * kept)
    found[0, :] = 7.0
    np.testing.assert_array_equal(found[0], np.full(4, 7.0))
    result.hess_inv += kept
    np.testing.assert_array_equal(result.hess_inv[1:], 3.0 * kept[1:])
    np.testing.assert_array_equal(result.hess_inv[0], 7.0 + kept[0])


def test_truth_of_the_matrix_of_bfgs_is_an_error_as_of_an_array() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        bool(tfm.minimize(rosenbrock, X0, method="BFGS", options={"maxiter": 1}).hess_inv)


def test_matrix_of_bfgs_is_a_linear_operator_too() -> None:
    matrix = tfm.minimize(rosenbrock, X0, method="BFGS").hess_inv
    operator = aslinearoperator(matrix)
    for vector in np.eye(len(X0)):
        np.testing.assert_array_equal(operator @ vector, np.asarray(matrix) @ vector)
        np.testing.assert_array_equal(operator.T @ vector, np.asarray(matrix) @ vector)
    np.testing.assert_array_equal(matrix.todense(), matrix)
    assert tfm.minimize(rosenbrock, X0, method="BFGS", options={"hess_inv0": operator}).success


def test_hess_inv_knows_nothing_of_padding() -> None:
    variables = [tf.Variable(X0), tf.Variable(X0[:3])]
    result = tfm.minimize(lambda: rosenbrock(variables[0]) + rosenbrock(variables[1]), variables)
    assert result.hess_inv.shape == (7, 7)
    assert result.hess_inv.sk.shape[1] == 7
    # The packed vector has padding between the two, where every step is zero.
    assert (np.abs(result.hess_inv.sk).max(axis=0) > 0).all()


def test_hess_inv_outlives_later_solves() -> None:
    result = tfm.minimize(rosenbrock, X0)
    again = tfm.minimize(rosenbrock, X0)
    tfm.minimize(rosenbrock, X0 + 3.0)
    np.testing.assert_array_equal(result.hess_inv.todense(), again.hess_inv.todense())


def test_result_can_be_pickled() -> None:
    result = tfm.minimize(rosenbrock, X0)
    unpickled = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(unpickled.hess_inv.todense(), result.hess_inv.todense())
    np.testing.assert_array_equal(unpickled.x, result.x)


def test_start_at_the_solution_makes_no_iteration() -> None:
    result = tfm.minimize(bowl_at_3, np.full(3, 3.0))
    assert (result.nit, result.nfev, result.status) == (0, 1, 0)
    np.testing.assert_array_equal(result.hess_inv @ np.ones(3), np.ones(3))


METHODS = ["L-BFGS-B", "SLSQP", "CG", "BFGS", "Newton-CG", "TNC", "trust-constr", "Nelder-Mead", "Powell", "COBYQA"]


def types(result: OptimizeResult) -> dict[str, type]:
    return {name: type(value) for name, value in result.items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_field_has_the_type_that_it_has_in_scipy(method: str) -> None:
    seen: dict[str, list[dict[str, type]]] = {"ours": [], "theirs": []}

    def keep(name: str) -> dict[str, Any]:
        def callback(intermediate_result: OptimizeResult) -> None:
            seen[name].append(types(intermediate_result))

        return {} if method in ("TNC", "COBYQA") else {"callback": callback}

    options = {"maxiter": 50}
    jac = None if method in ("Nelder-Mead", "Powell", "COBYQA") else scipy.optimize.rosen_der
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SciPy's limits
        theirs = scipy.optimize.minimize(
            scipy.optimize.rosen, X0, jac=jac, method=method, options=options, **keep("theirs")
        )
        ours = tfm.minimize(rosenbrock, X0, method=method, options=options, **keep("ours"))
    assert isinstance(ours, tfm.OptimizeResult)
    expected = types(theirs)
    found = {name: kind for name, kind in types(ours).items() if name in expected}
    if method == "L-BFGS-B":
        assert issubclass(found.pop("hess_inv"), expected.pop("hess_inv"))
    if method == "BFGS":  # it behaves as an array, and is made when it is asked for
        assert type(np.asarray(ours.hess_inv)) is expected.pop("hess_inv")
        assert found.pop("hess_inv") is not np.ndarray
    assert found == expected
    for our_step, their_step in zip(seen["ours"][:1], seen["theirs"][:1], strict=True):
        assert {k: t for k, t in our_step.items() if k in their_step} == their_step


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_loss_stays_double_as_a_tensor(method: str) -> None:
    v = tf.Variable(X0)
    native = {"L-BFGS-B": tfm.scipy.lbfgsb, "SLSQP": tfm.scipy.slsqp, "BFGS": tfm.scipy.bfgs}[method]
    results = [
        tfm.minimize(rosenbrock, X0, method=method),
        tfm.minimize(rosenbrock, X0.astype(np.float32), method=method),
        tfm.Minimizer(rosenbrock, X0, method=method).minimize(),
        tfm.Minimizer(rosenbrock, X0, method=method).minimize_batch(np.stack([X0, X0])),
        tfm.ScipyOptimizerInterface(lambda: rosenbrock(v), [v], method=method).minimize(),
        scipy.optimize.minimize(lambda x: float(x @ x), X0, method=native),
    ]
    for result in results:
        for value in (result.fun, result.constr_violation):
            assert tf.convert_to_tensor(value).dtype == tf.float64


@pytest.mark.parametrize(
    "bounds", [None, [(-3, 3)] * 4, [(1, 1), *[(-3, 3)] * 3], [(1, 1)] * 4], ids=["free", "box", "one fixed", "fixed"]
)
@pytest.mark.parametrize("method", [tfm.scipy.lbfgsb, tfm.scipy.slsqp])
def test_methods_for_scipy_have_the_violation(method: Any, bounds: Any) -> None:
    # In the last two, finite differences leave out fixed variables.
    result = method(scipy.optimize.rosen, X0, bounds=bounds)
    assert isinstance(result, tfm.OptimizeResult)
    assert isinstance(result.constr_violation, np.float64)
    assert result.constr_violation == 0


def test_typed_result_is_copied_pickled_and_printed_as_scipys() -> None:
    result = tfm.minimize(rosenbrock, X0)
    assert type(pickle.loads(pickle.dumps(result))) is tfm.OptimizeResult
    assert type(copy.copy(result)) is type(copy.deepcopy(result)) is tfm.OptimizeResult
    assert repr(result) == repr(OptimizeResult(result))
    assert repr(tfm.OptimizeResult()) == repr(OptimizeResult())
    assert dir(result) == dir(OptimizeResult(result))
    with pytest.raises(AttributeError):
        _ = result.multipliers
