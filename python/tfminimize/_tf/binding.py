"""Access to the compiled extension, with one clear error if it cannot be used."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from typing import TYPE_CHECKING, Any, NoReturn

import tensorflow as tf

from tfminimize._tf.build_info import build_info

__all__ = ["OPERATIONS", "_native", "check_version", "error_of_status", "ops", "require", "xla"]

OPERATIONS = pathlib.Path(__file__).parents[1] / "_ops.so"
"""The library of the operations that run inside of a graph."""


class _Missing:
    """Takes the place of a missing extension, so that the package can be imported without it."""

    def __init__(self, reason: ImportError) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise ImportError(
            f"tfminimize's compiled extension could not be loaded ({self._reason}). "
            "Install tfminimize again with `pip install --force-reinstall tfminimize`."
        ) from self._reason


if TYPE_CHECKING:
    import tfminimize._native as _native
else:
    try:
        import tfminimize._native as _native
    except ImportError as error:
        _native = _Missing(error)


@functools.cache
def require() -> None:
    """Bind the extension to the TensorFlow that is imported.

    Raises
    ------
    ImportError
        If the extension is missing, or if this TensorFlow lacks a symbol that it needs.
    """
    bind = _native.bind_tensorflow  # the clear error of a missing extension comes first
    folder = pathlib.Path(tf.__file__).parent
    symbols = folder / "libtensorflow_cc.so.2"
    # Defines Python's classes of tensors up to TensorFlow 2.19, and since then links to the library that does.
    classes = folder / "python" / "_pywrap_tensorflow_internal.so"
    try:
        bind(str(symbols), str(classes), error_of_status)
    except ImportError as error:
        remedy = f"Install {_built_for()}, or a newer tfminimize."
        raise ImportError(f"tfminimize cannot call TensorFlow {tf.__version__}: {error} {remedy}") from None


def error_of_status(code: int, message: str) -> Exception:
    """The exception that TensorFlow's own Python makes from a status."""
    error: Exception
    try:
        error = tf.compat.v1.errors.exception_type_from_error_code(code)(None, None, message)
    except KeyError:
        error = tf.errors.UnknownError(None, None, message, code)
    return error


@functools.cache
def xla() -> Any:
    """The extension that links to XLA.

    Raises
    ------
    ImportError
        If it was built for another TensorFlow, or for one that lacks what it calls, or cannot be loaded.
    """
    built = build_info()
    if built.get("nanort") == "OFF":
        raise ImportError(
            f"tfminimize was built for TensorFlow {built['tensorflow']}, whose machine code cannot be called from C++: "
            "install TensorFlow 2.21 and a tfminimize that was built for it."
        )
    check_version("_xla", can_be_built=False)
    try:
        import tfminimize._xla as extension
    except ImportError as error:
        raise ImportError(
            f"tfminimize's _xla could not be loaded ({error}): install tfminimize again with "
            "`pip install --force-reinstall tfminimize`."
        ) from error
    with contextlib.suppress(ImportError):  # XLA's loops stay
        from scipy.linalg import cython_blas, cython_lapack  # takes a while

        extension.use_lapack(cython_lapack.__pyx_capi__, cython_blas.__pyx_capi__, cython_blas.__file__)
    return extension


def check_version(binary: str, *, can_be_built: bool = True) -> None:
    """Raise ImportError unless TensorFlow has the minor version that a binary was built for.

    Loading a binary that links to another version may kill the process. The message says how to build it for that
    version, if it can be.
    """
    built, found = build_info()["tensorflow"], tf.__version__
    if _minor(built) != _minor(found):
        remedy = f"install {_built_for()}"
        if can_be_built:
            remedy += f", or build tfminimize from its sources with TFMINIMIZE_TENSORFLOW={_minor(found)}"
        raise ImportError(
            f"tfminimize's {binary} was built for TensorFlow {built}, and TensorFlow {found} is installed: {remedy}."
        )


def _built_for() -> str:
    """How to get the TensorFlow that this package was built for."""
    minor = _minor(build_info()["tensorflow"])
    return f"TensorFlow {minor} (`pip install 'tensorflow=={minor}.*'`)"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@functools.cache
def ops() -> Any:
    """The module of the operations that run inside of a graph.

    Raises
    ------
    ImportError
        If the library is missing, or if it was built for another TensorFlow.
    """
    try:
        if OPERATIONS.exists():
            check_version("library of graph operations")
        return tf.load_op_library(str(OPERATIONS))
    except tf.errors.NotFoundError as error:
        raise ImportError(
            f"tfminimize's library of graph operations could not be loaded ({error.message}). "
            "Install tfminimize again with `pip install --force-reinstall tfminimize`."
        ) from None
