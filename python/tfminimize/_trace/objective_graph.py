"""Builds the loss, the constraint functions and their derivatives in the graph that is being traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.arguments import Arguments
from tfminimize._problem.constraints import ConstraintFunction
from tfminimize._problem.parameters import Parameters
from tfminimize._trace.checks import (
    check_all_connected,
    check_connected,
    check_inputs,
    constraint_values,
    dense,
    scalar,
)
from tfminimize._trace.copies import value_and_gradients
from tfminimize._trace.cost import Cost, cost_of_operations, count_operations
from tfminimize._trace.dataset_loss import BatchSum, DatasetLoss, Loss, check_alone
from tfminimize._trace.jacobian import jacobian
from tfminimize._trace.user_function import inside_trace

__all__ = ["Fetches", "ObjectiveGraph"]

Fetches = Callable[[], Sequence[tf.Tensor]]


class ObjectiveGraph:
    """The loss and the constraint functions of one problem, in the graph that is being traced.

    `tf.function` traces `values`, `derivatives` and `hessian_products`. Their inputs are the components of x (only in
    functional use), the tensors of the loss's ``args``, and those of the constraint functions' ``args``.

    Parameters
    ----------
    fun : callable or None
        ``fun(x, *args)`` in functional use, ``fun(*args)`` for variables; returns the loss. None for the constraint
        functions alone. A `BatchSum` gets its data as the first of the arguments; a `DatasetLoss` has them.
    parameters : Parameters
    arguments : Arguments
        The loss's ``args``.
    functions : sequence of ConstraintFunction
    jit : bool
        Whether XLA is to compile the functions.
    name : str
        The name of ``fun`` in messages.
    has_others : bool
        Whether there are other constraints; then nothing here needs to depend on x.
    takes_derivatives : bool
        Whether the derivatives of the constraint functions are taken.
    takes_sums : bool
        Whether the caller takes the sums of a loss `with_sums`.
    part : {"whole", "batch", "penalty"}
        What to build of a `BatchSum`; see `Part`.
    fetches : callable or None
        Returns tensors to compute besides.

    Attributes
    ----------
    shapes : tuple of tuple of int
        The shapes that the constraint functions return; like the attributes below, known after the trace.
    loss_dtype, values_dtype : str
    dtype : str
        The least precise of x, the loss and the constraints.
    num_sums : int
        How many sums over batches there are besides the loss; see `with_sums`.
    fetched : list of tf.TensorSpec
        The tensors of ``fetches``.
    uses : list of bool
        Whether the loss depends on each component of x.
    reads_copies : bool
        Whether the functions that were traced read other copies of mirrored variables than the first.
    reads_dataset : bool
        Whether the loss reads a tf.data.Dataset, which XLA cannot compile. If ``jit``, it compiles the loss of a batch.
    cost : Cost
        What `hessian_products` take: their size for one vector, and loops in the loss.
    """

    def __init__(
        self,
        fun: Loss | None,
        parameters: Parameters,
        arguments: Arguments,
        functions: Sequence[ConstraintFunction] = (),
        *,
        jit: bool,
        name: str = "fun",
        has_others: bool = False,
        takes_derivatives: bool = True,
        takes_sums: bool = False,
        part: str = "whole",
        fetches: Fetches | None = None,
    ) -> None:
        self._parameters = parameters
        self._fetches = fetches or list
        self._data = fun.data if isinstance(fun, DatasetLoss) else None
        if isinstance(fun, DatasetLoss):
            check_alone(fun, "an operation of a graph")
            fun = fun.without_data
        self._sum = fun if isinstance(fun, BatchSum) else None
        if self._sum is not None and self._sum.has_sums and not takes_sums:
            raise ValueError("a loss with sums is for tfminimize.minimize alone: leave them out.")
        batch_loss = fun.fun if isinstance(fun, BatchSum) else fun
        penalty = None if self._sum is None else self._sum.penalty
        self._fun = None if batch_loss is None else inside_trace(batch_loss, jit, name)
        self._penalty = None if penalty is None else inside_trace(penalty, jit, "penalty")
        data = arguments.first if self._sum is not None and self._data is None else self._data
        self.reads_dataset = isinstance(data, tf.data.Dataset)
        self._compiles_batches = jit and self.reads_dataset
        self._rebuild_args = arguments.rebuilder()
        self._functions = [(f.name, inside_trace(f.fun, jit, f.name), f.arguments.rebuilder()) for f in functions]
        self._has_others = has_others
        self._takes_derivatives = takes_derivatives
        self._part = part
        self.reads_copies = False
        self.uses: list[bool] = []
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.loss_dtype = self.values_dtype = self.dtype = "float64"
        self.num_sums = 0
        self.fetched: list[tf.TensorSpec] = []
        self.cost = Cost()

    def values(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Return the loss, a scalar, and, with constraint functions, all their values v as one vector ``[k]``.

        Then follow the sums of a loss `with_sums`, one vector, and the fetches.
        """
        sources, args, constraint_args = self._divided(inputs)

        def term(fun: Callable[..., Any], args: Any) -> list[tf.Tensor]:
            loss, sums = self._loss_and_sums(fun, sources, args)
            return [loss, *sums]

        outputs = self._total(term, args, [tf.TensorShape([])])
        vectors = self._vectors(sources, constraint_args)
        return [*outputs[:1], *self._joined(vectors), *outputs[1:], *self._fetch()]

    def derivatives(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Return `values`, the gradients by the components of x, and the Jacobians of v, each ``[k, *shape]``.

        Then follow the sums of a loss `with_sums`, and the fetches.
        """
        (sources, args, constraint_args), names = self._divided(inputs), self._parameters.layout.names
        self.uses = [False] * len(sources)

        def term(fun: Callable[..., Any], args: Any) -> list[tf.Tensor]:
            loss, gradients, sums = self._loss_and_gradients(fun, self._inside_loop(sources), args)
            self.uses = [used or gradient is not None for used, gradient in zip(self.uses, gradients, strict=True)]
            return [loss, *map(dense, gradients, sources, names), *sums]

        totals = self._total(term, args, [tf.TensorShape([]), *(source.shape for source in sources)])
        gradients = [tf.cast(total, source.dtype) for total, source in zip(totals[1:], sources, strict=False)]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(sources)
            vectors = self._vectors(sources, constraint_args)
        jacobians = [jacobian(tape, vector, sources) for vector in vectors]
        if gradients and self._part == "whole":
            used = [g if used else None for g, used in zip(gradients, self.uses, strict=True)]
            of_functions = list(zip([name for name, *_ in self._functions], self.shapes, jacobians, strict=True))
            check_all_connected(self._parameters, used, of_functions, has_others=self._has_others)
        outputs = [*totals[:1], *self._joined(vectors), *gradients]
        if self._has_values(vectors):
            rows = [(vector.shape[0],) for vector in vectors]
            for *parts, source, name in zip(*jacobians, sources, names, strict=True):
                outputs.append(tf.concat([dense(p, source, name, k) for p, k in zip(parts, rows, strict=True)], 0))
        return [*outputs, *totals[1 + len(sources) :], *self._fetch()]

    def hessian_products(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Return the loss, its slopes along k vectors, its gradients, and the Hessian times each vector.

        The last of the loss's arguments are the components of the vectors, each ``[k, *shape]``. The outputs are those
        of `derivatives` for a constraint function whose values are the k slopes gᵀp, where g is the gradient of the
        loss: the derivative of a slope is the Hessian times p. See Pearlmutter (1994), "Fast exact multiplication by
        the Hessian", doi:10.1162/neco.1994.6.1.147. The pass for one vector is vectorised over all of them.

        Raises
        ------
        LookupError
            If TensorFlow has no second derivatives of the loss.
        """
        (sources, args, _), names = self._divided(inputs), self._parameters.layout.names
        args, directions = args[: -len(sources)], args[-len(sources) :]
        count = directions[0].shape[0]
        uses: list[Any] = [None] * len(sources)

        def term(fun: Callable[..., Any], args: Any) -> list[tf.Tensor]:
            inside = self._inside_loop(sources)
            is_curved = False
            before = count_operations()
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(inside)
                loss, found, _ = self._loss_and_gradients(fun, inside, args)
                uses[:] = [use if gradient is None else True for use, gradient in zip(uses, found, strict=True)]
                gradients = list(map(dense, found, sources, names))

            def times(direction: Sequence[tf.Tensor]) -> list[tf.Tensor]:
                nonlocal is_curved
                products = tape.gradient(gradients, inside, output_gradients=list(direction))
                is_curved = is_curved or any(product is not None for product in products)
                return list(map(dense, products, sources, names))

            before_products = count_operations()
            if count == 1:
                products = [product[tf.newaxis] for product in times([direction[0] for direction in directions])]
            else:
                products = tf.vectorized_map(times, list(directions))
            self.cost = self.cost.largest(cost_of_operations(before, before_products))
            if not is_curved and self.cost.has_python_functions:
                raise LookupError("it calls a Python function, which TensorFlow can differentiate once at most")
            slopes = [
                tf.reduce_sum(tf.reshape(tf.cast(g * p, loss.dtype), [count, -1]), 1)
                for g, p in zip(gradients, directions, strict=True)
            ]
            return [loss, tf.add_n(slopes), *gradients, *products]

        shapes = [source.shape for source in sources]
        blocks = [tf.TensorShape([count, *shape]) for shape in shapes]
        loss, slopes, *totals = self._total(term, args, [tf.TensorShape([]), tf.TensorShape([count]), *shapes, *blocks])
        check_connected(uses, names, may_be_unused=True)
        self.shapes = ((count,),)
        self.values_dtype = slopes.dtype.name
        return [loss, slopes, *(tf.cast(t, source.dtype) for t, source in zip(totals, [*sources] * 2, strict=True))]

    def _fetch(self) -> list[tf.Tensor]:
        tensors = list(self._fetches())
        self.fetched = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
        return tensors

    def _divided(self, inputs: Sequence[tf.Tensor]) -> tuple[list[Any], tuple[Any, ...], list[tuple[Any, ...]]]:
        """The tensors to differentiate by, the arguments of the loss, and those of each constraint function."""
        variables = list(self._parameters.variables)
        count = 0 if variables else len(self._parameters.layout.segments)
        tensors = iter(inputs[count:])
        args = self._rebuild_args(tensors)
        return variables or list(inputs[:count]), args, [rebuild(tensors) for _, _, rebuild in self._functions]

    def _inside_loop(self, sources: Sequence[Any]) -> list[Any]:
        """The sources, such that a tape in the body of a loop over batches can watch them."""
        if self._sum is None or self._parameters.variables:
            return list(sources)
        return [tf.identity(source) for source in sources]

    def _x(self, sources: Sequence[Any]) -> tuple[Any, ...]:
        """The first argument of each function, if it takes x."""
        return () if self._parameters.variables else (self._parameters.rebuild(sources),)

    def _total(self, term: Callable[..., list[tf.Tensor]], args: tuple[Any, ...], shapes: list[Any]) -> list[tf.Tensor]:
        """``term(fun, args)``, which begins with the loss: once, or the sum over all batches and the penalty.

        The terms have these shapes. After them there may be the sums.
        """
        self.dtype = "float64"
        if self._fun is None:
            return []
        if self._sum is None:
            return term(self._fun, args)
        data, args = (args[0], args[1:]) if self._data is None else (self._data, args)
        if self._compiles_batches:
            term = tf.function(term, autograph=False, jit_compile=True)
        if self._part == "penalty":
            if self._penalty is None:
                return [tf.zeros(shape, tf.float64) for shape in shapes]
            terms = [tf.cast(one, tf.float64) for one in term(self._penalty, ())]
            self.loss_dtype = terms[0].dtype.name
            return terms
        penalty = self._penalty if self._part == "whole" else None
        totals = self._sum._replace(fun=self._fun, penalty=penalty).evaluate(data, term, args, shapes)
        self.loss_dtype = totals[0].dtype.name
        self.num_sums = sum(total.shape[0] for total in totals[len(shapes) :])
        return totals

    def _loss_and_sums(
        self, fun: Callable[..., Any], sources: Sequence[Any], args: tuple[Any, ...]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The loss and the sums; see `BatchSum.parted`."""
        result = fun(*self._x(sources), *args)
        check_inputs(tf.compat.v1.get_default_graph())
        sums: list[tf.Tensor] = []
        if self._sum is not None and fun is self._fun:
            result, sums = self._sum.parted(result)
        loss = scalar(result) if fun is self._fun else scalar(result, "the penalty", "penalty")
        if self._sum is not None and fun is self._penalty and self._sum.penalty_weight != 1.0:
            loss = loss * self._sum.penalty_weight
        self.loss_dtype = loss.dtype.name
        self.dtype = self._parameters.layout.least_precise([self.dtype, self.loss_dtype])
        return loss, sums

    def _loss_and_gradients(
        self, fun: Callable[..., Any], sources: Sequence[Any], args: tuple[Any, ...]
    ) -> tuple[tf.Tensor, list[Any], list[tf.Tensor]]:
        loss, sums, found = value_and_gradients(lambda: self._loss_and_sums(fun, sources, args), sources)
        return loss, found, sums

    def _vectors(self, sources: Sequence[Any], args: Sequence[tuple[Any, ...]]) -> list[tf.Tensor]:
        """The values of each constraint function, as a vector."""
        x = self._x(sources)
        values = [self._values(i, (*x, *own)) for i, own in enumerate(args)]
        self.shapes = tuple(tuple(value.shape.as_list()) for value in values)
        dtypes = [value.dtype.name for value in values]
        self.values_dtype = "float32" if set(dtypes) == {"float32"} else "float64"
        self.dtype = self._parameters.layout.least_precise([self.dtype, *dtypes])
        return [tf.reshape(value, [-1]) for value in values]

    def _joined(self, vectors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """All values v as one vector, if there are any."""
        if not self._has_values(vectors):
            return []
        return [tf.concat([tf.cast(vector, self.values_dtype) for vector in vectors], 0)]

    def _has_values(self, vectors: Sequence[tf.Tensor]) -> bool:
        """Whether v is an output. After a loss, an empty v is left out."""
        return any(vector.shape[0] for vector in vectors) or (self._fun is None and bool(vectors))

    def _values(self, i: int, args: tuple[Any, ...]) -> tf.Tensor:
        """Return the values of one constraint function."""
        name, fun, _ = self._functions[i]
        before = _count_python_functions()
        values = constraint_values(name, fun, args)
        size = values.shape.num_elements()
        is_differentiated = self._fun is not None and self._takes_derivatives
        if is_differentiated and size > 1 and _count_python_functions() > before:
            raise ValueError(
                f"{name} returns {size} values of a tf.py_function, which TensorFlow can differentiate only once a "
                "call: give one constraint for each value."
            )
        return values


def _count_python_functions() -> int:
    """Count the calls of `tf.py_function` in the graph that is being built."""
    return sum(op.type == "EagerPyFunc" for op in tf.compat.v1.get_default_graph().get_operations())
