"""The trace service over real gRPC: what is taken, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from extproc.demo.pipeline.collector import export_request
from extproc.grpc_server import Abort, StatusCode
from extproc.serve import span_service
from extproc.serve.span_service import SpanService
from extproc.telemetry import spans
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.received_spans import ReceivedSpans
from extproc.telemetry.spans import EXPORT, Span
from tests.grpc.echo import PlainSender
from tests.grpc.running import insecure, running

SPAN = Span("ab" * 16, "01" * 8, "", "llm", "ingress", "server", 1, 2)


@pytest.fixture
def received() -> ReceivedSpans:
    return ReceivedSpans()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def export(received: ReceivedSpans, metrics: Metrics) -> Iterator[Any]:
    with running({EXPORT: SpanService(received, metrics).open}) as server, insecure(server.address) as channel:
        yield channel.unary_unary(EXPORT)


def malformed(metrics: Metrics) -> float:
    return metrics._counters["extproc_errors"].get(("malformed_message",), 0)


def test_spans_are_taken(export: Any, received: ReceivedSpans, metrics: Metrics) -> None:
    assert export(export_request([SPAN]), timeout=10) == b""
    assert received.spans() == [SPAN]
    assert export(b"", timeout=10) == b"", "a message without spans"
    assert malformed(metrics) == 0


def test_what_is_no_message_is_refused_and_counted(export: Any, received: ReceivedSpans, metrics: Metrics) -> None:
    with pytest.raises(grpc.RpcError):
        export(b"\xff\xff", timeout=10)
    assert (received.raw(), malformed(metrics)) == (b"", 1)


def test_what_is_too_large_is_refused_and_counted(
    export: Any, received: ReceivedSpans, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "MAX_MESSAGE", 10)
    with pytest.raises(grpc.RpcError):
        export(export_request([SPAN]), timeout=10)
    assert (received.raw(), malformed(metrics)) == (b"", 1)


def test_calls_that_send_nothing_make_room(
    received: ReceivedSpans, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_service, "MAX_CALLS", 2)
    service = SpanService(received, metrics)
    ended: list[Abort] = []
    first = service.open(PlainSender(ended.append))
    second, third = service.open(PlainSender()), service.open(PlainSender())
    assert [abort.code for abort in ended] == [StatusCode.RESOURCE_EXHAUSTED]
    assert metrics._counters["extproc_errors"][("too_many_span_calls",)] == 1
    for handler in (first, second, third):
        handler.close()
    assert service.open(PlainSender()).receive(export_request([SPAN])) == (b"",)
    assert metrics._counters["extproc_errors"][("too_many_span_calls",)] == 1
