"""JSON lines (NDJSON) as they come, however they are split.

Blank lines are skipped, and the last line need not end in LF. Source: the NDJSON specification.
"""

from __future__ import annotations

from extproc.answers.wire.bounded_buffer import MAX_WHOLE, BoundedBuffer
from extproc.answers.wire.decoder import BYTES_PER_LINE, MAX_LINES, Allowance, Event


class JsonLines:
    """See ``Decoder``. Events have no kind."""

    __slots__ = ("_allowance", "_rest")

    def __init__(self) -> None:
        self._allowance = Allowance(MAX_LINES, BYTES_PER_LINE)
        self._rest = BoundedBuffer()

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        if not self._rest and data.find(b"\n") == len(data) - 1 and 0 < len(data) <= MAX_WHOLE:  # nearly all pieces
            return [("", text, True)] if (text := data.strip()) else []
        *lines, rest = data.split(b"\n", MAX_LINES + 1)
        self._allowance.take(len(data), len(lines))
        found: list[Event] = []
        for line in lines:
            text, whole = line, True
            if self._rest or len(line) > MAX_WHOLE:
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
