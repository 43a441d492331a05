"""Elections: one leader at a time, whoever dies, however clocks differ and requests are lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.kubernetes.leader import DURATION, PAUSE, RENEW_LIMIT, Election, LostLead, Write


class Server:
    """Keeps one Lease; refuses what is out of date."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self._version = 0

    def write(self, what: Write) -> dict[str, Any] | None:
        if what.create != (self.lease is None):
            return None
        if self.lease and what.lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return None
        self._version += 1
        metadata = {**what.lease["metadata"], "resourceVersion": str(self._version)}
        self.lease = {**what.lease, "metadata": metadata}
        return self.lease


def turn(election: Election, server: Server, now: float, wall: float = 0.0) -> bool:
    """One look, and the write that comes of it; whether this one leads then."""
    what = election.look(server.lease, now, wall)
    if what is not None and (lease := server.write(what)):
        election.wrote(lease, now)
    return election.leads(now)


def test_the_first_takes_it_and_the_second_waits() -> None:
    server, one, two = Server(), Election("one", "ai", "controller"), Election("two", "ai", "controller")
    assert turn(one, server, 100.0, 1.5)
    assert not turn(two, server, 7.0)
    assert server.lease is not None
    assert server.lease["metadata"] == {"namespace": "ai", "name": "controller", "resourceVersion": "1"}
    assert server.lease["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": DURATION,
        "acquireTime": "1970-01-01T00:00:01.500000Z",
        "renewTime": "1970-01-01T00:00:01.500000Z",
        "leaseTransitions": 0,
    }


def test_who_renews_keeps_it() -> None:
    server, one, two = Server(), Election("one", "ai", "controller"), Election("two", "ai", "controller")
    for second in range(0, 100, 2):
        assert turn(one, server, second, 5.0 + second)
        assert not turn(two, server, second + 0.5)
    assert server.lease is not None
    assert server.lease["spec"]["acquireTime"] == "1970-01-01T00:00:05.000000Z"
    assert server.lease["spec"]["renewTime"] == "1970-01-01T00:01:43.000000Z"


def test_who_dies_is_replaced_within_15_seconds() -> None:
    server, one, two = Server(), Election("one", "ai", "controller"), Election("two", "ai", "controller")
    assert turn(one, server, 0.0)
    now = 0.1
    while not turn(two, server, now):
        now += PAUSE
    assert DURATION <= now <= 15
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1
    assert not turn(one, server, now)


def test_who_cannot_renew_stops_before_another_begins() -> None:
    server, one = Server(), Election("one", "ai", "controller")
    assert turn(one, server, 0.0)
    assert one.leads(RENEW_LIMIT - 0.1)
    assert not one.leads(RENEW_LIMIT)
    one.check(RENEW_LIMIT - 0.1)
    with pytest.raises(LostLead):
        one.check(RENEW_LIMIT)
    assert RENEW_LIMIT < DURATION
    assert turn(one, server, RENEW_LIMIT + 1)


def test_an_orderly_end_leaves_it_to_the_next_at_once() -> None:
    server, one, two = Server(), Election("one", "ai", "controller"), Election("two", "ai", "controller")
    assert turn(one, server, 0.0)
    assert server.lease is not None
    assert two.released(server.lease) is None
    free = one.released(server.lease)
    assert free is not None
    server.write(Write(free, create=False))
    assert not one.leads(0.1)
    assert turn(two, server, 0.2)


def test_a_lease_that_is_taken_by_somebody_else_is_noticed() -> None:
    server, one = Server(), Election("one", "ai", "controller")
    assert turn(one, server, 0.0)
    assert server.lease is not None
    server.write(Write({**server.lease, "spec": {"holderIdentity": "kubectl"}}, create=False))
    assert not turn(one, server, 1.0)
    assert turn(one, server, 1.0 + DURATION)


EVENTS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 6.0), st.sampled_from(["fine", "lost", "unheard"])))


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.fixed_dictionaries({name: st.floats(0, 1e6) for name in "abc"}))
def test_never_two_lead(events: list[tuple[str, float, str]], clocks: dict[str, float]) -> None:
    """Three controllers with clocks of their own look at random times; requests, or answers to them, get lost."""
    server = Server()
    elections = {name: Election(name, "ai", "controller") for name in "abc"}
    now = 0.0
    for name, pause, what in events:
        now += pause
        election, own = elections[name], clocks[name] + now
        wanted = election.look(server.lease, own, now) if what != "lost" else None
        if wanted is not None and (lease := server.write(wanted)) and what == "fine":
            election.wrote(lease, own)
        assert sum(each.leads(clocks[who] + now) for who, each in elections.items()) <= 1
