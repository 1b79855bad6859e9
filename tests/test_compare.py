from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

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


def test_table_shows_both() -> None:
    text = str(tfm.compare(lambda x: tf.reduce_sum(x**2), np.ones(2), repeats=1, name="bowl"))
    for word in ("bowl", "SciPy", "tfminimize", "nfev"):
        assert word in text


def test_to_dict_is_json() -> None:
    comparison = tfm.compare(lambda x: tf.reduce_sum(x**2), np.ones(2), repeats=1)
    read = json.loads(json.dumps(comparison.to_dict()))
    assert read["ratio"] == comparison.scipy_seconds / comparison.our_seconds
    assert read["tfminimize"]["nfev"] == comparison.ours.nfev


def test_repeats_must_be_positive() -> None:
    with pytest.raises(ValueError, match="repeats is 0"):
        tfm.compare(lambda x: tf.reduce_sum(x**2), np.ones(2), repeats=0)
