"""Private names of TensorFlow and SciPy are in one module each and looked up only when used."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import tfminimize as tfm
from tfminimize._scipy import private as private_scipy
from tfminimize._tf import private as private_tensorflow
from tfminimize._tf.lazy import PrivateModule

PACKAGE = Path(tfm.__file__).parent
MODULES = [
    module
    for private in (private_scipy, private_tensorflow)
    for module in vars(private).values()
    if isinstance(module, PrivateModule)
]
NAMES = [(module, name) for module in MODULES for name in module.names_]


WITHOUT_NAMES = """
    import importlib, types, sys
    import scipy.optimize
    import tensorflow as tf

    # SciPy and TensorFlow go on: they hold the modules that these take the place of.
    for path in {paths}:
        importlib.import_module(path)
        sys.modules[path] = types.ModuleType(path)
    import tfminimize as tfm
"""


@pytest.mark.parametrize(
    ("name", "place"), [("tensorflow.python", "_tf/private.py"), ("scipy.optimize._", "_scipy/private.py")]
)
def test_private_modules_are_named_in_one_place(name: str, place: str) -> None:
    found = [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if name in path.read_text()]
    assert found == [place]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module.path_}.{name}" for module, name in NAMES])
def test_missing_name_is_one_sentence_with_the_version(
    module: PrivateModule, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(module, name) is getattr(importlib.import_module(module.path_), name)
    package = tf if module.path_.startswith("tensorflow") else scipy
    monkeypatch.delattr(importlib.import_module(module.path_), name)
    with pytest.raises(ImportError, match=rf"^tfminimize needs {module.path_}.{name}, which \w+ {package.__version__}"):
        getattr(module, name)


@pytest.mark.subprocess
def test_import_needs_no_private_name() -> None:
    program = """
        for call in (
            lambda: tfm.minimize(lambda x: x**2, 1.0),
            lambda: tfm.scipy.lbfgsb(lambda x: x @ x, [1.0], jac="3-point"),
        ):
            try:
                call()
            except ImportError as error:
                assert str(error).startswith("tfminimize needs "), error
            else:
                raise AssertionError("no error")
    """
    run_without(MODULES, program)


@pytest.mark.subprocess
def test_without_private_names_of_scipy_tensorflow_functions_are_minimised() -> None:
    program = """
        disc = {"type": "ineq", "fun": lambda x: 1.0 - x**2}
        for method in "L-BFGS-B", "SLSQP", "trust-constr":
            assert tfm.minimize(lambda x: (x - 2.0) ** 2, [0.5], method=method, bounds=(0, 1)).success
        assert tfm.minimize(lambda x: (x - 2.0) ** 2, 0.5, method="SLSQP", constraints=disc).success
    """
    run_without([module for module in MODULES if module.path_.startswith("scipy")], program)


MISSING: list[tuple[str, Callable[[], Any]]] = [
    (
        "scipy.optimize._numdiff.approx_derivative",
        lambda: tfm.scipy.slsqp(square, [1.0], jac="3-point", constraints=[CONSTRAINT]),
    ),
    ("scipy.optimize._optimize.MemoizeJac", lambda: tfm.scipy.lbfgsb(lambda x: (x @ x, 2 * x), [1.0], jac=True)),
    ("tensorflow.python.autograph.pyct.parser.parse_entity", lambda: tfm.minimize(lambda x: x**2, 1.0)),
    ("tensorflow.python.framework.importer.import_graph_def_for_function", lambda: tfm.minimize(square_of, 1.0)),
]
CONSTRAINT = {"type": "ineq", "fun": lambda x: x}


def square(x: np.ndarray) -> float:
    return float(x @ x)


def square_of(x: tf.Tensor) -> tf.Tensor:
    return x**2


@pytest.mark.parametrize(("name", "call"), MISSING, ids=[name for name, _ in MISSING])
def test_missing_name_breaks_the_function_that_needs_it(
    name: str, call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tfm.clear_cache()
    path, _, attribute = name.rpartition(".")
    monkeypatch.delattr(importlib.import_module(path), attribute)
    with pytest.raises(ImportError, match=f"^tfminimize needs {name}, which .* does not have: install a newer tfm"):
        call()
    monkeypatch.undo()
    assert call().success


def run_without(modules: list[PrivateModule], program: str) -> None:
    """Run a program in a process where these modules are empty."""
    paths = [module.path_ for module in modules]
    lines = textwrap.dedent(WITHOUT_NAMES.format(paths=paths)) + textwrap.dedent(program)
    run = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
