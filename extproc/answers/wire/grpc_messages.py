"""gRPC's length-prefixed messages.

Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
"""

from __future__ import annotations

from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import Event, MalformedAnswer
from extproc.answers.wire.response_coding import max_unpacked
from extproc.bodies.content_coding import TooLarge, decode
from extproc.errors import Unreadable

_PREFIX = 5
_MAX_MESSAGES = 250
"""In one piece of an answer; see ``MAX_EVENTS``."""


class GrpcMessages:
    """See ``Decoder``. A message longer than ``MAX_WHOLE`` is skipped: it gives an event without data."""

    __slots__ = ("_buffer", "_coding", "_room", "_skip", "expanded")

    def __init__(self, coding: str = "") -> None:
        """``coding``: the value of ``grpc-encoding``."""
        self.expanded = 0
        """Bytes of the messages that were compressed, without their compression."""
        self._coding = coding.strip()
        self._buffer = bytearray()
        self._skip = 0
        self._room = 0  # bytes that compressed messages of this piece may unpack to

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            data = data[passed:]
        buffer = self._buffer
        buffer += data
        self._room = max_unpacked(len(buffer))
        found: list[Event] = []
        at = 0
        while len(buffer) - at >= _PREFIX:
            size = int.from_bytes(buffer[at + 1 : at + _PREFIX])
            end = at + _PREFIX + size
            if buffer[at] > 1 or len(found) >= _MAX_MESSAGES:
                raise MalformedAnswer("not a gRPC message, or too many of them")
            if size > MAX_WHOLE:
                found.append(("", b"", False))
                self._skip = max(0, end - len(buffer))
                at = min(end, len(buffer))
                continue
            if end > len(buffer):
                break
            message = bytes(buffer[at + _PREFIX : end])
            found.append(("", self._unpacked(message) if buffer[at] else message, True))
            at = end
        del buffer[:at]
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. An incomplete message is dropped."""
        return []

    def _unpacked(self, message: bytes) -> bytes:
        if self._coding in ("", "identity"):
            raise MalformedAnswer("a compressed message without grpc-encoding")
        try:
            found = decode(message, self._coding, min(MAX_WHOLE, self._room))
        except (Unreadable, TooLarge):
            raise MalformedAnswer("a compressed message that can't be unpacked") from None
        self._room -= len(found)
        self.expanded += len(found)
        return found
