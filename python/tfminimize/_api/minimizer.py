"""Minimizer: compile a function once, minimise it many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import BatchResult, OptimizeResult
from tfminimize._solve.batch import BatchedArguments, solve_batch
from tfminimize._solve.program import Program
from tfminimize._solve.solve import solve
from tfminimize._trace.user_function import check_context

__all__ = ["Minimizer"]

Callback = Callable[..., Any]


class Minimizer:
    """A function compiled once, to be minimised many times.

    Several threads may call `minimize` at once: each solve has memory of its own. (Two solves for the same variables
    give two results; the variables keep those of the one that ends last.)

    Parameters
    ----------
    fun : callable
        The loss: ``fun(x, *args)`` in functional use, ``fun(*args)`` if ``x0`` is made of variables. A Python function
        or a `tf.function`; it is traced, so Python values that it reads are those of the trace.
    x0 : array, number, tensor or nested structure of them; or variable(s)
        The structure, shapes and dtypes; and the default start.
    args : tuple, optional
        Further arguments; `minimize` may replace them. Arrays, tensors and floats of the same shapes and dtypes do not
        retrace; see `tfminimize.minimize`.
    method : str or callable, default "L-BFGS-B"
        L-BFGS-B and SLSQP are native. Any other runs in SciPy, on the compiled function.
    bounds, constraints : optional
        As in `tfminimize.minimize`. The ``args`` of a constraint stay those given here; to change them from solve to
        solve, let its function read a `tf.Variable`.
    jit_compile : bool, optional
        None follows ``fun``: XLA if it is a ``tf.function(jit_compile=True)``. True and False force it.

    Raises
    ------
    ValueError
        With a sentence that names the value and the remedy.

    Examples
    --------
    >>> import tensorflow as tf
    >>> solver = Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=(1.0,))
    >>> solver.minimize().x.round(6)
    array([1., 1.])
    >>> solver.minimize([5.0, 5.0], args=(3.0,)).x.round(6)
    array([3., 3.])
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        x0: Any,
        args: Any = (),
        method: Any = "L-BFGS-B",
        *,
        bounds: Any = None,
        constraints: Any = (),
        jit_compile: bool | None = None,
    ) -> None:
        check_context()
        parameters = Parameters(x0)
        self._problem = Problem(parameters, method, bounds, constraints)
        self._problem.check_memory(parameters, None)
        self._x0 = None if parameters.variables else parameters.rebuild([v.copy() for v in parameters.start(x0)])
        self._args = args
        self._program = Program(fun, parameters, jit_compile)
        self.arguments = self._program.arguments(args)
        self._program.trace(self.arguments, self._problem.packed_constraints)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Minimizer holds a compiled function and cannot be copied or pickled: make a new one.")

    def minimize(
        self,
        x0: Any = None,
        args: Any = None,
        *,
        tol: float | None = None,
        callback: Callback | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> OptimizeResult:
        """Minimise from ``x0``.

        Parameters
        ----------
        x0 : optional
            The start, in the structure, shapes and dtypes of the constructor's, which is the default. Variables are
            always read: their present values are the start.
        args : tuple, optional
            Default: those of the constructor. Other shapes, dtypes or Python values trace once more.
        tol, callback, options : optional
            As in `tfminimize.minimize`.

        Returns
        -------
        tfminimize.OptimizeResult
            As `tfminimize.minimize` does. ``timing["trace"]`` is the time that this call traced: usually 0.
        """
        if self._program.parameters.variables:
            self._program.parameters.check_same_variables(x0)
        elif x0 is None:
            x0 = self._x0
        args = self._args if args is None else args
        return solve(self._program, self._problem, x0, args, tol=tol, callback=callback, options=options)

    def minimize_batch(
        self,
        x0s: Any = None,
        args: Any = None,
        batched_args: Any = (),
        num_threads: int | None = None,
        *,
        tol: float | None = None,
        options: Mapping[str, Any] | None = None,
        progress: bool = False,
    ) -> BatchResult:
        """Minimise B independent problems, which differ in their start, in some arguments, or in both.

        A pool of threads solves them, each with a solver of its own; all share the compiled function. The results do
        not depend on the number of threads. They are those of `minimize` for one problem after the other, except that
        XLA may round differently where `minimize` lets it compute a large function in several threads.

        Parameters
        ----------
        x0s : optional
            The starts, in the structure of the constructor's x0, every leaf an array with a leading dimension of B; or
            one start of the shapes of x0 that all problems share. Default: the start of the constructor; for variables
            their present values.
        args : tuple, optional
            The arguments that all problems share. Default: those of the constructor without the last
            ``len(batched_args)``, in whose place the batched ones are.
        batched_args : tuple, optional
            Arrays, tensors or nested structures of them, with a leading dimension of B. ``fun`` is called as
            ``fun(x, *args, *slices)``, for variables as ``fun(*args, *slices)``.
        num_threads : int, optional
            Default: as many as `tfminimize.get_num_threads` says, at first all cores.
        tol, options : optional
            As in `tfminimize.minimize`. Bounds and constraints are the same for all problems.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        tfminimize.BatchResult
            ``fun``, ``nit``, ``nfev``, ``njev``, ``status``, ``success`` and ``constr_violation`` are arrays ``[B]``,
            ``message`` is a list of B, ``multipliers`` (of SLSQP) an array ``[B, m]``. ``x`` and ``jac`` have the
            structure of x0 with arrays ``[B, ...]`` in the place of its leaves; variables keep their values.
            ``errors`` is a dict from the index of a problem in which ``fun`` raised an exception to that exception:
            it keeps its start, has status -1, and NaN for its other results. ``timing`` has the seconds of ``trace``,
            ``compile``, of ``evaluate`` and ``solver``, summed over all threads, and the ``total`` that passed.

        Raises
        ------
        ValueError
            Before anything runs, with a sentence that names the value and the remedy.

        Examples
        --------
        >>> import tensorflow as tf
        >>> solver = Minimizer(lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=np.zeros(2))
        >>> batch = solver.minimize_batch(batched_args=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        >>> batch.x.round(6)
        array([[1., 2.],
               [3., 4.],
               [5., 6.]])
        >>> batch.success
        array([ True,  True,  True])
        """
        batched = BatchedArguments(batched_args)
        if args is None:
            args = batched.replace(self._args)
        if x0s is None:
            x0s = self._x0
        return solve_batch(self._program, self._problem, x0s, args, batched, num_threads, tol, options, progress)
