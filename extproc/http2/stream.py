"""One HTTP/2 stream, and what it needs of its connection to send (RFC 9113 §5.2, §8.1).

What has no room in a window waits, in order. While a stream waits it is not read from: the client does not get its
window back before it has taken the answers to what it sent.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from extproc.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_FRAME_SIZE,
    RST_STREAM,
    frame,
    frame_head,
)
from extproc.http2.memory_budget import MAX_QUEUED, MemoryBudget

_RESET_START: Final = frame_head(4 << 8 | RST_STREAM, 0, 0)[:5]
_NO_ERROR: Final = bytes(4)
"""What stands before and behind the stream's number in a RST_STREAM."""
_MAX_STARTS: Final = 1_000
_starts: dict[int, bytes] = {}
"""By their size, type and flags the first bytes of frames, of which few differ."""


class ConnectionSender:
    """The sending side of a connection: queued bytes, the windows of the client, and the streams that wait for room."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        """Of all connections of the process."""
        self.buffered = 0
        """Bytes of incomplete messages and of answers that wait."""
        self.work = 0
        """What may still be done in this turn, in units of a frame without content: about a microsecond."""
        self.initial_window = DEFAULT_WINDOW
        """Bytes of data that the client takes on a new stream."""
        self.window = DEFAULT_WINDOW
        """Bytes of data that the client takes on all streams together."""
        self.queued = 0
        """Bytes for the client that have not gone to it."""
        self.waiting: OrderedDict[int, Stream] = OrderedDict()
        """Streams that have something to send and a window for it, while the connection has no room. Not a dict: to
        find the first entry of one takes time for every entry that was removed before it.
        """
        self._out: list[bytes] = []

    def put(self, data: bytes) -> None:
        """Queues bytes that need no window."""
        self._out.append(data)
        self.queued += len(data)

    def take(self) -> bytes:
        """The queued bytes. Whoever sends them calls ``sent``."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def count_buffered(self, size: int) -> None:
        """So many bytes more are buffered, or fewer."""
        self.buffered += size
        self.budget.buffered += size

    def defer(self, stream: Stream) -> None:
        """This turn's work is done, and some of the stream's is left: ``drained`` is called in the next turn."""
        raise NotImplementedError

    def release(self, stream: Stream) -> None:
        """What was received while the stream waited has been processed."""
        raise NotImplementedError

    def close_stream(self, stream: Stream) -> None:
        """The stream has ended: nothing more comes or goes on it, but for frames that were under way."""
        raise NotImplementedError


class Stream:
    """A request and its answer. Subclasses override the methods of events, which do nothing here."""

    __slots__ = (
        "_trailers",
        "connection",
        "number",
        "open",
        "remaining",
        "requested",
        "uncredited",
        "waiting",
        "window",
        "withheld",
    )

    def __init__(self, connection: ConnectionSender, number: int) -> None:
        self.join(connection, number)

    def join(self, connection: ConnectionSender, number: int) -> None:
        """What ``__init__`` does, for that of subclasses: cheaper than ``super``."""
        self.connection = connection
        self.number = number
        self.window = self.connection.initial_window
        """Bytes of data that the client takes."""
        self.open = True
        """The client has not ended or reset it."""
        self.requested = False
        """The client has asked for something on it: a reset is not counted as abuse then."""
        self.remaining: int | None = None
        """Bytes of the request that are still to come, where it has a content-length."""
        self.uncredited = 0
        """Bytes processed for which the client has not got the stream's window back."""
        self.withheld = 0
        """Bytes received while answers wait: their window is given back when those have gone."""
        self.waiting: deque[memoryview] | None = None
        """What has no room yet; None where nothing waits."""
        self._trailers = b""

    def begin(self) -> None:
        """Event: it has been opened."""

    def data(self, piece: bytes) -> None:
        """Event: the client has sent data."""

    def ended(self) -> None:
        """Event: the client has ended its side."""

    def drained(self) -> None:
        """Event: what waited has been sent."""

    def lost(self) -> None:
        """Event: the stream was reset, or the connection has ended; nothing can be sent."""

    def send(self, data: bytes, head: bytes = b"", trailers: bytes = b"") -> None:
        """Data, after a block of headers and before one of trailers, which ends the stream. All may be empty."""
        connection, size = self.connection, len(data)
        number = self.number.to_bytes(4)
        pieces: list[bytes] = []
        if head:
            _add_frame(pieces, _frame_start(len(head), HEADERS, END_HEADERS), number, head)
        room = (
            size <= MAX_FRAME_SIZE
            and size <= self.window
            and size <= connection.window
            and connection.queued < MAX_QUEUED
        )
        if self.waiting is None and (room or not data):
            if data:
                self.window -= size
                connection.window -= size
                _add_frame(pieces, _frame_start(size, DATA, 0), number, data)
            if trailers:
                _add_frame(pieces, _frame_start(len(trailers), HEADERS, END_HEADERS | END_STREAM), number, trailers)
                if self.open:  # the client need not finish (§8.1)
                    _add_frame(pieces, _RESET_START, number, _NO_ERROR)
                connection.close_stream(self)
            connection.put(b"".join(pieces))
            return
        if head:
            connection.put(b"".join(pieces))
        self._trailers = trailers
        if self.waiting is None:
            self.waiting = deque((memoryview(data),))
            connection.count_buffered(size)
            self._send_waiting()  # without ``drained``: the caller may have more to send
            return
        if data:
            self.waiting.append(memoryview(data))
            connection.count_buffered(size)
        self.flush()

    def abort(self, trailers: bytes) -> None:
        """Trailers at once; whatever waits is dropped."""
        self.drop_waiting()
        self.send(b"", b"", trailers)

    def drop_waiting(self) -> None:
        """Nothing waits any more."""
        if self.waiting is not None:
            self.connection.count_buffered(-sum(map(len, self.waiting)))
            self.connection.waiting.pop(self.number, None)
            self.waiting = None

    def flush(self) -> None:
        """Sends as much as there is room for."""
        waited = self.waiting is not None
        if waited and self._send_waiting():
            self.drained()
            if self.withheld and self.waiting is None:
                self.connection.release(self)

    def _send_waiting(self) -> bool:
        """Whether nothing waits any more, and the stream goes on."""
        connection, waiting = self.connection, self.waiting
        while waiting:
            piece = waiting[0]
            room = min(self.window, connection.window, MAX_FRAME_SIZE, MAX_QUEUED - connection.queued)
            if room <= 0:
                if self.window > 0:
                    connection.waiting[self.number] = self
                else:  # until its own window is enlarged
                    connection.waiting.pop(self.number, None)
                return False
            if room < len(piece):
                waiting[0], piece = piece[room:], piece[:room]
            else:
                waiting.popleft()
            self.window -= len(piece)
            connection.window -= len(piece)
            connection.work -= 1
            connection.count_buffered(-len(piece))
            connection.put(frame(DATA, 0, self.number, bytes(piece)))
        self.waiting = None
        connection.waiting.pop(self.number, None)
        if self._trailers:
            self.send(b"", b"", self._trailers)
            return False
        return True


def _add_frame(pieces: list[bytes], start: bytes, number: bytes, content: bytes) -> None:
    pieces.append(start)
    pieces.append(number)
    pieces.append(content)


def _frame_start(size: int, kind: int, flags: int) -> bytes:
    """The header of a frame, but for the stream's number at its end."""
    key = size << 16 | kind << 8 | flags
    start = _starts.get(key)
    if start is None:
        if len(_starts) >= _MAX_STARTS:
            _starts.clear()
        start = _starts[key] = frame_head(size << 8 | kind, flags, 0)[:5]
    return start
