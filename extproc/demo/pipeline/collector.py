"""A collector of spans by OTLP over gRPC: it keeps each message as it came, and sends copies on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from threading import Event, Thread

import grpc

from extproc._pb import spans_pb2 as pb
from extproc.errors import SetupError
from extproc.grpc_server import Engine, create
from extproc.telemetry.spans import EXPORT, Span, decode_spans

_EXPORT_METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_START_TIMEOUT = 10.0
"""Seconds."""
_FORWARD_TIMEOUT = 5.0
"""Seconds for a copy: what is lost is only not shown."""


class Collector:
    """Takes spans of any service."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.address = ""
        """``127.0.0.1:PORT`` while it runs."""
        self._copies: list[grpc.UnaryUnaryMultiCallable[bytes, bytes]] = []
        self._channels: list[grpc.Channel] = []
        self._under_way: set[grpc.Future[bytes]] = set()
        """Copies, which gRPC would cancel where nobody keeps them."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Collector]:
        """Takes spans for as long as the block lasts. Raises ``SetupError``."""
        engine = create(
            ["127.0.0.1:0"],
            {EXPORT: lambda _: _Call(self), _EXPORT_METRICS: lambda _: _Call(None)},
        )
        started = Event()
        thread = Thread(target=engine.run, args=(started.set,), name="collector", daemon=True)
        thread.start()
        try:
            if not started.wait(_START_TIMEOUT):
                raise SetupError("the collector of spans could not start")
            self.address = f"127.0.0.1:{engine.ports[0]}"
            yield self
        finally:
            _stop(engine, thread)
            for channel in self._channels:
                channel.close()

    def copy_to(self, address: str) -> None:
        """Sends everything from now on there, too: ``host:port`` or ``unix:///path``."""
        channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._channels.append(channel)
        self._copies.append(channel.unary_unary(EXPORT))

    def take(self, message: bytes) -> None:
        """Keeps a message, and sends copies on. May be called from any thread."""
        self.messages.append(message)
        for copy in self._copies:
            sent = copy.future(message, timeout=_FORWARD_TIMEOUT)
            self._under_way.add(sent)
            sent.add_done_callback(self._under_way.discard)

    def spans(self) -> list[Span]:
        """All that have come so far."""
        return [span for message in list(self.messages) for span in decode_spans(message)]


class _Call:
    """One call: one message, an empty answer."""

    def __init__(self, collector: Collector | None) -> None:
        """None: what comes is of no interest."""
        self.done = False
        self._collector = collector

    def receive(self, message: bytes) -> Sequence[bytes]:
        self.done = True
        if self._collector is not None:
            self._collector.take(bytes(message))
        return (b"",)

    def close(self) -> None:
        """Nothing to do."""


def export_request(spans: Iterable[Span]) -> bytes:
    """The message that tells of ``spans``: what ``decode_spans`` reads."""
    message = pb.ExportTraceServiceRequest()
    for span in spans:
        resource = message.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = span.service
        made = resource.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(span.trace),
            span_id=bytes.fromhex(span.id),
            parent_span_id=bytes.fromhex(span.parent),
            name=span.name,
            kind=pb.Span.SpanKind.Value(f"SPAN_KIND_{span.kind.upper()}"),
            start_time_unix_nano=span.start,
            end_time_unix_nano=span.end,
        )
        for key, value in span.attributes.items():
            made.attributes.add(key=key).value.string_value = str(value)
        if span.failed:
            made.status.code = pb.Status.STATUS_CODE_ERROR
    return message.SerializeToString()


def _stop(engine: Engine, thread: Thread) -> None:
    engine.stop(0.5)
    thread.join(5)
