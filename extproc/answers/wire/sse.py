"""Server-sent events.

Lines end in CR, LF or CRLF; a comment is no event; data may have several lines; one space after a colon is not part of
the value. Unlike the standard, an event without a blank line after it counts: some servers omit that line after the
last event, and some after every event. So where a line of data ends with an object and the next begins with one, they
are two events.
Source: the HTML standard, "Server-sent events", §9.2.5 and §9.2.6.
"""

from __future__ import annotations

from extproc.answers.wire.bounded_buffer import HEAD_SIZE, MAX_WHOLE, TAIL_SIZE, BoundedBuffer
from extproc.answers.wire.decoder import BYTES_PER_LINE, MAX_LINES, Allowance, Event

_BOM = b"\xef\xbb\xbf"
_LINE_OVERHEAD = 41
"""Bytes of memory that a line of data takes beside its own."""


class SseEvents:
    """See ``Decoder``. The kind of an event is its field ``event``."""

    __slots__ = (
        *(
            "_allowance",
            "_begun",
            "_data",
            "_event",
            "_event_before",
            "_between_events",
            "_line",
            "_lone_cr",
            "_more",
            "_size",
        ),
        *("_no_blank_lines", "_whole"),
    )

    def __init__(self) -> None:
        self._allowance = Allowance(MAX_LINES, BYTES_PER_LINE)
        self._line = BoundedBuffer(HEAD_SIZE)
        self._lone_cr = False  # the last piece ended in a CR, of which the LF may still come
        self._begun = False
        self._between_events = False  # nothing is held of an event
        self._event = b""
        self._event_before = b""  # the name when the first line of data came
        self._no_blank_lines = False  # there are none between events
        self._data: bytes | None = None  # the first line of data
        self._more: list[bytes] = []  # the others
        self._size = 0  # of the others
        self._whole = True

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        if self._between_events and data.startswith(b"data: ") and _is_one_event(data):
            return [("", data[6:-2], True)]
        found = self._read(data)
        self._between_events = self._begun and not (
            self._lone_cr or self._event or self._data is not None or self._line
        )
        return found

    def _read(self, data: bytes) -> list[Event]:
        if self._lone_cr and data:
            self._lone_cr = False
            if data[0] == 10:
                data = data[1:]
        if not data:
            return []
        lines = data.splitlines()
        last = data[-1]
        unfinished = lines.pop() if last not in (10, 13) else b""
        self._allowance.take(len(data), len(lines))
        self._lone_cr = last == 13
        found: list[Event] = []
        if lines and self._line:
            self._line.add(lines[0])
            whole, head = self._line.whole, self._line.head
            line = self._line.take()
            lines[0] = line if whole else self._cut(head, line)
        for line in lines:
            self._take(line if len(line) <= MAX_WHOLE else self._cut(line[:HEAD_SIZE], line), found)
        if unfinished:
            self._line.add(unfinished)
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``."""
        return self.feed(b"\n\n") if self._line or self._data is not None else []

    def _cut(self, head: bytes, line: bytes) -> bytes:
        """Of a line that is too long: its beginning and its end where it is data, else a comment."""
        if not self._begun:
            head = head.removeprefix(_BOM)
        if not head.startswith(b"data:"):
            return b":"
        self._whole = False
        return head + line[-TAIL_SIZE:]

    def _take(self, line: bytes, found: list[Event]) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(found)
        elif line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            if self._data is not None and not self._more and _is_another_event(self._data, value):
                self._end_before_next(found)
            self._add(value)
            if self._no_blank_lines and not self._more and value.endswith((b"}", b"]")):
                self._dispatch(found)
        elif line.startswith(b"event:"):
            self._event = line[7:] if line[6:7] == b" " else line[6:]
        elif line == b"data":
            self._add(b"")

    def _add(self, value: bytes) -> None:
        if self._data is None:
            self._data, self._event_before = value, self._event
            return
        self._more.append(value)
        self._size += len(value) + _LINE_OVERHEAD
        if self._size > MAX_WHOLE:
            self._data, self._more, self._size, self._whole = value[-TAIL_SIZE:], [], 0, False

    def _end_before_next(self, found: list[Event]) -> None:
        """Ends an event without a blank line after it; the name that came last may be that of the next event."""
        named, self._event = self._event, self._event_before
        self._dispatch(found)
        self._event = named if named != self._event_before else b""
        self._no_blank_lines = True

    def _dispatch(self, found: list[Event]) -> None:
        if self._data is not None:
            data = b"\n".join((self._data, *self._more)) if self._more else self._data
            found.append((self._event.decode("utf-8", "replace"), data, self._whole))
            self._data = None
            if self._more:
                self._more, self._size = [], 0
        self._event, self._whole = b"", True


def _is_one_event(data: bytes) -> bool:
    """Whether it is one event of one line and its end, as nearly all pieces of a stream are."""
    last = len(data) - 2
    return data.find(b"\n") == last and data[-1] == 10 and b"\r" not in data and last <= MAX_WHOLE


def _is_another_event(before: bytes, value: bytes) -> bool:
    """Whether two lines of data are of two events: no JSON text has them one after the other."""
    return before.endswith(b"}") and (value.startswith(b"{") or value.strip() == b"[DONE]")
