# What each of these does is said in the extension's own docstrings.

import enum
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]

class Request(enum.Enum):
    EVALUATE = 0
    ITERATION = 1
    STOPPED = 2

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
    ) -> None: ...
    def advance(self, f: float) -> Request: ...
    def stop(self) -> None: ...
    def corrections(self) -> tuple[Vector, Vector]: ...
    def save(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
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
        make_error: Callable[[int, str], BaseException] | None = None,
    ) -> None: ...
    @property
    def dispatch(self) -> Literal["function", "partitioned_call"]: ...
    def set_input(self, position: int, tensor: Any) -> None: ...
    def repeat(self, x: Vector, g: Vector, count: int) -> float: ...
    def input_address(self, x: Vector, position: int) -> int: ...

@final
class Timing:
    @property
    def evaluate(self) -> float: ...
    @property
    def solver(self) -> float: ...
    @property
    def evaluations(self) -> int: ...

def drive(solver: Lbfgsb, objective: Objective, on_iteration: Callable[[], object] | None = None) -> Timing: ...
