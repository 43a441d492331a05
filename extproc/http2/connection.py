"""The server's side of one HTTP/2 connection, sans-I/O: bytes in, bytes out (RFC 9113).

It knows frames, windows and the life of streams, and nothing of sockets, time or gRPC.
``receive`` takes what the client sent, ``take`` gives what it is to get; ``accept`` makes the stream of a request.

Every buffer is bounded: what a client sends is handed on at once or counted against its window, and who runs it stops
receiving while ``queued`` is above ``stream.MAX_QUEUED``, so that neither answers nor acknowledgements pile up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc.http2 import flood_limits

# What every frame needs is named by itself: through the module, each would be looked up twice.
from extproc.http2 import frames as f
from extproc.http2.connection_control import (
    CREDIT_THRESHOLD,
    MAX_STREAMS,
    RESETS,
    STREAM_WINDOW,
    ConnectionControl,
    ConnectionRefused,
    check_priority,
    unpadded,
)
from extproc.http2.flood_limits import Ledger
from extproc.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADERS,
    MAX_FRAME,
    PADDED,
    PRIORITIZED,
)
from extproc.http2.hpack import MAX_BLOCK, HeadersTooLarge, HpackError
from extproc.http2.request_headers import HeaderBlockReader, RequestHead
from extproc.http2.stream import Stream

ALL: Final = 1 << 40
"""A share in the engine's time that leaves nothing for the next turn."""
_BUSY: Final = 8
"""What a frame of headers or data costs, in units of ``Carrier.work``, beside one for each KiB."""


class Connection(ConnectionControl):
    """From the client's preface to the end."""

    def __init__(self, accept: Callable[[Connection, int, RequestHead], Stream], ledger: Ledger | None = None) -> None:
        """``ledger``: of all connections of the process; None: this one is alone."""
        super().__init__(ledger or Ledger())
        self.begun = False
        """The client has said hello."""
        self.failed = False
        """Nothing more is received; what ``take`` still gives should be sent."""
        self._accept = accept
        self._heads = HeaderBlockReader(self.ledger)
        self._buffer = b""
        self._at = 0  # how much of it has been read
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags and beginning of a header block

    def receive(self, data: bytes, now: float = 0.0, share: int = ALL) -> None:
        """What the client sent. Raises nothing for what a client can send: it gets a GOAWAY that says why.

        ``now``: seconds of a clock that only goes forward. ``share``: units of work, see ``Carrier.work``; what is more
        than that waits for the next call (``behind``), which may bring nothing new.
        """
        if self.failed:
            return
        self.now, self.work = now, share
        at = 0
        if self._buffer:
            if data:
                data = self._buffer[self._at :] + data
            else:
                data, at = self._buffer, self._at
        try:
            if self.behind:
                self.behind = False
                self._resume()
            at = self._read(data, at) if self.begun else self._begin(data)
        except ConnectionRefused as refused:
            self.put(f.goaway(self.last, refused.code, str(refused)))
            self.lose()
        else:
            if self.behind:  # what is left is not copied in every turn
                self._buffer, self._at = data, at
            else:
                self._buffer, self._at = data[at:] if at < len(data) else b"", 0

    def lose(self) -> None:
        """The connection is gone, and its streams with it."""
        self.failed = True
        self.behind = False
        streams = list(self.streams.values())
        self.streams.clear()
        self.waiting.clear()
        self._parked.clear()
        self._heads.forget()
        for stream in streams:
            stream.lost()
            stream.drop()

    def close(self, stream: Stream) -> None:
        """See ``Carrier``."""
        self._forget(stream)

    def break_off(self, stream: Stream, code: int) -> None:
        """See ``Control``."""
        self._forget(stream)
        self.put(f.rst_stream(stream.number, code))
        stream.lost()
        self.spend(flood_limits.MISTAKES)

    def _forget(self, stream: Stream) -> None:
        number = stream.number
        del self.streams[number]
        if stream.waiting is not None:
            stream.drop()
        if not stream.open:
            self._remember(number)
        if stream.kept:
            self.release(stream)

    def _begin(self, data: bytes) -> int:
        size = len(f.PREFACE)
        if data[:size] != f.PREFACE[: len(data)]:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "this port speaks gRPC, by HTTP/2 with prior knowledge")
        if len(data) < size + HEADER:
            return 0
        if data[size + 3] != f.SETTINGS:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a connection begins with SETTINGS")
        self.begun = True
        return self._read(data, size)

    def _read(self, data: bytes, at: int) -> int:
        """Every whole frame from ``at`` on; where the rest begins."""
        size, streams, handlers = len(data), self.streams, _HANDLERS
        while size - at >= HEADER:
            if self.work <= 0:
                self.behind = True
                break
            # §4.1, byte by byte: compiled, that takes a tenth of what it takes to have it unpacked.
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            kind, flags = data[at + 3], data[at + 4]
            number = (data[at + 5] & 0x7F) << 24 | data[at + 6] << 16 | data[at + 7] << 8 | data[at + 8]
            if length > MAX_FRAME:
                raise ConnectionRefused(f.FRAME_SIZE_ERROR, "a frame is larger than we said we take")
            start = at + HEADER
            if start + length > size:
                break
            at = start + length
            self.work -= (length >> 10) + (_BUSY if kind <= HEADERS else 1)
            if self._block is not None and (kind != CONTINUATION or number != self._block[0]):
                raise ConnectionRefused(f.PROTOCOL_ERROR, "a frame amidst the pieces of a header block")
            if kind == DATA and not flags & PADDED and (stream := streams.get(number)) is not None and stream.open:
                self._deliver(stream, data[start:at], length, flags)
            elif (handle := handlers.get(kind)) is not None:
                handle(self, number, flags, data[start:at])
            else:
                self.spend(flood_limits.UNKNOWN)
        return at

    def _deliver(self, stream: Stream, piece: bytes, size: int, flags: int) -> None:
        """``size``: with the padding, which counts."""
        owed = stream.owed + size
        if owed + stream.kept > STREAM_WINDOW:
            self.credit(size)
            self.break_off(stream, f.FLOW_CONTROL_ERROR)
            return
        if stream.waiting is not None:
            self.keep(size, stream)
        elif owed + self.owed < CREDIT_THRESHOLD and not self.kept:
            stream.owed = owed
            self.owed += size
        else:
            self.credit(size, stream)
        if stream.length is not None and not self._measure(stream, len(piece), flags):
            return
        if piece:
            stream.data(piece)
        elif not flags & END_STREAM:
            self.spend(flood_limits.EMPTY_DATA)
        if flags & END_STREAM:
            self._end(stream)

    def _measure(self, stream: Stream, size: int, flags: int) -> bool:
        """Whether the request is no longer, and in the end no shorter, than it said (§8.1.1)."""
        stream.length = rest = (stream.length or 0) - size
        if rest < 0 or (rest and flags & END_STREAM):
            self.break_off(stream, f.PROTOCOL_ERROR)
            return False
        return True

    def _end(self, stream: Stream) -> None:
        """The client's last frame on it."""
        stream.open = False
        if stream.number in self.streams:
            stream.ended()
        else:
            self._remember(stream.number)

    def _on_data(self, number: int, flags: int, payload: bytes) -> None:
        """With padding, or too late."""
        stream = self.streams.get(number)
        if stream is not None and stream.open:
            self._deliver(stream, unpadded(payload, flags), len(payload), flags)
        else:
            self._after(number, flags)
            self.credit(len(payload))

    def _on_headers(self, number: int, flags: int, payload: bytes) -> None:
        block = unpadded(payload, flags)
        if flags & PRIORITIZED:
            check_priority(number, block[:5])
            block = block[5:]
        if flags & END_HEADERS:
            self._on_block(number, flags, block)
        else:
            self._block = (number, flags, bytearray(block))

    def _on_continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a continuation of nothing")
        self.spend(flood_limits.CONTINUATIONS)
        _, first, block = self._block
        block += payload
        if len(block) > MAX_BLOCK:
            raise ConnectionRefused(f.ENHANCE_YOUR_CALM, f"more than {MAX_BLOCK} bytes of headers")
        if flags & END_HEADERS:
            self._block = None
            self._on_block(number, first, bytes(block))

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        try:
            head = self._heads.read(block)
        except HpackError as error:
            raise ConnectionRefused(f.COMPRESSION_ERROR, str(error)) from None
        except HeadersTooLarge as error:
            raise ConnectionRefused(f.ENHANCE_YOUR_CALM, str(error)) from None
        if number > self.last:
            self._open(number, flags, head)
            return
        stream = self.streams.get(number)
        if stream is None or not stream.open:
            self._after(number, flags)
            if not head.trails:
                raise ConnectionRefused(f.PROTOCOL_ERROR, "streams are opened in ascending order")
        elif not flags & END_STREAM or not head.trails or stream.length:
            self.break_off(stream, f.PROTOCOL_ERROR)  # trailers end a request, and are no head
        else:
            self._end(stream)

    def _open(self, number: int, flags: int, head: RequestHead) -> None:
        if number % 2 == 0:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a client opens streams of odd numbers")
        self.last = number
        self.opened += 1
        ended = bool(flags & END_STREAM)
        fault = head.malformed or (ended and head.length)
        if fault or number > self.allowed or len(self.streams) >= MAX_STREAMS:
            self.put(f.rst_stream(number, f.PROTOCOL_ERROR if fault else f.REFUSED_STREAM))
            if ended:
                self._remember(number)
            self.spend(flood_limits.MISTAKES if fault else flood_limits.REFUSED)
            return
        stream = self.streams[number] = self._accept(self, number, head)
        stream.length = head.length
        stream.open = not ended
        stream.begin()
        if ended and number in self.streams:
            stream.ended()

    def _on_reset(self, number: int, _: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionRefused(f.FRAME_SIZE_ERROR, "a RST_STREAM of another size")
        self.check_opened(number)
        if (stream := self.streams.get(number)) is not None:
            rapid = stream.open and (not stream.asked or stream.waiting is not None)
            stream.open = False
            self._forget(stream)
            stream.lost()
            if rapid:
                self.spend(flood_limits.RESETS)
        else:
            self._remember(number)
        self.resets += 1
        if self.resets > self.opened + RESETS:
            raise ConnectionRefused(f.ENHANCE_YOUR_CALM, "more resets than streams")


_HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    DATA: Connection._on_data,
    HEADERS: Connection._on_headers,
    f.PRIORITY: Connection.on_priority,
    f.RST_STREAM: Connection._on_reset,
    f.SETTINGS: Connection.on_settings,
    f.PUSH_PROMISE: Connection.on_push,
    f.PING: Connection.on_ping,
    f.GOAWAY: Connection.on_goaway,
    f.WINDOW_UPDATE: Connection.on_window_update,
    CONTINUATION: Connection._on_continuation,
}
