"""The trace service of OTLP: takes the spans that an Envoy or a collector sends, for the page.

Source: opentelemetry/proto/collector/trace/v1/trace_service.proto. An empty answer says that all were taken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from extproc.envoy.codec import Malformed
from extproc.grpc_server import Abort, Sender, StatusCode
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.received_spans import ReceivedSpans

MAX_CALLS = 1_000
"""Calls that may be open; one more ends the one that has been open longest with RESOURCE_EXHAUSTED."""


class SpanService:
    """Keeps what comes in ``received``."""

    def __init__(self, received: ReceivedSpans, metrics: Metrics) -> None:
        self._received = received
        self._metrics = metrics
        self._open: OrderedDict[Sender, None] = OrderedDict()

    def open(self, sender: Sender) -> SpanHandler:
        """The handler of a new call; where there is no room, the one that has been open longest is ended."""
        if len(self._open) >= MAX_CALLS:
            oldest, _ = self._open.popitem(last=False)
            self._metrics.count_error("too_many_span_calls")
            oldest.end(Abort(StatusCode.RESOURCE_EXHAUSTED, "too many calls that send spans"))
        self._open[sender] = None
        return SpanHandler(self, sender)

    def take(self, message: bytes) -> None:
        """Keeps a message. Raises ``Malformed``."""
        try:
            self._received.take(message)
        except Malformed:
            self._metrics.count_error("malformed_message")
            raise

    def close(self, sender: Sender) -> None:
        """A call has ended."""
        self._open.pop(sender, None)


class SpanHandler:
    """One call: one message, one answer."""

    def __init__(self, service: SpanService, sender: Sender) -> None:
        self.done = False
        self._service = service
        self._sender = sender

    def receive(self, message: bytes) -> Sequence[bytes]:
        """The answer to the message."""
        self.done = True
        self._service.take(bytes(message))
        return (b"",)

    def close(self) -> None:
        """The call has ended."""
        self._service.close(self._sender)
