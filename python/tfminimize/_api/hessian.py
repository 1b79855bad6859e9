"""`hessian`: the second derivatives of a TensorFlow function at one point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfminimize._api.minimize import program_for
from tfminimize._problem.parameters import Parameters
from tfminimize._solve.scipy_calls import Hessian
from tfminimize._trace.dataset_loss import check_alone, split_data
from tfminimize._trace.user_function import check_context, check_jit

__all__ = ["hessian"]


def hessian(fun: Callable[..., Any], x: Any, args: Any = (), jit_compile: bool | None = None) -> NDArray[np.float64]:
    """The Hessian of a TensorFlow function: the matrix of its second derivatives at x.

    Parameters
    ----------
    fun : callable
        A real scalar (or a single element) of dtype float64 or float32, as in `tfminimize.minimize`: ``fun(x, *args)``
        in functional use, ``fun(*args)`` if ``x`` is made of variables; or a `tfminimize.DatasetLoss`, which is summed
        batch by batch.
    x : array, number, tensor or nested structure of them; or variable(s)
        The point. Variables stand for their present values, and keep them.
    args : tuple, optional
        Further arguments of ``fun``, as in `tfminimize.minimize`.
    jit_compile : bool, optional
        None follows ``fun``: XLA if it is a ``tf.function(jit_compile=True)``. True and False force it.

    Returns
    -------
    ndarray, shape (n, n)
        Symmetric, float64. n is the number of elements of all leaves or variables, in the order of
        ``tf.nest.flatten(x)``, each flat in C order. Elements by which ``fun`` has no derivative have rows of zeros.
        If x or the loss is float32, so is the precision.

    Raises
    ------
    ValueError
        If ``fun`` does not return a real scalar, or does not depend on x in a way that TensorFlow can differentiate; if
        TensorFlow has no second derivatives of it, for example because it calls a NumPy function; or if x is not
        finite.
    MemoryError
        If n² doubles do not fit into memory.

    Notes
    -----
    One vectorised pass computes k rows: the gradient is differentiated along k vectors at once [1]_. It takes k times
    the memory that this takes for one vector, so k is the greatest number, up to n, for which that is at most 64 MiB;
    larger blocks are no faster. A function with loops or branches (`tf.while_loop`, `tf.cond`, an ``if`` on a tensor),
    which TensorFlow vectorises badly or not at all, gets a pass for each row. As in `tfminimize.minimize`, what was
    traced is kept, so that a second call with the same ``fun`` does not trace.

    References
    ----------
    .. [1] B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 147 (1994),
       doi:10.1162/neco.1994.6.1.147.

    Examples
    --------
    >>> import tensorflow as tf
    >>> hessian(lambda x: x[0] ** 2 * x[1], np.array([3.0, 5.0]))
    array([[10.,  6.],
           [ 6.,  0.]])

    >>> v, w = tf.Variable(2.0), tf.Variable([1.0, 3.0])
    >>> hessian(lambda: v**2 * tf.reduce_sum(w), [v, w])
    array([[8., 4., 4.],
           [4., 0., 0.],
           [4., 0., 0.]])
    """
    if not callable(fun):
        raise ValueError(f"fun is {fun!r}: give a function that returns a scalar.")
    check_context()
    check_jit(jit_compile, "a single Hessian is too little work to find out what is faster")
    parameters = Parameters(x, "x", may_be_unused=True)
    values = parameters.start(x)
    check_alone(fun, "hessian")
    fun, args = split_data(fun, args)
    try:
        whole = Hessian(program_for(fun, parameters, jit_compile), args)
    except LookupError as error:
        raise ValueError(
            f"fun has no second derivatives ({error}): compute it with TensorFlow operations that have them."
        ) from error
    try:
        return whole.at(np.concatenate([value.ravel() for value in values]).astype(np.float64))
    finally:
        whole.release()
