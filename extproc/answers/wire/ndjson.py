"""JSON lines (NDJSON) as they come, however they are split.

Blank lines say nothing, and the last line need not end. Source: the NDJSON specification.
"""

from __future__ import annotations

from extproc.answers.wire.bounded_buffer import LIMIT, BoundedBuffer
from extproc.answers.wire.decoder import EACH_LINE, LINES, Allowance, Event


class JsonLines:
    """See ``Decoder``. The wire names no kinds."""

    __slots__ = ("_allowance", "_rest")

    def __init__(self) -> None:
        self._allowance = Allowance(LINES, EACH_LINE)
        self._rest = BoundedBuffer()

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        *lines, rest = data.split(b"\n", LINES + 1)
        self._allowance.take(len(data), len(lines))
        found: list[Event] = []
        for line in lines:
            text, whole = line, True
            if self._rest or len(line) > LIMIT:
                self._rest.add(line)
                whole = self._rest.whole
                text = self._rest.take()
            if text := text.strip():
                found.append(("", text, whole))
        self._rest.add(rest)
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``."""
        return self.feed(b"\n")
