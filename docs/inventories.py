"""Lists of the names of other packages, and of the pages that describe them, for Sphinx's intersphinx.

The names come from the packages that are installed. Where a name is described follows from how each site builds its
addresses. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import inspect
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

BUILTINS = {
    "library/exceptions.html": "ImportError KeyboardInterrupt MemoryError RuntimeError StopIteration ValueError",
    "library/functions.html": "float int bool callable",
    "library/stdtypes.html": "dict list tuple str",
}
SITES = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "scipy": "https://docs.scipy.org/doc/scipy",
    "tensorflow": "https://www.tensorflow.org/api_docs/python",
    "keras": "https://keras.io/api",
}
Entry = tuple[str, str, str]
"""A name, what it is, and its page."""


def _role(value: object) -> str:
    return (
        "class" if inspect.isclass(value) else "function" if callable(value) else "data"
    )


def _public(module: str) -> Iterator[tuple[str, object]]:
    imported = importlib.import_module(module)
    for name in getattr(imported, "__all__", dir(imported)):
        value = getattr(imported, name, None)
        if not name.startswith("_") and not inspect.ismodule(value):
            yield f"{module}.{name}", value


def _python() -> Iterator[Entry]:
    for page, names in BUILTINS.items():
        for name in names.split():
            role = (
                "exception"
                if "exceptions" in page
                else "function"
                if "functions" in page
                else "class"
            )
            yield name, role, f"{page}#{name}"


def _numpy() -> Iterator[Entry]:
    for name, value in _public("numpy"):
        yield name, _role(value), f"reference/generated/{name}.html#{name}"


def _scipy() -> Iterator[Entry]:
    for module in ("scipy.optimize", "scipy.sparse.linalg"):
        for name, value in _public(module):
            yield name, _role(value), f"reference/generated/{name}.html#{name}"


def _tensorflow() -> Iterator[Entry]:
    import tensorflow as tf

    for short, module in (("tf", tf), ("tf.data", tf.data), ("tf.train", tf.train)):
        for name in dir(module):
            value = getattr(module, name)
            if not name.startswith("_") and callable(value):
                yield (
                    f"{short}.{name}",
                    _role(value),
                    f"{short.replace('.', '/')}/{name}",
                )


def _keras() -> Iterator[Entry]:
    yield "keras.Model", "class", "models/model/#model-class"
    yield "keras.Sequential", "class", "models/sequential/#sequential-class"
    yield "keras.Model.fit", "method", "models/model_training_apis/#fit-method"
    yield "keras.callbacks.Callback", "class", "callbacks/base_callback/#callback-class"
    yield "keras.callbacks.History", "class", "callbacks/"


def _write(path: Path, project: str, entries: Iterable[Entry]) -> None:
    """Write version 2 of Sphinx's format: four lines of text, then compressed lines."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n# The remainder is compressed using zlib.\n"
    lines = "".join(f"{name} py:{role} 1 {page} -\n" for name, role, page in entries)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.encode() + zlib.compress(lines.encode()))


def write_inventories(folder: Path) -> dict[str, tuple[str, str]]:
    """Write a file for each site; return Sphinx's ``intersphinx_mapping``."""
    mapping = {}
    for name, make in zip(
        SITES, (_python, _numpy, _scipy, _tensorflow, _keras), strict=True
    ):
        path = folder / f"{name}.inv"
        _write(path, name, make())
        mapping[name] = (SITES[name], str(path))
    return mapping
