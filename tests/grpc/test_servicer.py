"""One ext_proc stream over real gRPC: replies, the end of the stream, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.codec import PROCESS
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.serve.servicer import handler_factory
from extproc.telemetry.metrics import Metrics
from tests.grpc.echo import Feed
from tests.grpc.running import running
from tests.waiting import until

SNAPSHOT = Snapshot((Policy("llama", models=("llama",), versions=(Version("v1"),)),))
STREAMED = pb.ProtocolConfiguration(request_body_mode="STREAMED", send_body_without_waiting_for_header_response=True)


def head(path: str = "/v1/completions", **more: Any) -> bytes:
    pairs = {":method": "POST", ":path": path}
    headers = pb.HeaderMap(headers=[pb.HeaderValue(key=k, raw_value=v.encode()) for k, v in pairs.items()])
    message = pb.ProcessingRequest(request_headers=pb.HttpHeaders(headers=headers), **more)
    return message.SerializeToString()


BODY = pb.ProcessingRequest(request_body=pb.HttpBody(body=b'{"model":"llama"}', end_of_stream=True)).SerializeToString()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(metrics: Metrics) -> Iterator[Any]:
    with running({PROCESS: handler_factory(lambda: SNAPSHOT, metrics)}) as server:
        yield server


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry.get_sample_value(name, labels)


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
    assert value(metrics, "extproc_message_duration_seconds_count", phase="request_headers") == 1
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
