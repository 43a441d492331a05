"""The latest spans that others have sent to this process, for its page."""

from __future__ import annotations

import time
from collections import deque
from threading import Lock

from extproc.telemetry.spans import MAX_MESSAGE, MAX_SPANS, Span, count_spans, decode_spans

MAX_BYTES = MAX_MESSAGE
"""Of all messages that are kept: some 1,700 spans of Envoy's, and never more than ``MAX_SPANS``. What came first goes
first.
"""


class _Message:
    """A message, and its spans once somebody has looked at them."""

    __slots__ = ("count", "raw", "spans")

    def __init__(self, raw: bytes, count: int) -> None:
        self.raw = raw
        self.count = count
        self.spans: list[Span] | None = None


class ReceivedSpans:
    """Messages as they came. The thread that serves requests puts them in; any other may read."""

    def __init__(self) -> None:
        self._messages: deque[_Message] = deque()
        self._bytes = self._count = 0
        self._lock = Lock()

    def take(self, message: bytes) -> None:
        """Keeps an ExportTraceServiceRequest. Raises ``Malformed`` where it is none."""
        count = count_spans(message)
        with self._lock:
            self._messages.append(_Message(message, count))
            self._bytes += len(message)
            self._count += count
            while self._bytes > MAX_BYTES or self._count > MAX_SPANS:
                first = self._messages.popleft()
                self._bytes -= len(first.raw)
                self._count -= first.count

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
