"""`minimize` with the interface of `tfp.math.minimize`: some steps of an optimizer, and a trace of them."""

from __future__ import annotations

import inspect
import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfminimize.tracing import dense, inside_trace
from tfminimize.unknowns import as_variable

__all__ = ["MinimizeTraceableQuantities", "minimize"]


class MinimizeTraceableQuantities(NamedTuple):
    """What a trace function may look at: one step of an optimizer.

    Attributes
    ----------
    step : tf.Tensor
        int32 scalar, from 0.
    loss : tf.Tensor
        The loss at the parameters before this step.
    gradients : list of tf.Tensor
        Its gradients there, one for each parameter, dense; zeros where the loss does not depend on one.
    parameters : list of tf.Tensor
        The values of the variables after this step, in the order of ``trainable_variables``.
    has_converged : tf.Tensor
        bool, in the shape of the loss: what the convergence criterion says. False without one.
    convergence_criterion_state : nested structure of tf.Tensor
        What the criterion keeps from step to step; an empty tuple without one.
    """

    step: tf.Tensor
    loss: tf.Tensor
    gradients: list[tf.Tensor]
    parameters: list[tf.Tensor]
    has_converged: tf.Tensor
    convergence_criterion_state: Any


class Step(NamedTuple):
    """What one step of an optimizer has seen and done."""

    loss: tf.Tensor
    gradients: list[tf.Tensor]
    parameters: list[tf.Tensor]


def trace_loss(traceable_quantities: MinimizeTraceableQuantities) -> tf.Tensor:
    """The loss, which is what is traced by default."""
    return traceable_quantities.loss


def minimize(
    loss_fn: Callable[[], Any],
    num_steps: int,
    optimizer: Any,
    convergence_criterion: Any = None,
    batch_convergence_reduce_fn: Callable[[tf.Tensor], Any] = tf.reduce_all,
    trainable_variables: Any = None,
    trace_fn: Callable[..., Any] = trace_loss,
    return_full_length_trace: bool = True,
    jit_compile: bool | None = None,
    name: str = "minimize",
) -> Any:
    """Minimise a loss that reads variables, by some steps of an optimizer.

    The interface of `tfp.math.minimize`. All steps are one TensorFlow function: it runs at once where operations run
    eagerly, and is part of the graph inside of a `tf.function` or a graph of TensorFlow 1, where fetching what depends
    on the trace makes it run.

    Parameters
    ----------
    loss_fn : callable
        ``loss_fn()`` returns the loss, a tensor of floats. If it is no scalar, it is a batch of losses, whose sum is
        minimised. A Python function or a `tf.function`.
    num_steps : int
        How many steps, 1 or more.
    optimizer : object with apply_gradients
        Any object with ``apply_gradients(grads_and_vars)``: an optimizer of Keras or of `tf.compat.v1.train`, or one
        of your own. It is called while TensorFlow traces it, as are all functions given here.
    convergence_criterion : optional
        Ends the steps early; one of `tfp.optimizer.convergence_criteria` or any object with
        ``bootstrap(loss, grads, parameters)``, which returns its state after the first step, and
        ``one_step(step, loss, grads, parameters, state)``, which returns ``(has_converged, state)`` after a later one.
    batch_convergence_reduce_fn : callable, default tf.reduce_all
        Makes of ``has_converged``, in the shape of the loss, the scalar that ends the steps.
    trainable_variables : variables, optional
        A list of `tf.Variable` or Keras variables. None: all trainable variables that the loss reads, in the order in
        which they were made.
    trace_fn : callable, optional
        ``trace_fn(traceable_quantities)`` returns the tensors to trace, in any structure, from a
        `MinimizeTraceableQuantities` and from what else it reads: a variable has its value after the step. A function
        that has to have three arguments is called, as in older versions of TensorFlow Probability, with
        ``(loss, gradients, parameters)``. The default is the loss.
    return_full_length_trace : bool, default True
        Whether the trace has ``num_steps`` elements even if the steps end early: the last one is then repeated.
    jit_compile : bool, optional
        True compiles all steps with XLA as one program. None leaves each function what it is, False turns off the
        ``jit_compile`` of ``loss_fn`` itself.
    name : str, default "minimize"
        The scope of the operations.

    Returns
    -------
    tf.Tensor or nested structure of them
        What ``trace_fn`` returns, each tensor with a leading dimension of ``num_steps``.

    Raises
    ------
    ValueError
        Before anything runs, with a sentence that names the value and the remedy.

    Notes
    -----
    Against `tfp.math.minimize`, gradients and parameters come in the order of ``trainable_variables``; a variable that
    the loss does not depend on has a zero gradient and is left to keep its value, with a warning; ``trace_fn`` and the
    criterion are traced in eager mode too (`tf.config.run_functions_eagerly` runs all step by step), which makes
    the steps several times faster.

    Examples
    --------
    >>> import tensorflow as tf
    >>> x = tf.Variable(0.0)
    >>> losses = minimize(lambda: (x - 5.0) ** 2, num_steps=100, optimizer=tf.keras.optimizers.SGD(0.1))
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
    steps = _number_of_steps(num_steps)
    trace = _trace_function(trace_fn)
    variables = None if trainable_variables is None else _checked(trainable_variables)
    _check_optimizer(optimizer)
    loss_fn = inside_trace(loss_fn, jit_compile is not False)

    def run() -> Any:
        with tf.name_scope(name):
            step = _gradient_step(loss_fn, optimizer, variables)
            return _traced(
                step, steps, convergence_criterion, batch_convergence_reduce_fn, trace, return_full_length_trace
            )

    with tf.name_scope(name):
        return tf.function(run, autograph=False, jit_compile=jit_compile or None)()


def _gradient_step(
    loss_fn: Callable[[], Any], optimizer: Any, trainable_variables: Sequence[Any] | None
) -> Callable[[], Step]:
    """A step of an optimizer that takes gradients; traced once, however often it is called."""

    def step() -> Step:
        with tf.GradientTape(watch_accessed_variables=trainable_variables is None) as tape:
            tape.watch([as_variable(v) for v in trainable_variables or ()])
            loss = _floats(loss_fn())
        variables = tape.watched_variables() if trainable_variables is None else trainable_variables
        values = [as_variable(v) for v in variables]
        gradients = tape.gradient(loss, values)
        _check_dependence(gradients, values)
        optimizer.apply_gradients([(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None])
        gradients = [dense(g, v) for g, v in zip(gradients, values, strict=True)]
        return Step(loss, gradients, [v.read_value() for v in values])

    traced: Callable[[], Step] = tf.function(step, autograph=False)
    return traced


def _traced(
    take_step: Callable[[], Step],
    num_steps: int,
    criterion: Any,
    reduce: Callable[[tf.Tensor], Any],
    trace: Callable[[MinimizeTraceableQuantities], Any],
    full_length: bool,
) -> Any:
    """The trace of steps, until there are enough of them or they have converged."""

    def quantities(i: Any, step: Step, has_converged: tf.Tensor, state: Any) -> MinimizeTraceableQuantities:
        return MinimizeTraceableQuantities(i, *step, has_converged, state)

    def traced(*args: Any) -> Any:
        return tf.nest.map_structure(tf.convert_to_tensor, trace(quantities(*args)))

    # The first step is taken before the loop: it tells what the criterion keeps, and what the trace is made of.
    step = take_step()
    has_converged = tf.zeros_like(step.loss, tf.bool)
    state = () if criterion is None else criterion.bootstrap(*step)
    first = traced(tf.constant(0), step, has_converged, state)
    arrays = [
        tf.TensorArray(t.dtype, num_steps, element_shape=t.shape, clear_after_read=False).write(0, t)
        for t in tf.nest.flatten(first)
    ]

    def unfinished(i: tf.Tensor, has_converged: tf.Tensor, *_: Any) -> tf.Tensor:
        return (i < num_steps) & ~tf.convert_to_tensor(reduce(has_converged), tf.bool)

    def take_next(i: tf.Tensor, has_converged: tf.Tensor, state: Any, arrays: list[tf.TensorArray]) -> Any:
        step = take_step()
        if criterion is not None:
            has_converged, state = criterion.one_step(i, *step, state)
        values = tf.nest.flatten(traced(i, step, has_converged, state))
        return i + 1, has_converged, state, [a.write(i, t) for a, t in zip(arrays, values, strict=True)]

    taken, _, _, arrays = tf.while_loop(unfinished, take_next, (tf.constant(1), has_converged, state, arrays))
    indices = tf.minimum(tf.range(num_steps), taken - 1)  # the last of those that were taken is repeated
    values = [a.gather(indices) for a in arrays]
    return tf.nest.pack_sequence_as(first, values if full_length else [t[:taken] for t in values])


def _floats(loss: Any) -> tf.Tensor:
    """The loss as a tensor of floats, of any shape."""
    if loss is None:
        raise ValueError("loss_fn returned None: return the loss, a tensor of floats.")
    try:
        loss = tf.convert_to_tensor(loss)
    except (TypeError, ValueError) as error:
        raise ValueError(f"loss_fn returned {loss!r}, which is no tensor: return the loss only.") from error
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
    """The variables, of TensorFlow or of Keras, as a flat list."""
    variables = tf.nest.flatten(trainable_variables)
    if not variables:
        raise ValueError(
            "trainable_variables is empty: give at least one variable, or None for all that loss_fn reads."
        )
    seen: set[Any] = set()
    for i, value in enumerate(variables):
        variable = as_variable(value)
        if variable is None:
            raise ValueError(
                f"trainable_variables holds {value!r} (leaf {i}), which is no variable: give variables only."
            )
        if variable.ref() in seen:
            raise ValueError(f"variable '{variable.name}' is in trainable_variables twice: give each variable once.")
        seen.add(variable.ref())
    return variables


def _check_optimizer(optimizer: Any) -> None:
    remedy = "give an object with apply_gradients(grads_and_vars), such as tf.keras.optimizers.Adam(0.1)"
    if inspect.isclass(optimizer):
        raise ValueError(f"optimizer is the class {optimizer.__name__}: {remedy}.")
    if not callable(getattr(optimizer, "apply_gradients", None)):
        raise ValueError(f"optimizer is {optimizer!r}: {remedy}.")


def _trace_function(trace_fn: Callable[..., Any]) -> Callable[[MinimizeTraceableQuantities], Any]:
    """The trace function as one of the traceable quantities."""
    if not callable(trace_fn):
        raise ValueError(f"trace_fn is {trace_fn!r}: give a function of the traceable quantities.")
    try:
        signature = inspect.signature(trace_fn)
    except (TypeError, ValueError):  # a builtin that does not say what it takes
        return trace_fn
    if _takes(signature, 1):
        return trace_fn
    if _takes(signature, 3):
        return lambda quantities: trace_fn(quantities.loss, quantities.gradients, quantities.parameters)
    raise ValueError(
        f"trace_fn has the arguments {signature}: give a function of one argument, the traceable quantities, or of "
        "three, (loss, grads, variables)."
    )


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _check_dependence(gradients: Sequence[Any], variables: Sequence[tf.Variable]) -> None:
    """Raise ValueError if the loss depends on none of the variables; warn if it does not on one."""
    names = [f"variable '{v.name}'" for g, v in zip(gradients, variables, strict=True) if g is None]
    if len(names) == len(variables):
        raise ValueError(
            f"the loss does not depend on {' or '.join(names) or 'a variable'} in a way that TensorFlow can "
            "differentiate: compute it from variables with TensorFlow operations, without .numpy() or integer casts."
        )
    for name in names:
        warnings.warn(
            f"The loss does not depend on {name}: its gradient is taken as zero, and it keeps its value.",
            UserWarning,
            stacklevel=2,
        )
