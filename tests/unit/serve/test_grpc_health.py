"""The health service as Envoy's and the kubelet's probes use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from extproc._pb import health_pb2 as pb
from extproc.envoy.codec import SERVICE
from extproc.grpc_server import ENGINES, Name
from extproc.serve.grpc_health import CHECK, WATCH, Health
from tests.grpc.echo import Feed
from tests.grpc.running import running
from tests.waiting import until

Status = pb.HealthCheckResponse


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(health: Health) -> Iterator[Any]:
    with running(health.services()) as server:
        yield server


def check(server: Any, service: str = "") -> int:
    call = server.channel.unary_unary(
        CHECK, request_serializer=Status.SerializeToString, response_deserializer=Status.FromString
    )
    return int(call(pb.HealthCheckRequest(service=service)).status)


def test_not_serving_until_told(server: Any, health: Health) -> None:
    assert check(server) == Status.NOT_SERVING
    health.serving = True
    assert check(server) == check(server, SERVICE) == Status.SERVING
    health.serving = False
    assert check(server, SERVICE) == Status.NOT_SERVING


def test_services_of_the_endpoint_picker_protocol(server: Any, health: Health) -> None:
    assert (check(server, "liveness"), check(server, "readiness")) == (Status.SERVING, Status.NOT_SERVING)
    health.serving = True
    assert (check(server, "liveness"), check(server, "readiness")) == (Status.SERVING, Status.SERVING)


def test_an_unknown_service(server: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        check(server, "no.such.Service")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_watching(server: Any, health: Health) -> None:
    feed, strange = Feed(), Feed()
    watch = server.channel.stream_stream(WATCH, response_deserializer=Status.FromString)
    call, other = watch(iter(feed)), watch(iter(strange))
    feed.send(pb.HealthCheckRequest(service=SERVICE).SerializeToString())
    strange.send(pb.HealthCheckRequest(service="no.such.Service").SerializeToString())
    assert next(call).status == Status.NOT_SERVING
    assert next(other).status == Status.SERVICE_UNKNOWN
    health.serving = True
    assert next(call).status == Status.SERVING
    health.serving = False
    assert next(call).status == Status.NOT_SERVING
    feed.half_close()
    strange.half_close()
    assert list(call) == []


def test_a_watcher_that_leaves_is_forgotten(server: Any, health: Health) -> None:
    feed = Feed()
    call = server.channel.stream_stream(WATCH)(iter(feed))
    feed.send(b"")
    next(call)
    call.cancel()
    health.serving = True
    assert check(server) == Status.SERVING


@pytest.mark.parametrize("engine", ENGINES)
def test_open_checks_that_ask_nothing_give_way_to_one_that_asks(
    engine: Name, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.serve.grpc_health.MAX_OPEN_CHECKS", 3)
    with running(health.services(), engine=engine) as server:
        feeds = [Feed() for _ in range(5)]
        calls = [server.channel.stream_stream(CHECK)(iter(feed)) for feed in feeds]
        until(lambda: sum(call.done() for call in calls) == 2)
        assert {call.code() for call in calls if call.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert check(server) == Status.NOT_SERVING
        until(lambda: sum(call.done() for call in calls) == 3)
        for feed in feeds:
            feed.half_close()
        until(lambda: all(call.done() for call in calls))
        until(lambda: not health._checks)


def test_watchers_are_counted(server: Any, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.serve.grpc_health.MAX_WATCHES", 2)
    feeds = [Feed() for _ in range(3)]
    calls = [server.channel.stream_stream(WATCH)(iter(feed)) for feed in feeds]
    until(lambda: any(call.done() for call in calls))
    assert [call.code() for call in calls if call.done()] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    for feed in feeds:
        feed.half_close()
    until(lambda: all(call.done() for call in calls) and not health._watches)
    assert check(server) == Status.NOT_SERVING


def test_one_message_asks_a_watch(server: Any) -> None:
    feed = Feed()
    call = server.channel.stream_stream(WATCH)(iter(feed))
    feed.send(b"")
    next(call)
    feed.send(b"")
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
