"""WebSocket messages as they come, however their frames are split.

Below: ``clip``, ``unpack`` and ``wire``. Source: RFC 6455 §5 (frames) and §7.4 (codes), RFC 7692 §7 (compression).
"""

from __future__ import annotations

import zlib
from typing import Any

from extproc.answers.wire.bounded_buffer import LIMIT, BoundedBuffer
from extproc.answers.wire.decoder import EACH_EVENT, Allowance, Broken, Event
from extproc.answers.wire.response_coding import FREE, room

HEAD = 512
"""Bytes that are kept of the beginning of a message that is too long: they tell what it is."""
UNTOLD = 1005
"""The code of a close frame without one."""

_FINAL, _PACKED, _RESERVED, _CONTROL, _OPCODE = 0x80, 0x40, 0x30, 0x08, 0x0F
_CONTINUED, _BINARY, _CLOSE, _PONG = 0, 2, 8, 10
_FRAMES = 500
"""Of one piece of an answer; see ``wire.EVENTS``."""
_FLUSHED = b"\0\0\xff\xff"
"""What the sender of a compressed message leaves out at its end (RFC 7692 §7.2.1)."""
_ENDS = 8
"""Blocks of DEFLATE within one piece after which no other may follow: there is no reason for any."""


class WebSocket:
    """See ``Decoder``. Text or binary, a message is an event, and control frames are none.

    The wire names no kinds. Of a message longer than ``clip.LIMIT`` its first ``HEAD`` bytes stand in the kind's place.
    """

    __slots__ = (
        *(
            "_allowance",
            "_begun",
            "_compressed",
            "_farewell",
            "_first",
            "_forgets",
            "_head",
            "_inflate",
            "_left",
            "_mask",
        ),
        *("_message", "_room", "_unpacks", "closed"),
    )

    def __init__(self, extensions: str = "") -> None:
        """``extensions``: the value of ``sec-websocket-extensions``. Raises ``Broken`` for one that is not known."""
        self.closed: int | None = None
        """The code of the close frame, behind which nothing counts; None: there was none yet."""
        self._unpacks, self._forgets = _compression(extensions)
        self._allowance = Allowance(_FRAMES, EACH_EVENT)
        self._inflate: Any = None
        self._room = FREE  # bytes that may yet be unpacked
        self._head = b""  # of a frame, as far as it is there
        self._first = 0  # of a frame's bytes
        self._mask = b""  # of a frame: from its next byte on
        self._left = 0  # bytes of the frame that are still to come
        self._begun = False  # a message is not complete
        self._compressed = False  # that message
        self._message = BoundedBuffer(HEAD)
        self._farewell = b""

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        found: list[Event] = []
        if self._head:
            data, self._head = self._head + data, b""
        self._room = room(self._room, len(data))
        at = frames = 0
        while at < len(data) and self.closed is None:
            if not self._left:
                size = self._frame(data, at)
                if not size:
                    self._head = data[at:]
                    break
                frames += 1
                if frames > _FRAMES:  # too many by one
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
        """Begins the frame there: how long its head is, 0 where it is not all there."""
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
        self._judge(first, size)
        self._first, self._left, self._mask = first, size, data[at + whole - masked : at + whole]
        return whole

    def _judge(self, first: int, size: int) -> None:
        opcode = first & _OPCODE
        packed = first & _PACKED != 0
        if first & _RESERVED or size >> 63:
            raise Broken("not a WebSocket frame")
        if opcode & _CONTROL:
            if opcode > _PONG or packed or size > 125 or not first & _FINAL:
                raise Broken("not a control frame")
            return
        if opcode > _BINARY or (opcode == _CONTINUED) != self._begun:
            raise Broken("a message within a message, or the rest of none")
        if packed and not (self._unpacks and opcode):
            raise Broken("a compressed message that nobody agreed on")
        if opcode:
            self._begun, self._compressed = True, packed
            if packed and self._inflate is None:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def _unmasked(self, piece: bytes) -> bytes:
        size, mask = len(piece), self._mask
        turn = size % 4
        self._mask = mask[turn:] + mask[:turn]
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        return (int.from_bytes(piece) ^ key).to_bytes(size)

    def _take(self, piece: bytes, found: list[Event]) -> None:
        """The next bytes of a frame, the last of which end what they end."""
        over = not self._left
        if self._first & _CONTROL:
            if self._first & _OPCODE == _CLOSE:
                self._farewell += piece
                if over:
                    self.closed = int.from_bytes(self._farewell[:2]) if len(self._farewell) > 1 else UNTOLD
            return
        over = over and self._first & _FINAL != 0
        if self._compressed:
            piece = self._unpacked(piece + _FLUSHED if over else piece)
        message = self._message
        if not over:
            message.add(piece)
            return
        self._begun = False
        if self._forgets:
            self._inflate = None
        if not message.head and len(piece) <= LIMIT:  # so nearly all come
            found.append(("", piece, True))
            return
        message.add(piece)
        head, whole = message.head, message.whole
        found.append(("" if whole else head.decode("utf-8", "replace"), message.take(), whole))

    def _unpacked(self, data: bytes) -> bytes:
        found = []
        try:
            for _ in range(_ENDS):
                found.append(self._inflate.decompress(data, max(self._room, 1)))
                self._room -= len(found[-1])
                if self._room <= 0 or self._inflate.unconsumed_tail:
                    raise Broken("a message that swells")
                if not self._inflate.eof:
                    return b"".join(found)
                data = self._inflate.unused_data
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        except zlib.error:
            raise Broken("a message that can't be unpacked") from None
        raise Broken("a message that ends many times")


def _compression(extensions: str) -> tuple[bool, bool]:
    """Whether messages may be compressed, and whether the sender begins anew with each."""
    if not extensions.strip():
        return False, False
    name, *parameters = (part.strip().lower() for part in extensions.split(";"))
    if name != "permessage-deflate" or any("," in part for part in parameters):
        raise Broken("an extension that is not known")
    return True, "server_no_context_takeover" in parameters
