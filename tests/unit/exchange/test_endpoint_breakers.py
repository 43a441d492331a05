"""Circuit breakers of the endpoints of a target: what picks read of them, and what all of them together say."""

from __future__ import annotations

from itertools import chain

import pytest

from extproc.exchange import endpoint_breakers as module
from extproc.exchange.endpoint_breakers import EndpointBreaker, EndpointBreakers
from extproc.policy.breaker import EJECTED, EJECTION, PROBES
from extproc.policy.circuit_breaker import Busy, CircuitBreaker
from tests.unit.exchange.picked_servers import PickedServers
from tests.unit.policy.simulated_server import p95

A, B, C = ADDRESSES = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
LATER = 10 * module.LOOK_INTERVAL


class Target:
    """Endpoints, and a clock."""

    def __init__(self, bounds: CircuitBreaker, promised: float = 0.0) -> None:
        self.now = 100.0
        self.all = EndpointBreakers(lambda: self.now)
        self.all.follow(ADDRESSES, bounds, promised)

    def of(self, endpoint: str) -> EndpointBreaker:
        found = self.all.of(endpoint)
        assert found is not None
        return found

    def fail(self, endpoint: str) -> None:
        """So often that it is ejected."""
        for _ in range(8):
            self.of(endpoint).outcome(self.now, True)
        assert self.of(endpoint).state == EJECTED

    def takes(self) -> str:
        """A letter for each endpoint that a pick may take."""
        marks = self.all.marks(ADDRESSES) or b"\1\1\1"
        return "".join(letter for letter, mark in zip("ABC", marks, strict=True) if mark)


@pytest.fixture
def target() -> Target:
    return Target(CircuitBreaker(1, 2))


def test_who_has_as_many_as_it_may_gets_no_more_until_one_has_ended(target: Target) -> None:
    assert (target.takes(), target.all.busy(target.now)) == ("ABC", None)
    one, _ = [target.of(A).begin(target.now) for _ in range(2)]
    assert target.takes() == "BC"
    target.of(A).end(one, target.now)
    assert target.takes() == "ABC"


def test_who_fails_is_left_out_probed_and_taken_back(target: Target) -> None:
    target.fail(B)
    assert target.takes() == "AC"
    assert target.all.ejected() == (B,)
    target.now += EJECTION + 0.1
    assert target.takes() == "ABC"
    for _ in range(PROBES):
        target.all.sent(B)
        assert target.takes() == "AC", "one probe at a time"
        one = target.of(B).begin(target.now)
        target.of(B).outcome(target.now, False, one)
        target.of(B).end(one, target.now)
    assert target.takes() == "ABC"
    assert target.all.ejected() == ()


def test_who_becomes_ten_times_as_slow_is_left_out() -> None:
    target = Target(CircuitBreaker(1, 100))
    for seconds in [0.1] * 60 + [1.0] * 40:
        for endpoint in ADDRESSES:
            if endpoint[7:8] in target_letters(target):
                one = target.of(endpoint).begin_stream(target.now)
                taken = seconds if endpoint == B else 0.1
                target.of(endpoint).first_token(one, taken, target.now + taken)
                target.of(endpoint).end(one, target.now + taken)
        target.now += 1.0
    assert target.all.ejected() == (B,)


def target_letters(target: Target) -> str:
    """The last digits of the addresses that a pick may take."""
    return "".join({"A": "1", "B": "2", "C": "3"}[letter] for letter in target.takes())


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("loses_places", [False, True])
def test_one_of_three_at_a_tenth_of_its_strength_makes_nobody_wait(in_turn: bool, loses_places: bool) -> None:
    """It has a tenth of its places, or takes ten times as long for everything; for 90 s."""
    found = PickedServers(3, places=30, in_turn=in_turn, seed=1)
    usual = p95([*chain.from_iterable(found.run(60, 45))][500:])
    weak = found.servers[1]
    if loses_places:
        weak.places = 3
    else:
        weak.first, weak.length = 1.0, 10.0
    answers = found.run(150, 45)
    assert p95([*chain.from_iterable(answers)]) <= 1.5 * usual
    assert len(answers[1]) <= 0.03 * sum(map(len, answers))
    assert found.refused <= 0.03 * sum(map(len, answers))
    weak.places, weak.first, weak.length = 30, 0.1, 1.0
    found.run(180, 45)
    assert found.breakers.ejected() == ()
    assert min(len(of_one) for of_one in found.run(210, 45)) >= 0.15 * 30 * 45


def test_what_was_sent_counts_before_it_is_seen_and_no_longer(target: Target) -> None:
    target.all.sent(A)
    target.all.sent(A)
    assert target.takes() == "BC"
    target.now += LATER
    assert target.takes() == "ABC"


def test_where_all_are_closed_there_is_no_room(target: Target) -> None:
    for endpoint in ADDRESSES:
        target.fail(endpoint)
    assert target.all.busy(target.now) == Busy(True, int(EJECTION))
    assert target.all.within_limit(target.now)
    for endpoint in (A, C):
        target.of(endpoint).begin(target.now)
    assert target.takes() == "B", "those with room for a request that nobody else can take"
    target.of(B).begin(target.now)
    assert not target.all.within_limit(target.now)
    target.now += EJECTION + 0.1
    for endpoint in ADDRESSES:
        target.all.sent(endpoint)
    assert target.all.busy(target.now) == Busy(True, 1)


def test_one_that_is_full_may_be_asked_again_sooner_than_one_that_is_ejected(target: Target) -> None:
    target.fail(A)
    for endpoint in (B, C):
        for _ in range(2):
            target.of(endpoint).begin(target.now)
    assert target.all.busy(target.now) == Busy(False, 1)


def test_a_reload_keeps_whom_it_keeps(target: Target) -> None:
    target.fail(A)
    gone = target.of(B)
    waiting = target.of(C).begin(target.now)
    target.all.follow((C, A), CircuitBreaker(1, 1), 0.0)
    assert target.all.marks((C, A)) == b"\0\0" or target.all.busy(target.now) is not None
    assert target.all.of(B) is None
    gone.outcome(target.now, True)  # a request of before the reload
    target.of(C).end(waiting, target.now)
    assert target.all.marks((C, A)) == b"\1\0"
    assert target.all.ejected() == (A,)


def test_servers_for_grpc_alone_are_some_of_the_endpoints(target: Target) -> None:
    target.fail(C)
    assert target.all.marks((C, "10.0.0.9:80")) == b"\0\1"


def test_limits_and_requests_are_added_up(target: Target) -> None:
    target.of(A).begin(target.now)
    target.fail(B)
    assert (target.all.limit(), target.all.in_flight()) == (2 + 1 + 2, 1)


def test_there_are_only_so_many(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENDPOINTS", 1)
    target.fail(A)
    assert target.all.of(B) is None
    target.all.sent(B)
    assert target.takes() == "BC"


def test_an_objective_is_what_no_first_token_is_late_within() -> None:
    target = Target(CircuitBreaker(1, 2), promised=0.5)
    assert target.of(A).promised == 0.5
    target.all.follow(ADDRESSES, CircuitBreaker(1, 2), 0.7)
    assert target.of(A).promised == 0.7


def test_a_target_without_endpoints_is_not_busy() -> None:
    found = EndpointBreakers(lambda: 0.0)
    assert (found.busy(1.0), found.marks(())) == (None, b"")
