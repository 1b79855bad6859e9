# What each of these does is said in the extension's own docstrings.

import enum
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]
Matrix: TypeAlias = NDArray[np.float64]

class Request(enum.Enum):
    EVALUATE = 0
    DERIVATIVES = 1
    ITERATION = 2
    STOPPED = 3

class Status(enum.Enum):
    RUNNING = 0
    GRADIENT_CONVERGED = 1
    FUNCTION_CONVERGED = 2
    MAX_ITERATIONS = 3
    MAX_EVALUATIONS = 4
    MAX_TIME = 5
    CALLER_STOPPED = 6
    LINE_SEARCH_FAILED = 7
    GRADIENT_MISMATCH = 8
    NON_FINITE_START = 9
    UNBOUNDED_BELOW = 10
    DIVERGED = 11

class SlsqpStatus(enum.Enum):
    RUNNING = 0
    CONVERGED = 1
    TOO_MANY_EQUALITIES = 2
    SUBPROBLEM_LIMIT = 3
    INCONSISTENT = 4
    SINGULAR_EQUALITIES = 5
    NO_DESCENT = 6
    MAX_ITERATIONS = 7
    MAX_TIME = 8
    CALLER_STOPPED = 9
    NON_FINITE_START = 10
    NON_FINITE_DERIVATIVES = 11
    NON_FINITE_SEARCH = 12
    UNBOUNDED_BELOW = 13
    GRADIENT_MISMATCH = 14

class BfgsStatus(enum.Enum):
    RUNNING = 0
    GRADIENT_CONVERGED = 1
    STEP_CONVERGED = 2
    MAX_ITERATIONS = 3
    MAX_TIME = 4
    PRECISION_LOSS = 5
    GRADIENT_MISMATCH = 6
    UNBOUNDED_BELOW = 7
    NAN = 8
    INFINITE_START = 9
    CALLER_STOPPED = 10

def aligned_matrix(rows: int, columns: int) -> Matrix: ...
def aligned_zeros(n: int, dtype: str = "float64") -> NDArray[Any]: ...
def bind_tensorflow(
    libtensorflow_cc: str, pywrap_tensorflow: str, make_error: Callable[[int, str], BaseException]
) -> None: ...

class Solver:
    def advance(self, f: float, with_derivatives: bool = False) -> Request: ...
    def stop(self) -> None: ...
    def multipliers(self) -> Vector: ...
    def restart_as_before(self) -> None: ...
    def save(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
    @property
    def outcome(self) -> tuple[int, str, float, int, int, int, float]: ...
    @property
    def x(self) -> Vector: ...
    @property
    def gradient(self) -> Vector: ...
    @property
    def constraints(self) -> Any: ...
    @property
    def jacobian(self) -> Any: ...
    @property
    def request(self) -> Request: ...
    @property
    def status_code(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def fun(self) -> float: ...
    @property
    def constr_violation(self) -> float: ...
    @property
    def nit(self) -> int: ...
    @property
    def nfev(self) -> int: ...
    @property
    def njev(self) -> int: ...
    @property
    def expects_derivatives(self) -> bool: ...
    @property
    def has_derivatives(self) -> bool: ...

@final
class Lbfgsb(Solver):
    def __init__(
        self,
        x: Vector,
        gradient: Vector,
        constraints: Vector | None = None,
        jacobian: Matrix | None = None,
        num_equalities: int = 0,
        *,
        lower: Vector | None = None,
        upper: Vector | None = None,
        offsets: Vector | None = None,
        num_variables: int = 0,
        maxcor: int = 10,
        ftol: float = ...,
        gtol: float = ...,
        maxfun: int = 15000,
        maxiter: int = 15000,
        maxls: int = 20,
        maxtime: float = ...,
        precision: float = ...,
        storage: str = "float64",
    ) -> None: ...
    def restart(
        self,
        *,
        maxcor: int = 10,
        ftol: float = ...,
        gtol: float = ...,
        maxfun: int = 15000,
        maxiter: int = 15000,
        maxls: int = 20,
        maxtime: float = ...,
        precision: float = ...,
        storage: str = "float64",
    ) -> None: ...
    def resume(
        self,
        *,
        maxcor: int = 10,
        ftol: float = ...,
        gtol: float = ...,
        maxfun: int = 15000,
        maxiter: int = 15000,
        maxls: int = 20,
        maxtime: float = ...,
        precision: float = ...,
    ) -> None: ...
    def warm_start(self, other: Lbfgsb) -> bool: ...
    @staticmethod
    def check_memory(n: int, maxcor: int, storage: str = "float64", count: int = 1, beside: float = 0) -> None: ...
    def corrections(self) -> tuple[Vector, Vector]: ...
    @property
    def status(self) -> Status: ...
    @property
    def num_corrections(self) -> int: ...

@final
class Slsqp(Solver):
    def __init__(
        self,
        x: Vector,
        gradient: Vector,
        constraints: Vector | None = None,
        jacobian: Matrix | None = None,
        num_equalities: int = 0,
        *,
        lower: Vector | None = None,
        upper: Vector | None = None,
        offsets: Vector | None = None,
        num_variables: int = 0,
        ftol: float = 1e-6,
        maxiter: int = 100,
        maxtime: float = ...,
        precision: float = ...,
    ) -> None: ...
    def restart(
        self, *, ftol: float = ..., maxiter: int = 100, maxtime: float = ..., precision: float = ...
    ) -> None: ...
    def resume(
        self, *, ftol: float = ..., maxiter: int = 100, maxtime: float = ..., precision: float = ...
    ) -> None: ...
    def warm_start(self, other: Slsqp) -> bool: ...
    @staticmethod
    def check_memory(n: int, m: int, count: int = 1) -> None: ...
    @property
    def status(self) -> SlsqpStatus: ...

@final
class Bfgs(Solver):
    def __init__(
        self,
        x: Vector,
        gradient: Vector,
        constraints: Vector | None = None,
        jacobian: Matrix | None = None,
        num_equalities: int = 0,
        *,
        lower: Vector | None = None,
        upper: Vector | None = None,
        offsets: Vector | None = None,
        num_variables: int = 0,
        gtol: float = 1e-5,
        norm: float = ...,
        xrtol: float = 0,
        c1: float = 1e-4,
        c2: float = 0.9,
        maxiter: int | None = None,
        hess_inv0: Matrix | None = None,
        update: str = "bfgs",
        initial_scale: bool = False,
        maxtime: float = ...,
        precision: float = ...,
    ) -> None: ...
    def restart(
        self,
        *,
        gtol: float = 1e-5,
        norm: float = ...,
        xrtol: float = 0,
        c1: float = 1e-4,
        c2: float = 0.9,
        maxiter: int | None = None,
        hess_inv0: Matrix | None = None,
        update: str = "bfgs",
        initial_scale: bool = False,
        maxtime: float = ...,
        precision: float = ...,
    ) -> None: ...
    def resume(
        self,
        *,
        gtol: float = 1e-5,
        norm: float = ...,
        xrtol: float = 0,
        c1: float = 1e-4,
        c2: float = 0.9,
        maxiter: int | None = None,
        hess_inv0: Matrix | None = None,
        update: str = "bfgs",
        initial_scale: bool = False,
        maxtime: float = ...,
        precision: float = ...,
    ) -> None: ...
    def warm_start(self, other: Bfgs) -> bool: ...
    @staticmethod
    def check_memory(n: int, count: int = 1, beside: float = 0) -> None: ...
    def inverse_hessian(self) -> Matrix: ...
    @property
    def status(self) -> BfgsStatus: ...
    @property
    def num_skipped_updates(self) -> int: ...
    @property
    def num_resets(self) -> int: ...

class QpStatus(enum.Enum):
    SOLVED = 0
    INFEASIBLE = 1
    SINGULAR_EQUALITIES = 2
    PIVOT_LIMIT = 3

@final
class DualActiveSetQp:
    def __init__(self, n: int, m: int) -> None: ...
    def solve(
        self,
        hessian: Matrix,
        gradient: Vector,
        constraints: Vector,
        jacobian: Matrix,
        num_equalities: int = 0,
        lower: Vector | None = None,
        upper: Vector | None = None,
    ) -> tuple[QpStatus, Vector, Vector, Vector, Vector, int]: ...

class Objective:
    ends_at_deadline: bool
    def evaluate(self, x: Vector, g: Vector, c: Vector | None = None, jacobian: Matrix | None = None) -> float: ...
    def values(self, x: Vector, c: Vector | None = None) -> float: ...
    def derivatives(self, x: Vector, g: Vector, jacobian: Matrix | None = None) -> None: ...

@final
class HostObjective(Objective):
    def __init__(
        self,
        fun: Callable[[Vector], tuple[Any, Any]],
        derivatives: Callable[[Vector], tuple[Any, Any]] | None = None,
    ) -> None: ...

@final
class Component:
    def __init__(
        self,
        offset: int,
        shape: Sequence[int],
        dtype: str,
        staging: NDArray[np.float32] | None = None,
    ) -> None: ...

class Call: ...

@final
class FunctionCall(Call):
    def __init__(
        self,
        function: bytes,
        inputs: Sequence[Any],
        *,
        dispatch: str = "function",
        config_proto: bytes = b"",
        executor_type: str = "",
        device: str = "",
        optimized: bytes = b"",
        repeatable: bool = False,
        keeps_inputs: bool = False,
        make_error: Callable[[int, str], BaseException] | None = None,
    ) -> None: ...

@final
class XlaCall(Call):
    def __init__(self, program: Any, inputs: Sequence[Any], use_thread_pool: bool = True) -> None: ...

@final
class Row:
    def __init__(self, row: int, source: int, sign: float = 1.0, offset: float = 0.0) -> None: ...
    @property
    def row(self) -> int: ...
    @property
    def source(self) -> int: ...
    @property
    def sign(self) -> float: ...
    @property
    def offset(self) -> float: ...

@final
class FunctionObjective(Objective):
    def __init__(
        self,
        context: Any,
        calls: Sequence[Call],
        components: Sequence[Component],
        rows: Sequence[Row] = (),
        *,
        num_values: int = 0,
        num_sums: int = 0,
        loss_dtype: str = "float64",
        values_dtype: str = "float64",
        arrays: Sequence[tuple[int, np.dtype[Any], Sequence[int]]] = (),
    ) -> None: ...
    @property
    def sums(self) -> NDArray[np.float64]: ...
    def arrays(self) -> list[NDArray[Any]]: ...
    @property
    def dispatch(self) -> tuple[Literal["function", "partitioned_call", "machine_code"], ...]: ...
    def set_input(self, position: int, tensor: Any, function: int | None = None) -> None: ...
    def set_rows(self, rows: Sequence[Row]) -> None: ...
    def repeat(self, x: Vector, count: int) -> tuple[float, ...]: ...
    def input_address(self, x: Vector, position: int) -> tuple[int, ...]: ...

@final
class VectorObjective(Objective):
    def __init__(
        self,
        context: Any,
        calls: Sequence[Call],
        components: Sequence[Component],
        *,
        capacity: int,
        sizes: Sequence[int],
        batched: Sequence[tuple[np.dtype[Any], Sequence[int]]],
        num_values: int = 0,
        loss_dtype: str = "float64",
        values_dtype: str = "float64",
    ) -> None: ...
    def set_input(self, position: int, tensor: Any, function: int | None = None) -> None: ...
    def set_rows(self, rows: Sequence[Row]) -> None: ...

@final
class DataSum(Objective):
    def __init__(
        self,
        context: Any,
        *,
        batch: Sequence[Call],
        last: Sequence[Call],
        penalty: Sequence[Call],
        components: Sequence[Component],
        data: Sequence[Any],
        rows: int,
        batch_size: int,
        is_mean: bool,
        num_sums: int = 0,
    ) -> None: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def sums(self) -> NDArray[np.float64]: ...
    def set_input(self, position: int, tensor: Any, function: int | None = None) -> None: ...
    def set_rows(self, rows: Sequence[Row]) -> None: ...

@final
class Race:
    def __init__(self) -> None: ...
    def add(self) -> int: ...
    def refuse(self, way: int) -> None: ...
    def is_refused(self, way: int) -> bool: ...
    def needed(self, in_batch: bool) -> int: ...
    def report(self, in_batch: bool) -> tuple[int, bool, list[float]]: ...
    def wait(self, seconds: float) -> None: ...
    def call(self) -> None: ...
    def attended(self) -> None: ...
    @property
    def is_due(self) -> bool: ...
    @property
    def seconds(self) -> float: ...

@final
class Fastest(Objective):
    def __init__(self, race: Race, tolerance: float, attend: Callable[[], Any]) -> None: ...
    @property
    def sums(self) -> NDArray[np.float64]: ...
    def arrays(self) -> list[NDArray[Any]]: ...
    def add(self, objective: Objective | None, first_input: int = 0) -> None: ...
    def use(self, ways: int) -> None: ...

def begin_background_work() -> None: ...
def end_background_work() -> None: ...

@final
class SideThread:
    def __init__(self) -> None: ...
    def serve(self) -> None: ...
    def call(self, function: Callable[[], Any]) -> Any: ...
    def close(self) -> None: ...

class PeerFailed(RuntimeError): ...

@final
class Reduced(Objective):
    def __init__(
        self,
        objective: Objective,
        thread: SideThread,
        sum: Callable[[Vector], None],
        *,
        rank: int,
        size: int,
        is_mean: bool,
        rows: float,
        counts_rows: bool = False,
        num_sums: int = 0,
        on_shared: Callable[[], object] | None = None,
        shared: Vector | None = None,
    ) -> None: ...
    @property
    def sums(self) -> Vector: ...
    def fail(self, error: BaseException, x: Vector) -> None: ...
    @property
    def rounds(self) -> int: ...
    @property
    def has_ended(self) -> bool: ...
    @property
    def has_failed(self) -> bool: ...

@final
class Timing:
    @property
    def evaluate(self) -> float: ...
    @property
    def first(self) -> float: ...
    @property
    def solver(self) -> float: ...
    @property
    def evaluations(self) -> int: ...

@final
class History:
    def __init__(
        self,
        keeps_rows: bool,
        seconds: float = 0.0,
        columns: dict[str, NDArray[Any]] = ...,
        keeps_latest: bool = False,
    ) -> None: ...
    @property
    def keeps_rows(self) -> bool: ...
    @property
    def gradient_norm(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    def columns(self) -> dict[str, NDArray[Any]]: ...

def drive(
    solver: Solver,
    objective: Objective,
    on_iteration: Callable[[], object] | None = None,
    on_start: Callable[[], object] | None = None,
    history: History | None = None,
    on_begin: Callable[[], object] | None = None,
    on_poll: Callable[[], object] | None = None,
    on_evaluation: Callable[[], object] | None = None,
) -> Timing: ...
def drive_batch(
    solvers: tuple[Solver, ...],
    objectives: tuple[Objective, ...],
    x: Matrix,
    inputs: Sequence[tuple[int, NDArray[Any]]],
    progress: Callable[[int], object] | None = None,
    keeps_history: bool | None = None,
    bounds: tuple[Matrix, Matrix] | None = None,
    starts: int | None = None,
) -> tuple[dict[str, Any], Timing]: ...
def drive_in_step(
    solvers: tuple[tuple[Solver, ...], ...],
    objectives: tuple[VectorObjective, ...],
    x: Matrix,
    inputs: Sequence[tuple[int, NDArray[Any]]],
    progress: Callable[[int], object] | None = None,
    keeps_history: bool | None = None,
    bounds: tuple[Matrix, Matrix] | None = None,
    starts: int | None = None,
) -> tuple[dict[str, Any], Timing]: ...
def set_num_threads(num_threads: int) -> None: ...
def get_num_threads() -> int: ...
def available_memory() -> float: ...
