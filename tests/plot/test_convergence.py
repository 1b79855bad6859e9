"""The data, labels and scales of plots of single solves. Nobody looks at pixels here."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm

START = np.array([-1.2, 1.0])


def quartic(x: Any) -> tf.Tensor:
    return tf.reduce_sum((x - 1.0) ** 4)


@pytest.fixture(scope="module")
def result() -> tfm.OptimizeResult:
    return tfm.minimize(rosenbrock, START, history=True)


@pytest.mark.parametrize("against", ["iteration", "nfev", "seconds"])
@pytest.mark.parametrize("quantity", ["fun", "gradient_norm", "nfev", "seconds", "constr_violation"])
def test_line_is_the_history(result: tfm.OptimizeResult, against: str, quantity: str) -> None:
    (line,) = tfm.plot.convergence(result, against=against, quantity=quantity).lines[:1]
    history = result.history
    x = np.arange(result.nit + 1) if against == "iteration" else history[against]
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_array_equal(line.get_ydata(), history[quantity])


def test_step_begins_with_the_first_iteration(result: tfm.OptimizeResult) -> None:
    (line,) = tfm.plot.convergence(result, quantity="step").lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, result.nit + 1))
    np.testing.assert_array_equal(line.get_ydata(), result.history["step"][1:])


def test_axes_have_labels_with_units(result: tfm.OptimizeResult) -> None:
    ax = tfm.plot.convergence(result, against="seconds")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time in s", "loss")
    ax = tfm.plot.convergence(result, against="nfev", quantity="gradient_norm")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("evaluations", "max norm of the projected gradient")


def test_losses_that_differ_much_are_on_a_logarithmic_axis(result: tfm.OptimizeResult) -> None:
    assert tfm.plot.convergence(result).get_yscale() == "log"


@pytest.mark.parametrize("offset", [-5.0, 100.0])
def test_negative_and_similar_losses_are_on_a_linear_axis(offset: float) -> None:
    result = tfm.minimize(lambda x: quartic(x) + offset, np.zeros(2), history=True)
    assert tfm.plot.convergence(result).get_yscale() == "linear"


def test_minimum_is_subtracted() -> None:
    result = tfm.minimize(lambda x: quartic(x) - 5.0, np.zeros(2), history=True)
    ax = tfm.plot.convergence(result, minimum=-5.0)
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "loss − -5")
    positive = result.history["fun"] > -5.0
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), (result.history["fun"] + 5.0)[positive])


def test_zeros_on_a_logarithmic_axis_are_marked_at_its_edge() -> None:
    result = tfm.minimize(lambda x: tf.reduce_sum(x**2), np.ones(3), history=True)
    assert result.history["gradient_norm"][-1] == 0
    ax = tfm.plot.convergence(result, quantity="gradient_norm")
    line, mark = ax.lines
    assert ax.get_yscale() == "log"
    np.testing.assert_array_equal(line.get_ydata(), result.history["gradient_norm"][:-1])
    assert (list(mark.get_xdata()), list(mark.get_ydata()), mark.get_color()) == ([result.nit], [0], line.get_color())
    assert mark.get_transform() == ax.get_xaxis_transform()


def test_single_point_is_visible() -> None:
    result = tfm.minimize(rosenbrock, np.ones(2), history=True)
    assert result.nit == 0
    (line,) = tfm.plot.convergence(result).lines
    assert len(line.get_xdata()) == 1
    assert line.get_marker() == "o"
    assert line.get_markevery() == [0]


def test_values_that_are_not_finite_are_left_out() -> None:
    history = {name: np.arange(4.0) for name in ("fun", "step", "nfev", "seconds", "constr_violation")}
    history["gradient_norm"] = np.array([3.0, np.nan, 2.0, np.inf])
    (line,) = tfm.plot.convergence(history, quantity="gradient_norm").lines
    assert list(line.get_xdata()) == [0, 2]
    assert list(line.get_ydata()) == [3, 2]


def test_lines_differ_in_colour_dashes_and_marker(result: tfm.OptimizeResult) -> None:
    ax = tfm.plot.convergence(*[result] * 4, labels=list("abcd"))
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in ax.lines]
    assert [len(set(column)) for column in zip(*looks, strict=True)] == [4, 4, 4]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list("abcd")


def test_last_point_has_a_marker(result: tfm.OptimizeResult) -> None:
    (line,) = tfm.plot.convergence(result).lines
    assert line.get_markevery()[-1] == result.nit


def test_given_axes_are_used_and_later_lines_look_different(result: tfm.OptimizeResult) -> None:
    figure, ax = plt.subplots()
    assert tfm.plot.convergence(result, ax=ax, labels="first") is ax
    assert tfm.plot.convergence(result.history, ax=ax, labels="second") is ax
    first, second = ax.lines
    assert first.get_color() != second.get_color()
    assert plt.get_fignums() == [figure.number]


def test_several_results_are_numbered_and_one_has_no_legend(result: tfm.OptimizeResult) -> None:
    ax = tfm.plot.convergence(result, result)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["1", "2"]
    assert tfm.plot.convergence(result).get_legend() is None


def test_problems_of_a_batch_have_one_look_and_one_label(result: tfm.OptimizeResult) -> None:
    batch = tfm.Minimizer(rosenbrock, START).minimize_batch(np.array([START, 2 * START, 3 * START]), history=True)
    for given in (batch, batch.history):
        ax = tfm.plot.convergence(given, result, labels=["batch", "one"])
        for line, history in zip(ax.lines, batch.history, strict=False):
            np.testing.assert_array_equal(line.get_ydata(), history["fun"])
        assert len({line.get_color() for line in ax.lines[:3]}) == 1
        assert ax.lines[3].get_color() != ax.lines[0].get_color()
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["batch", "one"]


@pytest.mark.slow
def test_history_of_an_operation_in_a_graph_is_drawn() -> None:
    found = tf.function(lambda: tfm.ops.minimize(rosenbrock, START))()
    (line,) = tfm.plot.convergence(found).lines
    np.testing.assert_array_equal(line.get_ydata(), found.history["fun"])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda: tfm.minimize(rosenbrock, START), r"the result is a OptimizeResult without a history: give a result"),
        (lambda: scipy.optimize.minimize(scipy.optimize.rosen, START), "minimize\\(..., history=True\\)"),
        (
            lambda: tfm.Minimizer(rosenbrock, START).minimize_batch(np.ones((2, 2))),
            "without a history: call minimize_batch\\(..., history=True\\)",
        ),
        (lambda: SimpleNamespace(history={"loss": [1.0]}, epoch=[0]), "tfminimize.plot.fit draws a fit of Keras"),
        (lambda: 3.0, "the result is a float"),
    ],
)
def test_result_without_a_history_is_refused(given: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.plot.convergence(given())
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"against": "epoch"}, "against is 'epoch': give one of 'iteration', 'nfev', 'seconds'"),
        ({"quantity": "loss"}, "quantity is 'loss': give one of 'fun'"),
        ({"labels": ["a", "b"]}, "labels has 2 texts for 1 results"),
        ({"minimum": 0.0, "quantity": "step"}, "minimum is 0.0, and quantity 'step'"),
        ({"minimum": np.nan}, "minimum is nan"),
        ({"ax": plt}, "ax is a module: give matplotlib Axes"),
    ],
)
def test_wrong_arguments_are_refused(result: tfm.OptimizeResult, kwargs: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tfm.plot.convergence(result, **kwargs)


def test_nothing_to_draw_is_refused(result: tfm.OptimizeResult) -> None:
    with pytest.raises(ValueError, match="there is no result to draw"):
        tfm.plot.convergence()
    empty = {name: np.full(2, np.nan) for name in result.history}
    with pytest.raises(ValueError, match="no value of fun is finite"):
        tfm.plot.convergence(empty)


def test_missing_matplotlib_says_what_to_install(result: tfm.OptimizeResult, uninstall: Callable[[str], None]) -> None:
    uninstall("matplotlib")
    with pytest.raises(ImportError, match=r"tfminimize\.plot needs matplotlib.*`pip install matplotlib`"):
        tfm.plot.convergence(result)
