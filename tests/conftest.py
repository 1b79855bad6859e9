"""Imports TensorFlow before pytest turns warnings into errors: we cannot fix its own.

Nor can we fix those of the libraries below, which few tests need.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from interpreter import run_python

# How long inputs take to be made says nothing about the code, but much about what else the machine does.
hypothesis.settings.register_profile("patient", suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# A shell that starts the tests in the background makes them and their child processes ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings(), pytest.MonkeyPatch.context() as environment:
    warnings.simplefilter("ignore")
    environment.setenv("TFMINIMIZE_QUIET", "1")  # pytest would print TensorFlow's start-up lines after its summary
    import tfminimize as tfm  # isort: skip  before TensorFlow

    import keras  # noqa: F401
    import tensorflow as tf

    tf.constant(0.0)

    from interface_modes import MODES, Mode, entered

    from tfminimize._tf import binding

# Public names load when they are first named, which must not happen in a test that has replaced what they import.
for name in tfm.__all__:
    getattr(tfm, name)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", action="store_true", help="measure resident memory in this very process")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Measure memory in a new process, because earlier tests and the objects that they keep alive would blur it."""
    if pyfuncitem.get_closest_marker("resident_memory") is None or pyfuncitem.config.getoption("alone"):
        return None
    # A record of the log for each solve would be kept until the test ends.
    options = ["--alone", "-q", "-p", "no:cacheprovider", "-o", "log_level=WARNING"]
    run_python("-m", "pytest", *options, pyfuncitem.nodeid, cwd=pyfuncitem.config.rootpath)
    return True


@pytest.fixture
def fresh_binding() -> Iterator[None]:
    """The compiled libraries are looked for again, in the test and after it."""
    found = binding.require, binding.xla, binding.ops
    for cached in found:
        cached.cache_clear()
    yield
    for cached in found:
        cached.cache_clear()


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of `examples` whose name is the parameter: `indirect=True`."""
    monkeypatch.setenv("TFMINIMIZE_QUIET", "1")  # as the example does, but only until the test ends
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    return importlib.import_module(request.param)


@pytest.fixture
def uninstall(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package impossible to import until the test ends, with all its modules: others may have loaded some."""

    def without(package: str) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return without


@pytest.fixture
def empty_cache() -> None:
    tfm.clear_cache()


@pytest.fixture
def functions_run_eagerly() -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def session() -> Iterator[Any]:
    """A session of a new graph; both are the defaults."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        yield session


@pytest.fixture(params=[(name, dtype) for dtype in ("float64", "float32") for name in MODES], ids="-".join)
def mode(request: pytest.FixtureRequest) -> Iterator[Mode]:
    with entered(*request.param) as mode:
        yield mode


@pytest.fixture(scope="session")
def tensorflow_probability() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("tensorflow_probability")
        _ = module.math.minimize, module.optimizer.lbfgs_minimize  # their first use loads them, with warnings
    return module


@pytest.fixture(scope="session")
def gpflow(tensorflow_probability: ModuleType) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("gpflow")
    except ModuleNotFoundError as error:
        if error.name != "gpflow":
            raise
        pytest.skip("GPflow can be installed with NumPy 2 only by --no-deps, as `make test` does")
