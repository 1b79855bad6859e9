"""On several arrays or variables we take the path that SciPy takes on one vector of all elements."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock
from s2mpj import NAMES, fun_and_gradient, load

import tfminimize as tfm

pytestmark = pytest.mark.parity

SIZES = [1, 3, 8, 2, 5]
"""Sizes of the leaves, repeated; most need padding."""

Entry = Callable[[Any, Any, Any, dict[str, Any]], Any]


def parts(size: int) -> list[slice]:
    """Return leaves of these sizes, and one with the rest."""
    slices, start = [], 0
    while start < size:
        stop = min(start + SIZES[len(slices) % len(SIZES)], size)
        slices.append(slice(start, stop))
        start = stop
    return slices


def of_leaves(fun: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[list[tf.Tensor]], tf.Tensor]:
    return lambda leaves: fun(tf.concat([tf.convert_to_tensor(leaf) for leaf in leaves], 0))


def minimize(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    return tfm.minimize(of_leaves(fun), x0, bounds=bounds, **options)


def minimize_by_xla(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    return tfm.minimize(of_leaves(fun), x0, bounds=bounds, jit_compile=True, **options)


def minimize_variables(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    variables = [tf.Variable(leaf) for leaf in x0]
    return tfm.minimize(lambda: of_leaves(fun)(variables), variables, bounds=bounds, **options)


def minimizer(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    solver = tfm.Minimizer(of_leaves(fun), x0, bounds=bounds, **options)
    solver.minimize()
    return solver.minimize()  # with the solver of the first


def batch(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    solver = tfm.Minimizer(of_leaves(fun), x0, bounds=bounds, **options)
    found = solver.minimize_batch([np.stack([leaf, leaf]) for leaf in x0])
    return scipy.optimize.OptimizeResult({name: found[name][1] for name in ("fun", "nit", "nfev", "status")})


def operation(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    return tfm.ops.minimize(of_leaves(fun), x0, bounds=bounds, **options)


def operation_in_graph(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    return tf.function(lambda: operation(fun, x0, bounds, options), autograph=False)()


def interface(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    variables = [tf.Variable(leaf) for leaf in x0]
    to_bounds = None if bounds is None else {v.ref(): pair for v, pair in zip(variables, bounds, strict=True)}
    return tfm.ScipyOptimizerInterface(
        lambda: of_leaves(fun)(variables), variables, var_to_bounds=to_bounds, **options
    ).minimize()


def interface_in_session(fun: Any, x0: Any, bounds: Any, options: dict[str, Any]) -> Any:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.Variable(leaf, use_resource=True) for leaf in x0]
        to_bounds = None if bounds is None else {v.ref(): pair for v, pair in zip(variables, bounds, strict=True)}
        optimizer = tfm.ScipyOptimizerInterface(
            of_leaves(fun)(variables), variables, var_to_bounds=to_bounds, **options
        )
        session.run(tf.compat.v1.global_variables_initializer())
        return optimizer.minimize(session)


ENTRIES = [
    minimize,
    minimize_by_xla,
    minimize_variables,
    minimizer,
    batch,
    operation,
    operation_in_graph,
    interface,
    interface_in_session,
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP"])
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(None, marks=pytest.mark.weekly),
        pytest.param((-2.0, 2.0), marks=pytest.mark.weekly),
        (-2.0, 0.7),
        pytest.param((-0.5, np.inf), marks=pytest.mark.weekly),
    ],
    ids=str,
)
def test_leaves_take_the_path_of_one_vector(entry: Entry, method: str, limits: Any) -> None:
    size = {"L-BFGS-B": 7, "SLSQP": 11}[method]  # where the path does not depend on the rounding of the gradient
    x0 = np.resize([-1.2, 1.0], size)
    leaves = [x0[part] for part in parts(x0.size)]
    bounds = None if limits is None else [limits] * len(leaves)
    ours = entry(rosenbrock, leaves, bounds, {"method": method})
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen,
        x0,
        jac=scipy.optimize.rosen_der,
        method=method,
        bounds=None if limits is None else [limits] * x0.size,
    )
    assert (int(ours.nit), int(ours.nfev), int(ours.status)) == (theirs.nit, theirs.nfev, theirs.status)
    np.testing.assert_allclose(float(ours.fun), theirs.fun, rtol=1e-6, atol=1e-9)


def test_steps_of_math_minimize_are_iterations_on_one_vector() -> None:
    x0 = np.resize([-1.2, 1.0], 11)
    variables = [tf.Variable(x0[part]) for part in parts(x0.size)]
    losses = tfm.math.minimize(
        lambda: of_leaves(rosenbrock)(variables),
        1000,
        tfm.LBFGSB(bounds=[(-2.0, 0.7)] * len(variables)),
        trainable_variables=variables,
        return_full_length_trace=False,
    )
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen, x0, jac=scipy.optimize.rosen_der, method="L-BFGS-B", bounds=[(-2.0, 0.7)] * 11
    )
    assert len(losses) == theirs.nit


@pytest.mark.parametrize("limits", [None, (-2.0, 0.7)], ids=str)
def test_steps_of_math_minimize_are_iterations_of_slsqp_on_one_vector(limits: Any) -> None:
    x0 = np.resize([-1.2, 1.0], 11)
    variables = [tf.Variable(x0[part]) for part in parts(x0.size)]
    losses = tfm.math.minimize(
        lambda: of_leaves(rosenbrock)(variables),
        1000,
        tfm.SLSQP(
            bounds=None if limits is None else [limits] * len(variables),
            constraints=[
                {"type": "ineq", "fun": lambda: 5.0 - tf.reduce_sum(tf.concat(variables, 0))},
                {"type": "eq", "fun": lambda: variables[0][0] + variables[1][2] - 1.0},
            ],
        ),
        trainable_variables=variables,
        return_full_length_trace=False,
    )
    iterates: list[Any] = []
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen,
        x0,
        jac=scipy.optimize.rosen_der,
        method="SLSQP",
        bounds=None if limits is None else [limits] * x0.size,
        constraints=[
            {"type": "ineq", "fun": lambda x: 5.0 - x.sum(), "jac": lambda x: -np.ones_like(x)},
            {"type": "eq", "fun": lambda x: x[0] + x[3] - 1.0, "jac": lambda x: np.eye(1, 11) + np.eye(1, 11, 3)},
        ],
        callback=iterates.append,
    )
    assert theirs.success
    assert len(losses) == len(iterates)
    np.testing.assert_allclose(losses[-1], theirs.fun, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([v.numpy() for v in variables]), theirs.x, atol=1e-4)


def test_box_on_float32_leaves_takes_the_path_of_a_box() -> None:
    def first_steps(bounds: Any) -> int:
        x0 = [np.float32(leaf) for leaf in (np.zeros(1), np.zeros(3))]
        fun = of_leaves(lambda x: tf.reduce_sum((x - 3.0) ** 2) / 2)
        return int(tfm.minimize(fun, x0, bounds=bounds).nfev)

    # With a box the first trial takes the whole step, here to the minimum; without one it has length 1.
    assert first_steps([(-9, 9)] * 2) == 2
    assert first_steps([(-1e300, 1e300)] * 2) == 2
    assert first_steps([(-9, 9), (-9, None)]) > 2


BOXES = [name for name in NAMES if (problem := load(name)).bounds is not None and problem.x0.size > 1]


# They have equalities, inequalities, bounds or several of these, and SciPy's path does not depend on rounding.
CONSTRAINED = ["HS41", "HS43", "HS53", "HS71", "HS77", "HS86", "HS104", "HS113", "HS117", "HS119"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.weekly if i % 2 else ()) for i, n in enumerate(CONSTRAINED)]
)
@pytest.mark.parametrize("use", ["leaves", "variables", "operation"])
def test_constrained_problems_in_parts_take_the_path_of_one_vector(name: str, use: str) -> None:
    problem, (on_tensors,) = load(name), tfm.testing.s2mpj(name)
    slices = parts(problem.x0.size)
    fun = on_tensors.fun
    rows = [(c["type"], c["fun"]) for c in on_tensors.constraints]
    bounds = None
    if problem.bounds is not None:
        bounds = [np.stack([problem.bounds.lb, problem.bounds.ub], 1)[part] for part in slices]
    leaves = [problem.x0[part] for part in slices]
    options: dict[str, Any] = {"bounds": bounds, "method": "SLSQP"}
    if use == "variables":
        variables = [tf.Variable(leaf) for leaf in leaves]
        constraints = [{"type": kind, "fun": lambda row=row: of_leaves(row)(variables)} for kind, row in rows]
        ours = tfm.minimize(lambda: of_leaves(fun)(variables), variables, constraints=constraints, **options)
    else:
        minimize = tfm.minimize if use == "leaves" else tfm.ops.minimize
        constraints = [{"type": kind, "fun": of_leaves(row)} for kind, row in rows]
        ours = minimize(of_leaves(fun), leaves, constraints=constraints, **options)
    theirs = scipy.optimize.minimize(
        problem.fun,
        problem.x0,
        jac=problem.jac,
        method="SLSQP",
        bounds=problem.bounds,
        constraints=problem.constraints,
    )
    assert theirs.success
    assert (int(ours.nit), int(ours.nfev), int(ours.status)) == (theirs.nit, theirs.nfev, theirs.status)
    np.testing.assert_allclose(float(ours.fun), theirs.fun, rtol=1e-6, atol=1e-8)


def test_bounded_problems_as_variables_take_the_path_of_one_vector() -> None:
    differing = {}
    for name in BOXES:
        problem, (on_tensors,) = load(name), tfm.testing.s2mpj(name)
        slices = parts(problem.x0.size)
        variables = [tf.Variable(problem.x0[part]) for part in slices]
        ours = tfm.minimize(
            lambda fun=on_tensors.fun, variables=variables: fun(tf.concat(variables, 0)),
            variables,
            bounds=[np.stack([problem.bounds.lb, problem.bounds.ub], 1)[part] for part in slices],
        )
        flat = scipy.optimize.minimize(
            functools.partial(fun_and_gradient, problem),
            problem.x0,
            jac=True,
            method=tfm.scipy.lbfgsb,
            bounds=problem.bounds,
        )
        if (ours.nit, ours.nfev, ours.status) != (flat.nit, flat.nfev, flat.status):
            differing[name] = (ours.nit, ours.nfev, ours.status), (flat.nit, flat.nfev, flat.status)
    print(f"the same on {len(BOXES) - len(differing)} of {len(BOXES)}; not on {differing}")
    # Padding changes the order of sums, and with it the rounding.
    assert len(differing) <= 0.1 * len(BOXES)
