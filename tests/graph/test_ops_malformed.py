from __future__ import annotations

import malformed_graphs
import malformed_variants
import pytest


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return malformed_variants.run_variants(malformed_variants.variants())


@pytest.mark.subprocess
@pytest.mark.parametrize("name", malformed_variants.variants())
def test_malformed_operation_is_refused_by_name(name: str, outcomes: dict[str, str]) -> None:
    expected = malformed_variants.variants()[name].expected
    assert "UNEXPECTED" not in outcomes[name]
    assert expected in outcomes[name]
    assert bool(outcomes[name]) or not expected


@pytest.mark.parametrize("name", ["plain", "bounds", "variables", "slsqp", "bfgs", "trace", "jit", "batch"])
def test_unchanged_graphs_run(name: str) -> None:
    unchanged = malformed_graphs.Variant(name, lambda graph_def, node: None, "")
    assert malformed_graphs.outcome(malformed_graphs.mutated(unchanged)) == ""
