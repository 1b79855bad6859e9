"""The extension refuses wrong arguments with a sentence and never crashes."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from native_functions import objective, rosenbrock, rosenbrock_objective, trace, vector_layout, vectors

from tfminimize import _native
from tfminimize._tf import private
from tfminimize._tf.dispatch import call_plan


@pytest.mark.parametrize("n", [0, 1, 7, 8, 1001])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_aligned_zeros(n: int, dtype: str) -> None:
    array = _native.aligned_zeros(n, dtype)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.zeros(n))
    assert array.ctypes.data % 64 == 0
    array[:] = 1.0


def test_aligned_zeros_outlive_their_views() -> None:
    view = _native.aligned_zeros(1000)[500:]
    view[:] = 1.0
    assert view.sum() == 500.0


@pytest.mark.parametrize(("n", "dtype"), [(-1, "float64"), (3, "float16")])
def test_aligned_zeros_refuses(n: int, dtype: str) -> None:
    with pytest.raises(ValueError, match="must"):
        _native.aligned_zeros(n, dtype)


def unaligned(n: int) -> Any:
    return _native.aligned_zeros(n + 1)[1:]


def frozen(n: int) -> Any:
    array = _native.aligned_zeros(n)
    array.flags.writeable = False
    return array


WRONG_VECTORS = {
    "dtype": (lambda n: _native.aligned_zeros(n, "float32"), TypeError),
    "byte order": (lambda n: np.zeros(n, ">f8"), TypeError),
    "alignment": (unaligned, ValueError),
    "stride": (lambda n: _native.aligned_zeros(2 * n)[::2], ValueError),
    "rank": (lambda n: _native.aligned_zeros(n).reshape(1, n), ValueError),
    "read-only": (frozen, ValueError),
    "list": (lambda n: [0.0] * n, TypeError),
}


@pytest.mark.parametrize("wrong", WRONG_VECTORS)
def test_solver_refuses_vectors_it_cannot_use_in_place(wrong: str) -> None:
    make, error = WRONG_VECTORS[wrong]
    with pytest.raises(error):
        _native.Lbfgsb(make(8), _native.aligned_zeros(8))
    with pytest.raises(error):
        _native.Lbfgsb(_native.aligned_zeros(8), make(8))


@pytest.mark.parametrize("wrong", [w for w in WRONG_VECTORS if w != "read-only"])
def test_evaluation_refuses_vectors_it_cannot_use_in_place(wrong: str) -> None:
    make, error = WRONG_VECTORS[wrong]
    function = rosenbrock_objective(8)
    with pytest.raises(error):
        function.evaluate(make(8), _native.aligned_zeros(8))
    with pytest.raises(error):
        function.evaluate(_native.aligned_zeros(8), make(8))


def test_solver_refuses_sizes_that_differ() -> None:
    x, g = vectors(8)
    with pytest.raises(ValueError, match="gradient and x must have the same size"):
        _native.Lbfgsb(x, _native.aligned_zeros(9))
    with pytest.raises(ValueError, match="lower has 7 elements"):
        _native.Lbfgsb(x, g, lower=np.zeros(7))
    with pytest.raises(ValueError, match="upper has 9 elements"):
        _native.Lbfgsb(x, g, upper=np.zeros(9))
    with pytest.raises(TypeError, match="lower has dtype int64"):
        _native.Lbfgsb(x, g, lower=np.zeros(8, np.int64))


def test_solver_keeps_its_arrays() -> None:
    x, g = vectors(3, [1.0, 2.0, 3.0])
    solver = _native.Lbfgsb(x, g, lower=np.full(3, -5.0), upper=np.full(3, 5.0))
    assert solver.x is x
    assert solver.gradient is g
    del x, g
    assert _native.drive(solver, _native.HostObjective(lambda x: (x @ x, 2 * x))).evaluations > 0
    np.testing.assert_allclose(solver.x, 0.0, atol=1e-6)


def test_program_of_another_build_is_refused() -> None:
    import ctypes

    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    memory = ctypes.create_string_buffer(64)
    for name in (b"tfminimize.XlaProgram", b"tfminimize.XlaProgram of 0123456789abcdef"):
        with pytest.raises(TypeError, match=rf"program is a capsule of {name.decode()}; .* of the same build"):
            _native.XlaCall(new(ctypes.addressof(memory), name, None), [])


def test_arguments_of_plain_functions() -> None:
    x, g = vectors(2, 1.0)
    function, solver = _native.HostObjective(lambda x: (x @ x, 2 * x)), _native.Lbfgsb(x, g)
    assert function.evaluate(g=g, x=x) == 2.0
    assert _native.drive(objective=function, solver=solver, on_iteration=None).evaluations > 0
    for arguments, keywords, sentence in (
        ((solver,), {}, r"drive\(\) needs the argument objective"),
        ((solver, function, *[None] * 7), {}, r"drive\(\) takes 8 arguments, not 9"),
        ((solver, function, None, None, 3), {}, r"drive\(\) cannot take a int as history"),
        ((solver, function), {"objective": function}, r"drive\(\) got the argument objective twice"),
        ((solver, function), {"callback": None}, r"drive\(\) has no parameter callback"),
        ((solver, function, 1), {}, r"drive\(\) cannot take a int as on_iteration"),
        ((solver, solver), {}, r"drive\(\) cannot take a .*Lbfgsb as objective"),
    ):
        with pytest.raises(TypeError, match=sentence):
            _native.drive(*arguments, **keywords)
    with pytest.raises(TypeError, match=r"evaluate\(\) cannot take a .*Lbfgsb as self"):
        type(function).evaluate(solver, x, g)
    with pytest.raises(TypeError, match=r"evaluate\(\) cannot take a NoneType as self"):
        type(function).evaluate(None, x, g)


def test_memory_of_any_size_is_counted() -> None:
    for n, m, count in ((1, 2**64 - 1, 1), (2**60, 2**60, 2**60), (2**64 - 1, 0, 1)):
        with pytest.raises(MemoryError, match=f"{n} variables and {m} constraints needs .* GB of memory"):
            _native.Slsqp.check_memory(n, m, count)
    with pytest.raises(MemoryError, match=f"{2**60} variables and maxcor = 10 needs .* GB of memory"):
        _native.Lbfgsb.check_memory(2**60, 10)


def test_stopped_solver_cannot_advance() -> None:
    x, g = vectors(2)
    solver = _native.Lbfgsb(x, g)
    assert solver.advance(0.0) is _native.Request.STOPPED
    with pytest.raises(RuntimeError, match="has stopped"):
        solver.advance(0.0)
    with pytest.raises(RuntimeError, match="iteration is complete"):
        solver.stop()


def test_state_of_another_solver_is_refused() -> None:
    state = _native.Lbfgsb(*vectors(3)).save()
    for other in (state[:-1], state + b"x", b"", b"nonsense" * 30):
        with pytest.raises(ValueError):
            _native.Lbfgsb(*vectors(3)).restore(other)
    with pytest.raises(ValueError):
        _native.Lbfgsb(*vectors(4)).restore(state)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((4, (3,), "float64"), ValueError, "offset of a component is 4, which is not a multiple of 8"),
        ((0, (3,), "float16"), ValueError, "'float16'; it must be 'float64' or 'float32'"),
        ((0, (-3,), "float64"), ValueError, "negative extent"),
        ((0, (2**62, 4), "float64"), ValueError, "more elements than memory can hold"),
        ((-8, (3,), "float64"), TypeError, "incompatible"),
        ((0, (3,), "float64", _native.aligned_zeros(3, "float32")), ValueError, "not float32"),
        ((0, (3,), "float32", _native.aligned_zeros(4, "float32")), ValueError, "staging has 4 elements"),
        ((0, (3,), "float32", _native.aligned_zeros(3)), TypeError, "staging has dtype float64"),
        ((0, (3,), "float32", _native.aligned_zeros(4, "float32")[1:]), ValueError, "multiple of 64"),
    ],
)
def test_component_refuses(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        _native.Component(*arguments)


def test_inputs_that_are_no_tensors_are_refused() -> None:
    concrete = trace(rosenbrock, vector_layout(8))
    for wrong in (None, 1.5, "x", np.zeros(8), tf.Variable(np.zeros(8))):
        with pytest.raises(TypeError, match="must be an EagerTensor"):
            objective(concrete, vector_layout(8), inputs=[wrong], dispatch="function")
    with pytest.raises(ValueError, match="component 1, and there are only 1"):
        objective(concrete, vector_layout(8), inputs=[1], dispatch="function")


def test_symbolic_tensor_is_refused() -> None:
    concrete = trace(rosenbrock, vector_layout(8))
    with pytest.raises(TypeError, match="must be an EagerTensor"):
        objective(concrete, vector_layout(8), inputs=[concrete.inputs[0]], dispatch="function")


def test_context_must_be_tensorflows() -> None:
    with pytest.raises(TypeError):
        _native.FunctionObjective(object(), [_native.FunctionCall(b"f", [0])], [])
    named = __import__("datetime").datetime_CAPI
    with pytest.raises(TypeError, match="capsule"):
        _native.FunctionObjective(named, [_native.FunctionCall(b"f", [0])], [])


def test_unknown_function_is_an_error_of_tensorflow() -> None:
    component = _native.Component(0, (8,), "float64")
    with pytest.raises(tf.errors.NotFoundError, match="no_such_function"):
        _native.FunctionObjective(
            private.context_capsule(), [_native.FunctionCall(b"no_such_function", [0])], [component]
        )


def test_unknown_dispatch_is_refused() -> None:
    with pytest.raises(ValueError, match="dispatch is 'quickly'"):
        rosenbrock_objective(8, dispatch="quickly")


def test_x_that_ends_before_the_components_is_refused() -> None:
    function = rosenbrock_objective(8)
    with pytest.raises(ValueError, match="x has 7 elements, and the components end at 8"):
        function.evaluate(*vectors(7))
    with pytest.raises(ValueError, match="same size"):
        function.evaluate(_native.aligned_zeros(16), _native.aligned_zeros(8))


@pytest.mark.parametrize("dispatch", ["function", "partitioned_call", "fastest"])
def test_wrong_number_of_inputs_is_an_error_of_tensorflow(dispatch: str) -> None:
    concrete = trace(rosenbrock, vector_layout(8))
    function = objective(concrete, vector_layout(8), inputs=[0, 0], dispatch=dispatch)
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError):
            function.evaluate(*vectors(8))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: [tf.reduce_sum(x)], "returns 1 tensors"),
        (lambda x: [tf.reduce_sum(x), x, x], "Expecting 3 outputs"),
        (lambda x: [x, x], "loss has 8 elements; it must have 1"),
        (lambda x: [tf.reduce_sum(x), x[:3]], "gradient of component 0 has 3 elements; it must have 8"),
        (lambda x: [tf.reduce_sum(x), tf.cast(x, tf.float32)], "gradient of component 0 is float32"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(function: Any, message: str) -> None:
    concrete = tf.function(function).get_concrete_function(tf.TensorSpec([8], tf.float64))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        objective(concrete, vector_layout(8), dispatch="function").evaluate(*vectors(8))


@pytest.mark.parametrize("dispatch", ["partitioned_call", "fastest"])
@pytest.mark.parametrize("count", [1, 3])
def test_partitioned_call_with_another_number_of_outputs_is_refused(count: int, dispatch: str) -> None:
    concrete = tf.function(lambda x: [tf.reduce_sum(x), x, x][:count]).get_concrete_function(
        tf.TensorSpec([8], tf.float64)
    )
    with pytest.raises(ValueError, match=f"The function returns {count} tensors, and 2 were expected"):
        objective(concrete, vector_layout(8), dispatch=dispatch)


def test_loss_of_another_dtype_is_refused() -> None:
    concrete = trace(rosenbrock, vector_layout(8))
    call = call_plan(concrete, False)._replace(loss_dtype="float32")
    with pytest.raises(ValueError, match="The loss is float64, and float32 was expected"):
        objective(concrete, vector_layout(8), dispatch="function", call=call).evaluate(*vectors(8))


def test_argument_of_another_dtype_is_refused() -> None:
    data = tf.constant(2.0, tf.float64)
    specs = [tf.TensorSpec([8], tf.float64), tf.TensorSpec([], tf.float64)]
    concrete = tf.function(lambda x, a: [a * tf.reduce_sum(x), a * tf.ones_like(x)]).get_concrete_function(*specs)
    function = objective(concrete, vector_layout(8), inputs=[0, data])
    with pytest.raises(ValueError, match="another dtype"):
        function.set_input(1, tf.constant(2.0, tf.float32))
    with pytest.raises(ValueError, match="not a tensor that can be replaced"):
        function.set_input(0, data)
    with pytest.raises(ValueError, match="not a tensor that can be replaced"):
        function.set_input(2, data)
    x, g = vectors(8, 1.0)
    function.set_input(1, tf.constant(3.0, tf.float64))
    assert function.evaluate(x, g) == 24.0
    np.testing.assert_array_equal(g, 3.0)


@pytest.mark.subprocess
def test_binding_names_missing_symbols() -> None:
    # In a new interpreter, because binding happens only once.
    script = (
        "from tfminimize import _native\n"
        "try:\n    _native.bind_tensorflow('libtensorflow_nowhere.so', 'x', print)\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "libtensorflow_nowhere.so is not loaded" in done.stdout
