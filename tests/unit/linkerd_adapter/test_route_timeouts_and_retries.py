"""Timeouts and retries as annotations."""

from __future__ import annotations

import pytest
from linkerd_adapter.route_timeouts_and_retries import idle_timeout, timeouts_and_retries

from extproc.policy.snapshot import Policy, RetryBudget


@pytest.mark.parametrize(("timeout", "idle"), [(60.0, "240s"), (0.25, "60750ms"), (0.001, "60003ms")])
def test_idle_timeouts_have_no_fractions(timeout: float, idle: str) -> None:
    assert idle_timeout(timeout) == idle


def test_they_are_there_where_all_policies_want_them() -> None:
    slow, quick = (Policy(name, timeout=t, retry_budget=RetryBudget(0.2, 10)) for name, t in (("a", 60.0), ("b", 10.0)))
    retries = {"retry.linkerd.io/http": "502,503", "retry.linkerd.io/limit": "1"}
    assert timeouts_and_retries([slow, quick]) == {"timeout.linkerd.io/idle": "240s", **retries}
    assert timeouts_and_retries([slow, Policy("c")]) == {}
