"""The access log service over real gRPC: what is counted, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import msgspec
import pytest

from extproc._pb import access_log_pb2 as pb
from extproc.envoy.access_log import STREAM
from extproc.exchange.breakers import Breakers
from extproc.exchange.notes import Observed, RequestAccount
from extproc.grpc_server import Abort, StatusCode
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.serve import access_log_service
from extproc.serve.access_log_service import AccessLogService
from extproc.serve.endpoint_picks import EndpointPicks
from extproc.telemetry.metrics import Metrics
from tests.grpc.echo import Feed, PlainSender
from tests.grpc.messages import SNAPSHOT, value
from tests.grpc.running import running
from tests.said_loads import SaidLoads
from tests.waiting import until

A, B = "10.0.0.1:80", "10.0.0.2:80"


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


def test_the_stream_that_has_said_nothing_longest_makes_room(
    service: AccessLogService, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log_service, "MAX_STREAMS", 2)
    ended: dict[str, list[Abort]] = {"first": [], "second": []}
    handlers = {name: service.open(PlainSender(aborts.append)) for name, aborts in ended.items()}
    handlers["first"].receive(entries(200))
    service.open(PlainSender())
    assert [abort.code for abort in ended["second"]] == [StatusCode.RESOURCE_EXHAUSTED]
    assert value(metrics, "extproc_errors_total", reason="too_many_access_logs") == 1
    handlers["second"].close()
    handlers["first"].close()
    service.open(PlainSender())
    assert (len(ended["first"]), len(ended["second"])) == (0, 1)


def test_a_failure_that_was_observed_does_not_count_again(
    service: AccessLogService, metrics: Metrics, accounts: list[RequestAccount]
) -> None:
    told = Observed("m", "v1", "none", "openai", "200", 1.0, error="error_in_stream", request_id="a", accounted=True)
    service.note_observed(told)
    service.note_observed(msgspec.structs.replace(told, error="broken_off", request_id="b"))
    service.note_observed(msgspec.structs.replace(told, accounted=False, request_id="c"))
    handler = service.open(PlainSender())
    for request_id in ("a", "b", "c"):
        message = pb.StreamAccessLogsMessage.FromString(entries(200))
        (entry,) = message.http_logs.log_entry
        entry.request.request_id = request_id
        entry.common_properties.response_flags.upstream_protocol_error = True
        entry.common_properties.time_to_first_upstream_rx_byte.nanos = 1
        handler.receive(message.SerializeToString())
    assert [account.failure for account in accounts] == ["", "upstream_broke_off", "upstream_broke_off"]


def test_observed_failures_are_forgotten(service: AccessLogService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log_service, "MAX_OBSERVED_FAILURES", 2)
    told = Observed("m", "v1", "none", "openai", "200", 1.0, error="cut_short", accounted=True)
    for request_id in ("a", "b", "c"):
        service.note_observed(msgspec.structs.replace(told, request_id=request_id))
    assert list(service._observed_failures) == ["b", "c"]


def test_targets_outlive_their_policies(metrics: Metrics, accounts: list[RequestAccount]) -> None:
    snapshots = [Snapshot((Policy("p", models=("m",), versions=(Version(name),)),)) for name in ("v1", "v2")]
    force = [snapshots[0]]
    service = AccessLogService(lambda: force[0], metrics, accounts.append)
    handler = service.open(PlainSender())
    handler.receive(entries(503, cluster="p/v1"))
    force[0] = snapshots[1]
    handler.receive(entries(503, cluster="p/v1"))
    assert [account.version for account in accounts] == ["v1", "v1"]


def test_a_mesh_has_names_of_its_own_for_clusters(metrics: Metrics, accounts: list[RequestAccount]) -> None:
    """Its streams say the namespace of policies that name none."""
    snapshot = Snapshot((Policy("p", host="p", models=("m",), versions=(Version("v1"),)),))
    service = AccessLogService(lambda: snapshot, metrics, accounts.append)
    cluster = "outbound|8080|v1|p.ai.svc.cluster.local"
    with running({STREAM: service.open}) as server:
        for count, metadata in enumerate(([("x-aimesh-namespace", "ai")], [("x-aimesh-namespace", "ml")], []), 1):
            feed = Feed()
            call = server.open(STREAM)(iter(feed), metadata=metadata)
            feed.send(entries(503, cluster=cluster))
            until(lambda: len(accounts) == count)  # noqa: B023
            call.cancel()
    assert [account.version for account in accounts] == ["v1", "none", "none"]


def test_namespaces_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch, service: AccessLogService) -> None:
    monkeypatch.setattr(access_log_service, "MAX_MESH_NAMESPACES", 2)
    for name in ("a", "b", "a", "c"):
        sender = PlainSender()
        sender.metadata = (("x-aimesh-namespace", name),)
        service.open(sender).receive(entries(200))
    assert list(service._targets) == ["a", "c"]


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


def test_a_request_whose_endpoint_was_picked_is_in_flight_no_more(metrics: Metrics) -> None:
    snapshot = Snapshot((Policy("p", versions=(Version("v1", 1, (A, B)),), picking=Picking()),))
    picks = EndpointPicks(SaidLoads, frozenset, Breakers(lambda: 0.0))
    ended: list[tuple[str, bool]] = []
    picks.ended = lambda endpoint, *, reached: ended.append((endpoint, reached))  # type: ignore[method-assign]
    message = pb.StreamAccessLogsMessage()
    for endpoints in (f"{A},{B}", "", B):
        common = message.http_logs.log_entry.add().common_properties
        common.metadata.filter_metadata["aimesh"].fields["policy"].string_value = "p"
        if endpoints:
            fields = common.metadata.filter_metadata["envoy.lb"].fields
            fields["x-gateway-destination-endpoint"].string_value = endpoints
    AccessLogService(lambda: snapshot, metrics, picks=picks).take(PlainSender(), message.SerializeToString())
    assert ended == [(A, True), (B, True)]
    assert value(metrics, "inference_picks_served_total", policy="p", version="none", gpu_pool="none", by="nobody") == 2
