"""The server's side of one HTTP/2 connection, sans-I/O: bytes in, bytes out (RFC 9113). Floor 5.

May import floors 0 to 4. It knows frames, windows and the life of streams, and nothing of sockets, time or gRPC.
``receive`` takes what the client sent, ``take`` gives what it is to get; ``accept`` makes the stream of a request.

Every buffer is bounded: what a client sends is handed on at once or counted against its window, and who runs it stops
receiving while ``queued`` is above ``flow.BACKLOG``, so that neither answers nor acknowledgements pile up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc.engine import frames as f
from extproc.engine.flow import Stream
from extproc.engine.heads import MAX_BLOCK, Head, Heads, TooMany, Undecodable

STREAM_WINDOW: Final = 1 << 20
"""Bytes that a client may send on a stream before they have been looked at."""
WINDOW: Final = 1 << 24
"""The same for a connection."""
STREAMS: Final = 100_000
"""Open on a connection at most."""
_LEFT: Final = 1000
"""Streams that we ended before the client did, and whose last frames may still be under way."""


class Refused(Exception):  # noqa: N818
    """The client breaks the protocol, or asks too much: the connection ends with this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Connection:
    """From the client's preface to the end."""

    def __init__(self, accept: Callable[[Connection, int, Head], Stream]) -> None:
        self.streams: dict[int, Stream] = {}
        self.waiting: dict[int, Stream] = {}
        """Those that have something to send for which there is no room."""
        self.begun = False
        """The client has said hello."""
        self.failed = False
        """Nothing more is received; what ``take`` still gives should be sent."""
        self.awaited = False
        """A ping has not been answered."""
        self.queued = 0
        """Bytes for the client that have not gone."""
        self.window = f.WINDOW
        """Bytes of data that the client takes."""
        self.initial_window = f.WINDOW
        """The same of a new stream."""
        self._out: list[bytes] = []
        self._accept = accept
        self._heads = Heads()
        self._buffer = b""
        self._last = 0  # the highest stream that the client has opened
        self._allowed = f.LAST  # the highest that it may open
        self._left: dict[int, None] = {}
        self._owed = 0  # bytes looked at, for which the client has not got its window back
        self._kept = 0  # bytes that came on streams that wait
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags and beginning of a header block
        ours = {f.MAX_STREAMS: STREAMS, f.INITIAL_WINDOW: STREAM_WINDOW, f.HEADER_LIST: MAX_BLOCK}
        self.put(f.settings(ours) + f.window_update(0, WINDOW - f.WINDOW))

    def receive(self, data: bytes) -> None:
        """What the client sent. Raises nothing for what a client can send: it gets a GOAWAY that says why."""
        if self.failed:
            return
        if self._buffer:
            data = self._buffer + data
        try:
            at = self._read(data, 0) if self.begun else self._begin(data)
        except Refused as refused:
            self.put(f.goaway(self._last, refused.code, str(refused)))
            self.lose()
        else:
            self._buffer = data[at:] if at < len(data) else b""

    def take(self) -> bytes:
        """The bytes for the client. ``sent`` wants to know when they have gone."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def sent(self, size: int) -> None:
        """So many bytes have gone."""
        self.queued -= size
        if self.waiting:
            self._flush()

    def put(self, data: bytes) -> None:
        """Bytes for the client that no window holds back."""
        self._out.append(data)
        self.queued += len(data)

    def ping(self) -> None:
        """Asks for a sign of life: ``awaited`` until it comes."""
        self.awaited = True
        self.put(f.frame(f.PING, 0, 0, _PING))

    def leave(self, *, last: bool) -> None:
        """Tells the client to open no more streams. Those that it opens before it has heard of it are served, until it
        is told for the last time (§6.8).
        """
        if last:
            self._allowed = self._last
        self.put(f.goaway(self._allowed, f.NO_ERROR))

    def lose(self) -> None:
        """The connection is gone, and its streams with it."""
        self.failed = True
        streams = list(self.streams.values())
        self.streams.clear()
        self.waiting.clear()
        for stream in streams:
            stream.lost()

    def close(self, stream: Stream) -> None:
        """We have said our last word on it."""
        number = stream.number
        del self.streams[number]
        self.waiting.pop(number, None)
        if stream.open:
            # The client need not finish (§8.1); what it has said meanwhile is ignored.
            self.put(f.rst_stream(number, f.NO_ERROR))
            self._expect(number)
        if stream.kept:
            self.release(stream)

    def release(self, stream: Stream) -> None:
        """What came while the stream waited has been looked at."""
        self._kept -= stream.kept
        size, stream.kept = stream.kept, 0
        self._credit(size, stream)

    def _credit(self, size: int, stream: Stream | None = None) -> None:
        """Gives windows back for bytes that have been looked at."""
        self._owed += size
        if self._owed > WINDOW // 2:
            self.put(f.window_update(0, self._owed))
            self._owed = 0
        if stream is not None and stream.open and stream.number in self.streams:
            stream.owed += size
            if stream.owed > STREAM_WINDOW // 2:
                self.put(f.window_update(stream.number, stream.owed))
                stream.owed = 0

    def _flush(self) -> None:
        for stream in list(self.waiting.values()):
            stream.flush()

    def _begin(self, data: bytes) -> int:
        size = len(f.PREFACE)
        if data[:size] != f.PREFACE[: len(data)]:
            raise Refused(f.PROTOCOL_ERROR, "this port speaks gRPC, by HTTP/2 with prior knowledge")
        if len(data) < size + f.HEADER:
            return 0
        if data[size + 3] != f.SETTINGS:
            raise Refused(f.PROTOCOL_ERROR, "a connection begins with SETTINGS")
        self.begun = True
        return self._read(data, size)

    def _read(self, data: bytes, at: int) -> int:
        """Every whole frame from ``at`` on; where the rest begins."""
        size, streams, streamless = len(data), self.streams, _HANDLERS
        while size - at >= f.HEADER:
            word, flags, number = f.read_head(data, at)
            length, kind = word >> 8, word & 0xFF
            if length > f.MAX_FRAME:
                raise Refused(f.FRAME_SIZE_ERROR, "a frame is larger than we said we take")
            start = at + f.HEADER
            if start + length > size:
                break
            at = start + length
            number &= f.LAST
            if self._block is not None and (kind != f.CONTINUATION or number != self._block[0]):
                raise Refused(f.PROTOCOL_ERROR, "a frame amidst the pieces of a header block")
            if kind == f.DATA and not flags & f.PADDED and (stream := streams.get(number)) is not None and stream.open:
                self._deliver(stream, data[start:at], length, flags)
            elif (handle := streamless.get(kind)) is not None:
                handle(self, number, flags, data[start:at])
        return at

    def _deliver(self, stream: Stream, piece: bytes, size: int, flags: int) -> None:
        """``size``: with the padding, which counts."""
        if stream.owed + stream.kept + size > STREAM_WINDOW:
            self._credit(size)
            self._reset(stream, f.FLOW_CONTROL_ERROR)
            return
        if stream.waiting is None:
            self._credit(size, stream)
        else:
            stream.kept += size
            self._kept += size
            if self._kept + self._owed > WINDOW:
                raise Refused(f.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if piece:
            stream.data(piece)
        if flags & f.END_STREAM:
            self._half_close(stream)

    def _half_close(self, stream: Stream) -> None:
        stream.open = False
        if stream.number in self.streams:
            stream.ended()
        else:
            self._left.pop(stream.number, None)

    def _reset(self, stream: Stream, code: int) -> None:
        """Ends a stream because of what the client did on it."""
        del self.streams[stream.number]
        self.waiting.pop(stream.number, None)
        self.put(f.rst_stream(stream.number, code))
        if stream.kept:
            self.release(stream)
        if stream.open:
            self._expect(stream.number)
        stream.lost()

    def _expect(self, number: int) -> None:
        """More frames on a stream that is no more."""
        self._left[number] = None
        if len(self._left) > _LEFT:
            del self._left[next(iter(self._left))]

    def _after(self, number: int, *, last: bool) -> None:
        """A frame on a stream that is not open: in order where we left first."""
        if number > self._last or not number:
            raise Refused(f.PROTOCOL_ERROR, "a frame on a stream that was not opened")
        if number not in self._left:
            raise Refused(f.STREAM_CLOSED, "a frame on a stream after its end")
        if last:
            del self._left[number]

    def _on_data(self, number: int, flags: int, payload: bytes) -> None:
        """With padding, or too late."""
        stream = self.streams.get(number)
        if stream is not None and stream.open:
            self._deliver(stream, _unpadded(payload, flags), len(payload), flags)
        else:
            self._after(number, last=bool(flags & f.END_STREAM))
            self._credit(len(payload))

    def _on_headers(self, number: int, flags: int, payload: bytes) -> None:
        block = _unpadded(payload, flags)
        if flags & f.PRIORITIZED:
            _check_priority(number, block[:5])
            block = block[5:]
        if flags & f.END_HEADERS:
            self._on_block(number, flags, block)
        else:
            self._block = (number, flags, bytearray(block))

    def _on_continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Refused(f.PROTOCOL_ERROR, "a continuation of nothing")
        _, first, block = self._block
        block += payload
        if len(block) > MAX_BLOCK:
            raise Refused(f.ENHANCE_YOUR_CALM, f"more than {MAX_BLOCK} bytes of headers")
        if flags & f.END_HEADERS:
            self._block = None
            self._on_block(number, first, bytes(block))

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        try:
            head = self._heads.read(block)
        except Undecodable as error:
            raise Refused(f.COMPRESSION_ERROR, str(error)) from None
        except TooMany as error:
            raise Refused(f.ENHANCE_YOUR_CALM, str(error)) from None
        if number > self._last:
            self._open(number, flags, head)
            return
        stream = self.streams.get(number)
        if stream is None or not stream.open:
            self._after(number, last=bool(flags & f.END_STREAM))
        elif flags & f.END_STREAM:
            self._half_close(stream)
        else:
            self._reset(stream, f.PROTOCOL_ERROR)  # trailers end a request

    def _open(self, number: int, flags: int, head: Head) -> None:
        if number % 2 == 0:
            raise Refused(f.PROTOCOL_ERROR, "a client opens streams of odd numbers")
        self._last = number
        ended = bool(flags & f.END_STREAM)
        if head.fault or number > self._allowed or len(self.streams) >= STREAMS:
            self.put(f.rst_stream(number, f.PROTOCOL_ERROR if head.fault else f.REFUSED_STREAM))
            if not ended:
                self._expect(number)
            return
        stream = self.streams[number] = self._accept(self, number, head)
        stream.open = not ended
        stream.begin()
        if ended and number in self.streams:
            stream.ended()

    def _on_reset(self, number: int, _: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Refused(f.FRAME_SIZE_ERROR, "a RST_STREAM of another size")
        if number > self._last or not number:
            raise Refused(f.PROTOCOL_ERROR, "a reset of a stream that was not opened")
        self._left.pop(number, None)
        if (stream := self.streams.pop(number, None)) is not None:
            self.waiting.pop(number, None)
            if stream.kept:
                self.release(stream)
            stream.lost()

    def _on_settings(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise Refused(f.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & f.ACK and payload):
            raise Refused(f.FRAME_SIZE_ERROR, "settings of another size")
        if flags & f.ACK:
            return
        for at in range(0, len(payload), 6):
            self._set(*f.read_setting(payload, at))
        self.put(f.frame(f.SETTINGS, f.ACK, 0, b""))
        self._flush()

    def _set(self, name: int, value: int) -> None:
        if name == f.INITIAL_WINDOW:
            if value > f.MAX_WINDOW:
                raise Refused(f.FLOW_CONTROL_ERROR, "an initial window that is too large")
            more, self.initial_window = value - self.initial_window, value
            for stream in self.streams.values():
                stream.window += more
        elif (name == f.ENABLE_PUSH and value > 1) or (
            name == f.FRAME_SIZE and not f.MAX_FRAME <= value < 1 << 24
        ):
            raise Refused(f.PROTOCOL_ERROR, "a setting beyond its bounds")

    def _on_ping(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise Refused(f.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise Refused(f.FRAME_SIZE_ERROR, "a ping of another size")
        if not flags & f.ACK:
            self.put(f.frame(f.PING, f.ACK, 0, payload))
        elif payload == _PING:
            self.awaited = False

    def _on_window_update(self, number: int, _: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Refused(f.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size")
        more = f.read_u32(payload)[0] & f.LAST
        if number == 0:
            self.window += more
            if not more or self.window > f.MAX_WINDOW:
                raise Refused(f.FLOW_CONTROL_ERROR if more else f.PROTOCOL_ERROR, "a window beyond its bounds")
            self._flush()
            return
        if number > self._last:
            raise Refused(f.PROTOCOL_ERROR, "a window for a stream that was not opened")
        if (stream := self.streams.get(number)) is not None:
            stream.window += more
            if not more or stream.window > f.MAX_WINDOW:
                self._reset(stream, f.FLOW_CONTROL_ERROR if more else f.PROTOCOL_ERROR)
            else:
                stream.flush()

    def _on_priority(self, number: int, _: int, payload: bytes) -> None:
        if not number:
            raise Refused(f.PROTOCOL_ERROR, "a priority of no stream")
        if len(payload) != 5:
            raise Refused(f.FRAME_SIZE_ERROR, "a priority of another size")
        _check_priority(number, payload)

    def _on_goaway(self, number: int, _: int, __: bytes) -> None:
        if number:
            raise Refused(f.PROTOCOL_ERROR, "a GOAWAY of a stream")

    def _on_push(self, _: int, __: int, ___: bytes) -> None:
        raise Refused(f.PROTOCOL_ERROR, "clients do not push")


_PING: Final = b"are you?"
_HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    f.DATA: Connection._on_data,
    f.HEADERS: Connection._on_headers,
    f.PRIORITY: Connection._on_priority,
    f.RST_STREAM: Connection._on_reset,
    f.SETTINGS: Connection._on_settings,
    f.PUSH_PROMISE: Connection._on_push,
    f.PING: Connection._on_ping,
    f.GOAWAY: Connection._on_goaway,
    f.WINDOW_UPDATE: Connection._on_window_update,
    f.CONTINUATION: Connection._on_continuation,
}


def _unpadded(payload: bytes, flags: int) -> bytes:
    if not flags & f.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Refused(f.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _check_priority(number: int, priority: bytes) -> None:
    if len(priority) < 5:
        raise Refused(f.FRAME_SIZE_ERROR, "a priority is cut off")
    if f.read_u32(priority)[0] & f.LAST == number:
        raise Refused(f.PROTOCOL_ERROR, "a stream that depends on itself")
