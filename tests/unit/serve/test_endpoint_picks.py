"""The picks of a process are made once, where a policy wants them."""

from __future__ import annotations

from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot
from extproc.serve.endpoint_picks import EndpointPicks
from tests.said_loads import SaidLoads

PLAIN, PICKING = Snapshot((Policy("a"),)), Snapshot((Policy("a"), Policy("b", models=("b",), picking=Picking())))


def test_where_a_policy_wants_them() -> None:
    picks = EndpointPicks(SaidLoads, frozenset)
    assert picks.of(PLAIN) is None
    made = picks.of(PICKING)
    assert made is not None
    assert picks.of(PLAIN) is None
    assert picks.of(PICKING) is made
