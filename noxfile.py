"""The tests with each minor of TensorFlow; `make test` runs them with the one that is built for by default.

`nox` runs all, and for example `nox --session "other(tensorflow='2.20')"` those of one.
"""

from __future__ import annotations

import nox

BUILT_FOR = "2.21"
OTHER_TESTS = ("tests/native", "tests/problem", "tests/scipy", "tests/tf/test_binding.py")
OTHER_MARKS = "not (slow or parity or subprocess or resident_memory or weekly or linked)"
BUILD_TESTS = ("tests/graph", "tests/problem/test_bounds.py")
BUILD_MARKS = "not (slow or subprocess or weekly)"
MACHINE_CODE_TESTS = "tests/graph/test_ops_machine_code.py"


@nox.session
def tests(session: nox.Session) -> None:
    """All Python tests, with the TensorFlow that the package is built for."""
    venv = f"VENV={session.virtualenv.location}"
    session.run("make", venv, "test-python", external=True, env={"TFMINIMIZE_TENSORFLOW": BUILT_FOR})


@nox.session
@nox.parametrize("tensorflow", ("2.20", "2.19", "nightly"))
def other(session: nox.Session, tensorflow: str) -> None:
    """What needs neither machine code nor graph operations, with a TensorFlow that the package is not built for."""
    wheels = session.create_tmp()
    session.run("pip", "wheel", "--no-deps", "--wheel-dir", wheels, ".", env={"TFMINIMIZE_TENSORFLOW": BUILT_FOR})
    if tensorflow == "nightly":
        session.install(f"--find-links={wheels}", "tfminimize[test]")
        session.run("pip", "uninstall", "--yes", "tensorflow")
        session.install("tf-nightly")
    else:
        session.install(f"--find-links={wheels}", "tfminimize[test]", f"tensorflow=={tensorflow}.*")
    session.run("pytest", "-m", OTHER_MARKS, *OTHER_TESTS)


@nox.session
@nox.parametrize("tensorflow", ("2.20", "2.19"))
def build(session: nox.Session, tensorflow: str) -> None:
    """The package that is built for another TensorFlow: its graph operations are there, without machine code."""
    # In one command: the extra alone would bring the newest TensorFlow.
    session.install(".[test]", f"tensorflow=={tensorflow}.*", env={"TFMINIMIZE_TENSORFLOW": tensorflow})
    session.run("pytest", "-m", BUILD_MARKS, "-k", "not xla", f"--ignore={MACHINE_CODE_TESTS}", *BUILD_TESTS)
