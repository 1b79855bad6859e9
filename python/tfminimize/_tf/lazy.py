"""Private modules of other packages, imported only when they are used."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["PrivateModule"]

_TITLES = {"keras": "Keras", "scipy": "SciPy", "tensorflow": "TensorFlow"}


class PrivateModule:
    """A private module of TensorFlow, SciPy or Keras, which any version may change, and the names that we need from it.

    If a name is gone, the function that needs it raises one clear error, but tfminimize can still be imported.

    Examples
    --------
    >>> PrivateModule("scipy.optimize", "gone").gone  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ImportError: tfminimize needs scipy.optimize.gone, which SciPy ... does not have: install ...
    """

    def __init__(self, path: str, *names: str) -> None:
        self.path_ = path
        self.names_ = names

    def __getattr__(self, name: str) -> Any:
        if name not in self.names_:
            raise AttributeError(f"{self.path_}.{name} is not among the declared names: {self.names_}.")
        # Nothing is cached: a module may assign new values to its names.
        try:
            return getattr(importlib.import_module(self.path_), name)
        except (AttributeError, ImportError) as error:
            package = self.path_.split(".")[0]
            title, version = _TITLES[package], importlib.import_module(package).__version__
            minor = ".".join(version.split(".")[:2])
            raise ImportError(
                f"tfminimize needs {self.path_}.{name}, which {title} {version} does not have: install a newer "
                f"tfminimize, or an older {title} (`pip install '{package}<{minor}'`)."
            ) from error
