"""gRPC's messages as they come, however they are split.

Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
"""

from __future__ import annotations

from extproc.answers.wire.bounded_buffer import LIMIT
from extproc.answers.wire.decoder import Broken, Event
from extproc.answers.wire.response_coding import FREE, room
from extproc.bodies.content_coding import TooLarge, decode
from extproc.errors import Unreadable

_PREFIX = 5
_MESSAGES = 250
"""Of one piece of an answer; see ``wire.EVENTS``."""


class GrpcMessages:
    """See ``Decoder``. A message longer than ``clip.LIMIT`` is passed over: it gives an event without data."""

    __slots__ = ("_buffer", "_coding", "_room", "_skip")

    def __init__(self, coding: str = "") -> None:
        """``coding``: the value of ``grpc-encoding``."""
        self._coding = coding.strip()
        self._buffer = bytearray()
        self._skip = 0
        self._room = FREE  # bytes that may yet be unpacked

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            data = data[passed:]
        buffer = self._buffer
        buffer += data
        self._room = room(self._room, len(data))
        found: list[Event] = []
        at = 0
        while len(buffer) - at >= _PREFIX:
            size = int.from_bytes(buffer[at + 1 : at + _PREFIX])
            end = at + _PREFIX + size
            if buffer[at] > 1 or len(found) >= _MESSAGES:
                raise Broken("not a gRPC message, or a flood of them")
            if size > LIMIT:
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
        """See ``Decoder``. Half a message is none."""
        return []

    def _unpacked(self, message: bytes) -> bytes:
        if self._coding in ("", "identity"):
            raise Broken("a compressed message without grpc-encoding")
        try:
            found = decode(message, self._coding, min(LIMIT, self._room))
        except (Unreadable, TooLarge):
            raise Broken("a compressed message that can't be unpacked") from None
        self._room -= len(found)
        return found
