"""patched: puts the native solvers in the place of SciPy's, for code that names a method."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tfminimize._scipy import private
from tfminimize._scipy.bfgs import bfgs
from tfminimize._scipy.lbfgsb import lbfgsb
from tfminimize._scipy.slsqp import slsqp

__all__ = ["patched", "unpatched"]

_METHODS: Mapping[str, Callable[..., Any]] = {
    "_minimize_bfgs": bfgs,
    "_minimize_lbfgsb": lbfgsb,
    "_minimize_slsqp": slsqp,
}
"""SciPy's functions, which `scipy.optimize.minimize` calls for the name of a method, and `fmin_...` too."""

_is_active = contextvars.ContextVar("tfminimize.scipy.patched", default=False)
_lock = threading.Lock()
_users = 0
"""How many ``with`` blocks are open, in all threads."""
_originals: list[tuple[Any, str, Any]] = []
"""What SciPy's modules held before the first of them."""


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """Let ``method="L-BFGS-B"``, ``"SLSQP"`` and ``"BFGS"`` mean our solvers, in code that calls SciPy.

    For packages that name the method themselves, such as scikit-learn, statsmodels, trieste, pyhf and zfit. Within the
    ``with`` block, or in a function decorated with ``@patched()``, our solvers run wherever SciPy's would:
    `scipy.optimize.minimize`, also where it chooses the method, ``fmin_l_bfgs_b``, ``fmin_slsqp``, ``fmin_bfgs``, and
    ``shgo`` and ``basinhopping``, which call them. Every ``jac`` works. SciPy checks the arguments as ever.

    Only the calling thread is concerned: a thread that is started in the block has SciPy's solvers, unless it enters a
    block of its own. Blocks may be nested, and be open in many threads at once. When the last one ends, SciPy's modules
    hold again what they held before.

    Examples
    --------
    >>> import scipy.optimize
    >>> with patched():
    ...     result = scipy.optimize.minimize(
    ...         scipy.optimize.rosen, [1.3, 0.7], method="L-BFGS-B"
    ...     )
    >>> result.backend, result.success
    ('host', True)
    """
    with _installed(), _switched(True):
        yield


@contextlib.contextmanager
def unpatched() -> Iterator[None]:
    """Let the names mean SciPy's own solvers again, within a block of `patched`."""
    with _switched(False):
        yield


@contextlib.contextmanager
def _switched(is_active: bool) -> Iterator[None]:
    token = _is_active.set(is_active)
    try:
        yield
    finally:
        _is_active.reset(token)


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    global _users
    with _lock:
        if not _users:
            _install()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _restore()


def _install() -> None:
    for module, name in private.SOLVERS:
        _originals.append((importlib.import_module(module.path_), name, getattr(module, name)))
    for place, name, original in _originals:
        setattr(place, name, _chosen(original, _METHODS[name]))


def _restore() -> None:
    for place, name, original in _originals:
        setattr(place, name, original)
    _originals.clear()


def _chosen(original: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    """SciPy's solver outside of our blocks, and ours within them."""
    parameters = _parameters(original)
    (loose,) = (name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD)

    def minimize(*args: Any, **kwargs: Any) -> Any:
        if not _is_active.get():
            return original(*args, **kwargs)
        given = dict(zip(parameters, args, strict=False)) | kwargs
        given.pop(loose, None)
        # What the caller has not given; SciPy's own callers pass the default of each option.
        given = {name: v for name, v in given.items() if name not in parameters or v is not parameters[name].default}
        function, x0 = given.pop(next(iter(parameters))), given.pop("x0")
        if (callback := given.get("callback")) is not None:
            given["callback"] = _unwrapped(callback)
        return method(function, x0, **given)

    return minimize


@functools.lru_cache(maxsize=16)  # reading a signature takes as long as a small solve
def _parameters(original: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(original).parameters


def _unwrapped(callback: Callable[..., Any]) -> Callable[..., Any]:
    """A callback as a method takes it, from what `scipy.optimize.minimize` has made of the user's."""
    if not hasattr(callback, "stop_iteration"):
        return callback

    def call(*, intermediate_result: Any) -> None:
        try:
            callback(intermediate_result)
        except StopIteration:
            callback.stop_iteration = True
            raise

    return call
