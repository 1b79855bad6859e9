"""The file of a saved state: NumPy's ``.npz``, with the version and a checksum of all in the comment at its end.

It is read without pickle, and only once the checksum is that of the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read", "write", "write_atomically"]

Array = NDArray[Any]

VERSION = 1

_COMMENT = f"tfminimize state, version {VERSION}, blake2b "
_DIGITS = 64
_TRAILER = re.compile(rb"tfminimize state, version (\d{1,9}), blake2b ([0-9a-f]{64})\Z")
_BLOCK = 1 << 20


def write(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write arrays to a file that is open for reading and writing, and empty."""
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its further parameter has another type
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = (_COMMENT + _DIGITS * "0").encode()
    end = file.seek(-_DIGITS, os.SEEK_END)
    digest = _digest(file, end)
    file.seek(end)
    file.write(digest)


def read(file: IO[bytes], name: str) -> dict[str, Array]:
    """The arrays of a file, which messages call ``name``; ValueError unless it is the whole file of a state."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 200))
    trailer = _TRAILER.search(file.read())
    file.seek(0)
    if trailer is None:
        if file.read(2) == b"PK":
            raise ValueError(f"{name} is cut short or damaged, or is not a state of tfminimize.")
        raise ValueError(f"{name} is not a state of tfminimize, or its beginning and end are damaged.")
    if _digest(file, size - _DIGITS) != trailer[2]:
        raise ValueError(f"{name} is damaged: its checksum is not that of its contents.")
    if int(trailer[1]) != VERSION:
        raise ValueError(
            f"{name} has version {int(trailer[1])} of the format, and this tfminimize reads version {VERSION}: use the "
            "tfminimize that has written it."
        )
    file.seek(0)
    try:
        with np.load(file, allow_pickle=False) as archive:
            return dict(archive.items())
    except Exception as error:  # NumPy and zipfile raise many kinds for a file that somebody has forged
        raise ValueError(f"{name} is damaged: {error}") from error


def write_atomically(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write a file under another name, let it reach the disk, and rename it: the old file stays until then."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "w+b") as file:
            write(file, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename == str(temporary):
            raise type(error)(error.errno, error.strerror, str(target)) from None
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(file: IO[bytes], size: int) -> bytes:
    """The checksum of the first ``size`` bytes."""
    digest = hashlib.blake2b(digest_size=_DIGITS // 2)
    file.seek(0)
    while size > 0:
        block = file.read(min(size, _BLOCK))
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()
