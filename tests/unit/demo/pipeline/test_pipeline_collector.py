"""The demo's collector: what comes by gRPC is kept as it came, and copied."""

from __future__ import annotations

import asyncio
import time

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as theirs

from extproc.demo.pipeline.collector import Collector, export_request
from extproc.telemetry.spans import EXPORT, Span, decode_spans
from tests.waiting import until

ROOT = Span("ab" * 16, "01" * 8, "", "client", "ask m", "client", 1, 5, {"user": "anna"}, True)
CHILD = Span("ab" * 16, "02" * 8, "01" * 8, "gateway", "ingress", "server", 2, 4)


def test_what_is_written_is_read_and_is_otlps() -> None:
    raw = export_request([ROOT, CHILD])
    assert decode_spans(raw) == [ROOT, CHILD]
    message = theirs.ExportTraceServiceRequest.FromString(raw)
    first = message.resource_spans[0]
    assert first.resource.attributes[0].value.string_value == "client"
    assert (first.scope_spans[0].spans[0].name, first.scope_spans[0].spans[0].status.code) == ("ask m", 2)


def test_messages_come_and_go_on() -> None:
    async def main() -> None:
        async with Collector().running() as last, Collector().running() as first:
            first.copy_to(last.address)
            raw = export_request([ROOT])
            async with grpc.aio.insecure_channel(first.address) as channel:
                assert await channel.unary_unary(EXPORT)(raw) == b""
                metrics = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
                assert await channel.unary_unary(metrics)(b"of no interest") == b""
            assert first.messages == [raw]
            assert first.spans() == [ROOT]
            await asyncio.to_thread(until, lambda: last.messages == [raw])

    asyncio.run(main())


def test_nobody_takes_the_copies() -> None:
    async def main() -> None:
        async with Collector().running() as one:
            one.copy_to("127.0.0.1:1")
            began = time.monotonic()
            one.take(export_request([ROOT]))
            assert one.spans() == [ROOT]
            assert time.monotonic() - began < 5

    asyncio.run(main())
