"""Calls the user's functions while they are traced."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfminimize._tf import private

__all__ = ["JitCompile", "check_context", "check_jit", "follows_jit", "inside_trace", "takes"]

JitCompile = bool | Literal["auto"] | None
"""Whether XLA compiles a function; "auto": if that is faster; None: if the function says so."""


def check_jit(jit_compile: Any, why_not_auto: str = "") -> None:
    """Raise ValueError for anything but a `JitCompile`; also for "auto" if there is a reason why it cannot be."""
    is_auto = isinstance(jit_compile, str) and jit_compile == "auto"
    if is_auto and why_not_auto:
        raise ValueError(f"jit_compile is 'auto', and {why_not_auto}: give True, False or None.")
    if not (is_auto or jit_compile is None or isinstance(jit_compile, (bool, np.bool_))):
        auto = "" if why_not_auto else "'auto' for the faster one, "
        raise ValueError(f"jit_compile is {jit_compile!r}: give True, False, {auto}or None to follow the function.")


def follows_jit(fun: Any) -> bool:
    """Whether ``fun`` is a ``tf.function(jit_compile=True)``."""
    # functools.wraps copies the attributes of a function to its decorator.
    return isinstance(fun, tf.types.experimental.PolymorphicFunction) and bool(fun._jit_compile)


def check_context() -> None:
    """Raise RuntimeError while a graph is being built, or if functions run eagerly: nothing can be compiled then."""
    if not tf.executing_eagerly():
        raise RuntimeError(
            "tfminimize compiles a function, and cannot while a graph is being built: call it outside of tf.function, "
            "or tfminimize.minimize inside."
        )
    if tf.config.functions_run_eagerly():
        raise RuntimeError(
            "tf.config.run_functions_eagerly(True) is set, but the solver calls a compiled function: "
            "set it to False for the solve."
        )


def inside_trace(fun: Callable[..., Any], jit: bool, name: str = "fun") -> Callable[..., Any]:
    """Return the function to call while tracing: with its own AutoGraph setting, and without XLA unless ``jit``."""
    called: Callable[..., Any] = fun
    if isinstance(fun, tf.types.experimental.PolymorphicFunction):
        if follows_jit(fun) and not jit:
            called = fun.python_function
            if getattr(fun, "_autograph", True):
                called = private.autograph(called)
    elif not isinstance(fun, tf.types.experimental.ConcreteFunction):
        called = private.autograph(fun)

    def call(*args: Any) -> Any:
        try:
            return called(*args)
        except TypeError as error:
            _explain_arguments(fun, args, name, error)
            raise

    return call


def _explain_arguments(fun: Callable[..., Any], args: tuple[Any, ...], name: str, error: TypeError) -> None:
    """Raise a TypeError that explains the error if the function does not take this many arguments."""
    try:
        signature = inspect.signature(fun, follow_wrapped=False)
    except (TypeError, ValueError):  # a builtin without a signature
        return
    try:
        signature.bind(*args)
    except TypeError as reason:
        own = getattr(fun, "__name__", type(fun).__name__)
        given = ", ".join(map(_described, args))
        remedy = (
            "It gets x (unless x0 is made of variables), then the elements of args"
            if args
            else "The parameters are variables, which it reads itself: let it take no arguments"
        )
        raise TypeError(f"{name} is {own}{signature}, but is called as {own}({given}): {reason}. {remedy}.") from error


def _described(argument: Any) -> str:
    if tf.is_tensor(argument):
        return f"{argument.dtype.name} tensor of shape {argument.shape}"
    return type(argument).__name__


def takes(signature: inspect.Signature, count: int) -> bool:
    """Whether a function of this signature can be called with so many arguments."""
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
