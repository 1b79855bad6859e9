"""Results: SciPy's fields, filled from a native solver."""

from __future__ import annotations

import collections
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.optimize import LbfgsInvHessProduct
from scipy.sparse.linalg import LinearOperator

from tfminimize._problem.layout import Layout
from tfminimize._problem.state import State

__all__ = [
    "STOPPED",
    "STOPPED_BY_CALLBACK",
    "BatchResult",
    "Histories",
    "InverseHessian",
    "InverseHessianMatrix",
    "OptimizeResult",
]

Float64 = NDArray[np.float64]

STOPPED = 99
"""SciPy's status for a solve that the callback stopped."""

STOPPED_BY_CALLBACK = "`callback` raised `StopIteration`."
"""SciPy's message for status 99."""


class OptimizeResult(scipy.optimize.OptimizeResult):  # type: ignore[misc]
    """`scipy.optimize.OptimizeResult` with typed fields; a field that the method does not have is missing.

    Examples
    --------
    >>> result = tfm.minimize(lambda x: tf.reduce_sum((x - 3.0) ** 2), np.zeros(2))
    >>> isinstance(result, OptimizeResult), result.success, result.x.round(3)
    (True, True, array([3., 3.]))
    """

    x: Any
    fun: np.float64
    jac: Any
    nit: int
    nfev: int
    njev: int
    status: int
    success: bool
    message: str
    hess_inv: Any
    num_skipped_updates: int
    num_resets: int
    multipliers: Float64
    constr_violation: np.float64
    history: dict[str, NDArray[Any]]
    backend: str
    backend_reason: str | None
    timing: dict[str, float]

    @property
    def state(self) -> State:
        """The whole solver, to go on with; see `tfminimize.State`. It is made when it is asked for."""
        source = self.__dict__.get("_source")
        if source is None:
            raise AttributeError
        state: State = source.state()
        return state

    def __getattr__(self, name: str) -> Any:
        if name == "state":
            raise AttributeError(
                "this result has no state: only L-BFGS-B, SLSQP and BFGS have one, and a result that was pickled loses "
                "it (pickle result.state)."
            )
        return super().__getattr__(name)

    def keep(self, source: Any) -> None:
        """Take the state from ``source.state()`` when somebody asks for it."""
        self.__dict__["_source"] = source


class Histories(Sequence[dict[str, NDArray[Any]]]):
    """The histories of the problems of a batch, each a dict of arrays, which is made when it is asked for.

    Parameters
    ----------
    columns : dict of ndarray
        The rows of all problems.
    begins, ends : ndarray
        Where the rows of each problem begin and end.
    """

    def __init__(self, columns: dict[str, NDArray[Any]], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self._columns = columns
        self._begins = begins
        self._ends = ends

    @classmethod
    def of(cls, columns: dict[str, NDArray[Any]], sizes: NDArray[np.int64]) -> Histories:
        """The histories of problems that have so many rows, one problem after the other."""
        ends = np.cumsum(sizes)
        return cls(columns, ends - sizes, ends)

    def take(self, places: NDArray[np.int64]) -> Histories:
        """The histories of these problems."""
        return Histories(self._columns, self._begins[places], self._ends[places])

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        return {name: column[self._begins[i] : self._ends[i]] for name, column in self._columns.items()}

    def __repr__(self) -> str:
        return f"<the histories of {len(self)} problems>"


class BatchResult(scipy.optimize.OptimizeResult):  # type: ignore[misc]
    """The result of a batch: arrays with one element for each problem.

    Examples
    --------
    >>> solver = tfm.Minimizer(lambda x: tf.reduce_sum((x - 3.0) ** 2), np.zeros(2))
    >>> solver.minimize_batch(np.zeros((4, 2))).fun.round(6)
    array([0., 0., 0., 0.])
    """

    x: Any
    fun: Float64
    jac: Any
    nit: NDArray[np.int64]
    nfev: NDArray[np.int64]
    njev: NDArray[np.int64]
    status: NDArray[np.int64]
    success: NDArray[np.bool_]
    message: list[str]
    multipliers: Float64
    constr_violation: Float64
    errors: dict[int, BaseException]
    best_start: NDArray[np.int64]
    nfev_total: NDArray[np.int64]
    history: Histories
    backend: str
    backend_reason: str | None
    timing: dict[str, float]

    def __repr__(self) -> str:
        """As SciPy's, with each message once; SciPy cannot print an empty dict."""
        shown = {name: value for name, value in self.items() if name != "errors" or value}
        if "message" in shown:
            counts = collections.Counter(shown["message"])
            shown["message"] = "\n".join(f"{count} of: {message}" for message, count in counts.most_common())
        return repr(scipy.optimize.OptimizeResult(shown))


class InverseHessian(LbfgsInvHessProduct):  # type: ignore[misc]
    """SciPy's limited-memory inverse Hessian; it takes its pairs from the solver when it is first used.

    Parameters
    ----------
    read : callable
        ``read(question)`` returns ``question(solver)``.
    layout : Layout
        How the solver's vectors are packed.

    Notes
    -----
    The product is the two-loop recursion of Nocedal, "Updating quasi-Newton matrices with limited storage", 1980.
    """

    def __init__(self, read: Callable[[Callable[[Any], Any]], Any], layout: Layout) -> None:
        self.__dict__.update(_operator_attributes(layout.size))
        self._read: Any = read
        self._layout = layout

    @functools.cached_property
    def _pairs(self) -> tuple[Float64, Float64]:
        steps, differences = self._read(operator.methodcaller("corrections"))
        self._read = None
        if self._layout.is_contiguous:
            return steps, differences
        return self._layout.flatten(steps), self._layout.flatten(differences)

    @property
    def sk(self) -> Float64:
        """Steps, the oldest first, shape (n_corrs, n)."""
        return self._pairs[0]

    @property
    def yk(self) -> Float64:
        """Differences of gradients, the oldest first, shape (n_corrs, n)."""
        return self._pairs[1]

    @property
    def n_corrs(self) -> int:
        """Number of pairs."""
        return len(self.sk)

    @functools.cached_property
    def rho(self) -> Float64:
        """The reciprocals of the inner products of the pairs."""
        rho: Float64 = 1 / np.einsum("ij,ij->i", self.sk, self.yk)
        return rho

    def __reduce__(self) -> tuple[Any, ...]:
        return LbfgsInvHessProduct, (self.sk, self.yk)


@functools.lru_cache(maxsize=64)
def _operator_attributes(size: int) -> dict[str, Any]:
    """The attributes that all operators of this size share. Checking them takes SciPy as long as ten iterations."""
    made = InverseHessian.__new__(InverseHessian)
    LinearOperator.__init__(made, np.float64, (size, size))  # its own base class needs pairs
    return dict(vars(made))


class InverseHessianMatrix(np.lib.mixins.NDArrayOperatorsMixin):
    """The inverse Hessian of BFGS, which behaves as an array ``[n, n]`` and is made when it is first used.

    Parameters
    ----------
    read : callable
        ``read(question)`` returns ``question(solver)``.
    layout : Layout
        How the solver's vectors are packed.
    """

    dtype = np.dtype(np.float64)
    ndim = 2

    def __init__(self, read: Callable[[Callable[[Any], Any]], Any], layout: Layout) -> None:
        self._read: Any = read
        self._layout = layout
        self.shape = layout.size, layout.size

    @functools.cached_property
    def _matrix(self) -> Float64:
        matrix: Float64 = self._layout.flatten_matrix(self._read(operator.methodcaller("inverse_hessian")))
        self._read = None
        return matrix

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._matrix, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        arrays = [np.asarray(i) if isinstance(i, InverseHessianMatrix) else i for i in inputs]
        if "out" in kwargs:  # as in `matrix += 1`
            kwargs["out"] = tuple(np.asarray(o) if isinstance(o, InverseHessianMatrix) else o for o in kwargs["out"])
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __getitem__(self, index: Any) -> Any:
        return self._matrix[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._matrix[index] = value

    def __bool__(self) -> bool:
        return bool(self._matrix)  # an error, as of any array of several elements

    def matvec(self, x: Any) -> Any:
        """The product with a vector, for `scipy.sparse.linalg.aslinearoperator`."""
        return self._matrix @ x

    rmatvec = matvec

    def todense(self) -> Float64:
        """A copy as an array, as `scipy.sparse.linalg.LinearOperator` of L-BFGS-B's result gives one."""
        copy: Float64 = self._matrix.copy()
        return copy

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._matrix, name)  # .T, .dot, .diagonal and the like

    def __repr__(self) -> str:
        return repr(self._matrix)

    def __reduce__(self) -> tuple[Any, ...]:
        return np.array, (self._matrix,)
