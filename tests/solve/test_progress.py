"""What is seen of a solve while it runs."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rich
import rich.console
import rich.live
import scipy.optimize
import tensorflow as tf
from problems import rosenbrock

import tfminimize as tfm
from tfminimize._solve import progress as module

START = np.array([-1.2, 1.0])
LINE = re.compile(
    r"iteration (?P<nit>\d+)(/(?P<limit>\d+))?, loss (?P<fun>[-\d.e]+)(, gradient (?P<norm>[-\d.e+]+))?, "
    r"(?P<rate>[\d.]+[kMG]?) evaluations/s, [\d.]+ m?s"
)
METHODS = ["L-BFGS-B", "SLSQP", "BFGS"]


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed where the output is no terminal."""
    console = rich.console.Console(file=io.StringIO(), force_terminal=False)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    return console.file  # type: ignore[return-value]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is printed on a terminal of 80 columns."""
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = rich.console.Console(file=file, force_terminal=True, width=80)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    yield file
    assert console._live_stack == []  # no line is left to be drawn


def slow(x: Any) -> tf.Tensor:
    """Rosenbrock's function, and about a millisecond."""
    busy = tf.while_loop(lambda i, _: i < 20, lambda i, m: (i + 1, tf.sin(m @ m)), (0, tf.eye(150, dtype=x.dtype)))[1]
    return rosenbrock(x) + 0.0 * tf.reduce_sum(busy)


def until(file: io.StringIO, count: int) -> Any:
    """A callback that ends the solve once so many lines are there."""

    def callback(xk: Any) -> None:
        if file.getvalue().count("iteration") >= count:
            raise StopIteration

    return callback


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.weekly)], ids=["graph", "machine code"])
@pytest.mark.parametrize("method", METHODS)
def test_last_line_is_the_result(output: io.StringIO, method: str, jit: bool) -> None:
    result = tfm.minimize(rosenbrock, START, method=method, jit_compile=jit, progress=True)
    *_, line, message = output.getvalue().splitlines()
    seen = LINE.fullmatch(line)
    assert seen
    assert int(seen["nit"]) == result.nit
    assert seen["limit"] == {"L-BFGS-B": "15000", "SLSQP": "100", "BFGS": "400"}[method]
    assert float(seen["fun"]) == pytest.approx(result.fun, rel=1e-5)
    assert message == result.message


@pytest.mark.parametrize("method", ["CG", "Nelder-Mead", "TNC", "trust-constr"])
def test_methods_of_scipy_show_their_progress(output: io.StringIO, method: str) -> None:
    result = tfm.minimize(rosenbrock, START, method=method, progress=True)
    *_, line, message = output.getvalue().splitlines()
    seen = LINE.fullmatch(line)
    assert seen
    assert int(seen["nit"]) == result.nit
    assert float(seen["fun"]) == pytest.approx(result.fun, rel=1e-5)
    assert message == result.message


@pytest.mark.parametrize("method", [*METHODS, "CG", "Nelder-Mead"])
def test_progress_does_not_change_the_solve(output: io.StringIO, method: str) -> None:
    plain = tfm.minimize(rosenbrock, START, method=method)
    shown = tfm.minimize(rosenbrock, START, method=method, progress=True)
    np.testing.assert_array_equal(plain.x, shown.x)
    assert (plain.nit, plain.nfev, plain.message) == (shown.nit, shown.nfev, shown.message)


@pytest.mark.parametrize("method", METHODS)
def test_lines_come_while_the_solve_runs(output: io.StringIO, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST", 0.02)
    options = {"maxiter": 10**9, "gtol" if method == "BFGS" else "ftol": 0.0}
    stop = until(output, 3)
    result = tfm.minimize(slow, np.tile(START, 50), method=method, options=options, callback=stop, progress=True)
    *lines, message = output.getvalue().splitlines()
    assert message == result.message
    seen = [LINE.match(line) for line in lines]
    assert len(seen) >= 4
    assert all(seen)
    counts = [int(s["nit"]) for s in seen if s]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == result.nit
    norms = [float(s["norm"]) for s in seen if s and s["norm"]]
    assert norms
    assert all(norm > 0 for norm in norms)


def test_seconds_between_lines_grow(output: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    progress = module.Progress()
    times = []
    for second in range(1000):
        now[0] = float(second)
        before = output.getvalue()
        progress.see(module.Sight(second, second, 1.0, 1.0))
        if output.getvalue() != before:
            times.append(second)
    assert times[:8] == [1, 2, 4, 8, 16, 32, 64, 124]
    assert set(np.diff(times[7:])) == {60}


def test_live_line_fits_a_terminal_and_is_drawn_while_the_solve_runs(terminal: io.StringIO) -> None:
    options = {"maxiter": 999_999, "ftol": 0.0}
    stop = until(terminal, 4)
    result = tfm.minimize(slow, np.tile(START, 50), method="SLSQP", options=options, callback=stop, progress=True)
    drawn = re.split(r"\x1b\[[\d;?]*[A-Za-z]|[\r\n]", terminal.getvalue())
    lines = [line.strip() for line in drawn if "iteration" in line]
    assert len(lines) >= 4
    assert all(len(line) <= 80 for line in lines)
    assert f"iteration {result.nit}/999999" in lines[-1]
    assert result.message in terminal.getvalue()


def test_solve_within_another_live_display_prints_lines(terminal: io.StringIO) -> None:
    with rich.live.Live("outer", console=rich.get_console(), auto_refresh=False):
        result = tfm.minimize(rosenbrock, START, progress=True)
    assert result.message in terminal.getvalue()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("method", [*METHODS, "CG"])
def test_error_ends_the_progress(terminal: io.StringIO, method: str, error: type[BaseException]) -> None:
    def callback(xk: Any) -> None:
        raise error

    with pytest.raises(error):
        tfm.minimize(rosenbrock, START, method=method, callback=callback, progress=True)
    assert error.__name__ in terminal.getvalue()


@pytest.mark.parametrize("method", METHODS)
def test_output_that_is_gone_ends_the_solve(output: io.StringIO, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(module.Progress, "see", broken)
    options = {"maxtime": 60.0, "maxiter": 10**9, "gtol" if method == "BFGS" else "ftol": 0.0}
    with pytest.raises(BrokenPipeError):
        tfm.minimize(slow, np.tile(START, 50), method=method, options=options, progress=True)


def test_result_of_a_method_of_the_user_may_lack_counts(output: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    def method(fun: Any, x0: Any, *args: Any, **kwargs: Any) -> Any:
        return scipy.optimize.OptimizeResult(x=x0, success=True)

    with caplog.at_level(logging.INFO, "tfminimize"):
        tfm.minimize(rosenbrock, START, method=method, progress=True)
    assert output.getvalue().startswith("iteration 0, loss nan")
    assert "? iterations, ? evaluations" in caplog.messages[-1]


def test_rate_leaves_out_the_evaluations_before_a_state(output: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    progress = module.Progress(nfev=1_000_000)
    now[0] = 2.0
    progress.see(module.Sight(5, 1_000_200, 1.0, 1.0))
    progress.end(None, "")
    first, second, _ = output.getvalue().split("\n", 2)
    assert ", 100 evaluations/s" in first
    assert ", 100 evaluations/s" in second


def test_progress_of_a_minimizer_and_of_variables(output: io.StringIO) -> None:
    variable = tf.Variable(START)
    result = tfm.Minimizer(lambda: rosenbrock(variable), variable).minimize(progress=True)
    assert output.getvalue().splitlines()[-1] == result.message


def test_graph_shows_no_progress() -> None:
    with pytest.raises(ValueError, match="progress=True is for solves outside of a graph"):
        tf.function(lambda: tfm.minimize(rosenbrock, START, progress=True).x)()


def test_polls_cost_nothing_that_the_solve_would_feel(output: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    see = module.Progress.see
    monkeypatch.setattr(module.Progress, "see", lambda *args: (seen.append(time.perf_counter()), see(*args))[1])
    options = {"maxtime": 0.5, "maxiter": 10**9, "maxfun": 10**9, "ftol": 0.0, "gtol": 0.0}
    result = tfm.minimize(rosenbrock, np.tile(START, 500), jit_compile=True, options=options, progress=True)
    assert result.nit > 100 > 15 >= len(seen)


class TestLog:
    def test_has_begin_and_end_of_a_solve(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "tfminimize"):
            result = tfm.minimize(rosenbrock, START, method="BFGS", jit_compile=True)
        begin, end = caplog.messages
        assert begin == f"BFGS: 2 parameters, backend xla ({result.backend_reason})"
        assert end.startswith(f"BFGS: {result.nit} iterations, {result.nfev} evaluations, ")
        assert end.endswith(f"loss {result.fun}, success: {result.message}")
        assert {record.name for record in caplog.records} == {"tfminimize"}

    @pytest.mark.parametrize("method", [*METHODS, "CG", "TNC"])
    def test_has_each_iteration_for_debugging(self, caplog: pytest.LogCaptureFixture, method: str) -> None:
        with caplog.at_level(logging.DEBUG, "tfminimize"):
            result = tfm.minimize(rosenbrock, START, method=method)
        lines = [r.getMessage() for r in caplog.records if r.levelno == logging.DEBUG]
        assert lines
        if method in METHODS:
            assert len(lines) == result.nit
            assert f"iteration {result.nit}, {result.nfev} evaluations, loss {result.fun:.9g}" in lines[-1]

    def test_has_the_error_that_ended_a_solve(self, caplog: pytest.LogCaptureFixture) -> None:
        def callback(xk: Any) -> None:
            raise ZeroDivisionError

        with caplog.at_level(logging.INFO, "tfminimize"), pytest.raises(ZeroDivisionError):
            tfm.minimize(rosenbrock, START, callback=callback)
        assert "ended by ZeroDivisionError" in caplog.messages[-1]

    def test_is_silent_at_the_level_of_warnings(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "tfminimize"):
            tfm.minimize(rosenbrock, START)
        assert caplog.messages == []

    def test_has_batches(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "tfminimize"):
            tfm.Minimizer(rosenbrock, START).minimize_batch(np.tile(START, (3, 1)))
        begin, end = caplog.messages
        assert begin.startswith("L-BFGS-B: 3 problems of 2 parameters, backend tfe (")
        assert "3 of 3 successful" in end
