"""AWS event streams.

Source: Amazon's documentation, "Event stream encoding": lengths of message and headers, a CRC of both, the headers,
the payload, a CRC of all. Both CRCs (CRC-32) are checked.
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from extproc.answers.client_errors import AWS_EXCEPTIONS
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import (
    BYTES_PER_EVENT,
    CLIENT_ERROR,
    ERROR,
    EVENTS_PER_PIECE,
    Allowance,
    Event,
    MalformedAnswer,
)

_PRELUDE, _OVERHEAD = 12, 16
_prelude = Struct(">III").unpack_from
"""Length of the message, length of its headers, CRC of both."""
_MAX_MESSAGE = 24 << 20
"""Bytes; the format allows no more."""
_MAX_MESSAGES = 500
"""In one piece of an answer; see ``MAX_EVENTS``."""
_MAX_HEADERS = 8
"""In one message: Amazon's services send three."""
_VALUE_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type; types 6 (bytes) and 7 (string) have a length of two bytes."""
_MAX_KINDS, _MAX_BLOCK = 16, 512
"""Blocks of headers whose kind is remembered, and the bytes of one: in a stream they differ by the kind of event only.
"""


class AwsEventStream:
    """See ``Decoder``. The kind of an event is its ``:event-type``; an exception is ``ERROR``, or ``CLIENT_ERROR``.

    A message longer than ``MAX_WHOLE`` is skipped: it gives an event without data.
    """

    __slots__ = ("_allowance", "_buffer", "_kinds", "_needed", "_skip")

    def __init__(self) -> None:
        self._allowance = Allowance(_MAX_MESSAGES, BYTES_PER_EVENT, EVENTS_PER_PIECE)
        self._buffer = bytearray()  # the beginning of a message
        self._needed = 0  # bytes of it without which nothing more can be read
        self._skip = 0
        self._kinds: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        size = len(data)
        if self._skip:
            passed = min(self._skip, size)
            self._skip -= passed
            data = data[passed:]
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        found: list[Event] = []
        at, self._needed = 0, _PRELUDE
        while len(data) - at >= _PRELUDE:
            length, headers, check = _prelude(data, at)
            if crc32(data[at : at + 8]) != check or not _OVERHEAD <= length <= _MAX_MESSAGE:
                raise MalformedAnswer("not an AWS event stream")
            end = at + length
            if len(found) >= _MAX_MESSAGES:
                raise MalformedAnswer("too many messages")
            if length > MAX_WHOLE:
                found.append(("", b"", False))
                self._skip = max(0, end - len(data))
                at = min(end, len(data))
                continue
            if end > len(data):
                self._needed = length
                break
            found.append(self._event(data[at:end], _PRELUDE + headers))
            at = end
        self._buffer += data[at:]
        self._allowance.take(size, len(found))
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. An incomplete message is dropped."""
        return []

    def _event(self, message: bytes, body: int) -> Event:
        """``body``: where the payload begins."""
        if crc32(message[:-4]) != int.from_bytes(message[-4:]):
            raise MalformedAnswer("a message with a wrong CRC")
        if body > len(message) - 4:
            raise MalformedAnswer("headers longer than their message")
        block = message[_PRELUDE:body]
        kind = self._kinds.get(block)
        if kind is None:
            headers = _headers(message, _PRELUDE, body)
            if headers.get(":message-type", "event") == "event":
                kind = headers.get(":event-type", "")
            else:
                kind = CLIENT_ERROR if headers.get(":exception-type") in AWS_EXCEPTIONS else ERROR
            if len(self._kinds) < _MAX_KINDS and len(block) <= _MAX_BLOCK:
                self._kinds[block] = kind
        return kind, message[body:-4], True


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
