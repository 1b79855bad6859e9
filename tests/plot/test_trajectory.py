"""The iterates of solves in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from matplotlib.contour import QuadContourSet
from problems import rosenbrock

import tfminimize as tfm
from tfminimize._plot import trajectory

START = np.array([-1.2, 1.0])
DISC = {"type": "ineq", "fun": lambda x: 1.5 - tf.reduce_sum(x**2)}
LINE = {"type": "eq", "fun": lambda x: x[0] + x[1] - 0.5}


@pytest.fixture(autouse=True)
def coarse_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer points than a picture needs."""
    monkeypatch.setattr(trajectory, "_POINTS", 41)


def contours(ax: Any) -> list[QuadContourSet]:
    return [c for c in ax.collections if isinstance(c, QuadContourSet)]


def outline(ax: Any, dashes: str) -> np.ndarray:
    """The points of the contour at zero that is drawn in these dashes."""
    (found,) = [c for c in contours(ax) if list(c.levels) == [0.0] and c.linestyles == dashes]
    return np.concatenate([path.vertices for path in found.get_paths()])


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "BFGS"])
def test_line_goes_through_the_iterates(method: str) -> None:
    seen = [START]
    result = tfm.minimize(rosenbrock, START, method=method, history="x", callback=lambda xk: seen.append(xk))
    ax = tfm.plot.trajectory(rosenbrock, result)
    line, start, end = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), seen)
    np.testing.assert_array_equal(start.get_xydata(), [START])
    np.testing.assert_array_equal(end.get_xydata(), [result.x])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x[0]", "x[1]")


def test_contours_have_the_levels_of_the_loss() -> None:
    result = tfm.minimize(rosenbrock, START, history="x")
    ax = tfm.plot.trajectory(rosenbrock, result, limits=((-2, 2), (-1, 3)))
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-1, 3))
    contour = contours(ax)[1]
    level, path = contour.levels[9], contour.get_paths()[9]
    np.testing.assert_allclose(scipy.optimize.rosen(path.vertices.T), level, rtol=0.1)


def test_outside_of_the_bounds_is_grey() -> None:
    bounds = [(-1.0, 0.5), (None, 0.75)]
    result = tfm.minimize(rosenbrock, [0.0, 0.0], bounds=bounds, history="x")
    ax = tfm.plot.trajectory(rosenbrock, result, bounds=bounds, limits=((-2, 2), (-1, 3)))
    boxes = sorted(patch.get_bbox().bounds for patch in ax.patches)
    assert boxes == [(-2.0, 0.0, 1.0, 1.0), (0.0, 0.75, 1.0, 2.25), (0.5, 0.0, 1.5, 1.0)]
    contour = contours(ax)[0]
    corners = contour.get_datalim(ax.transData)
    assert corners.x0 >= -1.0
    assert corners.x1 <= 0.5
    assert corners.y1 <= 0.75


@pytest.mark.parametrize("jit", [False, True])
def test_feasible_set_is_outlined(jit: bool) -> None:
    fun = tf.function(rosenbrock, jit_compile=jit)
    result = tfm.minimize(fun, [0.1, 0.1], method="SLSQP", constraints=[DISC, LINE], history="x")
    ax = tfm.plot.trajectory(fun, result, constraints=[DISC, LINE], limits=((-2, 2), (-2, 2)))
    np.testing.assert_allclose(np.linalg.norm(outline(ax, "-"), axis=1), np.sqrt(1.5), rtol=1e-2)
    np.testing.assert_allclose(outline(ax, "--").sum(axis=1), 0.5, atol=1e-9)


def test_limits_of_linear_and_nonlinear_constraints_are_outlined() -> None:
    constraints = [
        scipy.optimize.LinearConstraint([[1, 0], [0, 1]], [-1, -1], [np.inf, 1]),
        scipy.optimize.NonlinearConstraint(lambda x: x[0] + x[1], -np.inf, 1.0),
    ]
    result = tfm.minimize(rosenbrock, [0.0, 0.0], method="SLSQP", constraints=constraints, history="x")
    ax = tfm.plot.trajectory(rosenbrock, result, constraints=constraints, limits=((-2, 3), (-2, 2)))
    x, y = outline(ax, "-").T
    slack = np.min([x + 1, y + 1, 1 - y, 1 - x - y], axis=0)
    np.testing.assert_allclose(slack, 0, atol=0.07)
    assert (x.min(), y.min(), y.max()) == pytest.approx((-1, -1, 1), abs=0.07)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_function_of_variables_is_drawn_and_leaves_them(dtype: str) -> None:
    w, b = tf.Variable(3.0, dtype=dtype, name="w"), tf.Variable(-1.0, dtype=dtype, name="b")

    def loss() -> tf.Tensor:
        return tf.math.log(1 + w**2) + b**4 - b

    result = tfm.minimize(loss, [w, b], history="x")
    solution = w.numpy(), b.numpy()
    ax = tfm.plot.trajectory(loss, result, x0=[w, b])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("w", "b")
    assert (w.numpy(), b.numpy()) == solution
    np.testing.assert_array_equal(ax.lines[0].get_xydata()[[0, -1]], [[3.0, -1.0], result.x])


def test_structures_and_arguments_are_drawn() -> None:
    def loss(x: Any, target: Any) -> tf.Tensor:
        return (x["a"] - target) ** 2 + (x["b"] + target) ** 2

    result = tfm.minimize(loss, {"a": 0.0, "b": 0.0}, args=(2.0,), history="x")
    ax = tfm.plot.trajectory(loss, result, args=(2.0,))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x['a']", "x['b']")
    np.testing.assert_allclose(ax.lines[0].get_xydata()[-1], [2, -2], atol=1e-5)


def test_several_solves_have_different_looks() -> None:
    results = [tfm.minimize(rosenbrock, START, method=m, history="x") for m in ("L-BFGS-B", "BFGS")]
    bounds = (-1.5, 1.5)
    ax = tfm.plot.trajectory(rosenbrock, *results, labels=["a", "b"], bounds=bounds, limits=((-2, 2), (-2, 2)))
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in lines] == ["a", "b"]
    assert lines[0].get_color() != lines[1].get_color()
    marks = [line for line in ax.lines if line.get_marker() == "*"]
    assert [mark.get_color() for mark in marks] == [line.get_color() for line in lines]


def test_iterates_of_scipy_and_arrays_are_drawn() -> None:
    theirs = scipy.optimize.minimize(scipy.optimize.rosen, START, method="CG", options={"return_all": True})
    ax = tfm.plot.trajectory(rosenbrock, theirs, np.array([[0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), theirs.allvecs)
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[0, 0], [1, 1]])


def test_solve_of_no_iteration_and_constant_loss_are_drawn() -> None:
    result = tfm.minimize(lambda x: tf.reduce_sum(0.0 * x), START, history="x")
    ax = tfm.plot.trajectory(lambda x: tf.reduce_sum(0.0 * x), result)
    assert contours(ax) == []
    (low, high) = ax.get_xlim()
    assert low < START[0] < high


def test_loss_that_is_not_finite_everywhere_is_drawn() -> None:
    def loss(x: Any) -> tf.Tensor:
        return tf.reduce_sum(x - tf.math.log(x))

    result = tfm.minimize(loss, [3.0, 2.0], bounds=(1e-3, None), history="x")
    ax = tfm.plot.trajectory(loss, result, limits=((-1, 4), (-1, 3)))
    assert contours(ax)[1].get_paths()[1].vertices.min() > 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda r: tfm.plot.trajectory(rosenbrock), "there is no solve to draw"),
        (
            lambda r: tfm.plot.trajectory(rosenbrock, tfm.minimize(rosenbrock, START, history=True)),
            'the result has no iterates: call minimize\\(..., history="x"\\)',
        ),
        (lambda r: tfm.plot.trajectory(rosenbrock, r, np.zeros((2, 3))), "result 2 has iterates of shape \\(2, 3\\)"),
        (lambda r: tfm.plot.trajectory(rosenbrock, r, x0=np.zeros(3)), "x has 3 elements"),
        (lambda r: tfm.plot.trajectory(rosenbrock, r, limits=(1, 0)), "limits is \\(1, 0\\)"),
        (lambda r: tfm.plot.trajectory(rosenbrock, r, limits=((1, 0), (0, 1))), "limits is"),
        (lambda r: tfm.plot.trajectory(rosenbrock, r, bounds=(1, 0)), "the lower bound for x\\[0\\] is greater"),
    ],
)
def test_wrong_arguments_are_refused(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(tfm.minimize(rosenbrock, START, history="x"))
