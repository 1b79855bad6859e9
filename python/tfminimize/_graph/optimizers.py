"""The native solvers as optimizers for `tfminimize.math.minimize`."""

from __future__ import annotations

from typing import Any

from tfminimize._problem.options import LBFGSB_DEFAULTS, NO_LIMIT, SLSQP_DEFAULTS, lbfgsb_options, slsqp_options

__all__ = ["LBFGSB", "SLSQP", "NativeOptimizer"]


class NativeOptimizer:
    """A method with its bounds, constraints and options, but for the number of iterations."""

    method: str
    bounds: Any
    constraints: Any
    options: dict[str, Any]

    def __repr__(self) -> str:
        options = {k: v for k, v in self.options.items() if v != NO_LIMIT}
        if not (isinstance(self.constraints, tuple) and not self.constraints):
            options = {"constraints": self.constraints, **options}
        if self.bounds is not None:
            options = {"bounds": self.bounds, **options}
        given = [f"{k}={v!r}" for k, v in options.items()]
        return f"{type(self).__name__}({', '.join(given)})"


class LBFGSB(NativeOptimizer):
    """L-BFGS-B as the optimizer of `tfminimize.math.minimize`: a step is an iteration.

    Parameters
    ----------
    bounds : optional
        As in `tfminimize.minimize`, for ``trainable_variables``: one ``(low, high)`` for each variable, in a parallel
        list or a dict of ``variable.ref()``.
    maxcor, ftol, gtol, maxls : optional
        SciPy's options, with SciPy's defaults. Steps end early where ``ftol`` or ``gtol`` says that the loss has
        converged; with both of them 0, only where no lower loss can be found.
    maxfun : int, optional
        Steps end at so many evaluations too. The default is no limit.
    storage : {"float64", "float32"}, optional
        What the correction pairs are kept as; see `tfminimize.minimize`.

    Raises
    ------
    ValueError
        For a value that no solve could use.

    Examples
    --------
    >>> import tensorflow as tf
    >>> x = tf.Variable([0.0, 0.0])
    >>> optimizer = LBFGSB(bounds=[(None, 4.0)], gtol=1e-8)
    >>> losses = tfm.math.minimize(lambda: tf.reduce_sum((x - [3.0, 5.0]) ** 2), 20, optimizer)
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
        storage: str = LBFGSB_DEFAULTS["storage"],
    ) -> None:
        self.bounds, self.constraints = bounds, ()
        self.options = {"maxcor": maxcor, "ftol": ftol, "gtol": gtol, "storage": storage, "maxls": maxls}
        self.options["maxfun"] = NO_LIMIT if maxfun is None else maxfun
        lbfgsb_options(self.options)


class SLSQP(NativeOptimizer):
    """SLSQP as the optimizer of `tfminimize.math.minimize`: a step is an iteration.

    Parameters
    ----------
    bounds, constraints : optional
        As in `tfminimize.minimize`, for ``trainable_variables``; the functions of the constraints take no arguments
        but their ``args``.
    ftol : float, optional
        SciPy's option, with SciPy's default: steps end early where the loss and the constraints have converged to it.

    Raises
    ------
    ValueError
        For a value that no solve could use.

    Examples
    --------
    >>> import tensorflow as tf
    >>> x = tf.Variable([1.0, 1.0])
    >>> optimizer = SLSQP(constraints={"type": "eq", "fun": lambda: tf.reduce_sum(x) - 1.0})
    >>> losses = tfm.math.minimize(lambda: tf.reduce_sum(x**2), 20, optimizer)
    >>> x.numpy().round(4)
    array([0.5, 0.5], dtype=float32)
    """

    method = "SLSQP"

    def __init__(self, *, bounds: Any = None, constraints: Any = (), ftol: float = SLSQP_DEFAULTS["ftol"]) -> None:
        self.bounds, self.constraints = bounds, constraints
        self.options = {"ftol": ftol}
        slsqp_options(self.options)
