"""What the methods that run in SciPy cannot handle: losses, constraints and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfminimize as tfm


def barrier(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x - tf.math.log(x))  # NaN beyond 0


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # SciPy's, for infinite values
@pytest.mark.parametrize("method", ["Newton-CG", "CG", "Powell", "trust-ncg", "Nelder-Mead"])
@pytest.mark.parametrize("x0", [[3.0, 0.5], [9.0, 9.0]], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_methods_step_back_from_a_loss_of_nan(method: str, x0: list[float], dtype: str) -> None:
    result = tfm.minimize(barrier, np.array(x0, dtype), method=method, options={"maxiter": 300})
    assert np.isfinite(result.fun)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-2)


@pytest.mark.parametrize("method", ["Newton-CG", "CG"])
def test_method_that_goes_to_an_x_that_is_not_finite_returns_the_best_x(method: str) -> None:
    @tf.custom_gradient
    def loss(x: tf.Tensor) -> Any:
        steep = tf.where(x < 2.5, tf.constant(np.nan, tf.float64), 2.0 * x)
        return tf.reduce_sum(x**2), lambda upstream: upstream * steep

    result = tfm.minimize(loss, np.array([3.0, 3.0]), method=method, options={"maxiter": 20})
    assert np.isfinite(result.x).all()
    assert np.isfinite(result.fun)
    assert not result.success


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("form", [dict, tuple])
def test_constraint_that_is_not_finite_at_the_start_ends_the_solve(value: float, form: Any) -> None:
    def constraint(x: tf.Tensor) -> tf.Tensor:
        return x[:1] * tf.where(x[0] > 1.0, tf.constant(value, tf.float64), tf.constant(1.0, tf.float64))

    given = {"type": "ineq", "fun": constraint}
    result = tfm.minimize(
        lambda x: tf.reduce_sum(x**2),
        np.array([2.0, 1.0]),
        method="trust-constr",
        constraints=given if form is dict else (given,),
    )
    assert not result.success
    assert result.nit == 0
    assert "Constraint 0 or its Jacobian is not finite at the start" in result.message
    np.testing.assert_array_equal(result.x, [2.0, 1.0])


@pytest.mark.parametrize(
    "method", ["trust-exact", "Newton-CG", "CG", "Nelder-Mead", "trust-constr", "L-BFGS-B", "SLSQP"]
)
@pytest.mark.parametrize("name", ["hess", "hessp", "jac", "args", "bounds", "constraints", "callback", "x0", "fun"])
def test_option_that_is_a_parameter_of_scipys_is_named(method: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"the option '{name}' has no meaning here: .* Remove it"):
        tfm.minimize(lambda x: tf.reduce_sum(x**2), np.ones(2), method=method, options={name: None})


def test_callable_method_may_have_an_option_of_any_name() -> None:
    def method(fun: Any, x0: Any, args: Any, spice: Any = None, **unused: Any) -> Any:
        return tfm.OptimizeResult(x=x0, fun=fun(x0), success=True, spice=spice)

    found = tfm.minimize(lambda x: tf.reduce_sum(x**2), np.ones(2), method=method, options={"spice": 5})
    assert found.spice == 5


@pytest.mark.parametrize("place", ["missing/state.tfm", "file/state.tfm", "folder"])
def test_state_that_cannot_be_saved_names_the_path(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    state = tfm.minimize(lambda x: tf.reduce_sum(x**2), np.ones(2)).state
    with pytest.raises(OSError, match=str(tmp_path / place)) as caught:
        state.save(tmp_path / place)
    assert ".tmp" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
