"""The problems that the command line knows by name, and those that users name: ``module:function``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tfminimize._testing import functions
from tfminimize._testing.hock_schittkowski import hock_schittkowski
from tfminimize._testing.more_garbow_hillstrom import more_garbow_hillstrom
from tfminimize._testing.problem import TestProblem
from tfminimize._testing.s2mpj import s2mpj

__all__ = ["GROUPS", "PROBLEMS", "is_reference", "problems_of"]

PROBLEMS: Mapping[str, Callable[[], TestProblem]] = {
    "rosenbrock-2": lambda: functions.rosenbrock(2),
    "rosenbrock-100": lambda: functions.rosenbrock(100),
    "rosenbrock-1000": lambda: functions.rosenbrock(1000),
    "bounded-rosenbrock-100": lambda: functions.bounded_rosenbrock(100),
    "quadratic-1000": lambda: functions.quadratic(1000),
    "digits": functions.digits_regression,
    "network": functions.network_regression,
}
GROUPS: Mapping[str, Callable[[], list[TestProblem]]] = {
    "more-garbow-hillstrom": more_garbow_hillstrom,
    "hock-schittkowski": hock_schittkowski,
}
_S2MPJ = "s2mpj"


def is_reference(text: str) -> bool:
    """Whether this can only be meant as a problem."""
    return text in PROBLEMS or text in GROUPS or text.startswith(f"{_S2MPJ}:")


def problems_of(reference: str) -> list[TestProblem]:
    """The problems that a word of the command line means.

    It is a name of ours; ``s2mpj:NAME``; or ``module:function`` or ``file.py:function`` for a function that returns a
    `TestProblem` or a list of them. A module may also hold these themselves.

    Raises
    ------
    ValueError
        In a sentence, for anything else, and if the module or the function raises an error.
    """
    if reference in PROBLEMS:
        try:
            return [PROBLEMS[reference]()]
        except ImportError:
            raise ValueError(
                f"the problem {reference!r} needs scikit-learn: run `pip install scikit-learn`, or choose another."
            ) from None
    if reference in GROUPS:
        return GROUPS[reference]()
    place, colon, name = reference.rpartition(":")
    if place == _S2MPJ:
        try:
            return s2mpj(name)
        except ImportError as error:
            raise ValueError(f"{reference}: {error}") from None
    if not colon or not place or not name:
        raise ValueError(_unknown(reference))
    return _problems_in(_module(place), name, reference)


def _unknown(reference: str) -> str:
    if reference.endswith((".py", ":")):
        return f"{reference} names no function: give {reference.rstrip(':')}:NAME_OF_A_FUNCTION."
    known = [*PROBLEMS, *GROUPS, f"{_S2MPJ}:NAME"]
    near = difflib.get_close_matches(reference, known, n=1)
    meant = f"did you mean {near[0]}? Or " if near else ""
    return (
        f"there is no problem {reference}: {meant}choose from {', '.join(known)}, or give a function of your own as "
        "MODULE:FUNCTION or FILE.py:FUNCTION."
    )


def _module(place: str) -> ModuleType:
    is_file = place.endswith(".py")
    path = Path(place)
    if is_file and not path.is_file():
        raise ValueError(f"there is no file {place}: give the path of a Python file, from the present folder.")
    try:
        return _load(path.resolve()) if is_file else _import(place)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == place.split(".")[0] and not is_file:
            remedy = f"give {place}.py:FUNCTION for a file" if Path(f"{place}.py").is_file() else "check its name"
            raise ValueError(f"there is no module {place} here: {remedy}, or put its folder on PYTHONPATH.") from None
        raise ValueError(f"{place} could not be imported: {_described(error)}.") from error


def _import(name: str) -> ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _load(path: Path) -> ModuleType:
    """Run a file as Python runs a script: it can import modules from its own folder."""
    if (folder := str(path.parent)) not in sys.path:
        sys.path.insert(0, folder)
    name = f"_compared_{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _problems_in(module: ModuleType, name: str, reference: str) -> list[TestProblem]:
    found = getattr(module, name, None)
    if found is None:
        own = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        near = difflib.get_close_matches(name, own, n=1)
        remedy = f"did you mean {near[0]}?" if near else "give the name of a function in it."
        raise ValueError(f"{reference}: {reference.rpartition(':')[0]} has no {name}; {remedy}")
    if callable(found):
        try:
            inspect.signature(found).bind()
        except (TypeError, ValueError):
            raise ValueError(f"{reference} needs arguments: give a function without any.") from None
        try:
            found = found()
        except Exception as error:
            raise ValueError(f"{reference} raised an error: {_described(error)}.") from error
    if isinstance(found, Iterator):
        found = list(found)
    problems = [found] if isinstance(found, TestProblem) else found
    is_list = isinstance(problems, Sequence) and not isinstance(problems, str)
    for problem in problems if is_list else [found]:
        if not isinstance(problem, TestProblem):
            raise ValueError(
                f"{reference} gives {_shown(problem)}{' in a list' if is_list else ''}: give a function that returns a "
                "tfminimize.testing.TestProblem, or a list of them."
            )
    if not problems:
        raise ValueError(f"{reference} gives an empty list: give one TestProblem or more.")
    return list(problems)


def _shown(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _described(error: Exception) -> str:
    """The error, and the last line of the user's code that it came through."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    ours = str(Path(__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != ours and f.filename[0] != "<"]
    frames = [f for f in frames if "site-packages" not in f.filename and "importlib" not in f.filename] or frames
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).rstrip('.') or 'without a message'}{where}"
