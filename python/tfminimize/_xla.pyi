# What each of these does is said in the extension's own docstrings.

from collections.abc import Sequence
from typing import Any, final

@final
class Argument:
    def __init__(
        self, dtype: int, shape: Sequence[int], *, is_variable: bool = False, constant: bytes = b""
    ) -> None: ...

def lower(function: str, library: bytes, arguments: Sequence[Argument]) -> bytes: ...
def check_state(library: bytes) -> None: ...
def compile(hlo: bytes) -> Any: ...
