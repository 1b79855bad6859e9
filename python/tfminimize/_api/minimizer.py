"""Minimizer: compiles a function once and minimises it many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

import numpy as np

from tfminimize._distribute.together import together
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import BatchResult, OptimizeResult
from tfminimize._problem.state import State
from tfminimize._solve.batch import solve_batch
from tfminimize._solve.batched_arguments import BatchedArguments
from tfminimize._solve.program import Program
from tfminimize._solve.solve import solve
from tfminimize._trace.dataset_loss import DatasetLoss, check_alone, communicator_of, split_data
from tfminimize._trace.user_function import JitCompile, check_context

__all__ = ["Minimizer"]

Callback = Callable[..., Any]


class Minimizer:
    """Compiles a function once and minimises it many times.

    Several threads may call `minimize` at once: each solve has its own memory. (After two solves for the same
    variables, the variables hold the result of the one that ended last.)

    Parameters
    ----------
    fun : callable
        The loss: ``fun(x, *args)`` in functional use, ``fun(*args)`` if ``x0`` is made of variables. A Python function
        or a `tf.function`; it is traced, so Python values that it reads keep their values of then.
    x0 : array, number, tensor or nested structure of them; or variable(s)
        Gives the structure, shapes and dtypes, and the default start.
    args : tuple, optional
        Further arguments of ``fun``, which `minimize` may replace. Arrays, tensors and floats of the same shapes and
        dtypes do not retrace; see `tfminimize.minimize`.
    method : str or callable, default "L-BFGS-B"
        L-BFGS-B, SLSQP and BFGS are native. Any other runs in SciPy, on the compiled function.
    bounds, constraints : optional
        As in `tfminimize.minimize`. A solve may replace both. Arrays among the ``args`` of constraints are copied.
    jit_compile : bool or "auto", optional
        As in `tfminimize.minimize`. With "auto", what one solve has found out serves the next ones.
    vectorized : bool, default False
        Whether ``fun`` takes many problems at once, for `minimize_batch` alone; see there. ``x0`` and ``args`` are
        those of one problem all the same. The first batch traces the function, since it says what is batched.

    Raises
    ------
    ValueError
        With a sentence that names the value and the remedy.

    Examples
    --------
    >>> import tensorflow as tf
    >>> solver = Minimizer(
    ...     lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=(1.0,)
    ... )
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
        jit_compile: JitCompile = None,
        vectorized: bool = False,
    ) -> None:
        check_context()
        parameters = Parameters(x0)
        self._problem = Problem(parameters, method, bounds, constraints)
        self._problem.check_memory(parameters, None)
        self._x0 = None if parameters.variables else parameters.rebuild([v.copy() for v in parameters.start(x0)])
        self._loss = fun if isinstance(fun, DatasetLoss) else None
        self._args = args
        fun, args = split_data(fun, args)
        self._program = Program(fun, parameters, jit_compile)
        self.arguments = self._program.arguments(args)
        if self._problem.packed_constraints is not None:
            self._problem.packed_constraints.keep_data()
        self._vectorized = bool(vectorized)
        self._is_auto = isinstance(jit_compile, str)
        if vectorized:
            self._check_vectorized()
        else:
            self._program.trace(self.arguments, self._problem.packed_constraints)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Minimizer holds a compiled function and cannot be copied or pickled: make a new one.")

    def minimize(
        self,
        x0: Any = None,
        args: Any = None,
        *,
        data: Any = None,
        bounds: Any = None,
        constraints: Any = None,
        tol: float | None = None,
        callback: Callback | None = None,
        options: Mapping[str, Any] | None = None,
        history: bool | Literal["x"] = False,
        state: State | None = None,
        warm_start: State | OptimizeResult | None = None,
        assign_each_iteration: bool = False,
        progress: bool = False,
    ) -> OptimizeResult:
        """Minimise from ``x0``.

        Parameters
        ----------
        x0 : optional
            The start, in the structure, shapes and dtypes of the constructor's x0, which is the default. Variables
            always start from their present values.
        args : tuple, optional
            Default: those of the constructor. New shapes, dtypes or Python values retrace.
        data : optional
            Other data for a `DatasetLoss`; the same shapes and dtypes do not retrace.
        bounds : optional
            Other bounds for this solve, in the forms of the constructor's, which are the default. Nothing is traced or
            compiled anew.
        constraints : optional
            Other constraints for this solve, in the forms of the constructor's, which are the default. The same
            functions, with ``args`` of the same shapes and dtypes, are not traced anew; limits and A may differ too. A
            dict that differs in its args alone costs least.
        tol, callback, options, history, state, warm_start, assign_each_iteration, progress : optional
            As in `tfminimize.minimize`.

        Returns
        -------
        tfminimize.OptimizeResult
            As in `tfminimize.minimize`. ``timing["trace"]`` is the time that this call spent tracing: usually 0.
        """
        with together(communicator_of(self._loss)) as peers:
            if self._vectorized:
                raise ValueError(
                    "this Minimizer has vectorized=True, so its function takes many problems at once: call "
                    "minimize_batch, for one problem with an x0s whose leading dimension is 1."
                )
            if self._program.parameters.variables:
                self._program.parameters.check_same_variables(x0)
            elif x0 is None:
                x0 = self._x0
            args = self._with_data(self._args if args is None else args, data)
            return solve(
                self._program,
                self._problem_with(bounds, constraints),
                x0,
                args,
                tol=tol,
                callback=callback,
                options=options,
                state=state,
                warm_start=warm_start,
                history=history,
                assign_each_iteration=assign_each_iteration,
                progress=progress,
                peers=peers,
            )

    def minimize_batch(
        self,
        x0s: Any = None,
        args: Any = None,
        batched_args: Any = (),
        num_threads: int | None = None,
        *,
        vectorized: bool | None = None,
        tol: float | None = None,
        options: Mapping[str, Any] | None = None,
        progress: bool = False,
        history: bool = False,
        bounds: Any = None,
        constraints: Any = None,
        batched_constraints_args: Any = (),
        n_starts: int = 1,
        seed: int | np.random.Generator | None = None,
    ) -> BatchResult:
        """Minimise B independent problems that differ in their start, in some arguments, or in both.

        A pool of threads solves them, each with its own solver; all share the compiled function. The results do not
        depend on the number of threads. They equal those of `minimize` for each problem, except that XLA may round
        differently if `minimize` lets it compute a large function in several threads.

        Parameters
        ----------
        x0s : optional
            The starts, in the structure of the constructor's x0, each leaf with a leading dimension of B; or one start,
            in the shapes of x0, for all problems. Default: the constructor's x0, or the present values of variables.
        args : tuple, optional
            The arguments that all problems share. Default: those of the constructor without the last
            ``len(batched_args)``, which the batched ones replace.
        batched_args : tuple, optional
            Arrays, tensors or nested structures of them, with a leading dimension of B. ``fun`` is called as
            ``fun(x, *args, *slices)``, for variables as ``fun(*args, *slices)``.
        num_threads : int, optional
            Default: as many as `tfminimize.get_num_threads` says, at first all cores; 1 if vectorized.
        vectorized : bool, optional
            Whether ``fun`` takes all problems at once: ``x`` and the batched arguments with a leading dimension of any
            size B, the other arguments as they are; it returns the losses, ``[B]``. Constraint functions return ``[B,
            ...]``. Row b of a result may depend only on row b of x and of the batched arguments; nobody checks that.
            Then the solves go in step, and one call evaluates all that are still running, up to 1,024, or as many in
            each of ``num_threads`` groups. Results are those of one by one, to rounding. XLA compiles ``fun`` for a few
            sizes; see ``backend_reason``. An exception of ``fun`` belongs to all problems of the call. Default: that of
            the Minimizer. (If that is False, the constructor has traced ``fun`` for one problem, so use True
            here for a function that can do both, such as a sum over ``axis=-1``.)
        tol, options : optional
            As in `tfminimize.minimize`. ``maxtime`` limits the whole batch: a problem whose turn comes too late keeps
            its start and NaN, and has the status of the limit.
        history : bool
            Whether the result has ``history``, a sequence with a dict for each problem; see `tfminimize.minimize`.
            Seconds count from the start of the batch.
        progress : bool
            Whether to show a progress bar.
        bounds : optional
            Other bounds than the constructor's: for all problems, in the forms of these; or ``(low, high)`` or Bounds
            with arrays that broadcast to ``[B, n]``, a row for each problem with the n elements of x0 in order.
        constraints : optional
            Other constraints than the constructor's, for all problems, as in `minimize`.
        batched_constraints_args : sequence, optional
            What ``batched_args`` are for ``fun``, for the constraints: one item for each constraint, in their order, a
            tuple of arrays with a leading dimension of B, or None. They replace the last ``args`` of a constraint that
            is a dict. (For a single constraint that is in no list, its tuple alone.) Limits and A are the same for all
            problems; if they differ, let the function of a dict subtract a limit or multiply by a matrix from its args.
        n_starts : int
            Solve each problem from so many starts, and return the best solution: the lowest loss of those that
            converged, or of all if none did. The first is the given start, the others are drawn uniformly within the
            bounds; or give all of them, as ``x0s`` with two leading dimensions ``[B, n_starts, ...]``.
        seed : int or numpy.random.Generator, optional
            For the starts that are drawn.

        Returns
        -------
        tfminimize.BatchResult
            ``fun``, ``nit``, ``nfev``, ``njev``, ``status``, ``success`` and ``constr_violation`` are arrays ``[B]``,
            ``message`` is a list of B, ``multipliers`` (of SLSQP) an array ``[B, m]``. ``x`` and ``jac`` have the
            structure of x0, with leaves ``[B, ...]``; variables keep their values. If ``fun`` raised an exception in a
            problem, ``errors`` maps the problem's index to it; ``x`` is then the start, ``status`` -1, and all else
            NaN. With several starts, ``best_start`` ``[B]`` is the number of the start that has led to the solution,
            and ``nfev_total`` ``[B]`` counts the evaluations from all. ``timing`` has the seconds of ``trace`` and
            ``compile``, those of ``evaluate`` and ``solver`` summed over all threads, and the ``total`` that passed.

        Raises
        ------
        ValueError
            Before anything runs, with a sentence that names the value and the remedy.

        Examples
        --------
        >>> import tensorflow as tf
        >>> solver = Minimizer(
        ...     lambda x, a: tf.reduce_sum((x - a) ** 2), np.zeros(2), args=np.zeros(2)
        ... )
        >>> batch = solver.minimize_batch(
        ...     batched_args=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        ... )
        >>> batch.x.round(6)
        array([[1., 2.],
               [3., 4.],
               [5., 6.]])
        >>> batch.success
        array([ True,  True,  True])

        A function of many points at once:

        >>> def far(x, centers):  # [B, 2], [B, 2] -> [B]
        ...     return tf.reduce_sum((x - centers) ** 2, axis=-1)
        >>> solver = Minimizer(far, np.zeros(2), args=np.zeros(2), vectorized=True)
        >>> solver.minimize_batch(
        ...     batched_args=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        ... ).x.round(6)
        array([[1., 2.],
               [3., 4.],
               [5., 6.]])
        """
        check_alone(self._loss, "minimize_batch")
        if vectorized is None:
            vectorized = self._vectorized
        elif vectorized:
            self._check_vectorized()
        elif self._vectorized:
            raise ValueError(
                "vectorized is False, but the Minimizer was made with vectorized=True: leave it out, or make another "
                "Minimizer for a function of one problem."
            )
        batched = BatchedArguments(batched_args)
        if args is None:
            args = batched.replace(self._args)
        if x0s is None:
            x0s = self._x0
        return solve_batch(
            self._program,
            self._problem_with(None, constraints),
            x0s,
            self._with_data(args),
            batched,
            batched_constraints_args,
            vectorized=vectorized,
            num_threads=num_threads,
            tol=tol,
            options=options,
            progress=progress,
            history=history,
            bounds=bounds,
            n_starts=n_starts,
            seed=seed,
        )

    def _check_vectorized(self) -> None:
        """Raise ValueError unless the function can be vectorized."""
        if self._program.parameters.variables:
            raise ValueError(
                "vectorized=True is for a function of x, and x0 is made of variables, which hold one problem: write "
                "fun(x) and give an array."
            )
        if self._loss is not None:
            raise ValueError("vectorized=True is for a function of x, not for a DatasetLoss: give the function itself.")
        if self._is_auto:
            raise ValueError("jit_compile is 'auto', and vectorized=True cannot choose yet: give True, False or None.")

    def _problem_with(self, bounds: Any, constraints: Any) -> Problem:
        """The problem, with other bounds and constraints if they are given."""
        problem, parameters = self._problem, self._program.parameters
        if bounds is not None:
            problem = problem.with_bounds(bounds, parameters)
        return problem if constraints is None else problem.with_constraints(constraints, parameters)

    def _with_data(self, args: Any, data: Any = None) -> Any:
        """The arguments of the loss, after the data if it has them: its own, or others."""
        if self._loss is None:
            if data is not None:
                raise ValueError("data is given, but the loss is no DatasetLoss: pass the data in args.")
            return args
        return split_data(self._loss if data is None else self._loss.with_data(data), args)[1]
