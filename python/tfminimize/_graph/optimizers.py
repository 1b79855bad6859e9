"""The native solvers as optimizers for `tfminimize.math.minimize` and `tfminimize.keras`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfminimize._problem.options import (
    BFGS_DEFAULTS,
    LBFGSB_DEFAULTS,
    NO_LIMIT,
    SLSQP_DEFAULTS,
    bfgs_options,
    lbfgsb_options,
    slsqp_options,
)

__all__ = ["BFGS", "LBFGSB", "SLSQP", "NativeOptimizer"]


class NativeOptimizer:
    """A method with its bounds, constraints and options, without the number of iterations."""

    method: str
    bounds: Any
    constraints: Any
    options: dict[str, Any]
    built = True
    """Keras asks for this and the next two: there is nothing to build."""
    variables = ()
    iterations = 0
    """Epochs of the model that was fitted last."""

    def build(self, variables: Any) -> None:
        """Do nothing: Keras calls it before it loads the state of an optimizer, and this one has no state."""

    @property
    def weights(self) -> Any:
        """Keras asks for this only when it saves a model as HDF5; from that format it makes other kinds of models."""
        raise AttributeError(
            f"a model with {type(self).__name__} as its optimizer cannot be loaded from HDF5: save it as "
            "'model.keras', or its weights alone as 'model.weights.h5'."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, for Keras to save.

        Raises
        ------
        ValueError
            For bounds by ``variable.ref()`` and for constraints, which have functions: neither can be saved.
        """
        if not (isinstance(self.constraints, (tuple, list)) and not self.constraints):
            raise ValueError(
                f"{self!r} has constraints, whose functions cannot be saved: save the weights only (save_weights), or "
                "compile the model with another optimizer before you save it."
            )
        config = {k: None if _is_without_limit(v) else v for k, v in self.options.items()}
        if self.bounds is not None:
            config["bounds"] = _saved_bounds(self.bounds)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make the optimizer of a configuration."""
        return cls(**{k: v for k, v in config.items() if v is not None})

    def __repr__(self) -> str:
        options = {k: v for k, v in self.options.items() if not _is_without_limit(v)}
        if not (isinstance(self.constraints, tuple) and not self.constraints):
            options = {"constraints": self.constraints, **options}
        if self.bounds is not None:
            options = {"bounds": self.bounds, **options}
        given = [f"{k}={v!r}" for k, v in options.items()]
        return f"{type(self).__name__}({', '.join(given)})"


def _is_without_limit(value: Any) -> bool:
    """Whether this is the default of an option that is a limit, or of ``norm``, the maximum norm."""
    return value in (NO_LIMIT, math.inf)


def _saved_bounds(bounds: Any) -> Any:
    """Bounds of lists and numbers only."""
    if bounds is None or isinstance(bounds, (int, float)):
        return bounds
    if isinstance(bounds, (list, tuple)):
        return [_saved_bounds(part) for part in bounds]
    if isinstance(bounds, Mapping) or not hasattr(bounds, "__array__"):
        raise ValueError(
            f"bounds is {bounds!r}, which cannot be saved: give a list with (low, high) or None for each trainable "
            "variable."
        )
    return np.asarray(bounds).tolist()


class LBFGSB(NativeOptimizer):
    """L-BFGS-B as the optimizer of `tfminimize.math.minimize` and `tfminimize.keras`: a step is an iteration.

    Parameters
    ----------
    bounds : optional
        As in `tfminimize.minimize`: one ``(low, high)`` for each of ``trainable_variables``, in a parallel list or a
        dict of ``variable.ref()``.
    maxcor, ftol, gtol, maxls : optional
        SciPy's options and defaults. Steps end early if the loss has converged by ``ftol`` or ``gtol``; if both are 0,
        only when the solver finds no lower loss.
    maxfun : int, optional
        Steps also end after this many evaluations. The default is no limit.
    maxtime : float, optional
        Steps also end after so many seconds. By default there is no limit.
    storage : {"float64", "float32"}, optional
        The dtype of the correction pairs; see `tfminimize.minimize`.

    Raises
    ------
    ValueError
        For a value that no solve could use.

    Examples
    --------
    >>> import tensorflow as tf
    >>> x = tf.Variable([0.0, 0.0])
    >>> optimizer = LBFGSB(bounds=[(None, 4.0)], gtol=1e-8)
    >>> losses = tfm.math.minimize(
    ...     lambda: tf.reduce_sum((x - [3.0, 5.0]) ** 2), 20, optimizer
    ... )
    >>> x.numpy().round(4), round(float(losses[-1]), 4)
    (array([3., 4.], dtype=float32), 1.0)
    """

    method = "L-BFGS-B"

    def __init__(
        self,
        *,
        bounds: Any = None,
        maxcor: int = LBFGSB_DEFAULTS["maxcor"],
        ftol: float = LBFGSB_DEFAULTS["ftol"],
        gtol: float = LBFGSB_DEFAULTS["gtol"],
        maxfun: float | None = None,
        maxls: int = LBFGSB_DEFAULTS["maxls"],
        maxtime: float = LBFGSB_DEFAULTS["maxtime"],
        storage: str = LBFGSB_DEFAULTS["storage"],
    ) -> None:
        self.bounds, self.constraints = bounds, ()
        self.options = {"maxcor": maxcor, "storage": storage, "ftol": ftol, "gtol": gtol}
        self.options |= {"maxtime": maxtime, "maxls": maxls}
        self.options["maxfun"] = NO_LIMIT if maxfun is None else maxfun
        lbfgsb_options(self.options)


class SLSQP(NativeOptimizer):
    """SLSQP as the optimizer of `tfminimize.math.minimize` and `tfminimize.keras`: a step is an iteration.

    Parameters
    ----------
    bounds, constraints : optional
        As in `tfminimize.minimize`, for ``trainable_variables``. Constraint functions take only their ``args``.
    ftol : float, optional
        SciPy's option and default: steps end early if the loss and the constraints have converged to it.
    maxtime : float, optional
        Steps also end after so many seconds. By default there is no limit.

    Raises
    ------
    ValueError
        For a value that no solve could use.

    Examples
    --------
    >>> import tensorflow as tf
    >>> x = tf.Variable([1.0, 1.0])
    >>> optimizer = SLSQP(
    ...     constraints={"type": "eq", "fun": lambda: tf.reduce_sum(x) - 1.0}
    ... )
    >>> losses = tfm.math.minimize(lambda: tf.reduce_sum(x**2), 20, optimizer)
    >>> x.numpy().round(4)
    array([0.5, 0.5], dtype=float32)
    """

    method = "SLSQP"

    def __init__(
        self,
        *,
        bounds: Any = None,
        constraints: Any = (),
        ftol: float = SLSQP_DEFAULTS["ftol"],
        maxtime: float = SLSQP_DEFAULTS["maxtime"],
    ) -> None:
        self.bounds, self.constraints = bounds, constraints
        self.options = {"ftol": ftol, "maxtime": maxtime}
        slsqp_options(self.options)


class BFGS(NativeOptimizer):
    """BFGS as the optimizer of `tfminimize.math.minimize` and `tfminimize.keras`: a step is an iteration.

    It keeps the inverse Hessian of all n parameters, n(n + 1)/2 numbers, and takes no bounds and no constraints.

    Parameters
    ----------
    update : {"bfgs", "dfp", "ssbfgs", "ssbfgs-ol", "ssbroyden", "ssbroyden1"}, optional
        How an iteration updates the inverse Hessian; see `tfminimize.minimize`.
    gtol, norm, xrtol, c1, c2 : float, optional
        SciPy's options and defaults. Steps end early if the norm of the gradient is at most ``gtol``, or if a step is
        short by ``xrtol``; if both are 0, only when the solver finds no lower loss.
    initial_scale : bool, optional
        Whether the identity is scaled before its first update.
    maxtime : float, optional
        Steps also end after so many seconds. By default there is no limit.

    Raises
    ------
    ValueError
        For a value that no solve could use.

    Examples
    --------
    >>> import tensorflow as tf
    >>> x = tf.Variable([0.0, 0.0])
    >>> optimizer = BFGS(update="ssbroyden")
    >>> losses = tfm.math.minimize(
    ...     lambda: tf.reduce_sum((x - [3.0, 5.0]) ** 2), 20, optimizer
    ... )
    >>> x.numpy().round(4)
    array([3., 5.], dtype=float32)
    """

    method = "BFGS"

    def __init__(
        self,
        *,
        update: str = BFGS_DEFAULTS["update"],
        gtol: float = BFGS_DEFAULTS["gtol"],
        norm: float = BFGS_DEFAULTS["norm"],
        xrtol: float = BFGS_DEFAULTS["xrtol"],
        c1: float = BFGS_DEFAULTS["c1"],
        c2: float = BFGS_DEFAULTS["c2"],
        initial_scale: bool = BFGS_DEFAULTS["initial_scale"],
        maxtime: float = BFGS_DEFAULTS["maxtime"],
    ) -> None:
        self.bounds, self.constraints = None, ()
        self.options = {"update": update, "gtol": gtol, "norm": norm, "xrtol": xrtol, "c1": c1, "c2": c2}
        self.options |= {"initial_scale": initial_scale, "maxtime": maxtime}
        bfgs_options(self.options)
