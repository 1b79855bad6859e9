"""Draws calls of the public interface: good ones, and ones with one or two wrong ingredients.

A call consists of plain values, so that its repr is enough to repeat it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint

TARGET = (0.3, -1.2, 2.0, 0.0)
ENTRIES = ("minimize", "Minimizer", "batch", "ops", "ops in a function", "interface", "scipy")
METHODS = (
    *("L-BFGS-B", "SLSQP", "BFGS", "CG", "TNC", "Nelder-Mead", "Powell", "COBYLA", "COBYQA"),
    *("Newton-CG", "trust-constr", "trust-krylov", "trust-exact"),
)
IN_GRAPH = ("L-BFGS-B", "SLSQP", "BFGS")


class UsersError(Exception):
    """The exception that the user's functions raise."""


@dataclass(frozen=True)
class Call:
    """A call; each field is a number or the name of an ingredient below."""

    entry: str
    method: Any
    x0: str
    dtype: str
    loss: str
    bounds: str
    constraints: str
    args: str
    callback: str
    options: Any
    tol: Any
    jit_compile: Any
    start: float
    spoiled: tuple[str, ...] = ()
    """The fields with wrong ingredients."""


GOOD: dict[str, tuple[Any, ...]] = {
    "x0": ("array", "list", "dict", "nested", "tensor", "scalar", "variable", "variables"),
    "loss": ("bowl", "quartic", "far", "tf.function"),
    "bounds": ("none", "pair", "pairs", "Bounds", "array", "one-sided"),
    "constraints": ("none", "half-plane", "ball", "linear", "equality"),
    "args": ("none", "tensor", "number"),
    "callback": ("none", "x", "result", "stop"),
    "options": (None, {}, {"maxiter": 3}, {"maxiter": 200}),
    "tol": (None, 1e-3, 1e-9),
    "jit_compile": (None, False, True),
    "dtype": ("float64", "float32"),
}

WRONG: dict[str, tuple[Any, ...]] = {
    "method": ("nonsense", "", 3, ("L-BFGS-B",), b"slsqp"),
    "x0": ("nothing", "words", "empty", "nan", "inf", "complex", "integers", "object", "no floats",
           "constant variable"),
    "loss": ("nothing", "words", "vector", "complex", "integer", "constant", "tuple", "raises", "raises later", "nan",
             "minus infinity", "takes two", "not callable", "infinite gradient", "NumPy"),
    "bounds": ("crossed", "nan", "too many", "words", "number", "deep", "infinite", "callable"),
    "constraints": ("no type", "unknown type", "words", "raises", "words as values", "other size",
                    "number", "contradiction"),
    "args": ("words", "None inside", "too many", "object"),
    "callback": ("not callable", "raises", "takes two", "interrupts"),
    "options": ({"maxiter": -1}, {"maxiter": float("nan")}, {"nonsense": 1}, {"maxiter": "ten"}, {3: 4}, 7, "maxiter",
                {"maxiter": 0}, {"ftol": float("nan")}, {"maxcor": 0}, {"maxcor": 10**12}, {"maxls": -3},
                {"maxiter": None}),
    "tol": (float("nan"), -1.0, "small", float("inf"), 0, [1e-3]),
    "jit_compile": ("yes", 3),
    "dtype": ("float16", "bfloat16"),
}  # fmt: skip


@st.composite
def calls(draw: Any) -> Call:
    fields = {name: draw(st.sampled_from(values)) for name, values in GOOD.items()}
    fields["entry"] = draw(st.sampled_from(ENTRIES))
    natively = fields["entry"] in ("batch", "ops", "ops in a function", "scipy")
    fields["method"] = draw(st.sampled_from(IN_GRAPH if natively else METHODS))
    fields["start"] = draw(st.sampled_from((0.0, 1.0, -2.5, 1e-8, 300.0)))
    if fields["entry"] == "interface":  # it takes only variables, and neither args nor these constraints
        fields.update(x0=draw(st.sampled_from(("variable", "variables"))), args="none", constraints="none")
    if fields["entry"] == "scipy" and fields["constraints"] != "none":  # SciPy's functions take NumPy arrays
        fields["constraints"] = "half-plane"
    spoiled = draw(st.lists(st.sampled_from(sorted(WRONG)), max_size=2, unique=True))
    fields.update({name: draw(st.sampled_from(WRONG[name])) for name in spoiled})
    return Call(**fields, spoiled=tuple(spoiled))


def leaves(call: Call) -> int:
    """How many arrays a good x0 has."""
    return {"dict": 2, "nested": 2, "variables": 2}.get(call.x0, 1)


def size(call: Call) -> int:
    return 1 if call.x0 == "scalar" else 4 if leaves(call) == 2 else 2


def x0(call: Call) -> Any:
    dtype = tf.as_dtype(call.dtype)
    flat = np.full(size(call), call.start).astype(dtype.as_numpy_dtype)
    wrong = {
        "nothing": None,
        "words": "x0",
        "empty": [],
        "nan": np.array([np.nan, 1.0]),
        "inf": np.array([np.inf, 1.0]),
        "complex": np.array([1j, 1.0]),
        "integers": tf.constant([1, 2]),
        "object": np.array([None, object()], dtype=object),
        "no floats": {"a": True, "b": "c"},
    }
    if call.x0 in wrong:
        return wrong[call.x0]
    if call.x0 == "constant variable":
        return tf.Variable([1, 2], dtype=tf.int64)
    made = {
        "array": lambda: flat,
        "list": lambda: flat.tolist(),
        "dict": lambda: {"a": flat[:3].reshape(3, 1), "b": flat[3]},
        "nested": lambda: [flat[:1], (flat[1:],)],
        "tensor": lambda: tf.constant(flat),
        "scalar": lambda: flat[0],
        "variable": lambda: tf.Variable(flat, name="v"),
        "variables": lambda: [tf.Variable(flat[:1], name="v"), tf.Variable(flat[1:].reshape(3, 1), name="w")],
    }
    return made[call.x0]()


def variables(start: Any) -> list[Any]:
    return [leaf for leaf in tf.nest.flatten(start) if isinstance(leaf, tf.Variable)]


def value(call: Call, x: Any, shift: Any = 0.0) -> Any:
    """The loss at a flat x, for TensorFlow."""
    target = tf.constant(TARGET[: x.shape[0]], x.dtype) + tf.cast(shift, x.dtype)
    power = 4 if call.loss == "quartic" else 2
    total = tf.reduce_sum((x - target) ** 2 + 0.1 * (x - target) ** power)
    return total + 1e6 if call.loss == "far" else total


def flat(*parts: Any) -> Any:
    tensors = [tf.convert_to_tensor(part) for part in tf.nest.flatten(parts)]
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], 0)


def loss(call: Call, start: Any) -> Any:
    """The user's function, of x and args, or only of args for variables."""
    read = variables(start)
    evaluations = [0]

    def raises_later(x: Any) -> Any:
        evaluations[0] += 1
        if evaluations[0] > 2:
            raise UsersError("in the third evaluation")
        return x

    def evaluate(*inputs: Any) -> Any:
        x = flat(read) if read else flat(inputs[0])
        shift = sum((tf.cast(a, x.dtype) for a in inputs[0 if read else 1 :]), tf.zeros([], x.dtype))
        right = value(call, x, shift)
        if call.loss == "raises":
            raise UsersError("while it is traced")
        if call.loss == "raises later":
            noted = tf.numpy_function(raises_later, [tf.zeros([], x.dtype)], x.dtype)
            return right + tf.ensure_shape(noted, [])
        wrong = {
            "nothing": lambda: None,
            "words": lambda: tf.constant("loss"),
            "vector": lambda: x,
            "complex": lambda: tf.complex(tf.cast(right, tf.float64), tf.zeros([], tf.float64)),
            "integer": lambda: tf.cast(right, tf.int32),
            "constant": lambda: tf.constant(1.0),
            "tuple": lambda: (right, right),
            "nan": lambda: right * np.nan,
            "minus infinity": lambda: tf.math.log(tf.reduce_sum(x - x)),
            "infinite gradient": lambda: tf.reduce_sum(tf.sqrt(tf.abs(x - x))),
            "NumPy": lambda: np.sum(np.asarray(x) ** 2),
        }
        return wrong.get(call.loss, lambda: right)()

    if call.loss == "takes two":
        return lambda one, two, three, four: one
    if call.loss == "not callable":
        return 3.0
    return tf.function(evaluate) if call.loss == "tf.function" else evaluate


def args(call: Call) -> Any:
    return {
        "none": (),
        "tensor": (tf.constant(0.5, tf.float64),),
        "number": (0.25,),
        "words": ("shift",),
        "None inside": (None,),
        "too many": tuple(range(9)),
        "object": object(),
    }[call.args]


LIMITS = {
    "none": (-np.inf, np.inf),
    "pair": (-1.0, 1.0),
    "pairs": (-1.0, 1.5),
    "Bounds": (-0.5, np.inf),
    "array": (-2.0, 0.25),
    "one-sided": (0.1, np.inf),
}
"""The limits of each element for each good form of bounds."""


def bounds(call: Call) -> Any:
    n = size(call)
    low, high = LIMITS.get(call.bounds, (0.0, 1.0))
    single = leaves(call) == 1
    if call.bounds in ("pairs", "array") and single and call.x0 != "scalar":
        pairs = [(low, high)] * n
        return pairs if call.bounds == "pairs" else np.array(pairs)
    if not single and call.bounds in LIMITS and call.bounds not in ("none", "Bounds"):  # a pair for each leaf
        pair = low, high
        return {"dict": {"a": pair, "b": pair}, "nested": [pair, (pair,)], "variables": [pair, pair]}[call.x0]
    return {
        "none": None,
        "pair": (low, high),
        "pairs": (low, high),
        "array": (low, high),
        "Bounds": Bounds(low, high),
        "one-sided": (low, None),
        "crossed": (1.0, -1.0),
        "nan": (np.nan, 1.0),
        "too many": [(0.0, 1.0)] * 7,
        "words": ("low", "high"),
        "number": 3.0,
        "deep": [[[(0, 1)]]],
        "infinite": (np.inf, np.inf),
        "callable": lambda: (0, 1),
    }[call.bounds]


def constraints(call: Call, start: Any) -> Any:
    """Constraint functions of a flat x, or of the variables."""
    read = variables(start)

    def of_x(function: Any) -> Any:
        return (lambda *args: function(flat(read))) if read else (lambda x, *args: function(flat(x)))

    def fails(x: Any) -> Any:
        raise UsersError("in a constraint")

    made = {
        "none": lambda: (),
        "half-plane": lambda: {"type": "ineq", "fun": of_x(lambda x: 2.0 - tf.reduce_sum(x))},
        "ball": lambda: [NonlinearConstraint(of_x(lambda x: tf.reduce_sum(x**2)), -np.inf, 4.0)],
        "linear": lambda: LinearConstraint(np.ones((1, size(call))), -np.inf, 1.0),
        "equality": lambda: [{"type": "eq", "fun": of_x(lambda x: x[0] - 0.2)}],
        "no type": lambda: {"fun": of_x(lambda x: x[0])},
        "unknown type": lambda: {"type": "neq", "fun": of_x(lambda x: x[0])},
        "words": lambda: "x > 0",
        "raises": lambda: {"type": "ineq", "fun": of_x(fails)},
        "words as values": lambda: {"type": "ineq", "fun": of_x(lambda x: tf.constant("c"))},
        "other size": lambda: LinearConstraint(np.ones((1, 9)), 0.0, 1.0),
        "number": lambda: 3,
        "contradiction": lambda: [
            {"type": "eq", "fun": of_x(lambda x: x[0] - 5.0)},
            {"type": "eq", "fun": of_x(lambda x: x[0] + 5.0)},
        ],
    }
    return made[call.constraints]()


def callback(call: Call) -> Any:
    def stops(xk: Any) -> None:
        raise StopIteration

    def raises(xk: Any) -> None:
        raise UsersError("in a callback")

    def interrupts(xk: Any) -> None:
        raise KeyboardInterrupt

    return {
        "none": None,
        "x": lambda xk: None,
        "result": lambda intermediate_result: None,
        "stop": stops,
        "not callable": 3,
        "raises": raises,
        "takes two": lambda one, two, three: None,
        "interrupts": interrupts,
    }[call.callback]
