"""Subclasses of the interface, written as for TensorFlow 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interface_modes import Mode

import tfminimize as tfm


class GradientDescent(tfm.ExternalOptimizerInterface):
    """Follows the gradient and keeps all arguments of the hook."""

    def _minimize(
        self,
        initial_val: Any,
        loss_grad_func: Any,
        equality_funcs: Any,
        equality_grad_funcs: Any,
        inequality_funcs: Any,
        inequality_grad_funcs: Any,
        packed_bounds: Any,
        step_callback: Any,
        optimizer_kwargs: Any,
    ) -> Any:
        self.given = dict(locals())
        x = initial_val
        for _ in range(optimizer_kwargs["num_steps"]):
            _, gradient = loss_grad_func(x)
            x = x - optimizer_kwargs["rate"] * gradient
            step_callback(x)
        return x


def problem(mode: Mode) -> tuple[Any, Any, Any]:
    matrix, vector = mode.variable([[1.0, 2.0], [3.0, 4.0]]), mode.variable([5.0, 6.0])

    def loss() -> tf.Tensor:
        return tf.reduce_sum(tf.square(matrix - 1.0)) + tf.reduce_sum(tf.square(vector - 2.0))

    return matrix, vector, loss


def test_hook_moves_the_variables(mode: Mode) -> None:
    matrix, vector, loss = problem(mode)
    steps: list[Any] = []
    optimizer = GradientDescent(mode.expression(loss), var_list=[matrix, vector], num_steps=1, rate=0.5)
    mode.minimize(optimizer, step_callback=steps.append)
    np.testing.assert_array_equal(mode.value(matrix), np.ones((2, 2)))
    np.testing.assert_array_equal(mode.value(vector), [2.0, 2.0])
    np.testing.assert_array_equal(steps, [[1.0, 1.0, 1.0, 1.0, 2.0, 2.0]])


def test_keywords_of_the_constructor_are_kept(mode: Mode) -> None:
    _, _, loss = problem(mode)
    optimizer = GradientDescent(mode.expression(loss), num_steps=2, rate=0.5)
    assert optimizer.optimizer_kwargs == {"num_steps": 2, "rate": 0.5}
    mode.minimize(optimizer)
    assert optimizer.given["optimizer_kwargs"] == {"num_steps": 2, "rate": 0.5}


@pytest.mark.parametrize("reverse", [False, True])
def test_vector_is_packed_in_the_order_of_var_list(mode: Mode, reverse: bool) -> None:
    matrix, vector, loss = problem(mode)
    var_list = [vector, matrix] if reverse else [matrix, vector]
    optimizer = GradientDescent(mode.expression(loss), var_list=var_list, num_steps=0, rate=0.0)
    mode.minimize(optimizer)
    expected = [5.0, 6.0, 1.0, 2.0, 3.0, 4.0] if reverse else [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    np.testing.assert_array_equal(optimizer.given["initial_val"], expected)


class Recording(tfm.ExternalOptimizerInterface):
    """Calls every function at the vector 0, 1, 2, ..."""

    def _minimize(self, **given: Any) -> Any:
        x = np.arange(len(given["initial_val"])).astype(given["initial_val"].dtype)
        self.loss, self.gradient = given["loss_grad_func"](x)
        self.equalities = [np.ravel(f(x)) for f in given["equality_funcs"]]
        self.equality_gradients = [np.ravel(f(x)) for f in given["equality_grad_funcs"]]
        self.inequalities = [np.ravel(f(x)) for f in given["inequality_funcs"]]
        self.inequality_gradients = [np.ravel(f(x)) for f in given["inequality_grad_funcs"]]
        return given["initial_val"]


@pytest.mark.slow
def test_functions_take_flat_vectors(mode: Mode) -> None:
    matrix, vector, loss = problem(mode)
    optimizer = Recording(
        mode.expression(loss),
        var_list=[matrix, vector],
        equalities=[mode.expression(lambda: vector[0] * matrix[0, 1]), mode.expression(lambda: vector[1])],
        inequalities=[mode.expression(lambda: matrix[1] - 2.0)],
    )
    mode.minimize(optimizer)
    # The matrix is [[0, 1], [2, 3]], the vector [4, 5].
    assert optimizer.loss == 1.0 + 0.0 + 1.0 + 4.0 + 4.0 + 9.0
    np.testing.assert_array_equal(optimizer.gradient, [-2.0, 0.0, 2.0, 4.0, 4.0, 6.0])
    np.testing.assert_array_equal(optimizer.equalities, [[4.0], [5.0]])
    np.testing.assert_array_equal(optimizer.equality_gradients, [[0.0, 4.0, 0.0, 0.0, 1.0, 0.0], np.eye(6)[5]])
    np.testing.assert_array_equal(optimizer.inequalities, [[0.0, 1.0]])
    np.testing.assert_array_equal(optimizer.inequality_gradients, [np.eye(6)[2:4].ravel()])


def test_variables_keep_their_values_during_the_solve(mode: Mode) -> None:
    _, vector, loss = problem(mode)
    seen: list[Any] = []
    optimizer = GradientDescent(mode.expression(loss), num_steps=3, rate=0.1)
    mode.minimize(optimizer, step_callback=lambda _: seen.append(mode.value(vector)))
    np.testing.assert_array_equal(seen, [[5.0, 6.0]] * 3)
    assert mode.value(vector)[0] < 5.0


def test_bounds_are_pairs(mode: Mode) -> None:
    matrix, vector, loss = problem(mode)
    optimizer = GradientDescent(
        mode.expression(loss),
        var_list=[matrix, vector],
        var_to_bounds={mode.key(matrix): ([[0.0], [1.0]], np.inf)},
        num_steps=0,
        rate=0.0,
    )
    mode.minimize(optimizer)
    inf = np.inf
    np.testing.assert_array_equal(
        np.array(list(optimizer.given["packed_bounds"]), float), [(0, inf)] * 2 + [(1, inf)] * 2 + [(-inf, inf)] * 2
    )


def test_no_bounds_are_none(mode: Mode) -> None:
    _, _, loss = problem(mode)
    optimizer = GradientDescent(mode.expression(loss), num_steps=0, rate=0.0)
    mode.minimize(optimizer)
    assert optimizer.given["packed_bounds"] is None


def test_loss_callback_is_called_for_each_call_of_loss_grad_func(mode: Mode) -> None:
    _, _, loss = problem(mode)
    expression = mode.expression(loss)
    optimizer = GradientDescent(expression, num_steps=3, rate=0.5)
    losses: list[Any] = []
    mode.minimize(optimizer, fetches=[expression], loss_callback=losses.append)
    np.testing.assert_array_equal(losses, [39.0, 0.0, 0.0])


def test_exception_of_the_hook_leaves_variables_untouched(mode: Mode) -> None:
    class Failing(GradientDescent):
        def _minimize(self, **given: Any) -> Any:
            given["loss_grad_func"](given["initial_val"] + 1.0)
            raise ArithmeticError("mine")

    _, vector, loss = problem(mode)
    with pytest.raises(ArithmeticError, match="mine"):
        mode.minimize(Failing(mode.expression(loss)))
    np.testing.assert_array_equal(mode.value(vector), [5.0, 6.0])


def test_subclass_of_the_scipy_interface_may_change_the_hook(mode: Mode) -> None:
    class Shifted(tfm.ScipyOptimizerInterface):
        def _minimize(self, initial_val: Any, **given: Any) -> Any:
            return super()._minimize(initial_val=initial_val + 1.0, **given)

    matrix, vector, loss = problem(mode)
    mode.minimize(Shifted(mode.expression(loss)))
    np.testing.assert_allclose(mode.value(matrix), 1.0, atol=1e-5)
    np.testing.assert_allclose(mode.value(vector), 2.0, atol=1e-5)


def test_subclass_of_the_scipy_interface_may_solve_by_itself(mode: Mode) -> None:
    class Own(tfm.ScipyOptimizerInterface):
        def _minimize(self, initial_val: Any, loss_grad_func: Any, **given: Any) -> Any:
            return scipy.optimize.minimize(loss_grad_func, initial_val, jac=True, method="BFGS")["x"]

    matrix, vector, loss = problem(mode)
    result = mode.minimize(Own(mode.expression(loss)))
    np.testing.assert_allclose(mode.value(matrix), 1.0, atol=1e-5)
    np.testing.assert_allclose(mode.value(vector), 2.0, atol=1e-5)
    np.testing.assert_allclose(result.x, [1.0] * 4 + [2.0] * 2, atol=1e-5)
    assert "message" not in result


def test_base_class_says_what_to_implement(mode: Mode) -> None:
    _, vector, loss = problem(mode)
    with pytest.raises(NotImplementedError) as error:
        mode.minimize(tfm.ExternalOptimizerInterface(mode.expression(loss)))
    assert str(error.value) == (
        "To use ExternalOptimizerInterface, subclass from it and implement the _minimize() method."
    )
    np.testing.assert_array_equal(mode.value(vector), [5.0, 6.0])
