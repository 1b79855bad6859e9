"""What the operations that solve one problem and many problems have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfminimize._graph.functions import Functions, Slices, TraceFunction
from tfminimize._problem.arguments import Arguments
from tfminimize._problem.native_methods import NATIVE_NAMES, NativeMethod
from tfminimize._problem.options import check_matrix_size
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._tf import binding, private
from tfminimize._tf.xla import is_required
from tfminimize._trace.dataset_loss import batch_loss
from tfminimize._trace.user_function import JitCompile, check_jit, follows_jit

__all__ = ["Call", "Solve", "static_shape"]

NUMBERS = {"ftol": 0.0, "gtol": 0.0, "norm": np.inf, "xrtol": 0.0, "c1": 1e-4, "c2": 0.9}
"""The options that are inputs of the operations, since attributes are float32, with values for other methods."""


@dataclass(frozen=True)
class Solve:
    """What to minimise, and how: the arguments of `minimize`."""

    fun: Callable[..., Any]
    x0: Any
    """May be `Parameters` of variables, with the name for messages."""
    args: Any = ()
    method: Any = "L-BFGS-B"
    bounds: Any = None
    constraints: Any = ()
    tol: float | None = None
    options: Mapping[str, Any] | None = None
    jit_compile: JitCompile = None
    trace: TraceFunction | None = None
    name: str = "minimize"

    def check(self, function: str) -> None:
        """Raise ValueError if no operation can be made here; ``function`` is what the user has called."""
        if not callable(self.fun):
            raise ValueError(f"fun is {self.fun!r}: give a function that returns the loss.")
        check_jit(self.jit_compile, "the operation of a graph does not time its functions")
        if is_required():
            raise ValueError(
                "XLA cannot compile a solve inside a function: remove jit_compile=True from the function around it, "
                f"and give it to {function}, which compiles the loss."
            )


class Call:
    """The inputs and attributes of an operation, apart from the start and the bounds.

    Parameters
    ----------
    given : Solve
    parameters : Parameters
        Those of one problem.
    slices : Slices, optional
        The tensors among the arguments that differ between the problems of a batch.

    Attributes
    ----------
    problem : Problem
        Without the bounds.
    functions : Functions
    """

    def __init__(self, given: Solve, parameters: Parameters, slices: Slices | None = None) -> None:
        self.problem = Problem(parameters, given.method, None, given.constraints)
        if self.problem.native is None:
            raise ValueError(f"method {given.method!r} runs in SciPy, not in a graph: use {NATIVE_NAMES}.")
        inputs, attributes = _options(self.problem.native, given.options, given.tol, parameters.layout.size)
        arguments = Arguments(given.args, parameters.float_dtype)
        jit = follows_jit(batch_loss(given.fun)) if given.jit_compile is None else bool(given.jit_compile)
        if jit:
            with contextlib.suppress(ImportError):  # the operation says why it has no machine code
                binding.xla()
        constraints = self.problem.packed_constraints
        self.functions = Functions(given.fun, parameters, arguments, constraints, jit, given.trace, slices)
        self._keywords = {
            **inputs,
            **attributes,
            "captures": self.functions.captures,
            "functions": self.functions.functions,
            "method": self.problem.method,
            "num_constraints": self.functions.num_constraints,
            "num_equalities": self.functions.num_equalities,
            "precision": self.functions.dtype,
            "jit_compile": jit,
            "name": "solve",
        }

    def add(self, operation: Callable[..., Any], x0: tf.Tensor, bounds: tuple[tf.Tensor, tf.Tensor], **own: Any) -> Any:
        """Add the operation to the graph and return its outputs."""
        low, high = bounds
        outputs = operation(x0=x0, lower=low, upper=high, **self._keywords, **own)
        first_capture = len(outputs.x.op.inputs) - len(self.functions.captures)
        private.mark_read_only(outputs.x.op, [first_capture + i for i in self.functions.read_only])
        return outputs


def static_shape(tensor: tf.Tensor, shape: tf.TensorShape, name: str) -> list[int]:
    """The shape of what is optimised; ValueError unless it is known and the tensor holds numbers."""
    if tensor.dtype.as_numpy_dtype is object:
        raise ValueError(f"{name} holds a tensor of dtype {tensor.dtype.name}: give numbers.")
    if not shape.is_fully_defined():
        raise ValueError(
            f"{name} holds a tensor of shape {tensor.shape}, which is not static: fix it by tf.ensure_shape, or give "
            "the tf.function an input_signature."
        )
    sizes: list[int] = shape.as_list()
    return sizes


def _options(
    method: NativeMethod, options: Mapping[str, Any] | None, tol: float | None, size: int
) -> tuple[dict[str, tf.Tensor], dict[str, Any]]:
    """The checked options, as inputs and as attributes of the operation."""
    matrix = None
    if isinstance(options, Mapping) and tf.is_tensor(options.get("hess_inv0")):
        matrix = tf.convert_to_tensor(options["hess_inv0"])
        if tf.is_symbolic_tensor(matrix):  # the operation checks it
            options = {**options, "hess_inv0": None}
    attributes = {"hess_inv0": None, **method.options(options, tol)}
    checked = attributes.pop("hess_inv0")
    if checked is not None:
        matrix = checked
        check_matrix_size("hess_inv0", checked, size)
    inputs = {name: tf.constant(attributes.pop(name, default), tf.float64) for name, default in NUMBERS.items()}
    inputs["hess_inv0"] = tf.zeros([0, 0], tf.float64) if matrix is None else tf.cast(matrix, tf.float64)
    if attributes["maxiter"] is None:
        attributes["maxiter"] = 200 * size
    attributes["maxtime"] = min(attributes["maxtime"], float(np.finfo(np.float32).max))
    return inputs, attributes
