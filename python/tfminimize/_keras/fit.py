"""fit: fits a compiled Keras model to all of its data by a native solver."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfminimize._distribute.communicator import Communicator, check_communicator
from tfminimize._distribute.together import Together, together
from tfminimize._graph.optimizers import LBFGSB, NativeOptimizer
from tfminimize._keras import checks, private
from tfminimize._keras.callbacks import NOTHING, Epochs, divided
from tfminimize._keras.data import TrainingData, ValidationData, split, training_data
from tfminimize._keras.loss import dataset_loss
from tfminimize._keras.metrics import Measured
from tfminimize._keras.precision import REACHED, Precision
from tfminimize._keras.sharing import SharedModel, SharedStates
from tfminimize._problem.parameters import Parameters
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import STOPPED, OptimizeResult
from tfminimize._problem.state import State
from tfminimize._solve.program import Program
from tfminimize._solve.solve import solve
from tfminimize._tf.warning import warn
from tfminimize._trace.dataset_loss import split_data
from tfminimize._trace.user_function import JitCompile, check_context

__all__ = ["fit"]

_LINE_SEARCH_FAILED = ("ABNORMAL: ", "Desired error not necessarily achieved due to precision loss.")
"""SciPy's messages for a line search that finds no lower loss, though the gradient may be right: L-BFGS-B's and BFGS's.
"""

_FUNCTION_CONVERGED = "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"
"""SciPy's message for an iteration that has lowered the loss by too little."""

_LIMITS = (1, 9, STOPPED)
"""The status of a solve that a limit or a callback has ended, by any method."""


def fit(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    *,
    batch_size: int | None = None,
    epochs: int = 100,
    optimizer: NativeOptimizer | None = None,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    validation_freq: Any = 1,
    validation_batch_size: int | None = None,
    validation_steps: int | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    initial_epoch: int = 0,
    jit_compile: JitCompile = None,
    state: State | None = None,
    communicator: Communicator | None = None,
) -> keras.callbacks.History:
    """Fit a compiled Keras model to all of its data at once, by L-BFGS-B, SLSQP or BFGS.

    An epoch is an iteration of the solver, with a line search instead of a learning rate. The loss is that of all rows,
    added up batch by batch: the compiled losses with their weights, regularisers, and what layers add. Arguments mean
    what they mean in `keras.Model.fit`, unless it is said here.

    Parameters
    ----------
    model : keras.Model
        Compiled with a loss, and with any optimizer.
    x, y : arrays, tensors, structures of them; or x a tf.data.Dataset or keras.utils.PyDataset
        A data set is finite and yields batches. It is read anew in each evaluation.
    batch_size : int, optional
        How many rows are evaluated at once, which decides how much memory a fit takes, but not what it finds. Default:
        all rows; machine code takes them in blocks, see `DatasetLoss`. A data set has batches of its own.
    epochs : int
        The most iterations. The fit ends earlier when the solver has converged.
    optimizer : tfminimize.LBFGSB, tfminimize.SLSQP or tfminimize.BFGS, optional
        Default: the model's optimizer if it is one of these, else ``LBFGSB()``.
    callbacks : optional
        Of Keras, and `tfminimize.Checkpoint`. In ``on_epoch_end`` the weights are those of the iterate. To Keras, an
        epoch has one batch. Callbacks that set the learning rate are refused.
    verbose, validation_split, validation_data, validation_freq, validation_batch_size, validation_steps : optional
        As in Keras.
    sample_weight, class_weight, initial_epoch : optional
        As in Keras.
    jit_compile : bool or "auto", optional
        Whether XLA compiles the model. "auto" times both and goes on with the faster one, as in `tfminimize.minimize`;
        two fits may then differ in the last bits. Default: True if ``model.compile`` got that, else "auto". A
        `tfminimize.keras.Model` or ``Sequential`` also remembers False; Keras's own models do not tell it from their
        default. False if `tf.config.experimental.enable_op_determinism` was called.
    state : State, optional
        Go on from here, with the same bits as a fit that was not interrupted, unless ``jit_compile`` is "auto":
        ``history.result.state`` of another fit, or what a `tfminimize.Checkpoint` has saved. The present weights do not
        matter then. Epochs go on from ``initial_epoch`` plus the iterations of the state.
    communicator : Communicator, optional
        All processes that it connects fit the model together, each with its share of the data and of the validation
        data; see `tfminimize.distribute`. Loss and metrics are those of all rows. The fit begins with the weights of
        process 0, and ends with the same weights in all. Only process 0 shows the progress, and only there run
        callbacks that write files: Keras's, `tfminimize.Checkpoint`, and those with an attribute ``writes_files``.

    Returns
    -------
    keras.callbacks.History
        Its ``history`` has the loss, the metrics and ``val_...`` of each epoch, all at the iterate where it ends;
        ``result`` is the `tfminimize.OptimizeResult`.

    Raises
    ------
    ValueError
        Before anything runs, with a sentence that names the value and the remedy: also if the loss is not a function of
        the weights, because layers draw random numbers, or normalise by the statistics of one of several batches.
    Exception
        Any exception of the model or of a callback, unchanged. The weights are then those from before the fit.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse", metrics=["mae"])
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> history = tfm.keras.fit(model, X, X @ [1.0, 2.0] + 3.0, verbose=0)
    >>> history.result.success, model.layers[0].bias.numpy().round(3)
    (True, array([3.], dtype=float32))
    """
    check_context()
    check_communicator(communicator)
    with together(communicator, more=True) as peers:
        checks.check_model(model)
        optimizer = _optimizer(model, optimizer)
        _check_epochs(epochs, initial_epoch)
        if state is not None and not isinstance(state, State):
            raise ValueError(f"state is a {type(state).__name__}: give history.result.state, or tfm.State.load(path).")
        is_first = communicator is None or communicator.rank == 0
        keras_callbacks, others = divided(callbacks, may_write=is_first)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split(x, y, sample_weight, validation_split)
        data = training_data(x, y, sample_weight, class_weight, batch_size, communicator)
        validation = None
        if validation_data is not None:
            validation = ValidationData.of(validation_data, validation_batch_size or batch_size, validation_steps)
            private.should_validate(model, 0, validation_freq)  # raises an error if it cannot be understood
        solver = _Solver(model, data, optimizer, jit_compile, peers)
        verbose = verbose if is_first else 0
        if not isinstance(keras_callbacks, keras.callbacks.CallbackList):
            keras_callbacks = keras.callbacks.CallbackList(
                keras_callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                verbose=verbose,
                epochs=epochs,
                steps=1,
                model=model,
            )
        with _unchanged_after_an_error(model):
            model.stop_training = False
            private.take_initial_epoch(model)
            keras_callbacks.on_train_begin()
            first = initial_epoch if state is not None else private.take_initial_epoch(model) or initial_epoch
            precision = Precision(solver.precision, state)
            shared, states = None, None
            if peers is not None:
                after = "no" if validation is None else f"after {validation_freq}"
                shared = SharedModel(peers, model, precision, (initial_epoch, epochs, _completed(state)), after)
                first = shared.begin(first)
                states = None if validation is None else SharedStates(model.metrics_variables)
            run = Epochs(
                model,
                keras_callbacks,
                others,
                epoch=first + _completed(state),
                last=epochs,
                measure=solver.measured.take,
                is_last=precision.has_settled,
                validation=validation,
                validation_freq=validation_freq,
                shared=states,
            )
            if peers is not None and states is not None:
                peers.share_after_iterations(states.added, run.finish)
            result = solver.solve(run, max(0, epochs - first), state, precision)
            if verbose and result.success:
                private.print_message(f"Epoch {run.epoch}: {result.message}")
            keras_callbacks.on_train_end(run.logs)
            if shared is not None:
                shared.end()
    history = model.history
    history.result = result
    return history


class _Solver:
    """The loss of a model over its data, compiled, and the solver for it."""

    def __init__(
        self,
        model: keras.Model,
        data: TrainingData,
        optimizer: NativeOptimizer,
        jit_compile: JitCompile,
        peers: Together | None,
    ) -> None:
        self._peers = peers
        checks.build(model, data)
        checks.check_weights(model)
        self.measured = Measured(model)
        loss = dataset_loss(model, self.measured, data)
        checks.check_is_function(model, self.measured, data, loss.without_data.reduction)
        parameters = Parameters(model.trainable_variables, "the trainable weights", may_be_unused=True)
        self._about_precision = checks.about_half_precision(model)
        self._options = optimizer.options
        self._problem = Problem(parameters, optimizer.method, optimizer.bounds, optimizer.constraints)
        self._problem.check_memory(parameters, self._problem.options(self._options, None))
        fun, self._args = split_data(loss, ())
        self._program = Program(fun, parameters, private.jit_compile(model) if jit_compile is None else jit_compile)
        trace = self._program.trace(self._program.arguments(self._args), self._problem.packed_constraints)
        self.measured.trace(parameters)
        self.precision = float(np.finfo(trace.dtype).eps)

    def solve(self, run: Epochs, maxiter: int, state: State | None, precision: Precision) -> OptimizeResult:
        """Solve, and tell the callbacks."""
        done = 0 if state is None else state.nit
        if precision.is_reached:
            maxiter = done
        result = solve(
            self._program,
            self._problem,
            None,
            self._args,
            tol=None,
            callback=run,
            options={**self._options, "maxiter": maxiter},
            state=state,
            history=True,
            peers=self._peers,
        )
        result.pop("sums", None)
        if state is not None and run.logs is None and self.measured.statistics:
            self._evaluate(result.x)
        if result.nit == 0 and not np.isfinite(result.fun):
            run.report_start(float(result.fun))
        if (
            precision.is_reached
            or (result.message == _FUNCTION_CONVERGED and precision.explains_convergence())
            or (result.message in _LINE_SEARCH_FAILED and self._is_flat(result, precision))
        ):
            result.update(status=0, success=True, message=REACHED)
        elif result.status == STOPPED:
            result.message = f"STOP: stop_training or a callback ended the fit after epoch {run.epoch}."
        elif not result.success and result.status not in _LIMITS:
            warn(f"The fit ended without success: {result.message}{self._about_precision}", RuntimeWarning)
        return result

    def _evaluate(self, x: Any) -> tuple[float, Any]:
        """The loss and the gradient at x. Moving statistics become those there."""
        if self._peers is not None:
            return self._evaluate_together(x)
        parameters = self._program.parameters
        lease = self._program.lease(self._program.arguments(self._args), self._problem.packed_constraints)
        try:
            lease.workspace.start([x[s.flat].reshape(s.shape).astype(s.dtype) for s in parameters.layout.segments])
            fun = lease.workspace.evaluate()
            self.measured.take(x, lease.workspace.sums)
            return fun, parameters.report(lease.workspace.gradient)
        finally:
            lease.release()

    def _evaluate_together(self, x: Any) -> tuple[float, Any]:
        """The same in many processes: a solve without an iteration."""
        parameters = self._program.parameters
        values = [x[s.flat].reshape(s.shape).astype(s.dtype) for s in parameters.layout.segments]
        result = solve(
            self._program,
            Problem(parameters, LBFGSB.method, None, ()),
            None,
            self._args,
            tol=None,
            callback=None,
            options={"maxiter": 0},
            values=values,
            peers=self._peers,
        )
        self.measured.take(x, result.get("sums", NOTHING))
        return float(result.fun), result.jac

    def _is_flat(self, result: OptimizeResult, precision: Precision) -> bool:
        """Whether the gradient at the end promises no lower loss that can be told apart."""
        gradient, x = result.jac, result.x
        if (packed := self._problem.packed_bounds)[0] is not None:
            low, high = map(self._program.parameters.layout.flatten, packed)
            gradient = np.where((gradient > 0) & (x <= low) | (gradient < 0) & (x >= high), 0.0, gradient)
        is_flat = precision.is_flat(float(result.fun), gradient, x, self._evaluate)
        self._evaluate(x)
        return is_flat


@contextlib.contextmanager
def _unchanged_after_an_error(model: keras.Model) -> Iterator[None]:
    """Give the model its weights back after an exception, also those that are not trained."""
    before = [(v, v.numpy()) for v in model.weights]
    try:
        yield
    except BaseException:
        for variable, value in before:
            variable.assign(value)
        raise


def _completed(state: State | None) -> int:
    """The completed iterations; SLSQP counts one that it has begun, too."""
    if state is None:
        return 0
    return len(state.history["fun"]) - 1 if state.history else state.nit


def _optimizer(model: keras.Model, optimizer: Any) -> NativeOptimizer:
    if optimizer is None:
        return model.optimizer if isinstance(model.optimizer, NativeOptimizer) else LBFGSB()
    if not isinstance(optimizer, NativeOptimizer):
        raise ValueError(
            f"optimizer is {optimizer!r}: give tfminimize.LBFGSB(...), tfminimize.SLSQP(...) or tfminimize.BFGS(...). "
            "For an optimizer of Keras compile the model with it, and call model.fit."
        )
    return optimizer


def _check_epochs(epochs: Any, initial_epoch: Any) -> None:
    for name, value in (("epochs", epochs), ("initial_epoch", initial_epoch)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
            raise ValueError(f"{name} is {value!r}: give a number of iterations, an integer of 0 or greater.")
