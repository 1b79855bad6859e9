"""What users see of a solve while it runs: its progress, and lines in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from tfminimize._problem.native_methods import NATIVE_METHODS
from tfminimize._problem.problem import Problem
from tfminimize._problem.result import OptimizeResult
from tfminimize._solve.program import Lease
from tfminimize._solve.progress import Progress, Sight

__all__ = ["LOG", "Watch"]

LOG = logging.getLogger("tfminimize")


class Watch:
    """Somebody who looks at a solve while it runs.

    Attributes
    ----------
    progress : Progress or None
        Wants to `Progress.see` the solve about every 50 ms.
    sees_iterations : bool
        Whether `see_iteration` is to be called after each iteration.
    """

    def __init__(self, method: str, progress: Progress | None) -> None:
        self.progress = progress
        self.sees_iterations = LOG.isEnabledFor(logging.DEBUG)
        self._method = method
        self._begin = time.perf_counter()

    @classmethod
    def of(cls, progress: bool, problem: Problem, options: Mapping[str, Any], lease: Lease, nfev: int) -> Watch | None:
        """The watch of a solve that begins, after ``nfev`` evaluations before it; None if nobody looks."""
        if not progress and not LOG.isEnabledFor(logging.INFO):
            return None
        method, size = problem.native.name if problem.native else str(problem.method), lease.workspace.layout.size
        maxiter = options.get("maxiter")
        if maxiter is None and problem.native is NATIVE_METHODS["bfgs"]:
            maxiter = 200 * size
        watch = cls(method, Progress(maxiter, nfev) if progress else None)
        backend = lease.workspace.present_backend()
        LOG.info("%s: %d parameters, backend %s (%s)", method, size, backend.name, backend.reason)
        return watch

    @property
    def looks(self) -> bool:
        """Whether it looks at more than begin and end."""
        return self.progress is not None or self.sees_iterations

    def see_iteration(self, sight: Sight) -> None:
        """An iteration is complete."""
        LOG.debug("%s: iteration %d, %d evaluations, loss %.9g", self._method, sight.nit, sight.nfev, sight.fun)

    def end(self, result: OptimizeResult | None, error: BaseException | None = None) -> None:
        """The solve has ended, with a result or an error."""
        seconds = time.perf_counter() - self._begin
        if result is None:
            LOG.info("%s: ended by %s after %.3g s", self._method, type(error).__name__, seconds)
        else:  # that of a method of the user's may lack anything
            outcome = "success" if result.get("success") else "no success"
            nit, nfev, fun, message = (result.get(name, "?") for name in ("nit", "nfev", "fun", "message"))
            text = "%s: %s iterations, %s evaluations, %.3g s, loss %s, %s: %s"
            LOG.info(text, self._method, nit, nfev, seconds, fun, outcome, message)
        if self.progress is not None:
            self.progress.end(result, type(error).__name__ if result is None else str(result.get("message", "")))
