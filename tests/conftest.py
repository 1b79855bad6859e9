"""TensorFlow is imported once, before the tests turn warnings into errors: its own are not ours to fix.

Nor are those of the libraries below, which few tests need.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import warnings
from types import ModuleType

import pytest

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so would the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras  # noqa: F401
    import tensorflow as tf

    tf.constant(0.0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", action="store_true", help="measure resident memory in this very process")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Memory is measured in a process of its own: tests that ran before, and what they keep alive, would blur it."""
    if pyfuncitem.get_closest_marker("resident_memory") is None or pyfuncitem.config.getoption("alone"):
        return None
    command = [sys.executable, "-m", "pytest", "--alone", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    done = subprocess.run(command, cwd=pyfuncitem.config.rootpath, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    return True


@pytest.fixture(scope="session")
def tensorflow_probability() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("tensorflow_probability")
        _ = module.math.minimize, module.optimizer.lbfgs_minimize  # loaded, with warnings, by their first use
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
        pytest.skip("GPflow cannot be installed beside NumPy 2 without --no-deps, as `make test` does it")
