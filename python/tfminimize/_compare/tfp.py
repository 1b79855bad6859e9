"""L-BFGS and BFGS of TensorFlow Probability, within a TensorFlow function."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.optimize import OptimizeResult

from tfminimize._compare.prepared import Prepared
from tfminimize._compare.settings import Options, iterations, iterations_text
from tfminimize._trace.objective_graph import ObjectiveGraph

__all__ = ["solver", "stop_rule"]

_FUNCTIONS = {"l-bfgs-b": "lbfgs_minimize", "bfgs": "bfgs_minimize"}


def solver(
    prepared: Prepared, method: str, settings: Options, record: Callable[[float], None] | None = None
) -> Callable[[], OptimizeResult]:
    """Return a function that solves; ``record`` gets each loss."""
    with warnings.catch_warnings():  # it warns while it is imported
        warnings.simplefilter("ignore")
        minimize = getattr(importlib.import_module("tensorflow_probability").optimizer, _FUNCTIONS[method.lower()])
    loss_and_gradient = _loss_and_gradient(prepared, record)
    jit = prepared.jit and record is None

    @tf.function(autograph=False, jit_compile=jit or None)  # type: ignore[untyped-decorator]
    def run(start: tf.Tensor) -> Any:
        found = minimize(loss_and_gradient, start, **_arguments(prepared, method, settings))
        counts = found.num_iterations, found.num_objective_evaluations
        return found.position, found.objective_value, *counts, found.converged, found.failed

    def solve() -> OptimizeResult:
        x, fun, nit, nfev, converged, failed = (out.numpy() for out in run(tf.constant(prepared.flat_start)))
        message = "converged" if converged else "the line search failed" if failed else "the iterations are used up"
        return OptimizeResult(x=x, fun=fun, nit=int(nit), nfev=int(nfev), success=bool(converged), message=message)

    return solve


def stop_rule(method: str, settings: Options) -> str:
    """When it stops, in a sentence."""
    change = "" if method.lower() == "bfgs" else f" or |Δf| ≤ {settings['ftol']:.2g} max(|f|, 1)"
    return f"greatest element of the gradient ≤ {settings['gtol']:.2g}{change}; {iterations_text(settings)}"


def _arguments(prepared: Prepared, method: str, settings: Options) -> dict[str, Any]:
    """SciPy's options by the names that they have here."""
    limit = min(iterations(settings, prepared.parameters.layout.size), np.iinfo(np.int32).max)
    arguments = {"tolerance": settings["gtol"], "max_iterations": limit}
    if method.lower() == "bfgs":
        return arguments
    return arguments | {
        "f_relative_tolerance": settings["ftol"],
        "f_absolute_tolerance": settings["ftol"],
        "num_correction_pairs": settings["maxcor"],
        "max_line_search_iterations": settings["maxls"],
    }


def _loss_and_gradient(prepared: Prepared, record: Callable[[float], None] | None) -> Callable[[tf.Tensor], Any]:
    """The loss and its gradient, in the graph that is being traced."""
    parameters, arguments = prepared.parameters, prepared.arguments
    graph = ObjectiveGraph(prepared.fun, parameters, arguments, jit=prepared.jit)

    def note(loss: Any) -> None:
        assert record is not None
        record(float(loss))

    def evaluate(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        leaves = [tf.cast(tf.reshape(x[s.flat], s.shape), s.dtype) for s in parameters.layout.segments]
        for variable, leaf in zip(parameters.variables, leaves, strict=False):
            variable.assign(leaf)
        loss, *gradients = graph.derivatives(*([] if parameters.variables else leaves), *arguments.tensors)
        if record is not None:
            with tf.control_dependencies([tf.numpy_function(note, [loss], [])]):
                loss = tf.identity(loss)  # so that the next evaluation waits for the note
        flat = [tf.reshape(tf.cast(gradient, tf.float64), [-1]) for gradient in gradients]
        return tf.cast(loss, tf.float64), tf.concat(flat, 0)

    return evaluate
