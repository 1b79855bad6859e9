"""Gradients of the solutions of a batch: those of its problems, one by one."""

from __future__ import annotations

from typing import Any

import implicit_problems
import numpy as np
import pytest
import tensorflow as tf
from implicit_problems import HIGH, LOW, equality, inequalities, loss, problems

import tfminimize as tfm
from tfminimize._graph import implicit

pytestmark = pytest.mark.slow

TIGHT = {"ftol": 0.0, "gtol": 1e-12}
N = 6


def solve_all(kind: str, a: Any, b: Any, matrices: Any, jit_compile: bool = False) -> tfm.ops.MinimizeBatchResult:
    """Solve all problems of a kind in `implicit_problems.SOLVES`."""
    options: dict[str, Any] = {"options": TIGHT}
    n = a.shape[1]
    if kind == "bounded":
        options["bounds"] = (LOW, HIGH)
    elif kind == "constrained":
        options = {
            "method": "SLSQP",
            "bounds": [(LOW, HIGH)] * (n // 2) + [(None, None)] * (n - n // 2),
            "constraints": [
                {"type": "eq", "fun": equality},
                {"type": "ineq", "fun": inequalities},
                implicit_problems.scipy.optimize.LinearConstraint(np.ones((1, n)) * np.arange(n), -np.inf, 0.5),
            ],
            "batched_constraints_args": [(a, b), (a, b), None],
            "options": {"ftol": 1e-16, "maxiter": 300},
        }
    return tfm.ops.minimize_batch(
        loss, np.zeros((1, n)), batched_args=(a, b, matrices), jit_compile=jit_compile, **options
    )


@pytest.mark.parametrize(
    "jit_compile", [pytest.param(False, id="graph"), pytest.param(True, id="XLA", marks=pytest.mark.weekly)]
)
@pytest.mark.parametrize(
    "num_direct",
    [
        pytest.param(implicit.MAX_DIRECT, id="direct"),
        pytest.param(0, id="conjugate residuals", marks=pytest.mark.weekly),
    ],
)
@pytest.mark.parametrize("kind", implicit_problems.SOLVES)
def test_gradient_is_that_of_finite_differences_of_each_solve(
    kind: str, num_direct: int, jit_compile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implicit, "MAX_DIRECT", num_direct)
    found = problems(kind, N, 5)
    stacked = [tf.constant(np.stack(part)) for part in zip(*(p.parameters for p in found), strict=True)]

    @tf.function
    def gradients(a: Any, b: Any, matrices: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            value = tf.reduce_sum(solve_all(kind, a, b, matrices, jit_compile).x * weights)
        return tape.gradient(value, [a, b])

    by_a, by_b = (part.numpy() for part in gradients(*stacked))
    for i, (_, directions, derivatives) in enumerate(found):
        own = [by_a[i] @ da + by_b[i] @ db for da, db in directions]
        np.testing.assert_allclose(own, derivatives, rtol=1e-6, atol=1e-6)


def curved(x: Any, a: Any, shared: Any) -> Any:
    return tf.reduce_sum(tf.math.expm1(a * x)) + tf.reduce_sum((x - a) ** 2) * tf.exp(shared) + x[0] * x[1]


def outcome(result: Any) -> Any:
    """A scalar of everything that can be differentiated, with another weight for each problem."""
    weight = tf.range(1.0, 1.0 + tf.cast(tf.size(result.fun), tf.float64), dtype=tf.float64)
    parts = [result.fun, tf.reduce_sum(result.x, -1) ** 2, 0.3 * tf.reduce_sum(result.jac**2, -1)]
    if result.multipliers is not None:
        parts.append(tf.reduce_sum(result.multipliers, -1))
    return tf.reduce_sum(tf.add_n(parts) * weight)


def check_against_minimize(a: Any, shared: Any, low: Any, high: Any, **options: Any) -> list[Any]:
    """Compare the gradients of a batch with those of a loop over its problems; return them."""
    inputs = [tf.constant(value, tf.float64) for value in (a, shared, low, high)]

    def by_batch(a: Any, shared: Any, low: Any, high: Any, constraints: Any = (), **rest: Any) -> Any:
        return tfm.ops.minimize_batch(
            lambda x, a: curved(x, a, shared),
            np.zeros((1, a.shape[1])),
            batched_args=(a,),
            bounds=tfm.Bounds(low, high),
            constraints=constraints,
            batched_constraints_args=[(a,) for _ in constraints],
            **rest,
        )

    def in_loop(a: Any, shared: Any, low: Any, high: Any, constraints: Any = (), **rest: Any) -> Any:
        results = [
            tfm.ops.minimize(
                lambda x, i=i: curved(x, a[i], shared),
                np.zeros(a.shape[1]),
                bounds=tfm.Bounds(*(side if side.shape.rank < 2 else side[i] for side in (low, high))),
                constraints=[{**c, "args": (a[i],)} for c in constraints],
                **rest,
            )
            for i in range(a.shape[0])
        ]
        stacked = [None if results[0][i] is None else tf.stack([result[i] for result in results]) for i in range(10)]
        return tfm.ops.MinimizeBatchResult(*stacked, "", "")

    found = []
    for solve in (by_batch, in_loop):

        @tf.function
        def gradients(*inputs: Any, solve: Any = solve) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                result = solve(*inputs, **options)
                value = outcome(result)
            return tape.gradient(value, inputs), result.success

        by_inputs, success = gradients(*inputs)
        assert success.numpy().any()
        found.append([None if part is None else part.numpy() for part in by_inputs])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)
    return found[0]


A = np.random.default_rng(3).uniform(0.3, 1.5, size=(5, 3))


def test_shared_bounds_and_shared_arguments_get_the_sum_over_the_problems() -> None:
    *_, by_low, by_high = check_against_minimize(A, 0.2, [-9.0, -9.0, -9.0], [0.1, 9.0, 0.2], options=TIGHT)
    assert by_low.shape == by_high.shape == (3,)
    assert (by_high != 0).tolist() == [True, False, True]


def test_bounds_of_each_problem() -> None:
    high = np.where(np.arange(15).reshape(5, 3) % 2, 0.05, 9.0)
    *_, by_low, by_high = check_against_minimize(A, 0.2, np.full((5, 3), -0.2), high, options=TIGHT)
    assert by_low.shape == by_high.shape == (5, 3)
    assert (by_high != 0).any(axis=1).all()


def test_constraints_of_which_each_problem_has_others_active() -> None:
    constraints = [
        {"type": "ineq", "fun": lambda x, a: tf.stack([0.1 * a[0] - x[0] ** 2, x[1] - 0.9 * a[2] + 0.5])},
        {"type": "eq", "fun": lambda x, a: x[2] - a[1] * x[0] - 0.1},
    ]
    options = {"method": "SLSQP", "constraints": constraints, "options": {"ftol": 1e-14, "maxiter": 300}}
    check_against_minimize(A, 0.2, [-9.0] * 3, [9.0] * 3, **options)


def test_many_unknowns() -> None:
    n = implicit.MAX_DIRECT + 5
    a = np.random.default_rng(4).uniform(0.3, 1.0, size=(3, n))
    high = np.where(np.arange(n) % 3, np.inf, 0.1)
    inputs = (a, 0.1, np.full(n, -np.inf), high)
    *_, by_high = check_against_minimize(*inputs, options={**TIGHT, "gtol": 1e-11})
    assert np.isfinite(by_high).all()


def rows_of(a: Any, fun: Any) -> Any:
    return tfm.ops.minimize_batch(fun, np.zeros((1, 2)), batched_args=a, options=TIGHT)


def test_gradient_that_is_nan_for_one_problem_leaves_the_others() -> None:
    a, weights = tf.constant([[1.0, 2.0], [3.0, 4.0]], tf.float64), tf.constant([[np.nan], [1.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(a)
        x = rows_of(a, lambda x, a: tf.reduce_sum((x - a**2) ** 2)).x
        value = tf.reduce_sum(x * weights)
    by_a = tape.gradient(value, a).numpy()
    assert np.isnan(by_a[0]).all()
    np.testing.assert_allclose(by_a[1], [6.0, 8.0], rtol=1e-6)


def test_problem_without_finite_derivatives_adds_no_gradient_of_its_own() -> None:
    a = tf.constant([[1.0, 2.0], [0.0, 0.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(a)
        x = rows_of(a, lambda x, a: tf.reduce_sum(tf.abs(x - a) ** 1.5) + tf.reduce_sum((x - a) ** 2)).x
        value = tf.reduce_sum(x)
    assert np.isfinite(tape.gradient(value, a)).all()


def second_gradient(a: Any) -> Any:
    with tf.GradientTape() as outer:
        outer.watch(a)
        with tf.GradientTape() as tape:
            tape.watch(a)
            value = tf.reduce_sum(rows_of(a, lambda x, a: tf.reduce_sum((x - a) ** 4 + x**2)).x)
        by_a = tape.gradient(value, a)
    return outer.gradient(by_a, a)


def test_second_gradient_is_refused() -> None:
    with pytest.raises(LookupError, match="can be differentiated only once"):
        second_gradient(tf.constant([[1.0, 2.0]], tf.float64))


def gradient_by_rows(fun: Any) -> Any:
    a = tf.constant([[1.0, 2.0], [3.0, -4.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = tf.reduce_sum(rows_of(a, fun).x)
    return tape.gradient(value, a)


def test_loops_and_choices_in_the_function() -> None:
    def fun(x: Any, a: Any) -> Any:
        total = tf.where(a[1] > 0, (x[1] - a[1]) ** 2, 2 * (x[1] + a[1]) ** 2)
        for i in tf.range(3):
            total += tf.cast(i + 1, tf.float64) * (x[0] - a[0]) ** 2
        return total

    np.testing.assert_allclose(gradient_by_rows(fun), [[1.0, 1.0], [1.0, -1.0]], rtol=1e-6)


def test_branch_on_a_tensor_is_refused_with_a_sentence() -> None:
    def fun(x: Any, a: Any) -> Any:
        return tf.cond(a[1] > 0, lambda: tf.reduce_sum((x - a) ** 2), lambda: tf.reduce_sum((x + a) ** 2))

    with pytest.raises(ValueError, match=r"instead of a condition on a tensor.*use tf.where"):
        gradient_by_rows(fun)
