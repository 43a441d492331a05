"""WebSocket messages as they come, however their frames are split.

Source: RFC 6455 §5 (frames) and §7.4 (codes), RFC 7692 §7 (compression).
"""

from __future__ import annotations

import zlib
from typing import Any

from extproc.answers.wire.answer_coding import max_unpacked
from extproc.answers.wire.bounded_buffer import MAX_WHOLE, BoundedBuffer
from extproc.answers.wire.decoder import (
    BYTES_PER_EVENT,
    BYTES_PER_PACKED_EVENT,
    EVENTS_PER_PIECE,
    Allowance,
    Event,
    MalformedAnswer,
)

HEAD_SIZE = 512
"""Bytes that are kept of the beginning of a message that is too long: they name its kind and its answer."""
NO_CODE = 1005
"""The code of a close frame without one."""

_FINAL, _COMPRESSED, _RESERVED, _CONTROL, _OPCODE = 0x80, 0x40, 0x30, 0x08, 0x0F
_CONTINUED, _BINARY, _CLOSE, _PONG = 0, 2, 8, 10
_MAX_FRAMES = 500
"""Of one piece of an answer; see ``MAX_EVENTS``."""
_FLUSH_TAIL = b"\0\0\xff\xff"
"""What the sender of a compressed message leaves out at its end (RFC 7692 §7.2.1)."""
_MAX_BLOCKS = 8
"""Final DEFLATE blocks within one piece (RFC 7692 §7.2.3.5): senders have no reason for more than one."""


class WebSocketMessages:
    """See ``Decoder``. A message, text or binary, is an event; control frames are none.

    Events have no kind. Of a message longer than ``MAX_WHOLE`` its first ``HEAD_SIZE`` bytes stand in the kind's place.
    """

    __slots__ = (
        *(
            "_allowance",
            "_in_message",
            "_compressed",
            "_close_payload",
            "_first",
            "_no_context_takeover",
            "_head",
            "_inflate",
            "_left",
            "_mask",
        ),
        *("_message", "_room", "_may_compress", "closed", "expanded"),
    )

    def __init__(self, extensions: str = "") -> None:
        """``extensions``: the value of ``sec-websocket-extensions``. Raises ``MalformedAnswer`` for unknown ones."""
        self.closed: int | None = None
        """The code of the close frame, after which nothing is read; None: none has come."""
        self.expanded = 0
        """Bytes of the messages that were compressed, without their compression."""
        self._may_compress, self._no_context_takeover = _compression(extensions)
        size = BYTES_PER_PACKED_EVENT if self._may_compress else BYTES_PER_EVENT
        self._allowance = Allowance(_MAX_FRAMES, size, EVENTS_PER_PIECE)
        self._inflate: Any = None
        self._room = 0  # bytes that compressed messages of this piece may unpack to: while one is read, never 0
        self._head = b""  # the beginning of a frame's header
        self._first = 0  # the first byte of a frame's header
        self._mask = b""  # of a frame, rotated to its next byte
        self._left = 0  # bytes of the frame that are still to come
        self._in_message = False  # a message is not complete
        self._compressed = False  # that message is compressed
        self._message = BoundedBuffer(HEAD_SIZE)
        self._close_payload = b""

    @property
    def frames(self) -> int:
        """Those that have come."""
        return self._allowance.taken

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        found: list[Event] = []
        if self._head:
            data, self._head = self._head + data, b""
        self._room = max_unpacked(len(data))
        at = frames = 0
        while at < len(data) and self.closed is None:
            if not self._left:
                size = self._frame(data, at)
                if not size:
                    self._head = data[at:]
                    break
                frames += 1
                if frames > _MAX_FRAMES:  # the allowance refuses one too many
                    break
                at += size
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            self._take(self._unmasked(piece) if self._mask else piece, found)
        self._allowance.take(len(data), frames)
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. Half a message is none."""
        return []

    def _frame(self, data: bytes, at: int) -> int:
        """Begins the frame at ``at``. Returns the size of its header in bytes; 0 where not all of that has come."""
        if len(data) - at < 2:
            return 0
        first, second = data[at], data[at + 1]
        size = second & 0x7F
        more = 8 if size == 127 else 2 if size == 126 else 0
        masked = 4 if second & 0x80 else 0
        whole = 2 + more + masked
        if len(data) - at < whole:
            return 0
        if more:
            size = int.from_bytes(data[at + 2 : at + 2 + more])
        self._check(first, size)
        self._first, self._left, self._mask = first, size, data[at + whole - masked : at + whole]
        return whole

    def _check(self, first: int, size: int) -> None:
        opcode = first & _OPCODE
        packed = first & _COMPRESSED != 0
        if first & _RESERVED or size >> 63:
            raise MalformedAnswer("not a WebSocket frame")
        if opcode & _CONTROL:
            if opcode > _PONG or packed or size > 125 or not first & _FINAL:
                raise MalformedAnswer("not a control frame")
            return
        if opcode > _BINARY or (opcode == _CONTINUED) != self._in_message:
            raise MalformedAnswer("a message within a message, or the rest of none")
        if packed and not (self._may_compress and opcode):
            raise MalformedAnswer("a compressed message that nobody agreed on")
        if opcode:
            self._in_message, self._compressed = True, packed
            if packed and self._inflate is None:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def _unmasked(self, piece: bytes) -> bytes:
        size, mask = len(piece), self._mask
        turn = size % 4
        self._mask = mask[turn:] + mask[:turn]
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        return (int.from_bytes(piece) ^ key).to_bytes(size)

    def _take(self, piece: bytes, found: list[Event]) -> None:
        """The next bytes of a frame; the last ones end the frame, and the message where it is the final frame."""
        over = not self._left
        if self._first & _CONTROL:
            if self._first & _OPCODE == _CLOSE:
                self._close_payload += piece
                if over:
                    self.closed = int.from_bytes(self._close_payload[:2]) if len(self._close_payload) > 1 else NO_CODE
            return
        over = over and self._first & _FINAL != 0
        if self._compressed:
            piece = self._decompressed(piece + _FLUSH_TAIL if over else piece)
        message = self._message
        if not over:
            message.add(piece)
            return
        self._in_message = False
        if self._no_context_takeover:
            self._inflate = None
        if not message.head and len(piece) <= MAX_WHOLE:  # so nearly all come
            found.append(("", piece, True))
            return
        message.add(piece)
        head, whole = message.head, message.whole
        found.append(("" if whole else head.decode("utf-8", "replace"), message.take(), whole))

    def _decompressed(self, data: bytes) -> bytes:
        found = []
        try:
            for _ in range(_MAX_BLOCKS):
                found.append(self._inflate.decompress(data, self._room))
                self.expanded += len(found[-1])
                self._room -= len(found[-1])
                if self._room <= 0:
                    raise MalformedAnswer("a message that unpacks to too much")
                if not self._inflate.eof:
                    return b"".join(found)
                data = self._inflate.unused_data
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        except zlib.error:
            raise MalformedAnswer("a message that can't be unpacked") from None
        raise MalformedAnswer("a message that ends many times")


def _compression(extensions: str) -> tuple[bool, bool]:
    """Whether messages may be compressed, and whether each is compressed without those before (RFC 7692 §7.1)."""
    if not extensions.strip():
        return False, False
    name, *parameters = (part.strip().lower() for part in extensions.split(";"))
    if name != "permessage-deflate" or any("," in part for part in parameters):
        raise MalformedAnswer("an extension that is not known")
    return True, "server_no_context_takeover" in parameters
