from __future__ import annotations

import malformed_graphs
import pytest


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return malformed_graphs.run_variants(malformed_graphs.variants())


@pytest.mark.subprocess
@pytest.mark.parametrize("name", malformed_graphs.variants())
def test_malformed_operation_is_refused_by_name(name: str, outcomes: dict[str, str]) -> None:
    expected = malformed_graphs.variants()[name].expected
    assert "UNEXPECTED" not in outcomes[name]
    assert expected in outcomes[name]
    assert bool(outcomes[name]) or not expected


@pytest.mark.parametrize("name", ["plain", "bounds", "variables", "slsqp", "bfgs", "trace", "jit", "batch"])
def test_unchanged_graphs_run(name: str) -> None:
    unchanged = malformed_graphs.Variant(name, lambda graph_def, node: None, "")
    assert malformed_graphs.outcome(malformed_graphs.mutated(unchanged)) == ""
