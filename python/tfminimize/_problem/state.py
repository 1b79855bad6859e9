"""State: a whole solve, to be saved and gone on with."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfminimize._problem import state_file
from tfminimize._problem.layout import Layout

__all__ = ["Conditions", "State"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]

_COUNTS = ("nit", "nfev", "njev", "fun", "message", "seconds")


@dataclass(frozen=True)
class Conditions:
    """What a solve and a state must have in common, for the solve to go on from the state."""

    method: str
    components: tuple[tuple[tuple[int, ...], str], ...]
    """Shape and dtype of each array or variable."""
    fixed_options: Mapping[str, int | str]
    precision: float
    """The rounding unit of the functions' values."""
    num_equalities: int = 0
    num_inequalities: int = 0
    limits: str = ""
    """A digest of the limits of all constraints and the coefficients of linear ones."""
    bounds: tuple[Float64, Float64] | None = None
    """Packed."""

    @property
    def layout(self) -> Layout:
        """Where the components lie."""
        return Layout([(f"x0 (leaf {i})", *component) for i, component in enumerate(self.components)])

    def check_alike(self, here: Conditions) -> None:
        """Raise ValueError, with both values, unless a solve with other data can use what this one has learned."""
        if self.method != here.method:
            raise ValueError(
                f"the state comes from {self.method}, but this solve uses {here.method}: give the method of the state."
            )
        if self.components != here.components:
            raise ValueError(
                f"the state is of x0 with {_listed(self.components)}, but x0 has {_listed(here.components)}: the "
                "shapes and dtypes must be those of the solve that the state comes from."
            )

    def check_same(self, here: Conditions) -> None:
        """Raise ValueError, with both values, unless this solve can go on exactly."""
        self.check_alike(here)
        for name, value in self.fixed_options.items():
            if here.fixed_options.get(name) != value:
                raise ValueError(
                    f"the state has {name} = {value}, but this solve has {here.fixed_options.get(name)}: give "
                    f"options={{{name!r}: {value!r}}}."
                )
        if self.precision != here.precision:
            raise ValueError(
                f"the state is of functions in {_dtype(self.precision)}, but these have {_dtype(here.precision)}: cast "
                "the loss and the constraints as they were."
            )
        self._check_constraints(here)
        self._check_bounds(here)

    def _check_constraints(self, here: Conditions) -> None:
        counts = [(c.num_equalities, c.num_inequalities) for c in (self, here)]
        if counts[0] != counts[1]:
            (eq, ineq), (eq_here, ineq_here) = counts
            raise ValueError(
                f"the state has {eq} equality and {ineq} inequality constraints, but this solve has {eq_here} and "
                f"{ineq_here}: give the constraints of the solve that the state comes from."
            )
        if self.limits != here.limits:
            raise ValueError(
                "the constraints of the state have other limits or coefficients than those of this solve (digests "
                f"{self.limits[:8] or 'none'} and {here.limits[:8] or 'none'}): give the same."
            )

    def _check_bounds(self, here: Conditions) -> None:
        if (self.bounds is None) != (here.bounds is None):
            have = ("no bounds", "bounds") if self.bounds is None else ("bounds", "no bounds")
            raise ValueError(f"the state has {have[0]}, but this solve has {have[1]}: give the bounds of the state.")
        if self.bounds is None or here.bounds is None:
            return
        layout = self.layout
        flat, flat_here = ([layout.flatten(side) for side in c.bounds or ()] for c in (self, here))
        differs = (flat[0] != flat_here[0]) | (flat[1] != flat_here[1])
        if differs.any():
            i = int(np.argmax(differs))
            raise ValueError(
                f"the state has the bounds ({flat[0][i]}, {flat[1][i]}) for {layout.name_of(i)}, but this solve has "
                f"({flat_here[0][i]}, {flat_here[1][i]}): give the bounds of the state."
            )


@dataclass(frozen=True)
class _Contents:
    conditions: Conditions
    solver: bytes
    options: Mapping[str, Any]
    counts: Mapping[str, Any]
    history: Mapping[str, Array] = field(default_factory=dict)


class State(tf.train.experimental.PythonState):  # type: ignore[misc]
    """A whole solve: the point that the solver has reached, and all that it has learned on the way.

    ``result.state`` and, in a callback, ``intermediate_result.state`` are states. ``minimize(..., state=state)`` goes
    on from there with the same bits as a solve that was not interrupted; ``warm_start=state`` begins another solve with
    its curvature.

    A state is a trackable of `tf.train.Checkpoint`: give an empty one, ``State()``, to a checkpoint that is to be
    restored.

    Examples
    --------
    >>> def quartic(x):
    ...     return tf.reduce_sum((x - [1.0, 2.0]) ** 4)
    >>> begun = tfm.minimize(quartic, np.zeros(2), options={"maxiter": 5})
    >>> begun.nit, begun.state
    (5, State(L-BFGS-B, n=2, nit=5))
    >>> ended = tfm.minimize(quartic, np.zeros(2), state=begun.state)
    >>> bool((ended.x == tfm.minimize(quartic, np.zeros(2)).x).all())
    True
    """

    def __init__(self) -> None:
        self._contents: _Contents | None = None

    @classmethod
    def of(
        cls,
        conditions: Conditions,
        solver: bytes,
        options: Mapping[str, Any],
        counts: Mapping[str, Any],
        history: Mapping[str, Array],
    ) -> State:
        """A state from the bytes of a solver, with its present counts."""
        state = cls()
        chosen = {name: counts[name] for name in _COUNTS}
        # A matrix that the solve has begun with is in the solver.
        options = {name: value for name, value in options.items() if not isinstance(value, np.ndarray)}
        state._contents = _Contents(conditions, solver, options, chosen, history)
        return state

    def __repr__(self) -> str:
        if self._contents is None:
            return "State()"
        return f"State({self.method}, n={self.n}, nit={self.nit})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (State, ()) if self._contents is None else (_from_bytes, (self.serialize(),))

    @property
    def _known(self) -> _Contents:
        if self._contents is None:
            raise ValueError("the state is empty: load it, or restore a checkpoint that has it.")
        return self._contents

    @property
    def conditions(self) -> Conditions:
        """What a solve must have in common with the state to go on from it."""
        return self._known.conditions

    @property
    def solver(self) -> bytes:
        """The solver as it saves itself."""
        return self._known.solver

    @property
    def method(self) -> str:
        """``"L-BFGS-B"``, ``"SLSQP"`` or ``"BFGS"``."""
        return self._known.conditions.method

    @property
    def n(self) -> int:
        """The number of variables."""
        return self._known.conditions.layout.size

    @property
    def options(self) -> dict[str, Any]:
        """The options of the solve."""
        return dict(self._known.options)

    @property
    def nit(self) -> int:
        """Iterations so far."""
        return int(self._known.counts["nit"])

    @property
    def nfev(self) -> int:
        """Evaluations so far."""
        return int(self._known.counts["nfev"])

    @property
    def seconds(self) -> float:
        """The time that the solve has taken so far."""
        return float(self._known.counts["seconds"])

    @property
    def history(self) -> dict[str, Array]:
        """The record of the solve, as ``result.history``; empty without ``history=True``."""
        return dict(self._known.history)

    @property
    def fun(self) -> float:
        """The loss at the last iterate."""
        return float(self._known.counts["fun"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to one file, which is an ``.npz`` of NumPy's with a checksum.

        The file gets another name in the same folder first, and is then renamed: ``path`` is always a whole file.

        Parameters
        ----------
        path : str or path
            Its folder must be there.

        Raises
        ------
        OSError
            If it cannot be written. A file that was there before is still whole.

        Examples
        --------
        >>> import tempfile
        >>> state = tfm.minimize(lambda x: tf.reduce_sum((x - 3.0) ** 2), np.zeros(2)).state
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     state.save(f"{folder}/fit.npz")
        ...     tfm.State.load(f"{folder}/fit.npz").nit == state.nit
        True
        """
        state_file.write_atomically(path, self._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Read a state that `save` has written.

        Raises
        ------
        ValueError
            If the file is damaged, cut short, of another version, or no state at all.
        OSError
            If it cannot be read.

        Examples
        --------
        See `save`.
        """
        state = cls()
        with open(path, "rb") as file:
            state._contents = _contents(file, str(Path(path)))
        return state

    def serialize(self) -> bytes:
        """The bytes of the file that `save` writes; `tf.train.Checkpoint` calls it."""
        file = io.BytesIO()
        state_file.write(file, {} if self._contents is None else self._arrays())
        return file.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """Become the state that `serialize` has returned; `tf.train.Checkpoint` calls it."""
        self._contents = _contents(io.BytesIO(string_value), "the state in the checkpoint")

    def _arrays(self) -> dict[str, Array]:
        known = self._known
        c = known.conditions
        description = {
            "method": c.method,
            "components": c.components,
            "fixed_options": c.fixed_options,
            "precision": c.precision,
            "num_equalities": c.num_equalities,
            "num_inequalities": c.num_inequalities,
            "limits": c.limits,
            "options": known.options,
            "counts": known.counts,
        }
        arrays = {"description": np.array(json.dumps(description)), "solver": np.frombuffer(known.solver, np.uint8)}
        if c.bounds is not None:
            arrays["lower"], arrays["upper"] = c.bounds
        return arrays | {f"history/{name}": array for name, array in known.history.items()}


def _fixed(value: Any) -> int | str:
    if not isinstance(value, (int, str)):
        raise ValueError(f"{value!r} is the value of an option")
    return value


def _from_bytes(serialized: bytes) -> State:
    state = State()
    state.deserialize(serialized)
    return state


def _contents(file: Any, name: str) -> _Contents | None:
    arrays = state_file.read(file, name)
    if not arrays:
        return None
    try:
        text = json.loads(str(arrays["description"][()]))
        bounds = None
        if "lower" in arrays:
            bounds = (np.asarray(arrays["lower"], np.float64), np.asarray(arrays["upper"], np.float64))
        conditions = Conditions(
            method=str(text["method"]),
            components=tuple((tuple(map(int, shape)), str(np.dtype(dtype))) for shape, dtype in text["components"]),
            fixed_options={name: _fixed(value) for name, value in text["fixed_options"].items()},
            precision=float(text["precision"]),
            num_equalities=int(text["num_equalities"]),
            num_inequalities=int(text["num_inequalities"]),
            limits=str(text["limits"]),
            bounds=bounds,
        )
        sizes = [side.shape == (conditions.layout.packed_size,) for side in bounds or ()]
        if not all(sizes):
            raise ValueError("its bounds have another size than x")
        return _Contents(
            conditions,
            np.asarray(arrays["solver"], np.uint8).tobytes(),
            dict(text["options"]),
            {name: text["counts"][name] for name in _COUNTS},
            {name.removeprefix("history/"): a for name, a in arrays.items() if name.startswith("history/")},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{name} is damaged: {error}") from error


def _listed(components: tuple[tuple[tuple[int, ...], str], ...]) -> str:
    shown = ", ".join(f"{dtype} of shape {shape}" for shape, dtype in components[:3])
    more = f" and {len(components) - 3} more" if len(components) > 3 else ""
    leaves = "leaf" if len(components) == 1 else "leaves"
    return f"{len(components)} {leaves} ({shown}{more})"


def _dtype(precision: float) -> str:
    names = {float(np.finfo(dtype).eps): dtype for dtype in ("float64", "float32", "float16")}
    return names.get(precision, f"a precision of {precision:.2g}")
