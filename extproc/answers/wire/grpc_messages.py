"""gRPC's length-prefixed messages.

Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct

from extproc.answers.wire.answer_coding import max_unpacked
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import (
    BYTES_PER_MESSAGE,
    EVENTS_PER_PIECE,
    MAX_MESSAGES,
    Allowance,
    Event,
    MalformedAnswer,
)
from extproc.bodies.content_coding import TooLarge, coding_names, unpack
from extproc.errors import Unreadable

_PREFIX = 5
_prefix = Struct(">BI").unpack_from
"""Whether the message is compressed, and its length."""
_PACKED_WORK, _MOST_PACKED_WORK = {"gzip": 2, "x-gzip": 2, "deflate": 2}, 8
"""Messages that a compressed one counts as, by its coding, and of any other coding."""


class GrpcMessages:
    """See ``Decoder``. A message longer than ``MAX_WHOLE`` is skipped: it gives an event without data."""

    __slots__ = ("_allowance", "_buffer", "_codings", "_needed", "_packed_work", "_room", "_skip", "expanded")

    def __init__(self, coding: str = "") -> None:
        """``coding``: the value of ``grpc-encoding``."""
        self.expanded = 0
        """Bytes of the messages that were compressed, without their compression."""
        self._codings: list[str] = []  # empty: none that is known
        with suppress(Unreadable):
            self._codings = coding_names(coding)
        self._packed_work = sum([_PACKED_WORK.get(name, _MOST_PACKED_WORK) for name in self._codings]) or 1
        self._allowance = Allowance(MAX_MESSAGES, BYTES_PER_MESSAGE, EVENTS_PER_PIECE)
        self._buffer = bytearray()  # the beginning of a message
        self._needed = 0  # bytes of it without which nothing more can be read
        self._skip = 0
        self._room = 0  # bytes that compressed messages of this piece may unpack to

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        arrived = len(data)
        if self._skip:
            passed = min(self._skip, arrived)
            self._skip -= passed
            data = data[passed:]
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        self._room = max_unpacked(len(data))
        found: list[Event] = []
        at, work, self._needed = 0, 0, _PREFIX
        while len(data) - at >= _PREFIX:
            packed, size = _prefix(data, at)
            end = at + _PREFIX + size
            if packed > 1:
                raise MalformedAnswer("not a gRPC message")
            if len(data) < end and size <= MAX_WHOLE:
                self._needed = _PREFIX + size
                break
            work += self._packed_work if packed else 1
            if work > MAX_MESSAGES:
                raise MalformedAnswer("too many messages")
            if size > MAX_WHOLE:
                found.append(("", b"", False))
                self._skip = max(0, end - len(data))
                at = min(end, len(data))
                continue
            message = data[at + _PREFIX : end]
            found.append(("", self._unpacked(message) if packed else message, True))
            at = end
        self._buffer += data[at:]
        self._allowance.take(arrived, work)
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. An incomplete message is dropped."""
        return []

    def _unpacked(self, message: bytes) -> bytes:
        if not self._codings:
            raise MalformedAnswer("a compressed message without grpc-encoding, or with an unknown one")
        try:
            found = unpack(message, self._codings, min(MAX_WHOLE, self._room))
        except (Unreadable, TooLarge):
            raise MalformedAnswer("a compressed message that can't be unpacked") from None
        self._room -= len(found)
        self.expanded += len(found)
        return found
