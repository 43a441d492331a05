"""One ext_proc stream over real gRPC: replies, the end of the stream, and what is counted."""

from __future__ import annotations

import gc
import gzip
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import grpc
import msgspec
import pytest

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.codec import PROCESS
from extproc.exchange.breakers import Breakers
from extproc.exchange.held_answer import HeldAnswer
from extproc.exchange.sampling import AdaptiveShares
from extproc.grpc_server import Abort, StatusCode
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.picking import Picking, Saturation
from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.target import NOWHERE
from extproc.serve.endpoint_picks import EndpointPicks
from extproc.serve.open_streams import OpenStreams
from extproc.serve.servicer import ProcessHandler, handler_factory
from extproc.telemetry.metrics import Metrics
from tests.grpc.echo import Feed, PlainSender
from tests.grpc.messages import BODY, SNAPSHOT, STREAMED, head, value
from tests.grpc.running import Running, running
from tests.said_loads import SaidLoads
from tests.waiting import until

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


ANSWERED = pb.ProcessingRequest(
    response_headers=pb.HttpHeaders(
        headers=pb.HeaderMap(headers=[pb.HeaderValue(key=":status", raw_value=b"200")]), end_of_stream=True
    ),
    observability_mode=True,
).SerializeToString()


def metadata(**values: str) -> Any:
    """Dynamic metadata as ``aimesh.route`` wrote it."""
    context = pb.ProcessingRequest().metadata_context
    context.filter_metadata["aimesh"].update(values)
    return context


def heads_read(metrics: Metrics) -> float | None:
    """Of how many streams the first message has been read."""
    return value(metrics, "extproc_message_duration_seconds_count", phase="request_headers")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(metrics: Metrics) -> Iterator[Any]:
    with running({PROCESS: handler_factory(lambda: SNAPSHOT, metrics)}) as server:
        yield server


def test_the_stream_ends_with_the_answer(server: Any, metrics: Metrics) -> None:
    feed = Feed()
    call = server.open(PROCESS)(iter(feed))
    feed.send(head(protocol_config=STREAMED))
    until(lambda: metrics.streams == 1)
    feed.send(BODY)
    (reply,) = (pb.ProcessingResponse.FromString(m) for m in call)
    headers = reply.request_headers.response.header_mutation.set_headers
    assert [(h.header.key, h.header.raw_value) for h in headers] == [
        ("x-model-name", b"llama"),
        ("x-model-version", b"v1"),
    ]
    assert call.code() is grpc.StatusCode.OK
    until(lambda: metrics.streams == 0)
    assert heads_read(metrics) == 1
    assert value(metrics, "extproc_message_duration_seconds_count", phase="request_body") == 1
    feed.half_close()


def test_the_observer_gets_no_replies_and_counts(server: Any, metrics: Metrics) -> None:
    status = pb.HeaderMap(headers=[pb.HeaderValue(key=":status", raw_value=b"200")])
    messages: list[bytes | pb.ProcessingRequest] = [
        head(observability_mode=True),
        pb.ProcessingRequest(response_headers=pb.HttpHeaders(headers=status), observability_mode=True),
        pb.ProcessingRequest(response_body=pb.HttpBody(body=b"x", end_of_stream=True), observability_mode=True),
    ]
    sent = (m if isinstance(m, bytes) else m.SerializeToString() for m in messages)
    assert list(server.open(PROCESS)(sent)) == []
    until(
        lambda: (
            value(
                metrics,
                "inference_requests_total",
                model="other",
                version="none",
                gpu_pool="none",
                api="openai",
                code="200",
            )
            == 1
        )
    )


def test_a_watched_request_is_in_flight_until_its_stream_ends_in_any_way(metrics: Metrics) -> None:
    policy = msgspec.structs.replace(SNAPSHOT.policies[0], breaker=CircuitBreaker())
    snapshot, breakers = Snapshot((policy,)), Breakers(perf_counter)

    def in_flight() -> float:
        return sum(present for _, present, *_ in breakers.describe(snapshot).values())

    observed = head(observability_mode=True, metadata_context=metadata(policy="llama", version="v1", api="openai"))
    with running({PROCESS: handler_factory(lambda: snapshot, metrics, breakers=breakers)}) as server:
        for leave in (lambda call, _: call.cancel(), lambda _, feed: feed.half_close()):
            feed = Feed()
            call = server.open(PROCESS)(iter(feed))
            feed.send(observed)
            until(lambda: in_flight() == 1)
            leave(call, feed)
            until(lambda: in_flight() == 0)
            feed.half_close()
        assert list(server.open(PROCESS)(iter([observed, ANSWERED]))) == []
        until(lambda: metrics.streams == 0)
        assert in_flight() == 0


def test_nonsense_ends_the_stream_and_is_counted(server: Any, metrics: Metrics) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(server.open(PROCESS)(iter([b"\xff\xff"])))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert value(metrics, "extproc_errors_total", reason="malformed_message") == 1
    until(lambda: metrics.streams == 0)


def test_a_bug_of_ours_ends_one_stream_only(
    server: Any, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("extproc.serve.servicer.decode", lambda _: 1 / 0)
        with pytest.raises(grpc.RpcError):
            list(server.open(PROCESS)(iter([head()])))
    assert value(metrics, "extproc_errors_total", reason="internal") == 1
    assert "ZeroDivisionError" in caplog.text
    assert len(list(server.open(PROCESS)(iter([head(protocol_config=STREAMED), BODY])))) == 1


@pytest.mark.parametrize("messages", [[], [head(protocol_config=STREAMED)]])
def test_a_client_that_leaves_takes_its_stream_with_it(server: Any, metrics: Metrics, messages: list[bytes]) -> None:
    feed = Feed()
    call = server.open(PROCESS)(iter(feed))
    for message in messages:
        feed.send(message)
    until(lambda: metrics.streams == 1 or not messages)
    call.cancel()
    until(lambda: metrics.streams == 0)
    feed.half_close()


def open_one(server: Running, *messages: bytes) -> tuple[Feed, Any]:
    feed = Feed()
    call = server.open(PROCESS)(iter(feed))
    for message in messages:
        feed.send(message)
    return feed, call


def test_a_stream_that_waits_ends_when_others_need_the_room_and_they_are_served() -> None:
    metrics = Metrics()
    with running({PROCESS: handler_factory(lambda: SNAPSHOT, metrics, max_streams=6)}) as server:
        waiting = []
        for number in range(1, 4):
            waiting.append(open_one(server, head(protocol_config=STREAMED)))
            # It waits from its first message on, which may come later than it opens.
            until(lambda number=number: heads_read(metrics) == number)  # type: ignore[misc]
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
    with running({PROCESS: handler_factory(lambda: SNAPSHOT, metrics, max_streams=4)}) as server:
        watching = [open_one(server, head(observability_mode=True)) for _ in range(3)]
        until(lambda: heads_read(metrics) == 3)
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


class Queue:
    """A processor whose only server is saturated at first, and what waits there."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics, self.board = metrics, SaidLoads()
        spec = Picking("least-loaded", saturation=Saturation(waiting=0), max_queue=2)
        versions = (Version("v1", 1, ("10.0.0.1:80",)),)
        self.snapshot = Snapshot((Policy("llama", models=("llama",), versions=versions, picking=spec),))
        self.picks = EndpointPicks(lambda: self.board, frozenset, Breakers(lambda: 0.0))
        self.services = {PROCESS: handler_factory(lambda: self.snapshot, metrics, picks=self.picks)}
        self.tell(9)

    def tell(self, waiting: int) -> None:
        self.board.waiting = {"10.0.0.1:80": waiting}

    def ask(self, server: Running) -> tuple[Any, Feed]:
        """A request that waits, and what it sends."""
        call, feed = self.open(server, "60s")
        until(lambda: self.waiting == 1)
        return call, feed

    def open(self, server: Running, timeout: str) -> tuple[Any, Feed]:
        feed = Feed()
        call = server.open(PROCESS)(iter(feed), metadata=(("x-aimesh-message-timeout", timeout),))
        feed.send(head(protocol_config=STREAMED))
        feed.send(BODY)
        return call, feed

    def ask_at_once(self, server: Running) -> Any:
        """A request that need not wait."""
        return server.open(PROCESS)(iter([head(protocol_config=STREAMED), BODY]))

    @property
    def waiting(self) -> int:
        return self.picks.waiting(Snapshot()).get(("llama", "v1", ""), 0)

    def ended(self, outcome: str) -> float | None:
        return value(self.metrics, "inference_queue_requests_total", policy="llama", outcome=outcome)


@pytest.fixture
def queue(metrics: Metrics) -> Queue:
    return Queue(metrics)


def test_a_request_that_waits_is_answered_when_there_is_room(queue: Queue) -> None:
    with running(queue.services) as server:
        call, feed = queue.ask(server)
        queue.tell(0)
        (reply,) = (pb.ProcessingResponse.FromString(message) for message in call)
        found = {h.header.key: h.header.raw_value for h in reply.request_headers.response.header_mutation.set_headers}
        assert found["x-gateway-destination-endpoint"] == b"10.0.0.1:80"
        assert call.code() is grpc.StatusCode.OK
        feed.half_close()
        until(lambda: queue.metrics.streams == 0)
    assert (queue.waiting, queue.ended("routed")) == (0, 1)
    assert value(queue.metrics, "inference_queue_seconds_count", policy="llama") == 1
    labels = {"policy": "llama", "version": "v1", "gpu_pool": "none"}
    assert value(queue.metrics, "inference_picks_total", **labels, outcome="picked") == 1


def test_a_request_that_waited_for_too_long_is_refused(queue: Queue) -> None:
    with running(queue.services) as server:
        call, feed = queue.open(server, "0.01s")
        (reply,) = (pb.ProcessingResponse.FromString(message) for message in call)
        assert reply.immediate_response.status.code == 429
        assert call.code() is grpc.StatusCode.OK
        feed.half_close()
    assert queue.ended("queue_timeout") == 1
    assert value(queue.metrics, "inference_rejected_total", code="queue_timeout") == 1


@pytest.mark.parametrize("how", ["cancel", "half_close"])
def test_who_leaves_while_it_waits_is_forgotten(queue: Queue, how: str) -> None:
    with running(queue.services) as server:
        call, feed = queue.ask(server)
        if how == "cancel":
            call.cancel()
        feed.half_close()
        until(lambda: queue.metrics.streams == 0)
        assert (queue.waiting, queue.ended("client_left")) == (0, 1)
        queue.tell(0)
        assert len(list(queue.ask_at_once(server))) == 1


class Waiting(PlainSender):
    """The sender of a stream that waits until it is ended."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Nobody looks."""


def hold(queue: Queue, body: bytes, streams: OpenStreams, ended: Callable[[Abort], None]) -> ProcessHandler:
    """A request with a packed body that waits."""
    message = pb.ProcessingRequest.FromString(head(protocol_config=STREAMED))
    message.request_headers.headers.headers.add(key="content-encoding", raw_value=b"gzip")
    end = pb.ProcessingRequest(request_body=pb.HttpBody(body=gzip.compress(body), end_of_stream=True))
    shares, picks = AdaptiveShares(perf_counter), queue.picks
    handler = ProcessHandler(queue.snapshot, queue.metrics, PoolLoads(), streams, shares, Waiting(ended), picks=picks)
    streams.open(handler)
    for piece in (message, end):
        assert not handler.receive(piece.SerializeToString())
    return handler


def test_an_unpacked_body_counts_as_held_while_its_request_waits(queue: Queue) -> None:
    streams, ended = OpenStreams(queue.metrics, 8, max_held_bytes=300_000), list[Abort]()
    for _ in range(2):
        hold(queue, b'{"model": "llama", "prompt": "%s"}' % (b"x" * 200_000), streams, ended.append)
        assert queue.waiting == 1
    assert (queue.ended("evicted"), queue.ended("client_left")) == (1, None)
    assert [abort.code for abort in ended] == [StatusCode.RESOURCE_EXHAUSTED], "there is room for one"


def test_what_waited_is_freed_with_its_stream(queue: Queue) -> None:
    def kept() -> int:
        return sum(type(one) is HeldAnswer for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        handler = hold(queue, b'{"model": "llama"}', OpenStreams(queue.metrics, 8), lambda _: None)
        assert kept() == before + 1
        handler.close()
        assert kept() == before
    finally:
        gc.enable()


def test_those_that_wait_are_answered_while_the_server_drains(queue: Queue) -> None:
    with running(queue.services) as server:
        call, feed = queue.ask(server)
        server.engine.stop(30)
        queue.tell(0)
        assert len(list(call)) == 1
        assert call.code() is grpc.StatusCode.OK
        feed.half_close()
        server.thread.join(20)
        assert not server.thread.is_alive()


def test_a_bug_of_ours_ends_one_that_waited(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(queue.services) as server:
        call, feed = queue.ask(server)
        with monkeypatch.context() as patch:
            patch.setattr("extproc.exchange.pick_queues.PickQueues.finish", lambda *_: 1 / 0)
            queue.tell(0)
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
        feed.half_close()
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        until(lambda: queue.metrics.streams == 0)
        assert "ZeroDivisionError" in caplog.text
        assert len(list(queue.ask_at_once(server))) == 1


def test_a_version_without_servers_is_left_at_once(metrics: Metrics) -> None:
    """By the policies: nobody has looked for its servers."""
    versions = Version("v1", 1, ("10.0.0.1:80",)), Version("v2", 1, (NOWHERE,))
    snapshot = Snapshot((Policy("llama", models=("llama",), versions=versions),))
    with running({PROCESS: handler_factory(lambda: snapshot, metrics)}) as server:
        for _ in range(20):
            replies = b"".join(server.open(PROCESS)(iter([head(), BODY])))
            assert b"v1" in replies
            assert b"v2" not in replies
