"""Implicit differentiation: how a solution moves when the inputs of the functions change.

Let *free* elements of x be those that are not at a bound. For them, a solution x* and the multipliers λ of the active
constraints c_A satisfy the equations

    ∇f(x) - J_A(x)ᵀ λ = 0
    c_A(x) = 0

Differentiating them gives a linear system with the Hessian H of the Lagrangian f - λᵀc, restricted to the free
elements. By the implicit function theorem it gives the derivatives of x* and λ by everything else: the inputs of f and
c, and the bounds of the other elements (Nocedal and Wright, "Numerical Optimization", 2006, section 12.8). The adjoint
system has the same symmetric matrix, and one solve of it gives the gradient of any function of x* and λ:

    H w + J_Aᵀ v = ∂/∂x*
    -J_A w       = ∂/∂λ

We solve it in the null space of J_A, where the matrix is symmetric, and positive definite at a strict local minimum. Up
to `MAX_DIRECT` elements we form and factor this matrix; with more, conjugate residuals only multiply by it.

If the solution does not move smoothly, it has no derivative, and we return finite numbers that mean little. If the
matrix is singular, as along a valley of equally good solutions, we return the derivatives of the smallest movement. If
a solve has not converged, they are those at the x where it stopped. A constraint or bound that holds with equality but
has no multiplier makes no difference to the solution, and counts as absent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfminimize._problem.layout import Layout
from tfminimize._tf import private
from tfminimize._trace.flat import split
from tfminimize._trace.stand_ins import StandIns

__all__ = ["MAX_DIRECT", "Solution", "Upstream", "gradient_of_op", "pullback"]

MAX_DIRECT = 100
"""The Hessian is formed for at most this many elements."""

MAX_ITERATIONS = 15000
"""The most iterations of conjugate residuals."""

EPSILON = float(np.finfo(np.float64).eps)

TOLERANCE = 1e-12
"""Conjugate residuals end when the residual, or its gradient, is this small relative to its parts."""

NO_SECOND = (
    "a solution of tfminimize can be differentiated only once: a second derivative would need third derivatives of the "
    "loss. Take finite differences of the gradient, or stop it by tf.stop_gradient."
)


class Solution(NamedTuple):
    """The results of a solve, with the bounds and constraints that it had; tensors are float64.

    For a batch of B problems, all shapes begin with B; those of the bounds begin with 1 if the problems share them.
    """

    x: tf.Tensor
    """Shape (n,)."""
    multipliers: tf.Tensor
    """Shape (m,), with c = 0 or c >= 0 and ∇f = Jᵀλ; m = 0 without constraints."""
    num_equalities: int
    """How many constraints are equalities; these come first."""
    low: tf.Tensor | None
    """Lower bounds, shape (n,), infinite for elements without one; None without bounds."""
    high: tf.Tensor | None


class Upstream(NamedTuple):
    """The gradient of something by the results of a solve; None for zeros. The shapes of a batch begin with B."""

    x: tf.Tensor | None = None
    """Shape (n,)."""
    fun: tf.Tensor | None = None
    """Scalar."""
    jac: tf.Tensor | None = None
    """Shape (n,)."""
    multipliers: tf.Tensor | None = None
    """Shape (m,)."""


def pullback(
    derivatives: Callable[..., Sequence[tf.Tensor]],
    solution: Solution,
    inputs: Sequence[tf.Tensor],
    upstream: Upstream,
    batched: Collection[int] = (),
) -> tuple[list[tf.Tensor | None], tf.Tensor, tf.Tensor]:
    """Return the gradient of something by the inputs of the functions and by the bounds.

    Parameters
    ----------
    derivatives : callable
        ``derivatives(x, *inputs)`` returns the loss and its gradient ``[n]``; with constraints the loss, the values of
        the constraints ``[m]``, the gradient, and the Jacobian ``[m, n]``. For a batch all shapes begin with B, also
        that of x.
    solution : Solution
    inputs : sequence of tf.Tensor
        Of any dtype; handles of variables stand for the variables.
    upstream : Upstream
        The gradient by the results of the solve.
    batched : collection of int
        The inputs that have a slice for each problem of a batch. The problems share the others, whose gradients are
        sums over them.

    Returns
    -------
    inputs : list of tf.Tensor or None
        None for an input that does not matter.
    low, high : tf.Tensor
        Of the shape of the bounds, or of x if there are none; zero for elements that are not at the bound.

    Examples
    --------
    The minimum of (x - a)² is at a:

    >>> a = tf.constant([3.0], tf.float64)
    >>> found = Solution(a, tf.zeros(0, tf.float64), 0, None, None)
    >>> upstream = Upstream(x=tf.ones(1, tf.float64))
    >>> by_a, *_ = pullback(
    ...     lambda x, a: (tf.reduce_sum((x - a) ** 2), 2 * (x - a)), found, [a], upstream
    ... )
    >>> by_a[0].numpy()
    array([1.])
    """
    system = _Conditions(derivatives, solution, inputs, batched)
    dependent = [tensor for tensor in (*solution, *inputs, *upstream) if tf.is_tensor(tensor)]
    # A second derivative would ignore that w and v move.
    *by_inputs, by_low, by_high = private.without_gradient(lambda: system.pullback(upstream), NO_SECOND, dependent)
    return by_inputs, by_low, by_high


def gradient_of_op(op: Any, *upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Return the gradient by each input of one of the ops in `cpp/ops/minimize_op.cc`.

    The solution does not depend on the start, the tolerances or the state of a trace function. The traced tensors and
    the history count as constants.
    """
    by_name = dict(zip(("x", "fun", "jac"), upstream, strict=False), multipliers=upstream[_MULTIPLIERS])
    num_captures = len(op.get_attr("Tcaptures"))
    first = len(op.inputs) - num_captures
    captures = list(op.inputs)[first:]
    low, high = op.inputs[1:3] if op.inputs[1].shape.num_elements() != 0 else (None, None)
    solution = Solution(op.outputs[0], op.outputs[_MULTIPLIERS], op.get_attr("num_equalities"), low, high)
    called = private.function_of(op, op.get_attr("functions")[-1].name)
    batched = op.get_attr("batched") if _is_batch(op) else []
    derivatives, assigned = _of_batch(called, batched) if _is_batch(op) else _of_problem(called, op, captures)
    try:
        with tf.control_dependencies(assigned):
            by_captures, by_low, by_high = pullback(derivatives, solution, captures, Upstream(**by_name), batched)
    except LookupError as error:
        raise LookupError(
            "the gradient of a solution needs second derivatives of the loss and of the constraints, and an operation "
            f"in them has none ({error}): use another one; or, if you need no gradient, solve outside the tape."
        ) from error
    by_bounds = [None, None] if low is None else [by_low, by_high]
    return [None, *by_bounds, *([None] * (first - 3)), *by_captures]


def _is_batch(op: Any) -> bool:
    return bool(op.outputs[0].shape.rank == 2)


def _of_problem(called: Callable[..., Any], op: Any, captures: list[tf.Tensor]) -> tuple[Callable[..., Any], list[Any]]:
    """Return a function that can be differentiated, and what must run before it.

    The op's variables may have values other than x, so others take their place.
    """
    places = op.get_attr("variables")
    variables = [captures[i] for i in places]
    types = zip(op.get_attr("variable_shapes"), op.get_attr("variable_dtypes"), strict=True)
    layout = Layout(("x", tf.TensorShape(shape).as_list(), dtype.name) for shape, dtype in types)
    stand_ins = StandIns(variables, layout.segments, in_graph=True)
    assigned = stand_ins.assign(split(op.outputs[0], layout)) if variables else []

    def derivatives(x: tf.Tensor, *inputs: tf.Tensor) -> list[tf.Tensor]:
        given = list(inputs)
        for i, handle, s in zip(places, stand_ins.handles, layout.segments, strict=True):
            # so that a tape sees that they are x
            given[i] = private.with_gradient(functools.partial(_same, handle), _as_part_of_x, [x[s.flat]])
        return list(called(x, *given))

    return derivatives, assigned


def _of_batch(called: Callable[..., Any], batched: Sequence[int]) -> tuple[Callable[..., Any], list[Any]]:
    """Return the function for all problems at once."""

    def derivatives(x: tf.Tensor, *inputs: tf.Tensor) -> list[tf.Tensor]:
        def of_one(parts: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
            own = dict(zip(batched, parts[1:], strict=True))
            return list(called(parts[0], *(own.get(i, tensor) for i, tensor in enumerate(inputs))))

        count = tf.shape(x)[0]
        rows = [_with_a_row(tensor, count) for tensor in (x, *(inputs[i] for i in batched))]
        try:
            found = tf.vectorized_map(of_one, tuple(rows), warn=False)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise ValueError(
                "the gradient of minimize_batch needs the function for all problems at once, and tf.vectorized_map "
                f"cannot make it ({_last_line(error)}): instead of a condition on a tensor, such as tf.cond or "
                "Python's if, use tf.where; or solve by tf.map_fn over tfminimize.ops.minimize."
            ) from error
        return [tensor if x.shape[0] else tensor[:count] for tensor in found]

    return derivatives, []


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _with_a_row(tensor: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Return the tensor, with a row of zeros if it has none: TensorFlow runs the body of a vectorized map once."""
    if tensor.shape[0]:
        return tensor
    missing = tf.cast(tf.equal(count, 0), tf.int32)
    return tf.pad(tensor, [[0, missing], *[[0, 0]] * (tensor.shape.rank - 1)])


_MULTIPLIERS = 8
"""The index of the multipliers among the outputs of the op."""


def _same(value: Any) -> Any:
    return value


def _as_part_of_x(upstream: Any) -> list[tf.Tensor]:
    return [tf.cast(tf.reshape(tf.convert_to_tensor(upstream), [-1]), tf.float64)]


class _Conditions:
    """The optimality conditions at a solution, linearised; for a batch, at all of them.

    Shapes are those of one problem; for a batch they begin with B.

    Attributes
    ----------
    zeros : tf.Tensor, shape (n,)
    multipliers : tf.Tensor, shape (m,)
        Corrected for x; zero for inactive constraints.
    active : tf.Tensor, shape (m,)
        1 for an active constraint, otherwise 0.
    free, at_low, at_high : tf.Tensor, shape (n,)
        1 for an element of x that is free, or at that bound, otherwise 0.
    """

    def __init__(
        self, derivatives: Callable[..., Sequence[tf.Tensor]], solution: Solution, inputs: Any, batched: Collection[int]
    ) -> None:
        # One tensor may be several inputs, each with its own gradient, so we copy them. A handle is never given twice,
        # and TensorFlow would take a copy of it for something that may write to the variable.
        given = (solution.x, *inputs)
        x, *_ = self._sources = [private.captured(t) if t.dtype == tf.resource else tf.identity(t) for t in given]
        self.zeros = tf.zeros_like(x)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as self._tape:
            self._tape.watch([source for source in self._sources if private.is_differentiable(source)])
            self._outputs = list(derivatives(*self._sources))
        self._solution = solution
        self._batched = batched
        self._is_constrained = len(self._outputs) == 4

    def pullback(self, upstream: Upstream) -> list[tf.Tensor | None]:
        """Return the gradient by each of the inputs, and by the lower and the upper bounds."""
        self._find_active()
        u = direct = self.zeros if upstream.x is None else upstream.x
        jac = self.zeros if upstream.jac is None else upstream.jac
        if upstream.jac is not None:
            u += _finite(self.transposed(gradient=jac)[0])
        r = tf.zeros_like(self.multipliers) if upstream.multipliers is None else self.active * upstream.multipliers
        w, v = self.solve(u, r)
        fun = tf.zeros_like(self.zeros[..., 0]) if upstream.fun is None else upstream.fun
        by_x, *by_inputs = self.transposed(
            loss=fun,  # by the envelope theorem, the minimum moves as the Lagrangian at x does
            values=-fun[..., None] * self.multipliers - v,
            gradient=jac - w,
            jacobian=_outer(self.multipliers, w),
        )
        # 0 if the upstream gradient is finite, otherwise NaN.
        is_wrong = 0 * (tf.reduce_sum(direct + jac, -1) + tf.reduce_sum(r, -1) + fun)
        found = [
            None if part is None else _finite(part) + self._like(part, is_wrong, i in self._batched)
            for i, part in enumerate(by_inputs)
        ]
        by_bound = _finite(direct + by_x) + is_wrong[..., None]
        return [*found, *map(self._summed, (by_bound * self.at_low, by_bound * self.at_high))]

    def _like(self, part: tf.Tensor, of_problems: tf.Tensor, is_batched: bool) -> tf.Tensor:
        """Return a number of each problem such that it can be added to the gradient by an input."""
        if is_batched:
            of_problems = tf.reshape(of_problems, [-1] + [1] * (part.shape.rank - 1))
        else:
            of_problems = tf.reduce_sum(of_problems)
        return tf.cast(of_problems, part.dtype)

    def _summed(self, by_bound: tf.Tensor) -> tf.Tensor:
        """Return the gradient by bounds that the problems may share."""
        low = self._solution.low
        if low is None or low.shape.rank == 1:
            return by_bound
        return tf.cond(tf.shape(low)[0] == 1, lambda: tf.reduce_sum(by_bound, 0, keepdims=True), lambda: by_bound)

    def _find_active(self) -> None:
        solution, x = self._solution, self._sources[0]
        gradient = self._outputs[2 if self._is_constrained else 1]
        jacobian = self._outputs[3] if self._is_constrained else self.zeros[..., None, :][..., :0, :]
        is_equality = tf.range(solution.multipliers.shape[-1]) < solution.num_equalities
        self.active = tf.cast(is_equality | (solution.multipliers > 0), tf.float64)
        self.multipliers = self.active * solution.multipliers
        slope = _finite(gradient - tf.linalg.matvec(jacobian, self.multipliers, transpose_a=True))
        self.at_low, self.at_high = _at_bounds(x, slope, solution.low, solution.high)
        self.free = 1 - self.at_low - self.at_high
        self._rows = _finite(self.active[..., None] * jacobian * self.free[..., None, :])
        # The solver's multipliers belong to the x before the last step; this corrects them for x.
        self.multipliers += self.active * _RowSpace(self._rows).pseudoinverse_transposed(self.free * slope)

    def transposed(
        self, loss: Any = None, values: Any = None, gradient: Any = None, jacobian: Any = None
    ) -> list[tf.Tensor | None]:
        """Multiply these vectors by the transposed derivative of the functions, for x and each of the inputs."""
        given = [loss, values, gradient, jacobian] if self._is_constrained else [loss, gradient]
        pairs = [(output, part) for output, part in zip(self._outputs, given, strict=True) if part is not None]
        targets, parts = zip(*pairs, strict=True)
        found = self._tape.gradient(targets, self._sources, output_gradients=list(parts))
        dense = [None if part is None else tf.convert_to_tensor(part) for part in found]
        return [self.zeros if dense[0] is None else dense[0], *dense[1:]]

    def times_hessian(self, w: tf.Tensor) -> tf.Tensor:
        """Multiply the Hessian of the Lagrangian, restricted to the free elements, by a vector."""
        w *= self.free
        product, *_ = self.transposed(gradient=w, jacobian=-_outer(self.multipliers, w))
        return self.free * product

    def solve(self, u: tf.Tensor, r: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the solution (w, v) of the adjoint system."""
        nothing = tf.reduce_all(u == 0) & tf.reduce_all(r == 0)
        w, v = tf.cond(nothing, lambda: (self.zeros, tf.zeros_like(r)), lambda: self._solve(u, r))
        return w, v

    def _hessian(self) -> tf.Tensor:
        """Return the Hessian of the Lagrangian, restricted to the free elements, ``[n, n]``."""
        size = self.zeros.shape[-1]
        columns = tf.vectorized_map(lambda e: self.times_hessian(e + self.zeros), tf.eye(size, dtype=tf.float64))
        rank = self.zeros.shape.rank
        return _finite(tf.transpose(columns, [*range(1, rank), 0, rank]))  # each problem's columns side by side

    def _solve(self, u: tf.Tensor, r: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = self.zeros.shape[-1]
        times: Callable[[tf.Tensor], tf.Tensor] = self.times_hessian
        scale = tf.ones_like(self.zeros)
        if size <= MAX_DIRECT:
            hessian = self._hessian()
            hessian = (hessian + tf.linalg.matrix_transpose(hessian)) / 2
            scale = tf.math.rsqrt(_or_one(tf.reduce_max(tf.abs(hessian), -1)))  # x may have elements of any units
            hessian *= _outer(scale, scale)
            times = functools.partial(tf.linalg.matvec, hessian)
        u = scale * self.free * _finite(u)
        space = _RowSpace(self._rows * scale[..., None, :])
        w = -space.pseudoinverse(_finite(r))
        right = space.orthogonal(u - times(w))
        if size <= MAX_DIRECT:
            reduced = space.orthogonal_rows(tf.linalg.matrix_transpose(space.orthogonal_rows(hessian)))
            w += space.orthogonal(_least_squares(reduced, right))
        else:
            w += _conjugate_residuals(lambda y: space.orthogonal(times(y)), right)
        v = space.pseudoinverse_transposed(u - times(w))
        return scale * w, v


class _RowSpace:
    """The space spanned by the rows of a matrix ``[..., m, n]``, and its complement; the rows may be dependent.

    Vectors begin with the dimensions that the matrix begins with.
    """

    def __init__(self, matrix: tf.Tensor) -> None:
        self._lengths = _or_one(tf.norm(matrix, axis=-1))
        singular, self._left, right = tf.linalg.svd(matrix / self._lengths[..., None])
        largest = tf.reduce_max(singular, -1, keepdims=True)
        is_zero = singular <= 16 * max(matrix.shape[-2:]) * EPSILON * largest
        self._inverse = _zero_where(is_zero, 1 / _or_one(singular))
        self._basis = tf.linalg.matrix_transpose(_zero_where(is_zero[..., None, :], right))

    def orthogonal(self, y: tf.Tensor) -> tf.Tensor:
        """Return the part of a vector that is orthogonal to all rows of the matrix."""
        return y - tf.linalg.matvec(self._basis, tf.linalg.matvec(self._basis, y), transpose_a=True)

    def orthogonal_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Return that part of each row of a matrix ``[..., k, n]``."""
        return rows - tf.matmul(tf.matmul(rows, self._basis, transpose_b=True), self._basis)

    def pseudoinverse(self, y: tf.Tensor) -> tf.Tensor:
        """Return the shortest w that solves A w = y, in least squares if nothing solves it."""
        found = self._inverse * tf.linalg.matvec(self._left, y / self._lengths, transpose_a=True)
        return tf.linalg.matvec(self._basis, found, transpose_a=True)

    def pseudoinverse_transposed(self, u: tf.Tensor) -> tf.Tensor:
        """Return the shortest v that solves Aᵀ v = u, in least squares if nothing solves it."""
        return tf.linalg.matvec(self._left, self._inverse * tf.linalg.matvec(self._basis, u)) / self._lengths


def _least_squares(matrix: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Return the shortest least-squares solution of a symmetric system, singular or not."""
    values, vectors = tf.linalg.eigh(matrix)
    size = tf.abs(values)
    is_zero = size <= 16 * matrix.shape[-1] * EPSILON * tf.reduce_max(size, -1, keepdims=True)
    inverse = _zero_where(is_zero, 1 / tf.where(is_zero, tf.ones_like(values), values))
    return tf.linalg.matvec(vectors, inverse * tf.linalg.matvec(vectors, right, transpose_a=True))


def _conjugate_residuals(times: Callable[[tf.Tensor], tf.Tensor], right: tf.Tensor) -> tf.Tensor:
    """Solve positive semidefinite systems in least squares; stop one early if it turns out to be indefinite.

    This variant of conjugate gradients minimises the residual (Y. Saad, "Iterative Methods for Sparse Linear Systems",
    2003, section 6.8), so it also ends well if a singular system has no solution.
    """

    def goes_on(r: tf.Tensor, p: tf.Tensor, ar: tf.Tensor, ap: tf.Tensor) -> tf.Tensor:
        # All are false for NaN. The first also checks that the curvature along r is positive.
        is_steep = _dot(r, ar) > EPSILON * _norm(r) * _norm(ar)
        norm = _norm(ap) / _norm(p)
        return is_steep & (_norm(r) > TOLERANCE * _norm(right)) & (_norm(ar) > TOLERANCE * norm * _norm(r))

    def step(solution: tf.Tensor, *state: tf.Tensor) -> list[tf.Tensor]:
        r, p, ar, ap = state
        length = _dot(r, ar) / _dot(ap, ap)
        following = r - length * ap
        image = times(following)
        share = _dot(following, image) / _dot(r, ar)
        new = solution + length * p, following, following + share * p, image, image + share * ap
        going = goes_on(*state)  # the others stay where they have ended
        return [tf.where(going, after, before) for before, after in zip((solution, *state), new, strict=True)]

    image = times(right)
    start = [tf.zeros_like(right), right, right, image, image]
    found, *_ = tf.while_loop(
        lambda _, *state: tf.reduce_any(goes_on(*state)), step, start, maximum_iterations=MAX_ITERATIONS
    )
    return found


def _at_bounds(x: tf.Tensor, slope: tf.Tensor, low: Any, high: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Return, for the lower and the upper bounds, 1 where the slope presses x against the bound, otherwise 0."""
    if low is None:
        return tf.zeros_like(x), tf.zeros_like(x)
    rounding = 4 * EPSILON * tf.maximum(tf.abs(x), 1.0)
    is_low, is_high = x - low <= rounding, high - x <= rounding
    at_low = is_low & ((slope > 0) | (is_high & (slope == 0)))
    at_high = is_high & (slope < 0)
    return tf.cast(at_low, tf.float64), tf.cast(at_high, tf.float64)


def _outer(column: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    return column[..., :, None] * row[..., None, :]


def _norm(y: tf.Tensor) -> tf.Tensor:
    return tf.norm(y, axis=-1, keepdims=True)


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b, -1, keepdims=True)


def _or_one(size: tf.Tensor) -> tf.Tensor:
    return tf.where(size > 0, size, tf.ones_like(size))


def _zero_where(condition: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return tf.where(condition, tf.zeros_like(value), value)


def _finite(value: tf.Tensor) -> tf.Tensor:
    return _zero_where(~tf.math.is_finite(value), value)
