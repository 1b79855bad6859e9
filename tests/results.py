"""Results that must be the same."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(ours.x, theirs.x)
    np.testing.assert_array_equal(ours.jac, theirs.jac)
    for name in ("fun", "nit", "nfev", "njev", "status", "message", "constr_violation"):
        assert ours[name] == theirs[name], name
    if "multipliers" in theirs:
        np.testing.assert_array_equal(ours.multipliers, theirs.multipliers)
    if theirs.get("num_resets") is not None:
        np.testing.assert_array_equal(ours.hess_inv, theirs.hess_inv)
        assert (ours.num_resets, ours.num_skipped_updates) == (theirs.num_resets, theirs.num_skipped_updates)
    elif "hess_inv" in theirs:
        np.testing.assert_array_equal(ours.hess_inv.sk, theirs.hess_inv.sk)
        np.testing.assert_array_equal(ours.hess_inv.yk, theirs.hess_inv.yk)
