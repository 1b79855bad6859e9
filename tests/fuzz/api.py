"""Fuzzes every entry point."""

from __future__ import annotations

import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from pprint import pformat
from typing import Any

import hypothesis
import numpy as np
import oracle
import scipy.optimize
import strategies
import tensorflow as tf
from strategies import Call

import tfminimize as tfm


def run(call: Call, start: Any) -> Any:
    return {
        "minimize": minimize,
        "Minimizer": minimizer,
        "batch": batch,
        "ops": operation,
        "ops in a function": lambda *given: tf.function(lambda: operation(*given), autograph=False)(),
        "interface": interface,
        "scipy": in_scipy,
    }[call.entry](call, start)


def _problem(call: Call, start: Any) -> dict[str, Any]:
    return {
        "args": strategies.args(call),
        "method": call.method,
        "bounds": strategies.bounds(call),
        "constraints": strategies.constraints(call, start),
        "jit_compile": call.jit_compile,
    }


def minimize(call: Call, start: Any) -> Any:
    return tfm.minimize(
        strategies.loss(call, start),
        start,
        tol=call.tol,
        options=call.options,
        callback=strategies.callback(call),
        **_problem(call, start),
    )


def minimizer(call: Call, start: Any) -> Any:
    solver = tfm.Minimizer(strategies.loss(call, start), start, **_problem(call, start))
    return solver.minimize(tol=call.tol, options=call.options, callback=strategies.callback(call))


def batch(call: Call, start: Any) -> Any:
    solver = tfm.Minimizer(strategies.loss(call, start), start, **_problem(call, start))
    start = np.array(start) if call.x0 == "list" else start
    starts = tf.nest.map_structure(lambda leaf: np.stack([np.asarray(leaf)] * 2), start)
    return solver.minimize_batch(starts, tol=call.tol, options=call.options)


def operation(call: Call, start: Any) -> Any:
    problem = _problem(call, start)
    return tfm.ops.minimize(strategies.loss(call, start), start, tol=call.tol, options=call.options, **problem)


def interface(call: Call, start: Any) -> Any:
    """Call the interface in TensorFlow 2; it takes neither args nor structures of arrays."""
    read = strategies.variables(start)
    unbound = strategies.loss(call, start)
    options = {} if call.options is None else call.options
    found = None if call.bounds == "none" else strategies.LIMITS.get(call.bounds, strategies.bounds(call))
    optimizer = tfm.ScipyOptimizerInterface(
        unbound,
        read or start,
        var_to_bounds=None if found is None or not read else {v.ref(): found for v in read},
        method=call.method,
        options=options,
        tol=call.tol,
    )
    return optimizer.minimize(step_callback=None)


def in_scipy(call: Call, start: Any) -> Any:
    """Call `scipy.optimize.minimize` with our method and a function of NumPy arrays."""
    method = {"L-BFGS-B": tfm.scipy.lbfgsb, "SLSQP": tfm.scipy.slsqp, "BFGS": tfm.scipy.bfgs}.get(
        call.method, call.method
    )

    def fun(x: Any) -> Any:
        tensor = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = strategies.value(call, tensor)
        return value.numpy(), tape.gradient(value, tensor).numpy()

    low, high = strategies.LIMITS.get(call.bounds, (1.0, -1.0))
    n = strategies.size(call)
    constraint = strategies.constraints(call, None)
    if isinstance(constraint, dict) and "fun" in constraint:
        of_tensor = constraint["fun"]
        constraint = {**constraint, "fun": lambda x: np.asarray(of_tensor(x))}
    return scipy.optimize.minimize(
        fun,
        np.full(n, call.start),
        jac=True,
        method=method,
        bounds=[(low, high)] * n,
        constraints=constraint if call.constraints in ("none", "half-plane") else (),
        tol=call.tol,
        options=call.options,
        callback=strategies.callback(call),
    )


def smaller(call: Call, broken: oracle.Broken) -> tuple[Call, oracle.Broken]:
    """Replace ingredients by ordinary ones while the call still fails: a few runs, where hypothesis needs hundreds."""
    for field, values in {"method": ["L-BFGS-B"], "entry": ["minimize"], **strategies.GOOD}.items():
        simpler = replace(call, **{field: values[0]}, spoiled=tuple(s for s in call.spoiled if s != field))
        try:
            oracle.check(simpler, run)
        except oracle.Broken as still:
            call, broken = simpler, still
    return call, broken


class Found(Exception):
    """A small call that breaks the promise, and how it does."""


def main(seed: int, end: float, inputs: int, log: Path) -> None:
    """Draw at least one call, until that time or number, and shrink each one that breaks the promise."""
    count = 0

    @hypothesis.settings(
        max_examples=25,
        phases=[hypothesis.Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategies.calls())
    def promise_is_kept(call: Call) -> None:
        nonlocal count
        if count >= inputs or (count and time.time() > end):
            return
        count += 1
        log.write_text(pformat(call, width=80))
        try:
            oracle.check(call, run)
        except oracle.Broken as broken:
            raise Found(*smaller(call, broken)) from None

    last = seed
    try:
        while not count or (time.time() < end and count < inputs):
            hypothesis.seed(last)(promise_is_kept)()
            tf.keras.backend.clear_session()
            last += 1
    except Found as found:
        call, broken = found.args
        log.write_text(pformat(call, width=80))
        sys.exit(textwrap.fill(f"seed {last}, input {count}: {broken}", 80))
    print(f"{count} calls, seeds {seed} to {last - 1}")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
