"""What people are told of a pick: every endpoint's score, in words."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import BodyFields, InferenceRequest, Operation
from extproc.exchange.explain import explain
from extproc.exchange.explain_picks import ExplainedPicks, ToldLoads
from extproc.headers import Headers
from extproc.picking.candidates import EndpointScore
from extproc.picking.endpoint_state import EndpointState
from extproc.policy.decision import Decision
from extproc.policy.picking import Picking, Saturation
from extproc.policy.snapshot import Policy, Snapshot, Version

A, B = "10.0.0.1:80", "10.0.0.2:80"
POLICY = Policy("chat", versions=(Version("v1", 1, (A, B)),), picking=Picking("least-loaded"))
DECIDED = Decision(InferenceRequest("openai", "chat", "m"), POLICY, "*", "v1")


def test_every_endpoint() -> None:
    picks = ExplainedPicks({})
    content = Operation("openai", "chat"), BodyFields("m"), b""
    endpoints, _ = picks.pick(DECIDED, (Headers(), None, bytes(8)), content, (B,), Snapshot((POLICY,)))
    assert endpoints == B
    ruled_out, open_one = picks.rows()
    assert ruled_out == {"endpoint": A, "score": None, "why": "it is not in the proxy's subset"}
    assert open_one == {"endpoint": B, "score": 1.0, "why": "0 requests (it has told nothing)"}


def test_loads_as_people_are_told_them() -> None:
    known = EndpointState(A, waiting=2.0, running=3.0, cache=0.5, age=0.1, in_flight=4.0, adapters=["sql"])
    states = {A: known, B: EndpointState(B, in_flight=7.0)}
    loads = ToldLoads(states).loads((A, B, "10.0.0.3:80"))
    assert [loads.waiting[0], loads.running[0], loads.cache[0], loads.age[0]] == [2.0, 3.0, 0.5, 0.1]
    assert list(loads.in_flight) == [4.0, 7.0, 0.0]
    assert list(loads.sent_since) == [0.0, 7.0, 0.0]
    assert [set(names) for names in loads.adapters] == [{"sql"}, set(), set()]
    assert ToldLoads({}).loads((A,)).adapters == ()
    picks = ExplainedPicks(states)
    content = Operation("openai", "chat"), BodyFields("m"), b""
    picks.pick(DECIDED, (Headers(), None, bytes(8)), content, None, Snapshot((POLICY,)))
    assert [row["why"] for row in picks.rows()] == [
        "5 requests (by its own report)",
        "7 requests (it has told nothing)",
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"why_not": "none_ready", "score": None}, "no connection to it can be made"),
        ({}, "3 requests (by its own report)"),
        ({"known": False, "batch": 2.5}, "2.5 requests (it has told nothing)"),
        (
            {"matched": 512, "saturated": True},
            "3 requests (by its own report), 512 bytes of the prompt cached, saturated",
        ),
        ({"matched": 512, "expected": 409.6}, "3 requests (by its own report), 512 bytes of the prompt cached"),
        ({"expected": 819.2}, "3 requests (by its own report), 819 bytes of the prompt expected there"),
    ],
)
def test_why(changes: dict[str, Any], why: str) -> None:
    fields: dict[str, Any] = {"why_not": "", "batch": 3.0, "known": True, "matched": 0, "expected": 0.0}
    picks = ExplainedPicks({})
    picks.scores = [EndpointScore(**{"endpoint": A, "score": 1.0, "saturated": False, **fields, **changes})]
    (row,) = picks.rows()
    assert row["why"] == why


def test_where_all_are_saturated_a_request_waits() -> None:
    spec = Picking("least-loaded", saturation=Saturation(waiting=5), max_queue=1)
    snapshot = Snapshot((Policy("chat", versions=(Version("v1", 1, (A,)),), picking=spec),))
    body = b'{"model": "m"}'
    for waiting, waits in ((5.0, False), (6.0, True)):
        states = {A: EndpointState(A, waiting=waiting, running=0.0, age=0.1)}
        told = explain(snapshot, "POST", "/v1/chat/completions", (), body, bytes(8), endpoints=states)
        assert ("waits until one has room" in told["reason"]) is waits
        assert ("x-gateway-destination-endpoint" in told["headers"]) is not waits
        assert told["version"] == "v1"
