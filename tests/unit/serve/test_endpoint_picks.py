"""The picks of a process are made once, where a policy wants them."""

from __future__ import annotations

from extproc.exchange.breakers import Breakers
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.serve.endpoint_picks import AVOIDED_FOR, EndpointPicks
from tests.said_loads import SaidLoads

PLAIN, PICKING = Snapshot((Policy("a"),)), Snapshot((Policy("a"), Policy("b", models=("b",), picking=Picking())))


def test_where_a_policy_wants_them() -> None:
    picks = EndpointPicks(SaidLoads, frozenset, Breakers(lambda: 0.0))
    assert picks.of(PLAIN) is None
    made = picks.of(PICKING)
    assert made is not None
    assert picks.of(PLAIN) is None
    assert picks.of(PICKING) is made


def test_how_many_wait_where_they_may() -> None:
    versions = (Version("v1", 1, ("10.0.0.1:80",)), Version("v2", 0, ("10.0.0.2:80",)))
    queue = Policy("q", models=("q",), versions=versions, picking=Picking(max_queue=5))
    picks = EndpointPicks(SaidLoads, frozenset, Breakers(lambda: 0.0))
    expected = {("q", "v1", ""): 0, ("q", "v2", ""): 0}
    assert picks.waiting(Snapshot((*PICKING.policies, queue))) == expected, "before the first request"
    assert picks.of(PICKING) is not None
    assert picks.waiting(Snapshot((*PICKING.policies, queue))) == expected
    assert picks.waiting(PICKING) == {}


def test_what_envoy_could_not_reach_is_avoided_for_a_while() -> None:
    now = 100.0
    board = SaidLoads()
    picks = EndpointPicks(lambda: board, frozenset, Breakers(lambda: now), lambda: now)
    picks.ended("a:1", reached=True)
    assert picks.avoided() == frozenset()
    picks.ended("a:1", reached=False)
    now += AVOIDED_FOR / 2
    picks.ended("b:1", reached=False)
    both = picks.avoided()
    assert both == {"a:1", "b:1"}
    assert picks.avoided() is both
    now += AVOIDED_FOR / 2
    assert picks.avoided() == {"b:1"}
    now += AVOIDED_FOR
    assert picks.avoided() == frozenset()
    assert board.sent == {"a:1": -2, "b:1": -1}
