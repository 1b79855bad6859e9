from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import textwrap
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from interpreter import run_program
from packaging.version import Version

import tfminimize as tfm

MODULES = sorted(
    m.name.removeprefix("tfminimize.")
    for m in pkgutil.walk_packages(tfm.__path__, "tfminimize.")
    if m.name not in ("tfminimize._native", "tfminimize._xla", "tfminimize._ops", "tfminimize.__main__")
)
PUBLIC_MODULES = [m.name for m in pkgutil.iter_modules(tfm.__path__) if not m.name.startswith("_")]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_right(name: str) -> None:
    module = importlib.import_module(f"tfminimize.{name}")
    globs = {**vars(module), "np": np, "tf": tf, "tfm": tfm}
    failures, _ = doctest.testmod(module, extraglobs=globs, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failures == 0


def test_public_names_are_documented_with_an_example() -> None:
    for name in tfm.__all__:
        value = getattr(tfm, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__doc__, name
            assert ">>>" in value.__doc__ or name == "Comparison", name


def test_version_is_that_of_the_build() -> None:
    assert tfm.build_info()["version"] == tfm.__version__


def test_build_info_describes_the_build() -> None:
    assert {"version", "tensorflow", "compiler", "flags", "build_type", "pybind11"} <= set(tfm.build_info())


@pytest.mark.subprocess
def test_import_works_without_the_extension() -> None:
    # Functions that need the extension raise one clear error.
    program = """
        import sys
        sys.modules["tfminimize._native"] = None
        import tfminimize as tfm
        for call in (
            lambda: tfm.minimize(lambda x: x, 1.0),
            lambda: tfm.scipy.lbfgsb(lambda x: (x @ x), [1.0]),
        ):
            try:
                call()
            except ImportError as error:
                assert "compiled extension could not be loaded" in str(error), error
            else:
                raise AssertionError("no error")
    """
    run_program(program)


@pytest.mark.subprocess
def test_variables_on_another_device_are_optimised() -> None:
    # A second logical CPU stands for a GPU: its variables cannot share the solver's memory either.
    program = """
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import tfminimize as tfm
        with tf.device("CPU:1"):
            v = tf.Variable([7.0, 7.0])
        w = tf.Variable(np.ones(3))
        def loss():
            return tf.cast(tf.reduce_sum((v - 3.0) ** 2), tf.float64) + tf.reduce_sum((w - 2.0) ** 2)
        result = tfm.minimize(loss, [v, w])
        assert result.success, result
        np.testing.assert_allclose(result.x, [3, 3, 2, 2, 2], atol=1e-4)
        np.testing.assert_allclose(v.numpy(), 3.0, atol=1e-4)
        assert v.device.endswith("CPU:1"), v.device
    """
    run_program(program)


@pytest.mark.parametrize(
    "problem",
    [tfm.testing.rosenbrock(10), tfm.testing.bounded_rosenbrock(10), tfm.testing.quadratic(10)],
    ids=lambda problem: problem.name,
)
def test_problems_of_the_testing_module_are_solved(problem: tfm.testing.Problem) -> None:
    result = tfm.minimize(problem.fun, problem.x0, bounds=problem.bounds)
    assert result.success
    if problem.minimum is not None:
        assert result.fun == pytest.approx(problem.minimum, abs=1e-6)


def test_rosenbrock_is_scipys() -> None:
    problem = tfm.testing.rosenbrock(7)
    assert float(problem.fun(tf.constant(problem.x0))) == pytest.approx(scipy.optimize.rosen(problem.x0), rel=1e-14)


def test_version_is_that_of_the_package() -> None:
    version = Version(tfm.__version__)  # may be a pre-release
    assert len(version.release) == 3


def test_dir_lists_public_names() -> None:
    assert dir(tfm) == sorted(tfm.__all__)
    assert all(hasattr(tfm, name) for name in tfm.__all__)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_public_modules_list_only_public_names(name: str) -> None:
    module = getattr(tfm, name)
    assert name in tfm.__all__
    for public in module.__all__:
        assert getattr(module, public).__doc__, public


@pytest.mark.parametrize("name", ["distribute", "keras", "math", "ops", "plot", "scipy"])
def test_facade_holds_only_public_names(name: str) -> None:
    module = getattr(tfm, name)
    assert {public for public in vars(module) if not public.startswith("_")} - {"annotations"} == set(module.__all__)


@pytest.mark.slow
def test_small_program_type_checks_strictly_against_the_package(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    program = """
        import numpy as np

        import tfminimize as tfm


        def loss(x: object) -> object:
            return x


        result = tfm.minimize(loss, np.zeros(3), bounds=(0, 1))
        assert isinstance(result, tfm.OptimizeResult)
        iterations: int = result.nit
        ended: bool = result.success
        solver = tfm.Minimizer(loss, np.zeros(3))
        text: str = solver.minimize().message
        smallest: float = float(solver.minimize_batch(np.zeros((2, 3))).fun.min())
    """
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))
    cache = ["--cache-dir", str(tmp_path / "cache")]
    found, errors, status = api.run([str(file), "--strict", "--config-file", "", "--follow-imports=silent", *cache])
    assert status == 0, found + errors
    file.write_text(textwrap.dedent(program) + "wrong: str = result.nit\n")
    found, _, status = api.run([str(file), "--strict", "--config-file", "", "--follow-imports=silent", *cache])
    assert status == 1
    assert "Incompatible types in assignment" in found
