"""The server's side of one HTTP/2 connection, sans-I/O: bytes in, bytes out (RFC 9113).

``receive`` takes what the client sent, ``take`` gives what it is to get; ``accept`` makes the stream of a request.
Nothing here knows sockets, clocks or gRPC. ``Connection`` handles the frames of streams; what it builds on stands in
modules of their own: control frames, settings, windows, the states of streams, and what a stream sends.

Every buffer is bounded: what a client sends is handed on at once or counted against its window, and the caller stops
receiving while ``queued`` is above ``stream.MAX_QUEUED``, so that neither answers nor acknowledgements pile up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc.http2 import flood_limits

# What every frame needs is imported by name: compiled, those are numbers of C's (docs/decisions/0012-compiled.md).
from extproc.http2 import frames as f
from extproc.http2.control_frames import ControlFrames
from extproc.http2.flood_limits import MAX_LATE_RESETS
from extproc.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER_SIZE,
    HEADERS,
    MAX_FRAME_SIZE,
    PADDED,
    PRIORITY_FLAG,
    RST_STREAM,
    Http2ConnectionError,
)
from extproc.http2.limits import MAX_BLOCK, MAX_STREAMS
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.request_headers import HeaderBlockReader, RequestHead
from extproc.http2.settings import STREAM_WINDOW
from extproc.http2.stream import Stream
from extproc.http2.windows import CREDIT_THRESHOLD

UNLIMITED: Final = 1 << 40
"""A share of a turn's work that leaves nothing for the next turn."""
_FRAME_WORK: Final = 8
"""What HEADERS or DATA cost, in units of ``ConnectionSender.work``, beside one for each KiB."""


class Connection(ControlFrames):
    """From the client's preface to the end."""

    def __init__(
        self, accept: Callable[[Connection, int, RequestHead], Stream], budget: MemoryBudget | None = None
    ) -> None:
        """``budget``: of all connections of the process; None: this one is alone."""
        super().__init__(budget or MemoryBudget())
        self.started = False
        """The client's preface has come."""
        self.failed = False
        """Nothing more is received; what ``take`` still gives should be sent."""
        self.resets_received = 0
        self._accept = accept
        self._header_reader = HeaderBlockReader(self.budget)
        self._buffer = b""
        self._at = 0  # how much of it has been read
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags and beginning of a header block

    def receive(self, data: bytes, now: float = 0.0, share: int = UNLIMITED) -> None:
        """What the client sent. Raises nothing for what a client can send: it gets a GOAWAY that says why.

        ``now``: seconds of a monotonic clock. ``share``: units of work, see ``ConnectionSender.work``; what is more
        than that waits for the next call (``unfinished``), which may bring nothing new. A frame is processed as a
        whole: by how much it exceeds the share, the next shares are smaller.
        """
        if self.failed:
            return
        self.now, self.work = now, (share if self.work >= 0 else share + self.work)
        at = 0
        if self._buffer:
            if data:
                data = self._buffer[self._at :] + data
            else:
                data, at = self._buffer, self._at
        try:
            if self.unfinished:
                self.unfinished = False
                self.resume_deferred()
            at = self._read_frames(data, at) if self.started else self._start(data)
        except Http2ConnectionError as error:
            self.put(f.goaway(self.last_stream_id, error.code, str(error)))
            self.terminate()
        else:
            if self.unfinished:  # what is left is not copied in every turn
                self._buffer, self._at = data, at
            else:
                self._buffer, self._at = data[at:], 0

    def terminate(self) -> None:
        """The connection is gone, and its streams with it."""
        self.failed = True
        self.unfinished = False
        streams = list(self.streams.values())
        self.streams.clear()
        self.waiting.clear()
        self._deferred.clear()
        self._header_reader.clear()
        for stream in streams:
            stream.lost()
            stream.drop_waiting()

    def reset_stream(self, stream: Stream, code: int) -> None:
        """See ``FlowControl``."""
        self.close_stream(stream)
        self.put(f.rst_stream(stream.number, code))
        stream.lost()
        self.charge(flood_limits.FAULT_LIMIT)

    def close_stream(self, stream: Stream) -> None:
        """See ``ConnectionSender``."""
        number = stream.number
        del self.streams[number]
        if stream.waiting is not None:
            stream.drop_waiting()
        if not stream.open:
            self.remember_ended(number)
        if stream.withheld:
            self.release(stream)

    def _start(self, data: bytes) -> int:
        size = f.preface_size(data)
        self.started = size > 0
        return self._read_frames(data, size) if self.started else 0

    def _read_frames(self, data: bytes, at: int) -> int:
        """Handles every complete frame from ``at`` on; the position of the rest."""
        size, streams, handlers = len(data), self.streams, _HANDLERS
        raw = data  # a ``const char *`` where compiled: slices are cheaper
        while size - at >= HEADER_SIZE:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]  # §4.1
            kind, flags = data[at + 3], data[at + 4]
            number = (data[at + 5] & 0x7F) << 24 | data[at + 6] << 16 | data[at + 7] << 8 | data[at + 8]
            if length > MAX_FRAME_SIZE:
                raise Http2ConnectionError(f.FRAME_SIZE_ERROR, "a frame is larger than we said we take")
            start = at + HEADER_SIZE
            if start + length > size:
                break
            if self.work <= 0:
                self.unfinished = True
                break
            at = start + length
            self.work -= (length >> 10) + (_FRAME_WORK if kind <= HEADERS else 1)
            if self._block is not None and (kind != CONTINUATION or number != self._block[0]):
                raise Http2ConnectionError(f.PROTOCOL_ERROR, "a frame amidst the pieces of a header block")
            if kind == DATA and not flags & PADDED and (stream := streams.get(number)) is not None and stream.open:
                self._deliver(stream, raw[start:at], length, flags)
            elif kind == HEADERS:  # the most frequent kinds are called as functions of C's
                self._on_headers(number, flags, raw[start:at])
            elif kind == RST_STREAM:
                self._on_reset(number, flags, raw[start:at])
            elif (handle := handlers.get(kind)) is not None:
                handle(self, number, flags, raw[start:at])
            else:
                self.charge(flood_limits.UNKNOWN_FRAME_LIMIT)
        return at

    def _deliver(self, stream: Stream, piece: bytes, size: int, flags: int) -> None:
        """Data for an open stream. ``size``: with the padding, which counts."""
        uncredited = stream.uncredited + size
        if uncredited + stream.withheld > STREAM_WINDOW:
            self.credit(size)
            self.reset_stream(stream, f.FLOW_CONTROL_ERROR)
            return
        if stream.waiting is not None:
            self.withhold(size, stream)
        elif uncredited + self.uncredited < CREDIT_THRESHOLD and not self.withheld:
            stream.uncredited = uncredited
            self.uncredited += size
        else:
            self.credit(size, stream)
        if stream.remaining is not None and not self._check_length(stream, len(piece), flags):
            return
        if piece:
            stream.data(piece)
        elif not flags & END_STREAM:
            self.charge(flood_limits.EMPTY_DATA_LIMIT)
        if flags & END_STREAM:
            self._end(stream)

    def _check_length(self, stream: Stream, size: int, flags: int) -> bool:
        """Whether the request is no longer, and at its end no shorter, than its content-length (§8.1.1)."""
        stream.remaining = remaining = (stream.remaining or 0) - size
        if remaining < 0 or (remaining and flags & END_STREAM):
            self.reset_stream(stream, f.PROTOCOL_ERROR)
            return False
        return True

    def _end(self, stream: Stream) -> None:
        """The client has ended the stream."""
        stream.open = False
        if stream.number in self.streams:
            stream.ended()
        else:
            self.remember_ended(stream.number)

    def _on_data(self, number: int, flags: int, payload: bytes) -> None:
        """DATA with padding, or on a stream that is not open."""
        stream = self.streams.get(number)
        if stream is not None and stream.open:
            self._deliver(stream, f.without_padding(payload, flags), len(payload), flags)
        else:
            self.check_closed(number, flags)
            self.credit(len(payload))

    def _on_headers(self, number: int, flags: int, payload: bytes) -> None:
        block = f.without_padding(payload, flags) if flags & PADDED else payload
        if flags & PRIORITY_FLAG:
            f.check_priority(number, block)
            block = block[5:]
        if flags & END_HEADERS:
            self._on_block(number, flags, block)
        else:
            self._block = (number, flags, bytearray(block))

    def _on_continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Http2ConnectionError(f.PROTOCOL_ERROR, "a continuation of nothing")
        self.charge(flood_limits.CONTINUATION_LIMIT)
        _, first, block = self._block
        block += payload
        if len(block) > MAX_BLOCK:
            raise Http2ConnectionError(f.ENHANCE_YOUR_CALM, f"more than {MAX_BLOCK} bytes of headers")
        if flags & END_HEADERS:
            self._block = None
            self._on_block(number, first, bytes(block))

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        """A complete header block: of a new request, or trailers."""
        head = self._header_reader.read(block)
        self.work -= self._header_reader.work
        if number > self.last_stream_id:
            self._open(number, flags, head)
            return
        stream = self.streams.get(number)
        if stream is None or not stream.open:
            self.check_closed(number, flags)
            if not head.may_be_trailers:
                raise Http2ConnectionError(f.PROTOCOL_ERROR, "streams are opened in ascending order")
        elif not flags & END_STREAM or not head.may_be_trailers or stream.remaining:
            self.reset_stream(stream, f.PROTOCOL_ERROR)  # trailers end a request, and have no pseudo-headers
        else:
            self._end(stream)

    def _open(self, number: int, flags: int, head: RequestHead) -> None:
        if number % 2 == 0:
            raise Http2ConnectionError(f.PROTOCOL_ERROR, "a client opens streams of odd numbers")
        self.last_stream_id = number
        self.streams_opened += 1
        ended = bool(flags & END_STREAM)
        fault = head.malformed or (ended and head.content_length)
        if fault or number > self.max_stream_id or len(self.streams) >= MAX_STREAMS:
            self.put(f.rst_stream(number, f.PROTOCOL_ERROR if fault else f.REFUSED_STREAM))
            if ended:
                self.remember_ended(number)
            self.charge(flood_limits.FAULT_LIMIT if fault else flood_limits.REFUSED_STREAM_LIMIT)
            return
        stream = self.streams[number] = self._accept(self, number, head)
        stream.remaining = head.content_length
        stream.open = not ended
        stream.begin()
        if ended and number in self.streams:
            stream.ended()

    def _on_reset(self, number: int, _: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2ConnectionError(f.FRAME_SIZE_ERROR, "a RST_STREAM of another size")
        self.check_opened(number)
        if (stream := self.streams.get(number)) is not None:
            rapid = stream.open and (not stream.requested or stream.waiting is not None)
            stream.open = False
            self.close_stream(stream)
            stream.lost()
            if rapid:
                self.charge(flood_limits.RESET_LIMIT)
        else:
            self.remember_ended(number)
        self.resets_received += 1
        if self.resets_received > self.streams_opened + MAX_LATE_RESETS:
            raise Http2ConnectionError(f.ENHANCE_YOUR_CALM, "more resets than streams")


_HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    DATA: Connection._on_data,
    f.PRIORITY: Connection.on_priority,
    f.SETTINGS: Connection.on_settings,
    f.PUSH_PROMISE: Connection.on_push_promise,
    f.PING: Connection.on_ping,
    f.GOAWAY: Connection.on_goaway,
    f.WINDOW_UPDATE: Connection.on_window_update,
    CONTINUATION: Connection._on_continuation,
}
