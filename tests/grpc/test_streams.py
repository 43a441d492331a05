"""How many streams may be open, wait and watch; which one makes room, and what becomes of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.codec import PROCESS
from extproc.grpc_server import Abort, StatusCode
from extproc.serve.open_streams import Streams
from extproc.serve.servicer import process
from extproc.telemetry.metrics import Metrics
from tests.grpc.echo import Feed
from tests.grpc.running import Running, running
from tests.grpc.test_servicer import BODY, SNAPSHOT, STREAMED, head, value
from tests.waiting import until

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


class Ended:
    """A stream that remembers why it was ended."""

    def __init__(self) -> None:
        self.abort: Abort | None = None

    def end(self, abort: Abort) -> None:
        assert self.abort is None
        self.abort = abort


def errors(metrics: Metrics) -> dict[str, int]:
    return {reason: count for (reason,), count in metrics._counters["extproc_errors"].items()}


def test_the_one_that_waits_longest_makes_room() -> None:
    metrics = Metrics()
    streams, ends = Streams(metrics, 8), [Ended() for _ in range(6)]
    for one in ends:
        streams.open()
        streams.route()
        if one is ends[4]:
            streams.wait(ends[0], 1)  # more of its body comes: it is no younger for that
        streams.wait(one, 1)
    assert [one.abort is not None for one in ends] == [True, True, False, False, False, False]
    assert ends[0].abort is not None
    assert ends[0].abort.code is StatusCode.RESOURCE_EXHAUSTED
    assert errors(metrics) == {"too_many_bodies": 2}
    assert metrics.streams == 4


def test_without_room_one_that_waits_makes_it_and_else_the_new_one_is_refused() -> None:
    metrics = Metrics()
    streams, waiting = Streams(metrics, 4), Ended()
    for _ in range(4):
        streams.open()
        streams.route()
    streams.wait(waiting, 0)
    streams.open()
    streams.route()
    assert (waiting.abort is not None, metrics.streams) == (True, 4)
    for _ in range(4):
        streams.open()
    with pytest.raises(Abort, match="4 streams are open"):
        streams.route()
    with pytest.raises(Abort, match="4 streams are open"):
        streams.open()
    assert errors(metrics) == {"too_many_bodies": 1, "too_many_streams": 2}


def test_observers_are_refused_before_routers_and_take_no_room_of_theirs() -> None:
    metrics = Metrics()
    streams, waiting = Streams(metrics, 8), Ended()
    for number in range(6):
        streams.open()
        if number:
            streams.watch()
        else:
            streams.route()
            streams.wait(waiting, 1)
    for _ in range(6):  # many at once, before the first of them speaks
        streams.open()
    for _ in range(4):
        with pytest.raises(Abort, match="for routing"):
            streams.watch()
        streams.close(Ended(), silent=True)
    streams.route()
    streams.route()
    assert (errors(metrics), waiting.abort, metrics.streams) == ({"too_many_observers": 4}, None, 8)


def test_bodies_hold_so_many_bytes_and_a_single_one_any() -> None:
    metrics = Metrics()
    streams, first, second = Streams(metrics, 100, most_held=10), Ended(), Ended()
    for one in (first, second):
        streams.open()
        streams.route()
        streams.wait(one, 5)
    streams.wait(second, 1)
    assert (first.abort is not None, second.abort) == (True, None)
    streams.wait(second, 100)
    assert second.abort is None
    streams.close(second)
    assert (metrics.streams, streams._bytes) == (0, 0)


class Crowd(RuleBasedStateMachine):
    """Streams that come, speak and go in any order, and what must hold at any time."""

    @initialize(most=st.integers(1, 12))
    def begin(self, most: int) -> None:
        self.most, self.metrics = most, Metrics()
        self.streams = Streams(self.metrics, most, most_held=20)
        self.silent = 0
        self.routing: list[Ended] = []
        self.waiting: list[Ended] = []
        self.watching: list[Ended] = []

    @rule()
    def open(self) -> None:
        with suppress(Abort):
            self.streams.open()
            self.silent += 1

    @precondition(lambda self: self.silent)
    @rule()
    def route(self) -> None:
        waited = bool(self.waiting)
        try:
            self.streams.route()
        except Abort:
            assert not waited, "nobody is refused while another waits"
            self.streams.close(Ended(), silent=True)
        else:
            self.routing.append(Ended())
        self.silent -= 1

    @precondition(lambda self: self.silent)
    @rule()
    def watch(self) -> None:
        waiting = len(self.waiting)
        try:
            self.streams.watch()
        except Abort:
            self.streams.close(Ended(), silent=True)
        else:
            self.watching.append(Ended())
        self.silent -= 1
        assert self.metrics.streams
        assert all(one.abort is None for one in self.waiting[:waiting]), "nobody is let go for it"

    @precondition(lambda self: self.routing)
    @rule(which=st.integers(0, 99), size=st.integers(0, 9))
    def wait(self, which: int, size: int) -> None:
        one = self.routing[which % len(self.routing)]
        if one not in self.waiting:
            self.waiting.append(one)
        self.streams.wait(one, size)

    @precondition(lambda self: self.routing or self.watching)
    @rule(which=st.integers(0, 99))
    def close(self, which: int) -> None:
        every = [*self.routing, *self.watching]
        one = every[which % len(every)]
        self.streams.close(one)
        for some in (self.routing, self.watching, self.waiting):
            if one in some:
                some.remove(one)

    @rule()
    def hang_up(self) -> None:
        if self.silent:
            self.streams.close(Ended(), silent=True)
            self.silent -= 1

    @invariant()
    def bounds_hold(self) -> None:
        gone = [one for one in self.routing if one.abort is not None]
        assert set(gone) == set(self.waiting[: len(gone)]), "the oldest first"
        self.routing = [one for one in self.routing if one not in gone]
        self.waiting = self.waiting[len(gone) :]
        spoken = len(self.routing) + len(self.watching)
        assert spoken <= self.most
        assert self.silent <= self.most
        assert self.metrics.streams == spoken + self.silent
        assert len(self.watching) <= self.most - self.most // 4
        assert len(self.waiting) <= max(1, self.most // 2)
        assert sum(self.streams._waiting.values()) == self.streams._bytes
        assert self.streams._bytes <= 20 or len(self.waiting) == 1


TestCrowd = Crowd.TestCase


def open_one(server: Running, *messages: bytes) -> tuple[Feed, Any]:
    feed = Feed()
    call = server.open(PROCESS)(iter(feed))
    for message in messages:
        feed.send(message)
    return feed, call


def test_a_stream_that_waits_ends_when_others_need_the_room_and_they_are_served() -> None:
    metrics = Metrics()
    with running({PROCESS: process(lambda: SNAPSHOT, metrics, max_streams=6)}) as server:
        waiting = []
        for number in range(3):
            waiting.append(open_one(server, head(protocol_config=STREAMED)))
            until(lambda number=number: metrics.streams == number + 1)  # type: ignore[misc]
        feed, late = open_one(server, head(protocol_config=STREAMED))
        with pytest.raises(grpc.RpcError) as caught:
            list(waiting[0][1])
        assert caught.value.code() is EXHAUSTED
        feed.send(BODY)
        (reply,) = (pb.ProcessingResponse.FromString(message) for message in late)
        assert reply.request_headers.response.header_mutation.set_headers
        until(lambda: metrics.streams == 2)
        assert value(metrics, "extproc_errors_total", reason="too_many_bodies") == 1
        assert value(metrics, "extproc_errors_total", reason="internal") is None
        for waits, call in waiting[1:]:
            waits.send(BODY)
            assert len(list(call)) == 1
        until(lambda: metrics.streams == 0)
        for one, _ in (*waiting, (feed, late)):
            one.half_close()


def test_an_observer_is_refused_where_the_room_is_for_routing() -> None:
    metrics = Metrics()
    with running({PROCESS: process(lambda: SNAPSHOT, metrics, max_streams=4)}) as server:
        watching = [open_one(server, head(observability_mode=True)) for _ in range(3)]
        until(lambda: value(metrics, "extproc_message_duration_seconds_count", phase="request_headers") == 3)
        feed, refused = open_one(server, head(observability_mode=True))
        with pytest.raises(grpc.RpcError) as caught:
            list(refused)
        assert caught.value.code() is EXHAUSTED
        routed, call = open_one(server, head(protocol_config=STREAMED), BODY)
        assert len(list(call)) == 1
        assert value(metrics, "extproc_errors_total", reason="too_many_observers") == 1
        for one, _ in (*watching, (feed, refused), (routed, call)):
            one.half_close()
        until(lambda: metrics.streams == 0)
