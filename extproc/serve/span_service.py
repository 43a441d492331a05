"""The trace service of OTLP: takes the spans that an Envoy or a collector sends, for the page.

Source: opentelemetry/proto/collector/trace/v1/trace_service.proto. An empty answer says that all were taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.envoy.codec import Malformed
from extproc.grpc_server import Sender
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.received_spans import ReceivedSpans


class SpanService:
    """Keeps what comes in ``received``."""

    def __init__(self, received: ReceivedSpans, metrics: Metrics) -> None:
        self._received = received
        self._metrics = metrics

    def open(self, _: Sender) -> SpanHandler:
        """The handler of a new call."""
        return SpanHandler(self)

    def take(self, message: bytes) -> None:
        """Keeps a message. Raises ``Malformed``."""
        try:
            self._received.take(message)
        except Malformed:
            self._metrics.count_error("malformed_message")
            raise


class SpanHandler:
    """One call: one message, one answer."""

    def __init__(self, service: SpanService) -> None:
        self.done = False
        self._service = service

    def receive(self, message: bytes) -> Sequence[bytes]:
        """The answer to the message."""
        self.done = True
        self._service.take(bytes(message))
        return (b"",)

    def close(self) -> None:
        """The call has ended."""
