"""The latest spans that others have sent to this process, for its page."""

from __future__ import annotations

import time
from collections import deque
from threading import Lock

from extproc.telemetry.spans import Span, check_message, decode_spans

MAX_BYTES = 1 << 20
"""Of all messages that are kept: some 1,700 spans of Envoy's. What came first goes first."""


class _Message:
    """A message, and its spans once somebody has looked at them."""

    __slots__ = ("raw", "spans")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.spans: list[Span] | None = None


class ReceivedSpans:
    """Messages as they came. The thread that serves requests puts them in; any other may read."""

    def __init__(self) -> None:
        self._messages: deque[_Message] = deque()
        self._bytes = 0
        self._lock = Lock()

    def take(self, message: bytes) -> None:
        """Keeps an ExportTraceServiceRequest. Raises ``Malformed`` where it is none."""
        check_message(message)
        with self._lock:
            self._messages.append(_Message(message))
            self._bytes += len(message)
            while self._bytes > MAX_BYTES:
                self._bytes -= len(self._messages.popleft().raw)

    def raw(self) -> bytes:
        """All messages that are kept, one after the other: one message that tells the same."""
        return b"".join(message.raw for message in self._kept())

    def spans(self) -> list[Span]:
        """All spans that are kept. Each message is decoded once, while somebody looks."""
        found: list[Span] = []
        for message in self._kept():
            if message.spans is None:
                message.spans = decode_spans(message.raw)
                time.sleep(0)  # lets the thread that serves requests run
            found += message.spans
        return found

    def _kept(self) -> list[_Message]:
        with self._lock:
            return list(self._messages)
