"""AWS event streams.

Source: Amazon's documentation, "Event stream encoding": lengths of message and headers, a CRC of both, the headers,
the payload, a CRC of all. Both CRCs (CRC-32) are checked.
"""

from __future__ import annotations

from zlib import crc32

from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import ERROR, Event, MalformedAnswer

_PRELUDE, _OVERHEAD = 12, 16
_MAX_MESSAGE = 24 << 20
"""Bytes; the format allows no more."""
_MAX_MESSAGES = 500
"""In one piece of an answer; see ``MAX_EVENTS``."""
_MAX_HEADERS = 8
"""In one message: Amazon's services send three."""
_VALUE_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type; types 6 (bytes) and 7 (string) have a length of two bytes."""


class AwsEventStream:
    """See ``Decoder``. The kind of an event is its ``:event-type``; an exception of any type is ``ERROR``.

    A message longer than ``MAX_WHOLE`` is skipped: it gives an event without data.
    """

    __slots__ = ("_buffer", "_skip")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            data = data[passed:]
        buffer = self._buffer
        buffer += data
        found: list[Event] = []
        at = 0
        while len(buffer) - at >= _PRELUDE:
            size = int.from_bytes(buffer[at : at + 4])
            if (
                crc32(buffer[at : at + 8]) != int.from_bytes(buffer[at + 8 : at + 12])
                or not _OVERHEAD <= size <= _MAX_MESSAGE
            ):
                raise MalformedAnswer("not an AWS event stream")
            end = at + size
            if len(found) >= _MAX_MESSAGES:
                raise MalformedAnswer("too many messages")
            if size > MAX_WHOLE:
                found.append(("", b"", False))
                self._skip = max(0, end - len(buffer))
                at = min(end, len(buffer))
                continue
            if end > len(buffer):
                break
            found.append(_event(bytes(buffer[at:end])))
            at = end
        del buffer[:at]
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. An incomplete message is dropped."""
        return []


def _event(message: bytes) -> Event:
    if crc32(message[:-4]) != int.from_bytes(message[-4:]):
        raise MalformedAnswer("a message with a wrong CRC")
    body = _PRELUDE + int.from_bytes(message[4:8])
    if body > len(message) - 4:
        raise MalformedAnswer("headers longer than their message")
    headers = _headers(message, _PRELUDE, body)
    normal = headers.get(":message-type", "event") == "event"
    return headers.get(":event-type", "") if normal else ERROR, message[body:-4], True


def _headers(message: bytes, at: int, end: int) -> dict[str, str]:
    """Those whose values are strings."""
    found: dict[str, str] = {}
    for _ in range(_MAX_HEADERS + 1):
        if at >= end:
            return found
        after = at + 1 + message[at]
        name = message[at + 1 : after].decode("utf-8", "replace")
        kind = message[after] if after < end else -1
        at = after + 1
        if kind in (6, 7):
            size = int.from_bytes(message[at : at + 2])
            at += 2
        else:
            size = _VALUE_SIZES.get(kind, end)
        if at + size > end:
            raise MalformedAnswer("a header longer than its message")
        if kind == 7:
            found[name] = message[at : at + size].decode("utf-8", "replace")
        at += size
    raise MalformedAnswer("too many headers")
