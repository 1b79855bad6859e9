"""`minimize` with the interface of `tfp.math.minimize`: runs steps of an optimizer and returns a trace of them."""

from __future__ import annotations

from tfminimize._graph.tfp import MinimizeTraceableQuantities, minimize

__all__ = ["MinimizeTraceableQuantities", "minimize"]
