"""Requests in flight, counted by one process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.picking.own_requests import LOST_AFTER, READING_INTERVAL, OwnRequests

A, B = "10.0.0.1:80", "10.0.0.2:80"
BOTH = A, B


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def in_flight(own: OwnRequests, clock: Clock) -> list[float]:
    clock.now += READING_INTERVAL
    loads = own.loads(BOTH)
    assert list(loads.in_flight) == list(loads.sent_since)
    return list(loads.in_flight)


def test_from_beginning_to_end() -> None:
    clock = Clock()
    own = OwnRequests(clock)
    assert in_flight(own, clock) == [0, 0]
    for endpoint in (A, A, B):
        own.begin(endpoint)
    assert in_flight(own, clock) == [2, 1]
    own.end(A)
    own.end(B)
    own.end(B)
    own.end("10.9.9.9:80")
    assert in_flight(own, clock) == [1, 0]


def test_a_reading_is_the_same_for_a_while() -> None:
    clock = Clock()
    own = OwnRequests(clock)
    first = own.loads(BOTH)
    own.begin(A)
    assert own.loads(BOTH) is first
    clock.now += READING_INTERVAL
    assert list(own.loads(BOTH).in_flight) == [1, 0]
    own.follow()
    assert len(own.loads((A,))) == 1


def test_one_whose_end_nobody_tells_counts_no_more_in_the_end() -> None:
    clock = Clock()
    own = OwnRequests(clock)
    own.begin(A)
    clock.now += LOST_AFTER / 2
    own.begin(A)
    assert in_flight(own, clock) == [2, 0]
    clock.now += LOST_AFTER / 2
    assert in_flight(own, clock) == [1, 0]
    clock.now += LOST_AFTER / 2
    assert in_flight(own, clock) == [0, 0]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(BOTH), st.floats(0, 100)), max_size=50))
def test_never_fewer_than_none_nor_more_than_were_sent(steps: list[tuple[bool, str, float]]) -> None:
    clock = Clock()
    own = OwnRequests(clock)
    sent = dict.fromkeys(BOTH, 0)
    for begins, endpoint, pause in steps:
        clock.now += pause
        (own.begin if begins else own.end)(endpoint)
        sent[endpoint] = max(0, sent[endpoint] + (1 if begins else -1))
        found = in_flight(own, clock)
        assert all(0 <= count <= most for count, most in zip(found, sent.values(), strict=True))
