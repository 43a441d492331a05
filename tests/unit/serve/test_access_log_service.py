"""The access log service over real gRPC: what is counted, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from extproc._pb import access_log_pb2 as pb
from extproc.envoy.access_log import STREAM
from extproc.exchange.notes import RequestAccount
from extproc.grpc_server import Abort, StatusCode
from extproc.serve import access_log_service
from extproc.serve.access_log_service import AccessLogService
from extproc.telemetry.metrics import Metrics
from tests.grpc.echo import Feed, PlainSender
from tests.grpc.messages import SNAPSHOT, value
from tests.grpc.running import running
from tests.waiting import until


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def accounts() -> list[RequestAccount]:
    return []


@pytest.fixture
def service(metrics: Metrics, accounts: list[RequestAccount]) -> AccessLogService:
    return AccessLogService(lambda: SNAPSHOT, metrics, accounts.append)


@pytest.fixture
def server(service: AccessLogService) -> Iterator[Any]:
    with running({STREAM: service.open}) as server:
        yield server


def entries(*codes: int, cluster: str = "") -> bytes:
    message = pb.StreamAccessLogsMessage()
    for code in codes:
        entry = message.http_logs.log_entry.add()
        entry.response.response_code.value = code
        entry.common_properties.upstream_cluster = cluster
        entry.common_properties.response_flags.no_healthy_upstream = bool(cluster)
        entry.common_properties.metadata.filter_metadata["aimesh"].fields["policy"].string_value = "p"
    return message.SerializeToString()


def test_every_entry_counts_and_is_passed_on(server: Any, metrics: Metrics, accounts: list[RequestAccount]) -> None:
    feed = Feed()
    call = server.open(STREAM)(iter(feed))
    feed.send(entries(200, 200, 503))
    until(lambda: len(accounts) == 3)
    feed.send(entries(400))
    until(lambda: len(accounts) == 4)
    assert [account.code for account in accounts] == ["200", "200", "503", "400"]
    assert value(metrics, "extproc_counted_requests_total", by="access_log") == 4
    feed.half_close()
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_faults_count_and_are_not_passed_on(server: Any, metrics: Metrics, accounts: list[RequestAccount]) -> None:
    feed = Feed()
    call = server.open(STREAM)(iter(feed))
    feed.send(entries(200, cluster="elsewhere"))
    until(lambda: len(accounts) == 1)
    assert value(metrics, "extproc_errors_total", reason="not_as_decided") == 1
    call.cancel()


def test_a_message_that_is_none_ends_its_stream_alone(server: Any, metrics: Metrics) -> None:
    call = server.open(STREAM)(iter([b"\xff\xff"]))
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert value(metrics, "extproc_errors_total", reason="malformed_message") == 1
    feed = Feed()
    other = server.open(STREAM)(iter(feed))
    feed.send(entries(200))
    until(lambda: value(metrics, "extproc_counted_requests_total", by="access_log") == 1)
    other.cancel()


def test_a_mistake_of_ours_is_counted(metrics: Metrics) -> None:
    def broken() -> Any:
        raise LookupError

    handler = AccessLogService(broken, metrics).open(PlainSender())
    with pytest.raises(LookupError):
        handler.receive(entries(200))
    assert value(metrics, "extproc_errors_total", reason="internal") == 1


def test_streams_are_bounded(service: AccessLogService, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log_service, "MAX_STREAMS", 2)
    first, _ = (service.open(PlainSender()) for _ in range(2))
    with pytest.raises(Abort) as caught:
        service.open(PlainSender())
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
    assert value(metrics, "extproc_errors_total", reason="too_many_access_logs") == 1
    first.close()
    service.open(PlainSender())


def test_all_streams_end_where_the_processor_stops(
    server: Any, service: AccessLogService, accounts: list[RequestAccount]
) -> None:
    feeds = [Feed(), Feed()]
    calls = [server.open(STREAM)(iter(feed)) for feed in feeds]
    for feed in feeds:
        feed.send(entries(200))
    until(lambda: len(accounts) == 2)
    service.end_streams()
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    for feed in feeds:
        feed.half_close()
