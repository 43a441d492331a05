"""Priorities of requests by what they name."""

from __future__ import annotations

import pytest

from extproc.policy.picking import Picking

SPEC = Picking(priority=2, objectives=(("batch", -1), ("chat", 5)))


@pytest.mark.parametrize(("objective", "priority"), [("batch", -1), ("chat", 5), ("Chat", 2), ("", 2)])
def test_an_unknown_objective_is_none(objective: str, priority: int) -> None:
    assert SPEC.priority_of(objective) == priority
