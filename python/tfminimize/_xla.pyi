# What each of these does is said in the extension's own docstrings.

from typing import Any

def compile(hlo: bytes) -> Any: ...
