"""DatasetLoss: a loss over a data set, summed batch by batch."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfminimize._distribute.communicator import Communicator, check_communicator
from tfminimize._trace import called_loss

__all__ = [
    "BatchSum",
    "DatasetLoss",
    "Loss",
    "batch_loss",
    "check_alone",
    "communicator_of",
    "split_data",
    "with_sums",
]

_SUMS = tf.float64
"""The dtype of sums over batches."""
_REDUCTIONS = ("mean", "sum")

Terms = Callable[[tuple[Any, ...]], Sequence[tf.Tensor]]


class BatchSum(NamedTuple):
    """A `DatasetLoss` without its data. Two that are equal are served by the same trace."""

    fun: Callable[..., Any]
    batch_size: int | None
    reduction: str
    penalty: Callable[..., Any] | None
    has_sums: bool = False
    """See `with_sums`."""
    communicator: Communicator | None = None
    """What connects this process, whose share the data are, with the others."""

    @property
    def penalty_weight(self) -> float:
        """How much of the penalty this process adds: a mean over all rows adds it with the weight of its rows."""
        return 1.0 if self.communicator is None or self.reduction == "mean" else 1.0 / self.communicator.size

    def counts_rows(self, data: Any) -> bool:
        """Whether the last sum is the number of rows that the evaluation has read."""
        return self.communicator is not None and isinstance(data, tf.data.Dataset)

    def is_empty(self, data: Any) -> bool:
        """Whether this process's share is known to have no rows."""
        return not isinstance(data, tf.data.Dataset) and tf.nest.flatten(data)[0].shape[0] == 0

    def parted(self, result: Any) -> tuple[Any, list[tf.Tensor]]:
        """Split what ``fun`` has returned into the loss and the sums: one vector in a list, or an empty list."""
        if not self.has_sums:
            return result, []
        loss, tensors = result
        vectors = [tf.reshape(tf.cast(tensor, _SUMS), [-1]) for tensor in tensors]
        for i, vector in enumerate(vectors):
            if not vector.shape.is_fully_defined():
                raise ValueError(
                    f"tensor {i} to add up has no static shape: let it not depend on the rows of the batch."
                )
        return loss, [tf.concat(vectors, 0)] if vectors else []

    def evaluate(
        self, data: Any, term: Callable[..., list[tf.Tensor]], args: tuple[Any, ...], shapes: Sequence[Any]
    ) -> list[tf.Tensor]:
        """Add ``term(fun, (*args, *batch))`` over all batches, and ``term(penalty, ())``; see `_total`."""

        def terms(batch: tuple[Any, ...]) -> list[tf.Tensor]:
            return term(self.fun, (*args, *batch))

        totals = self._total(data, tf.function(terms, autograph=False) if self.has_sums else terms, shapes)
        if self.penalty is None:
            return totals
        added = zip(totals, term(self.penalty, ()), strict=False)
        return [*(t + tf.cast(p, t.dtype) for t, p in added), *totals[len(shapes) :]]

    def _total(self, data: Any, terms: Terms, shapes: Sequence[tf.TensorShape]) -> list[tf.Tensor]:
        """Add ``terms`` over all batches, in float64 and always in the same order.

        Parameters
        ----------
        data : tensors with one leading dimension, or tf.data.Dataset
        terms : callable
            Takes the arguments that one batch gives to ``fun``, and returns the loss and what else is to be added. With
            `has_sums` it is a `tf.function`, and may return one more term than there are shapes: the sums.
        shapes : sequence of tf.TensorShape
            Those of the terms that are weighted by ``reduction``. The sums have the weight 1.
        """
        if isinstance(data, tf.data.Dataset):
            return self._over_dataset(data, terms, shapes)
        rows = tf.nest.flatten(data)[0].shape[0]
        if self.batch_size is None or (rows is not None and rows <= self.batch_size):
            return [tf.cast(term, _SUMS) for term in terms(_as_arguments(data))]
        if rows is None:
            raise ValueError(
                f"the data have an unknown number of rows, so they cannot be cut into batches of {self.batch_size}: "
                "give tensors of static shape, or batch_size=None."
            )
        return self._over_slices(data, rows, terms, shapes)

    def _over_slices(self, data: Any, rows: int, terms: Terms, shapes: Sequence[tf.TensorShape]) -> list[tf.Tensor]:
        size = self.batch_size
        assert size is not None
        count, rest = divmod(rows, size)

        def batch(begin: tf.Tensor, length: int) -> tuple[Any, ...]:
            return _as_arguments(tf.nest.map_structure(lambda leaf: _slice(leaf, begin, length), data))

        def body(i: tf.Tensor, *totals: tf.Tensor) -> tuple[Any, ...]:
            return (i + 1, *_added(totals, terms(batch(i * size, size)), 1.0, len(shapes)))

        specs = tf.nest.map_structure(lambda leaf: tf.TensorSpec([size, *leaf.shape[1:]], leaf.dtype), data)
        _, *totals = tf.while_loop(
            lambda i, *_: i < count,
            body,
            (tf.constant(0, tf.int64), *self._zeros(terms, specs, shapes)),
            parallel_iterations=1,
            maximum_iterations=count,
        )
        is_mean = self.reduction == "mean"
        if is_mean:
            totals = [*(total * size for total in totals[: len(shapes)]), *totals[len(shapes) :]]
        if rest:
            last = terms(batch(tf.constant(count * size, tf.int64), rest))
            totals = _added(totals, last, float(rest if is_mean else 1), len(shapes))
        return [*(total / rows for total in totals[: len(shapes)]), *totals[len(shapes) :]] if is_mean else totals

    def _over_dataset(self, data: Any, terms: Terms, shapes: Sequence[tf.TensorShape]) -> list[tf.Tensor]:
        iterator = iter(data)
        is_mean = self.reduction == "mean"

        def body(_: tf.Tensor, rows: tf.Tensor, *totals: tf.Tensor) -> tuple[Any, ...]:
            element = iterator.get_next_as_optional()

            def add() -> tuple[Any, ...]:
                batch = element.get_value()
                length = _rows(batch)

                def add_terms() -> tuple[Any, ...]:
                    count = tf.cast(length, _SUMS)
                    weight = count if is_mean else 1.0
                    return (rows + count, *_added(totals, terms(_as_arguments(batch)), weight, len(shapes)))

                return tuple(tf.cond(length > 0, add_terms, keep))  # a mean over no rows would be NaN

            def keep() -> tuple[Any, ...]:
                return (rows, *totals)

            has_value = element.has_value()
            return (has_value, *tf.cond(has_value, add, keep))

        start = (True, tf.zeros([], _SUMS), *self._zeros(terms, data.element_spec, shapes))
        _, rows, *totals = tf.while_loop(lambda more, *_: more, body, start, parallel_iterations=1)
        if self.communicator is not None:  # a share may be empty, and others must know how many rows it has
            means = [t / tf.maximum(rows, 1.0) if is_mean else t for t in totals[: len(shapes)]]
            return [*means, tf.concat([*totals[len(shapes) :], [rows]], 0)]
        with tf.control_dependencies([tf.debugging.Assert(rows > 0, ["The tf.data.Dataset of the loss has no rows."])]):
            return [t / rows if is_mean and i < len(shapes) else tf.identity(t) for i, t in enumerate(totals)]

    def _zeros(self, terms: Any, specs: Any, shapes: Sequence[tf.TensorShape]) -> list[tf.Tensor]:
        """What the loop over batches, which have these ``specs``, begins with."""
        if self.has_sums:
            found = terms.get_concrete_function(_as_arguments(specs)).structured_outputs
            shapes = [*shapes, *(term.shape for term in found[len(shapes) :])]
        return [tf.zeros(shape, _SUMS) for shape in shapes]


Loss = Callable[..., Any] | BatchSum
"""What a trace is made of."""


class DatasetLoss:
    """A loss over a data set, evaluated batch by batch: the memory is that of one batch, whatever the number of rows.

    It is taken wherever a function is taken. Value and gradient are added up over all batches in float64, in a fixed
    order, so that the optimiser sees the loss of all data at once: a full-batch fit. With ``jit_compile=True`` and
    arrays, the solver calls the machine code of a batch, batch after batch, in as many threads as `set_num_threads`
    says; the bits do not depend on their number. Without a ``batch_size`` it cuts many rows into blocks for this.

    Parameters
    ----------
    fun : callable
        The loss of one batch, a real scalar: ``fun(x, *args, *batch)`` in functional use, ``fun(*args, *batch)`` for
        variables.
    data : array, tensor, nested structure of them, or tf.data.Dataset
        Arrays have one leading dimension, of N rows. A tuple gives one argument for each of its items; anything else,
        such as a dict, is one argument. A data set is finite and yields batches, as ``dataset.batch(1000)`` does; it is
        read once in each evaluation, and may have another number of batches each time. Batches without rows are left
        out. TensorFlow cannot tell whether a generator ends: one that does not is read for ever.
    batch_size : int, optional
        The number of rows in a batch of arrays; the last one may have fewer. The default is all N; machine code takes
        them in blocks of up to some 1,000 rows, whose size depends on the shapes alone, if the loss of a few rows adds
        up from that of their halves. A number of at least N means that ``fun`` gets all rows at once in any case.
    reduction : {"mean", "sum"}
        "mean", where ``fun`` is a mean over the rows of its batch: batches are weighted by their numbers of rows,
        Σ n_b·fun_b / Σ n_b. "sum", where it is a sum: Σ fun_b.
    penalty : callable, optional
        Added once: ``penalty(x)`` in functional use, ``penalty()`` for variables.
    communicator : Communicator, optional
        The data are this process's share, which may be empty, and the loss is that of all rows of all processes; see
        `tfminimize.distribute`. All processes then minimise it together, by L-BFGS-B, SLSQP or BFGS: they begin at the
        x0, or the values of the variables, of process 0, and all get the same solution. Such a loss cannot be called.

    Raises
    ------
    ValueError
        With a sentence that names the value and the remedy.

    Notes
    -----
    A call, ``loss(x, *args)`` or for variables ``loss(*args)``, returns the value. `tf.GradientTape` and `tf.gradients`
    differentiate it by x, args, and the variables and tensors that ``fun`` captures, not by the data. The gradient is
    added up batch by batch too, in a second pass over the data. As in a solve, ``fun`` is traced once for arguments of
    the same shapes and dtypes: Python values that it reads from elsewhere stay as they were, until `clear_cache`. The
    penalty gets x if it needs an argument.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.arange(10.0).reshape(5, 2), np.arange(5.0)
    >>> loss = DatasetLoss(
    ...     lambda w, X, y: tf.reduce_mean((tf.linalg.matvec(X, w) - y) ** 2),
    ...     (X, y),
    ...     batch_size=2,
    ... )
    >>> result = tfm.minimize(loss, np.zeros(2))
    >>> result.success, round(float(result.fun), 6)
    (True, 0.0)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        data: Any,
        batch_size: int | None = None,
        reduction: str = "mean",
        penalty: Callable[..., Any] | None = None,
        communicator: Communicator | None = None,
    ) -> None:
        if not callable(fun):
            raise ValueError(f"fun is {fun!r}: give a function that returns the loss of one batch.")
        if penalty is not None and not callable(penalty):
            raise ValueError(
                f"penalty is {penalty!r}: give a function that returns what is added to the loss, or None."
            )
        if reduction not in _REDUCTIONS:
            raise ValueError(f'reduction is {reduction!r}: give "mean" or "sum".')
        if batch_size is not None:
            batch_size = _checked_size(batch_size)
        check_communicator(communicator)
        may_be_empty = communicator is not None
        if isinstance(data, tf.data.Dataset):
            self.data = _checked_dataset(data, batch_size, may_be_empty)
        else:
            self.data = _tensors(data, may_be_empty)
        self.without_data = BatchSum(fun, batch_size, reduction, penalty, communicator=communicator)

    @property
    def fun(self) -> Callable[..., Any]:
        """The loss of one batch."""
        return self.without_data.fun

    def with_data(self, data: Any) -> DatasetLoss:
        """The same loss over other data. Data of the same shapes and dtypes do not retrace."""
        other = DatasetLoss(self.fun, data, *self.without_data[1:4], communicator=self.without_data.communicator)
        return with_sums(other) if self.without_data.has_sums else other

    def __call__(self, *args: Any) -> tf.Tensor:
        """The loss, a float64 scalar: ``loss(x, *args)`` in functional use, ``loss(*args)`` for variables."""
        check_alone(self, "a call of it")
        call = tf.autograph.experimental.do_not_convert(called_loss.call)
        return call(*split_data(self, args))

    def __repr__(self) -> str:
        fun, batch_size, reduction, *_ = self.without_data
        name = getattr(fun, "__name__", type(fun).__name__)
        return f"DatasetLoss({name}, batch_size={batch_size}, reduction={reduction!r})"


def with_sums(loss: DatasetLoss) -> DatasetLoss:
    """The same loss, of a ``fun`` that returns ``(loss, tensors)``; the tensors are added up too.

    They may have any number, real dtypes and static shapes. Each is cast to float64 and flattened, and their sum over
    all batches has the weight 1, also for "mean". They are not differentiated, and the penalty adds nothing to them.

    The sums are a float64 vector: ``intermediate_result.sums`` in a callback, ``result.sums`` at the end, and
    ``Workspace.sums``, each a copy from the last evaluation. That is the evaluation at x, unless the solve has ended
    within a line search. Only a native method in a solve of its own reports them: other ways (SciPy's methods, batches
    of problems) run without, and graphs of TensorFlow refuse such a loss.
    """
    other = copy.copy(loss)
    other.without_data = loss.without_data._replace(has_sums=True)
    return other


def batch_loss(fun: Any) -> Any:
    """The function of one batch; a function without data is its own."""
    return fun.fun if isinstance(fun, (BatchSum, DatasetLoss)) else fun


def communicator_of(fun: Any) -> Communicator | None:
    """What connects the processes that share the data of a loss; None for any other function."""
    return fun.without_data.communicator if isinstance(fun, DatasetLoss) else None


def check_alone(fun: Any, caller: str) -> None:
    """Raise ValueError if the data of a loss are shared by processes, since ``caller`` runs in one."""
    if communicator_of(fun) is not None:
        raise ValueError(
            f"the loss has a communicator, and {caller} runs in each process alone: leave it out, or use minimize with "
            "L-BFGS-B, SLSQP or BFGS."
        )


def split_data(fun: Any, args: Any) -> tuple[Any, Any]:
    """A function without its data, and its arguments with them, so that new data are no new function."""
    if not isinstance(fun, DatasetLoss):
        return fun, args
    return fun.without_data, (fun.data, *(args if isinstance(args, tuple) else (args,)))


def _as_arguments(batch: Any) -> tuple[Any, ...]:
    return batch if isinstance(batch, tuple) and not hasattr(batch, "_fields") else (batch,)


def _rows(batch: Any) -> tf.Tensor:
    """The number of rows of a batch, an integer tensor, checked to be the same for all its leaves."""
    counts = [tf.shape(leaf, tf.int64)[0] for leaf in tf.nest.flatten(batch) if leaf is not None]
    sentence = "the items of a batch of the tf.data.Dataset differ in their numbers of rows, which are"
    checks = [tf.debugging.Assert(tf.equal(count, counts[0]), [sentence, *counts]) for count in counts[1:]]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(counts[0])


def _slice(leaf: tf.Tensor, begin: tf.Tensor, length: int) -> tf.Tensor:
    rest = leaf.shape[1:]
    start = tf.concat([[begin], tf.zeros(len(rest), tf.int64)], 0)
    return tf.ensure_shape(tf.slice(leaf, start, tf.constant([length, *rest], tf.int64)), [length, *rest])


def _added(totals: Sequence[tf.Tensor], terms: Sequence[tf.Tensor], weight: Any, num_weighted: int) -> list[tf.Tensor]:
    """The totals and the terms; only the first terms are weighted."""
    is_one = isinstance(weight, float) and weight == 1.0
    doubles = [tf.cast(term, _SUMS) for term in terms]
    weighted = [d if is_one or i >= num_weighted else weight * d for i, d in enumerate(doubles)]
    return [t + w for t, w in zip(totals, weighted, strict=True)]


def _checked_size(batch_size: Any) -> int:
    if isinstance(batch_size, (bool, np.bool_)) or not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}: give a positive integer, or None for all rows at once.")
    return int(batch_size)


def _tensors(data: Any, may_be_empty: bool) -> Any:
    """The data as tensors, checked to have one leading dimension."""
    leaves = tf.nest.flatten(data)
    if not leaves:
        raise ValueError("data is empty: give an array, a tensor, a structure of them or a tf.data.Dataset.")
    tensors: list[tf.Tensor] = []
    for i, leaf in enumerate(leaves):
        name = "data" if not tf.nest.is_nested(data) else f"item {i} of data"
        try:
            tensor = tf.convert_to_tensor(leaf)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} is a {type(leaf).__name__}, which is no tensor ({error}): give an array, a tensor, a "
                "structure of them or a tf.data.Dataset."
            ) from error
        if tensor.shape.rank == 0:
            raise ValueError(f"{name} is a single value: give an array whose leading dimension is that of the rows.")
        if tensor.shape.rank is None:
            raise ValueError(f"{name} has no known rank: give a tensor of static shape.")
        rows = tensors[0].shape[0] if tensors else tensor.shape[0]
        if tensor.shape[0] != rows:
            raise ValueError(
                f"{name} has {tensor.shape[0]} rows, and item 0 has {rows}: all need the same leading dimension."
            )
        tensors.append(tensor)
    if tensors[0].shape[0] == 0 and not may_be_empty:
        raise ValueError("data has no rows: give at least one.")
    return tf.nest.pack_sequence_as(data, tensors)


def _checked_dataset(data: Any, batch_size: int | None, may_be_empty: bool) -> Any:
    if batch_size is not None:
        raise ValueError(
            f"batch_size is {batch_size}, but a tf.data.Dataset has batches of its own: leave batch_size out, and call "
            f"dataset.batch({batch_size}) if it yields single rows."
        )
    shapes = [getattr(spec, "shape", tf.TensorShape(None)) for spec in tf.nest.flatten(data.element_spec)]
    for shape in shapes:
        if shape.rank == 0:
            raise ValueError(
                "the tf.data.Dataset yields single rows, not batches: give dataset.batch(n), for example with n = 1000."
            )
    rows = [shape[0] for shape in shapes if shape.rank and shape[0] is not None]
    if len(set(rows)) > 1:
        raise ValueError(
            f"the items of a batch of the tf.data.Dataset have {' and '.join(map(str, rows))} rows: all need the same "
            "leading dimension."
        )
    cardinality = data.cardinality() if tf.executing_eagerly() else tf.data.UNKNOWN_CARDINALITY
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "the tf.data.Dataset is infinite, and each evaluation reads all of it: leave out .repeat(), or end it by "
            ".take(n)."
        )
    if cardinality == 0 and not may_be_empty:
        raise ValueError("the tf.data.Dataset has no batches: give at least one.")
    return data
