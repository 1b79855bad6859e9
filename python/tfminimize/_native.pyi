# What each of these does is said in the extension's own docstrings.

import enum
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, final, overload

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
    CALLER_STOPPED = 5
    LINE_SEARCH_FAILED = 6
    GRADIENT_MISMATCH = 7
    NON_FINITE_START = 8
    UNBOUNDED_BELOW = 9
    DIVERGED = 10

class SlsqpStatus(enum.Enum):
    RUNNING = 0
    CONVERGED = 1
    TOO_MANY_EQUALITIES = 2
    SUBPROBLEM_LIMIT = 3
    INCONSISTENT = 4
    SINGULAR_EQUALITIES = 5
    NO_DESCENT = 6
    MAX_ITERATIONS = 7
    CALLER_STOPPED = 8
    NON_FINITE_START = 9
    NON_FINITE_DERIVATIVES = 10
    NON_FINITE_SEARCH = 11
    UNBOUNDED_BELOW = 12
    GRADIENT_MISMATCH = 13

def aligned_zeros(n: int, dtype: str = "float64") -> NDArray[Any]: ...
def bind_tensorflow(
    libtensorflow_cc: str, lib_pywrap_tensorflow_common: str, make_error: Callable[[int, str], BaseException]
) -> None: ...

@final
class Lbfgsb:
    def __init__(
        self,
        x: Vector,
        gradient: Vector,
        lower: Vector | None = None,
        upper: Vector | None = None,
        *,
        maxcor: int = 10,
        ftol: float = ...,
        gtol: float = ...,
        maxfun: int = 15000,
        maxiter: int = 15000,
        maxls: int = 20,
        precision: float = ...,
    ) -> None: ...
    def advance(self, f: float) -> Request: ...
    def restart(
        self,
        *,
        maxcor: int = 10,
        ftol: float = ...,
        gtol: float = ...,
        maxfun: int = 15000,
        maxiter: int = 15000,
        maxls: int = 20,
        precision: float = ...,
    ) -> None: ...
    def stop(self) -> None: ...
    @staticmethod
    def check_memory(n: int, maxcor: int, count: int = 1) -> None: ...
    def corrections(self) -> tuple[Vector, Vector]: ...
    def save(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
    @property
    def outcome(self) -> tuple[int, str, float, int, int]: ...
    @property
    def x(self) -> Vector: ...
    @property
    def gradient(self) -> Vector: ...
    @property
    def request(self) -> Request: ...
    @property
    def status(self) -> Status: ...
    @property
    def status_code(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def fun(self) -> float: ...
    @property
    def nit(self) -> int: ...
    @property
    def nfev(self) -> int: ...
    @property
    def num_corrections(self) -> int: ...

@final
class Slsqp:
    def __init__(
        self,
        x: Vector,
        gradient: Vector,
        constraints: Vector,
        jacobian: Matrix,
        num_equalities: int,
        lower: Vector | None = None,
        upper: Vector | None = None,
        offsets: Vector | None = None,
        *,
        num_variables: int = 0,
        ftol: float = 1e-6,
        maxiter: int = 100,
        precision: float = ...,
    ) -> None: ...
    def advance(self, f: float, with_derivatives: bool = False) -> Request: ...
    def restart(self, *, ftol: float = ..., maxiter: int = 100, precision: float = ...) -> None: ...
    def stop(self) -> None: ...
    @staticmethod
    def check_memory(n: int, m: int, count: int = 1) -> None: ...
    def multipliers(self) -> Vector: ...
    def save(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
    @property
    def outcome(self) -> tuple[int, str, float, int, int]: ...
    @property
    def x(self) -> Vector: ...
    @property
    def gradient(self) -> Vector: ...
    @property
    def constraints(self) -> Vector: ...
    @property
    def jacobian(self) -> Matrix: ...
    @property
    def request(self) -> Request: ...
    @property
    def status(self) -> SlsqpStatus: ...
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
    def evaluate(self, x: Vector, g: Vector) -> float: ...

@final
class HostFunction(Objective):
    def __init__(self, fun: Callable[[Vector], tuple[Any, Any]]) -> None: ...

@final
class Component:
    def __init__(
        self,
        offset: int,
        shape: Sequence[int],
        dtype: str,
        staging: NDArray[np.float32] | None = None,
    ) -> None: ...

@final
class ConcreteFunction(Objective):
    def __init__(
        self,
        context: Any,
        function: bytes,
        inputs: Sequence[Any],
        components: Sequence[Component],
        *,
        dispatch: str = "function",
        config_proto: bytes = b"",
        executor_type: str = "",
        device: str = "",
        loss_dtype: str = "float64",
        optimized: bytes = b"",
        repeatable: bool = False,
        keeps_inputs: bool = False,
        make_error: Callable[[int, str], BaseException] | None = None,
    ) -> None: ...
    @property
    def dispatch(self) -> Literal["function", "partitioned_call"]: ...
    def set_input(self, position: int, tensor: Any) -> None: ...
    def repeat(self, x: Vector, g: Vector, count: int) -> float: ...
    def input_address(self, x: Vector, position: int) -> int: ...

@final
class FunctionCall:
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

class ConstrainedObjective:
    def evaluate(self, x: Vector, g: Vector, c: Vector, jacobian: Matrix) -> float: ...
    def evaluate_values(self, x: Vector, c: Vector) -> float: ...
    def evaluate_derivatives(self, x: Vector, g: Vector, jacobian: Matrix) -> None: ...

@final
class ConstrainedHostFunction(ConstrainedObjective):
    def __init__(
        self, values: Callable[[Vector], tuple[Any, Any]], derivatives: Callable[[Vector], tuple[Any, Any]]
    ) -> None: ...

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
class ConstrainedFunction(ConstrainedObjective):
    def __init__(
        self,
        context: Any,
        values: FunctionCall,
        derivatives: FunctionCall,
        components: Sequence[Component],
        rows: Sequence[Row],
        *,
        num_values: int,
        loss_dtype: str = "float64",
        values_dtype: str = "float64",
    ) -> None: ...
    @property
    def dispatch(self) -> tuple[Literal["function", "partitioned_call"], Literal["function", "partitioned_call"]]: ...
    def set_input(self, position: int, tensor: Any) -> None: ...
    def set_rows(self, rows: Sequence[Row]) -> None: ...
    def repeat(self, x: Vector, count: int) -> tuple[float, float]: ...
    def input_address(self, x: Vector, position: int) -> tuple[int, int]: ...

@final
class XlaCall:
    def __init__(self, program: Any, inputs: Sequence[Any]) -> None: ...

@final
class XlaExecutable(Objective):
    def __init__(
        self,
        context: Any,
        call: XlaCall,
        components: Sequence[Component],
        *,
        loss_dtype: str = "float64",
    ) -> None: ...
    def set_input(self, position: int, tensor: Any) -> None: ...
    def repeat(self, x: Vector, g: Vector, count: int) -> float: ...
    def input_address(self, x: Vector, position: int) -> int: ...

@final
class ConstrainedXlaExecutable(ConstrainedObjective):
    def __init__(
        self,
        context: Any,
        values: XlaCall,
        derivatives: XlaCall,
        components: Sequence[Component],
        rows: Sequence[Row],
        *,
        num_values: int,
        loss_dtype: str = "float64",
        values_dtype: str = "float64",
    ) -> None: ...
    def set_input(self, position: int, tensor: Any) -> None: ...
    def set_captured(self, function: int, position: int, tensor: Any) -> None: ...
    def set_rows(self, rows: Sequence[Row]) -> None: ...

@final
class Timing:
    @property
    def evaluate(self) -> float: ...
    @property
    def solver(self) -> float: ...
    @property
    def evaluations(self) -> int: ...

def drive_batch(
    solvers: tuple[Lbfgsb | Slsqp, ...],
    objectives: tuple[Objective | ConstrainedObjective, ...],
    x: Matrix,
    inputs: Sequence[tuple[int, NDArray[Any]]],
    progress: Callable[[int], object] | None = None,
) -> tuple[dict[str, Any], Timing]: ...
@overload
def drive(solver: Lbfgsb, objective: Objective, on_iteration: Callable[[], object] | None = None) -> Timing: ...
@overload
def drive(
    solver: Slsqp, objective: ConstrainedObjective, on_iteration: Callable[[], object] | None = None
) -> Timing: ...
