"""One ext_proc stream over real gRPC: replies, the end of the stream, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import grpc
import msgspec
import pytest

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.codec import PROCESS
from extproc.exchange.breakers import Breakers
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.snapshot import Snapshot
from extproc.serve.servicer import handler_factory
from extproc.telemetry.metrics import Metrics
from tests.grpc.echo import Feed
from tests.grpc.messages import BODY, SNAPSHOT, STREAMED, head, value
from tests.grpc.running import Running, running
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
        return sum(present for _, present, _ in breakers.describe(snapshot).values())

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
