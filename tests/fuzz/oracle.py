"""Decides whether a call kept the promise: SciPy's answer, or one sentence before anything has changed."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
import strategies
import tensorflow as tf
from strategies import Call, UsersError

import tfminimize as tfm

PACKAGE = str(Path(tfm.__file__).parent)
USERS_FILE = strategies.__file__
REFUSALS = (ValueError, TypeError, RuntimeError, MemoryError)
RAW = (
    "outer_factory",
    "NoneType",
    "has no attribute",
    "unexpected keyword",
    "positional argument",
    "not subscriptable",
)
"""Words that none of our messages contains."""


class Broken(AssertionError):
    """The call broke the promise."""


def check(call: Call, run: Callable[[Call, Any], Any]) -> None:
    """Run a call by its entry point; raise Broken unless the outcome is right."""
    start = strategies.x0(call)
    read = strategies.variables(start)
    before = [v.numpy() for v in read]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SciPy's methods warn a lot
            result = run(call, start)
    except (Exception, KeyboardInterrupt) as error:
        _check_error(call, error)
        changed = [v.name for v, value in zip(read, before, strict=True) if not np.array_equal(v.numpy(), value)]
        if changed:
            raise Broken(f"{changed} changed before {type(error).__name__}: {error}") from error
        return
    if not call.spoiled:
        _check_result(call, result)


def _check_error(call: Call, error: BaseException) -> None:
    text = str(error)
    if isinstance(error, UsersError | KeyboardInterrupt):
        return
    if isinstance(error, tf.errors.OpError) and "UsersError: in the third evaluation" in text:
        return  # TensorFlow wraps exceptions of a tf.numpy_function in its own error
    if call.entry == "scipy" and isinstance(error, TypeError) and text.startswith("callback.<locals>"):
        return  # the callback's arguments are not those that SciPy passes
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    notes = [*getattr(error, "__notes__", ()), str(getattr(error, "ag_error_metadata", ""))]
    if "autograph_generated" in str(frames) or USERS_FILE in str([*frames, *notes, text]):
        return  # the user's function raised it
    if not call.spoiled and not _is_refused(call):
        raise Broken(f"nothing is wrong, but {type(error).__name__}: {error}") from error
    through_scipy = any("scipy/optimize" in frame for frame in frames)
    through_us = any(frame.startswith(PACKAGE) for frame in frames)
    if through_scipy and not frames[-1].startswith(PACKAGE) and (isinstance(error, REFUSALS) or not through_us):
        return  # SciPy's answer
    if isinstance(error, tf.errors.OpError):
        return  # an operation of the user's function failed
    if not isinstance(error, REFUSALS):
        raise Broken(f"{type(error).__name__} is no refusal: {error}") from error
    ours = frames[-1].startswith(PACKAGE)
    if not ours:
        raise Broken(f"raw {type(error).__name__} from {frames[-1]}: {text}") from error
    if ours and (len(text) < 20 or any(raw in text for raw in RAW)):
        raise Broken(f"no sentence: {type(error).__name__}: {text}") from error


def _is_refused(call: Call) -> bool:
    """Whether a call without faults asks for something that the method or the entry point does not offer."""
    takes_constraints = call.method in ("SLSQP", "COBYLA", "COBYQA", "trust-constr")
    no_constraints = not takes_constraints and call.constraints != "none"
    no_bounds = call.method in ("BFGS", "CG", "Newton-CG", "trust-krylov", "trust-exact") and call.bounds != "none"
    no_callback = call.callback != "none" and call.entry in ("ops", "ops in a function")
    no_callback = no_callback or (call.callback == "result" and call.method in ("TNC", "COBYLA", "COBYQA"))
    no_bounds = no_bounds or (call.x0 == "scalar" and call.bounds == "Bounds")  # Bounds turns numbers into vectors
    return no_constraints or no_bounds or no_callback or call.loss == "tf.function" or call.dtype != "float64"


def _check_result(call: Call, result: Any) -> None:
    """Check that a converged solve in float64 agrees with SciPy."""
    if call.method not in strategies.IN_GRAPH or call.dtype != "float64" or call.callback == "stop":
        return
    if isinstance(call.options, dict) and call.options.get("maxiter") == 3:
        return
    expected = reference(call)
    fun = np.ravel(np.asarray(result.fun))
    success = np.ravel(np.asarray(result.success))
    if expected.success and not success.all():
        raise Broken(f"SciPy succeeds with {expected.fun}, and we end with status {result.status} at {fun}")
    tolerance = 1e-3 if call.tol == 1e-3 else 1e-4
    scale = 1 + abs(expected.fun - (1e6 if call.loss == "far" else 0)) + (1 if call.loss == "far" else 0)
    if expected.success and np.any(np.abs(fun - expected.fun) > tolerance * scale):
        raise Broken(f"SciPy finds {expected.fun}, and we find {fun}")


def reference(call: Call) -> Any:
    """Return SciPy's result on the same function of a flat vector."""
    n = strategies.size(call)
    shift = {"tensor": 0.5, "number": 0.25}.get(call.args, 0.0)
    # Entry points without args have no shift.
    shift = 0.0 if call.entry in ("interface", "scipy") else shift

    def value_and_gradient(x: Any) -> Any:
        tensor = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = strategies.value(call, tensor, shift)
        return value.numpy(), tape.gradient(value, tensor).numpy()

    low, high = strategies.LIMITS[call.bounds]
    constraints = {
        "none": (),
        "half-plane": {"type": "ineq", "fun": lambda x: 2.0 - np.sum(x)},
        "ball": {"type": "ineq", "fun": lambda x: 4.0 - np.sum(x**2)},
        "linear": {"type": "ineq", "fun": lambda x: 1.0 - np.sum(x)},
        "equality": {"type": "eq", "fun": lambda x: x[0] - 0.2},
    }[call.constraints]
    return scipy.optimize.minimize(
        value_and_gradient,
        np.full(n, call.start),
        jac=True,
        method=call.method,
        bounds=[(low, high)] * n,
        constraints=constraints,
        tol=call.tol,
        options=call.options,
    )
