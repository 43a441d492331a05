"""The breaker: its state machine under anything, and how it follows a server that loses and regains its strength."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from extproc.policy.breaker import (
    CLOSED,
    EJECTED,
    EJECTION,
    MAX_EJECTION,
    MAX_HOLD,
    PENDING,
    PROBES,
    PROBING,
    STALLED,
    Breaker,
    InFlight,
)
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.usual_time import FIRST_BLOCK

from .simulated_server import SimulatedServer, p95

LEAST, MOST = 2, 12
RATE = 60
"""Requests a second of which the simulated server has room for 90, and then for 9."""


class AnyUse(RuleBasedStateMachine):
    """Whatever order requests begin, answer, fail and end in."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(CircuitBreaker(LEAST, MOST))
        self.now = 100.0
        self.open: list[InFlight] = []

    @rule(seconds=st.floats(0.001, 40))
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(streamed=st.booleans(), weight=st.sampled_from((1.0, 4.0)))
    def asks(self, streamed: bool, weight: float) -> None:
        if self.breaker.busy(self.now) is None:
            self.breaker.admit(self.now)
            begin = self.breaker.begin_stream if streamed else self.breaker.begin
            self.open.append(begin(self.now, weight))

    @precondition(lambda self: any(one.waiting for one in self.open))
    @rule(seconds=st.floats(0.01, 30))
    def first_token(self, seconds: float) -> None:
        one = next(one for one in self.open if one.waiting)
        self.breaker.first_token(one, seconds, self.now)

    @precondition(lambda self: self.open)
    @rule(at=st.integers(0, 100), failed=st.booleans())
    def ends(self, at: int, failed: bool) -> None:
        one = self.open.pop(at % len(self.open))
        self.breaker.outcome(self.now, failed=failed, one=one)
        self.breaker.end(one, self.now)

    @rule(at=st.integers(0, 100))
    def is_lost(self, at: int) -> None:
        if self.open:
            self.breaker.end(self.open.pop(at % len(self.open)), self.now)

    @rule()
    def an_account_tells_of_a_failure(self) -> None:
        self.breaker.outcome(self.now, failed=True)

    @invariant()
    def counts_and_bounds_hold(self) -> None:
        assert self.breaker.in_flight == pytest.approx(sum(one.weight for one in self.open))
        assert LEAST <= self.breaker.limit <= MOST
        assert self.breaker.state in ("closed", "draining", "ejected", "probing")

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """Where nothing is in flight some time admits a request, whatever has been."""
        if not self.open:
            assert self.breaker.busy(self.now + MAX_EJECTION) is None or self.breaker.state is PROBING


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=15, stateful_step_count=60, deadline=None)


def learned(least: int = LEAST) -> Breaker:
    """One that knows that a first token takes a tenth of a second."""
    breaker = Breaker(CircuitBreaker(least, MOST))
    for _ in range(FIRST_BLOCK):
        answer(breaker, 0.0, 0.1)
    assert breaker.usual == 0.1
    return breaker


def answer(breaker: Breaker, now: float, first: float, *, failed: bool = False) -> None:
    one = breaker.begin_stream(now)
    breaker.first_token(one, first, now)
    breaker.outcome(now, failed=failed, one=one)
    breaker.end(one, now)


def test_no_limit_but_the_largest_before_it_is_met() -> None:
    breaker = Breaker(CircuitBreaker(LEAST, MOST))
    for _ in range(MOST):
        assert breaker.busy(1.0) is None
        breaker.begin(1.0)
    busy = breaker.busy(1.0)
    assert busy is not None
    assert (busy.ejected, busy.retry_after) == (False, 1)


def test_what_was_decided_counts_until_it_is_seen_or_was_long_ago() -> None:
    breaker = Breaker(CircuitBreaker(LEAST, MOST))
    for _ in range(MOST):
        assert breaker.busy(1.0) is None
        breaker.admit(1.0)
    assert breaker.busy(1.0) is not None
    assert breaker.busy(1.0 + 2.5 * PENDING) is None  # another process sees them
    for _ in range(MOST):
        breaker.admit(2.0)
        breaker.begin(2.0)
    assert breaker.in_flight == MOST
    assert breaker.busy(2.0) is not None


def test_the_limit_falls_to_what_is_carried_once_nobody_is_late() -> None:
    breaker = learned()
    served = [breaker.begin_stream(1.0) for _ in range(5)]
    for one in served:
        breaker.first_token(one, 0.1, 1.0)
    late = [breaker.begin_stream(1.0) for _ in range(7)]
    assert breaker.busy(1.2) is not None  # seven wait longer than usual: that is enough
    assert breaker.state == "draining"
    for one in late:
        breaker.first_token(one, 1.0, 2.0)
        breaker.end(one, 2.0)
    assert (breaker.state, breaker.limit) == (CLOSED, 0.9 * 5)


def test_who_fails_is_ejected_probed_and_comes_back() -> None:
    breaker = learned()
    now = 10.0
    while breaker.state is not EJECTED:
        answer(breaker, now, 0.1, failed=True)
    busy = breaker.busy(now)
    assert busy is not None
    assert (busy.ejected, busy.retry_after) == (True, int(EJECTION))
    assert breaker.within_limit(now)
    now += EJECTION
    assert breaker.busy(now) is None
    probe = breaker.begin(now)
    assert breaker.busy(now) is not None  # one at a time
    breaker.outcome(now, failed=True, one=probe)
    breaker.end(probe, now)
    assert breaker.busy(now + EJECTION) is not None  # for twice as long
    now += 2 * EJECTION
    for _ in range(PROBES):
        assert breaker.busy(now) is None
        answer(breaker, now, 0.1)
    assert breaker.state == CLOSED


def test_a_slow_probe_is_no_good_one() -> None:
    breaker = learned()
    while breaker.state is not EJECTED:
        answer(breaker, 10.0, 0.1, failed=True)
    assert breaker.busy(10.0 + EJECTION) is None
    answer(breaker, 10.0 + EJECTION, 1.0)
    assert breaker.state == EJECTED


def test_what_takes_longer_even_at_the_least_limit_becomes_usual() -> None:
    breaker = learned(least=1)
    now = 10.0
    for _ in range(200):
        now += 1.0
        if breaker.busy(now) is None or breaker.within_limit(now):
            answer(breaker, now, 0.5)
    assert breaker.usual == 0.5
    assert breaker.state == CLOSED


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("seed", [1, 2])
def test_it_follows_a_server_down_and_up(seed: int, processes: int) -> None:
    """A tenth of the places, and back: no word between processes, and yet their limits add up to what it carries."""
    breakers = [Breaker(CircuitBreaker().share(processes)) for _ in range(processes)]
    server = SimulatedServer(breakers, places=100, seed=seed)
    normal = p95(server.run(30, RATE))
    server.places = 10
    server.run(50, RATE)
    server.most = server.in_flight
    slow = server.run(90, RATE)
    assert len(slow) > 0.6 * 40 * 10 / 1.1  # it is kept busy
    assert server.most <= 30  # without a limit it would have 2,000 more in 40 s
    assert p95(slow) < 10 * normal
    server.places = 100
    server.run(90 + 2 * MAX_HOLD, RATE)
    refused = server.refused
    back = server.run(100 + 2 * MAX_HOLD, RATE)
    assert server.refused - refused < 0.1 * len(back)


def test_what_the_policy_promises_is_never_late() -> None:
    breaker = learned()
    breaker.promised = 0.5
    for _ in range(50):
        answer(breaker, 1.0, 0.4)
    assert (breaker.state, breaker.limit) == (CLOSED, MOST)
    for _ in range(20):
        answer(breaker, 2.0, 0.6)
    assert breaker.limit == LEAST


def test_a_server_that_hangs_is_ejected_and_each_probe_that_hangs_too() -> None:
    breaker = learned()
    for _ in range(LEAST + 5):
        breaker.begin_stream(1.0)
    assert breaker.busy(2.0) is not None
    assert breaker.state == "draining"
    assert breaker.busy(2.0 + STALLED) is not None
    assert breaker.state is EJECTED
    now = 2.0 + STALLED + EJECTION
    assert breaker.busy(now) is None
    breaker.begin_stream(now)
    assert breaker.busy(now + 1.0) is not None
    assert breaker.state is EJECTED
    for _ in range(2000):  # for a day
        now += MAX_EJECTION + 2.0
        breaker.busy(now)
        breaker.begin_stream(now)
    assert breaker.busy(now + 1.0) is not None


def test_bounds_that_change_hold_at_once() -> None:
    breaker = learned()
    for _ in range(MOST):
        breaker.begin(1.0)
    breaker.set_bounds(CircuitBreaker(1, 3))
    assert breaker.limit == 3
    breaker.set_bounds(CircuitBreaker(20, 30))
    assert breaker.limit == 30
