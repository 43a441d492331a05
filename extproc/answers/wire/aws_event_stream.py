"""AWS event streams as they come, however they are split.

Source: Amazon's documentation, "Event stream encoding": lengths of message and headers, a CRC of both, the headers,
the payload, a CRC of all. Both CRCs (CRC-32) are checked.
"""

from __future__ import annotations

from zlib import crc32

from extproc.answers.wire.bounded_buffer import LIMIT
from extproc.answers.wire.decoder import ERROR, Broken, Event

_PRELUDE, _OVERHEAD = 12, 16
_MOST = 24 << 20
"""Bytes of one message: the format allows no more."""
_MESSAGES = 500
"""Of one piece of an answer; see ``wire.EVENTS``."""
_HEADERS = 8
"""Of one message: Amazon's services send three."""
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Of header values by their type, but for bytes (6) and strings (7), which tell their own."""


class EventStream:
    """See ``Decoder``. The kind of an event is its ``:event-type``; an exception of any type is ``ERROR``.

    A message longer than ``clip.LIMIT`` is passed over: it gives an event without data.
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
            if crc32(buffer[at : at + 8]) != int.from_bytes(buffer[at + 8 : at + 12]) or not _OVERHEAD <= size <= _MOST:
                raise Broken("not an AWS event stream")
            end = at + size
            if len(found) >= _MESSAGES:
                raise Broken("a flood of messages")
            if size > LIMIT:
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
        """See ``Decoder``. Half a message is none."""
        return []


def _event(message: bytes) -> Event:
    if crc32(message[:-4]) != int.from_bytes(message[-4:]):
        raise Broken("a message with a wrong CRC")
    body = _PRELUDE + int.from_bytes(message[4:8])
    if body > len(message) - 4:
        raise Broken("headers longer than their message")
    headers = _headers(message, _PRELUDE, body)
    normal = headers.get(":message-type", "event") == "event"
    return headers.get(":event-type", "") if normal else ERROR, message[body:-4], True


def _headers(message: bytes, at: int, end: int) -> dict[str, str]:
    """Those whose values are text."""
    found: dict[str, str] = {}
    for _ in range(_HEADERS + 1):
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
            size = _SIZES.get(kind, end)
        if at + size > end:
            raise Broken("a header longer than its message")
        if kind == 7:
            found[name] = message[at : at + size].decode("utf-8", "replace")
        at += size
    raise Broken("a flood of headers")
