"""`minimize` with the interface of `tfp.math.minimize`: runs steps of an optimizer and returns a trace of them."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize._graph import operation
from tfminimize._graph.call import Solve
from tfminimize._graph.functions import TraceFunction
from tfminimize._graph.optimizers import NativeOptimizer
from tfminimize._problem.parameters import Parameters, as_variable
from tfminimize._trace.checks import check_connected, dense, scalar
from tfminimize._trace.user_function import check_jit, inside_trace, takes

__all__ = ["MinimizeTraceableQuantities", "minimize"]


class MinimizeTraceableQuantities(NamedTuple):
    """One step of an optimizer, as a trace function sees it.

    Attributes
    ----------
    step : tf.Tensor
        int32 scalar, from 0.
    loss : tf.Tensor
        The loss before this step, or after it for a native solver.
    gradients : list of tf.Tensor
        The gradients at the same point, one for each parameter, dense; zeros if the loss does not depend on one.
    parameters : list of tf.Tensor
        The values of the variables after this step, in the order of ``trainable_variables``.
    has_converged : tf.Tensor
        bool, in the shape of the loss: whether the convergence criterion is met. False without one.
    convergence_criterion_state : nested structure of tf.Tensor
        The state of the criterion; an empty tuple without one.
    """

    step: tf.Tensor
    loss: tf.Tensor
    gradients: list[tf.Tensor]
    parameters: list[tf.Tensor]
    has_converged: tf.Tensor
    convergence_criterion_state: Any


class _Step(NamedTuple):
    """Loss, gradients and parameters of one step of an optimizer."""

    loss: tf.Tensor
    gradients: list[tf.Tensor]
    parameters: list[tf.Tensor]


_Trace = Callable[[MinimizeTraceableQuantities], Any]


class _Convergence:
    """Decides when the steps end, by an optional criterion and a function that reduces its answers for a batch."""

    def __init__(self, criterion: Any, reduce: Callable[[tf.Tensor], Any]) -> None:
        methods = [getattr(criterion, name, None) for name in ("bootstrap", "one_step")]
        if criterion is not None and (inspect.isclass(criterion) or not all(map(callable, methods))):
            raise ValueError(
                f"convergence_criterion is {criterion!r}: give None, or an object with bootstrap and one_step such as "
                "tfp.optimizer.convergence_criteria.LossNotDecreasing(atol=0.01)."
            )
        if not callable(reduce):
            raise ValueError(
                f"batch_convergence_reduce_fn is {reduce!r}: give a function of has_converged, such as tf.reduce_all."
            )
        self._criterion = criterion
        self._reduce = reduce

    def start(self, step: _Step) -> tuple[tf.Tensor, Any]:
        """Return ``(has_converged, state)`` after the first step."""
        state = () if self._criterion is None else self._criterion.bootstrap(*step)
        return tf.zeros_like(step.loss, tf.bool), tf.nest.map_structure(tf.convert_to_tensor, state)

    def proceed(self, i: tf.Tensor, step: _Step, has_converged: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """Return ``(has_converged, state)`` after a later step ``i``."""
        if self._criterion is None:
            return has_converged, state
        has_converged, state = self._criterion.one_step(i, *step, state)
        return has_converged, state

    def ends(self, has_converged: tf.Tensor) -> tf.Tensor:
        """Return whether the steps end here."""
        ends = tf.convert_to_tensor(self._reduce(has_converged), tf.bool)
        if not ends.shape.is_compatible_with([]):
            raise ValueError(
                f"batch_convergence_reduce_fn returned a tensor of shape {ends.shape}: return a scalar, as "
                "tf.reduce_all does."
            )
        return tf.ensure_shape(ends, [])

    def zeros(self, step: _Step) -> tuple[tf.Tensor, Any]:
        """Return zeros in the shapes and dtypes that `start` returns; ``step`` is made of `tf.TensorSpec`."""
        concrete = tf.function(self.start, autograph=False).get_concrete_function(step)
        has_converged, state = tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), concrete.structured_outputs)
        return has_converged, state


def _trace_loss(traceable_quantities: MinimizeTraceableQuantities) -> tf.Tensor:
    """Return the loss: the default trace."""
    return traceable_quantities.loss


def minimize(
    loss_fn: Callable[[], Any],
    num_steps: int,
    optimizer: Any,
    convergence_criterion: Any = None,
    batch_convergence_reduce_fn: Callable[[tf.Tensor], Any] = tf.reduce_all,
    trainable_variables: Any = None,
    trace_fn: Callable[..., Any] = _trace_loss,
    return_full_length_trace: bool = True,
    jit_compile: bool | None = None,
    name: str = "minimize",
) -> Any:
    """Minimise a loss that reads variables by a number of steps of an optimizer.

    The interface is that of `tfp.math.minimize`. All steps are one TensorFlow function. In eager mode it runs at once;
    in a `tf.function` or a graph of TensorFlow 1 it becomes part of the graph and runs when its trace is needed.

    Parameters
    ----------
    loss_fn : callable
        ``loss_fn()`` returns the loss, a tensor of floats: a scalar, or a batch of losses to minimise the sum of. It is
        a Python function or a `tf.function`.
    num_steps : int
        The number of steps, 1 or more.
    optimizer : LBFGSB, SLSQP, BFGS or object with apply_gradients
        `tfminimize.LBFGSB`, `tfminimize.SLSQP` and `tfminimize.BFGS` are the native solvers, which take an iteration
        for a step. Any other object needs ``apply_gradients(grads_and_vars)``: an optimizer of Keras or of
        `tf.compat.v1.train`, or your own. TensorFlow traces it, like all functions given here.
    convergence_criterion : optional
        Ends the steps early: one of `tfp.optimizer.convergence_criteria` or any object with
        ``bootstrap(loss, grads, parameters)``, which returns its state after the first step, and
        ``one_step(step, loss, grads, parameters, state)``, which returns ``(has_converged, state)`` after a later one.
    batch_convergence_reduce_fn : callable, default tf.reduce_all
        Reduces ``has_converged``, in the shape of the loss, to a scalar that ends the steps if it is true.
    trainable_variables : variables, optional
        A list of `tf.Variable` or Keras variables. Default: all trainable variables that the loss reads, in the order
        of their creation.
    trace_fn : callable, optional
        ``trace_fn(traceable_quantities)`` gets a `MinimizeTraceableQuantities` and returns the tensors to trace, in any
        structure. Variables that it reads have their values after the step. A function that needs three arguments gets
        ``(loss, gradients, parameters)``, as in older versions of TensorFlow Probability. Default: the loss.
    return_full_length_trace : bool, default True
        Whether to repeat the last element of the trace up to ``num_steps`` if the steps end early.
    jit_compile : bool, optional
        True compiles all steps with XLA as one program, or each function of a native solver. None leaves the
        ``jit_compile`` of ``loss_fn`` as it is, False turns it off.
    name : str, default "minimize"
        The name scope of the operations.

    Returns
    -------
    tf.Tensor or nested structure of them
        The tensors of ``trace_fn``, each with a leading dimension of ``num_steps``.

    Raises
    ------
    ValueError
        Before anything runs, with a sentence that names the value and the remedy.

    Notes
    -----
    A native solver also ends the steps when it has converged. Its trace shows the iterates with their loss and
    gradients, and the traced tensors need static shapes. (It calls a criterion's ``bootstrap`` at the start, before the
    first step.) It optimises float32 and float64 variables and a scalar loss. No Python runs between evaluations.

    Unlike `tfp.math.minimize`, gradients and parameters come in the order of ``trainable_variables``; a variable that
    the loss does not depend on has a zero gradient and keeps its value, with a warning; ``trace_fn`` and the criterion
    are traced in eager mode too, which makes the steps many times faster. To let them see values, for an optimizer with
    ``apply_gradients``, set `tf.config.run_functions_eagerly(True)`.

    Examples
    --------
    >>> import tensorflow as tf
    >>> x = tf.Variable(0.0)
    >>> losses = minimize(
    ...     lambda: (x - 5.0) ** 2, num_steps=100, optimizer=tf.keras.optimizers.SGD(0.1)
    ... )
    >>> losses.shape, round(float(losses[0])), round(float(x), 4)
    (TensorShape([100]), 25, 5.0)

    >>> trace = minimize(
    ...     lambda: (x - 7.0) ** 2,
    ...     num_steps=3,
    ...     optimizer=tf.keras.optimizers.SGD(0.25),
    ...     trace_fn=lambda loss, grads, variables: {"gradient": grads[0], "x": x},
    ... )
    >>> [t.numpy().round(3).tolist() for t in (trace["gradient"], trace["x"])]
    [[-4.0, -2.0, -1.0], [6.0, 6.5, 6.75]]
    """
    if not callable(loss_fn):
        raise ValueError(f"loss_fn is {loss_fn!r}: give a function without arguments that returns the loss.")
    check_jit(jit_compile, "the steps are compiled once, as a part of a graph")
    steps = _number_of_steps(num_steps)
    trace = _trace_function(trace_fn)
    variables = None if trainable_variables is None else _checked(trainable_variables)
    _check_optimizer(optimizer)
    convergence = _Convergence(convergence_criterion, batch_convergence_reduce_fn)
    is_native = isinstance(optimizer, NativeOptimizer)

    def run() -> Any:
        with tf.name_scope(name):
            if is_native:
                return _iterations(
                    loss_fn,
                    steps,
                    optimizer,
                    convergence,
                    variables,
                    trace,
                    full_length=return_full_length_trace,
                    jit_compile=jit_compile,
                )
            step = _gradient_step(inside_trace(loss_fn, jit_compile is not False), optimizer, variables)
            return _steps(step, steps, convergence, trace, return_full_length_trace)

    with tf.name_scope(name):  # a native solver is an operation between the parts that XLA compiles
        steps_taken = tf.function(run, autograph=False, jit_compile=(jit_compile and not is_native) or None)
        if tf.executing_eagerly() and not tf.config.functions_run_eagerly():
            # Calling the tf.function itself would warn that each call retraces.
            return steps_taken.get_concrete_function()()
        return steps_taken()


def _gradient_step(
    loss_fn: Callable[[], Any], optimizer: Any, trainable_variables: Sequence[Any] | None
) -> Callable[[], _Step]:
    """Return a step of an optimizer that takes gradients; it is traced only once."""

    def step() -> _Step:
        with tf.GradientTape(watch_accessed_variables=trainable_variables is None) as tape:
            tape.watch([as_variable(v) for v in trainable_variables or ()])
            loss = _floats(loss_fn())
        variables = tape.watched_variables() if trainable_variables is None else trainable_variables
        values: list[Any] = [as_variable(v) for v in variables]
        gradients = tape.gradient(loss, values)
        names = [f"variable '{v.name}'" for v in values]
        check_connected(gradients, names)
        shown = [dense(*of_one) for of_one in zip(gradients, values, names, strict=True)]
        optimizer.apply_gradients([(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None])
        return _Step(loss, shown, [v.read_value() for v in values])

    traced: Callable[[], _Step] = tf.function(step, autograph=False)
    return traced


def _steps(
    take_step: Callable[[], _Step], num_steps: int, convergence: _Convergence, trace: _Trace, full_length: bool
) -> Any:
    """Take steps until there are enough or they have converged, and return their trace."""
    # The first step is taken before the loop: it shows the structure of the criterion's state and of the trace.
    step = take_step()
    has_converged, state = convergence.start(step)
    first = _traced(trace, tf.constant(0), step, has_converged, state)
    arrays = [
        tf.TensorArray(t.dtype, num_steps, element_shape=t.shape, clear_after_read=False).write(0, t)
        for t in tf.nest.flatten(first)
    ]

    def unfinished(i: tf.Tensor, has_converged: tf.Tensor, *_: Any) -> tf.Tensor:
        return (i < num_steps) & ~convergence.ends(has_converged)

    def take_next(i: tf.Tensor, has_converged: tf.Tensor, state: Any, arrays: list[tf.TensorArray]) -> Any:
        step = take_step()
        has_converged, state = convergence.proceed(i, step, has_converged, state)
        values = tf.nest.flatten(_traced(trace, i, step, has_converged, state))
        return i + 1, has_converged, state, [a.write(i, t) for a, t in zip(arrays, values, strict=True)]

    taken, _, _, arrays = tf.while_loop(unfinished, take_next, (tf.constant(1), has_converged, state, arrays))
    indices = tf.minimum(tf.range(num_steps), taken - 1)  # repeats the last step
    values = [a.gather(indices) for a in arrays]
    return tf.nest.pack_sequence_as(first, values if full_length else [t[:taken] for t in values])


def _iterations(
    loss_fn: Callable[[], Any],
    num_steps: int,
    optimizer: NativeOptimizer,
    convergence: _Convergence,
    trainable_variables: Sequence[Any] | None,
    trace: _Trace,
    *,
    full_length: bool,
    jit_compile: bool | None,
) -> Any:
    """Run a native solver, one operation that calls the trace function, and return the trace of its iterations."""
    loss_spec, variables = _look(inside_trace(loss_fn, jit_compile is not False), trainable_variables)
    values: list[Any] = [as_variable(v) for v in variables]
    structure: Any = None

    def call(_: Any, loss: tf.Tensor, gradients: list[tf.Tensor], state: list[tf.Tensor]) -> Any:
        nonlocal structure
        i, has_converged, kept = tf.nest.pack_sequence_as(initial, state)
        step = _Step(tf.cast(loss, loss_spec.dtype), gradients, [v.read_value() for v in values])
        has_converged, kept = tf.cond(
            tf.equal(i, 0),
            lambda: convergence.start(step),
            lambda: convergence.proceed(i, step, has_converged, kept),
        )
        structure = _traced(trace, tf.maximum(i - 1, 0), step, has_converged, kept)
        _check_static(structure)
        return (
            convergence.ends(has_converged),
            tf.nest.flatten((i + 1, has_converged, kept)),
            tf.nest.flatten(structure),
        )

    specs = [tf.TensorSpec(v.shape, v.dtype) for v in values]
    initial = (tf.constant(0), *convergence.zeros(_Step(loss_spec, specs, specs)))
    result, rows = operation.traced_minimize(
        Solve(
            loss_fn,
            Parameters(variables, "trainable_variables"),
            method=optimizer.method,
            bounds=optimizer.bounds,
            constraints=optimizer.constraints,
            options={**optimizer.options, "maxiter": num_steps},
            jit_compile=jit_compile,
            trace=TraceFunction(call, tf.nest.flatten(initial), at_start=True),
            name="solver",
        )
    )
    # Row 0 is the start. It stands for a step only if the solver found none.
    taken = tf.size(result.history["fun"]) - 1
    indices = tf.minimum(tf.range(num_steps if full_length else tf.maximum(taken, 1)) + 1, taken)
    return tf.nest.pack_sequence_as(structure, [tf.gather(t, indices) for t in rows])


def _look(loss_fn: Callable[[], Any], trainable_variables: Sequence[Any] | None) -> tuple[tf.TensorSpec, Sequence[Any]]:
    """Return the spec of the loss, and the variables: those given, or all that it reads."""
    found: Sequence[Any] = ()

    def loss() -> tf.Tensor:
        nonlocal found
        with tf.GradientTape() as tape:
            loss = scalar(_floats(loss_fn()))
        found = tape.watched_variables()
        return loss

    (output,) = tf.function(loss, autograph=False).get_concrete_function().outputs
    variables = found if trainable_variables is None else trainable_variables
    if not variables:
        check_connected([], [])
    return tf.TensorSpec([], output.dtype), variables


def _traced(trace: _Trace, i: tf.Tensor, step: _Step, has_converged: tf.Tensor, state: Any) -> Any:
    quantities = MinimizeTraceableQuantities(i, *step, has_converged, state)
    traced = trace(quantities)
    if any(leaf is None for leaf in tf.nest.flatten(traced)):
        raise ValueError(f"trace_fn returned {traced!r}: return tensors, in any structure; (), to trace nothing.")
    return tf.nest.map_structure(tf.convert_to_tensor, traced)


def _check_static(traced: Any) -> None:
    """Raise ValueError if a shape is not static: a native solver cannot trace it."""
    for tensor in tf.nest.flatten(traced):
        if not tensor.shape.is_fully_defined():
            raise ValueError(
                f"trace_fn returned a tensor of shape {tensor.shape}, which is not static: a native solver traces "
                "tensors of one shape; fix it by tf.ensure_shape."
            )


def _floats(loss: Any) -> tf.Tensor:
    """Return the loss as a tensor of floats, of any shape."""
    if loss is None:
        raise ValueError("loss_fn returned None: return the loss, a tensor of floats.")
    try:
        loss = tf.convert_to_tensor(loss)
    except (TypeError, ValueError) as error:
        raise ValueError(f"loss_fn returned {loss!r}, which is not a tensor: return only the loss.") from error
    if not loss.dtype.is_floating:
        raise ValueError(f"the loss has dtype {loss.dtype.name}: return a tensor of floats.")
    return loss


def _number_of_steps(num_steps: Any) -> int:
    value = tf.get_static_value(num_steps) if isinstance(num_steps, tf.Tensor) else num_steps
    if value is None:
        raise ValueError(
            f"num_steps is the symbolic tensor {num_steps.name}: give a Python integer, which sets the length of the "
            "trace."
        )
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"num_steps is {value!r}: give an integer, 1 or greater.")
    return int(value)


def _checked(trainable_variables: Any) -> list[Any]:
    """Return the variables, of TensorFlow or Keras, as a flat list."""
    variables: list[Any] = tf.nest.flatten(trainable_variables)
    if not variables:
        raise ValueError(
            "trainable_variables is empty: give at least one variable, or None for all that loss_fn reads."
        )
    seen: set[Any] = set()
    for i, value in enumerate(variables):
        variable = as_variable(value)
        if variable is None:
            raise ValueError(
                f"trainable_variables holds {value!r} (leaf {i}), which is not a variable: give only variables."
            )
        if variable.ref() in seen:
            raise ValueError(f"variable '{variable.name}' is in trainable_variables twice: give each variable once.")
        seen.add(variable.ref())
    return variables


def _check_optimizer(optimizer: Any) -> None:
    remedy = (
        "give tfminimize.LBFGSB(), tfminimize.SLSQP(), tfminimize.BFGS(), or an object with "
        "apply_gradients(grads_and_vars) such as tf.keras.optimizers.Adam(0.1)"
    )
    if inspect.isclass(optimizer):
        raise ValueError(f"optimizer is the class {optimizer.__name__}: {remedy}.")
    if not isinstance(optimizer, NativeOptimizer) and not callable(getattr(optimizer, "apply_gradients", None)):
        raise ValueError(f"optimizer is {optimizer!r}: {remedy}.")


def _trace_function(trace_fn: Callable[..., Any]) -> _Trace:
    """Return the trace function as a function of one argument, the traceable quantities."""
    if not callable(trace_fn):
        raise ValueError(f"trace_fn is {trace_fn!r}: give a function of the traceable quantities.")
    try:
        signature = inspect.signature(trace_fn)
    except (TypeError, ValueError):  # a builtin without a signature
        return trace_fn
    if takes(signature, 1):
        return trace_fn
    if takes(signature, 3):
        return lambda quantities: trace_fn(quantities.loss, quantities.gradients, quantities.parameters)
    raise ValueError(
        f"trace_fn has the arguments {signature}: give a function of one argument, the traceable quantities, or of "
        "three, (loss, grads, variables)."
    )
