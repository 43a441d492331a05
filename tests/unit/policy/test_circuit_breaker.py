"""The bounds of a circuit breaker, divided among processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.circuit_breaker import CircuitBreaker


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 64))
def test_shares_add_up_to_no_more_than_all_but_one_for_each(least: int, most: int, processes: int) -> None:
    share = CircuitBreaker(min(least, most), most, "v1").share(processes)
    assert 1 <= share.min_concurrency <= share.max_concurrency
    assert share.max_concurrency * processes <= max(most, processes)
    assert share.min_concurrency * processes <= max(min(least, most), processes)
    assert share.fallback_version == "v1"
