"""How many streams may be open, wait and watch; which one makes room, and what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extproc.grpc_server import Abort, StatusCode
from extproc.serve.open_streams import OpenStreams
from extproc.telemetry.metrics import Metrics


class Ended:
    """A stream that remembers why it was ended."""

    def __init__(self) -> None:
        self.abort: Abort | None = None

    def end(self, abort: Abort) -> None:
        assert self.abort is None
        self.abort = abort


def errors(metrics: Metrics) -> dict[str, float]:
    return {reason: count for (reason,), count in metrics._counters["extproc_errors"].items()}


def test_the_one_that_waits_longest_makes_room() -> None:
    metrics = Metrics()
    streams, ends = OpenStreams(metrics, 8), [Ended() for _ in range(6)]
    for one in ends:
        streams.open(one)
        if one is ends[4]:
            streams.wait(ends[0], 1)  # more of its body comes: it is no younger for that
        streams.wait(one, 1)
    assert [one.abort is not None for one in ends] == [True, True, False, False, False, False]
    assert ends[0].abort is not None
    assert ends[0].abort.code is StatusCode.RESOURCE_EXHAUSTED
    assert errors(metrics) == {"too_many_bodies": 2}
    assert metrics.streams == 4


def test_streams_that_say_nothing_have_a_bound_of_their_own() -> None:
    metrics = Metrics()
    streams, ends = OpenStreams(metrics, 4), [Ended() for _ in range(11)]
    for one in ends[:8]:
        streams.open(one)
    streams.wait(ends[4], 1)
    streams.watch(ends[5])
    for one in ends[8:]:
        streams.open(one)
    gone = [ends[6], ends[7], ends[8]]
    assert [one for one in ends if one.abort is not None] == gone, "the oldest, of those from the fifth on"
    assert all(one.abort.code is StatusCode.RESOURCE_EXHAUSTED for one in gone if one.abort is not None)
    assert errors(metrics) == {"too_many_streams": 3}
    assert metrics.streams == 8


def test_where_none_says_nothing_the_one_that_waits_longest_makes_room() -> None:
    metrics = Metrics()
    streams, ends = OpenStreams(metrics, 4), [Ended() for _ in range(9)]
    for one in ends[:8]:
        streams.open(one)
    for one in ends[4:6]:
        streams.watch(one)
    for one in ends[6:8]:
        streams.wait(one, 1)
    streams.open(ends[8])
    assert [one for one in ends if one.abort is not None] == [ends[6]]
    assert errors(metrics) == {"too_many_bodies": 1}
    assert metrics.streams == 8


def test_observers_are_refused_before_routers_and_nobody_is_let_go_for_one() -> None:
    metrics = Metrics()
    streams, waiting = OpenStreams(metrics, 8), [Ended(), Ended(), Ended()]
    for number in range(8):
        streams.open(one := Ended())
        if number < 5:
            streams.watch(one)
    streams.wait(waiting[0], 1)
    with pytest.raises(Abort, match="for routing"):
        streams.watch(Ended())
    streams.wait(waiting[1], 1)
    streams.wait(waiting[2], 1)
    assert (errors(metrics), [one.abort for one in waiting]) == ({"too_many_observers": 1}, [None] * 3)
    streams.wait(Ended(), 1)
    assert waiting[0].abort is not None, "full: the oldest makes room"


def test_bodies_hold_so_many_bytes_and_a_single_one_any() -> None:
    metrics = Metrics()
    streams, first, second = OpenStreams(metrics, 100, max_held_bytes=10), Ended(), Ended()
    for one in (first, second):
        streams.open(one)
        streams.wait(one, 5)
    streams.wait(second, 1)
    assert (first.abort is not None, second.abort) == (True, None)
    streams.wait(second, 100)
    assert second.abort is None
    streams.close(second)
    assert (metrics.streams, streams._held_bytes) == (0, 0)


class Crowd(RuleBasedStateMachine):
    """Streams that come, speak and go in any order, and what must hold at any time."""

    @initialize(most=st.integers(1, 12))
    def begin(self, most: int) -> None:
        self.most, self.metrics = most, Metrics()
        self.streams = OpenStreams(self.metrics, most, max_held_bytes=20)
        self.watching = 0
        self.silent: list[Ended] = []
        self.waiting: list[Ended] = []

    @rule()
    def open(self) -> None:
        self.silent.append(Ended())
        self.streams.open(self.silent[-1])
        assert self.silent[-1].abort is None

    @precondition(lambda self: self.silent)
    @rule(which=st.integers(0, 99), size=st.integers(0, 9))
    def begin_to_wait(self, which: int, size: int) -> None:
        self.waiting.append(self.silent.pop(which % len(self.silent)))
        self.streams.wait(self.waiting[-1], size)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 99), size=st.integers(0, 9))
    def wait_on(self, which: int, size: int) -> None:
        self.streams.wait(self.waiting[which % len(self.waiting)], size)

    @precondition(lambda self: self.silent)
    @rule(which=st.integers(0, 99))
    def watch(self, which: int) -> None:
        one = self.silent.pop(which % len(self.silent))
        try:
            self.streams.watch(one)
        except Abort:
            self.streams.close(one)
        else:
            self.watching += 1
        assert all(one.abort is None for one in self.waiting), "nobody is let go for it"

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 99))
    def answer(self, which: int) -> None:
        self.streams.close(self.waiting.pop(which % len(self.waiting)))

    @precondition(lambda self: self.watching)
    @rule()
    def look_away(self) -> None:
        self.streams.close(Ended(), watching=True)
        self.watching -= 1

    @precondition(lambda self: self.silent)
    @rule(which=st.integers(0, 99))
    def hang_up(self, which: int) -> None:
        self.streams.close(self.silent.pop(which % len(self.silent)))

    @invariant()
    def bounds_hold(self) -> None:
        self.silent = [one for one in self.silent if one.abort is None]
        gone = sum(one.abort is not None for one in self.waiting)
        assert all(one.abort is not None for one in self.waiting[:gone]), "the oldest first"
        self.waiting = self.waiting[gone:]
        assert len(self.waiting) <= max(1, self.most // 2)
        assert self.watching <= self.most - max(1, self.most // 4)
        assert len(self.waiting) + self.watching <= self.most
        assert self.metrics.streams == len(self.waiting) + self.watching + len(self.silent) <= 2 * self.most
        assert set(self.streams._silent) <= set(self.silent)
        assert sum(self.streams._waiting.values()) == self.streams._held_bytes
        assert self.streams._held_bytes <= 20 or len(self.waiting) == 1


TestCrowd = Crowd.TestCase
